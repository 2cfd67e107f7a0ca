"""Costs of architectures, budgets that limit them, and how people write both.

One multiply-add is one "FLOP", as in papers on vision backbones; code says `macs`, people read and write GFLOPs.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from functools import cached_property
from typing import Protocol

from proxies.memory_quantity import ACTIVATIONS, BYTES, EXPECTED, format_memory, is_memory, memory_quantity
from proxies.target import Target, TargetError, parse_target
from space.errors import UserError

PREFIXES = {"": 0, "K": 3, "M": 6, "G": 9, "T": 12}
_QUANTITY_OF = {"flop": "macs", "flops": "macs", "mac": "macs", "macs": "macs", "param": "params", "params": "params"}
_ORDER = {"macs": 0, "params": 1}
_POWER_OF_TIME = {"ns": 0, "us": 3, "µs": 3, "ms": 6, "s": 9}
LATENCY = "latency"
_KNOWN = (
    "an amount such as 4.5GFLOPs, 450MFLOPs, 4.5GMACs, 25Mparams, 12ms@cpu:1t:bs1 or 64MiB@act "
    "(units FLOPs, MACs, params with prefixes K, M, G, T; ms, us, s at a device; MiB, GiB, MB at act or train:bs32)"
)
_NUMBER = r"[+-]?(?:\d[\d_]*\.?\d*|\.\d+)(?:e[+-]?\d+)?|[+-]?(?:nan|inf(?:inity)?)"
_AMOUNT = re.compile(rf"[\s,]*(?P<number>{_NUMBER})?\s*(?P<unit>[^\s,]*)", re.IGNORECASE)
_DECIMAL_COMMA = re.compile(r"(?<=\d),(?=\d)")
_MAX_DIGITS = 18
"""No network is that large; the bound keeps `1e999999GFLOPs` from filling the memory."""


class BudgetError(UserError, ValueError):
    """A budget that cannot be read, or that no architecture of a space can meet."""


class ByQuantity(Protocol):
    """Costs by quantity: a `Cost`, or a mapping."""

    def __getitem__(self, quantity: str, /) -> int: ...


@dataclass(frozen=True)
class Cost:
    """Multiply-adds of one image's forward pass, and parameters. Costs of parts add up."""

    macs: int
    params: int

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.macs + other.macs, self.params + other.params)

    def __getitem__(self, quantity: str) -> int:
        return {"macs": self.macs, "params": self.params}[quantity]

    def __str__(self) -> str:
        return f"{_rounded(self.macs, 'GFLOPs', 'MFLOPs')}, {_rounded(self.params, 'Gparams', 'Mparams')}"


