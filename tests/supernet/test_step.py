"""A training step does not wait for the device, and a supernet's step makes few more calls than a plain network's."""

from __future__ import annotations

import random
import statistics
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch._subclasses import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from experiments.benchmarks.supernet import step_of_network
from space.files import load_space
from space.network import build_network
from supernet.data.batches import Batches
from supernet.data.images import open_images
from supernet.network import Supernet
from supernet.path_training import PathTraining
from supernet.paths import STRATEGIES, Strategy, strategy
from supernet.sampling_domain import whole_space
from supernet.slices import Slices
from supernet.tasks.classification import CLASSES
from supernet.tasks.segmentation import MASKS
from supernet.tasks.task import Task, task_of_head
from supernet.training import checkpointer, loop
from supernet.training.config import TrainConfig
from supernet.training.distributed import own_device
from supernet.training.loop import train_network
from supernet.training.state import TrainState
from supernet.training.step import Forward, StepReport, TrainStep
from tests.supernet.test_paths import space_of

CONFIG = TrainConfig(10, mixup=0.2, ema_decay=0.9, precision="fp32")
SPACE = space_of(2, 3).replace(num_classes=10, image_size=32, in_chans=3)


def step_of(
    model: nn.Module, forward: Forward, slices: Slices, images: Tensor, config: TrainConfig, task: Task = CLASSES
) -> Callable[[], None]:
    """Trains one step; every target is the first class."""
    state = TrainState(model.train(), config, "fp32", {})
    train_step = TrainStep(state, forward, config, slices, task, num_classes=10, parts=[0])
    targets = targets_of(images, task)
    return lambda: train_step(state, images, targets) and None


def targets_of(images: Tensor, task: Task) -> Tensor:
    """The first class, of images or of their pixels."""
    return torch.zeros((), dtype=torch.int64, device=images.device).expand(images.shape[:1] if task.per_image else images[:, 0].shape)


@pytest.mark.parametrize("name", [*STRATEGIES, "plain"])
def test_a_step_reads_no_value(name: str) -> None:
    """Fake tensors have none: whatever reads one raises an error."""
    with FakeTensorMode(), own_device():
        images = torch.randn(4, 3, 32, 32)
        if name == "plain":
            network = build_network(SPACE.sample(random.Random(0)), drop_path_rate=0.1)
            step = step_of(network, lambda _, images: network(images), Slices(), images, CONFIG)
        else:
            training = PathTraining(Supernet(SPACE), strategy(name), whole_space(SPACE), seed=0)
            step = step_of(training, training, training.slices, images, CONFIG)
        for _ in range(3):
            step()


def test_loss_and_scores_of_masks_read_no_value() -> None:
    with FakeTensorMode(), own_device():
        logits, masks = torch.randn(4, 5, 8, 8, requires_grad=True), torch.zeros(4, 60, 60, dtype=torch.uint8)
        MASKS.loss(logits, masks, 0.1).backward()
        MASKS.judge(logits.detach(), masks)


class Calls(TorchDispatchMode):
    """Counts the calls of operators that are not views."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if not func.is_view:
            self.names.append(func.name())
        return func(*args, **(kwargs or {}))


def calls_of(step: Callable[[], None]) -> list[str]:
    """The calls of a step; the one before it makes the optimizer's state."""
    step()
    with Calls() as calls:
        step()
    return calls.names


@pytest.mark.parametrize(("name", "image_size"), [("hybrid-32", 32), ("hybrid-224", 64), ("tiny-seg", 64)])
def test_a_supernets_step_makes_few_more_calls_than_its_plain_networks(name: str, image_size: int) -> None:
    space, rng = load_space(name).replace(num_classes=10, image_size=image_size), random.Random(0)
    architectures = [space.sample(rng) for _ in range(8)]
    images = torch.randn(2, 3, image_size, image_size, device=own_device())
    task = task_of_head(architectures[0])
    targets = targets_of(images, task)
    supernet, ratios = Supernet(space), []
    for architecture in architectures:
        one = Strategy(lambda _, __, found=architecture: lambda _: (found,), num_paths=lambda _: 1)  # type: ignore[misc]
        training = PathTraining(supernet, one, whole_space(space), seed=0).to(own_device())
        ours = calls_of(step_of(training, training, training.slices, images, TrainConfig(10, precision="fp32"), task))
        # Tensors made on the host would have to be copied to the device.
        assert "aten::lift_fresh" not in ours
        plain = step_of_network(architecture, images, targets, lambda logits, targets: task.loss(logits, targets, 0.1))
        ratios.append(len(ours) / len(calls_of(plain)))
    assert statistics.median(ratios) <= 1.10
    assert max(ratios) <= 1.20


@pytest.mark.parametrize("read_together", [1, 4, 100])
def test_when_results_are_read_changes_nothing(read_together: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a training with a skipped step that diverges, is rolled back, and continues at a lower learning rate."""
    monkeypatch.setattr(checkpointer, "MAX_SKIPPED_IN_A_ROW", 2)
    monkeypatch.setattr(checkpointer, "ROLLBACK_STEPS", 6)
    found = []
    for together in (1, read_together):
        monkeypatch.setattr(loop, "steps_read_together", lambda _, together=together: together)
        torch.manual_seed(0)
        model = nn.Sequential(nn.Conv2d(3, 4, 8, 8), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(64, 10))
        reports: list[StepReport] = []
        seen: list[Tensor] = []

        def on_step(report: StepReport, reports: list[StepReport] = reports, seen: list[Tensor] = seen, model: nn.Module = model) -> None:
            reports.append(replace(report, seconds=0.0, average=None))
            if report.step == 3:
                seen.append(next(model.parameters()).detach().clone())

        # Once each: the steps after a rollback are finite.
        bad = {2, 8, 9}

        def forward(step: int, images: Tensor, bad: set[int] = bad, model: nn.Module = model) -> Tensor:
            return model(images) * (float("nan") if step in bad and not bad.discard(step) else 1.0)

        batches = Batches(open_images("digits"), np.arange(64), 8, 32, seed=3)
        trained = train_network(model, forward, batches, replace(CONFIG, steps=13), checkpoint=tmp_path / str(len(found)),
                                on_step=on_step, is_read_at=lambda step: step == 3)  # fmt: skip
        assert trained.counters.skipped == 3
        found.append(([str(report) for report in reports], [*seen, *model.state_dict().values()]))
    (whole, values), (late, late_values) = found
    assert whole == late
    assert all(torch.equal(a, b) for a, b in zip(values, late_values, strict=True))
