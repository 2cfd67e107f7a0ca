"""The one training loop, for a supernet and for a single network.

A step depends on the seed, its number and the state before it: batches, augmentation, mixing and stochastic depth
draw their random numbers by the step, so a checkpoint needs no random state and a resumed training equals an
uninterrupted one. When checkpoints are written depends on the clock; what is trained does not.

A batch is trained on in equal parts where it has to be: every process that torchrun starts takes some, one after the other. Parts
are mixed alike and draw their other random numbers by their own number, so it does not matter who trains on which: two processes
train what one does in twice as many parts. Batch norms see a part at a time, and their averages over all processes are kept.
"""

from __future__ import annotations

import math
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import BaseModel, NonNegativeFloat, NonNegativeInt, PositiveFloat
from torch import Tensor, nn

from space.errors import UserError
from supernet.data.batches import Batches, places_of_part
from supernet.randomness import reseed, seeded
from supernet.slices import Slices, Touched, update
from supernet.training.checkpoint import CheckpointError, flatten_optimizer, load_checkpoint, restore_optimizer, save_checkpoint
from supernet.training.distributed import average, num_processes, this_process, total, wait_for_all
from supernet.training.interruptions import interruptions
from supernet.training.losses import Output, Taught, loss_of
from supernet.training.precision import Precision, precision_of

Forward = Callable[[int, Tensor], Tensor | Iterable[Output] | Taught]
"""Step and images (B, C, H, W) to logits (B, classes), or to the outputs of several paths one by one: their gradients add up."""

FUSED = frozenset({"adam", "adamw"})
"""The optimizers whose fused form takes parameters that have no state yet beside those that have."""
MAX_BAD_STEPS = 10
"""Steps without a finite loss or gradient, in a row, before a training counts as diverged."""
LOWER_LR = 0.1
"""Times the learning rate, a training that has diverged goes on from its last landmark, once."""
LANDMARK_STEPS = 200
"""A landmark is the state after a multiple of so many steps: a place to go back to that no clock decides."""
SECONDS_UNSAVED = 60.0
"""What a training that is killed loses at most, unless writing takes long."""
WRITING_SHARE = 0.05
"""Of a training's time, what goes into writing checkpoints at most."""


class TrainingError(UserError):
    """A training that cannot go on, or cannot begin as configured."""


@dataclass(frozen=True)
class TrainConfig:
    """How to train. Names are timm's.

    Args:
        steps: updates of the weights in all.
        optimizer: of `timm.optim`.
        lr: the highest learning rate; it rises over `warmup_steps`, then falls to zero along a cosine.
        clip_grad: greatest norm of all gradients together.
        label_smoothing: share of the target that is spread over all classes.
        mixup, cutmix: alpha of the Beta distribution; 0 is off.
        mix_prob: share of the batches that is mixed.
        ema_decay: of the running average of the weights; none keeps no average. It rises from 0.1 over the first steps.
        accumulate: in how many parts, one after the other, a process trains on its share of a batch.
        precision: `auto` is the device's own, as `supernet.training.precision` tells.
    """

    steps: int
    optimizer: str = "adamw"
    lr: float = 1e-3
    weight_decay: float = 0.05
    warmup_steps: int = 0
    clip_grad: float | None = 5.0
    label_smoothing: float = 0.1
    mixup: float = 0.0
    cutmix: float = 0.0
    mix_prob: float = 1.0
    ema_decay: float | None = None
    accumulate: int = 1
    precision: Literal["fp32", "bf16", "auto"] = "auto"
    seed: int = 0


@dataclass(frozen=True)
class StepReport:
    """After one step.

    Args:
        step: counted from 1.
        loss: not finite where the step was skipped.
        skipped: steps that were so far.
        average: the averaged weights and buffers by name, live, where the configuration asks for them.
    """

    step: int
    loss: float
    lr: float
    skipped: int
    average: Mapping[str, Tensor] | None


@dataclass(frozen=True)
class TrainReport:
    """After a training.

    Args:
        steps: done, those of earlier runs included.
        finished: false where the time limit came first.
        skipped: steps without a finite loss and gradient; they changed nothing.
        seconds: all runs of this training together.
        average: as in `StepReport`.
    """

    steps: int
    finished: bool
    skipped: int
    seconds: float
    precision: Precision
    device: str
    average: Mapping[str, Tensor] | None


