"""What a search optimises: accuracy and, on request, costs.

The value for accuracy is the mean log-likelihood. It ranks better, because it also says by how much an answer is right or wrong.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from proxies.cost import LATENCY, Budget, BudgetError

if TYPE_CHECKING:
    from supernet.score import Score

ACCURACY = "accuracy"
NAMES = (ACCURACY, LATENCY, "macs", "params")
_UNITS = {"macs": ("GFLOPs", 1e9), "params": ("Mparams", 1e6)}


@dataclass(frozen=True)
class Objective:
    """One value of a trial, as studies and the dashboard show it.

    Args:
        name: with its unit, such as `log-likelihood`, `GFLOPs`, `ms@cpu:1t:bs1:fp32`.
        direction: `maximize` or `minimize`.
        quantity: the cost that is optimised; None for accuracy.
        divisor: converts the quantity's unit into the objective's.
    """

    name: str
    direction: Literal["maximize", "minimize"]
    quantity: str | None = None
    divisor: float = 1.0

    def value(self, score: Score, costs: Mapping[str, int]) -> float:
        """The value of a trial with this score and these costs, by quantity."""
        return score.log_likelihood if self.quantity is None else costs[self.quantity] / self.divisor


def objectives_of(names: Sequence[str], budget: Budget) -> tuple[Objective, ...]:
    """Objectives by name; `latency` is that of the budget's target.

    Raises BudgetError where accuracy is missing, a name comes twice, or the budget names no target or several for `latency`.
    """
    if ACCURACY not in names or len(set(names)) < len(names):
        raise BudgetError(f"objectives: got {' '.join(names)}, expected accuracy and, each at most once, {', '.join(NAMES[1:])}")
    return tuple(_objective(name, budget) for name in names)


def _objective(name: str, budget: Budget) -> Objective:
    if name == ACCURACY:
        return Objective("log-likelihood", "maximize")
    if name in _UNITS:
        unit, divisor = _UNITS[name]
        return Objective(unit, "minimize", name, divisor)
    if len(budget.targets) != 1:
        named = ", ".join(map(str, budget.targets.values())) or "no device"
        raise BudgetError(f"objectives: got latency with {named} in the budget {budget}, expected a budget with one, such as 12ms@cpu")
    ((quantity, target),) = budget.targets.items()
    return Objective(f"ms@{target}", "minimize", quantity, 1e6)
