"""A folder that `timm.create_model("local-dir:FOLDER")` and the Hugging Face hub take.

Its `config.json` holds the architecture, so the folder needs no other file. timm's config cannot name the package that registers
an entry point, so users of the folder import `space.models` first.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import timm
import torch
from safetensors.torch import save
from timm.models import save_for_hf
from torch import Tensor

import space.models  # noqa: F401  # registers the entry point
from nas.export.format import ExportedNetwork, Format
from space.files import architecture_document, write_atomically


class TimmFolder(Format):
    """`config.json` and `model.safetensors`."""

    files = ("config.json", "model.safetensors")
    seconds_a_block = 0.3

    def write(self, exported: ExportedNetwork, folder: Path) -> None:
        # As timm reads it back from JSON: tuples become lists.
        document = json.loads(json.dumps(architecture_document(exported.architecture)))
        model: Any = timm.create_model("token_mixer", architecture=document)
        model.load_state_dict(exported.network.state_dict())
        metadata, steps = exported.metadata, exported.metadata.preprocessing
        config: dict[str, Any] = {"metadata": metadata.document}
        if metadata.class_names:
            config["label_names"] = list(metadata.class_names)
        input_size = (exported.architecture.in_chans, steps.image_size, steps.image_size)
        model.pretrained_cfg |= {name: value for name, value in asdict(steps).items() if name != "image_size"} | {"input_size": input_size}
        save_for_hf(model, str(folder), model_config=config, safe_serialization=True)
        # Again, with a header; the first file is one that only its owner may read.
        write_atomically(folder / self.files[1], save(model.state_dict(), metadata.header))

    def load(self, folder: Path) -> Callable[[Tensor], Tensor]:
        return torch.inference_mode()(timm.create_model(f"local-dir:{folder}", pretrained=True).eval().forward)

    def usage(self, exported: ExportedNetwork) -> str:
        others = max(exported.architecture.num_classes, 1) + 1
        return f"""\
import timm
import space.models  # of token-mixer-nas; without it timm says: Unknown model (token_mixer)

network = timm.create_model("local-dir:FOLDER", pretrained=True).eval()  # from the hub: "hf-hub:OWNER/NAME"
backbone = timm.create_model("local-dir:FOLDER", pretrained=True, features_only=True)
other = timm.create_model("local-dir:FOLDER", pretrained=True, num_classes={others})  # a fresh classifier
"""