def train(
    model: nn.Module,
    forward: Forward,
    batches: Batches,
    config: TrainConfig,
    *,
    checkpoint: Path | None = None,
    slices: Slices | None = None,
    carried: dict[str, Any] | None = None,
    max_seconds: float | None = None,
    on_step: Callable[[StepReport], None] | None = None,
    on_save: Callable[[], None] | None = None,
) -> TrainReport:
    """Train the parameters of `model` in place, from the checkpoint on where there is one.

    What a step's forward does not use of the parameters keeps its values, its optimiser state and its average. Ctrl-C saves
    after the step it falls into, then raises KeyboardInterrupt; a second one does not wait for that.

    Args:
        forward: runs the model, once for every part of a batch; it may look at the step to choose a path.
        checkpoint: written now and then, with the last landmark in a second file beside it; `remove_checkpoint` when all is done.
        slices: where a forward that runs parts of parameters takes them from.
        carried: what `on_step` gathers, in terms of JSON; a checkpoint keeps it, and going on from there sets it back.
        max_seconds: stop after this time; that of earlier runs is not counted.
        on_save: called before a checkpoint is written: whoever goes on from that is told of no step up to it again.

    Raises:
        TrainingError: too many steps in a row without a finite loss, and that again at a lower learning rate from the last
            landmark on, if there is one.
        CheckpointError: the checkpoint is damaged or of another configuration.
    """
    training = _Training(model, forward, batches, config, slices or Slices(), {} if carried is None else carried)
    if checkpoint is not None and checkpoint.exists():
        training.load(checkpoint)
    end_seconds = None if max_seconds is None else training.seconds + max_seconds
    if training.precision is None:
        training.precision = precision_of(training.device) if config.precision == "auto" else config.precision
    with interruptions() as interrupted:
        stream = training.stream()
        clock = _Clock()
        is_late, is_stopped, is_due = training.agreed(end_seconds, interrupted, clock)
        while training.step < config.steps and not is_late and not is_stopped:
            start = time.perf_counter()
            try:
                loss, lr = training.advance(*next(stream))
            except _DivergedError as error:
                training.go_back(checkpoint, error)
                stream = training.stream()
                continue
            if on_step is not None:
                on_step(StepReport(training.step, loss, lr, training.skipped, training.average))
            training.seconds += time.perf_counter() - start
            is_late, is_stopped, is_due = training.agreed(end_seconds, interrupted, clock)
            if checkpoint is not None:
                if training.step % LANDMARK_STEPS == 0 and training.step < config.steps:
                    training.save(_landmark_of(checkpoint))
                if is_stopped or is_due or is_late:
                    with clock.writing():
                        if on_save is not None:
                            on_save()
                        training.save(checkpoint)
        if is_stopped or interrupted.is_set():
            raise KeyboardInterrupt
    return training.report()


def remove_checkpoint(checkpoint: Path) -> None:
    """Remove what a training with this checkpoint may have written."""
    for file in (checkpoint, _landmark_of(checkpoint)):
        file.unlink(missing_ok=True)


def _landmark_of(checkpoint: Path) -> Path:
    return checkpoint.with_stem(f"{checkpoint.stem}.landmark")


class _Clock:
    """When the next checkpoint is due."""

    def __init__(self) -> None:
        self._written = time.perf_counter()
        self._wait = SECONDS_UNSAVED

    @property
    def is_due(self) -> bool:
        return time.perf_counter() - self._written >= self._wait

    @contextmanager
    def writing(self) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self._written = time.perf_counter()
        self._wait = max(SECONDS_UNSAVED, (self._written - start) / WRITING_SHARE)


def check_training(batch_size: int, config: TrainConfig) -> None:
    """TrainingError where `train` would refuse a configuration before its first step: so that nothing is written for it."""
    _parts_of(batch_size, config, num_processes())
    if config.optimizer not in FUSED:
        _optimizer_of(nn.Linear(1, 1), config)


def _is_mixed(config: TrainConfig) -> bool:
    return config.mixup > 0 or config.cutmix > 0


