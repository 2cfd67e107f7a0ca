"""Two processes train what one does with the same batches in two parts, also where one of them is interrupted."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from nas.draw import __main__ as draw
from nas.retrain import __main__ as retrain
from space.files import dump_architecture, load_space
from supernet.data.batches import Batches
from supernet.data.images import open_images
from supernet.seeding import seeded
from supernet.slices import Slices
from supernet.training.checkpoint import load_checkpoint
from supernet.training.config import TrainConfig
from supernet.training.distributed import num_processes
from supernet.training.loop import train_network
from supernet.training.step import StepReport
from tests.pictures import write_pictures

CONFIG = TrainConfig(5, lr=0.01, weight_decay=0.1, warmup_steps=2, clip_grad=0.5, mixup=0.4, ema_decay=0.9, precision="fp32")
ALONE = replace(CONFIG, accumulate=2)
RECIPE = """
schema: recipe/1
epochs: 2
batch_size: 8
optimizer: sgd
lr: 1.0e-2
mixup: 0.2
drop_path: 0.2
min_area: 0.8
erase: 0.5
validation: 0.2
"""
"""With SGD: after batch norms some gradients are zero but for rounding; Adam would make full steps of them."""
WIDTHS = ((16,), (32,), (8, 24))
"""The widths that the steps run, in turn."""


class Elastic(nn.Module):
    """Two layers of several widths, with dropout; without batch norm, whose averages after two parts are others than side by side."""

    def __init__(self) -> None:
        super().__init__()
        self.slices = Slices()
        self.first, self.last = nn.Linear(3 * 32 * 32, 32), nn.Linear(32, 10)

    def forward(self, step: int, images: Tensor) -> Iterator[Tensor]:
        for width in WIDTHS[step % len(WIDTHS)]:
            weight = self.slices.leaf(self.first.weight, torch.Size((width, 3 * 32 * 32)))
            bias = self.slices.leaf(self.first.bias, torch.Size((width,)))
            hidden = F.layer_norm(F.linear(images.flatten(1), weight, bias), (width,))
            yield F.linear(F.dropout(hidden.relu()), self.slices.leaf(self.last.weight, torch.Size((10, width))), self.last.bias)


def run(config: TrainConfig, checkpoint: Path, on_step: Callable[[StepReport], None] | None = None) -> dict[str, Tensor]:
    """Train from the checkpoint on; weights and averages, in the main memory."""
    with seeded("elastic"):
        model = Elastic()
    batches = Batches(open_images("digits"), np.arange(64), 8, 32, seed=3)
    average = train_network(model, model, batches, config, slices=model.slices, checkpoint=checkpoint, on_step=on_step).average
    assert average is not None
    found = model.state_dict() | {f"average.{name}": tensor for name, tensor in average.items()}
    return {name: tensor.cpu() for name, tensor in found.items()}


def retrained(out: Path) -> dict[str, Tensor]:
    """Parameters that a retraining came to; batch norms average the same statistics in another order."""
    statistics = ("running_mean", "running_var", "num_batches_tracked")
    return {name: tensor for name, tensor in load_file(out / "weights.safetensors").items() if not name.endswith(statistics)}


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """A folder with pictures, a recipe and an architecture."""
    write_pictures(tmp_path / "set" / "train", count=8)
    write_pictures(tmp_path / "set" / "val", count=3)
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    (tmp_path / "tiny.yaml").write_text(dump_architecture(load_space("hybrid-32").smallest()))
    return tmp_path


def command(work: Path, out: str, *more: str) -> list[str]:
    files = [str(work / "tiny.yaml"), "--recipe", str(work / "recipe.yaml"), "--data", str(work / "set"), "--out", str(work / out)]
    return [*files, "--precision", "fp32", *more]


def close(ours: dict[str, Tensor], theirs: dict[str, Tensor], lr: float) -> None:
    assert ours.keys() == theirs.keys()
    for name in ours:
        # Adam makes steps of the learning rate's size of the smallest gradients, rounding and all.
        torch.testing.assert_close(ours[name], theirs[name], rtol=1e-4, atol=lr / 200, msg=name)


def test_two_processes_train_what_one_does(work: Path) -> None:
    one = run(ALONE, work / "checkpoint")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = os.environ | {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1"}
    started = [sys.executable, "-m", "tests.nas.test_torchrun", str(work)]
    ranks = [subprocess.Popen(started, env=shared | {"RANK": rank, "LOCAL_RANK": rank}, stdout=subprocess.PIPE, text=True) for rank in "01"]
    try:
        said = [rank.communicate(timeout=200)[0] for rank in ranks]
    finally:
        for rank in ranks:
            rank.kill()
    assert [rank.returncode for rank in ranks] == [0, 0]
    close(load_file(work / "two"), one, CONFIG.lr)
    assert retrain.main(command(work, "one", "--accumulate", "2")) == 0
    close(retrained(work / "both"), retrained(work / "one"), 1e-2)
    results, alone = (json.loads((work / out / "result.json").read_text()) for out in ("both", "one"))
    assert (results["steps"], results["test"]["images"]) == (alone["steps"], alone["test"]["images"]) == (6, 9)
    assert "test accuracy" in said[0]
    assert said[1] == ""


@pytest.mark.soak
def test_torchrun_starts_it(work: Path) -> None:
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m"]
    subprocess.run([*torchrun, "nas.retrain", *command(work, "both")], check=True, timeout=200)
    assert retrain.main(command(work, "one", "--accumulate", "2")) == 0
    close(retrained(work / "both"), retrained(work / "one"), 1e-2)
    budget = ["--space", "hybrid-32", "--data", str(work / "set"), "--steps", "3", "--batch-size", "8", "--out", str(work / "supernet")]
    subprocess.run([*torchrun, "nas.train", *budget], check=True, timeout=200)
    assert load_checkpoint(work / "supernet" / "supernet.safetensors")[1]["finished"]


def test_a_batch_that_cannot_be_split_equally_is_refused(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert retrain.main(command(work, "odd", "--accumulate", "3")) == 2
    assert "batch size: got 8, expected a multiple of 6, to be mixed in pairs, in 3 equal parts" in capsys.readouterr().err


def test_commands_for_one_process_refuse_several(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert draw.main(["davit-t"]) == 2
    assert "torchrun: got 2 processes, expected one" in capsys.readouterr().err


if __name__ == "__main__":
    folder, rank = Path(sys.argv[1]), int(os.environ["RANK"])

    def interrupt_one(report: StepReport) -> None:
        if (rank, report.step) == (1, 2):
            signal.raise_signal(signal.SIGINT)

    try:
        run(CONFIG, folder / "checkpoint", interrupt_one)
        raise AssertionError("not interrupted")
    except KeyboardInterrupt:
        assert load_checkpoint(folder / "checkpoint")[1]["step"] == 2
    trained = run(CONFIG, folder / "checkpoint")
    assert num_processes() == 2
    if rank == 0:
        save_file(trained, folder / "two")
    assert retrain.main(command(folder, "both", "--minutes", "0.00001")) == 0
    assert not json.loads((folder / "both" / "result.json").read_text())["finished"]
    assert retrain.main(command(folder, "both")) == 0
