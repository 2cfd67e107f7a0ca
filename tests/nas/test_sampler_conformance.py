"""All our samplers pass the conformance tests that Optuna ships.

`SingleOnlySamplerTestCase` does not apply: our samplers serve several objectives. The parameters in Optuna's tests are not slots of the
samplers' space, so the samplers draw them at random. Beside them every trial gets values of the sampler's own slots; each test checks
that these are members of the band. The one test with categorical parameters only also runs over a space of these.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from optuna import Study
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.testing.pytest_samplers import BasicSamplerTestCase, MultiObjectiveSamplerTestCase, RelativeSamplerTestCase
from optuna.trial import FrozenTrial

from experiments.benchmarks.sampler_problems import Space, mini_problem
from nas.samplers.by_name import make_sampler, sampler_names
from nas.samplers.in_band import InBandSampler
from proxies.band.additive_cost import Term
from proxies.band.enumerated import ListedBand
from proxies.cost import Budget

MINI = mini_problem(0, ("macs", "latency"))
BANDS = {
    "of other slots": ListedBand(MINI.space, MINI.cost, MINI.budget),
    # And of a further one: Optuna starts more trials than x and y have members.
    "of the same slots": ListedBand(
        Space("xy", {"x": (1, 10, 100), "y": (-1, -10, -100), "z": (0, 1, 2)}, {}, ()),
        (Term(("x",), {"macs": np.array([1, 2, 3])}), Term(("y",), {"macs": np.array([1, 2, 3])})),
        Budget({"macs": 5}, floor=0.0),
    ),
}


class TestAnySampler(BasicSamplerTestCase, RelativeSamplerTestCase, MultiObjectiveSamplerTestCase):
    @pytest.fixture(params=sampler_names())
    def sampler(self, request: pytest.FixtureRequest) -> Callable[[], BaseSampler]:
        return lambda: checked(make_sampler(request.param, BANDS["of other slots"], 0))


def checked(sampler: InBandSampler) -> BaseSampler:
    """The sampler, which now fails where the values of its own slots are not those of a member of the band."""
    sample = sampler.sample_relative

    def sample_relative(study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]) -> dict[str, Any]:
        values = sample(study, trial, search_space)
        assert values.keys() == search_space.keys()
        if search_space.keys() == sampler.band.space.slots.keys():
            assert sampler.band.admits(sampler.band.rows.row(values)[None]).all()
        return values

    sampler.sample_relative = sample_relative  # type: ignore[method-assign]
    return sampler


class TestSamplerOfTheVerySlots:
    @pytest.fixture(params=sampler_names())
    def sampler(self, request: pytest.FixtureRequest) -> Callable[[], BaseSampler]:
        return lambda: make_sampler(request.param, BANDS["of the same slots"], 0)

    test_sample_relative_categorical = RelativeSamplerTestCase.test_sample_relative_categorical
