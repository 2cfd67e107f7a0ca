"""The arithmetic between measured parts and predicted networks, on made-up measurements."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxies.latency.fit import Sample, errors, fit, left_out, margin

positive = st.floats(1e-3, 1e3)


def made(rng: np.random.Generator, count: int, constant: float, scale: float, step: float, noise: float = 0.0) -> list[Sample]:
    """Networks that take what these coefficients say, but for a relative noise."""
    samples = []
    for parts_ns, num_parts in zip(rng.integers(10**6, 10**8, count).tolist(), rng.integers(8, 60, count).tolist(), strict=True):
        exact = constant + scale * parts_ns + step * num_parts
        samples.append(Sample(parts_ns, num_parts, max(round(exact * np.exp(noise * rng.normal())), 1)))
    return samples


@given(st.floats(0, 1e6), st.floats(0.5, 2), st.floats(0, 1e5), st.integers(0, 999))
def test_networks_that_are_sums_of_their_parts_are_predicted_exactly(constant: float, scale: float, step: float, seed: int) -> None:
    samples = made(np.random.default_rng(seed), 12, constant, scale, step)
    predicted, measured = left_out(samples), np.array([sample.network_ns for sample in samples], dtype=float)
    np.testing.assert_allclose(predicted, measured, rtol=1e-4)
    assert margin(predicted, measured, 0.95) == pytest.approx(1, abs=1e-4)
    assert errors(predicted, measured).within_tenth == 1


@given(st.lists(st.tuples(st.integers(0, 10**9), st.integers(1, 99), st.integers(1, 10**9)), min_size=4, max_size=12))
def test_no_choice_makes_a_network_quicker_than_nothing(rows: list[tuple[int, int, int]]) -> None:
    fitted = fit([Sample(*row) for row in rows])
    assert min(fitted.constant, fitted.scale, fitted.step) >= 0


@given(st.lists(st.tuples(positive, positive), min_size=3, max_size=20), positive)
def test_the_margin_grows_with_confidence_and_spread_but_not_with_the_unit(pairs: list[tuple[float, float]], unit: float) -> None:
    predicted, measured = np.array(pairs).T
    usual = margin(predicted, measured, 0.95)
    assert margin(predicted, measured, 0.5) <= usual <= margin(predicted, measured, 0.99)
    assert margin(predicted, measured, 0.95, spread=0.2) == pytest.approx(1.2 * usual)
    assert margin(predicted * unit, measured * unit, 0.95) == pytest.approx(usual)


@pytest.mark.parametrize("count", [8, 20])
@pytest.mark.parametrize("noise", [0.01, 0.1])
def test_of_networks_right_at_the_limit_enough_meet_it(count: int, noise: float) -> None:
    rng = np.random.default_rng(0)
    met = []
    for _ in range(100):
        samples = made(rng, count, 2e5, 1.1, 1e4, noise)
        bound = margin(left_out(samples), np.array([sample.network_ns for sample in samples], dtype=float), 0.95)
        fresh = made(rng, 50, 2e5, 1.1, 1e4, noise)
        fitted = fit(samples)
        met += [sample.network_ns <= fitted.of(sample) * bound for sample in fresh]
    assert np.mean(met) >= 0.945