def _parts_of(batch_size: int, config: TrainConfig, processes: int) -> int:
    """In how many parts a batch is trained on, in all processes together."""
    parts = config.accumulate * processes
    multiple = 2 * parts if _is_mixed(config) or parts > 1 else 1
    if batch_size % multiple:
        why = f"to be mixed in pairs, in {parts} equal parts" if _is_mixed(config) else f"to be trained on in {parts} equal parts"
        raise TrainingError(f"batch size: got {batch_size}, expected a multiple of {multiple}, {why}")
    return parts


def _optimizer_of(model: nn.Module, config: TrainConfig) -> torch.optim.Optimizer:
    # Imported here: it takes seconds, and not everyone who names a recipe trains.
    from timm.optim import create_optimizer_v2

    try:
        # A step of hundreds of small tensors is four times as fast fused.
        more: dict[str, Any] = {"fused": True} if config.optimizer in FUSED else {}
        optimizer = create_optimizer_v2(model, config.optimizer, lr=config.lr, weight_decay=config.weight_decay, **more)
    except (ValueError, AssertionError) as error:
        reason = " ".join(str(error).split())[:120]
        raise TrainingError(f"optimizer: got {config.optimizer!r}, expected a name of timm's ({reason})") from None
    if getattr(optimizer, "is_second_order", False):
        raise TrainingError(f"optimizer: got {config.optimizer!r}, expected one that needs gradients of first order alone")
    return optimizer


class _DivergedError(Exception):
    """Too many steps in a row without a finite loss."""


