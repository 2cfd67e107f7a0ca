"""How busy a GPU is kept: training steps, published networks, loading, evaluations and a whole search, in about five minutes.

    python -m experiments.benchmarks.gpu

Each measurement is written to a JSON file beside the page as soon as it is made. After `--minutes` no other one begins; the same command
then makes those that are missing. On a GPU all runs in bf16. A CPU needs smaller sizes; tests/test_benchmarks.py has some.
"""

from __future__ import annotations

import argparse
import json
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import timm
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from experiments.benchmarks.parents import RESULTS, TIMM_NAMES, machine, seconds_of
from experiments.benchmarks.supernet import step_of_supernet
from nas.evaluators.supernet import load_evaluator
from nas.train.supernet_run import open_supernet_run
from proxies.band.architecture_band import ArchitectureBand
from proxies.cost import parse_budget
from space.architecture import Architecture
from space.files import load_architecture, load_space, write_atomically
from space.network import build_network
from supernet.data.batches import Batches
from supernet.data.images import open_images
from supernet.network import Supernet
from supernet.path_training import PathTraining
from supernet.paths import strategy
from supernet.sampling_domain import whole_space
from supernet.training.config import TrainConfig
from supernet.training.loop import train_network

CASES = ("hybrid-224:4.5GFLOPs", "hybrid-32:60MFLOPs")
SAMPLING_SECONDS = 0.2

Values = Mapping[str, float]


@dataclass(frozen=True)
class Measurement:
    """A row of the page: its name, and what measures its values."""

    name: str
    run: Callable[[], Values]


def main(argv: Sequence[str] | None = None) -> None:
    """Make the measurements that are missing, and write the page anew after each."""
    arguments = sys.argv[1:] if argv is None else argv
    args = _parser().parse_args(arguments)
    command = shlex.join(["python", "-m", "experiments.benchmarks.gpu", *arguments])
    torch.set_num_threads(args.threads)
    values_file = Path(args.output).with_suffix(".json")
    settings = {name: value for name, value in vars(args).items() if name not in ("compile", "minutes", "fresh", "output")}
    before = json.loads(values_file.read_text()) if values_file.exists() and not args.fresh else {}
    # Compared as JSON, which has no tuples.
    done: dict[str, Any] = before["done"] if before.get("settings") == json.loads(json.dumps(settings)) else {}
    end = time.monotonic() + 60 * args.minutes
    with tempfile.TemporaryDirectory() as folder:
        measurements = list(_measurements(args, Path(folder)))
        for one in measurements:
            if one.name in done or time.monotonic() > end:
                continue
            print(one.name, flush=True)
            try:
                done[one.name] = dict(one.run())
            except (RuntimeError, subprocess.CalledProcessError) as error:  # Out of memory, or no compiler.
                print(f"{one.name}: failed: {error}", file=sys.stderr)
                continue
            write_atomically(values_file, json.dumps({"settings": settings, "done": done}, indent=1))
            write_atomically(args.output, page(command, args, done))
    missing = [one.name for one in measurements if one.name not in done]
    print(page(command, args, done))
    if missing:
        print(f"not measured: {', '.join(missing)}; the same command goes on")


def _parser() -> argparse.ArgumentParser:
    device = "cuda" if torch.cuda.is_available() else "cpu"
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", nargs="+", default=CASES, metavar="SPACE:BUDGET", help="of single steps; the last one's are trained")
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--parents", nargs="*", choices=TIMM_NAMES, default=("davit-t",), help="networks that timm has, too")
    parser.add_argument("--image-size", type=int, default=224, help="for --parents")
    parser.add_argument("--architectures", type=int, default=8, help="in turn, in steps and evaluations")
    parser.add_argument("--rounds", type=int, default=5, help="timed rounds; figures are medians")
    parser.add_argument("--steps", type=int, default=150, help="of trainings, and of the search's supernet")
    parser.add_argument("--images", type=int, default=10_000, help="that are trained and searched on")
    parser.add_argument("--side", type=int, default=64, help="of the search's images, in pixels")
    parser.add_argument("--trials", type=int, default=40, help="of the search")
    parser.add_argument("--compile", choices=("on", "off"), default="on", help="whether to measure compiled networks")
    parser.add_argument("--minutes", type=float, default=4.0, help="after which no other measurement begins")
    parser.add_argument("--fresh", action="store_true", help="measure everything anew")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--device", default=device)
    parser.add_argument("--output", type=Path, default=RESULTS / f"gpu-{device}.md")
    return parser


