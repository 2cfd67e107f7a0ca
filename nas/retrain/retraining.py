"""Training one architecture as a network of its own: from random or inherited weights to results."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypedDict

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn
from torch.func import functional_call

from nas.cli.tensorboard import FOLDER, VALIDATION, Scalars
from nas.retrain.recipe import Recipe
from nas.retrain.teacher import Teacher, open_teacher
from space.architecture import Architecture
from space.errors import one_line
from space.files import dump_architecture, write_atomically
from space.network import build_network
from space.weights import load_weights
from supernet.data.batches import Augmentation, Batches, evaluation_batches
from supernet.data.images import ImageSet, Splits, split
from supernet.intervals import over_images
from supernet.randomness import seeded
from supernet.training.distributed import is_first, num_processes, this_process, total, wait_for_all
from supernet.training.engine import StepReport, TrainConfig, TrainingError, TrainReport, check_training, remove_checkpoint, train
from supernet.training.losses import Taught

WEIGHTS, BEST = "weights.safetensors", "best.safetensors"
"""The result of a training, and the weights of the epoch whose validation accuracy was the highest."""
METRICS = ("epoch", "steps", "loss", "lr", "validation_accuracy")


OnStep = Callable[[int, str], None]


def _quiet(step: int, note: str) -> None:
    """Follows a training without a word."""


def _silent(line: str) -> None:
    """Tells nobody."""


class Accuracy(TypedDict):
    """A share of correct answers and its 95 % interval (Wilson's)."""

    accuracy: float
    interval95: tuple[float, float]
    images: int


@dataclass(frozen=True)
class Retraining:
    """What is trained, on what, and where the results go.

    Args:
        architecture: with the classes of `images`.
        test_images: read once, after training; none where there are none.
        inherit: a safetensors file with weights to begin with.
        out: the run's directory, which exists.
        num_workers: processes that load images; by default as `supernet.data.batches.default_workers` says.
    """

    architecture: Architecture
    recipe: Recipe
    images: ImageSet
    test_images: ImageSet | None
    image_size: int
    seed: int
    inherit: Path | None
    out: Path
    num_workers: int | None = None

    @cached_property
    def splits(self) -> Splits:
        """The validation images are the split's search part."""
        return split(self.images, self.seed, num_search=max(1, round(self.recipe.validation * len(self.images))), num_calibration=0)

    @cached_property
    def batches(self) -> Batches:
        recipe = self.recipe
        augmentation = Augmentation(recipe.min_area, recipe.mirror, recipe.color_jitter, recipe.auto_augment, recipe.erase)
        return Batches(self.images, self.splits.train, recipe.batch_size, self.image_size, self.seed, augmentation, self.num_workers)

    @cached_property
    def train_config(self) -> TrainConfig:
        recipe, steps_per_epoch = self.recipe, self.batches.steps_per_epoch
        names = ("optimizer", "lr", "weight_decay", "clip_grad", "label_smoothing", "mixup", "cutmix", "mix_prob", "ema_decay",
                 "accumulate", "precision")  # fmt: skip
        return TrainConfig(
            steps=recipe.epochs * steps_per_epoch,
            warmup_steps=round(recipe.warmup_epochs * steps_per_epoch),
            seed=self.seed,
            **{name: getattr(recipe, name) for name in names},
        )

    @cached_property
    def teacher(self) -> Teacher | None:
        """Whom the network learns from beside the labels."""
        recipe = self.recipe
        if recipe.teacher is None:
            return None
        how = (recipe.distillation, recipe.distillation_weight, recipe.temperature)
        return open_teacher(recipe.teacher, recipe.teacher_weights, *how, self.images.num_classes, self.image_size)

    def check(self) -> None:
        """UserError where `run` would end before its first step: so that no directory is taken for a training that cannot be."""
        check_training(self.recipe.batch_size, self.train_config)
        _ = self.teacher
        if self.inherit is not None:
            load_weights(build_network(self.architecture), self.inherit, other_classes=True)

    def run(self, max_seconds: float | None = None, on_step: OnStep = _quiet, say: Callable[[str], None] = _silent) -> dict[str, Any]:
        """Train, or go on, and write everything; the results, which are those in `result.json`.

        Args:
            max_seconds: when this run of the training ends at the latest; earlier ones are not counted.
            on_step: told the number of steps done, and how it goes in words.
            say: told what else there is to know.
        """
        results = self._results()
        if results is None or not results["finished"]:
            results = self._train_and_test(max_seconds, on_step, say)
        if results["finished"]:
            remove_checkpoint(self._checkpoint)
        return results

    @property
    def is_done(self) -> bool:
        """Whether an earlier run has come to the end."""
        results = self._results()
        return results is not None and results["finished"]

    @property
    def _checkpoint(self) -> Path:
        return self.out / "checkpoint.safetensors"

    @property
    def _results_file(self) -> Path:
        return self.out / "result.json"

    def _results(self) -> dict[str, Any] | None:
        """Those of an earlier run. Damaged ones are none: the training goes on from its checkpoint, or starts over."""
        try:
            found = json.loads(self._results_file.read_text())
        except (FileNotFoundError, ValueError):
            return None
        return found if isinstance(found, dict) and found.keys() >= {"finished", "seconds"} else None

    def _train_and_test(self, max_seconds: float | None, on_step: OnStep, say: Callable[[str], None]) -> dict[str, Any]:
        with seeded("weights", self.seed):
            network = build_network(self.architecture, self.recipe.drop_path)
        if self.inherit is not None and load_weights(network, self.inherit, other_classes=True):
            say(f"{self.inherit}: its head is for other classes and begins at random")
        # As the maps inside lie anyway: convolutions need not turn their weights.
        network = network.to(memory_format=torch.channels_last)
        self._write("architecture.yaml", dump_architecture(self.architecture))
        report = self._train(network, max_seconds, on_step)
        if report.average is not None:
            network.load_state_dict(dict(report.average))
        self._write_weights(WEIGHTS, network.state_dict(), {"format": "pt"})
        test = None
        if self.test_images is not None:
            test = accuracy(network, self.test_images, range(len(self.test_images)), self.image_size)
        results = {
            "test": test,
            "validation": accuracy(network, self.images, self.splits.search, self.image_size),
            "best": self._best(),
            "seed": self.seed,
            "steps": report.steps,
            "planned_steps": self.train_config.steps,
            "finished": report.finished,
            "skipped_steps": report.skipped,
            "seconds": report.seconds,
            "precision": report.precision,
            "device": report.device,
            "params": sum(parameter.numel() for parameter in network.parameters()),
            "fingerprint": self.architecture.fingerprint,
        }
        self._write(self._results_file.name, json.dumps(results, indent=2) + "\n")
        wait_for_all()
        return results

    def _train(self, network: nn.Module, max_seconds: float | None, on_step: OnStep) -> TrainReport:
        steps_per_epoch = self.batches.steps_per_epoch
        # Travels in the checkpoint: however often a training is interrupted, its metrics come out the same.
        carried: dict[str, Any] = {"rows": [], "sum_of_losses": 0.0}
        validation = ""

        scalars = Scalars(self.out / FOLDER, self.train_config.steps, self.recipe.batch_size)

        def follow(step: StepReport) -> None:
            nonlocal validation
            scalars.follow(step)
            carried["sum_of_losses"] += step.loss
            if step.step % steps_per_epoch == 0:
                share = accuracy(network, self.images, self.splits.search, self.image_size, step.average)["accuracy"]
                loss = carried["sum_of_losses"] / steps_per_epoch
                carried["rows"].append((step.step // steps_per_epoch, step.step, f"{loss:.6g}", f"{step.lr:.6g}", f"{share:.6g}"))
                carried["sum_of_losses"] = 0.0
                self._write_metrics(carried["rows"])
                scalars.add(VALIDATION, share, step.step)
                self._keep_best(step.step // steps_per_epoch, share, step.average or network.state_dict())
                validation = f", validation {share:.1%}"
            on_step(step.step, f"loss {step.loss:.2f}{validation}")

        run = torch.compile(network) if self.recipe.compile else network

        def forward(_: int, images: Tensor) -> Tensor | Taught:
            logits = run(images.contiguous(memory_format=torch.channels_last))
            return logits if self.teacher is None else self.teacher.teach(logits, images)

        with scalars, _compilation_told() if self.recipe.compile else nullcontext():
            return train(
                network,
                forward,
                self.batches,
                self.train_config,
                checkpoint=self._checkpoint,
                carried=carried,
                max_seconds=max_seconds,
                on_step=follow,
                on_save=scalars.flush,
            )

    def _write_metrics(self, rows: Iterable[Iterable[object]]) -> None:
        """Write `metrics.csv`, a row an epoch."""
        text = io.StringIO(newline="")
        csv.writer(text).writerows([METRICS, *rows])
        self._write("metrics.csv", text.getvalue())

    def _keep_best(self, epoch: int, validation_accuracy: float, state: Mapping[str, Tensor]) -> None:
        """Write `best.safetensors` where no epoch before was as good.

        The file itself tells how good it is: a training that goes on from before it comes to the same file again.
        """
        best = self._best()
        if best is None or validation_accuracy > best["validation_accuracy"]:
            reached = json.dumps({"epoch": epoch, "validation_accuracy": validation_accuracy})
            # One entry: safetensors writes several in any order, and the same training shall leave the same file.
            self._write_weights(BEST, state, {"reached": reached})

    def _best(self) -> dict[str, Any] | None:
        """The epoch of `best.safetensors` and its accuracy; none where no epoch has ended."""
        try:
            with safe_open(self.out / BEST, "pt") as file:
                return json.loads(file.metadata()["reached"])
        except (FileNotFoundError, SafetensorError, TypeError, KeyError, ValueError):
            return None

    def _write_weights(self, name: str, state: Mapping[str, Tensor], header: dict[str, str]) -> None:
        weights = {key: tensor.detach().cpu().contiguous() for key, tensor in state.items()}
        self._write(name, save(weights, header))

    def _write(self, name: str, content: str | bytes) -> None:
        if is_first():
            write_atomically(self.out / name, content)


@contextmanager
def _compilation_told() -> Iterator[None]:
    """Turn what torch.compile has to say into one line; TrainingError."""
    # Imported here: it takes seconds.
    from torch._dynamo.exc import TorchDynamoException

    try:
        yield
    except TorchDynamoException as error:
        raise TrainingError(f"compile: torch.compile failed ({one_line(error)}); leave out --compile") from None


@torch.no_grad()
def accuracy(
    network: nn.Module, images: ImageSet, indices: Iterable[int], image_size: int, state: Mapping[str, Tensor] | None = None
) -> Accuracy:
    """Share of the images whose class the network tells, in its own mode of evaluation or with another state's tensors.

    Every process that trains it has to ask: each looks at its share of the images.
    """
    device = next(network.parameters()).device
    training = network.training
    network.eval()
    correct = seen = 0
    own = list(indices)[this_process().process_index :: num_processes()] if num_processes() > 1 else list(indices)
    for batch, labels in evaluation_batches(images, own, image_size):
        logits = functional_call(network, dict(state or {}), (batch.to(device),))
        correct += int(logits.argmax(1).cpu().eq(labels).sum())
        seen += len(labels)
    network.train(training)
    correct, seen = map(int, total(torch.tensor((correct, seen))))
    found = over_images(correct / seen, seen)
    return {"accuracy": found.share, "interval95": (found.low, found.high), "images": seen}
