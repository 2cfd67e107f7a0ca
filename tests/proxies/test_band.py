"""A band against brute force on spaces small enough to list, and its promises on the named ones."""

import itertools
import random
from collections import Counter
from functools import cache

import pytest

from proxies import counting
from proxies.band import Band
from proxies.cost import Budget, BudgetError, Cost, parse_budget
from proxies.counting import count_bounds
from proxies.macs import cost_of
from proxies.reach import extreme
from proxies.space_costs import SpaceCosts
from space.architecture import Architecture
from space.files import load_space, space_names
from space.kinds import FFNS, MIXERS
from space.search_space import SearchSpace, StageChoices

MIXERS_OFFERED = (
    {"type": "local_mhra", "kernel_size": 3}, {"type": "channel_group", "head_dim": 8}, {"type": "ssa", "sr_ratio": 2, "head_dim": 8},
)


def tiny_space(norms_differ: bool = False) -> SearchSpace:
    """Some thousand architectures. `norms_differ` adds a mixer that leaves its block's feed-forward network another norm."""
    ffns = (FFNS("mlp", ratio=2), FFNS("dw_ffn", ratio=1 if norms_differ else 2))
    mixers = tuple(MIXERS(**options) for options in MIXERS_OFFERED) + ((MIXERS("bn_conv_attention", key_dim=4),) if norms_differ else ())
    fields = {"mixers": mixers, "ffns": ffns}
    first = StageChoices(widths=(16, 24), depths=(1, 2), **fields)
    fields |= {"ffns": ffns[1:], "positions": ("none",), "downsample": {"type": "conv_downsample"}}
    second = StageChoices(widths=(24, 32), depths=(1, 2), **fields)
    return SearchSpace(name="tiny", image_size=32, num_classes=10, stages=(first, second))


@cache
def everything(norms_differ: bool = False) -> tuple[tuple[Architecture, Cost], ...]:
    """Every architecture of the tiny space, by answering every slot in every way."""
    space = tiny_space(norms_differ)
    found: dict[str, Architecture] = {}
    per_stage = []
    for index, stage in enumerate(space.stages):
        choices = []
        for width, depth, ffn in itertools.product(stage.widths, stage.depths, stage.ffns):
            kinds = itertools.product(stage.positions, space.mixers[index])
            for blocks in itertools.product(tuple(kinds), repeat=depth):
                answers = {"width": width, "depth": depth, "ffn": ffn.label}
                for j, (position, mixer) in enumerate(blocks, 1):
                    answers |= {f"block{j}.position": position.label, f"block{j}.mixer": mixer.label}
                choices.append(answers)
        per_stage.append(choices)
    rng = random.Random(0)
    for chosen in itertools.product(*(rng.sample(choices, min(len(choices), 60)) if norms_differ else choices for choices in per_stage)):
        answers = {f"stage{i}.{key}": value for i, stage in enumerate(chosen, 1) for key, value in stage.items()}
        architecture = space.decide(lambda name, options, answers=answers: answers.get(name, options[0]))
        found[architecture.fingerprint] = architecture
    return tuple((architecture, cost_of(architecture)) for architecture in found.values())


def quantiles(*shares: float, quantity: str = "macs") -> list[int]:
    costs = sorted(getattr(cost, quantity) for _, cost in everything())
    return [costs[round(share * (len(costs) - 1))] for share in shares]


def test_the_listing_is_complete() -> None:
    assert len(everything()) == tiny_space().size


@pytest.mark.parametrize("floor", [0.0, 0.7, 0.9, 0.99])
@pytest.mark.parametrize("quantity", ["macs", "params", "both"])
def test_count_members_and_membership_are_exact(quantity: str, floor: float) -> None:
    macs, params = *quantiles(0.6), *quantiles(0.5, quantity="params")
    budget = Budget(None if quantity == "params" else macs, None if quantity == "macs" else params, floor)
    band = Band(tiny_space(), budget)
    inside = {architecture.fingerprint for architecture, cost in everything() if budget.admits(cost)}
    assert inside
    assert band.count == len(inside)
    assert sorted(member.fingerprint for member in band.members(10**6)) == sorted(inside)
    rng = random.Random(1)
    for architecture, cost in rng.sample(everything(), 100):
        assert band.contains(architecture) == budget.admits(cost)


