"""A band against brute force on spaces small enough to list, and its promises on larger ones."""

import random
from collections import Counter
from functools import cache

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from proxies.band import band as band_module
from proxies.band import counts as counting
from proxies.band.additive_cost import AdditiveCost, Rows, Term
from proxies.band.band import Band
from proxies.band.factorisation import CouplingError
from proxies.cost import Budget, BudgetError, format_amount
from proxies.memory_quantity import ACTIVATIONS
from tests.proxies.spaces import Member, Space, greatest_term, members_of, small_spaces, staged_space, terms_over

QUANTITIES = ("first", "second", "third")

Row = tuple[int, ...]


def row_of(space: Space, member: Member) -> Row:
    rows = Rows(space)
    return tuple(rows.row({slot: options[0] for slot, options in space.slots.items()} | dict(member)).tolist())


def admitted(space: Space, cost: AdditiveCost, budget: Budget) -> set[Row]:
    listed = members_of(space, cost, list(budget.limits))
    return {row_of(space, member) for member, costs in listed.items() if budget.admits(dict(zip(budget.limits, costs, strict=True)))}


@st.composite
def bands(draw: st.DrawFn, least: int = 0) -> tuple[Space, AdditiveCost, Budget]:
    """A small space with a budget of one to three limits, at, between or beyond what its members cost."""
    quantities = QUANTITIES[:draw(st.integers(1, 3))]
    space, cost = draw(small_spaces(quantities))
    costs = np.array(list(members_of(space, cost, quantities).values()))
    limits = {}
    for quantity, column in zip(quantities, costs.T, strict=True):
        limits[quantity] = max(1, int(draw(st.sampled_from(sorted(set(column.tolist()))))) + draw(st.sampled_from([-1, 0, 0, 1, 10**7])))
    return space, cost, Budget(limits, floor=draw(st.sampled_from([0.0, 0.5, 0.9, 0.99])))


@pytest.mark.parametrize("cells", [None, 16, 3])
@given(drawn=bands())
@settings(max_examples=60)
def test_count_members_and_membership_are_exact(cells: int | None, drawn: tuple[Space, AdditiveCost, Budget]) -> None:
    space, cost, budget = drawn
    expected = admitted(space, cost, budget)
    with pytest.MonkeyPatch.context() as patch:
        if cells:
            patch.setattr(band_module, "RESOLUTIONS", ((cells,),))
        if not expected:
            with pytest.raises(BudgetError, match=r"^budget: got .* the nearest it has is ") as error:
                Band(space, cost, budget)
            assert "\n" not in str(error.value)
            return
        band = Band(space, cost, budget)
        assert band.count_bounds == (len(expected), len(expected))
        listed = [tuple(row.tolist()) for row in band.members(10**6)]
        assert len(listed) == len(set(listed))
        assert set(listed) == expected
        everything = members_of(space, cost, list(budget.limits))
        rows = np.array([row_of(space, member) for member in everything])
        assert band.costs(rows).tolist() == list(map(list, everything.values()))
        assert {tuple(row.tolist()) for row in rows[band.admits(rows)]} == expected
        rng = random.Random(0)
        for draw in (band.sample, band.sample_uniform):
            assert all(tuple(draw(rng).tolist()) in expected for _ in range(5))


@given(bands(), st.data())
@settings(max_examples=100)
def test_a_limit_on_a_maximum_leaves_out_members_and_nothing_else(
    drawn: tuple[Space, AdditiveCost, Budget], data: st.DataObject
) -> None:
    """Terms over any slots, of which the greatest counts: they may couple slots that the cost does not."""
    space, cost, budget = drawn
    peaks = data.draw(terms_over(space, ACTIVATIONS))
    sums = members_of(space, cost, list(budget.limits))
    greatest = {member: greatest_term(peaks, ACTIVATIONS, space, dict(member)) for member in sums}
    limit = max(1, data.draw(st.sampled_from(sorted(set(greatest.values())))) + data.draw(st.sampled_from([-1, 0])))
    budget = Budget({**budget.limits, ACTIVATIONS: limit}, budget.floor)
    costs = {row_of(space, member): dict(zip(budget.limits, (*some, greatest[member]), strict=True)) for member, some in sums.items()}
    expected = {row for row, some in costs.items() if budget.admits(some)}
    if not expected:
        with pytest.raises(BudgetError, match=r"^budget: got .* (the nearest it has is|the least that small needs)") as error:
            Band(space, cost, budget, peaks)
        if "the least that" in str(error.value):
            assert format_amount(min(greatest.values()), ACTIVATIONS) in str(error.value)
        return
    band = Band(space, cost, budget, peaks)
    assert {tuple(row.tolist()) for row in band.members(10**6)} == expected
    assert band.count_bounds == (len(expected), len(expected))
    rows = np.array(list(costs))
    assert band.costs(rows).tolist() == [list(some.values()) for some in costs.values()]
    assert {tuple(row.tolist()) for row in rows[band.admits(rows)]} == expected
    rng = random.Random(0)
    for draw in (band.sample, band.sample_uniform):
        assert all(tuple(draw(rng).tolist()) in expected for _ in range(5))


