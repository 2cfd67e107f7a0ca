"""The band of a search space: its costs are those of the networks, its members are architectures."""

import pickle
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxies.band.additive_cost import AdditiveCost, Rows, Term
from proxies.band.architecture_band import ArchitectureBand
from proxies.cost import Budget, BudgetError, latency_on, parse_budget
from proxies.macs import cost_of
from proxies.target import Target
from space.errors import SpaceError
from space.files import load_space, space_names
from space.kinds import FFNS, MIXERS
from space.search_space import SearchSpace, StageChoices

MIXERS_OFFERED = (
    {"type": "local_mhra", "kernel_size": 3}, {"type": "channel_group", "head_dim": 8}, {"type": "ssa", "sr_ratio": 2, "head_dim": 8},
    # leaves its block's feed-forward network another norm
    {"type": "bn_conv_attention", "key_dim": 4},
)


def tiny_space() -> SearchSpace:
    """Some thousand architectures."""
    ffns = (FFNS("mlp", ratio=2), FFNS("dw_ffn", ratio=1))
    mixers = tuple(MIXERS(**options) for options in MIXERS_OFFERED)
    first = StageChoices(widths=(16, 24), depths=(1, 2), mixers=mixers, ffns=ffns)
    second = StageChoices(
        widths=(24, 32, 40), depths=(1, 3), mixers=mixers[:2], ffns=ffns[1:], positions=("none",), downsample="conv_downsample")
    return SearchSpace(name="tiny", image_size=32, num_classes=10, stages=(first, second))


TINY = tiny_space()
TARGET = latency_on(Target())


def latency_of(space: SearchSpace) -> AdditiveCost:
    """Made up, in place of measured blocks."""
    rng = np.random.default_rng(0)
    terms = [
        Term((name,), {TARGET: rng.integers(1_000, 50_000, len(options))}) for name, options in space.slots.items() if "mixer" in name
    ]
    return (*terms, Term((), {TARGET: np.array(7_000)}))


@st.composite
def parameters(draw: st.DrawFn) -> dict[str, object]:
    return {slot: draw(st.sampled_from(options)) for slot, options in TINY.slots.items()}


@given(parameters(), parameters(), st.data())
@settings(max_examples=50)
def test_rows_are_equal_where_architectures_are(first: dict, second: dict, data: st.DataObject) -> None:
    rows = Rows(TINY)
    same = data.draw(st.sets(st.sampled_from(sorted(TINY.slots))))
    second |= {slot: first[slot] for slot in same | ({"stage1.depth", "stage2.depth"} if data.draw(st.booleans()) else set())}
    equal = TINY.replay(first) == TINY.replay(second)
    assert np.array_equal(rows.row(first), rows.row(second)) == equal
    assert rows.parameters(rows.row(first)) == TINY.parameters_of(TINY.replay(first))


@pytest.mark.parametrize("space", [TINY, *map(load_space, space_names())], ids=lambda space: space.name)
def test_the_tables_know_every_members_cost(space: SearchSpace) -> None:
    band = ArchitectureBand(space, Budget({"macs": 10**12, "params": 10**12}, floor=0))
    ends = [band.row_of(architecture) for architecture in (space.smallest(), space.largest())]
    some = np.random.default_rng(2).integers(0, band.rows.sizes, (1000, len(band.rows.sizes)))
    rows = np.concatenate((ends, band.rows.canonical(some)))
    expected = [cost_of(band.architecture(row)) for row in rows]
    assert band.costs(rows).tolist() == [[cost.macs, cost.params] for cost in expected]


def test_members_become_architectures_and_rows_again() -> None:
    band = ArchitectureBand(TINY, Budget({"macs": 10**12}, floor=0))
    assert band.count_bounds == (TINY.size, TINY.size)
    rng = random.Random(3)
    for _ in range(50):
        architecture = TINY.sample(rng)
        row = band.row_of(architecture)
        assert np.array_equal(row, band.rows.row(TINY.parameters_of(architecture)))
        made = band.architecture(row)
        assert made == architecture
        assert made.fingerprint == architecture.fingerprint
        assert made.parts == architecture.parts
        assert hash(made) == hash(architecture)