@pytest.mark.parametrize("norms_differ", [False, True])
def test_the_tables_know_every_members_cost(norms_differ: bool) -> None:
    space = tiny_space(norms_differ)
    band = Band(space, Budget({"macs": 10**12}, floor=0))
    for architecture, cost in random.Random(2).sample(everything(norms_differ), 200):
        choice = band.costs.choice(architecture)
        assert band.costs.cost(choice) == cost
        assert band.costs.architecture(choice) == architecture
    assert band.count == space.size


def test_reachable_is_the_least_and_the_greatest_cost() -> None:
    for quantity in ("macs", "params"):
        band = Band(tiny_space(), Budget(**{f"max_{quantity}": 10**12}, floor=0))
        costs = [cost for _, cost in everything()]
        for found, pick in zip(band.reachable, (min, max), strict=True):
            assert getattr(found, quantity) == pick(getattr(cost, quantity) for cost in costs)
            assert found in costs


def chi_square(observed: Counter[str], expected: dict[str, float]) -> float:
    """Standardised: about 0 on average, 1 the standard deviation, where draws follow what is expected."""
    assert observed.keys() <= expected.keys()
    statistic = sum((observed[key] - share) ** 2 / share for key, share in expected.items())
    freedom = len(expected) - 1
    return (statistic - freedom) / (2 * freedom) ** 0.5


def shape_of(architecture: Architecture) -> str:
    return str([(stage.width, len(stage.blocks)) for stage in architecture.stages])


def narrow_budget() -> Budget:
    return Budget({"macs": quantiles(0.35)[0]}, floor=0.97)


def test_the_uniform_measure_is_uniform() -> None:
    band, rng = Band(tiny_space(), narrow_budget()), random.Random(3)
    members = [member.fingerprint for member in band.members(10**6)]
    draws = 8 * len(members)
    observed = Counter(band.sample_uniform(rng).fingerprint for _ in range(draws))
    assert abs(chi_square(observed, dict.fromkeys(members, draws / len(members)))) < 4


def test_macro_shapes_come_evenly_and_members_evenly_within_one() -> None:
    band, rng = Band(tiny_space(), narrow_budget()), random.Random(4)
    members = list(band.members(10**6))
    sizes = Counter(map(shape_of, members))
    assert len(sizes) > 3
    drawn = [band.sample(rng) for _ in range(4000)]
    assert abs(chi_square(Counter(map(shape_of, drawn)), dict.fromkeys(sizes, len(drawn) / len(sizes)))) < 4
    expected = {member.fingerprint: len(drawn) / len(sizes) / sizes[shape_of(member)] for member in members}
    assert abs(chi_square(Counter(member.fingerprint for member in drawn), expected)) < 4


def test_neighbours_are_members_and_others() -> None:
    budget = Budget({"macs": quantiles(0.6)[0]}, floor=0.9)
    band, rng = Band(tiny_space(), budget), random.Random(5)
    member = band.sample(rng)
    for _ in range(60):
        child = band.mutate(member, rng)
        mixed = band.crossover(member, child, rng)
        assert child != member
        assert budget.admits(cost_of(child))
        assert budget.admits(cost_of(mixed))
        member = mixed


def test_mutation_stays_near_and_crossover_takes_from_the_parents() -> None:
    band, rng = Band(load_space("hybrid-32"), parse_budget("60MFLOPs")), random.Random(6)
    first, second = band.sample(rng), band.sample(rng)
    pairs = zip(first.stages, second.stages, strict=True)
    parents = [[{stage.width for stage in pair}, {len(stage.blocks) for stage in pair}] for pair in pairs]
    children = [band.crossover(first, second, rng) for _ in range(20)]
    kept = sum(
        all(stage.width in widths and len(stage.blocks) in depths for stage, (widths, depths) in zip(child.stages, parents, strict=True))
        for child in children
    )
    assert kept >= 15
    same_stages = [sum(a == b for a, b in zip(first.stages, band.mutate(first, rng).stages, strict=True)) for _ in range(40)]
    assert sum(same_stages) > 40


def test_draws_depend_on_the_generator_alone() -> None:
    band = Band(tiny_space(), Budget({"macs": quantiles(0.6)[0]}))
    again = Band(tiny_space(), Budget({"macs": quantiles(0.6)[0]}))
    def draw(from_band: Band) -> list[Architecture]:
        rng = random.Random(7)
        a, b = from_band.sample(rng), from_band.sample_uniform(rng)
        return [a, b, from_band.mutate(a, rng), from_band.crossover(a, b, rng)]

    first = draw(band)
    band.sample(random.Random(8))
    assert draw(band) == first == draw(again)