class _Training:
    """The state of a training between two steps."""

    def __init__(
        self, model: nn.Module, forward: Forward, batches: Batches, config: TrainConfig, slices: Slices, carried: dict[str, Any]
    ) -> None:
        # Imported here: they take seconds, and not everyone who names a recipe trains.
        from timm.data import Mixup
        from timm.scheduler import create_scheduler_v2

        self.process = this_process()
        self.device = self.process.device
        self.model = model.to(self.device).train()
        self.forward = forward
        self.batches = batches
        self.config = config
        self.slices = slices
        self.carried = carried
        # Once: walking through a supernet takes milliseconds.
        self.parameters = list(self.model.named_parameters())
        self.names = {id(parameter): name for name, parameter in self.parameters}
        self.optimizer = _optimizer_of(model, config)
        self.scheduler, _ = create_scheduler_v2(
            self.optimizer, "cosine", num_epochs=config.steps, warmup_epochs=config.warmup_steps, warmup_lr=config.lr / 100,
            step_on_epochs=False, updates_per_epoch=1,
        )  # fmt: skip
        self.parts = _parts_of(batches.batch_size, config, self.process.num_processes)
        self.mix = Mixup(config.mixup, config.cutmix, prob=config.mix_prob, label_smoothing=config.label_smoothing,
                         num_classes=batches.num_classes) if _is_mixed(config) else None  # fmt: skip
        state = {**dict(model.named_parameters()), **dict(model.named_buffers())}
        self.average = {name: tensor.detach().clone() for name, tensor in state.items()} if config.ema_decay is not None else None
        self.precision: Precision | None = None
        self.step = 0
        self.skipped = 0
        self.bad_in_a_row = 0
        self.lr_factor = 1.0
        self.seconds = 0.0

    @property
    def own_parts(self) -> range:
        """Numbers of the parts of a batch that this process trains on."""
        return range(self.process.process_index, self.parts, self.process.num_processes)

    def stream(self) -> Iterator[tuple[Tensor, Tensor]]:
        """The batches from here on to the end: what this process trains on, part by part."""
        places = [place for number in self.own_parts for place in places_of_part(self.batches.batch_size, number, self.parts)]
        return self.batches.stream(self.step, self.config.steps, places)

    def advance(self, images: Tensor, labels: Tensor) -> tuple[float, float]:
        """Do one step; its loss and learning rate."""
        assert self.precision is not None
        buffers = [(buffer, buffer.clone()) for buffer in self.model.buffers()]
        self.scheduler.step_update(self.step)
        for group in self.optimizer.param_groups:
            group["lr"] *= self.lr_factor
        loss = self.accumulate_gradients(self.step, images, labels, self.precision)
        touched = self._touched()
        if math.isfinite(loss) and self._clip(touched):
            update(self.optimizer, touched)
            average([buffer for buffer in self.model.buffers() if buffer.is_floating_point()])
            self._follow(touched)
            self.bad_in_a_row = 0
        else:
            # Batch norms have averaged what was not finite.
            for buffer, before in buffers:
                buffer.copy_(before)
            self.skipped += 1
            self.bad_in_a_row += 1
            if self.bad_in_a_row >= MAX_BAD_STEPS:
                raise _DivergedError(f"step {self.step}: got {MAX_BAD_STEPS} steps in a row without a finite loss")
        self.forget_gradients()
        self.step += 1
        return loss, self.optimizer.param_groups[0]["lr"]

    def go_back(self, checkpoint: Path | None, error: _DivergedError) -> None:
        """Return to the last landmark, with a lower learning rate from there on. TrainingError where that was tried."""
        self.forget_gradients()
        skipped, seconds = self.skipped, self.seconds
        if self.lr_factor < 1:
            raise TrainingError(f"{error}, also at {self.lr_factor:g} of the learning rate; lower it and start over") from None
        if checkpoint is None or self.step < LANDMARK_STEPS:
            raise TrainingError(f"{error}; lower the learning rate and start over") from None
        self.load(_landmark_of(checkpoint))
        self.lr_factor, self.bad_in_a_row, self.skipped, self.seconds = LOWER_LR, 0, skipped, seconds
        # Interrupted now, the training remembers the lower rate.
        self.save(checkpoint)

    def accumulate_gradients(self, step: int, images: Tensor, labels: Tensor, precision: Precision) -> float:
        """Set the gradients of a step; its loss, the mean over its paths and all parts of the batch."""
        accumulate = self.config.accumulate
        of_parts = zip(self.own_parts, images.to(self.device).chunk(accumulate), labels.to(self.device).chunk(accumulate), strict=True)
        losses = []
        # Mixed labels are smooth already.
        smoothing = self.config.label_smoothing if self.mix is None else 0.0
        for number, part, targets in of_parts:
            with seeded("step", self.config.seed, step):
                if self.mix is not None:
                    part, targets = self.mix(part, targets)
                if number:
                    reseed("part", self.config.seed, step, number)
                with torch.autocast(self.device.type, torch.bfloat16, enabled=precision == "bf16"):
                    outputs = self.forward(step, part)
                    for output in [outputs] if isinstance(outputs, Tensor | Taught) else outputs:
                        loss = loss_of(output, targets, smoothing)
                        losses.append(loss.detach())
                        (loss / accumulate).backward()
        return self._agreed(torch.stack(losses).mean())

    def forget_gradients(self) -> None:
        self.optimizer.zero_grad(set_to_none=True)
        self.slices.clear()

    def _touched(self) -> list[Touched]:
        """What the step trained, with the mean of all processes' gradients."""
        touched = self.slices.touched(self.parameters)
        # Every process has run the same paths, so the same parts of the same parameters have gradients everywhere.
        average([one.gradient for one in touched])
        return touched

    def _clip(self, touched: Sequence[Touched]) -> bool:
        """Clip the gradients; false where they are not finite."""
        norm = nn.utils.get_total_norm([one.gradient for one in touched])
        if not torch.isfinite(norm):
            return False
        if self.config.clip_grad is not None:
            nn.utils.clip_grads_with_norm_([one.view for one in touched], self.config.clip_grad, norm)
        return True

    @torch.no_grad()
    def _follow(self, touched: Sequence[Touched]) -> None:
        """Move the average towards the weights that this step trained, and the buffers."""
        if self.average is None or self.config.ema_decay is None:
            return
        decay = min(self.config.ema_decay, (1 + self.step) / (10 + self.step))
        for one in touched:
            average = one.of(self.average[one.name])
            moved = average.lerp(one.view, 1 - decay)
            average.copy_(moved if one.idle is None else torch.where(one.idle, average, moved))
        for name, buffer in self.model.named_buffers():
            if buffer.is_floating_point():
                self.average[name].lerp_(buffer, 1 - decay)
            else:
                self.average[name].copy_(buffer)

    def agreed(self, end_seconds: float | None, interrupted: threading.Event, clock: _Clock) -> tuple[bool, bool, bool]:
        """Whether any process finds that the time is over, that it shall stop, that a checkpoint is due: all decide alike."""
        wishes = (end_seconds is not None and self.seconds >= end_seconds, interrupted.is_set(), clock.is_due)
        if self.process.num_processes == 1:
            return wishes
        is_late, is_stopped, is_due = total(torch.tensor(wishes).float()).tolist()
        return is_late > 0, is_stopped > 0, is_due > 0

    def _agreed(self, value: Tensor) -> float:
        """The mean over all processes."""
        return float(total(value)) / self.process.num_processes

    def report(self) -> TrainReport:
        assert self.precision is not None
        finished = self.step >= self.config.steps
        return TrainReport(self.step, finished, self.skipped, self.seconds, self.precision, str(self.device), self.average)

    def save(self, path: Path) -> None:
        assert self.precision is not None
        if self.process.is_main_process:
            optimizer, numbers = flatten_optimizer(self.optimizer, self.names)
            groups = {"model": self._state(), "optimizer": optimizer, "average": self.average or {}}
            tensors = {f"{group}/{name}": tensor for group, state in groups.items() for name, tensor in state.items()}
            facts = _Facts(
                step=self.step, skipped=self.skipped, bad_in_a_row=self.bad_in_a_row, lr_factor=self.lr_factor, seconds=self.seconds,
                precision=self.precision, carried=self.carried, optimizer=numbers, made_by=self._made_by(),
            )  # fmt: skip
            save_checkpoint(path, tensors, facts.model_dump())
        wait_for_all()

    def load(self, path: Path) -> None:
        tensors, facts = load_checkpoint(path)
        try:
            found = _Facts.model_validate(facts)
            for key, value in self._made_by().items():
                if found.made_by.get(key) != value:
                    got = f"got a checkpoint of {found.made_by.get(key)!r}, expected {value!r}"
                    raise CheckpointError(f"{path}: {key}: {got}; use another --out or delete it")
            groups: dict[str, dict[str, Tensor]] = defaultdict(dict)
            for name, tensor in tensors.items():
                group, _, rest = name.partition("/")
                groups[group][rest] = tensor
            ours = self._state()
            if {name: t.shape for name, t in ours.items()} != {name: t.shape for name, t in groups["model"].items()}:
                raise CheckpointError(f"{path}: got the weights of another network; use another --out or delete it")
            with torch.no_grad():
                for name, tensor in ours.items():
                    tensor.copy_(groups["model"][name])
                for name, tensor in (self.average or {}).items():
                    tensor.copy_(groups["average"][name])
            restore_optimizer(self.optimizer, self.names, {**groups["optimizer"], **found.optimizer})
        except (LookupError, RuntimeError, TypeError, ValueError):
            # Something is missing, or of another kind or shape.
            raise CheckpointError(f"{path}: not a whole checkpoint; delete it and run again, which starts this part over") from None
        self.step, self.skipped, self.bad_in_a_row = found.step, found.skipped, found.bad_in_a_row
        self.lr_factor, self.seconds, self.precision = found.lr_factor, found.seconds, found.precision
        self.carried.clear()
        self.carried.update(found.carried)

    def _state(self) -> dict[str, Tensor]:
        return {**dict(self.model.named_parameters()), **dict(self.model.named_buffers())}

    def _made_by(self) -> dict[str, Any]:
        """What has to be the same for a training to go on."""
        batches = self.batches
        data = {"batch_size": batches.batch_size, "image_size": batches.image_size, "data_seed": batches.seed, "parts": self.parts}
        return asdict(self.config) | data | {"images": len(batches.indices), "augmentation": asdict(batches.augmentation)}


class _Facts(BaseModel, strict=True):
    """What a checkpoint holds beside tensors."""

    step: NonNegativeInt
    skipped: NonNegativeInt
    bad_in_a_row: NonNegativeInt
    lr_factor: PositiveFloat
    seconds: NonNegativeFloat
    precision: Precision
    carried: dict[str, Any]
    optimizer: dict[str, Any]
    made_by: dict[str, Any]