@dataclass(frozen=True)
class Budget:
    """Hard limits. The first limited quantity also has a lower bound.

    Quantities are `macs`, `params`, latencies in nanoseconds on one target (`latency@cpu:1t:bs1:fp32`), memory in bytes (`memory@act`,
    `memory@train:bs32`), or those that the terms of another space's cost name.

    Args:
        limits: the greatest cost that an architecture may have, by quantity; at least one.
        floor: the least share of the first limit that an architecture must use, in [0, 1).
    """

    limits: Mapping[str, int]
    floor: float = 0.9

    def __post_init__(self) -> None:
        if not self.limits:
            raise BudgetError(f"budget: got no limit, expected {_KNOWN}")
        for quantity, limit in self.limits.items():
            if limit <= 0:
                raise BudgetError(f"budget: got {format_amount(limit, quantity)}, expected more than none")
        # What adds up comes first: the limit on a peak is no primary one.
        object.__setattr__(self, "limits", {**self.sums, **self.limits})
        if not self.sums:
            raise BudgetError(f"budget: got {self} alone, expected a limit beside it on what adds up, such as 4.5GFLOPs {self}")
        if not 0 <= self.floor < 1:
            raise BudgetError(f"floor: got {self.floor}, expected at least 0 and less than 1")

    @property
    def primary(self) -> str:
        """The quantity that has a lower bound too."""
        return next(iter(self.limits))

    @cached_property
    def least(self) -> int:
        """The lower bound of the primary quantity."""
        # Through the decimal that the user wrote: 0.9 as a binary fraction is a little more than 9/10.
        return math.ceil(Fraction(repr(self.floor)) * self.limits[self.primary])

    @property
    def sums(self) -> Mapping[str, int]:
        """The limits on costs that add up over the parts of a network: all but that on the peak of an inference."""
        return {quantity: limit for quantity, limit in self.limits.items() if quantity != ACTIVATIONS}

    @property
    def predicted(self) -> Mapping[str, int]:
        """The limits that need no measurement: all but those on latencies."""
        return {quantity: limit for quantity, limit in self.limits.items() if target_of(quantity) is None}

    @property
    def memory(self) -> Mapping[str, int]:
        """The limits on memory, in bytes."""
        return {quantity: limit for quantity, limit in self.limits.items() if is_memory(quantity)}

    @property
    def targets(self) -> dict[str, Target]:
        """The targets of the latency limits, by quantity."""
        return {quantity: target for quantity in self.limits if (target := target_of(quantity))}

    def admits(self, costs: ByQuantity) -> bool:
        """Whether an architecture of these costs keeps all bounds."""
        return all(costs[quantity] <= limit for quantity, limit in self.limits.items()) and costs[self.primary] >= self.least

    def excess(self, costs: ByQuantity) -> float:
        """How far a cost lies outside, as a share of the limit that it misses most; at most 0 inside."""
        over = [(costs[quantity] - limit) / limit for quantity, limit in self.limits.items()]
        return max(*over, (self.least - costs[self.primary]) / self.limits[self.primary])

    def __str__(self) -> str:
        """The limits, so that `parse_budget` reads exactly them: `4.5GFLOPs 25Mparams`."""
        return " ".join(format_amount(limit, quantity) for quantity, limit in self.limits.items())


def parse_budget(text: str, floor: float = 0.9) -> Budget:
    """Read `4.5GFLOPs`, `450MFLOPs`, `4.5GMACs`, `25Mparams`, `12ms@cpu:1t:bs1`, `64MiB@act`, `2GiB@train:bs32`, or several.

    Spaces or commas are between them. The limits are in the order multiply-adds, parameters, latencies and training memory, memory of an
    inference, in whatever order they are written.

    Raises BudgetError for a number without a unit, an unknown unit or target, a latency without a target, memory without a moment, an
    amount that is not positive and finite, for two limits on one quantity, and for a limit on an inference's memory alone.
    """
    try:
        return Budget(_read_limits(text), floor=floor)
    except _Unreadable as error:
        meant = _DECIMAL_COMMA.sub(".", text) if error.word.isdigit() else text
        hint = f"; write decimals with a point: {meant!r:.100}" if meant != text else ""
        got = f"{text!r:.100}" if hint or error.word == text else f"{error.word!r:.60} in {text!r:.100}"
        raise BudgetError(f"budget: got {got}{error.complaint}{hint}") from None


class _Unreadable(Exception):
    """A word of a budget that cannot be read, and the complaint about it."""

    def __init__(self, word: str, complaint: str) -> None:
        super().__init__(word, complaint)
        self.word, self.complaint = word, complaint


def _read_limits(text: str) -> dict[str, int]:
    """The limits that a text sets, multiply-adds first."""
    limits: dict[str, int] = {}
    position = 0
    while text[position:].strip(" \t\n\r,"):
        match = _AMOUNT.match(text, position)
        assert match is not None  # every piece of the pattern may be empty, and a unit takes what is left
        word = " ".join(match[0].split()).strip(" ,")
        position = match.end()
        quantity, factor = _read_unit(match["unit"], word)
        if match["number"] is None or quantity is None:
            raise _Unreadable(word, f", expected {_KNOWN}")
        if quantity in limits:
            raise _Unreadable(word, f" as a second limit on {quantity}, expected one a quantity")
        try:
            amount = Decimal(match["number"])
        except InvalidOperation:
            # Decimals have an end, too: at an exponent of eighteen digits.
            amount = Decimal("Infinity")
        if not amount.is_finite() or amount <= 0:
            raise _Unreadable(word, f", expected a positive finite number in {_KNOWN}")
        if not 0 <= amount.adjusted() + len(str(factor)) - 1 < _MAX_DIGITS or amount * factor < 1:
            raise _Unreadable(word, f", expected between 1 and 1e{_MAX_DIGITS} {_unit_of(quantity)}")
        limits[quantity] = int(amount * factor)
    if not limits:
        raise _Unreadable(text, f", expected {_KNOWN}")
    ordered = sorted(limits, key=lambda quantity: _ORDER.get(quantity, len(_ORDER)))
    return {quantity: limits[quantity] for quantity in ordered}


