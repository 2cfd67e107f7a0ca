"""One step of a training: forward, backward, clipping, the optimizer, the averaged weights.

A batch is split into equal parts where several processes share it, or one process accumulates gradients. All parts are mixed alike and
draw their other random numbers by their own number, so it does not matter which process trains on which part: two processes train what
one does in twice as many parts. Batch norms see one part at a time, and their running averages are averaged over the processes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from supernet.seeding import reseed, seeded
from supernet.slices import SlicedParameter, Slices, update
from supernet.training.config import TrainConfig
from supernet.training.distributed import all_reduced, average_over_processes, num_processes, own_device
from supernet.training.losses import Distilled, Output, loss_of
from supernet.training.state import TrainState

Forward = Callable[[int, Tensor], Output | Iterable[Output]]
"""Step and images (B, C, H, W) to an output, or to the outputs of several paths one by one, whose gradients add up."""


@dataclass(frozen=True)
class StepReport:
    """What one step did.

    Args:
        step: counted from 1.
        loss: not finite where the step was skipped.
        skipped: steps skipped so far.
        average: the averaged weights and buffers by name, live; none where the configuration asks for none.
    """

    step: int
    loss: float
    lr: float
    skipped: int
    average: Mapping[str, Tensor] | None


class TrainStep:
    """`train_step(state, images, labels)` trains on one batch and changes the state in place.

    Args:
        slices: the parameter slices that `forward` runs.
        parts: numbers of the parts of a batch that this process trains on.
    """

    def __init__(
        self, state: TrainState, forward: Forward, config: TrainConfig, slices: Slices, num_classes: int, parts: Sequence[int]
    ) -> None:
        # Imported here: they take seconds, and many who name a recipe do not train.
        from timm.data import Mixup
        from timm.scheduler import create_scheduler_v2

        self._forward = forward
        self._config = config
        self._slices = slices
        self._parts = parts
        self._scheduler, _ = create_scheduler_v2(
            state.optimizer, "cosine", num_epochs=config.steps, warmup_epochs=config.warmup_steps, warmup_lr=config.lr / 100,
            step_on_epochs=False, updates_per_epoch=1,
        )  # fmt: skip
        self._mixup = Mixup(config.mixup, config.cutmix, prob=config.mix_prob, label_smoothing=config.label_smoothing,
                            num_classes=num_classes) if config.is_mixed else None  # fmt: skip

    def __call__(self, state: TrainState, images_BCHW: Tensor, labels_B: Tensor) -> StepReport:
        """Update the weights; skip the update, changing none of them, where the loss or a gradient is not finite."""
        counters, buffers = state.counters, dict(state.model.named_buffers())
        before = [buffer.clone() for buffer in buffers.values()]
        self._set_lr(state)
        loss = self._backward(state, images_BCHW, labels_B)
        trained = self._slices.with_gradients(state.parameters)
        # Every process ran the same paths, so the same slices have gradients everywhere.
        average_over_processes([one.gradient for one in trained])
        if math.isfinite(loss) and self._clip(trained):
            update(state.optimizer, trained)
            average_over_processes([buffer for buffer in buffers.values() if buffer.is_floating_point()])
            if state.average is not None and self._config.ema_decay is not None:
                _update_average(state.average, trained, buffers, min(self._config.ema_decay, (1 + counters.step) / (10 + counters.step)))
            counters.skipped_in_a_row = 0
        else:
            # Batch norms have averaged what was not finite.
            for buffer, value in zip(buffers.values(), before, strict=True):
                buffer.copy_(value)
            counters.skipped += 1
            counters.skipped_in_a_row += 1
        state.optimizer.zero_grad(set_to_none=True)
        self._slices.clear()
        counters.step += 1
        return StepReport(counters.step, loss, state.optimizer.param_groups[0]["lr"], counters.skipped, state.average)

    def _set_lr(self, state: TrainState) -> None:
        self._scheduler.step_update(state.counters.step)
        for group in state.optimizer.param_groups:
            group["lr"] *= state.counters.lr_factor

    def _backward(self, state: TrainState, images_BCHW: Tensor, labels_B: Tensor) -> float:
        """Set the gradients; the mean loss over all paths, parts and processes."""
        config, step, device, num_parts = self._config, state.counters.step, own_device(), len(self._parts)
        losses = []
        # Mixed labels are smooth already.
        smoothing = config.label_smoothing if self._mixup is None else 0.0
        split = zip(self._parts, images_BCHW.to(device).chunk(num_parts), labels_B.to(device).chunk(num_parts), strict=True)
        for number, images, labels in split:
            with seeded("step", config.seed, step):
                if self._mixup is not None:
                    images, labels = self._mixup(images, labels)
                if number:
                    reseed("part", config.seed, step, number)
                with torch.autocast(device.type, torch.bfloat16, enabled=state.counters.precision == "bf16"):
                    outputs = self._forward(step, images)
                    for output in [outputs] if isinstance(outputs, Tensor | Distilled) else outputs:
                        loss = loss_of(output, labels, smoothing)
                        losses.append(loss.detach())
                        (loss / num_parts).backward()
        return float(all_reduced(torch.stack(losses).mean())) / num_processes()

    def _clip(self, trained: Sequence[SlicedParameter]) -> bool:
        """Clip the gradients; False where they are not finite."""
        norm = nn.utils.get_total_norm([one.gradient for one in trained])
        if not torch.isfinite(norm):
            return False
        if self._config.clip_grad is not None:
            nn.utils.clip_grads_with_norm_([one.view for one in trained], self._config.clip_grad, norm)
        return True


@torch.no_grad()
def _update_average(
    average: Mapping[str, Tensor], trained: Iterable[SlicedParameter], buffers: Mapping[str, Tensor], decay: float
) -> None:
    """Move the average towards the weights that a step trained, and towards all buffers."""
    for one in trained:
        one.write(average[one.name], one.part_of(average[one.name]).lerp(one.view, 1 - decay))
    for name, buffer in buffers.items():
        if buffer.is_floating_point():
            average[name].lerp_(buffer, 1 - decay)
        else:
            average[name].copy_(buffer)
