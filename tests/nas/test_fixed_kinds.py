"""At which option a kind of choice is fixed."""

from __future__ import annotations

import itertools
import random

import pytest

from nas.compare.fixed_kinds import fixed_kinds
from nas.study.record import Result
from proxies.macs import cost_of
from space.files import load_space
from space.narrowing import Narrowing, narrowed
from supernet.score import Score

SPACE = load_space("hybrid-32")


def results(prefer: dict[str, str | int], count: int = 30) -> list[Result]:
    """Trials of random members that score one nat more for each active slot which holds its preferred option."""
    rng, found = random.Random(0), []
    for number in range(count):
        architecture = SPACE.sample(rng)
        cost = cost_of(architecture)
        parameters = SPACE.parameters_of(architecture)
        active = {
            name: option for name, option in parameters.items()
            if name not in SPACE.conditions or parameters[SPACE.conditions[name][0]] in SPACE.conditions[name][1]
        }  # fmt: skip
        score = sum(active[name] == option for name, option in prefer.items() if name in active)
        costs = {"macs": cost.macs, "params": cost.params}
        found.append(Result(number, number, active, architecture, costs, "random", Score.of_number(float(score)), 1.0))
    return found


def first(kind: str, found: list[Result]) -> tuple[Narrowing, ...]:
    return next(fixed_kinds(SPACE, found)[kind])


def test_a_kind_is_fixed_for_all_stages_where_they_share_an_option_and_by_stage_where_not() -> None:
    mixers = dict.fromkeys((slot for slot in SPACE.slots if slot.endswith(".mixer")), "window(window_size=4, head_dim=16)")
    assert [str(one) for one in first("mixer", results(mixers))] == ["mixer=window(window_size=4, head_dim=16)"]
    found = results({"stage1.width": 48, "stage2.width": 128, "stage3.width": 128})
    assert [str(one) for one in first("width", found)][::2] == ["stage1.width=48", "stage3.width=128"]
    assert fixed_kinds(SPACE, found).keys() == {"width", "depth", "position", "mixer", "ffn"}


@pytest.mark.parametrize("kind", ["width", "depth", "position", "mixer", "ffn"])
def test_what_fixes_a_kind_leaves_one_option_for_every_slot_of_it(kind: str) -> None:
    ways = list(itertools.islice(fixed_kinds(SPACE, results({}))[kind], 5))
    assert len(set(ways)) == len(ways)
    for fixed in ways:
        part = narrowed(SPACE, fixed)
        assert {len(options) for slot, options in part.slots.items() if slot.rpartition(".")[2] == kind} == {1}
