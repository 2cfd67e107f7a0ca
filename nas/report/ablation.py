"""Mixer ablation: the winner with the mixer of one block replaced, scored with the supernet's weights.

Every replacement is judged on the same images as the winner, so its effect has the standard error of a paired difference, which is
far smaller than that of either score. `ablation.json` keeps what was scored; it is not scored again.
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

FILE = "ablation.json"
MAX_REPLACEMENTS = 60
SLACK = 0.1
"""How far, as a share of a limit, a replacement may leave the budget: few cost exactly the same."""


@dataclass(frozen=True)
class Replacement:
    """The winner with another mixer in one block; `stage` and `block` are counted from 1."""

    stage: int
    block: int
    mixer: Spec
    architecture: Architecture
    cost: Cost


@dataclass(frozen=True)
class AblationPlan:
    """What to score.

    Args:
        replacements: in order of execution.
        num_possible: how many there would be without the bound on their number.
    """

    winner: Architecture
    replacements: tuple[Replacement, ...]
    num_possible: int


@dataclass(frozen=True)
class Effect:
    """What a replacement changes, on the search images.

    Args:
        mixer: label of the new one.
        log_likelihood: of the changed architecture less the winner's, in nats an image; `stderr` is its standard error.
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
class Ablation:
    """The effects of all replacements that were scored, by fingerprint.

    Args:
        winner: fingerprint of the architecture whose mixers were replaced.
        num_possible: as of `AblationPlan`.
    """

    winner: str
    num_images: int
    num_possible: int
    effects: Mapping[str, Effect]


def plan_ablation(winner: Architecture, space: SearchSpace, budget: Budget) -> AblationPlan:
    """The replacements to score for a winner.

    Of each other type of mixer that may stand in a block it is the one that costs most nearly the same, if that keeps
    the architecture inside the budget but for some slack. Where they are too many, each block has those nearest in cost.
    """
    macs = cost_of(winner).macs
    by_block: list[list[Replacement]] = []
    for i, stage in enumerate(winner.stages):
        for j, block in enumerate(stage.blocks):
            nearest: dict[str, Replacement] = {}
            for mixer in space.mixers[i]:
                if mixer.type == block.mixer.type:
                    continue
                changed = with_mixer(winner, i, j, mixer)
                replacement = Replacement(i + 1, j + 1, mixer, changed, cost_of(changed))
                known = nearest.get(mixer.type)
                if known is None or abs(replacement.cost.macs - macs) < abs(known.cost.macs - macs):
                    nearest[mixer.type] = replacement
            inside = [replacement for replacement in nearest.values() if _is_near(replacement.cost, budget)]
            by_block.append(sorted(inside, key=lambda replacement: abs(replacement.cost.macs - macs)))
    each = max(MAX_REPLACEMENTS // len(by_block), 1)
    taken = [replacement for of_block in by_block for replacement in of_block[:each]][:MAX_REPLACEMENTS]
    return AblationPlan(winner, tuple(taken), sum(map(len, by_block)))


def with_mixer(architecture: Architecture, stage: int, block: int, mixer: Spec) -> Architecture:
    """An architecture with another mixer in one block; both numbers from 0."""
    blocks, stages = list(architecture.stages[stage].blocks), list(architecture.stages)
    blocks[block] = blocks[block].model_copy(update={"mixer": mixer})
    stages[stage] = stages[stage].model_copy(update={"blocks": tuple(blocks)})
    return architecture.replace(stages=tuple(stages))


def _is_near(cost: Cost, budget: Budget) -> bool:
    """Whether multiply-adds and parameters leave the budget by the slack at most; latencies would have to be predicted."""
    limits = {quantity: limit for quantity, limit in budget.limits.items() if quantity not in budget.targets}
    if any(cost[quantity] > (1 + SLACK) * limit for quantity, limit in limits.items()):
        return False
    return budget.primary not in limits or cost[budget.primary] >= (1 - SLACK) * budget.least


def missing_of(run: Path, asked: AblationPlan) -> list[Replacement]:
    """Those that are not scored yet."""
    known = read_ablation(run, asked.winner)
    return [replacement for replacement in asked.replacements if known is None or replacement.architecture.fingerprint not in known.effects]


def score_replacements(run: Path, asked: AblationPlan, evaluator: SupernetEvaluator, on_scored: Callable[[], None]) -> None:
    """Score those that are missing, and keep each at once."""
    known = read_ablation(run, asked.winner)
    found = dict(known.effects) if known else {}
    missing = missing_of(run, asked)
    own = _judge(evaluator, asked.winner)
    for replacement in missing:
        found[replacement.architecture.fingerprint] = _effect(replacement, _judge(evaluator, replacement.architecture), own)
        content = Ablation(asked.winner.fingerprint, len(own), asked.num_possible, found)
        write_atomically(run / FILE, json.dumps(asdict(content), indent=1) + "\n")
        on_scored()


def _judge(evaluator: SupernetEvaluator, architecture: Architecture) -> PerImage:
    return evaluate(evaluator.supernet, architecture, evaluator.calibration, evaluator.images)


def _effect(replacement: Replacement, changed: PerImage, own: PerImage) -> Effect:
    gains = changed.log_likelihoods - own.log_likelihoods
    stderr = gains.std(correction=0).item() / len(gains) ** 0.5
    accuracy = (changed.hits.mean() - own.hits.mean()).item()
    gain = gains.mean().item()
    cost, label = replacement.cost, replacement.mixer.label
    return Effect(replacement.stage, replacement.block, label, cost.macs, cost.params, gain, stderr, accuracy)


def read_ablation(run: Path, winner: Architecture) -> Ablation | None:
    """What was scored of this winner; None where nothing was."""
    file = run / FILE
    if not file.is_file():
        return None
    found = read_json(file, TypeAdapter(Ablation), "a mixer ablation, as nas.report --ablation writes it")
    return found if found.winner == winner.fingerprint and found.effects else None


def by_block(ablation: Ablation) -> Iterator[tuple[tuple[int, int], list[Effect]]]:
    """The effects in every block, best first, in order of execution."""
    places = sorted({(effect.stage, effect.block) for effect in ablation.effects.values()})
    for place in places:
        of_block = [effect for effect in ablation.effects.values() if (effect.stage, effect.block) == place]
        yield place, sorted(of_block, key=lambda effect: effect.log_likelihood, reverse=True)
