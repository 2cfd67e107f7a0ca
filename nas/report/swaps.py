"""What each block's mixer is worth: the winner with one block's mixer swapped, scored with the supernet's weights.

Every swap is judged on the same images as the winner, so its gain has the standard error of a paired difference, which is
far smaller than that of either score. What was scored stands in `swaps.json` and is not scored again.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from pydantic import TypeAdapter

from nas.evaluators.supernet import SupernetEvaluator
from nas.runs.records.reading import read_json
from proxies.cost import Budget, Cost
from proxies.macs import cost_of
from space.architecture import Architecture
from space.files import write_atomically
from space.registry import Spec
from space.search_space import SearchSpace
from supernet.accuracy import PerImage, evaluate

FILE = "swaps.json"
MAX_SWAPS = 60
SLACK = 0.1
"""How far, as a share of a limit, a swap may leave the budget: at equal cost alone there would be few."""


@dataclass(frozen=True)
class Swap:
    """The winner with another mixer in one block; `stage` and `block` are counted from 1."""

    stage: int
    block: int
    mixer: Spec
    architecture: Architecture
    cost: Cost


@dataclass(frozen=True)
class Swaps:
    """What to score.

    Args:
        swaps: in order of execution.
        num_possible: how many there would be without the bound on their number.
    """

    winner: Architecture
    swaps: tuple[Swap, ...]
    num_possible: int


@dataclass(frozen=True)
class Worth:
    """What a swap changed, on the search images.

    Args:
        mixer: label of what took the winner's place.
        log_likelihood: of the swapped one less the winner's, in nats an image; `stderr` is its standard error.
        accuracy: likewise, a share of 1.
    """

    stage: int
    block: int
    mixer: str
    macs: int
    params: int
    log_likelihood: float
    stderr: float
    accuracy: float


@dataclass(frozen=True)
class Worths:
    """All swaps that were scored, by fingerprint.

    Args:
        winner: fingerprint of what they are swaps of.
        num_possible: as of `Swaps`.
    """

    winner: str
    num_images: int
    num_possible: int
    swaps: Mapping[str, Worth]


def swaps_of(winner: Architecture, space: SearchSpace, budget: Budget) -> Swaps:
    """The swaps of a winner.

    Of each other type of mixer that may stand in a block it is the one that costs most nearly the same, if that keeps
    the architecture inside the budget but for some slack. Where they are too many, each block has those nearest in cost.
    """
    macs = cost_of(winner).macs
    by_block: list[list[Swap]] = []
    for i, stage in enumerate(winner.stages):
        for j, block in enumerate(stage.blocks):
            nearest: dict[str, Swap] = {}
            for mixer in space.mixers[i]:
                if mixer.type == block.mixer.type:
                    continue
                swapped = _swapped(winner, i, j, mixer)
                swap = Swap(i + 1, j + 1, mixer, swapped, cost_of(swapped))
                known = nearest.get(mixer.type)
                if known is None or abs(swap.cost.macs - macs) < abs(known.cost.macs - macs):
                    nearest[mixer.type] = swap
            inside = [swap for swap in nearest.values() if _is_near(swap.cost, budget)]
            by_block.append(sorted(inside, key=lambda swap: abs(swap.cost.macs - macs)))
    each = max(MAX_SWAPS // len(by_block), 1)
    taken = [swap for of_block in by_block for swap in of_block[:each]][:MAX_SWAPS]
    return Swaps(winner, tuple(taken), sum(map(len, by_block)))


def _swapped(winner: Architecture, stage: int, block: int, mixer: Spec) -> Architecture:
    blocks = list(winner.stages[stage].blocks)
    blocks[block] = blocks[block].model_copy(update={"mixer": mixer})
    stages = list(winner.stages)
    stages[stage] = stages[stage].model_copy(update={"blocks": tuple(blocks)})
    return winner.replace(stages=tuple(stages))


def _is_near(cost: Cost, budget: Budget) -> bool:
    """Whether multiply-adds and parameters leave the budget by the slack at most; latencies would have to be predicted."""
    limits = {quantity: limit for quantity, limit in budget.limits.items() if quantity not in budget.targets}
    if any(cost[quantity] > (1 + SLACK) * limit for quantity, limit in limits.items()):
        return False
    return budget.primary not in limits or cost[budget.primary] >= (1 - SLACK) * budget.least


def missing_of(run: Path, asked: Swaps) -> list[Swap]:
    """Those that are not scored yet."""
    known = worths_of(run, asked.winner)
    return [swap for swap in asked.swaps if known is None or swap.architecture.fingerprint not in known.swaps]


def score_swaps(run: Path, asked: Swaps, evaluator: SupernetEvaluator, on_scored: Callable[[], None]) -> None:
    """Score those that are missing, and keep each at once."""
    known = worths_of(run, asked.winner)
    found = dict(known.swaps) if known else {}
    missing = missing_of(run, asked)
    own = _judge(evaluator, asked.winner)
    for swap in missing:
        found[swap.architecture.fingerprint] = _worth(swap, _judge(evaluator, swap.architecture), own)
        content = Worths(asked.winner.fingerprint, len(own), asked.num_possible, found)
        write_atomically(run / FILE, json.dumps(asdict(content), indent=1) + "\n")
        on_scored()


def _judge(evaluator: SupernetEvaluator, architecture: Architecture) -> PerImage:
    return evaluate(evaluator.supernet, architecture, evaluator.calibration, evaluator.images)


def _worth(swap: Swap, swapped: PerImage, own: PerImage) -> Worth:
    gains = swapped.log_likelihoods - own.log_likelihoods
    stderr = gains.std(correction=0).item() / len(gains) ** 0.5
    accuracy = (swapped.hits.mean() - own.hits.mean()).item()
    return Worth(swap.stage, swap.block, swap.mixer.label, swap.cost.macs, swap.cost.params, gains.mean().item(), stderr, accuracy)


def worths_of(run: Path, winner: Architecture) -> Worths | None:
    """What was scored of this winner; None where nothing was."""
    file = run / FILE
    if not file.is_file():
        return None
    found = read_json(file, TypeAdapter(Worths), "scores of swaps, as nas.report --swaps writes them")
    return found if found.winner == winner.fingerprint and found.swaps else None


def by_block(worths: Worths) -> Iterator[tuple[tuple[int, int], list[Worth]]]:
    """The swaps of every block, best first, in order of execution."""
    places = sorted({(worth.stage, worth.block) for worth in worths.swaps.values()})
    for place in places:
        of_block = [worth for worth in worths.swaps.values() if (worth.stage, worth.block) == place]
        yield place, sorted(of_block, key=lambda worth: worth.log_likelihood, reverse=True)
