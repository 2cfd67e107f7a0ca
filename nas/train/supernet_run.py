"""The supernet of a run: where it is kept, and what it is trained and judged on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from nas.runs.directory import RunError, config_of_run
from nas.runs.records.metadata import INHERITED, NetworkMetadata
from nas.runs.records.role import Role
from space.architecture import Architecture
from space.files import load_space
from space.narrowing import Narrowing, narrowed
from space.network import TokenMixerNet
from space.search_space import SearchSpace
from supernet.calibration import inherited_network
from supernet.data.images import ImageSet, open_images
from supernet.data.own_dataset import Dataset
from supernet.data.splits import Splits, split
from supernet.data.target_options import AS_FOUND, TargetOptions
from supernet.network import Supernet
from supernet.sharing import shared_tensors
from supernet.tasks.task import Task, check_head, task_of_images
from supernet.training.checkpoint import load_checkpoint
from supernet.training.distributed import own_device

WEIGHTS = "supernet.safetensors"


@dataclass(frozen=True)
class SupernetRun:
    """A supernet's space, data and files. It is pickled without weights and images by name, so that workers receive it whole.

    Args:
        folder: the run's directory; every worker must reach it.
        space: with the classes of the data.
        data: the `ImageSet.identity` of the images.
        image_size: side in pixels.
        seed: of the initial weights, the splits, the order of images and the paths.
        targets: how the images' targets are read.
        narrowings: of what is searched; the supernet may offer more.
        opened: the images; by default they are opened by name when they are first needed.
    """

    folder: Path
    space: SearchSpace
    data: str
    image_size: int
    seed: int
    targets: TargetOptions = AS_FOUND
    narrowings: tuple[Narrowing, ...] = ()
    opened: ImageSet | None = field(default=None, repr=False, compare=False)

    @classmethod
    def on_data(
        cls, folder: Path, space: SearchSpace, data: str | Path | Dataset | ImageSet, image_size: int | None, seed: int,
        targets: TargetOptions = AS_FOUND, narrowings: Sequence[Narrowing] = (),
    ) -> SupernetRun:  # fmt: skip
        """A run on data that determine the space's classes and channels, and the image size where none is given.

        Its supernet, too, has only what is left of a narrowed space.

        Raises:
            UserError: the data cannot be opened, or are not for the task of the space's head; or nothing is left of the space.
        """
        images = open_images(data, targets)
        check_head("space", space, images)
        space = narrowed(space, narrowings).replace(num_classes=images.num_classes, in_chans=images.in_chans)
        size = image_size or images.default_image_size()
        return cls(folder, space, images.identity, size, seed, images.targets, tuple(narrowings), images)

    @cached_property
    def searched_space(self) -> SearchSpace:
        """The part of the supernet's space that is searched."""
        return narrowed(self.space, self.narrowings)

    @property
    def weights_file(self) -> Path:
        """The trained weights; it appears when training has ended."""
        return self.folder / WEIGHTS

    @property
    def checkpoint_file(self) -> Path:
        """The checkpoint of an unfinished training."""
        return self.folder / "supernet.checkpoint.safetensors"

    @property
    def task(self) -> Task:
        """What the supernet is trained and judged for."""
        return task_of_images(self.images()[0])

    def images(self) -> tuple[ImageSet, Splits]:
        """The training part of the data and its splits, which depend on the data and the seed alone."""
        return self._images_and_splits

    def metadata_of(self, architecture: Architecture, role: Role = Role.OTHER) -> NetworkMetadata:
        """What is known of the weights that an architecture inherits."""
        preprocessing, class_names = self.task.preprocessing(self.image_size), self.images()[0].class_names
        return NetworkMetadata(architecture.fingerprint, preprocessing, class_names, role, INHERITED, seed=self.seed)

    def load_supernet(self) -> Supernet:
        """The trained supernet, on this process's device, without gradients."""
        return Supernet(self.space, shared=load_checkpoint(self.weights_file)[0]).to(own_device()).requires_grad_(False)

    def calibration_batches(self) -> list[Tensor]:
        """The calibration images, on this process's device."""
        images, splits = self.images()
        batches = self.task.evaluation_batches(images, splits.calibration, self.image_size, self.task.calibration_batch, own_device())
        return [images_BCHW for images_BCHW, _ in batches]

    def search_batches(self) -> list[tuple[Tensor, Tensor]]:
        """The search images and their targets, on this process's device."""
        images, splits = self.images()
        return list(self.task.evaluation_batches(images, splits.search, self.image_size, device=own_device()))

    @cached_property
    def _images_and_splits(self) -> tuple[ImageSet, Splits]:
        images = open_images(self.data, self.targets) if self.opened is None else self.opened
        return images, search_splits(images, self.seed)

    def __getstate__(self) -> dict[str, Any]:
        # The splits follow from the rest.
        state = self.__dict__.copy()
        found = state.pop("_images_and_splits", None)
        return state if found is None else state | {"opened": found[0]}


def search_splits(images: ImageSet, seed: int) -> Splits:
    """The parts of a training part as searches split it."""
    task = task_of_images(images)
    num_search = min(len(images) // 5, task.max_search_images)
    num_calibration = min(len(images) // 10, task.max_calibration_images)
    if num_calibration > task.calibration_batch:
        # Whole batches: statistics are averaged batch by batch.
        num_calibration -= num_calibration % task.calibration_batch
    return split(images, seed, num_search, num_calibration)


@dataclass(frozen=True)
class TrainedSupernet:
    """A trained supernet and where it is kept.

    Args:
        run: its space, its data and its files.
        facts: steps, whether it ran to its end, seconds, precision and device, steps skipped, updates by operator.
    """

    run: SupernetRun
    facts: Mapping[str, Any]

    @property
    def folder(self) -> Path:
        """The run's directory."""
        return self.run.folder

    def network(self, architecture: Architecture) -> TokenMixerNet:
        """An architecture of the space as a network of its own, in evaluation mode, with inherited weights and with batch norm
        statistics of the run's calibration images."""
        classes = {"num_classes": self.run.space.num_classes, "in_chans": self.run.space.in_chans}
        return inherited_network(*self._loaded, architecture.replace(**classes))

    @cached_property
    def _loaded(self) -> tuple[Supernet, list[Tensor]]:
        return self.run.load_supernet(), self.run.calibration_batches()


def open_supernet_run(folder: Path, data: str | Path | Dataset | ImageSet | None = None) -> SupernetRun:
    """The supernet run of a directory, by the config that the command wrote there.

    Args:
        folder: of a training or a search; where that searched another run's supernet, that run is returned, on the search's data and
            narrowed as the search.
        data: instead of the data that it was trained on, such as the same images at another path.

    Raises:
        RunError: the directory is not that of a run, or the data have another number of classes than the supernet.
    """
    config = config_of_run(folder)
    source = config["data"] if data is None else data
    narrowings = tuple(map(Narrowing.parse, config["only"]))
    if config.get("supernet"):
        return replace(open_supernet_run(Path(config["supernet"]), source), narrowings=narrowings)
    space, targets = load_space(config["space"]), TargetOptions.of(config)
    run = SupernetRun.on_data(folder.resolve(), space, source, config["image_size"], config["seed"], targets, narrowings)
    if data is not None and run.weights_file.exists():
        with torch.device("meta"):
            expected = shared_tensors(run.space)
        weights = load_checkpoint(run.weights_file)[0]
        if {name: tensor.shape for name, tensor in weights.items()} != {name: tensor.shape for name, tensor in expected.items()}:
            raise RunError(f"data: got {run.space.num_classes} classes, expected as many as the supernet in {folder} was trained on")
    return run
