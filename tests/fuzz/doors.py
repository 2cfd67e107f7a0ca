"""The doors that files and texts come in at, each with seeds to mutate, and what is done with what it accepts."""

from __future__ import annotations

import io
import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import torch
from safetensors.torch import save

from nas.retrain.recipe import load_recipe
from proxies.cost import parse_budget
from proxies.macs import cost_of
from space.architecture import Architecture
from space.files import dump_architecture, dump_space, load_architecture, load_provenance, load_published, load_space, parse_space
from space.network import build_network
from space.weights import load_weights, read_weights
from supernet.training.checkpoint import load_checkpoint
from tests.fuzz.mutation import mutated_bytes, mutated_safetensors, mutated_yaml
from tests.nas.small_search import SPACE

Mutate = Callable[[random.Random, bytes, tuple[bytes, ...]], bytes]


@dataclass(frozen=True)
class Door:
    """Where input comes in.

    Args:
        seeds: whole files.
        enter: reads a file with this ending and uses what it holds; UserError is the only way to refuse.
    """

    seeds: tuple[bytes, ...]
    mutate: Mutate
    enter: Callable[[Path], None]
    suffix: str = ".yaml"


def _architecture(file: Path) -> None:
    architecture = load_architecture(file)
    load_provenance(file)
    load_published(file)
    _use(architecture)
    file.write_text(dump_architecture(architecture), encoding="utf-8")
    assert load_architecture(file) == architecture


def _use(architecture: Architecture) -> None:
    assert cost_of(architecture).macs >= 0
    assert architecture.fingerprint


def _space(file: Path) -> None:
    space = load_space(file)
    assert space.size >= 1
    for member in (space.smallest(), space.largest(), space.sample(random.Random(0))):
        assert space.contains(member)
        _use(member)
    assert parse_space(dump_space(space), "again") == space


def _budget(file: Path) -> None:
    budget = parse_budget(file.read_bytes().decode("utf-8", "replace"))
    assert parse_budget(str(budget)) == budget
    assert budget.least >= 0


def _recipe(file: Path) -> None:
    load_recipe(str(file)).adapted(3, 16)


def _checkpoint(file: Path) -> None:
    tensors, facts = load_checkpoint(file)
    assert isinstance(facts, dict)
    assert all(isinstance(tensor, torch.Tensor) for tensor in tensors.values())


def _inherited(file: Path) -> None:
    load_weights(_NETWORK, file, other_classes=True)


def _weights(file: Path) -> None:
    size = file.stat().st_size
    assert sum(tensor.numel() for tensor in read_weights(file).values() if isinstance(tensor, torch.Tensor)) <= 2 * size


_SMALL = parse_space(SPACE, "tiny")
_NETWORK = build_network(_SMALL.smallest())
_TENSORS = {"model/stem.weight": torch.ones(4, 3), "optimizer/stem.weight/step": torch.tensor(2.0), "none": torch.empty(0)}
_FACTS = {"facts": json.dumps({"step": 3, "lr": 0.1, "made_by": {"seed": 0, "names": ["a"]}, "optimizer": {"x": None}, "updates": {}})}


def _pickled(legacy: bool) -> bytes:
    file = io.BytesIO()
    torch.save({"model": {"a": torch.ones(3, 2), "b": torch.arange(4)}, "epoch": 3}, file, _use_new_zipfile_serialization=not legacy)
    return file.getvalue()


def _catalog(*names: str) -> tuple[bytes, ...]:
    return tuple((resources.files("space") / "catalog" / f"{name}.yaml").read_bytes() for name in names)


_BUDGETS = (
    b"4.5GFLOPs", b"450MFLOPs 25Mparams", b"12ms@cpu:1t:bs1", b"4.5GMACs,12us@cuda:compile:fp16", b"1e9FLOPs", b"1e999999GFLOPs",
    b"nanGFLOPs", b"1_000params", b"12ms@cpu:1t:1t", b"-1GFLOPs", "４.5GFLOPs ٣µs@cpu".encode(), b"9" * 3000 + b"FLOPs", b"infms@cpu",
)  # fmt: skip
_ARCHITECTURES = (
    *_catalog("parents/davit-t", "parents/topformer-t", "parents/uniformer-s"),
    dump_architecture(_SMALL.largest(), {"space": "tiny", "seed": 0}).encode(),
)
_RECIPES = tuple((resources.files("nas.retrain") / "recipes" / f"{name}.yaml").read_bytes() for name in ("deit", "short"))
_NETWORK_FILE = save({name: tensor.contiguous() for name, tensor in _NETWORK.state_dict().items()}, _FACTS)

DOORS = {
    "architecture": Door(_ARCHITECTURES, mutated_yaml, _architecture),
    "space": Door((*_catalog("spaces/hybrid-32"), SPACE.encode()), mutated_yaml, _space),
    "budget": Door(_BUDGETS, mutated_bytes, _budget, ".txt"),
    "recipe": Door(_RECIPES, mutated_yaml, _recipe),
    "checkpoint": Door((save(_TENSORS, _FACTS), _NETWORK_FILE), mutated_safetensors, _checkpoint, ".safetensors"),
    "inherited weights": Door((_NETWORK_FILE,), mutated_safetensors, _inherited, ".safetensors"),
    "official weights": Door((_pickled(True), _pickled(False)), mutated_bytes, _weights, ".pth"),
}
