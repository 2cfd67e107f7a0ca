"""A supernet in training: counts, distillation, resuming."""

from __future__ import annotations

import signal
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

from supernet.data.batches import Batches
from supernet.data.images import open_images
from supernet.network import Supernet
from supernet.path_training import PathTraining
from supernet.paths import STRATEGIES, strategy
from supernet.sampling_domain import whole_space
from supernet.sharing import leading_slice
from supernet.training.checkpoint import load_checkpoint
from supernet.training.config import TrainConfig
from supernet.training.loop import train_network
from supernet.training.losses import Distilled
from supernet.training.step import StepReport
from tests.supernet.test_paths import space_of

SPACE = space_of(2, 3).replace(num_classes=10, image_size=32, in_chans=3)
CONFIG = TrainConfig(4, lr=0.01, weight_decay=0.1, precision="fp32")


def make(name: str, seed: int = 0) -> PathTraining:
    return PathTraining(Supernet(SPACE, seed), strategy(name), whole_space(SPACE), seed)


def batches() -> Batches:
    return Batches(open_images("digits"), np.arange(64), 8, 32, seed=3)


def interrupt_at(step: int) -> object:
    def interrupt(report: StepReport) -> None:
        if report.step == step:
            signal.raise_signal(signal.SIGINT)

    return interrupt


@pytest.mark.parametrize("name", STRATEGIES)
def test_updates_are_those_of_the_paths_also_after_resuming(name: str, tmp_path: Path) -> None:
    whole_training, parts, resumed = make(name), make(name), make(name)
    train_network(whole_training, whole_training, batches(), CONFIG, slices=whole_training.slices)
    with pytest.raises(KeyboardInterrupt):
        train_network(parts, parts, batches(), CONFIG, slices=parts.slices, checkpoint=tmp_path / "file", on_step=interrupt_at(2))  # type: ignore[arg-type]
    train_network(resumed, resumed, batches(), CONFIG, slices=resumed.slices, checkpoint=tmp_path / "file")
    assert all(torch.equal(a, b) for a, b in zip(whole_training.state_dict().values(), resumed.state_dict().values(), strict=True))
    expected: dict[str, dict[str, int]] = {path: dict.fromkeys(labels, 0) for path, labels in resumed.updates.items()}
    paths = strategy(name).paths(whole_space(SPACE), 0)
    for part in (part for step in range(4) for architecture in paths(step) for part in architecture.parts):
        if ".blocks." in part.path:
            expected[part.path][part.spec.label] += 1
    assert resumed.updates == expected


def test_a_skipped_step_is_not_counted() -> None:
    training = make("uniform")
    config = replace(CONFIG, steps=1)
    trained = train_network(training, lambda step, images: training(step, images * float("nan")), batches(), config)
    assert trained.counters.skipped == 1
    assert not training.counts.any()


def test_in_a_sandwich_the_first_paths_predictions_are_the_others_target() -> None:
    training = make("sandwich")
    images = torch.randn(4, 3, 32, 32)
    first, *others = list(training(0, images))
    assert isinstance(first, torch.Tensor)
    for output in others:
        assert isinstance(output, Distilled)
        assert output.logits.requires_grad
        assert not output.target.requires_grad
        torch.testing.assert_close(output.target, first.softmax(1))


def test_a_student_learns_its_teachers_probabilities() -> None:
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 32 * 32, 10))
    config = TrainConfig(60, lr=3e-4, weight_decay=0.0, precision="fp32")

    def forward(step: int, images: torch.Tensor) -> Distilled:
        return Distilled(model(images), torch.full((8, 10), 0.1, device=images.device))

    losses: list[float] = []
    train_network(model, forward, batches(), config, on_step=lambda report: losses.append(report.loss))
    assert losses[-1] - np.log(10) < 0.5 * (losses[0] - np.log(10))


OPTIMIZERS = ("adamw", "sgd", "momentum", "lamb", "lion")


@pytest.mark.usefixtures("saving_every_step")
@pytest.mark.parametrize(("name", "optimizer"), [("uniform", "adamw"), ("fair", "adamw"), *(("sandwich", one) for one in OPTIMIZERS)])
def test_what_a_step_did_not_run_stays_bit_for_bit(name: str, optimizer: str, tmp_path: Path) -> None:
    training, file = make(name), tmp_path / "file"
    config = replace(CONFIG, steps=5, optimizer=optimizer, ema_decay=0.9)
    seen: list[dict[str, torch.Tensor]] = []

    def look(_: StepReport) -> None:
        # With a checkpoint after every step, the one at hand is of the step before.
        if file.exists():
            seen.append(load_checkpoint(file)[0])

    train_network(training, training, batches(), config, slices=training.slices, checkpoint=file, on_step=look)
    seen.append(load_checkpoint(file)[0])
    paths = strategy(name).paths(whole_space(SPACE), 0)
    partial = 0
    for step, (before, after) in enumerate(pairwise(seen), start=1):
        # In the main memory, like tensors from a checkpoint.
        ran = {key: torch.zeros(tensor.shape, dtype=torch.bool) for key, tensor in training.supernet.shared.items()}
        for architecture in paths(step):
            training.supernet.weights(architecture, lambda shared, shape, ran=ran: mark(ran, shared, shape, training))
        for key, tensor in after.items():
            group, _, rest = key.partition("/supernet.shared.")
            owner = next((own for own in ran if rest == own or rest.startswith(f"{own}/")), None)
            if owner is None or tensor.shape != ran[owner].shape:
                continue
            earlier = before.get(key, torch.zeros_like(tensor))
            assert torch.equal(tensor[~ran[owner]], earlier[~ran[owner]]), (step, key)
            partial += bool(ran[owner].any() and not ran[owner].all())
            if group == "model" and ran[owner].any() and tensor.ndim > 1:
                assert not torch.equal(tensor[ran[owner]], earlier[ran[owner]]), (step, key)
    assert partial


def mark(ran: dict[str, torch.Tensor], shared: torch.nn.Parameter, shape: torch.Size, training: PathTraining) -> torch.Tensor:
    name = next(name for name, parameter in training.supernet.shared.items() if parameter is shared)
    leading_slice(ran[name], shape).fill_(True)
    return shared
