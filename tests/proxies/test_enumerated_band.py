"""Bands of few members, which are listed."""

import numpy as np
import pytest

from proxies.band.additive_cost import CostTable
from proxies.band.enumerated import ListedBand, band_of
from proxies.cost import Budget, BudgetError
from tests.proxies.bands import distinct, mini, size_of, small_band


def test_small_bands_are_listed_and_exact() -> None:
    problem = mini()
    band = band_of(problem.space, problem.cost, problem.budget)
    assert isinstance(band, ListedBand)
    members = np.array(list(band.members(10**6)))
    assert len(members) == size_of(band) == len(distinct(list(members)))
    table = CostTable(band.rows, problem.cost, tuple(problem.budget.limits))
    assert all(problem.budget.admits(dict(zip(problem.budget.limits, costs, strict=True))) for costs in table(members).tolist())


def test_a_listed_band_without_members_says_what_would_be_valid() -> None:
    band = small_band()
    with pytest.raises(BudgetError, match=r"which no member of staged-6 meets; expected something within .*FLOPs and .*FLOPs") as error:
        ListedBand(band.space, band.cost, Budget({"macs": 1000}))
    assert "\n" not in str(error.value)
