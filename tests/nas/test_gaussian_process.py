"""A Gaussian process that grows by believed values is the one of all of them, and knows its own means."""

import numpy as np
import pytest

from nas.samplers.gaussian_process import Features, GaussianProcess, Kernel, Known
from proxies.band.additive_cost import Rows
from space.files import load_space


@pytest.mark.parametrize("num_more", [1, 5])
def test_a_process_that_believes_equals_one_made_of_all_values(num_more: int) -> None:
    rows = Rows(load_space("hybrid-32"))
    numbers = np.random.default_rng(0)
    members = rows.canonical(numbers.integers(rows.sizes, size=(60, len(rows.names))))
    features, kernel = Features(rows), Kernel()
    known, more, others = members[:40], members[40 : 40 + num_more], members[50:]
    values = numbers.normal(size=len(known))
    process = GaussianProcess(Known(features(known), kernel), values)
    assert process.expected == pytest.approx(process.predict(features(known))[0], abs=1e-4)
    believed = np.concatenate((values, process.predict(features(more))[0]))
    both = Known(features(known), kernel).beside(features(more))
    whole = GaussianProcess(Known(features(members[: 40 + num_more]), kernel), believed)
    grown = GaussianProcess(both, values)
    for one in (grown, GaussianProcess(both, believed)):
        for ours, expected in zip(one.predict(features(others)), whole.predict(features(others)), strict=True):
            assert ours == pytest.approx(expected, abs=1e-4)
    assert grown.expected == pytest.approx(process.expected)
    assert (grown.predict(features(more))[1] < process.predict(features(more))[1]).all()
    assert process.predict(features(known))[0] == pytest.approx(process.expected, abs=1e-4)
