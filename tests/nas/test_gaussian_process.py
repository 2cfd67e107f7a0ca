"""A Gaussian process that is extended by believed values equals one that is fitted to all of them."""

import numpy as np
import pytest

from nas.samplers.gaussian_process import CholeskyFactor, Features, GaussianProcess, Kernel
from proxies.band.additive_cost import Rows
from space.files import load_space


@pytest.mark.parametrize("num_more", [1, 5])
def test_a_process_that_believes_equals_one_made_of_all_values(num_more: int) -> None:
    rows = Rows(load_space("hybrid-32"))
    rng = np.random.default_rng(0)
    members = rows.canonical(rng.integers(rows.sizes, size=(60, len(rows.names))))
    features, kernel = Features(rows), Kernel()
    observed, more, others = members[:40], members[40 : 40 + num_more], members[50:]
    values = rng.normal(size=len(observed))
    process = GaussianProcess(CholeskyFactor.of(features(observed), kernel), values)
    assert process.fitted == pytest.approx(process.predict(features(observed))[0], abs=1e-4)
    believed = np.concatenate((values, process.predict(features(more))[0]))
    both = CholeskyFactor.of(features(observed), kernel).extended(features(more))
    whole = GaussianProcess(CholeskyFactor.of(features(members[: 40 + num_more]), kernel), believed)
    extended = GaussianProcess(both, values)
    for one in (extended, GaussianProcess(both, believed)):
        for ours, expected in zip(one.predict(features(others)), whole.predict(features(others)), strict=True):
            assert ours == pytest.approx(expected, abs=1e-4)
    assert extended.fitted == pytest.approx(process.fitted)
    assert (extended.predict(features(more))[1] < process.predict(features(more))[1]).all()
    assert process.predict(features(observed))[0] == pytest.approx(process.fitted, abs=1e-4)
