"""The options that say which images a command reads, and how, and what it prints of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas.cli.options import Config, Group, option

if TYPE_CHECKING:
    from rich.console import Console

    from supernet.data.images import ImageSet
    from supernet.data.splits import Splits
    from supernet.data.target_options import TargetOptions

HELP = (
    "folder or tar with a folder a class, or with images/ and annotations/, .csv, .parquet, .npz, the name of a set (torch/..., hfds/...), "
    "digits, scattered-digits, synthetic or scenes"
)
DEFAULT = "scattered-digits"
"""Comes with the package, and its classes need the mixers: see docs/decisions/embedded-data-sets.md."""
TARGETS = Group("images and masks", "where the data do not tell how they are read")


@dataclass(frozen=True, kw_only=True)
class TargetChoice(Config):
    """How the targets of images are read; the fields are those of `supernet.data.target_options.TargetOptions`."""

    task: str | None = option(None, "classification or segmentation, where the data would serve both (told from the data)", group=TARGETS,
                             may_change=True)  # fmt: skip
    ignore_index: int = option(255, "number in masks that stands for no class", group=TARGETS, at_least=0, below=256)
    reduce_zero_label: bool = option(False, "0 in masks stands for no class, 1 for the first class", group=TARGETS)
    class_names: str | None = option(
        None, "text with a name a line, table or JSON, of the classes of masks (such a file beside them: classes.txt, ...)", group=TARGETS,
        convert=lambda value: str(Path(value).resolve()), metavar="FILE",
    )  # fmt: skip

    @property
    def targets(self) -> TargetOptions:
        """The options for opening images."""
        from supernet.data.target_options import TargetOptions

        return TargetOptions.of(self.values())


def source_named(value: Any) -> str:
    """A source by name; a path as an absolute one, since others that read it may have another working directory."""
    if not isinstance(value, str | Path):
        raise ValueError(f"got {type(value).__name__}, expected a path or the name of a set")
    return str(Path(value).resolve()) if Path(value).exists() else str(value)


def print_data(console: Console, images: ImageSet, splits: Splits, test_images: ImageSet | None = None) -> None:
    """Say how many images there are, what was passed over, and what makes figures on them doubtful."""
    from supernet.data.splits import cautions

    test = [] if test_images is None else [f"test part: {test_images.summary}", *test_images.remarks]
    for line in (f"{images.source}: {images.summary}", *images.remarks, *cautions(images, splits), *test):
        console.print(line, soft_wrap=True, highlight=False, markup=False)