@given(bands())
@settings(max_examples=60)
def test_counting_without_listing_agrees(drawn: tuple[Space, AdditiveCost, Budget]) -> None:
    space, cost, budget = drawn
    expected = len(admitted(space, cost, budget))
    assume(expected)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(band_module, "MAX_LISTED", 0)
        low, high = Band(space, cost, budget).count_bounds
        assert low <= expected <= high
        patch.setattr(counting, "EXACT_RESOLUTIONS", ((10**6,), (10**3,), (10**2,)))
        patch.setattr(counting, "COUNT_RESOLUTIONS", ((16,), (8,), (4,)))
        low, high = Band(space, cost, budget).count_bounds
        assert low <= expected <= high


@given(bands())
@settings(max_examples=60)
def test_reachable_are_the_costs_of_the_least_and_the_greatest_member(drawn: tuple[Space, AdditiveCost, Budget]) -> None:
    space, cost, budget = drawn
    costs = set(members_of(space, cost, list(budget.limits)).values())
    band = Band(space, cost, Budget(dict.fromkeys(budget.limits, 10**9), floor=0))
    for found, pick in zip(band.reachable, (min, max), strict=True):
        assert list(found) == list(budget.limits)
        assert tuple(found.values()) in costs
        assert found[budget.primary] == pick(first for first, *_ in costs)


def chi_square(observed: Counter[Row], expected: dict[Row, float]) -> float:
    """Standardised: about 0 on average, 1 the standard deviation, where draws follow what is expected."""
    assert observed.keys() <= expected.keys()
    statistic = sum((observed[key] - share) ** 2 / share for key, share in expected.items())
    freedom = max(len(expected) - 1, 1)
    return (statistic - freedom) / (2 * freedom) ** 0.5


@cache
def narrow_band(quantities: int) -> Band:
    """Some hundreds of members, on a grid so coarse that many draws miss the band."""
    space, cost = staged_space(3, stages=2, blocks=3, mixers=3, ratios=1)
    names = ("macs", "params", "latency")[:quantities]
    rows = Rows(space)
    rng = np.random.default_rng(0)
    some = rows.canonical(rng.integers(0, rows.sizes, (20_000, len(rows.sizes))))
    costs = band_module.CostTable(rows, cost, names)(some)
    limits = dict(zip(names, np.quantile(costs, 0.25, axis=0).astype(int).tolist(), strict=True))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(band_module, "RESOLUTIONS", ((60,), (60, 20)))
        return Band(space, cost, Budget(limits, floor=0.97))


@pytest.mark.parametrize("quantities", [1, 2, 3])
def test_the_uniform_measure_is_uniform(quantities: int) -> None:
    band, rng = narrow_band(quantities), random.Random(3)
    members = [tuple(row.tolist()) for row in band.members(10**6)]
    assert len(members) > 50
    draws = 8 * len(members)
    observed = Counter(tuple(band.sample_uniform(rng).tolist()) for _ in range(draws))
    assert abs(chi_square(observed, dict.fromkeys(members, draws / len(members)))) < 4


@pytest.mark.parametrize("quantities", [1, 2, 3])
def test_shapes_come_evenly_and_members_evenly_within_one(quantities: int) -> None:
    band, rng = narrow_band(quantities), random.Random(4)
    columns = band.rows.columns(band.space.shape_slots)

    def shape_of(row: Row) -> Row:
        return tuple(row[column] for column in columns)

    members = [tuple(row.tolist()) for row in band.members(10**6)]
    sizes = Counter(map(shape_of, members))
    assert len(sizes) > 3
    drawn = [tuple(band.sample(rng).tolist()) for _ in range(6000)]
    assert abs(chi_square(Counter(map(shape_of, drawn)), dict.fromkeys(sizes, len(drawn) / len(sizes)))) < 4
    expected = {member: len(drawn) / len(sizes) / sizes[shape_of(member)] for member in members}
    assert abs(chi_square(Counter(drawn), expected)) < 4


