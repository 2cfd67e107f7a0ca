"""What INT8 costs trained networks in accuracy, and what it saves: winners of searches and published networks, at 32 px.

    python -m experiments.benchmarks.int8 --data cifar10-12k-train.tar --test-data cifar10-12k-val.tar

Every network trains briefly from random weights, is exported as `nas.export --int8` does it, and both graphs are judged on the test images.
A network that is done is not done again; the page is written anew after each. Nothing else should run on the machine.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from experiments.benchmarks.parents import RESULTS, machine
from nas.export.by_name import format_named
from nas.export.format import ExportedNetwork
from nas.export.held_out import HeldOut, open_held_out
from nas.export.int8 import MOST_LOST, write_int8
from nas.export.onnx_graph import run_of_file
from nas.retrain import retrain
from nas.retrain.retrained import Retrained
from proxies.macs import cost_of
from space.files import load_architecture, write_atomically
from supernet.data.images import open_test_images
from supernet.data.target_options import AS_FOUND
from supernet.evaluation import judge
from supernet.intervals import of_score
from supernet.score import Score

CIFAR = RESULTS / "cifar10-12k"
WINNERS = [
    str(file) for file in (CIFAR / "15MFLOPs/best.yaml", CIFAR / "best.yaml", RESULTS / "token-mixer-bench/architectures/003.yaml")
]
"""Two of searches, and of the table of networks that trained alone the best one."""
SLOW = "in INT8 not surely 5% faster: the graph takes "
PARENTS = ["topformer-t", "topformer-b", "shunted-t", "uniformer-s"]


def main(argv: Sequence[str] | None = None) -> None:
    """Train, export and judge every network."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="images to train, calibrate and choose with")
    parser.add_argument("--test-data", help="images to test on (the test part of --data)")
    parser.add_argument("--networks", nargs="+", default=[*WINNERS, *PARENTS], help="YAML files or names of published networks")
    parser.add_argument("--epochs", type=int, default=1, help="of training (%(default)s)")
    parser.add_argument("--image-size", type=int, default=32, help="side in pixels (%(default)s)")
    parser.add_argument("--folder", type=Path, default=Path("runs/int8"), help="of the trainings (%(default)s)")
    parser.add_argument("--output", type=Path, default=RESULTS / "int8.md")
    args = parser.parse_args(argv)
    args.device, args.threads = "cpu", 1
    args.folder.mkdir(parents=True, exist_ok=True)
    found: dict[str, dict[str, Any]] = {}
    for network in args.networks:
        name = name_of(network)
        file = args.folder / f"{name}-{args.epochs}.json"
        if not file.exists():
            write_atomically(file, json.dumps(measured(args, network, args.folder / f"{name}-{args.epochs}"), indent=1))
        found[name] = json.loads(file.read_text())
        write_atomically(args.output, "\n".join(page(args, found)) + "\n")


def name_of(network: str) -> str:
    """What the page calls a network: a published one by its name, another one by its file and folder."""
    file = Path(network).resolve()
    return f"{file.parent.name}-{file.stem}" if file.suffix == ".yaml" else network


def measured(args: argparse.Namespace, network: str, run: Path) -> dict[str, Any]:
    """Train a network, quantise it, and judge both graphs on the test images."""
    how = {"image_size": args.image_size, "epochs": args.epochs, "out": run}
    trained = retrain(network, data=args.data, test_data=args.test_data, progress=True, **how)
    about = trained.metadata
    assert about is not None
    exported = ExportedNetwork(trained.network(), about)
    held_out = open_held_out(args.data, AS_FOUND, exported)
    with tempfile.TemporaryDirectory(dir=args.folder) as name:
        folder = Path(name)
        graph = folder / "network.onnx"
        format_named("onnx").write(exported, folder)
        result = write_int8(exported, folder, graph, held_out, print)
        tested = [test_score(args, trained, held_out, file) for file in (graph, folder / "network-int8.onnx")]
    architecture = load_architecture(network)
    return {
        "cost": str(cost_of(architecture.replace(image_size=args.image_size))), "test": [shown(score) for score in tested],
        "num_test": tested[0].num_images, "rows": result.rows, "int8": result.int8, "in_float": dict(result.in_float),
    }  # fmt: skip


def test_score(args: argparse.Namespace, trained: Retrained, held_out: HeldOut, graph: Path) -> Score:
    """Of a graph on the test images."""
    images = open_test_images(held_out.images, args.test_data, held_out.images.class_names)
    assert images is not None
    batches = held_out.task.evaluation_batches(images, range(len(images)), held_out.image_size)
    return judge(run_of_file(graph), batches, held_out.task).score


def shown(score: Score) -> str:
    """A figure in per cent with its interval."""
    found = of_score(score)
    return f"{100 * found.share:.1f} ({100 * found.low:.1f} to {100 * found.high:.1f})"


def page(args: argparse.Namespace, found: dict[str, dict[str, Any]]) -> list[str]:
    """All that is known so far."""
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in ("torch", "onnxruntime", "onnx"))
    test = f" --test-data {Path(args.test_data).name}" if args.test_data else ""
    lines = [
        "# INT8",
        "",
        f"`python -m experiments.benchmarks.int8 --data {Path(args.data).name}{test} --epochs {args.epochs}`:",
        f"{machine(args)}, {versions}. Every network trained from random weights, seed 0, for {args.epochs} epoch"
        f"{'s' * (args.epochs > 1)} of the",
        f"recipe `short`, at {args.image_size} px; one training each, so no row is compared with another. Both graphs of a row have",
        "the same weights. Accuracies are of test images, in %, with 95 % intervals over images. Times are of one image on one thread,",
        "both graphs in the same rounds.",
        "",
        "| network | cost | accuracy | in INT8 | ms | in INT8 | MB | in INT8 |",
        "|---|---|--:|--:|--:|--:|--:|--:|",
    ]
    for name, one in found.items():
        times, sizes = one["rows"][2][1:], one["rows"][3][1:]
        cells = [name, one["cost"], *one["test"], *(cell.split(" ms")[0] for cell in times), *(cell.removesuffix(" MB") for cell in sizes)]
        lines.append(f"| {' | '.join(cells)} |")
    lines += [
        "",
        "## What stayed in floating point, and why",
        "",
        f"A kind of nodes is quantised where that costs at most {MOST_LOST} nats of mean log-likelihood on the calibration images; a kind",
        "without weights also has to make the graph 5 % faster, in nine of ten rounds. Behind a kind stands how many times as long the",
        "graph took with it in INT8, the median of the rounds, or what it cost.",
        "",
        "| network | INT8 | in floating point |",
        "|---|---|---|",
    ]
    for name, one in found.items():
        why = "; ".join(f"{kind}: {reason.removeprefix(SLOW)}" for kind, reason in one["in_float"].items())
        lines.append(f"| {name} | {', '.join(one['int8'])} | {why} |")
    return lines


if __name__ == "__main__":
    main()
