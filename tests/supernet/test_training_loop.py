"""The training loop: what a step does not change, resuming, refusals."""

from __future__ import annotations

import os
import pickle
import random
import signal
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import replace
from functools import cache
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from space.files import load_space
from space.network import build_network
from supernet.data.batches import Batches, rows_of_part
from supernet.data.images import open_images
from supernet.seeding import seed_of, seeded
from supernet.training import checkpointer, loop
from supernet.training.checkpoint import CheckpointError, load_checkpoint, save_checkpoint
from supernet.training.checkpointer import Checkpointer
from supernet.training.config import TrainConfig, TrainingError, precision_of
from supernet.training.distributed import own_device
from supernet.training.loop import train_network
from supernet.training.losses import Distilled
from supernet.training.state import TrainState
from supernet.training.step import StepReport

EVERYTHING = TrainConfig(
    steps=6, lr=0.01, weight_decay=0.1, warmup_steps=2, clip_grad=0.5, mixup=0.4, cutmix=1.0, mix_prob=0.8, ema_decay=0.9, precision="fp32"
)


@cache
def batches() -> Batches:
    images = open_images("digits")
    return Batches(images, np.arange(64), 8, 32, seed=3)


def make_network() -> nn.Module:
    """A network of the space's own, with batch norm and stochastic depth."""
    with seeded("network"):
        return build_network(load_space("hybrid-32").sample(random.Random(1)), drop_path_rate=0.5)


def make_small() -> nn.Module:
    with seeded("network"):
        return nn.Sequential(nn.Conv2d(3, 4, 8, 8), nn.BatchNorm2d(4), nn.Dropout(), nn.Flatten(), nn.Linear(64, 10))


class Branches(nn.Module):
    """Two paths with weights of their own after a shared layer."""

    def __init__(self) -> None:
        super().__init__()
        self.shared = nn.Conv2d(3, 4, 8, 8)
        self.paths = nn.ModuleList(nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.LayerNorm(16), nn.Linear(16, 10)) for _ in range(2))

    def forward(self, images: Tensor, path: int) -> Tensor:
        return self.paths[path](self.shared(images))


def run(model: nn.Module, config: TrainConfig, **options: object) -> TrainState:
    return train_network(model, lambda _, images: model(images), batches(), config, **options)  # type: ignore[arg-type]


def state(model: nn.Module) -> dict[str, Tensor]:
    """A copy of what a network holds, in the main memory, wherever it was trained."""
    return {name: tensor.to("cpu", copy=True) for name, tensor in model.state_dict().items()}


def same(left: dict[str, Tensor], right: dict[str, Tensor]) -> bool:
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


def stop_at(step: int) -> Callable[[StepReport], None]:
    def interrupt(report: StepReport) -> None:
        if report.step == step:
            signal.raise_signal(signal.SIGINT)

    return interrupt


@pytest.mark.usefixtures("saving_every_step")
@pytest.mark.parametrize("optimizer", ["adamw", "sgd", "lamb", "lion", "rmsprop"])
def test_a_path_that_a_step_did_not_train_stays_as_it_is(tmp_path: Path, optimizer: str) -> None:
    model, file = Branches(), tmp_path / "checkpoint"
    seen: list[dict[str, Tensor]] = []

    def look(_: StepReport) -> None:
        if file.exists():
            seen.append(load_checkpoint(file)[0])

    # With a checkpoint after every step, the one at hand is of the step before.
    config = replace(EVERYTHING, optimizer=optimizer, steps=7)
    train_network(model, lambda step, images: model(images, step % 2), batches(), config, checkpoint=file, on_step=look)
    assert len(seen) == 6
    for step, (before, after) in enumerate(pairwise(seen), start=1):
        trained, untrained = f"paths.{step % 2}.", f"paths.{1 - step % 2}."
        kinds = {name.split("/")[0] for name in after}
        assert kinds == {"model", "optimizer", "average"}
        for name in (name for name in after if untrained in name and (step > 1 or name in before)):
            assert torch.equal(before[name], after[name]), name
        for kind in kinds:
            changed = [name for name in after if name.startswith(f"{kind}/{trained}") and name in before]
            assert step == 1 or any(not torch.equal(before[name], after[name]) for name in changed)
        assert not torch.equal(before["model/shared.weight"], after["model/shared.weight"])