def test_draws_depend_on_the_generator_alone() -> None:
    band = narrow_band(2)

    def draw() -> list[list[int]]:
        rng = random.Random(7)
        return [draw(rng).tolist() for draw in (band.sample, band.sample_uniform) for _ in range(5)]

    first = draw()
    band.sample(random.Random(8))
    assert draw() == first


def test_a_space_of_six_independent_slots_is_counted_and_drawn_from() -> None:
    rng = np.random.default_rng(5)
    slots = {f"edge{i}": ("none", "skip", "conv1", "conv3", "pool") for i in range(6)}
    space = Space(slots)
    cost = [Term((slot,), {"macs": rng.integers(0, 10**7, 5), "latency": rng.integers(0, 10**6, 5)}) for slot in slots]
    every = np.array(list(members_of(space, cost, ["macs", "latency"]).values()))
    budget = Budget({"macs": int(np.quantile(every[:, 0], 0.3)), "latency": int(np.quantile(every[:, 1], 0.2))}, floor=0.7)
    band = Band(space, cost, budget)
    inside = (every[:, 0] <= budget.limits["macs"]) & (every[:, 0] >= budget.least) & (every[:, 1] <= budget.limits["latency"])
    assert band.count_bounds == (inside.sum(), inside.sum())
    assert inside.any()
    draws = np.array([band.sample(random.Random(seed)) for seed in range(50)])
    assert band.admits(draws).all()


@pytest.mark.parametrize("share", [pytest.param(0.1, marks=pytest.mark.soak), 0.01])
def test_tight_limits_on_a_staged_space_are_met_by_draws(share: float) -> None:
    space, cost = staged_space(1)
    rows, rng = Rows(space), np.random.default_rng(2)
    some = rows.canonical(rng.integers(0, rows.sizes, (50_000, len(rows.sizes))))
    costs = band_module.CostTable(rows, cost, ("macs", "params"))(some)
    macs = int(np.median(costs[:, 0]))
    near = costs[(costs[:, 0] <= macs) & (costs[:, 0] >= 0.9 * macs)]
    budget = Budget({"macs": macs, "params": int(np.quantile(near[:, 1], share))})
    band, generator = Band(space, cost, budget), random.Random(3)
    draws = np.array([draw(generator) for draw in (band.sample, band.sample_uniform) for _ in range(20)])
    assert band.admits(draws).all()
    assert np.array_equal(rows.canonical(draws), draws)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("witnesses", [1, 128])
def test_a_band_whose_shapes_all_hide_their_members_is_neither_refused_nor_drawn_from_for_ever(
    witnesses: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As where draws within every shape miss: no probe is made, and no shape is listed.
    for name, value in {"SURE": 2.0, "MAX_TRIALS": 0, "MAX_MISSES": 0, "MAX_LISTED_SHAPE": 0, "MAX_WITNESSES": witnesses}.items():
        monkeypatch.setattr(band_module, name, value)
    space, cost = staged_space(1)
    costs = band_module.CostTable(Rows(space), cost, ("macs",))(np.zeros((1, len(space.slots)), dtype=np.int64))
    band = Band(space, cost, Budget({"macs": 2 * int(costs[0, 0])}, floor=0.5))
    assert band.admits(np.array([band.sample(random.Random(n)) for n in range(3)])).all()


def test_a_space_of_more_than_64_bits_is_counted_exactly(monkeypatch: pytest.MonkeyPatch) -> None:
    slots = {f"slot{i}": tuple(range(8)) for i in range(30)}
    cost = [Term((slot,), {"macs": np.arange(8)}) for slot in slots]
    counts = [Band(Space(slots), cost, Budget({"macs": limit}, floor=0)).count_bounds for limit in (210, 104)]
    above = Band(Space(slots), cost, Budget({"macs": 210}, floor=0.5)).count_bounds
    assert counts[0] == (8**30, 8**30)
    assert counts[1][0] + above[0] == 8**30


def test_an_unknown_quantity_is_refused() -> None:
    cost = (Term(("slot",), {"macs": np.arange(2)}),)
    with pytest.raises(BudgetError, match=r"^budget: got a limit on params, expected one on macs"):
        Band(Space({"slot": ("a", "b")}), cost, Budget({"params": 1}))


def test_costs_that_couple_everything_are_refused_in_one_line() -> None:
    slots = {f"slot{i}": tuple(range(10)) for i in range(6)}
    ring = [Term((f"slot{i}", f"slot{j}"), {"macs": np.ones((10, 10), dtype=int)}) for i in range(6) for j in range(i)]
    with pytest.raises(CouplingError, match=r"^small: got costs that couple slot"):
        Band(Space(slots), ring, Budget({"macs": 10}))