def without_latency(budget: Budget) -> Budget:
    """The limits that need no measurement; where there are none, one that everything meets."""
    limits = budget.predicted
    has_sum = any(quantity in budget.sums for quantity in limits)
    return Budget(limits, budget.floor) if has_sum else Budget({"macs": 10 ** (_MAX_DIGITS - 1), **limits}, floor=0)


def latency_on(target: Target) -> str:
    """The quantity of latencies on a target: `latency@cpu:1t:bs1:fp32`, in nanoseconds."""
    return f"{LATENCY}@{target}"


def target_of(quantity: str) -> Target | None:
    """The target of a latency quantity; None for other quantities."""
    name, _, target = quantity.partition("@")
    return parse_target(target) if name == LATENCY else None


def format_amount(amount: int, quantity: str) -> str:
    """Write an amount of a quantity exactly, `4.5GFLOPs`, `12ms@cpu:1t:bs1:fp32`, `64MiB@act`."""
    if is_memory(quantity):
        return format_memory(amount, quantity)
    target = target_of(quantity)
    if target is not None:
        return f"{_decimal(amount, 6)}ms@{target}"
    prefix, power = max((item for item in PREFIXES.items() if 10 ** item[1] <= max(amount, 1)), key=lambda item: item[1])
    return f"{_decimal(amount, power)}{prefix}{_unit_of(quantity)}"


def rounded_amount(amount: int, quantity: str) -> str:
    """Write an amount of a quantity with three digits, `816MFLOPs`."""
    return format_amount(round(float(f"{amount:.3g}")), quantity)


def _decimal(amount: int, power: int) -> str:
    number = f"{Decimal(amount).scaleb(-power):f}"
    return number.rstrip("0").rstrip(".") if "." in number else number


def _unit_of(quantity: str) -> str:
    if is_memory(quantity):
        return "bytes"
    return {"macs": "FLOPs", "params": "params"}.get(quantity, "ns" if quantity.startswith(LATENCY) else f" {quantity}")


def _read_unit(unit: str, word: str) -> tuple[str | None, int]:
    """A unit's quantity, and how much of it one unit is."""
    size, at, where = unit.partition("@")
    if size.upper() in BYTES:
        if not at:
            raise _Unreadable(word, f", memory without a moment, expected one such as {word:.60}@act or {word:.60}@train:bs32; {_KNOWN}")
        if (quantity := memory_quantity(where)) is None:
            raise _Unreadable(word, f": got {where!r:.60}, expected {EXPECTED}; {_KNOWN}")
        return quantity, BYTES[size.upper()]
    if size.lower() in _POWER_OF_TIME:
        if not at:
            raise _Unreadable(word, f", a latency without a device, expected one such as {word:.60}@cpu:1t:bs1")
        try:
            return latency_on(parse_target(where)), 10 ** _POWER_OF_TIME[size.lower()]
        except TargetError as error:
            raise _Unreadable(word, f": {error}") from None
    for prefix, power in PREFIXES.items():
        if unit.upper().startswith(prefix) and unit[len(prefix):].lower() in _QUANTITY_OF:
            return _QUANTITY_OF[unit[len(prefix):].lower()], 10**power
    return None, 1


def _rounded(amount: int, large: str, small: str) -> str:
    """Three digits or more: 4.48 GFLOPs, 60.3 MFLOPs."""
    value, unit = (amount / 1e9, large) if amount >= 1e9 else (amount / 1e6, small)
    return f"{value:.{2 if value < 10 else 1}f} {unit}"