@pytest.mark.usefixtures("saving_every_step")
@pytest.mark.parametrize("optimizer", ["adamw", "lamb"])
def test_resumed_equals_uninterrupted(tmp_path: Path, optimizer: str) -> None:
    config = replace(EVERYTHING, optimizer=optimizer)
    whole, parts = make_network(), make_network()
    run(whole, config, checkpoint=tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        run(parts, config, checkpoint=tmp_path / "parts", on_step=stop_at(3))
    assert load_checkpoint(tmp_path / "parts")[1]["step"] == 3
    fresh = make_network()
    torch.manual_seed(99)
    trained = run(fresh, config, checkpoint=tmp_path / "parts")
    assert trained.finished
    assert same(state(fresh), state(whole))
    assert same(load_checkpoint(tmp_path / "parts")[0], load_checkpoint(tmp_path / "whole")[0])


def test_checkpoints_hold_extra_state(tmp_path: Path) -> None:
    file, collected = tmp_path / "checkpoint", []
    for stop in (2, 5, 0):
        extra = {"losses": []}

        def follow(report: StepReport, extra: dict[str, list[float]] = extra, stop: int = stop) -> None:
            extra["losses"].append(report.loss)
            stop_at(stop)(report)

        with nullcontext() if stop == 0 else pytest.raises(KeyboardInterrupt):
            run(make_small(), EVERYTHING, checkpoint=file, extra=extra, on_step=follow)
        collected.append(extra["losses"])
    whole: list[float] = []
    run(make_small(), EVERYTHING, on_step=lambda report: whole.append(report.loss))
    assert collected == [whole[:2], whole[:5], whole]


def test_a_checkpoint_is_due_after_a_minute_or_later_where_writing_is_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(checkpointer.time, "perf_counter", lambda: now[0])
    writing = [0.0]

    def write() -> None:
        now[0] += writing[0]

    monkeypatch.setattr(Checkpointer, "_write", lambda *_: write())
    written = Checkpointer(Path("checkpoint"), {}, on_save=None)

    def seconds_until_due() -> float:
        start = now[0]
        while not written.is_due:
            now[0] += 1
        return now[0] - start

    assert seconds_until_due() == checkpointer.SECONDS_UNSAVED
    for writing[0], wait in ((1.0, 60.0), (10.0, 200.0), (0.1, 60.0)):
        written.save(TrainState(make_small(), EVERYTHING, "fp32", {}))
        assert seconds_until_due() == pytest.approx(wait, abs=1)


def test_ctrl_c_ends_a_training_after_the_step_in_progress(tmp_path: Path) -> None:
    model, whole, file = make_network(), make_network(), tmp_path / "checkpoint"

    def forward(step: int, images: Tensor) -> Tensor:
        if step == 1:
            os.kill(os.getpid(), signal.SIGINT)
        return model(images)

    on_interrupt = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        train_network(model, forward, batches(), EVERYTHING, checkpoint=file)
    assert load_checkpoint(file)[1]["step"] == 2
    assert signal.getsignal(signal.SIGINT) is on_interrupt
    run(model, EVERYTHING, checkpoint=file)
    run(whole, EVERYTHING)
    assert same(state(model), state(whole))


def test_training_leaves_the_callers_random_numbers_alone() -> None:
    before = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state()
    run(make_network(), replace(EVERYTHING, steps=2))
    assert random.getstate() == before[0]
    assert np.random.get_state()[1].tolist() == before[1]
    assert torch.equal(torch.get_rng_state(), before[2])


def test_a_step_without_a_finite_loss_changes_nothing() -> None:
    model = make_network()
    states: list[dict[str, Tensor]] = []
    losses: list[float] = []

    def forward(step: int, images: Tensor) -> Tensor:
        return model(images * (float("nan") if step == 2 else 1.0))

    def look(report: StepReport) -> None:
        states.append(state(model) | {f"average/{name}": tensor.to("cpu", copy=True) for name, tensor in (report.average or {}).items()})
        losses.append(report.loss)

    trained = train_network(model, forward, batches(), EVERYTHING, on_step=look)
    assert trained.counters.skipped == 1
    assert not np.isfinite(losses[2])
    assert same(states[1], states[2])
    assert not same(states[2], states[3])
    assert all(tensor.isfinite().all() for tensor in states[-1].values())


def test_a_gradient_that_is_not_finite_changes_nothing() -> None:
    model = make_network()
    before = state(model)
    # The square root's value at zero is finite, its slope is not.
    trained = train_network(model, lambda _, images: (0 * model(images)).abs().sqrt(), batches(), replace(EVERYTHING, steps=2))
    assert trained.counters.skipped == 2
    assert same(before, state(model))


def test_a_diverged_training_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpointer, "MAX_SKIPPED_IN_A_ROW", 3)
    model = Branches()
    with pytest.raises(TrainingError, match="3 steps in a row without a finite loss"):
        train_network(model, lambda _, images: model(images, 0) * float("inf"), batches(), replace(EVERYTHING, steps=1000))


