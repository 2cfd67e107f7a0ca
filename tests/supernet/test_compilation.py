"""Compiling what trains alone: the same numbers, or one line and the network as it is."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from functorch.compile import make_boxed_func
from torch import Tensor, nn
from torch._dynamo.backends.common import aot_autograd

from space.files import load_space
from space.network import build_network
from supernet.seeding import seeded
from supernet.training import compilation
from supernet.training.compilation import compiled
from supernet.training.distributed import own_device
from supernet.training.loop import train_network
from tests.supernet.test_training_loop import EVERYTHING, batches, same, state, stop_at

Backend = Callable[..., Callable[..., Any]]
CONFIG = replace(EVERYTHING, optimizer="sgd")
"""Adam would make steps of full length of gradients that are nothing but rounding."""


def traced(graph: torch.fx.GraphModule, inputs: list[Tensor], **options: object) -> Callable[..., Any]:
    """A compiler that computes what it is given, backward as well."""
    return aot_autograd(fw_compiler=lambda graph, _: make_boxed_func(graph.forward))(graph, inputs)


def broken(graph: torch.fx.GraphModule, inputs: list[Tensor], **options: object) -> Callable[..., Any]:
    raise OSError("no\ncompiler")


def broken_backward(graph: torch.fx.GraphModule, inputs: list[Tensor], **options: object) -> Callable[..., Any]:
    def fail(graph: torch.fx.GraphModule, _: list[Tensor]) -> Callable[..., Any]:
        raise OSError("no compiler")

    return aot_autograd(fw_compiler=lambda graph, _: make_boxed_func(graph.forward), bw_compiler=fail)(graph, inputs)


def wrong(graph: torch.fx.GraphModule, inputs: list[Tensor], **options: object) -> Callable[..., Any]:
    return lambda *values: [2 * output for output in graph(*values)]


@pytest.fixture
def use(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Backend | str], list[None]]]:
    """Choose the compiler, for trainings of any length; the list grows by one whenever it is called."""

    def choose(backend: Backend | str) -> list[None]:
        calls: list[None] = []

        def counted(*arguments: Any, **options: Any) -> Callable[..., Any]:
            calls.append(None)
            assert callable(backend)
            return backend(*arguments, **options)

        monkeypatch.setattr(compilation, "MIN_STEPS", {own_device().type: CONFIG.steps})
        monkeypatch.setattr(compilation, "BACKEND", backend if isinstance(backend, str) else counted)
        return calls

    yield choose
    torch.compiler.reset()


def trained(num_steps: int = CONFIG.steps, may_compile: bool = True, **options: Any) -> nn.Module:
    """A network with stochastic depth after a training; `num_steps` are announced."""
    with seeded("network"):
        network = build_network(load_space("hybrid-32").smallest(), drop_path_rate=0.5)
    with compiled(network, num_steps, may_compile=may_compile) as run:
        train_network(network, lambda _, images: run(images), batches(), CONFIG, **options)
    return network


def assert_close(one: nn.Module, other: nn.Module) -> None:
    """Assert that two trainings with the same random numbers differ by rounding at most, and names not at all."""
    left, right = state(one), state(other)
    assert list(left) == list(right)
    for name, tensor in left.items():
        torch.testing.assert_close(tensor, right[name], rtol=1e-3, atol=1e-4, msg=name)


def test_a_compiled_network_trains_as_it_does_otherwise(use: Callable[[Backend], list[None]]) -> None:
    calls = use(traced)
    assert_close(trained(), trained(may_compile=False))
    # For one shape, once.
    assert len(calls) == 1


@pytest.mark.soak
@pytest.mark.timeout(1800)
@pytest.mark.skipif(shutil.which(os.environ.get("CXX", "g++")) is None, reason="torch.compile needs a C++ compiler")
def test_torchs_own_compiler_trains_as_without_it(use: Callable[[str], list[None]], capsys: pytest.CaptureFixture[str]) -> None:
    use("inductor")
    assert_close(trained(), trained(may_compile=False))
    assert "compile:" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("backend", "problem"),
    [
        (broken, r"torch.compile failed \(.*no compiler.*\)"),
        (broken_backward, r"torch.compile failed \(.*no compiler.*\)"),
        (wrong, "torch.compile computed other numbers"),
    ],
)
def test_a_compiler_that_fails_costs_one_line(
    use: Callable[[Backend], list[None]], capsys: pytest.CaptureFixture[str], backend: Backend, problem: str
) -> None:
    use(backend)
    network = trained()
    (line,) = capsys.readouterr().err.splitlines()
    assert re.fullmatch(f"compile: {problem}; the network is trained without", line)
    assert same(state(network), state(trained(may_compile=False)))


def test_nothing_is_compiled_where_the_user_forbids_it_or_the_training_is_short(use: Callable[[Backend], list[None]]) -> None:
    calls = use(traced)
    assert same(state(trained(may_compile=False)), state(trained(num_steps=CONFIG.steps - 1)))
    assert not calls


@pytest.mark.usefixtures("saving_every_step")
@pytest.mark.parametrize("first", [True, False], ids=["compiled first", "compiled then"])
def test_a_training_continues_with_the_other_setting(use: Callable[[Backend], list[None]], tmp_path: Path, first: bool) -> None:
    calls = use(traced)
    file = tmp_path / "checkpoint"
    with pytest.raises(KeyboardInterrupt):
        trained(may_compile=first, checkpoint=file, on_step=stop_at(3))
    assert_close(trained(may_compile=not first, checkpoint=file), trained(may_compile=False))
    assert len(calls) == 1
