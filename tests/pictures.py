"""Small image files for tests: every class has a colour of its own."""

from __future__ import annotations

import tarfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

COLOURS = {"ant": (200, 30, 30), "bee": (30, 200, 30), "cow": (30, 30, 200), "train": (200, 200, 30)}


def write_pictures(folder: Path, classes: Sequence[str] = ("ant", "bee", "cow"), count: int = 6, side: int = 32) -> Path:
    """Write `count` noisy pictures a class as `folder/class/0.png`, ...; the folder."""
    rng = np.random.default_rng(len(folder.name))
    for name in classes:
        (folder / name).mkdir(parents=True)
        for number in range(count):
            noise = rng.integers(-25, 25, (side, side, 3))
            Image.fromarray((np.array(COLOURS[name]) + noise).astype(np.uint8)).save(folder / name / f"{number}.png")
    return folder


def pack(folder: Path) -> Path:
    """Pack a folder's contents as an uncompressed tar beside it."""
    path = folder.with_suffix(".tar")
    with tarfile.open(path, "w") as tar:
        for child in sorted(folder.iterdir()):
            tar.add(child, child.name)
    return path