def diverging(model: nn.Module, bad: Iterator[bool]) -> Callable[[int, Tensor], Tensor]:
    """A forward whose loss is not finite wherever `bad` says so, call by call."""
    return lambda step, images: model(images) * (float("nan") if next(bad, False) else 1.0)


def test_a_diverged_training_is_rolled_back_and_continues_at_a_lower_rate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpointer, "MAX_SKIPPED_IN_A_ROW", 3)
    monkeypatch.setattr(checkpointer, "ROLLBACK_STEPS", 2)
    config = replace(EVERYTHING, steps=8)
    rates: list[tuple[int, float]] = []
    model = make_network()
    bad = iter([False] * 5 + [True] * 3)
    file = tmp_path / "checkpoint.safetensors"
    trained = train_network(model, diverging(model, bad), batches(), config, checkpoint=file,
                   on_step=lambda one: rates.append((one.step, one.lr)))  # fmt: skip
    # Steps 6 and 7 were skipped, the third ended it; the last rollback checkpoint before was that of step 6.
    assert [step for step, _ in rates] == [1, 2, 3, 4, 5, 6, 7, 7, 8]
    assert trained.finished
    assert trained.counters.skipped == 3
    usual: list[float] = []
    run(make_network(), config, on_step=lambda one: usual.append(one.lr))
    lower = [checkpointer.LOWER_LR * rate for rate in usual[6:]]
    assert [rate for _, rate in rates] == pytest.approx([*usual[:7], *lower])
    # An interrupted training keeps to it.
    assert load_checkpoint(file)[1]["lr_factor"] == checkpointer.LOWER_LR


def test_a_rollback_does_not_depend_on_when_checkpoints_were_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpointer, "MAX_SKIPPED_IN_A_ROW", 2)
    monkeypatch.setattr(checkpointer, "ROLLBACK_STEPS", 3)
    states = []
    for seconds in (60.0, 0.0):
        monkeypatch.setattr(checkpointer, "SECONDS_UNSAVED", seconds)
        monkeypatch.setattr(checkpointer, "WRITING_SHARE", float("inf"))
        model = make_small()
        bad = iter([False] * 5 + [True] * 2)
        extra = {"seen": 0}

        def count(report: StepReport, extra: dict[str, int] = extra) -> None:
            extra["seen"] += report.step

        trained = train_network(model, diverging(model, bad), batches(), replace(EVERYTHING, steps=8), checkpoint=tmp_path / f"{seconds}",
                       extra=extra, on_step=count)  # fmt: skip
        assert trained.counters.skipped == 2
        assert extra["seen"] == sum(range(1, 9))
        states.append(state(model))
    assert same(*states)


def test_a_training_that_diverges_again_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpointer, "MAX_SKIPPED_IN_A_ROW", 3)
    monkeypatch.setattr(checkpointer, "ROLLBACK_STEPS", 2)
    model = make_network()
    bad = iter([False] * 3 + [True] * 100)
    with pytest.raises(TrainingError, match=r"3 steps in a row without a finite loss, also at 0\.1 of the learning rate"):
        train_network(model, diverging(model, bad), batches(), replace(EVERYTHING, steps=9), checkpoint=tmp_path / "c.safetensors")


def test_gradients_of_several_paths_add_up() -> None:
    seen: list[dict[str, Tensor]] = []
    for choice in ((0,), (1,), (0, 1)):
        torch.manual_seed(0)
        model = Branches()
        before = state(model)

        def forward(_: int, images: Tensor, model: Branches = model, choice: tuple[int, ...] = choice) -> Iterator[Tensor]:
            for path in choice:
                yield model(images, path)

        config = TrainConfig(1, optimizer="sgd", lr=0.1, weight_decay=0.0, clip_grad=None, precision="fp32")
        train_network(model, forward, batches(), config)
        seen.append({name: tensor - before[name] for name, tensor in state(model).items()})
    for name, both in seen[2].items():
        torch.testing.assert_close(both, seen[0][name] + seen[1][name], rtol=1e-4, atol=1e-6)


