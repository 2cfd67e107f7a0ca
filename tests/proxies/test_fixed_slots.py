"""Members of a band that hold given options."""

from __future__ import annotations

import random

import pytest

from proxies.band.architecture_band import ArchitectureBand
from proxies.band.fixed_slots import draw_with
from proxies.cost import parse_budget
from space.files import load_space
from space.search_space import SearchSpace


@pytest.fixture(scope="module")
def space() -> SearchSpace:
    return load_space("hybrid-32")


def operators(parameters: dict[str, object]) -> dict[str, object]:
    return {name: option for name, option in parameters.items() if name.endswith((".mixer", ".ffn"))}


@pytest.mark.parametrize("budget", ["15MFLOPs", "15MFLOPs 0.3Mparams", "40MFLOPs 0.3MiB@act"])
def test_what_some_member_holds_is_found_and_what_is_drawn_is_a_member(space: SearchSpace, budget: str) -> None:
    band = ArchitectureBand(space, parse_budget(budget, 0.9))
    rng = random.Random(0)
    for _ in range(5):
        member = band.draw(rng)
        held = operators(space.parameters_of(member))
        drawn = draw_with(band, held, rng)
        assert drawn is not None
        assert band.contains(drawn)
        parameters = space.parameters_of(drawn)
        for name in active_slots(space, parameters) & held.keys():
            assert parameters[name] == held[name]


def active_slots(space: SearchSpace, parameters: dict[str, object]) -> set[str]:
    conditions = space.conditions
    return {name for name in space.slots if name not in conditions or parameters[conditions[name][0]] in conditions[name][1]}


def test_what_no_member_holds_is_not_drawn(space: SearchSpace) -> None:
    band = ArchitectureBand(space, parse_budget("15MFLOPs", 0.9))
    largest = {name: options[-1] for name, options in space.slots.items()}
    assert draw_with(band, largest, random.Random(0)) is None
