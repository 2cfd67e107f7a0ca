"""Training one architecture as a network of its own: from random or inherited weights to results."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from nas.cli.trackers.by_name import TENSORBOARD
from nas.cli.trackers.scalars import VALIDATION, Scalars
from nas.retrain.layer_decay import layer_lr_scales
from nas.retrain.measuring import measure
from nas.retrain.origin import Origin
from nas.retrain.recipe import Recipe
from nas.retrain.retrained import RESULT, Retrained, best_epoch, keep_best, steps_measured, write_from_first, write_metrics, write_weights
from nas.retrain.teacher import Teacher, open_teacher
from nas.runs.records.metadata import AVERAGED, BEST_EPOCH, LAST, PROVENANCE, MeasuredFigure, NetworkMetadata
from nas.runs.records.retraining import ARCHITECTURE, WEIGHTS
from nas.runs.records.role import role_of
from space.architecture import Architecture
from space.files import dump_architecture
from space.network import TokenMixerNet, build_network
from supernet.data.batches import TrainingBatches
from supernet.data.images import ImageSet
from supernet.data.splits import Splits, split
from supernet.seeding import seeded
from supernet.tasks.task import Task, task_of_images
from supernet.training.checkpointer import remove_checkpoint
from supernet.training.compilation import compiled
from supernet.training.config import TrainConfig, check_training
from supernet.training.distributed import own_device, wait_for_all
from supernet.training.loop import train_network
from supernet.training.losses import Output
from supernet.training.state import TrainState
from supernet.training.step import StepReport

OnStep = Callable[[int, str], None]
"""Steps done, and how the training goes in words."""


@dataclass(frozen=True)
class Retraining:
    """What is trained, on what, and where the results are written.

    Args:
        architecture: with the classes of `images`.
        test_images: read once, after training; none where there are none.
        origin: of the weights to begin with; none for random ones.
        out: the run's directory, which exists.
        num_workers: processes that load images; by default as `supernet.data.loading.default_workers` says.
        may_compile: whether a long training is compiled.
        provenance: of the architecture, for its YAML.
        tracker: of the curves; a name of `nas.cli.trackers.by_name`.
    """

    architecture: Architecture
    recipe: Recipe
    images: ImageSet
    test_images: ImageSet | None
    image_size: int
    seed: int
    origin: Origin | None
    out: Path
    num_workers: int | None = None
    may_compile: bool = True
    provenance: Mapping[str, Any] = field(default_factory=dict)
    tracker: str = TENSORBOARD

    @property
    def metadata(self) -> NetworkMetadata:
        """What is known of the weights before training."""
        return NetworkMetadata(
            self.architecture.fingerprint, self.task.preprocessing(self.image_size), self.images.class_names, role_of(self.provenance),
            seed=self.seed,
        )  # fmt: skip

    @property
    def task(self) -> Task:
        """What the network is trained and judged for."""
        return task_of_images(self.images)

    @cached_property
    def splits(self) -> Splits:
        """The validation images are the split's search part."""
        return split(self.images, self.seed, num_search=max(1, round(self.recipe.validation * len(self.images))), num_calibration=0)

    @cached_property
    def batches(self) -> TrainingBatches:
        recipe = self.recipe
        augmentation = replace(self.task.augmentation, **{one.name: getattr(recipe, one.name) for one in fields(self.task.augmentation)})
        return self.task.training_batches(
            self.images, self.splits.train, recipe.batch_size, self.image_size, self.seed, augmentation, self.num_workers
        )

    @cached_property
    def train_config(self) -> TrainConfig:
        recipe, steps_per_epoch = self.recipe, self.batches.steps_per_epoch
        names = (
            "optimizer", "optimizer_eps", "lr", "weight_decay", "schedule", "decay_rate", "head_lr", "decay_all", "clip_grad",
            "label_smoothing", "mixup", "cutmix", "mix_prob", "ema_decay", "accumulate", "precision",
        )  # fmt: skip
        return TrainConfig(
            steps=recipe.num_steps(steps_per_epoch),
            warmup_steps=recipe.num_warmup_steps(steps_per_epoch),
            decay_steps=max(1, round(recipe.decay_epochs * steps_per_epoch)),
            seed=self.seed,
            **{name: getattr(recipe, name) for name in names},
        )

    @cached_property
    def teacher(self) -> Teacher | None:
        """The network to learn from beside the labels."""
        recipe = self.recipe
        if recipe.teacher is None:
            return None
        how = (recipe.distillation, recipe.distillation_weight, recipe.temperature)
        return open_teacher(recipe.teacher, recipe.teacher_weights, *how, self.images.num_classes, self.image_size)

    @property
    def is_done(self) -> bool:
        """Whether an earlier run has finished."""
        earlier = Retrained.read(self.out, self.architecture)
        return earlier is not None and earlier.finished

    @property
    def steps_done(self) -> int:
        """Steps of the epochs that have ended, also in another process; all where the training has."""
        return self.train_config.steps if self.is_done else min(steps_measured(self.out), self.train_config.steps)

    def check(self, say: Callable[[str], None] = lambda line: None, fetches: bool = True) -> None:
        """UserError where `run` would fail before its first step, so that no directory is made for an impossible training.

        Args:
            say: is told where initial weights come from, and how they fit.
            fetches: whether weights may be fetched; a dry run fetches none.
        """
        check_training(self.recipe.batch_size, self.train_config)
        _ = self.teacher
        if self.origin is not None and not self.is_done:
            self.origin.fill(build_network(self.architecture), say, fetches)

    def run(
        self,
        max_seconds: float | None = None,
        on_step: OnStep = lambda steps, note: None,
    ) -> Retrained:
        """Train or resume, and write everything; what an earlier run has finished is not done again.

        Args:
            max_seconds: time limit of this run; earlier runs are not counted.
        """
        checkpoint = self.out / "checkpoint.safetensors"
        found = Retrained.read(self.out, self.architecture)
        if found is None or not found.finished:
            network = self._initial_network()
            provenance = {**self.provenance, PROVENANCE: self.metadata.document}
            write_from_first(self.out / ARCHITECTURE, dump_architecture(self.architecture, provenance))
            found = self._measured(network, self._train(network, checkpoint, max_seconds, on_step))
        if found.finished:
            remove_checkpoint(checkpoint)
        return found

    def _initial_network(self) -> TokenMixerNet:
        with seeded("weights", self.seed):
            network = build_network(self.architecture, self.recipe.drop_path, drop_rate=self.recipe.dropout)
        if self.origin is not None:
            self.origin.fill(network, lambda line: None)
        # The memory format of the maps inside: convolutions need not convert their weights.
        return network.to(memory_format=torch.channels_last)

    def _train(self, network: TokenMixerNet, checkpoint: Path, max_seconds: float | None, on_step: OnStep) -> TrainState:
        scalars = Scalars(self.out, self.train_config.steps, self.recipe.batch_size, self.tracker)
        steps_per_epoch = self.batches.steps_per_epoch
        # Checkpoints hold it, so an interrupted training comes to the same metrics.
        extra: dict[str, Any] = {"rows": [], "sum_of_losses": 0.0}
        note = ""

        def follow(report: StepReport) -> None:
            nonlocal note
            scalars.follow(report)
            extra["sum_of_losses"] += report.loss
            epoch, rest = divmod(report.step, steps_per_epoch)
            if not rest:
                judged = measure(network, self.images, self.splits.search, self.image_size, report.average, self.may_compile)
                validation = MeasuredFigure.of(judged.score)
                loss = extra["sum_of_losses"] / steps_per_epoch
                extra["rows"].append((epoch, report.step, f"{loss:.6g}", f"{report.lr:.6g}", f"{validation.value:.6g}"))
                extra["sum_of_losses"] = 0.0
                write_metrics(self.out, self.task.metric, extra["rows"])
                scalars.add(f"{VALIDATION} {self.task.metric}", validation.value, report.step)
                validated = replace(self.metadata, weights=BEST_EPOCH, epoch=epoch, steps=report.step, validation=validation)
                keep_best(self.out, validated, report.average or network.state_dict())
                note = f", validation {validation.value:.1%}"
            on_step(report.step, f"loss {report.loss:.2f}{note}")

        config = self.train_config

        def forward(_: int, images_BCHW: Tensor) -> Output:
            logits = run(images_BCHW.contiguous(memory_format=torch.channels_last))
            return logits if self.teacher is None else self.teacher.distil(logits, images_BCHW)

        with scalars, compiled(network, config.steps, config.accumulate, self.may_compile) as run:
            return train_network(
                network,
                forward,
                self.batches,
                config,
                checkpoint=checkpoint,
                extra=extra,
                lr_scales=layer_lr_scales(network, self.recipe.layer_decay) if self.recipe.layer_decay < 1 else None,
                max_seconds=max_seconds,
                on_step=follow,
                is_read_at=lambda step: step % steps_per_epoch == 0,
                on_save=scalars.flush,
            )

    def _measured(self, network: nn.Module, state: TrainState) -> Retrained:
        """Measure the trained weights; write them and the results."""
        counters = state.counters
        if state.average is not None:
            network.load_state_dict(state.average)
        validated = judged = measure(network, self.images, self.splits.search, self.image_size, may_compile=self.may_compile)
        test = None
        if self.test_images is not None:
            judged = measure(network, self.test_images, range(len(self.test_images)), self.image_size, may_compile=self.may_compile)
            test = MeasuredFigure.of(judged.score)
        by_class = zip(self.images.class_names, self.task.by_class(judged.counts), strict=False)
        measured = replace(
            self.metadata, weights=LAST if state.average is None else AVERAGED, steps=counters.step, precision=counters.precision,
            validation=MeasuredFigure.of(validated.score), test=test,
        )  # fmt: skip
        write_weights(self.out / WEIGHTS, network.state_dict(), measured)
        facts = asdict(measured) | {
            # On the test images; on those for validation where there are none.
            "by_class": {name: None if math.isnan(value) else value for name, value in by_class},
            "best": best_epoch(self.out),
            "planned_steps": self.train_config.steps,
            "finished": state.finished,
            "skipped_steps": counters.skipped,
            "seconds": counters.seconds,
            "device": str(own_device()),
            "params": sum(parameter.numel() for parameter in network.parameters()),
        }
        write_from_first(self.out / RESULT, json.dumps(facts, indent=2) + "\n")
        wait_for_all()
        return Retrained(self.out, self.architecture, facts)