def test_a_budget_below_or_above_reach_is_refused_with_the_range() -> None:
    low, high = Band(tiny_space(), Budget({"macs": 10**12}, floor=0)).reachable
    for limit, nearest in ((low.macs - 1, low), (high.macs * 2, high)):
        with pytest.raises(BudgetError) as error:
            Band(tiny_space(), Budget({"macs": limit}))
        text = str(error.value)
        assert "\n" not in text
        assert parse_budget(text.rpartition(" ")[2]) == Budget(nearest.macs)
        assert all(str(Budget(cost.macs)) in text for cost in (low, high))


def test_a_gap_inside_the_range_is_refused_with_the_nearest_cost() -> None:
    costs = sorted({cost.macs for _, cost in everything()})
    below, above = max(itertools.pairwise(costs), key=lambda pair: pair[1] - pair[0])
    limit = above - 1
    floor = (below + 1) / limit + 1e-9
    with pytest.raises(BudgetError) as error:
        Band(tiny_space(), Budget({"macs": limit}, floor=floor))
    assert parse_budget(str(error.value).rpartition(" ")[2]).limits["macs"] == above


def test_two_limits_that_exclude_each_other_are_refused() -> None:
    low, high = Band(tiny_space(), Budget({"macs": 10**12}, floor=0)).reachable
    with pytest.raises(BudgetError, match="the nearest it has is") as error:
        Band(tiny_space(), Budget({"macs": high.macs, "params": low.params}))
    nearest = str(error.value).rpartition("nearest it has is ")[2].replace("with ", "")
    found = parse_budget(nearest)
    assert Cost(found.limits.get("macs", 0), found.limits.get("params", 0)) in {cost for _, cost in everything()}


@pytest.mark.parametrize(("name", "text"), [("hybrid-224", "4.5GFLOPs"), ("hybrid-32", "60MFLOPs 2Mparams"), ("hybrid-32", "1.5Mparams")])
def test_draws_of_named_spaces_are_admitted(name: str, text: str) -> None:
    budget = parse_budget(text)
    band, rng = Band(load_space(name), budget), random.Random(8)
    for draw in (band.sample, band.sample_uniform):
        for _ in range(15):
            architecture = draw(rng)
            assert budget.admits(cost_of(architecture))
            assert band.contains(architecture)


@pytest.mark.parametrize("name", space_names())
def test_what_no_named_space_reaches_is_refused(name: str) -> None:
    with pytest.raises(BudgetError, match=name):
        Band(load_space(name), parse_budget("1MFLOPs"))


@pytest.mark.parametrize("quantity", ["macs", "params", "both"])
def test_counting_without_listing_agrees(quantity: str, monkeypatch: pytest.MonkeyPatch) -> None:
    macs, params = *quantiles(0.6), *quantiles(0.5, quantity="params")
    budget = Budget(None if quantity == "params" else macs, None if quantity == "macs" else params, 0.8)
    costs = SpaceCosts(tiny_space())
    inside = sum(budget.admits(cost) for _, cost in everything())
    low, high = count_bounds(costs, budget)
    assert low <= inside <= high
    assert (low == high) == (quantity != "both")
    monkeypatch.setattr(counting, "MAX_WORK", 0)
    monkeypatch.setattr(counting, "BOUND_CELLS", {1: (500,), 2: (100, 100)})
    low, high = count_bounds(costs, budget)
    assert low < inside < high


def test_a_space_of_more_than_64_bits_is_counted_exactly() -> None:
    fields = {"mixers": tuple(MIXERS(**options) for options in MIXERS_OFFERED), "ffns": (FFNS("mlp", ratio=2), FFNS("mlp", ratio=4))}
    space = SearchSpace(name="deep", image_size=32, num_classes=10, stages=(StageChoices(widths=(16,), depths=(1, 28), **fields),))
    assert space.size > 2**65
    costs = SpaceCosts(space)
    most = extreme(costs, "macs", max).macs
    counts = [count_bounds(costs, Budget({"macs": limit}, floor=0)) for limit in (most, most // 2)]
    above = count_bounds(costs, Budget({"macs": most}, floor=(most // 2 + 1) / most))
    assert counts[0] == (space.size, space.size)
    assert counts[1][0] + above[0] == space.size


def test_counts_of_large_spaces_are_bounded_from_both_sides() -> None:
    space = load_space("hybrid-224")
    low, high = Band(space, parse_budget("4.5GFLOPs")).count_bounds
    assert 0 < low <= high < space.size
    assert high - low < 0.01 * high
