"""What an architecture costs, what it may cost, and how people write that.

One multiply-add is one "FLOP", as in papers on vision backbones; code says `macs`, people read and write GFLOPs.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from functools import cached_property

from space.errors import UserError

PREFIXES = {"": 0, "K": 3, "M": 6, "G": 9, "T": 12}
_QUANTITY_OF = {"flop": "macs", "flops": "macs", "mac": "macs", "macs": "macs", "param": "params", "params": "params"}
_UNIT_OF = {"macs": "FLOPs", "params": "params"}
_KNOWN = "an amount such as 4.5GFLOPs, 450MFLOPs, 4.5GMACs or 25Mparams (units FLOPs, MACs, params; prefixes K, M, G, T)"
_NUMBER = r"[+-]?(?:\d[\d_]*\.?\d*|\.\d+)(?:e[+-]?\d+)?|[+-]?(?:nan|inf(?:inity)?)"
_AMOUNT = re.compile(rf"[\s,]*(?P<number>{_NUMBER})?\s*(?P<unit>[^\s,]*)", re.IGNORECASE)
_MAX_DIGITS = 18
"""No network is that large; the bound keeps `1e999999GFLOPs` from filling the memory."""


class BudgetError(UserError, ValueError):
    """A budget that cannot be read, or that no architecture of a space can meet."""


@dataclass(frozen=True)
class Cost:
    """Multiply-adds of one image's forward pass, and parameters. Costs of parts add up."""

    macs: int
    params: int

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.macs + other.macs, self.params + other.params)

    def times(self, count: int) -> Cost:
        """The cost of so many of these."""
        return Cost(self.macs * count, self.params * count)

    def __str__(self) -> str:
        return f"{_rounded(self.macs, 'GFLOPs', 'MFLOPs')}, {_rounded(self.params, 'Gparams', 'Mparams')}"


@dataclass(frozen=True)
class Budget:
    """Hard limits. The first limited cost, multiply-adds before parameters, also has a lower bound.

    Args:
        max_macs, max_params: no architecture may cost more; None sets no limit, one of them is needed.
        floor: the least share of the first limited cost that an architecture must use, in [0, 1).
    """

    max_macs: int | None = None
    max_params: int | None = None
    floor: float = 0.9

    def __post_init__(self) -> None:
        if not self.limits:
            raise BudgetError(f"budget: got no limit, expected {_KNOWN}")
        for quantity, limit in self.limits.items():
            if limit <= 0:
                raise BudgetError(f"budget: got {limit} {_UNIT_OF[quantity]}, expected more than none")
        if not 0 <= self.floor < 1:
            raise BudgetError(f"floor: got {self.floor}, expected at least 0 and less than 1")

    @cached_property
    def limits(self) -> dict[str, int]:
        """The limits there are, by field of `Cost`; the first one is the primary."""
        limits = {"macs": self.max_macs, "params": self.max_params}
        return {quantity: limit for quantity, limit in limits.items() if limit is not None}

    @property
    def primary(self) -> str:
        """The field of `Cost` that has a lower bound too."""
        return next(iter(self.limits))

    @cached_property
    def least(self) -> int:
        """The lower bound of the primary cost."""
        # Through the decimal that the user wrote: 0.9 as a binary fraction is a little more than 9/10.
        return math.ceil(Fraction(repr(self.floor)) * self.limits[self.primary])

    def admits(self, cost: Cost) -> bool:
        """Whether a cost lies inside all bounds."""
        within = all(getattr(cost, quantity) <= limit for quantity, limit in self.limits.items())
        return within and getattr(cost, self.primary) >= self.least

    def excess(self, cost: Cost) -> float:
        """How far a cost lies outside, as a share of the limit that it misses most; at most 0 inside."""
        over = [(getattr(cost, quantity) - limit) / limit for quantity, limit in self.limits.items()]
        return max(*over, (self.least - getattr(cost, self.primary)) / self.limits[self.primary])

    def __str__(self) -> str:
        return format_budget(self)


def parse_budget(text: str, floor: float = 0.9) -> Budget:
    """Read `4.5GFLOPs`, `450MFLOPs`, `4.5GMACs`, `25Mparams`, or several with spaces or commas between them, in any case.

    Raises BudgetError for a number without a unit, an unknown unit, an amount that is not positive and finite, and
    for two limits on one quantity.
    """
    limits: dict[str, int] = {}
    position = 0
    while text[position:].strip(" \t\n\r,"):
        match = _AMOUNT.match(text, position)
        assert match is not None  # every piece of the pattern may be empty, and a unit takes what is left
        word = match[0].strip(" \t\n\r,")
        position = match.end()
        quantity, prefix = _read_unit(match["unit"])
        if match["number"] is None or quantity is None:
            raise BudgetError(f"budget: got {word!r}, expected {_KNOWN}")
        if quantity in limits:
            raise BudgetError(f"budget: got {word!r} as a second limit on {quantity}, expected one a quantity")
        amount = Decimal(match["number"])
        if not amount.is_finite() or amount <= 0:
            raise BudgetError(f"budget: got {word!r}, expected a positive finite number in {_KNOWN}")
        if not 0 <= amount.adjusted() + PREFIXES[prefix] < _MAX_DIGITS:
            raise BudgetError(f"budget: got {word!r}, expected between 1 and 1e{_MAX_DIGITS} {_UNIT_OF[quantity]}")
        limits[quantity] = int(amount.scaleb(PREFIXES[prefix]))
    return Budget(max_macs=limits.get("macs"), max_params=limits.get("params"), floor=floor)


def format_budget(budget: Budget) -> str:
    """Write a budget's limits so that `parse_budget` reads exactly them: `4.5GFLOPs 25Mparams`."""
    return " ".join(format_amount(limit, quantity) for quantity, limit in budget.limits.items())


def format_amount(amount: int, quantity: str) -> str:
    """Write an amount of a field of `Cost` exactly, `4.5GFLOPs`."""
    prefix, power = max((item for item in PREFIXES.items() if 10 ** item[1] <= max(amount, 1)), key=lambda item: item[1])
    number = f"{Decimal(amount).scaleb(-power):f}"
    return f"{number.rstrip('0').rstrip('.') if '.' in number else number}{prefix}{_UNIT_OF[quantity]}"


def _read_unit(unit: str) -> tuple[str | None, str]:
    for prefix in PREFIXES:
        if unit.upper().startswith(prefix) and unit[len(prefix):].lower() in _QUANTITY_OF:
            return _QUANTITY_OF[unit[len(prefix):].lower()], prefix
    return None, ""


def _rounded(amount: int, large: str, small: str) -> str:
    """Three digits or more: 4.48 GFLOPs, 60.3 MFLOPs."""
    value, unit = (amount / 1e9, large) if amount >= 1e9 else (amount / 1e6, small)
    return f"{value:.{2 if value < 10 else 1}f} {unit}"
