"""A folder that `timm.create_model("local-dir:FOLDER")` and the Hugging Face hub take.

Its `config.json` holds the architecture, so the folder needs no other file. timm's config cannot name the package that registers
an entry point, so users of the folder import `space.models` first.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import timm
import torch
from timm.models import save_for_hf
from torch import Tensor

import space.models  # noqa: F401  # registers the entry point
from nas.export.format import ExportedNetwork, Format
from space.architecture import Architecture
from space.files import architecture_document


class TimmFolder(Format):
    """`config.json` and `model.safetensors`."""

    files = ("config.json", "model.safetensors")
    seconds_a_block = 0.3

    def write(self, exported: ExportedNetwork, folder: Path) -> None:
        # As timm reads it back from JSON: tuples become lists.
        document = json.loads(json.dumps(architecture_document(exported.architecture)))
        model = timm.create_model("token_mixer", architecture=document)
        model.load_state_dict(exported.network.state_dict())
        labels = {"label_names": list(exported.labels)} if exported.labels else {}
        save_for_hf(model, str(folder), model_config=labels, safe_serialization=True)
        # safetensors makes files that only their owner may read.
        (folder / self.files[1]).chmod((folder / self.files[0]).stat().st_mode)

    def load(self, folder: Path) -> Callable[[Tensor], Tensor]:
        return torch.inference_mode()(timm.create_model(f"local-dir:{folder}", pretrained=True).eval().forward)

    def usage(self, architecture: Architecture) -> str:
        return f"""\
import timm
import space.models  # of token-mixer-nas; makes the architecture known to timm

network = timm.create_model("local-dir:FOLDER", pretrained=True).eval()  # from the hub: "hf-hub:OWNER/NAME"
backbone = timm.create_model("local-dir:FOLDER", pretrained=True, features_only=True)
other = timm.create_model("local-dir:FOLDER", pretrained=True, num_classes={max(architecture.num_classes, 1) + 1})  # a fresh classifier
"""
