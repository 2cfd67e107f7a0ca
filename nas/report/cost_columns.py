"""The columns of an architecture's costs: one unit in a table or on a page, and three digits."""

from __future__ import annotations

from typing import NamedTuple

from proxies.cost import Cost


class MacsUnit(NamedTuple):
    """A unit of multiply-adds.

    Args:
        macs: how many it stands for.
    """

    name: str
    macs: float


def macs_unit(macs: int) -> MacsUnit:
    """The unit for a table whose first row has so many multiply-adds."""
    return MacsUnit("GFLOPs", 1e9) if macs >= 1e9 else MacsUnit("MFLOPs", 1e6)


def cost_cells(cost: Cost, unit: MacsUnit) -> tuple[str, str]:
    """Multiply-adds in a unit, and millions of parameters."""
    return amount(cost.macs / unit.macs), amount(cost.params / 1e6)


def amount(value: float) -> str:
    """At least three digits: `0.456`, `14.0`, `4,480`."""
    return f"{value:,.0f}" if value >= 100 else f"{value:#.3g}"
