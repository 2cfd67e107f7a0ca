"""What a comparison concludes from test figures."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from nas.compare.bootstrap import Estimate, estimated, lead, relative_improvement
from nas.compare.comparison import Contender, ContenderResult
from nas.compare.conclusions import conclusions_of, is_crippled
from nas.compare.figures import Figures
from nas.compare.leads import leads_of
from nas.runs.records.role import Role
from space.architecture import Architecture
from space.files import load_architecture, load_space

SPACE = load_space("hybrid-32")


def holding(*mixers: str) -> Architecture:
    """A member of the space that holds mixers in turn."""
    labels = iter(mixers * 20)

    def choose(name: str, options: tuple[str | int, ...]) -> str | int:
        wanted = next(labels) if name.endswith("mixer") else None
        return next((one for one in options if str(one).partition("(")[0] == wanted), options[-1])

    return SPACE.decide(choose)


MIXED, SSA, WINDOW = holding("ssa", "window"), holding("ssa"), holding("window")
TOPFORMER = load_architecture("topformer-t").replace(image_size=32, num_classes=10)


def result(label: str, architecture: Architecture, role: Role, *by_seed: float) -> ContenderResult:
    return ContenderResult(Contender(label, architecture, role), by_seed, 1000)


def figures(winner: ContenderResult, *others: ContenderResult, crippled: frozenset[str] = frozenset()) -> Figures:
    homogeneous = [one for one in others if one.contender.role is Role.HOMOGENEOUS]
    return Figures(winner, [winner], homogeneous, [winner, *others], crippled)


WINNER = result("found", MIXED, Role.WINNER, 0.50, 0.51, 0.52)


@given(
    st.lists(st.tuples(st.floats(0.1, 0.9), st.floats(0.1, 0.9)), min_size=2, max_size=6).filter(
        lambda pairs: np.std([a - b for a, b in pairs]) > 1e-3
    )
)
@settings(deadline=None, max_examples=20)
def test_two_networks_have_the_interval_of_their_paired_differences(pairs: list[tuple[float, float]]) -> None:
    ours, theirs = np.array(pairs).T
    found = estimated(lead, (ours[None], theirs[None]))
    expected = stats.ttest_rel(ours, theirs).confidence_interval(0.95)
    assert found.interval is not None
    width = expected.high - expected.low
    assert found.value == pytest.approx((expected.low + expected.high) / 2)
    # A bootstrap of 2,000 draws.
    assert found.interval[1] - found.interval[0] == pytest.approx(width, rel=0.15)


def test_networks_and_seeds_both_widen_an_interval() -> None:
    winner = np.array([[0.5, 0.5, 0.5]])
    alike, apart = np.full((8, 3), 0.4), np.linspace(0.3, 0.5, 8)[:, None] + np.zeros(3)
    assert estimated(lead, (winner, alike)) == Estimate(pytest.approx(0.1), (pytest.approx(0.1), pytest.approx(0.1)))
    of_networks = estimated(lead, (winner, apart)).interval
    assert of_networks is not None
    half = stats.t.ppf(0.975, 7) * np.std(apart[:, 0], ddof=1) / 8**0.5
    assert of_networks == pytest.approx((0.1 - half, 0.1 + half), rel=0.15)
    of_both = estimated(lead, (np.array([[0.48, 0.5, 0.52]]), apart)).interval
    assert of_both is not None
    assert of_both[1] - of_both[0] > of_networks[1] - of_networks[0]


@pytest.mark.parametrize(("networks", "others"), [(1, 1), (3, 1), (1, 8)])
def test_one_seed_of_a_lone_network_has_no_interval(networks: int, others: int) -> None:
    ours, theirs = (np.linspace(0.4, 0.6, count)[:, None] for count in (networks, others))
    assert estimated(lead, (ours, theirs)).interval is None


@pytest.mark.parametrize(("networks", "others", "seeds"), [(1, 1, 3), (1, 8, 3), (3, 8, 3), (3, 1, 3), (3, 8, 1)])
def test_an_interval_holds_the_true_difference_about_as_often_as_it_says(networks: int, others: int, seeds: int) -> None:
    rng, held, times = np.random.default_rng(0), 0, 60
    for _ in range(times):
        of_seeds = rng.normal(0, 0.5, seeds)
        ours, theirs = (
            rng.normal(0, spread * (count > 1), (count, 1)) + of_seeds + rng.normal(0, 1, (count, seeds))
            for count, spread in ((networks, 1), (others, 3))
        )
        found = estimated(lead, (ours, theirs)).interval
        assert found is not None
        held += found[0] <= 0 <= found[1]
    # Of 60 times 95 %, 52 or less come once in 120 such tests.
    assert held / times >= 53 / 60


def test_the_relative_improvement_is_that_of_means() -> None:
    assert relative_improvement((np.array([[0.5, 0.7]]), np.array([[0.4, 0.4], [0.6, 0.6]]))) == pytest.approx(0.2)
    drawn = [result(f"random {i}", SSA, Role.RANDOM, *(0.40 + i / 100 + noise for noise in (0, 0.01, 0.02))) for i in range(4)]
    (sentence,) = [one for one in conclusions_of(figures(WINNER, *drawn)) if "Relative" in one]
    assert sentence.startswith("Relative improvement of the winner over the average of 4 random networks, 42.5 %: +20.0 [")


@pytest.mark.parametrize(
    ("single", "verdict"),
    [
        ((0.40, 0.41, 0.42), "Mixing pays here: the winner leads only ssa"),
        ((0.60, 0.61, 0.62), "Mixing does not pay here: the winner is behind only ssa"),
        ((0.52, 0.51, 0.50), "Mixing shows no gain here: the winner and only ssa"),
    ],
)
def test_the_verdict_on_mixing_is_that_over_the_best_single_mixer(single: tuple[float, ...], verdict: str) -> None:
    worse = result("only window", WINDOW, Role.HOMOGENEOUS, 0.3, 0.3, 0.3)
    best = result("only ssa", SSA, Role.HOMOGENEOUS, *single)
    assert any(one.startswith(verdict) for one in conclusions_of(figures(WINNER, worse, best)))


def test_one_seed_tells_nothing_of_mixing_and_a_winner_of_one_mixer_is_named() -> None:
    single = result("only window", WINDOW, Role.HOMOGENEOUS, 0.3)
    winner, other = result("found", SSA, Role.WINNER, 0.5), result("found, seed 1", MIXED, Role.WINNER, 0.51)
    for one in (figures(winner, single), replace(figures(winner, single), winners=[winner, other])):
        said = conclusions_of(one)
        assert any(sentence.startswith("Whether mixing pays is unknown") for sentence in said)
        assert any("itself holds one mixer, ssa" in sentence for sentence in said)


def test_one_seed_does_not_tell_whether_published_networks_are_beaten() -> None:
    parents = [result("davit-t", WINDOW, Role.PARENT, 0.2), result("shunted-t", SSA, Role.PARENT, 0.6)]
    said = conclusions_of(figures(result("found", MIXED, Role.WINNER, 0.5), *parents))
    assert said == (
        "Whether the winner leads published networks is unknown, since one seed shows no spread: davit-t +30.0, shunted-t -10.0 points.",
    )


def test_several_searches_count_with_their_mean_and_their_spread() -> None:
    other = result("found, seed 1", WINDOW, Role.WINNER, 0.30, 0.31, 0.32)
    single = result("only ssa", SSA, Role.HOMOGENEOUS, 0.39, 0.40, 0.41)
    several = replace(figures(WINNER, single), winners=[WINNER, other])
    (sentence,) = [one for one in conclusions_of(several) if "no gain" in one]
    assert "the mean of the winners of 2 searches" in sentence
    assert "(+1.0 [" in sentence
    assert not any("--search-seeds" in one for one in conclusions_of(several))
    assert any("--search-seeds" in one for one in conclusions_of(figures(WINNER, single)))


def test_the_leads_answer_each_question_kind_by_kind_and_leave_out_who_is_not_counted() -> None:
    other = result("found, seed 1", WINDOW, Role.WINNER, 0.52, 0.53, 0.54)
    drawn = [result(f"random {i}", SSA, Role.RANDOM, *(0.40 + i / 100 + noise for noise in (0, 0.01, 0.02))) for i in range(4)]
    worse = result("only window", WINDOW, Role.HOMOGENEOUS, 0.3, 0.3, 0.3)
    best = result("only ssa", SSA, Role.HOMOGENEOUS, 0.5, 0.5, 0.5)
    fixed = result("depth fixed at 1", MIXED, Role.FIXED, 0.51, 0.52, 0.53)
    parent, lone = result("davit-t", WINDOW, Role.PARENT, 0.2, 0.2, 0.2), result("even random 1", SSA, Role.EVEN_RANDOM, 0.4, 0.4, 0.4)
    pixel = result("topformer-t", TOPFORMER, Role.PARENT, 0.1, 0.1, 0.1)
    all_of_them = figures(WINNER, worse, best, *drawn, lone, parent, pixel, crippled=frozenset({TOPFORMER.fingerprint}))
    several = replace(all_of_them, winners=[WINNER, other], fixed={"depth": fixed})
    found = {one.label: one.value for one in leads_of(several)}
    assert list(found) == ["only ssa", "only window", "4 random networks", "even random 1", "depth fixed at 1", "davit-t"]
    assert found == pytest.approx(
        {"only ssa": 0.02, "only window": 0.22, "4 random networks": 0.095, "even random 1": 0.12, "depth fixed at 1": 0.0, "davit-t": 0.32}
    )
    assert not leads_of(figures(parent, WINNER))


def test_a_network_without_a_map_to_mix_is_not_counted_as_beaten() -> None:
    assert is_crippled(TOPFORMER, 32)
    assert not is_crippled(TOPFORMER, 224)
    assert not is_crippled(load_architecture("davit-t"), 32)
    assert not is_crippled(MIXED, 32)
    parent = result("topformer-t", TOPFORMER, Role.PARENT, 0.30, 0.31, 0.32)
    assert "The winner leads topformer-t." in conclusions_of(figures(WINNER, parent))
    said = conclusions_of(figures(WINNER, parent, crippled=frozenset({TOPFORMER.fingerprint})))
    assert any(one.startswith("Not counted: topformer-t") for one in said)
    assert not any("leads topformer-t" in one for one in said)