def test_parts_of_a_batch_add_up_to_it() -> None:
    """Without batch norm and dropout, and mixed in the same pairs."""
    states = []
    for accumulate in (1, 2, 4):
        torch.manual_seed(0)
        model = Branches()
        config = replace(EVERYTHING, accumulate=accumulate, optimizer="sgd", lr=0.1)
        trained = train_network(model, lambda step, images, model=model: model(images, step % 2), batches(), config)
        states.append(state(model) | {f"average.{name}": tensor for name, tensor in (trained.average or {}).items()})
    assert not same(states[0], states[1])
    for name, whole in states[0].items():
        for parts in states[1:]:
            torch.testing.assert_close(parts[name], whole, rtol=1e-4, atol=1e-6)


@given(st.integers(1, 4), st.integers(1, 4), st.integers(1, 5))
def test_every_image_is_in_the_same_part_as_the_one_it_is_mixed_with(processes: int, accumulate: int, pairs: int) -> None:
    parts = processes * accumulate
    size = 2 * pairs * parts
    places = [rows_of_part(size, part, parts) for part in range(parts)]
    assert sorted(place for part in places for place in part) == list(range(size))
    assert all([size - 1 - place for place in part] == part[::-1] for part in places)


def test_the_loss_of_a_distillation_target_is_added_to_that_of_the_labels() -> None:
    device = own_device()
    labels = next(batches().stream(0, 1))[1].to(device)
    torch.manual_seed(0)
    start, teacher = torch.randn(8, 10).to(device), torch.randn(8, 10).to(device)
    logits = start.clone().requires_grad_()
    # As DeiT writes it, in its equation 2.
    divergence = F.kl_div((logits / 3).log_softmax(1), (teacher / 3).log_softmax(1), reduction="batchmean", log_target=True)
    (0.7 * F.cross_entropy(logits, labels) + 0.3 * 9 * divergence).backward()
    model = nn.ParameterDict({"logits": start})
    gradients: list[Tensor] = []
    model["logits"].register_hook(gradients.append)
    config = TrainConfig(1, label_smoothing=0.0, precision="fp32")
    train_network(model, lambda _, __: Distilled(model["logits"], (teacher / 3).softmax(1), 0.3, 3.0), batches(), config)
    assert logits.grad is not None
    torch.testing.assert_close(gradients[0], logits.grad)


def test_the_time_limit_ends_a_training_that_a_later_run_continues(tmp_path: Path) -> None:
    model, whole, file = make_network(), make_network(), tmp_path / "checkpoint"
    trained = run(model, EVERYTHING, checkpoint=file, max_seconds=1e-6)
    assert (trained.counters.step, trained.finished) == (1, False)
    trained = run(model, EVERYTHING, checkpoint=file)
    assert (trained.counters.step, trained.finished) == (6, True)
    run(whole, EVERYTHING)
    assert same(state(model), state(whole))


@pytest.mark.usefixtures("saving_every_step")
@pytest.mark.parametrize("own", ["fp32", "bf16"])
def test_a_training_keeps_the_precision_that_it_began_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own: str) -> None:
    monkeypatch.setattr(loop, "precision_of", lambda device: own)
    automatic, explicit, file = make_network(), make_network(), tmp_path / "checkpoint"
    config = replace(EVERYTHING, steps=2)
    assert run(automatic, replace(config, precision="auto"), checkpoint=file).counters.precision == own
    run(explicit, replace(config, precision=own))
    assert same(state(automatic), state(explicit))
    # Whatever is continued elsewhere, too.
    monkeypatch.setattr(loop, "precision_of", lambda device: "fp32" if own == "bf16" else "bf16")
    assert run(make_network(), replace(config, precision="auto"), checkpoint=file).counters.precision == own


@pytest.mark.parametrize(("device", "has_units", "expected"), [("cpu", True, "fp32"), ("cuda", False, "fp32"), ("cuda", True, "bf16")])
def test_the_device_decides_on_the_precision(monkeypatch: pytest.MonkeyPatch, device: str, has_units: bool, expected: str) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: has_units)
    assert precision_of(torch.device(device)) == expected


def test_it_learns() -> None:
    model = make_network()
    losses: list[float] = []
    few = replace(batches(), indices=np.arange(16), batch_size=16)
    config = TrainConfig(25, lr=3e-3, warmup_steps=3, label_smoothing=0.0, precision="fp32")
    train_network(model, lambda _, images: model(images), few, config, on_step=lambda report: losses.append(report.loss))
    assert losses[-1] < 0.5 * losses[0]