# What is measured ---------------------------------------------------------------------------------------------------------------------


def _measurements(args: argparse.Namespace, folder: Path) -> Iterator[Measurement]:
    """The cheap ones first, those that compile last."""
    for case in args.cases:
        yield Measurement(f"step {case}", lambda case=case: steps(case, args))
    for name in args.parents:
        yield Measurement(f"network {name}", lambda name=name: passes(name, args))
    yield Measurement("loading", lambda: loading(args, folder))
    yield Measurement("training", lambda: trainings(args, folder))
    yield Measurement("search", lambda: search(args, folder))
    if args.compile == "on":
        for case in reversed(args.cases):
            yield Measurement(f"compiled step {case}", lambda case=case: compiled_step(case, args))
        for name in args.parents:
            yield Measurement(f"compiled network {name}", lambda name=name: compiled_passes(name, args))


def steps(case: str, args: argparse.Namespace) -> Values:
    """Seconds of the supernet's step and of the plain network's on the same architectures, in turns; the ratio's median."""
    architectures = _architectures(case, args.architectures)
    images, labels = _random_batch(architectures[0], args)
    space = load_space(case.partition(":")[0])
    supernet_step = step_of_supernet(space, architectures, images, labels)
    pairs = []
    for index, architecture in enumerate(architectures):
        plain = _training_step(build_network(architecture), images, labels)
        both = [_timed(lambda index=index: _autocast(supernet_step, index), args), _timed(plain, args)]  # type: ignore[misc]
        pairs.append(both)
    supernet, plain_seconds = (statistics.median(times) for times in zip(*pairs, strict=True))
    return {"supernet": supernet, "plain": plain_seconds, "ratio": statistics.median(one / other for one, other in pairs)}


def compiled_step(case: str, args: argparse.Namespace) -> Values:
    """Seconds of one plain network's compiled step."""
    architecture = _architectures(case, 1)[0]
    network = torch.compile(build_network(architecture))
    return {"plain": _timed(_training_step(network, *_random_batch(architecture, args)), args)}  # type: ignore[arg-type]


def passes(name: str, args: argparse.Namespace) -> Values:
    """Seconds of a published network's forward pass and training step, ours and timm's in turns."""
    return _passes({"ours": build_network(load_architecture(name)), "timm": timm.create_model(TIMM_NAMES[name])}, args)


def compiled_passes(name: str, args: argparse.Namespace) -> Values:
    """The same compiled."""
    networks = {"ours": build_network(load_architecture(name)), "timm": timm.create_model(TIMM_NAMES[name])}
    return _passes({name: torch.compile(network) for name, network in networks.items()}, args)  # type: ignore[misc]


def loading(args: argparse.Namespace, folder: Path) -> Values:
    """Seconds of a training batch of 32 px, from images that are on the device already, and of one that is decoded first."""
    batches, device = _batches(args, folder, 32), torch.device(args.device)
    first = seconds_of(lambda: _exhaust(batches.stream(0, 5, device=device)), 1, args.device) / 5
    _exhaust(batches.stream(0, batches.steps_per_epoch, device=device))
    whole = [seconds_of(lambda: _exhaust(batches.stream(0, 20, device=device)), 1, args.device) / 20 for _ in range(args.rounds)]
    return {"first": first, "later": statistics.median(whole)}


def trainings(args: argparse.Namespace, folder: Path) -> Values:
    """Images a second of the training loop, loading included: a network alone, and the supernet on a path a step."""
    case = args.cases[-1]
    space, architecture = load_space(case.partition(":")[0]), _architectures(case, 1)[0]
    batches = _batches(args, folder, space.image_size)
    network = build_network(architecture)
    training = PathTraining(Supernet(space), strategy("uniform"), whole_space(space), 0)
    alone = _rate(lambda: train_network(network, lambda _, images: network(images), batches, _recipe(args)), args)
    shared = _rate(lambda: train_network(training, training, batches, _recipe(args), slices=training.slices), args)
    return {"alone": alone, "supernet": shared}


