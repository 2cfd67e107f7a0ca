"""Our networks against timm's DaViT and against the papers' own plain formulations: images a second, and peak memory.

    python -m experiments.benchmarks.parents --parents davit-t uniformer-s --batches 1 16
    python -m experiments.benchmarks.parents --parents topformer-t-seg --image-size 512 --batches 1 --passes forward

Everything runs in one process, turn by turn: reference, ours, ours fused, reference, ... Each round gives one pair of times;
the table has the median of the pairs' ratios, so a slow phase of the machine slows both sides of a pair.
"""

from __future__ import annotations

import argparse
import itertools
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import timm
import torch
from torch import Tensor, nn

from experiments.benchmarks.plain import PlainNetwork
from experiments.benchmarks.plain_segmentation import PlainTopFormer
from space import build_network, load_architecture, parent_names
from space.files import write_atomically
from space.network import TokenMixerNet

DEFAULT_PARENTS = ("davit-t", "uniformer-s", "shunted-t", "topformer-t", "container-light")
SEGMENTATION = ("topformer-t-seg", "topformer-s-seg", "topformer-b-seg")
TIMM_NAMES = {"davit-t": "davit_tiny", "davit-s": "davit_small", "davit-b": "davit_base"}
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
PASSES = ("forward", "forward+backward")
RESULTS = Path(__file__).parents[1] / "results"


@dataclass(frozen=True)
class Case:
    """One row of the table."""

    parent: str
    batch: int
    dtype: str
    direction: str


@dataclass(frozen=True)
class Measured:
    """What one network reached in a case: images a second, its median advantage over the reference, peak memory in bytes."""

    images_per_second: float
    times_reference: float
    peak_bytes: int


