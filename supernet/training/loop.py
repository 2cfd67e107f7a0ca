"""The one training loop, for a supernet and for a single network.

A step depends on the seed, its number and the state before it: batches, augmentation, mixing and stochastic depth draw their random
numbers by the step. So a checkpoint needs no random state, and a resumed training equals an uninterrupted one bit for bit.

Results of steps stay on the device until several are read together, since reading waits for the device. What is trained does not depend
on when they are read: a step is skipped on the device, and a training that has diverged returns to an earlier state anyway.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from supernet.data.batches import TrainingBatches, rows_of_part
from supernet.slices import Slices
from supernet.tasks.task import task_of_images
from supernet.training.checkpointer import Checkpointer
from supernet.training.config import TrainConfig, num_parts, precision_of
from supernet.training.distributed import all_reduced, num_processes, own_device, process_index
from supernet.training.interruptions import interruptions
from supernet.training.state import TrainState
from supernet.training.step import Forward, StepReport, StepResult, TrainStep

READ_TOGETHER = 10
"""Steps whose results are read together from a GPU."""


def train_network(
    model: nn.Module,
    forward: Forward,
    batches: TrainingBatches,
    config: TrainConfig,
    *,
    checkpoint: Path | None = None,
    slices: Slices | None = None,
    extra: dict[str, Any] | None = None,
    lr_scales: Mapping[str, float] | None = None,
    max_seconds: float | None = None,
    on_step: Callable[[StepReport], None] | None = None,
    is_read_at: Callable[[int], bool] = lambda step: False,
    on_save: Callable[[], None] | None = None,
) -> TrainState:
    """Train the parameters of `model` in place; resume where there is a checkpoint.

    Parameters that a step's forward does not use keep their values, their optimizer state and their average. The first Ctrl-C saves
    after the step in progress, on a GPU after at most `READ_TOGETHER`, and then raises KeyboardInterrupt; a second one raises at once.

    Args:
        forward: runs the model, once for every part of a batch; it may choose a path by the step.
        checkpoint: the file that is written now and then, with a rollback checkpoint beside it; `remove_checkpoint` removes both.
        slices: the parameter slices that `forward` runs, where it runs parts of parameters.
        extra: what `on_step` collects, in terms of JSON; checkpoints hold it, and resuming puts it back.
        lr_scales: factors of the learning rate by parameter name; 1 for the others.
        max_seconds: stop after this time; that of earlier runs is not counted.
        on_step: called for every step in order, but on a GPU only when results are read.
        is_read_at: whether results are read just after a step, so that `on_step` finds the model as this step leaves it.
        on_save: called before a checkpoint is written; a training that resumes from it does not report the earlier steps again.

    Returns:
        The state after the last step; it is not `finished` where the time limit came first.

    Raises:
        TrainingError: ten steps in a row had no finite loss or gradient, and again after a rollback at a lower learning rate; or the
            configuration is wrong.
        CheckpointError: the checkpoint is damaged or of another configuration.
    """
    device, parts = own_device(), num_parts(batches.batch_size, config)
    precision = precision_of(device) if config.precision == "auto" else config.precision
    state = TrainState(model.to(device).train(), config, precision, {} if extra is None else extra, lr_scales)
    own_parts = range(process_index(), parts, num_processes())
    train_step = TrainStep(state, forward, config, slices or Slices(), task_of_images(batches.images), batches.num_classes, own_parts)
    checkpointer = Checkpointer(checkpoint, _settings(config, batches, parts), on_save)
    checkpointer.resume(state)
    end_seconds = math.inf if max_seconds is None else state.counters.seconds + max_seconds

    def stream() -> Iterator[tuple[Tensor, Tensor]]:
        rows = [row for number in own_parts for row in rows_of_part(batches.batch_size, number, parts)]
        return batches.stream(state.counters.step, config.steps, rows, device)

    together = steps_read_together(device)
    unread: list[StepResult] = []
    with interruptions() as interrupted:
        remaining = stream()
        is_over, is_stopped, _ = _in_any_process(state.counters.seconds >= end_seconds, interrupted.is_set(), False)
        start = time.perf_counter()
        while not state.finished and not is_over and not is_stopped:
            unread.append(train_step(state, *next(remaining)))
            step = state.counters.step
            if not (state.finished or step % together == 0 or checkpointer.is_rollback_step(step) or is_read_at(step)):
                continue
            for report in _read(unread, state, time.perf_counter() - start):
                if checkpointer.roll_back_if_diverged(state, report.step):
                    remaining = stream()
                    break
                if on_step is not None:
                    on_step(report)
            else:
                state.counters.seconds += time.perf_counter() - start
                is_over, is_stopped, is_due = _in_any_process(
                    state.counters.seconds >= end_seconds, interrupted.is_set(), checkpointer.is_due
                )
                if not state.finished:
                    checkpointer.save_for_rollback(state)
                if is_over or is_stopped or is_due:
                    checkpointer.save(state)
            unread.clear()
            start = time.perf_counter()
        if is_stopped or interrupted.is_set():
            raise KeyboardInterrupt
    return state


def steps_read_together(device: torch.device) -> int:
    """How many steps' results are read together: on a CPU nothing waits for reading."""
    return 1 if device.type == "cpu" else READ_TOGETHER


def _read(results: Sequence[StepResult], state: TrainState, seconds: float) -> Iterator[StepReport]:
    """Wait for the results of some steps; count skipped steps up to the one reported.

    Args:
        seconds: that all these steps took.
    """
    numbers = torch.stack([result.loss_and_skipped for result in results]).tolist()
    for result, (loss, skipped) in zip(results, numbers, strict=True):
        counters = state.counters
        counters.skipped += bool(skipped)
        counters.skipped_in_a_row = counters.skipped_in_a_row + 1 if skipped else 0
        yield StepReport(result.step, loss, result.lr, counters.skipped, seconds / len(results), state.average)


def _in_any_process(*conditions: bool) -> tuple[bool, ...]:
    """Which conditions hold in at least one process, so that all processes decide alike."""
    return conditions if num_processes() == 1 else tuple(all_reduced(torch.tensor(conditions).float()).gt(0).tolist())


def _settings(config: TrainConfig, batches: TrainingBatches, parts: int) -> dict[str, Any]:
    """What must be the same for a training to resume."""
    return asdict(config) | {
        "batch_size": batches.batch_size, "image_size": batches.image_size, "data_seed": batches.seed, "parts": parts,
        "images": len(batches.indices), "augmentation": asdict(batches.augmentation),
    }  # fmt: skip
