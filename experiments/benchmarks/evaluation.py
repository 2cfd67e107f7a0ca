"""The cost of an evaluation relative to pure forward passes, and what racing saves.

    python -m experiments.benchmarks.evaluation --run runs/mine --architectures 120

Speed: evaluations (calibration of the batch norms, then scoring) and forward passes of the exported plain network over the same batches
alternate; the share is the median of the pairs' ratios. Racing: architectures drawn within the run's budget are evaluated on all images
once; then races among them are replayed from these tables, each time in another order of architectures and images, and their winner is
compared with that of full evaluations.
"""

from __future__ import annotations

import argparse
import random
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from nas.cli.progress import phase
from nas.evaluators.supernet import SupernetEvaluator, load_evaluator
from nas.runs.directory import config_of_run
from nas.train.supernet_run import open_supernet_run
from proxies.band.architecture_band import ArchitectureBand
from proxies.cost import parse_budget, without_latency
from space.architecture import Architecture
from space.files import write_atomically
from supernet.racing import Race, decision_points
from supernet.score import PerImage

RESULTS = Path(__file__).parents[1] / "results"


def main(argv: Sequence[str] | None = None) -> None:
    """Measure both and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, required=True, help="directory of a search, or of a supernet's training")
    parser.add_argument("--architectures", type=int, default=120, help="how many race")
    parser.add_argument("--timed", type=int, default=8, help="how many of them are timed")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--replays", type=int, default=100)
    parser.add_argument("--keep", type=int, nargs="+", default=(1, 8), help="how many of the best a race evaluates in full")
    parser.add_argument("--output", type=Path, default=RESULTS / "evaluation.md")
    config = parser.parse_args(argv)
    run, settings = open_supernet_run(config.run), config_of_run(config.run)
    evaluator = load_evaluator(run)
    band = ArchitectureBand(run.space, without_latency(parse_budget(settings["budget"], settings["floor"])))
    rng = random.Random(0)
    architectures = [band.draw(rng) for _ in range(config.architectures)]
    with phase("evaluating", len(architectures)) as advance:
        judged = []
        for architecture in architectures:
            judged.append(evaluator.judged(architecture))
            advance()
    shares = [share_of_forward(evaluator, architecture, config.rounds) for architecture in architectures[: config.timed]]
    device = evaluator.calibration[0].device.type
    where = f"{run.space.name} within {settings['budget']} on {Path(settings['data']).name}, {torch.get_num_threads()} threads, {device}"
    spread = f"median of {len(shares)} architectures, {min(shares):.0%} to {max(shares):.0%}"
    lines = [
        "# Evaluations", "", f"    python -m experiments.benchmarks.evaluation --run {config.run.name}", "", f"{where}.", "",
        f"An evaluation runs at {statistics.median(shares):.0%} of the speed of pure forward passes over the same batches,",
        f"calibration included ({spread}).", "",
        f"Races among {len(judged)} architectures:", "",
        "| racing for the best | replays with the same winner | times fewer images |", "|---|---|---|",
    ]  # fmt: skip
    for keep in config.keep:
        same, saving = replays(judged, keep, config.replays)
        lines.append(f"| {keep} | {same} of {config.replays} | {saving:.1f} |")
    write_atomically(config.output, "\n".join(lines) + "\n")
    print("\n".join(lines))


def share_of_forward(evaluator: SupernetEvaluator, architecture: Architecture, rounds: int) -> float:
    """Seconds of pure forward passes over seconds of an evaluation; calibration is one more pass over its images."""
    network = evaluator.network(architecture).to(evaluator.calibration[0].device)

    @torch.no_grad()
    def forward() -> None:
        for images_BCHW in [*evaluator.calibration, *(images for images, _ in evaluator.images)]:
            network(images_BCHW)

    pairs = [(_seconds(forward), _seconds(lambda: evaluator(architecture))) for _ in range(rounds)]
    return statistics.median(pure / whole for pure, whole in pairs)


def replays(judged: Sequence[PerImage], keep: int, count: int) -> tuple[int, float]:
    """In how many replays the race finds the winner of full evaluations, and how many times fewer images it needs."""
    log_likelihoods = torch.stack([one.log_likelihoods for one in judged]).cpu()
    counts = torch.stack([one.counts for one in judged]).cpu()
    winner = int(log_likelihoods.mean(dim=1).argmax())
    same = used = 0
    for seed in range(count):
        generator = torch.Generator().manual_seed(seed)
        images = torch.randperm(log_likelihoods.shape[1], generator=generator)
        scores: dict[int, float] = {}
        race = Race(keep, len(images))
        for row in torch.randperm(len(judged), generator=generator).tolist():
            part = _raced(race, PerImage(log_likelihoods[row, images], counts[row, images], judged[row].summary))
            scores[row] = race.score(part).log_likelihood
            used += len(part)
        same += max(scores, key=lambda row: scores[row]) == winner
    return same, count * log_likelihoods.numel() / used


def _raced(race: Race, judged: PerImage) -> PerImage:
    parts = (judged.first(end) for end in decision_points(len(judged)))
    return next(part for part in parts if len(part) == len(judged) or race.is_lost(part))


def _seconds(action: Callable[[], object]) -> float:
    start = time.process_time()
    action()
    return time.process_time() - start


if __name__ == "__main__":
    main()
