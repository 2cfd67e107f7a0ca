"""Mixer ablation: how the winner scores with the mixer of one block replaced, with the supernet's weights.

Every replacement is scored on the same images as the winner. The difference therefore has the standard error of a paired
difference, which is far smaller than that of either score. Scores are kept at once, and none is computed twice.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from nas.evaluators.supernet import SupernetEvaluator
from nas.runs.records.ablation import AblationRecord, Effect, read_ablation, write_ablation
from proxies.cost import Budget, Cost
from proxies.macs import cost_of
from proxies.memory.prediction import predicted_costs
from space.architecture import Architecture
from space.registry import Spec
from space.search_space import SearchSpace
from supernet.score import PerImage

MAX_REPLACEMENTS = 60
SLACK = 0.1
"""How far, as a share of a limit, a replacement may leave the budget: few mixers cost exactly the same."""


@dataclass(frozen=True)
class Replacement:
    """The winner with another mixer in one block; `stage` and `block` are counted from 1."""

    stage: int
    block: int
    mixer: Spec
    architecture: Architecture
    cost: Cost


@dataclass(frozen=True)
class Ablation:
    """What to score.

    Args:
        replacements: in order of execution.
        num_possible: how many there would be without `MAX_REPLACEMENTS`.
    """

    winner: Architecture
    replacements: tuple[Replacement, ...]
    num_possible: int

    def missing(self, run: Path) -> list[Replacement]:
        """The replacements that a run's directory has no scores of."""
        known = read_ablation(run, self.winner.fingerprint)
        return [one for one in self.replacements if known is None or one.architecture.fingerprint not in known.effects]

    def score(self, run: Path, evaluator: SupernetEvaluator, on_scored: Callable[[], None]) -> None:
        """Score the missing replacements and write each into the run's directory."""
        known = read_ablation(run, self.winner.fingerprint)
        effects = dict(known.effects) if known else {}
        reference = evaluator.judged(self.winner)
        for one in self.missing(run):
            effects[one.architecture.fingerprint] = _effect(one, evaluator.judged(one.architecture), reference)
            write_ablation(run, AblationRecord(self.winner.fingerprint, len(reference), self.num_possible, effects))
            on_scored()


def ablation_of(winner: Architecture, space: SearchSpace, budget: Budget) -> Ablation:
    """The replacements in a winner.

    For every block and every other type of mixer that the space has there, it is the mixer whose cost is nearest to the
    winner's, if that keeps the architecture inside the budget but for some slack. Where these are too many, each block has
    those nearest in cost.
    """
    macs = cost_of(winner).macs
    by_block: list[list[Replacement]] = []
    for i, stage in enumerate(winner.stages):
        for j, block in enumerate(stage.blocks):
            nearest: dict[str, Replacement] = {}
            for mixer in space.mixers[i]:
                if mixer.type == block.mixer.type:
                    continue
                architecture = with_mixer(winner, i, j, mixer)
                one, known = Replacement(i + 1, j + 1, mixer, architecture, cost_of(architecture)), nearest.get(mixer.type)
                if known is None or abs(one.cost.macs - macs) < abs(known.cost.macs - macs):
                    nearest[mixer.type] = one
            inside = [one for one in nearest.values() if _is_near(one.architecture, budget)]
            by_block.append(sorted(inside, key=lambda one: abs(one.cost.macs - macs)))
    each = max(MAX_REPLACEMENTS // len(by_block), 1)
    taken = [one for of_block in by_block for one in of_block[:each]][:MAX_REPLACEMENTS]
    return Ablation(winner, tuple(taken), sum(map(len, by_block)))


def with_mixer(architecture: Architecture, stage: int, block: int, mixer: Spec) -> Architecture:
    """An architecture with another mixer in one block; `stage` and `block` are counted from 0."""
    blocks, stages = list(architecture.stages[stage].blocks), list(architecture.stages)
    blocks[block] = blocks[block].model_copy(update={"mixer": mixer})
    stages[stage] = stages[stage].model_copy(update={"blocks": tuple(blocks)})
    return architecture.replace(stages=tuple(stages))


def _is_near(architecture: Architecture, budget: Budget) -> bool:
    """Whether an architecture leaves the budget by the slack at most; latencies would have to be measured."""
    limits = budget.predicted
    cost = predicted_costs(architecture, limits)
    if any(cost[quantity] > (1 + SLACK) * limit for quantity, limit in limits.items()):
        return False
    return budget.primary not in limits or cost[budget.primary] >= (1 - SLACK) * budget.least


def _effect(one: Replacement, scores: PerImage, reference: PerImage) -> Effect:
    gains = scores.log_likelihoods - reference.log_likelihoods
    stderr = gains.std(correction=0).item() / len(gains) ** 0.5
    headline = scores.figures[0].value - reference.figures[0].value
    return Effect(one.stage, one.block, one.mixer.label, one.cost.macs, one.cost.params, gains.mean().item(), stderr, headline)