def test_a_latency_joins_in() -> None:
    latency = latency_of(TINY)
    architectures = [TINY.sample(random.Random(seed)) for seed in range(200)]
    loose = ArchitectureBand(TINY, Budget({"macs": 10**12}, floor=0), [latency])
    costs = [loose.costs_of(loose.row_of(architecture)) for architecture in architectures]
    assert all(one.keys() == {"macs", "params", TARGET} for one in costs)
    limits = {quantity: int(np.quantile([one[quantity] for one in costs], 0.6)) for quantity in ("macs", "params", TARGET)}
    budget = Budget(limits, floor=0.5)
    band = ArchitectureBand(TINY, budget, [latency])
    for architecture, one in zip(architectures, costs, strict=True):
        cost = cost_of(architecture)
        assert (one["macs"], one["params"]) == (cost.macs, cost.params)
        assert band.contains(architecture) == budget.admits(one)
    assert all(band.contains(band.draw(random.Random(seed))) for seed in range(20))
    with pytest.raises(BudgetError, match="latency"):
        ArchitectureBand(TINY, budget)


def test_draws_are_the_same_where_a_band_is_unpickled() -> None:
    band = ArchitectureBand(TINY, Budget({TARGET: 150_000, "macs": 10**12}, floor=0.5), [latency_of(TINY)])
    band.draw(random.Random(0))
    copy = pickle.loads(pickle.dumps(band))
    assert [copy.draw(random.Random(seed)) for seed in range(5)] == [band.draw(random.Random(seed)) for seed in range(5)]


def test_what_is_no_member_is_refused() -> None:
    band = ArchitectureBand(TINY, Budget({"macs": 10**12}, floor=0))
    member = TINY.largest()
    assert band.contains(member.replace(name="another"))
    for other in (member.replace(num_classes=11), member.replace(stages=member.stages[:1]), load_space("hybrid-32").smallest()):
        assert not band.contains(other)
        with pytest.raises(SpaceError):
            band.row_of(other)


@pytest.mark.parametrize(("name", "text"), [("hybrid-224", "4.5GFLOPs"), ("hybrid-32", "60MFLOPs 2Mparams"), ("hybrid-32", "1.5Mparams")])
def test_draws_of_named_spaces_are_admitted(name: str, text: str) -> None:
    budget = parse_budget(text)
    band, rng = ArchitectureBand(load_space(name), budget), random.Random(8)
    for architecture in [band.draw(rng) for _ in range(15)] + [band.architecture(band.sample_uniform(rng)) for _ in range(15)]:
        assert budget.admits(cost_of(architecture))
        assert band.contains(architecture)
        assert band.space.contains(architecture)
    low, high = band.count_bounds
    assert 0 < low <= high < band.space.size


@pytest.mark.parametrize("name", space_names())
def test_what_no_named_space_reaches_is_refused(name: str) -> None:
    with pytest.raises(BudgetError, match=name) as error:
        ArchitectureBand(load_space(name), parse_budget("1MFLOPs"))
    assert "\n" not in str(error.value)


def test_a_budget_beyond_reach_is_refused_with_the_range_and_the_nearest() -> None:
    low, high = ArchitectureBand(TINY, Budget({"macs": 10**12}, floor=0)).reachable
    for limit, nearest in ((low["macs"] - 1, low), (high["macs"] * 2, high)):
        with pytest.raises(BudgetError) as error:
            ArchitectureBand(TINY, Budget({"macs": limit}))
        text = str(error.value)
        assert parse_budget(text.rpartition(" ")[2]) == Budget({"macs": nearest["macs"]})
        assert all(str(Budget({"macs": cost["macs"]})) in text for cost in (low, high))


def test_two_limits_that_exclude_each_other_are_refused_with_the_nearest_costs() -> None:
    loose = ArchitectureBand(TINY, Budget({"macs": 10**12, "params": 10**12}, floor=0))
    low, high = loose.reachable
    with pytest.raises(BudgetError, match="the nearest it has is") as error:
        ArchitectureBand(TINY, Budget({"macs": high["macs"], "params": low["params"]}))
    nearest = parse_budget(str(error.value).rpartition("nearest it has is ")[2].replace("with ", ""))
    assert [nearest.limits["macs"], nearest.limits["params"]] in loose.costs(np.array(list(loose.members(10**6)))).tolist()
