"""The supernet of a run: trained once, then loaded by whoever evaluates with it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nas.cli.tensorboard import FOLDER, Scalars
from nas.runs.directory import config_of_run
from space.files import load_space
from space.search_space import SearchSpace
from supernet.data.batches import Batches
from supernet.data.images import ImageSet, Splits, open_images, split
from supernet.network import Supernet
from supernet.path_training import PathTraining
from supernet.paths import strategy
from supernet.scope import Scope
from supernet.training.checkpoint import load_checkpoint, save_checkpoint
from supernet.training.distributed import is_first
from supernet.training.engine import StepReport, TrainConfig, remove_checkpoint, train

CALIBRATION_BATCH = 64
EVALUATION_BATCH = 256
MAX_SEARCH_IMAGES = 1000
MAX_CALIBRATION_IMAGES = 256


@dataclass(frozen=True)
class SupernetRun:
    """Where a supernet lives and what it is trained and judged on. Small, so that workers receive it whole.

    Args:
        folder: the run's directory; every worker must reach it.
        space: with the classes of the data.
        data: as `open_images` reads it.
        image_size: side in pixels.
        seed: of the initial weights, the splits, the order of images and the paths.
    """

    folder: Path
    space: SearchSpace
    data: str
    image_size: int
    seed: int

    @classmethod
    def on_data(cls, folder: Path, space: SearchSpace, data: str, image_size: int | None, seed: int) -> SupernetRun:
        """A run on data that gives the space its classes and channels, and the image size where none is asked for."""
        images = open_images(data)
        space = space.replace(num_classes=images.num_classes, in_chans=images.in_chans)
        return cls(folder, space, data, image_size or images.default_image_size(), seed)

    @property
    def weights_file(self) -> Path:
        """The trained weights; it appears when training has ended."""
        return self.folder / "supernet.safetensors"

    @property
    def checkpoint_file(self) -> Path:
        """State of a training under way."""
        return self.folder / "supernet.checkpoint.safetensors"

    def images(self) -> tuple[ImageSet, Splits]:
        """The training part of the data and its splits, the same for everyone who asks."""
        images = open_images(self.data)
        num_search = min(len(images) // 5, MAX_SEARCH_IMAGES)
        num_calibration = min(len(images) // 10, MAX_CALIBRATION_IMAGES)
        if num_calibration > CALIBRATION_BATCH:
            # Whole batches: statistics are averaged batch by batch.
            num_calibration -= num_calibration % CALIBRATION_BATCH
        return images, split(images, self.seed, num_search, num_calibration)

    def train(
        self,
        scope: Scope,
        paths: str,
        config: TrainConfig,
        batch_size: int,
        max_seconds: float | None,
        begin: Callable[[Supernet], None],
        on_step: Callable[[StepReport], None],
        goes_on: bool = False,
    ) -> Mapping[str, Any]:
        """Train from the last checkpoint on; what an earlier run finished stays.

        Args:
            scope: of the run's space.
            paths: name of a strategy.
            begin: may change the initial weights.
            goes_on: whether a training that its time limit ended is gone on with, now and later. Not where a search has begun:
                what it has judged, it has judged with the weights of that time.

        Returns:
            Facts of the training: steps, seconds, precision, skipped steps, whether it ran to its end, updates by operator.
        """
        if self.weights_file.exists():
            facts = load_checkpoint(self.weights_file)[1]
            if facts["finished"] or not goes_on or not self.checkpoint_file.exists():
                remove_checkpoint(self.checkpoint_file)
                return facts
        images, splits = self.images()
        supernet = Supernet(self.space, self.seed)
        if not self.checkpoint_file.exists():
            begin(supernet)
        training = PathTraining(supernet, strategy(paths), scope, self.seed)
        batches = Batches(images, splits.train, batch_size, self.image_size, self.seed)
        with Scalars(self.folder / FOLDER, config.steps, batch_size) as scalars:

            def follow(step: StepReport) -> None:
                scalars.follow(step)
                on_step(step)

            report = train(
                training,
                training,
                batches,
                config,
                slices=training.slices,
                checkpoint=self.checkpoint_file,
                max_seconds=max_seconds,
                on_step=follow,
                on_save=scalars.flush,
            )
        facts = {"steps": report.steps, "finished": report.finished, "skipped": report.skipped, "seconds": round(report.seconds, 1),
                 "precision": report.precision, "device": report.device, "paths": paths, "updates": training.updates}  # fmt: skip
        if is_first():
            save_checkpoint(self.weights_file, dict(supernet.shared.items()), facts)
        if report.finished or not goes_on:
            remove_checkpoint(self.checkpoint_file)
        return facts


def open_supernet_run(folder: Path) -> SupernetRun:
    """The run of a directory, as the command made it that wrote its config there."""
    config = config_of_run(folder)
    return SupernetRun.on_data(folder.resolve(), load_space(config["space"]), config["data"], config["image_size"], config["seed"])
