"""One step of a training: forward, backward, clipping, the optimizer, the averaged weights.

A batch is split into equal parts where several processes share it, or one process accumulates gradients. All parts are mixed alike and
draw their other random numbers by their own number, so it does not matter which process trains on which part: two processes train what
one does in twice as many parts. Batch norms see one part at a time, and their running averages are averaged over the processes.

With a fused optimizer no value is read from the device, so that it computes a step while the next one is launched. A step without a finite
loss and gradient is skipped there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from supernet.seeding import reseed, seeded
from supernet.slices import SlicedParameter, Slices, update
from supernet.tasks.task import Task
from supernet.training.config import TrainConfig, autocast
from supernet.training.distributed import all_reduced, average_over_processes, flatten, num_processes, own_device, unflatten
from supernet.training.losses import Distilled, Output, loss_of
from supernet.training.state import TrainState

Forward = Callable[[int, Tensor], Output | Iterable[Output]]
"""Step and images (B, C, H, W) to an output, or to the outputs of several paths one by one, whose gradients add up."""


@dataclass(frozen=True)
class StepReport:
    """What one step did.

    Args:
        step: counted from 1.
        loss: not finite where the step was skipped, unless only a gradient was not.
        skipped: steps skipped so far.
        seconds: duration of a step, the mean of those that were reported together.
        average: the averaged weights and buffers by name, live; none where the configuration asks for none.
    """

    step: int
    loss: float
    lr: float
    skipped: int
    seconds: float
    average: Mapping[str, Tensor] | None


class StepResult(NamedTuple):
    """What one step did, on the device.

    Args:
        loss_and_skipped: (2,), the loss and whether the step was skipped, 1 or 0.
    """

    step: int
    lr: float
    loss_and_skipped: Tensor


class TrainStep:
    """`train_step(state, images, targets)` trains on one batch and changes the state in place.

    Args:
        slices: the parameter slices that `forward` runs.
        task: what the targets are for.
        num_classes: that labels of mixed images have.
        parts: numbers of the parts of a batch that this process trains on.
    """

    def __init__(
        self, state: TrainState, forward: Forward, config: TrainConfig, slices: Slices, task: Task, num_classes: int, parts: Sequence[int]
    ) -> None:
        # Imported here: they take seconds, and many who name a recipe do not train.
        from timm.data import Mixup
        from timm.scheduler import create_scheduler_v2

        self._forward = forward
        self._config = config
        self._slices = slices
        self._task = task
        self._parts = parts
        self._scheduler, _ = create_scheduler_v2(
            state.optimizer, config.schedule, num_epochs=config.steps, warmup_epochs=config.warmup_steps, warmup_lr=config.lr / 100,
            # A decay rate is the power of `poly`.
            decay_epochs=config.decay_steps, decay_rate=config.decay_rate if config.schedule == "step" else 1.0,
            step_on_epochs=False, updates_per_epoch=1,
        )  # fmt: skip
        self._mixup = Mixup(config.mixup, config.cutmix, prob=config.mix_prob, label_smoothing=config.label_smoothing,
                            num_classes=num_classes) if config.is_mixed else None  # fmt: skip

    def __call__(self, state: TrainState, images_BCHW: Tensor, targets: Tensor) -> StepResult:
        """Update the weights; skip the update, changing none of them, where the loss or a gradient is not finite.

        Args:
            images_BCHW, targets: this process's parts of the batch, on its device.
        """
        config, buffers = self._config, _Buffers(state.model)
        self._set_lr(state)
        loss = self._backward(state, images_BCHW, targets)
        trained = self._slices.with_gradients(state.parameters)
        # Every process ran the same paths, so the same slices have gradients everywhere.
        average_over_processes([one.gradient for one in trained])
        norm = nn.utils.get_total_norm([one.gradient for one in trained])
        is_finite = torch.stack([loss, norm]).isfinite().all()
        if config.clip_grad is not None:
            nn.utils.clip_grads_with_norm_([one.view for one in trained], config.clip_grad, norm)
        skipped = (~is_finite).float()
        update(state.optimizer, trained, skipped)
        buffers.average_or_restore(is_finite)
        if state.average is not None and config.ema_decay is not None:
            decay = min(config.ema_decay, (1 + state.counters.step) / (10 + state.counters.step))
            _update_average(state.average, trained, buffers.by_name, (1 - decay) * is_finite)
        # Not the optimizer's `zero_grad`, which goes through all of a supernet's parameters.
        self._slices.clear(trained)
        state.counters.step += 1
        rates = (group["lr"] / scale for group in state.optimizer.param_groups if (scale := group.get("lr_scale", 1.0)))
        return StepResult(state.counters.step, next(rates, 0.0), torch.stack([loss, skipped]))

    def _set_lr(self, state: TrainState) -> None:
        self._scheduler.step_update(state.counters.step)
        for group in state.optimizer.param_groups:
            group["lr"] *= state.counters.lr_factor

    def _backward(self, state: TrainState, images_BCHW: Tensor, targets: Tensor) -> Tensor:
        """Set the gradients; the mean loss over all paths, parts and processes, a scalar."""
        config, step, device, num_parts = self._config, state.counters.step, own_device(), len(self._parts)
        losses = []
        # Mixed labels are smooth already.
        smoothing = config.label_smoothing if self._mixup is None else 0.0
        split = zip(self._parts, images_BCHW.chunk(num_parts), targets.chunk(num_parts), strict=True)
        for number, images, of_part in split:
            with seeded("step", config.seed, step):
                if self._mixup is not None:
                    images, of_part = self._mixup(images, of_part)
                if number:
                    reseed("part", config.seed, step, number)
                with autocast(device, state.counters.precision):
                    outputs = self._forward(step, images)
                    for output in [outputs] if isinstance(outputs, Tensor | Distilled) else outputs:
                        loss = loss_of(output, of_part, self._task, smoothing)
                        losses.append(loss.detach())
                        (loss / num_parts).backward()
        return all_reduced(torch.stack(losses).mean()) / num_processes()


class _Buffers:
    """A model's buffers in a step, such as the averages of batch norms and the counts of paths.

    All buffers of a kind are handled in one call: there may be hundreds of small ones.

    Attributes:
        by_name: the buffers.
    """

    def __init__(self, model: nn.Module) -> None:
        self.by_name = dict(model.named_buffers())
        kinds = [[buffer for buffer in self.by_name.values() if buffer.is_floating_point() == is_float] for is_float in (True, False)]
        self._kinds = [(buffers, flatten(buffers)) for buffers in kinds if buffers]

    def average_or_restore(self, is_finite: Tensor) -> None:
        """Average floating-point buffers over the processes; after a step that was not finite, restore all buffers."""
        for buffers, before in self._kinds:
            after = flatten(buffers)
            if after.is_floating_point():
                average_over_processes([after])
            unflatten(torch.where(is_finite, after, before), buffers)


@torch.no_grad()
def _update_average(
    average: Mapping[str, Tensor], trained: Sequence[SlicedParameter], buffers: Mapping[str, Tensor], weight: Tensor
) -> None:
    """Move the average towards the weights that a step trained, and towards all buffers.

    Args:
        weight: of the new values, a scalar; 0 after a skipped step.
    """
    is_float = {name: buffer.is_floating_point() for name, buffer in buffers.items()}
    averages = [one.part_of(average[one.name]) for one in trained] + [average[name] for name in buffers if is_float[name]]
    values = [one.view for one in trained] + [buffer for name, buffer in buffers.items() if is_float[name]]
    if averages:
        changes = torch._foreach_sub(values, averages)
        torch._foreach_mul_(changes, weight)
        for one, change in zip(trained, changes, strict=False):
            if one.mask is not None:
                change.mul_(one.mask)
        torch._foreach_add_(averages, changes)
    for name, buffer in buffers.items():
        if not is_float[name]:
            average[name].copy_(buffer)
