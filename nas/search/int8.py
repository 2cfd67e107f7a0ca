"""What INT8 takes from the candidates of successive halving: who may not win for it, and what is said of it."""

from __future__ import annotations

from collections.abc import Iterator

from nas.runs.records.halving import CandidateRecord, HalvingRecord
from proxies.cost import BudgetError


def check_int8(record: HalvingRecord) -> None:
    """BudgetError where INT8 takes too much from every candidate that competes."""
    if not record.eligible:
        least = min(one.int8_drop for one in record.candidates if one.competes)
        raise BudgetError(
            f"max_int8_drop: got a loss of {least:.2g} points of {record.metric} at the least among the candidates in INT8, "
            f"expected at most {record.max_int8_drop:g}; with a higher one, or with more --halving-candidates, the same command continues"
        )


def int8_cell(one: CandidateRecord) -> str:
    """Floating point beside INT8, for a table."""
    values = one.int8_values
    return "" if values is None else f"{values[0]:.1f} / {values[1]:.1f}"


def int8_notes(record: HalvingRecord) -> Iterator[str]:
    """What the column means, and who is passed over."""
    if record.max_int8_drop is None:
        return
    yield (
        f"INT8: {record.metric} in % in floating point / in INT8, on squares of the search images, in the last rung of each; convolutions "
        "and linear layers are quantised, with ranges of the calibration images."
    )
    for one in record.candidates:
        if record.is_passed_over(one) and one.competes:
            yield f"{one.label} is passed over: INT8 takes {one.int8_drop:.1f} points, at most {record.max_int8_drop:g} are allowed."
