"""The time that the three commands of experiments/imagenet-4.5g would take: measured on this device, computed for others.

    python -m experiments.benchmarks.imagenet [--processes 8]

Measures training throughput of networks at 224 px in multiply-adds a second, forward passes likewise, and how many JPEGs a core
loads and augments a second. Prints a Markdown table of that, and one of hours by throughput. On a CPU it measures the processor time of
one thread, which other programs do not affect.
"""

from __future__ import annotations

import argparse
import platform
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from random import Random

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

from nas.retrain.recipe import load_recipe
from nas.retrain.retraining import Retraining
from proxies.band.architecture_band import ArchitectureBand
from proxies.cost import parse_budget
from proxies.macs import cost_of
from space.architecture import Architecture
from space.files import load_architecture, load_space
from space.network import build_network
from supernet.data.images import open_images
from supernet.tasks.task import task_named

BUDGET, SPACE = "4.5GFLOPs", "hybrid-224"
TRAIN_IMAGES, CLASSES, SIZE = 1_281_167, 1000, 224
SUPERNET_STEPS, BATCH = 150_000, 1024
TRIALS = 1000
SAMPLES = 32
PASSES = 3
"""A training step in forward passes: backward costs two."""
RATES = (5, 10, 20, 40)
"""Multiply-adds a second of one GPU in training, in units of 1e12."""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--processes", type=int, default=8, help="GPUs that train together (%(default)s)")
    parser.add_argument("--batch-size", type=int, default=None, help="images a step on one device (4 on a CPU, 128 on a GPU)")
    arguments = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.set_num_threads(1)
    batch_size = arguments.batch_size or (128 if device.type == "cuda" else 4)
    machine = torch.cuda.get_device_name() if device.type == "cuda" else f"{platform.machine()}, one thread"
    print(f"{machine}, {'bf16' if device.type == 'cuda' else 'fp32'}, {batch_size} images a step, torch {torch.__version__}\n")
    space, budget = load_space(SPACE).replace(num_classes=CLASSES), parse_budget(BUDGET)
    drawn = ArchitectureBand(space, budget).draw(Random(0))
    print("| network | GMACs | training, images/s | training, GMAC/s | forward, images/s | forward, GMAC/s |\n|---|---|---|---|---|---|")
    networks = {"one of the band": drawn} | {name: load_architecture(name) for name in ("davit-t", "uniformer-s")}
    for name, architecture in networks.items():
        print(_row(name, architecture, device, batch_size), flush=True)
    loaded = _loading_rate()
    print(f"\nloading with the augmentation of deit: {loaded:.0f} images/s a core (500x375 JPEG)\n")
    rng = Random(0)
    band = ArchitectureBand(space, budget)
    anywhere = np.mean([cost_of(space.sample(rng)).macs for _ in range(SAMPLES)])
    inside = np.mean([cost_of(band.draw(rng)).macs for _ in range(SAMPLES)])
    recipe, task = load_recipe("deit"), task_named("classification")
    images = {"supernet": SUPERNET_STEPS * BATCH, "search": TRIALS * (task.max_search_images + task.max_calibration_images),
              "retrain": (recipe.epochs or 0) * round((1 - recipe.validation) * TRAIN_IMAGES)}  # fmt: skip
    macs = {"supernet": PASSES * anywhere, "search": inside, "retrain": PASSES * inside}
    work = {phase: macs[phase] * images[phase] for phase in images}
    print(f"| phase | images, millions | 1e18 MACs | {' | '.join(f'{rate}e12' for rate in RATES)} | cores that load as fast, at 20e12 |")
    print(f"|{'---|' * (4 + len(RATES))}")
    for phase, amount in work.items():
        hours = [amount / (arguments.processes * rate * 1e12) / 3600 for rate in RATES]
        # A search reads its images once.
        cores = "few" if phase == "search" else f"{images[phase] / (amount / (arguments.processes * 20e12)) / loaded:.0f}"
        cells = [f"{images[phase] / 1e6:.3g}", f"{amount / 1e18:.3g}", *(f"{one:.2g} h" for one in hours), cores]
        print(f"| {phase} | {' | '.join(cells)} |")


def _row(name: str, architecture: Architecture, device: torch.device, batch_size: int) -> str:
    network = build_network(architecture).to(device, memory_format=torch.channels_last).train()
    optimizer = torch.optim.AdamW(network.parameters(), fused=True)
    images = torch.randn(batch_size, 3, SIZE, SIZE, device=device).contiguous(memory_format=torch.channels_last)
    labels = torch.zeros(batch_size, dtype=torch.int64, device=device)

    def forward() -> torch.Tensor:
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            return F.cross_entropy(network(images).float(), labels)

    def step() -> None:
        forward().backward()
        optimizer.step()
        optimizer.zero_grad()

    trained = batch_size / _seconds(step, device)
    with torch.no_grad():
        network.eval()
        passed = batch_size / _seconds(lambda: forward() and None, device)
    gmacs = cost_of(architecture).macs / 1e9
    return f"| {name} | {gmacs:.2f} | {trained:.3g} | {PASSES * trained * gmacs:.3g} | {passed:.3g} | {passed * gmacs:.3g} |"


def _seconds(do: Callable[[], None], device: torch.device) -> float:
    """The least of some repetitions, after one that allocates."""
    found = []
    for _ in range(4):
        start = time.perf_counter() if device.type == "cuda" else time.process_time()
        do()
        if device.type == "cuda":
            torch.cuda.synchronize()
        found.append((time.perf_counter() if device.type == "cuda" else time.process_time()) - start)
    return min(found[1:])


def _loading_rate() -> float:
    """Images a second of processor time: read, decoded, augmented, normalised."""
    with tempfile.TemporaryDirectory() as folder:
        rng = np.random.default_rng(0)
        for name in ("a", "b"):
            (Path(folder) / name).mkdir()
            for number in range(40):
                # As smooth as photographs: noise of a few pixels' size.
                small = Image.fromarray(rng.integers(0, 256, (75, 100, 3), dtype=np.uint8))
                small.resize((500, 375), Image.Resampling.BICUBIC).save(Path(folder) / name / f"{number}.jpg", quality=90)
        architecture, recipe = load_architecture("davit-t"), load_recipe("deit").adapted(batch_size=16)
        retraining = Retraining(architecture, recipe, open_images(folder), None, SIZE, 0, None, Path(folder), num_workers=0)
        stream = retraining.batches.stream(0, 4)
        next(stream)
        start = time.process_time()
        count = sum(len(labels) for _, labels in stream)
        return count / (time.process_time() - start)


if __name__ == "__main__":
    main()
