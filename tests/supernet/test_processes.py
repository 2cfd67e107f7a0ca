"""Two processes train what one does with the same batches in two parts, also where one of them is interrupted."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from supernet.batches import Batches
from supernet.checkpoint import load_checkpoint
from supernet.data import open_images
from supernet.engine import StepReport, TrainConfig, train
from supernet.processes import num_processes
from supernet.randomness import seeded
from supernet.slices import Slices

CONFIG = TrainConfig(5, lr=0.01, weight_decay=0.1, warmup_steps=2, clip_grad=0.5, mixup=0.4, ema_decay=0.9, precision="fp32")
ALONE = replace(CONFIG, accumulate=2)
WIDTHS = ((16,), (32,), (8, 24))
"""What the steps run, in turn."""


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
    """Train from the checkpoint on; weights and averages."""
    with seeded("elastic"):
        model = Elastic()
    batches = Batches(open_images("digits"), np.arange(64), 8, 32, seed=3)
    average = train(model, model, batches, config, slices=model.slices, checkpoint=checkpoint, on_step=on_step).average
    assert average is not None
    return model.state_dict() | {f"average.{name}": tensor for name, tensor in average.items()}


def test_two_processes_train_what_one_does(tmp_path: Path) -> None:
    one = run(ALONE, tmp_path / "checkpoint")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = os.environ | {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    command = [sys.executable, "-m", "tests.supernet.test_processes", str(tmp_path)]
    ranks = [subprocess.Popen(command, env=shared | {"RANK": rank, "LOCAL_RANK": rank, "OMP_NUM_THREADS": "1"}) for rank in "01"]
    try:
        assert [rank.wait(timeout=200) for rank in ranks] == [0, 0]
    finally:
        for rank in ranks:
            rank.kill()
    two = load_file(tmp_path / "two")
    assert one.keys() == two.keys()
    for name in one:
        # Adam makes steps of the learning rate's size of the smallest gradients, rounding and all.
        torch.testing.assert_close(two[name], one[name], rtol=1e-4, atol=CONFIG.lr / 500, msg=name)


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
