"""`data.json`: which images a run was made on, by class, and what was passed over among them."""

from __future__ import annotations

import json
from pathlib import Path

from space.files import write_atomically
from supernet.data.image_set import ImageSet

DATA = "data.json"


def write_data(run: Path, images: ImageSet, test_images: ImageSet | None = None) -> None:
    """Write the record of a training part, and of a test part where the run has one."""
    parts = {"train": images} | ({} if test_images is None else {"test": test_images})
    record = {
        name: {"source": part.source, **part.facts, "remarks": part.remarks}
        for name, part in parts.items()
    }
    write_atomically(run / DATA, json.dumps(record, indent=2) + "\n")
