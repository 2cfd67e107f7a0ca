"""A Gaussian process that grows by believed values is the one of all of them, and knows its own means."""

import numpy as np
import pytest

from nas.samplers.gaussian_process import Features, GaussianProcess, Kernel
from proxies.terms import Rows
from space.files import load_space


@pytest.mark.parametrize("num_more", [1, 5])
def test_a_process_that_believes_equals_one_made_of_all_values(num_more: int) -> None:
    rows = Rows(load_space("hybrid-32"))
    numbers = np.random.default_rng(0)
    members = rows.canonical(numbers.integers(rows.sizes, size=(60, len(rows.names))))
    features, kernel = Features(rows), Kernel()
    known, more, others = members[:40], members[40 : 40 + num_more], members[50:]
    values = numbers.normal(size=len(known))
    process = GaussianProcess(features(known), values, kernel)
    assert process.expected == pytest.approx(process.predict(features(known))[0], abs=1e-4)
    believed = np.concatenate((values, process.predict(features(more))[0]))
    grown, whole = process.believing(features(more)), GaussianProcess(features(members[: 40 + num_more]), believed, kernel)
    for one, other in zip(grown.predict(features(others)), whole.predict(features(others)), strict=True):
        assert one == pytest.approx(other, abs=1e-4)
    assert (grown.predict(features(more))[1] < process.predict(features(more))[1]).all()
    assert process.predict(features(known))[0] == pytest.approx(process.expected, abs=1e-4)