def main(argv: Sequence[str] | None = None) -> None:
    """Measure all cases; the table is written anew after each, so that stopping loses nothing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = [*parent_names("classification"), *SEGMENTATION]
    parser.add_argument("--parents", nargs="+", choices=names, default=DEFAULT_PARENTS, metavar="NAME")
    parser.add_argument("--batches", nargs="+", type=int, default=(1, 16))
    parser.add_argument("--dtypes", nargs="+", choices=DTYPES, default=tuple(DTYPES))
    parser.add_argument("--passes", nargs="+", choices=PASSES, default=PASSES)
    parser.add_argument("--image-size", type=int, default=224)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--seconds", type=float, default=0.5, help="least time of one measurement within a round")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--output", type=Path, help="default: parents-<device>.md under experiments/results")
    args = parser.parse_args(argv)
    torch.set_num_threads(args.threads)
    output = args.output or RESULTS / f"parents-{args.device}.md"

    results: dict[Case, dict[str, Measured]] = {}
    for parent in args.parents:
        networks = contenders(parent, args.device, args.image_size)
        for batch, dtype, direction in itertools.product(args.batches, args.dtypes, args.passes):
            case = Case(parent, batch, dtype, direction)
            results[case] = measure(case, networks, args)
            print(case, {name: f"x{measured.times_reference:.2f}" for name, measured in results[case].items()}, flush=True)
            write_atomically(output, table(results, args))


def contenders(parent: str, device: str, image_size: int) -> dict[str, nn.Module]:
    """The reference, ours and ours fused, by name; where they share weights their logits are compared first."""
    torch.manual_seed(0)
    network = build_network(load_architecture(parent)).eval()
    if parent in TIMM_NAMES:
        reference = timm.create_model(TIMM_NAMES[parent]).eval()
    else:
        reference = plain_of(network).eval()
        images = torch.randn(2, 3, image_size, image_size)
        with torch.no_grad():
            expected = network(images)
            for other in (reference, network.fuse()):
                torch.testing.assert_close(other(images), expected, rtol=1e-3, atol=1e-3 * expected.abs().max().item())
    return {"reference": reference.to(device), "ours": network.to(device), "fused": network.fuse()}


def plain_of(network: TokenMixerNet) -> nn.Module:
    """The plain formulation of a network, with its weights."""
    return PlainTopFormer(network) if network.architecture.head.type == "semantics_injection" else PlainNetwork(network)


def measure(case: Case, networks: dict[str, nn.Module], args: argparse.Namespace) -> dict[str, Measured]:
    """Time the networks turn by turn; a fused network only runs forward."""
    steps = {
        name: step_of(network, case, args.device, args.image_size)
        for name, network in networks.items()
        if name != "fused" or case.direction == "forward"
    }
    peaks = {name: peak_bytes(step, args.device) for name, step in steps.items()}  # which also warms up
    counts = {name: max(1, round(args.seconds / seconds_of(step, 1, args.device))) for name, step in steps.items()}
    rounds = [{name: seconds_of(step, counts[name], args.device) for name, step in steps.items()} for _ in range(args.rounds)]
    return {
        name: Measured(
            case.batch / statistics.median(times[name] for times in rounds),
            statistics.median(times["reference"] / times[name] for times in rounds),
            peaks[name],
        )
        for name in steps
    }


def step_of(network: nn.Module, case: Case, device: str, image_size: int) -> Callable[[], None]:
    """One pass. In bf16, weights and images are bf16 forward, and autocast chooses in training."""
    images = torch.randn(case.batch, 3, image_size, image_size, device=device)
    dtype = DTYPES[case.dtype]
    if case.direction == "forward":
        network.to(dtype).eval()
        images = images.to(dtype)

        def step() -> None:
            with torch.inference_mode():
                network(images)

        return step

    network.float().train()
    # TopFormer's head has a batch norm after pooling, which cannot train on one image.
    network.get_submodule("head").eval()

    def train() -> None:
        with torch.autocast(device, dtype, enabled=dtype != torch.float32):
            loss: Tensor = network(images).float().square().mean()
        loss.backward()
        network.zero_grad(set_to_none=True)

    return train


def seconds_of(step: Callable[[], None], count: int, device: str) -> float:
    """Seconds a step, mean of `count`."""
    _synchronise(device)
    start = time.perf_counter()
    for _ in range(count):
        step()
    _synchronise(device)
    return (time.perf_counter() - start) / count


def peak_bytes(step: Callable[[], None], device: str) -> int:
    """The most memory that tensors take at once during a step, beyond what was there before."""
    step()
    if device != "cpu":
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        step()
        return torch.cuda.max_memory_allocated() - before
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profiler:
        step()
    events = [event for event in profiler.profiler.kineto_results.events() if event.name() == "[memory]"]
    changes = [event.nbytes() for event in sorted(events, key=lambda event: event.start_ns())]
    return max(itertools.accumulate(changes), default=0)


def _synchronise(device: str) -> None:
    if device != "cpu":
        torch.cuda.synchronize()


def table(results: dict[Case, dict[str, Measured]], args: argparse.Namespace) -> str:
    """All results as Markdown."""
    lines = [
        "# Published networks: ours beside timm's DaViT and the seeds' plain formulations",
        "",
        f"`python -m experiments.benchmarks.parents --image-size {args.image_size} --rounds {args.rounds} --seconds {args.seconds:g}`",
        "",
        f"{machine(args)}, torch {torch.__version__}, timm {timm.__version__}; {args.image_size} px; median of {args.rounds} pairs.",
        "Images a second, how many times the reference's, and the peak memory of tensors in MiB beyond weights and images. The",
        "reference is timm's network for DaViT and matrix products with a softmax between them for the others, on (B, C, H, W)",
        "maps. bf16 forward has bf16 weights, forward+backward autocasts.",
        "",
        "| network | batch | | pass | reference | ours | | fused | | MiB reference | ours | fused |",
        "|---|--:|---|---|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for case, measured in results.items():
        cells = [case.parent, str(case.batch), case.dtype, case.direction, f"{measured['reference'].images_per_second:.3g}"]
        for name in ("ours", "fused"):
            one = measured.get(name)
            cells += [f"{one.images_per_second:.3g}", f"{one.times_reference:.2f}x"] if one else ["", ""]
        cells += [f"{measured[name].peak_bytes / 2**20:.1f}" if name in measured else "" for name in ("reference", "ours", "fused")]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def machine(args: argparse.Namespace) -> str:
    """What ran, in words."""
    if args.device != "cpu":
        return torch.cuda.get_device_name()
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    name = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.processor())
    return f"{name}, {args.threads} thread{'s' * (args.threads > 1)}"


if __name__ == "__main__":
    main()
