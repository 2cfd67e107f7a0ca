"""The conditions under which a latency table is valid: device, library versions, target, space."""

from __future__ import annotations

import hashlib
import json
import platform
from importlib.metadata import version
from pathlib import Path

import torch

from proxies.target import Target
from space.search_space import SearchSpace


def fingerprint_of(space: SearchSpace, target: Target) -> dict[str, str]:
    """Facts by name, readable. A table is good where all are equal; an imported table is good on any machine."""
    if target.is_imported:
        return subject_of(space, target)
    libraries = ["torch"] + (["onnxruntime"] if target.is_onnx else [])
    return subject_of(space, target) | {"device": device_name(target)} | {library: version(library) for library in libraries}


def subject_of(space: SearchSpace, target: Target) -> dict[str, str]:
    """The entries of a fingerprint that do not depend on the machine: target and space."""
    named = name_on_any_data(space) if target.is_imported else f"{space.name} {_digest(space.model_dump(exclude={'name'}))}"
    return {"target": str(target), "space": named}


def name_on_any_data(space: SearchSpace) -> str:
    """A space's name and digest whatever classes and channels it has: imported latencies were measured before anyone knew the data."""
    return f"{space.name} {_digest(space.model_dump(exclude={'name', 'num_classes', 'in_chans'}))}"


def key_of_fingerprint(fingerprint: dict[str, str]) -> str:
    """Sixteen hexadecimal digits."""
    return _digest(fingerprint)


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


def device_name(target: Target) -> str:
    """The processor or GPU that a target is measured on."""
    if target.device == "cuda":
        return torch.cuda.get_device_name()
    # On Linux, the platform module knows only the processor's architecture.
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return f"{names[0] if names else platform.processor() or platform.machine()}, {torch.backends.cpu.get_cpu_capability()}"