@pytest.mark.usefixtures("saving_every_step")
@pytest.mark.parametrize(
    ("change", "key"), [({"lr": 0.02}, "lr"), ({"steps": 7}, "steps"), ({"seed": 1}, "seed"), ({"ema_decay": None}, "ema_decay")]
)
def test_a_checkpoint_of_another_configuration_is_refused(tmp_path: Path, change: dict[str, object], key: str) -> None:
    file = tmp_path / "checkpoint"
    run(make_network(), replace(EVERYTHING, steps=1), checkpoint=file)
    config = replace(EVERYTHING, **{"steps": 1, **change})  # type: ignore[arg-type]
    with pytest.raises(CheckpointError, match=f"checkpoint: {key}: got a checkpoint of .*; use another --out or delete it"):
        run(make_network(), config, checkpoint=file)


@pytest.mark.usefixtures("saving_every_step")
def test_a_checkpoint_of_another_network_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "checkpoint"
    run(make_network(), replace(EVERYTHING, steps=1), checkpoint=file)
    model = Branches()
    with pytest.raises(CheckpointError, match="weights of another network"):
        train_network(model, lambda _, images: model(images, 0), batches(), replace(EVERYTHING, steps=1), checkpoint=file)


@pytest.mark.usefixtures("saving_every_step")
@pytest.mark.parametrize("lost", ["facts", "step", "precision", "extra", "optimizer", "average/0.weight"])
def test_a_checkpoint_that_lacks_something_is_refused(tmp_path: Path, lost: str) -> None:
    file, config = tmp_path / "checkpoint", replace(EVERYTHING, steps=1)
    run(make_small(), config, checkpoint=file)
    tensors, facts = load_checkpoint(file)
    spoilt = {name: tensor for name, tensor in tensors.items() if name != lost}
    kept = {} if lost == "facts" else {name: fact for name, fact in facts.items() if name != lost}
    assert (len(spoilt), len(kept)) != (len(tensors), len(facts))
    save_checkpoint(file, spoilt, kept)
    with pytest.raises(CheckpointError, match="checkpoint: not a whole checkpoint; delete it"):
        run(make_small(), config, checkpoint=file)


@given(st.floats(0, 1, exclude_max=True))
def test_a_truncated_checkpoint_is_refused(tmp_path_factory: pytest.TempPathFactory, share: float) -> None:
    file = tmp_path_factory.mktemp("cut") / "checkpoint"
    save_checkpoint(file, {"model/weight": torch.arange(6.0), "model/bias": torch.ones(2)}, {"step": 1})
    content = file.read_bytes()
    file.write_bytes(content[: int(share * len(content))])
    with pytest.raises(CheckpointError, match=r"the checkpoint is damaged; delete it") as caught:
        load_checkpoint(file)
    assert "\n" not in str(caught.value)


class Trap:
    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return os.mkdir, ("sprung",)


def test_nothing_in_a_checkpoint_is_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for content in (pickle.dumps(Trap()), b""):
        (tmp_path / "checkpoint").write_bytes(content)
        with pytest.raises(CheckpointError):
            load_checkpoint(tmp_path / "checkpoint")
    torch.save(Trap(), tmp_path / "checkpoint")
    with pytest.raises(CheckpointError):
        load_checkpoint(tmp_path / "checkpoint")
    assert not (tmp_path / "sprung").exists()


def test_a_checkpoint_that_cannot_be_written_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "checkpoint"
    save_checkpoint(file, {"weight": torch.ones(2)}, {"step": 1})

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        save_checkpoint(file, {"weight": torch.zeros(2)}, {"step": 2})
    assert load_checkpoint(file)[1] == {"step": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint"]


@pytest.mark.parametrize(
    ("config", "size", "said"),
    [
        (replace(EVERYTHING, optimizer="none"), 8, "optimizer: got 'none'"),
        (EVERYTHING, 7, "batch size: got 7, expected a multiple of 2"),
    ],
)
def test_configurations_that_cannot_train(config: TrainConfig, size: int, said: str) -> None:
    model = Branches()
    with pytest.raises(TrainingError, match=said):
        train_network(model, lambda _, images: model(images, 0), replace(batches(), batch_size=size), config)


def test_seeds_depend_on_the_whole_key() -> None:
    keys = [("a", 1), ("a", 2), ("b", 1), ("a", 1, 0), ("a", -1)]
    assert len({seed_of(*key) for key in keys}) == len(keys)
    assert all(0 <= seed_of(*key) < 2**63 for key in keys)
