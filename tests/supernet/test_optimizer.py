"""Optimizers and learning rates are what a configuration says."""

import pytest
from torch import nn

from supernet.training.config import TrainConfig, make_optimizer
from tests.supernet.test_training_loop import make_network, run


def test_a_learning_rate_in_stairs() -> None:
    config = TrainConfig(7, lr=0.01, warmup_steps=2, schedule="step", decay_steps=2, decay_rate=0.5, precision="fp32")
    rates: list[float] = []
    run(make_network(), config, on_step=lambda one: rates.append(one.lr))
    assert rates[2:] == pytest.approx([0.005, 0.005, 0.0025, 0.0025, 0.00125])
    assert rates[0] < rates[1] < 0.01


def test_the_epsilon_of_an_optimizer() -> None:
    for optimizer in ("adamw", "rmsproptf"):
        made = make_optimizer(nn.Linear(2, 2), TrainConfig(1, optimizer=optimizer, optimizer_eps=0.25))
        assert {group["eps"] for group in made.param_groups} == {0.25}
