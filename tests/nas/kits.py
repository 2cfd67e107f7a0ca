"""Kits in tests: an environment that has numpy and ONNX Runtime alone, and reports without a measurement."""

from __future__ import annotations

import json
import random
import subprocess
import sysconfig
import venv
from pathlib import Path
from typing import Any

from proxies.band.space_cost import SpaceParts, key_of
from proxies.latency.fingerprint import name_on_any_data
from space.search_space import SearchSpace

PACKAGES = ("numpy", "numpy.libs", "onnxruntime")


def bare_python(folder: Path) -> Path:
    """The Python of a new environment that shares two packages with this one."""
    venv.EnvBuilder(with_pip=False, symlinks=True).create(folder)
    (site,) = folder.glob("lib/python*/site-packages")
    for name in PACKAGES:
        place = Path(sysconfig.get_path("purelib")) / name
        if place.exists():
            (site / name).symlink_to(place)
    return folder / "bin" / "python"


def measured(python: Path, kit: Path, *options: str) -> str:
    """Run a kit's script to its end; what it printed."""
    done = subprocess.run(
        [python, "-I", str(kit / "measure.py"), *options], capture_output=True, text=True, timeout=280, check=False
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def made_up_report(space: SearchSpace, num_networks: int = 8) -> dict[str, Any]:
    """A report of made-up latencies: networks take exactly as long as their parts."""
    rng = random.Random(0)
    parts = {key: rng.randrange(10, 1000) / 1e3 for key in SpaceParts(space).parts}
    networks = {}
    for i in range(num_networks):
        architecture = space.sample(rng)
        total = sum(parts[key_of(part)] for part in architecture.parts)
        networks[f"network-{i}"] = {"architecture": architecture.model_dump(mode="json"), "median_ms": total}
    return {
        "schema": "latencies/1",
        "space": name_on_any_data(space),
        "device": {"processor": "made up", "threads": 4},
        "parts": {key: {"q1_ms": value, "median_ms": value, "q3_ms": value, "repeats": 9} for key, value in parts.items()},
        "networks": networks,
    }


def write_report(file: Path, document: object) -> Path:
    """Write a report's file."""
    file.write_text(json.dumps(document))
    return file
