"""Rank correlations, their intervals and ceilings, and biases, on rankings whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from nas.audit.correlation import advantage, mean_ranks, perfect_predictor, rank_correlation, rho, spread_of, tau
from nas.audit.operator_bias import Bias, biases, by_operator, corrections, leave_one_out
from nas.evaluators.bias_correction import corrected

rankings = st.lists(st.floats(-100, 100), min_size=4, max_size=12, unique=True)


@given(rankings)
def test_order_is_all_that_counts(truth: list[float]) -> None:
    assert rank_correlation(np.argsort(np.argsort(truth)).astype(float).tolist(), truth).tau == pytest.approx(1)
    against = rank_correlation([-value for value in truth], truth)
    assert (against.tau, against.rho) == (pytest.approx(-1), pytest.approx(-1))
    assert against.count == len(truth)


@given(rankings, st.integers(0, 5))
def test_an_interval_is_one(truth: list[float], seed: int) -> None:
    scores = np.random.default_rng(seed).normal(size=len(truth)).tolist()
    found = rank_correlation(scores, truth)
    for interval in (found.tau_interval, found.rho_interval):
        assert -1 <= interval[0] <= interval[1] <= 1
    assert rank_correlation(scores, truth) == found


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=3, max_size=12))
def test_correlations_are_scipys(pairs: list[tuple[int, int]]) -> None:
    x, y = np.array(pairs, float).T
    if np.ptp(x) and np.ptp(y):
        assert tau(x, y) == pytest.approx(stats.kendalltau(x, y).statistic)
        assert rho(x, y) == pytest.approx(stats.spearmanr(x, y).statistic)


def test_what_is_constant_ranks_nothing() -> None:
    assert rank_correlation([1.0] * 5, [1.0, 2.0, 3.0, 4.0, 5.0]).tau == 0


def test_intervals_hold_what_they_should() -> None:
    # Of rankings that have nothing to do with each other, about one in twenty intervals leaves zero out.
    rng = np.random.default_rng(0)
    missed = 0
    for seed in range(40):
        found = rank_correlation(rng.normal(size=16).tolist(), rng.normal(size=16).tolist(), seed)
        missed += not found.tau_interval[0] <= 0 <= found.tau_interval[1]
    assert missed <= 6


def test_an_advantage_is_paired() -> None:
    rng = np.random.default_rng(1)
    truth = rng.normal(size=30)
    good, poor = truth + rng.normal(0, 0.2, 30), rng.normal(size=30)
    gain, (low, _) = advantage(good.tolist(), poor.tolist(), truth.tolist())
    assert gain > low > 0
    assert advantage(good.tolist(), good.tolist(), truth.tolist()) == (0, (0, 0))


def test_noise_between_seeds_sets_the_ceiling() -> None:
    rng = np.random.default_rng(2)
    expected = rng.normal(size=40)
    ceilings = [perfect_predictor(expected + rng.normal(0, noise, (2, 40)))[0] for noise in (0.01, 0.5, 2.0)]
    assert ceilings[0] > 0.95 > ceilings[1] > ceilings[2]
    # What perfect knowledge really reaches, for a truth that is the mean of two seeds.
    truths = expected + rng.normal(0, 0.5, (200, 2, 40)).mean(axis=1)
    real = np.mean([rank_correlation(expected.tolist(), truth.tolist()).tau for truth in truths[:5]])
    assert ceilings[1] == pytest.approx(real, abs=0.15)


def test_spread_and_noise_are_told_apart() -> None:
    rng = np.random.default_rng(5)
    truth = rng.normal(0, 0.5, 400) + rng.normal(0, 0.2, (3, 400))
    found = spread_of(truth)
    assert found.architectures == pytest.approx(0.5, rel=0.1)
    assert found.seeds == pytest.approx(0.2, rel=0.1)
    assert spread_of(rng.normal(0, 0.2, (2, 40)) - 3).architectures < 0.1


def test_a_bias_is_found_where_it_was_planted() -> None:
    rng = np.random.default_rng(3)
    truth = rng.normal(size=60)
    shares = [{"ssa": share, "window": 1 - share} for share in rng.uniform(size=60)]
    scores = [value + 4 * share["ssa"] for value, share in zip(truth, shares, strict=True)]
    found = biases(scores, truth.tolist(), shares)
    assert list(found) == ["ssa", "window"]
    assert found["ssa"].mean > 2 * found["ssa"].stderr
    assert found["window"].mean < 0
    assert found["ssa"].count == 60
    assert all(abs(bias.mean) < 1e-9 for bias in biases(truth.tolist(), truth.tolist(), shares).values())


def test_subtracting_a_planted_bias_ranks_better() -> None:
    rng = np.random.default_rng(4)
    truth = rng.normal(size=60)
    # Blocks of one architecture hold one operator, so that its bias is all there is between the two.
    shares = [{"ssa": 1.0} if i % 2 else {"window": 1.0} for i in range(60)]
    scores = truth + np.array([2.0 * ("ssa" in share) for share in shares])
    better = leave_one_out(scores, truth, shares)
    assert advantage(better, scores, truth)[1][0] > 0.1
    of_operators = corrections(scores, biases(scores, truth, shares))
    assert of_operators["ssa"] > 0 > of_operators["window"]
    assert corrected(1.0, {"ssa": 0.25, "none": 0.75}, of_operators) == pytest.approx(1 - 0.25 * of_operators["ssa"])


def test_updates_of_an_operator_are_those_of_all_its_options_and_places() -> None:
    first, second = {"ssa(sr_ratio=4)": 3, "ssa(sr_ratio=2)": 2, "window": 1}, {"window": 4}
    assert by_operator({"stages.0.blocks.0.mixer": first, "stages.1.blocks.0.mixer": second}) == {"ssa": 5, "window": 5}


def test_what_may_be_chance_is_not_subtracted() -> None:
    assert Bias(0.3, 0.4, 10).shrunk == 0
    assert Bias(-0.4, 0.2, 10).shrunk == pytest.approx(-0.3)
    assert Bias(2.0, 0.0, 2).shrunk == 0
    assert not corrections([1.0, 2.0, 3.0], {"ssa": Bias(0.3, 0.4, 10)})


def test_ranks_are_averaged() -> None:
    assert mean_ranks([1, 2, 3], [30, 10, 20]) == [2, 1.5, 2.5]
