"""The supernet of a run: trained once, then loaded by whoever evaluates with it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from nas.cli.tensorboard import FOLDER, Scalars
from nas.runs.directory import RunError, config_of_run
from space.files import load_space
from space.search_space import SearchSpace
from supernet.data.batches import Batches
from supernet.data.images import ImageSet, Splits, open_images, split
from supernet.data.own_dataset import Dataset
from supernet.network import Supernet
from supernet.path_training import PathTraining
from supernet.paths import strategy
from supernet.scope import Scope
from supernet.slicing import shared_tensors
from supernet.training.checkpoint import load_checkpoint, save_checkpoint
from supernet.training.distributed import is_first
from supernet.training.engine import StepReport, TrainConfig, remove_checkpoint, train

WEIGHTS = "supernet.safetensors"
CALIBRATION_BATCH = 64
EVALUATION_BATCH = 256
MAX_SEARCH_IMAGES = 1000
MAX_CALIBRATION_IMAGES = 256


@dataclass(frozen=True)
class SupernetRun:
    """Where a supernet lives and what it is trained and judged on. It travels small, so that workers receive it whole.

    Args:
        folder: the run's directory; every worker must reach it.
        space: with the classes of the data.
        data: the `ImageSet.identity` of the images.
        image_size: side in pixels.
        seed: of the initial weights, the splits, the order of images and the paths.
        opened: the images; by default they are opened by name when they are first asked for.
    """

    folder: Path
    space: SearchSpace
    data: str
    image_size: int
    seed: int
    opened: ImageSet | None = field(default=None, repr=False, compare=False)

    @classmethod
    def on_data(
        cls, folder: Path, space: SearchSpace, data: str | Path | Dataset | ImageSet, image_size: int | None, seed: int
    ) -> SupernetRun:
        """A run on data that gives the space its classes and channels, and the image size where none is asked for."""
        images = open_images(data)
        space = space.replace(num_classes=images.num_classes, in_chans=images.in_chans)
        return cls(folder, space, images.identity, image_size or images.default_image_size(), seed, images)

    @property
    def weights_file(self) -> Path:
        """The trained weights; it appears when training has ended."""
        return self.folder / WEIGHTS

    @property
    def checkpoint_file(self) -> Path:
        """State of a training under way."""
        return self.folder / "supernet.checkpoint.safetensors"

    def images(self) -> tuple[ImageSet, Splits]:
        """The training part of the data and its splits, the same for everyone who asks."""
        return self._material

    @cached_property
    def _material(self) -> tuple[ImageSet, Splits]:
        images = open_images(self.data) if self.opened is None else self.opened
        num_search = min(len(images) // 5, MAX_SEARCH_IMAGES)
        num_calibration = min(len(images) // 10, MAX_CALIBRATION_IMAGES)
        if num_calibration > CALIBRATION_BATCH:
            # Whole batches: statistics are averaged batch by batch.
            num_calibration -= num_calibration % CALIBRATION_BATCH
        return images, split(images, self.seed, num_search, num_calibration)

    def __getstate__(self) -> dict[str, Any]:
        # The splits follow from the rest.
        state = self.__dict__.copy()
        material = state.pop("_material", None)
        return state if material is None else state | {"opened": material[0]}

    def fits_weights(self) -> bool:
        """Whether the trained weights are those of the run's space: of as many classes as the data have."""
        weights = load_checkpoint(self.weights_file)[0]
        with torch.device("meta"):
            expected = shared_tensors(self.space)
        return {name: tensor.shape for name, tensor in weights.items()} == {name: tensor.shape for name, tensor in expected.items()}

    @property
    def has_begun(self) -> bool:
        """Whether there is a training to go on from, or its result."""
        return self.weights_file.exists() or self.checkpoint_file.exists()

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


def open_supernet_run(folder: Path, data: str | Path | Dataset | ImageSet | None = None) -> SupernetRun:
    """The run of a directory, as the command made it that wrote its config there. Whoever only searches it leaves its weights alone.

    Args:
        folder: of a training, or of a search; where that searched another run's supernet it is that run, on the search's data.
        data: instead of the data that it was trained on, such as the same images at another path.

    Raises:
        RunError: the directory is none of a run, or the data have another number of classes than the supernet.
    """
    config = config_of_run(folder)
    source = config["data"] if data is None else data
    if config.get("supernet"):
        return open_supernet_run(Path(config["supernet"]), source)
    run = SupernetRun.on_data(folder.resolve(), load_space(config["space"]), source, config["image_size"], config["seed"])
    if data is not None and run.weights_file.exists() and not run.fits_weights():
        raise RunError(f"data: got {run.space.num_classes} classes, expected as many as the supernet in {folder} was trained on")
    return run