def search(args: argparse.Namespace, folder: Path) -> Values:
    """Seconds of a search, the share of them in which the GPU computes, and the seconds of one evaluation of it."""
    name, _, budget = args.cases[-1].partition(":")
    run = folder / "run"
    command = [
        sys.executable, "-m", "nas.search", "--space", name, "--budget", budget, "--data", str(_noise(args, folder, args.side)),
        "--image-size", str(args.side), "--steps", str(args.steps), "--batch-size", str(args.batch_size), "--trials", str(args.trials),
        "--halving-candidates", "0", "--workers", "1", "--out", str(run),
    ]  # fmt: skip
    start = time.perf_counter()
    with _watched(args.device) as busy:
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    seconds = time.perf_counter() - start
    evaluator = load_evaluator(open_supernet_run(run))
    band = ArchitectureBand(evaluator.supernet.space, parse_budget(budget))
    rng = Random(0)
    drawn = [band.draw(rng) for _ in range(args.architectures)]
    evaluator(drawn[0])
    evaluation = statistics.median(seconds_of(lambda one=one: evaluator(one), 1, args.device) for one in drawn)  # type: ignore[misc]
    images = sum(len(batch) for batch in (*evaluator.calibration, *(images for images, _ in evaluator.images)))
    return {"seconds": seconds, "evaluation": evaluation, "images": images} | ({"busy": statistics.mean(busy) / 100} if busy else {})


# How it is measured -------------------------------------------------------------------------------------------------------------------


def _architectures(case: str, count: int) -> list[Architecture]:
    name, _, budget = case.partition(":")
    band, rng = ArchitectureBand(load_space(name), parse_budget(budget)), Random(0)
    return [band.draw(rng) for _ in range(count)]


def _random_batch(architecture: Architecture, args: argparse.Namespace) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(args.batch_size, 3, architecture.image_size, architecture.image_size, generator=generator)
    return images.to(args.device), torch.randint(architecture.num_classes, (args.batch_size,), generator=generator).to(args.device)


def _training_step(network: nn.Module, images: Tensor, labels: Tensor) -> Callable[[], None]:
    """One step as anyone would write it."""
    network.to(images.device).train()
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-4, weight_decay=0.05, fused=True)

    def step() -> None:
        loss = F.cross_entropy(_autocast(network, images).float(), labels)
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step


def _passes(networks: Mapping[str, nn.Module], args: argparse.Namespace) -> Values:
    images = torch.randn(args.batch_size, 3, args.image_size, args.image_size, device=args.device)
    labels = torch.zeros(args.batch_size, dtype=torch.int64, device=args.device)

    def forward(network: nn.Module) -> None:
        with torch.inference_mode():
            _autocast(network, images)

    found = {}
    for direction in ("forward", "training"):
        does: dict[str, Callable[[], None]] = {}
        for name, network in networks.items():
            if direction == "forward":
                network.to(args.device).eval()
                does[name] = lambda network=network: forward(network)  # type: ignore[misc]
            else:
                does[name] = _training_step(network, images, labels)
        for do in does.values():
            do()
        rounds = [{name: seconds_of(do, 1, args.device) for name, do in does.items()} for _ in range(args.rounds)]
        found |= {f"{direction}, {name}": statistics.median(times[name] for times in rounds) for name in does}
    return found


def _autocast(call: Callable[..., Any], *values: Any) -> Any:
    with torch.autocast("cuda", torch.bfloat16, enabled=torch.cuda.is_available()):
        return call(*values)


def _timed(step: Callable[[], Any], args: argparse.Namespace) -> float:
    """The median after one that warms up."""
    step()
    return statistics.median(seconds_of(step, 1, args.device) for _ in range(args.rounds))


def _rate(train: Callable[[], Any], args: argparse.Namespace) -> float:
    """Images a second of the second of two trainings: the first one loads the images and warms up."""
    train()
    return args.steps * args.batch_size / seconds_of(train, 1, args.device)  # type: ignore[no-any-return]


def _recipe(args: argparse.Namespace) -> TrainConfig:
    return TrainConfig(steps=args.steps, lr=1e-4, warmup_steps=0, label_smoothing=0.0)


def _batches(args: argparse.Namespace, folder: Path, side: int) -> Batches:
    images = open_images(str(_noise(args, folder, side)))
    return Batches(images, np.arange(len(images)), args.batch_size, side, seed=0)


