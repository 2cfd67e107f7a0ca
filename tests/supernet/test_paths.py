"""Strategies: what a step trains, how evenly, and only within the sampling domain."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Sequence
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from space import SearchSpace
from space.architecture import Architecture
from supernet.paths import STRATEGIES, PathsError, strategy
from supernet.sampling_domain import Choices, SamplingDomain, whole_space

LOCAL, CHANNEL = {"type": "local_mhra", "kernel_size": [3, 5, 7]}, {"type": "channel_group", "head_dim": 16}
WINDOW, CONV, GLOBAL = {"type": "window", "window_size": 4, "head_dim": 16}, {"type": "bn_conv_attention", "key_dim": 8}, "global_mhra"
MIXERS = (LOCAL, CHANNEL, WINDOW, CONV)


@cache
def space_of(*nums_mixers: int) -> SearchSpace:
    """Stages that offer so many mixers each."""
    stages = [
        {"widths": [32, 64], "depths": [1, 2, 3], "mixers": MIXERS[:num], "ffns": [{"type": ["mlp", "dw_ffn"], "ratio": [1, 2]}],
         **({"downsample": "conv_downsample"} if i else {})}
        for i, num in enumerate(nums_mixers)
    ]  # fmt: skip
    return SearchSpace(name="tiny", image_size=64, num_classes=5, stem="conv_stem", stages=stages)


def band_of(space: SearchSpace, low: float, high: float) -> SamplingDomain:
    """The architectures between two sums of option indices, as shares of the greatest: a cost that every slot adds to."""
    most = sum(len(options) - 1 for options in space.slots.values())
    conditions = space.conditions

    def cost(choices: Choices) -> float:
        counts = (slot for slot in space.slots if slot not in conditions or choices[conditions[slot][0]] in conditions[slot][1])
        return sum(space.slots[slot].index(choices[slot]) for slot in counts) / most

    def excess(members: Sequence[Choices]) -> list[float]:
        return [max(low - cost(choices), cost(choices) - high) for choices in members]

    def sample(rng: random.Random) -> Architecture:
        for _ in range(10_000):
            choices = {slot: rng.choice(options) for slot, options in space.slots.items()}
            if excess([choices])[0] <= 0:
                return space.replay(choices)
        raise AssertionError("the band is too narrow to draw from")

    return SamplingDomain(space, sample, excess)


def counts_of(architectures: Sequence[Architecture], name: Callable[[object], str]) -> dict[tuple[int, int], Counter[str]]:
    """How often each block holds what `name` tells of its mixer."""
    counts: dict[tuple[int, int], Counter[str]] = {}
    for architecture in architectures:
        for i, stage in enumerate(architecture.stages):
            for j, block in enumerate(stage.blocks):
                counts.setdefault((i, j), Counter())[name(block.mixer)] += 1
    return counts


def unevenness(counts: Counter[str], offered: int) -> int:
    return max(counts.values()) - (min(counts.values()) if len(counts) == offered else 0)


@pytest.mark.parametrize("name", STRATEGIES)
@pytest.mark.parametrize("domain", [whole_space(space_of(3, 4)), band_of(space_of(3, 4), 0.3, 0.5)], ids=["space", "band"])
@settings(max_examples=8)
@given(step=st.integers(0, 10_000), seed=st.integers(0, 100))
def test_paths_depend_on_seed_and_step_alone_and_are_in_the_domain(name: str, domain: SamplingDomain, step: int, seed: int) -> None:
    first, second = strategy(name).paths(domain, seed), strategy(name).paths(domain, seed)
    for earlier in range(step - 1, step - 3, -1):
        first(abs(earlier))
    trained = first(step)
    assert list(trained) == list(second(step))
    assert len(trained) == strategy(name).num_paths(domain.space)
    assert all(domain.space.contains(architecture) for architecture in trained)
    if domain.excess is not None:
        assert max(domain.excess([domain.space.parameters_of(architecture) for architecture in trained])) <= 0
    assert any(list(first(step)) != list(first(step + more)) for more in (1, 2, 3))


@settings(max_examples=10)
@given(nums=st.sampled_from([(4, 4), (3, 4), (2, 3), (1, 3), (3,), (2, 3, 4)]), seed=st.integers(0, 100), steps=st.integers(1, 14))
def test_fair_steps_train_all_mixers_of_a_block_equally_often(nums: tuple[int, ...], seed: int, steps: int) -> None:
    space = space_of(*nums)
    paths = strategy("fair").paths(whole_space(space), seed)
    trained = [list(paths(step)) for step in range(steps)]
    for architectures in trained:
        assert len(architectures) == max(nums)
        assert len({tuple((stage.width, len(stage.blocks)) for stage in architecture.stages) for architecture in architectures}) == 1
    counts = counts_of([architecture for architectures in trained for architecture in architectures], lambda mixer: mixer.type)
    for (i, _), counted in counts.items():
        assert unevenness(counted, nums[i]) <= 1
        if nums[i] == max(nums):
            assert unevenness(counted, nums[i]) == 0


def test_options_of_a_mixer_alternate() -> None:
    paths = strategy("fair").paths(whole_space(space_of(4, 4)), 0)
    counts = counts_of([architecture for step in range(12) for architecture in paths(step)], lambda mixer: mixer.label)
    kernels = {label: count for label, count in counts[0, 0].items() if label.startswith("local_mhra")}
    assert kernels == {f"local_mhra(kernel_size={size})": 4 for size in (3, 5, 7)}


@pytest.mark.parametrize(("low", "high"), [(0.35, 0.45), (0.45, 0.5)])
def test_fair_steps_are_fair_in_a_wide_enough_band(low: float, high: float) -> None:
    space = space_of(4, 4)
    paths = strategy("fair").paths(band_of(space, low, high), 1)
    counts = counts_of([architecture for step in range(6) for architecture in paths(step)], lambda mixer: mixer.type)
    assert {unevenness(counted, 4) for counted in counts.values()} == {0}


def test_where_a_band_forbids_fair_steps_all_paths_are_still_in_the_band() -> None:
    space = space_of(4, 4)
    domain = band_of(space, 0.0, 0.12)
    paths = strategy("fair").paths(domain, 1)
    trained = [architecture for step in range(4) for architecture in paths(step)]
    assert domain.excess is not None
    assert max(domain.excess([space.parameters_of(architecture) for architecture in trained])) <= 0
    counts = counts_of(trained, lambda mixer: mixer.type)
    assert any(unevenness(counted, 4) for counted in counts.values())


def test_the_sandwich_is_the_largest_the_smallest_and_random_ones() -> None:
    space = space_of(4, 4)
    for step in range(4):
        largest, smallest, *others = strategy("sandwich").paths(whole_space(space), 0)(step)
        assert [(stage.width, len(stage.blocks)) for stage in largest.stages] == [(64, 3)] * 2
        assert [(stage.width, len(stage.blocks)) for stage in smallest.stages] == [(32, 1)] * 2
        assert len(others) == 2
    assert strategy("sandwich").distils


def test_an_unknown_strategy_is_refused() -> None:
    with pytest.raises(PathsError, match=r"paths: got 'magic', expected one of uniform, fair, sandwich"):
        strategy("magic")
