"""The option that says which images a command reads, and what it prints of them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

    from supernet.data.images import ImageSet
    from supernet.data.splits import Splits

HELP = "folder or tar with a folder a class, .csv, .parquet, .npz, the name of a set (torch/..., hfds/...), digits or synthetic"


def source_named(value: Any) -> str:
    """A source by name; a path as an absolute one, since others that read it may have another working directory."""
    if not isinstance(value, str | Path):
        raise ValueError(f"got {type(value).__name__}, expected a path or the name of a set")
    return str(Path(value).resolve()) if Path(value).exists() else str(value)


def print_data(console: Console, images: ImageSet, splits: Splits, test_images: ImageSet | None = None) -> None:
    """Say how many images there are, what was passed over, and what makes accuracies on them doubtful."""
    from supernet.data.splits import cautions

    test = [] if test_images is None else [f"test part: {test_images.summary}", *test_images.remarks]
    for line in (f"{images.source}: {images.summary}", *images.remarks, *cautions(images, splits), *test):
        console.print(line, soft_wrap=True, highlight=False, markup=False)