def _noise(args: argparse.Namespace, folder: Path, side: int) -> Path:
    """A file of images of noise in ten classes."""
    file = folder / f"noise-{side}.npz"
    if not file.exists():
        rng = np.random.default_rng(0)
        pixels = rng.integers(0, 256, (args.images, side, side, 3), dtype=np.uint8)
        np.savez(file, train_images=pixels, train_labels=np.arange(args.images) % 10)
    return file


def _exhaust(batches: Iterator[Any]) -> None:
    for _ in batches:
        pass


@contextmanager
def _watched(device: str) -> Iterator[list[float]]:
    """The share of time, in percent, in which a kernel ran, for each fifth of a second; filled at the end, and empty without a GPU."""
    busy: list[float] = []
    if device == "cpu":
        yield busy
        return
    command = ["nvidia-smi", "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits", f"--loop-ms={1000 * SAMPLING_SECONDS:.0f}"]
    process = subprocess.Popen([*command, f"--id={torch.cuda.current_device()}"], stdout=subprocess.PIPE, text=True)
    try:
        yield busy
    finally:
        process.terminate()
        busy += [float(line) for line in process.communicate()[0].split()]


# The page -----------------------------------------------------------------------------------------------------------------------------


def page(command: str, args: argparse.Namespace, done: Mapping[str, Values]) -> str:
    """What was measured so far, as Markdown, with the goals for one H100."""
    precision = "fp32" if args.device == "cpu" else "bf16"
    lines = [
        "# How busy a GPU is kept",
        "",
        f"    {command}",
        "",
        f"{machine(args)}, torch {torch.__version__}, timm {timm.__version__}, {precision}, {args.batch_size} images a step.",
        f"Medians of {args.rounds} rounds. Goals are for one H100.",
        "",
        "| what | measured | goal |",
        "|---|--:|--:|",
    ]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in _rows(args, done))]) + "\n"


def _rows(args: argparse.Namespace, done: Mapping[str, Values]) -> Iterator[tuple[str, str, str]]:
    def rate(seconds: float) -> str:
        return f"{1000 * seconds:.3g} ms, {args.batch_size / seconds:,.0f} images/s"

    for case in args.cases:
        if found := done.get(f"step {case}"):
            yield f"{case}: plain network's step, eager", rate(found["plain"]), "-"
            yield f"{case}: supernet's step", rate(found["supernet"]), "-"
            yield f"{case}: supernet / plain, eager", f"{found['ratio']:.2f}", "1.10"
            if compiled := done.get(f"compiled step {case}"):
                yield f"{case}: plain network's step, compiled", rate(compiled["plain"]), "-"
                yield f"{case}: supernet, eager / plain, compiled", f"{found['supernet'] / compiled['plain']:.2f}", "1.25"
    for name in args.parents:
        eager = done.get(f"network {name}", {})
        for kind, found, goal in (("eager", eager, "1.00"), ("compiled", done.get(f"compiled network {name}", {}), "1.30")):
            for direction in ("forward", "training") if found else ():
                ours, theirs = found[f"{direction}, ours"], found[f"{direction}, timm"]
                yield f"{name}: {direction}, {kind}, ours", rate(ours), "-"
                yield f"{name}: {direction}, {kind}, timm's", rate(theirs), "-"
                yield f"{name}: {direction}, {kind}, times as fast as timm's", f"{theirs / ours:.2f}", "1.00"
                if kind == "compiled" and eager:
                    yield f"{name}: {direction}, ours compiled / timm's eager", f"{eager[f'{direction}, timm'] / ours:.2f}", goal
    if found := done.get("loading"):
        yield "loading 32 px, images on the device already", rate(found["later"]), "-"
        yield "loading 32 px, first batches", rate(found["first"]), "-"
    if found := done.get("training"):
        case = args.cases[-1]
        yield f"{case}: training one network alone, loading included", f"{found['alone']:,.0f} images/s", "10,000"
        yield f"{case}: training the supernet, loading included", f"{found['supernet']:,.0f} images/s", "6,000"
    if found := done.get("search"):
        what = f"{args.images} images of {args.side} px, {args.steps} steps, {args.trials} trials"
        yield f"search on {what}", f"{found['seconds']:.0f} s", "-"
        yield "share of its time in which the GPU computes", f"{found['busy']:.0%}" if "busy" in found else "no GPU", "80%"
        yield f"evaluation of a subnet on {found['images']:.0f} images", f"{1000 * found['evaluation']:.0f} ms", "60 ms"


if __name__ == "__main__":
    main()
