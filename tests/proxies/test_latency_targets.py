"""Measuring, for real, on what this machine has."""

import random
import shutil
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from proxies.latency import measure_architecture, open_table
from proxies.latency.backends import CudaClock, backend_of
from proxies.latency.measure import Effort
from proxies.target import Target, TargetError, parse_target
from space.network import build_network
from space.search_space import SearchSpace

SPACE = SearchSpace.model_validate({
    "name": "one-stage", "image_size": 32, "num_classes": 2,
    "stages": [{
        "widths": [8, 16], "depths": [1, 2], "mixers": [{"type": "local_mhra", "kernel_size": 3}, {"type": "global_mhra", "head_dim": 8}],
        "ffns": [{"type": "mlp", "ratio": 2}],
    }],
})  # fmt: skip
BRIEF = Effort(seconds=0, least_rounds=2)


@pytest.mark.parametrize("text", ["cpu", "ort"])
def test_a_table_is_measured_once_and_kept(tmp_path: Path, text: str) -> None:
    target, progress = parse_target(text), []
    table = open_table(SPACE, target, tmp_path, on_progress=lambda done, total: progress.append((done, total)), effort=BRIEF)
    again = open_table(SPACE, target, tmp_path, on_progress=lambda done, total: pytest.fail("measured again"))
    architecture = SPACE.sample(random.Random(0))
    assert again.predict(architecture) == table.predict(architecture) > 0
    assert progress[-1][0] == progress[-1][1]
    assert [done for done, _ in progress] == list(range(1, len(progress) + 1))
    assert [path.suffix for path in tmp_path.iterdir()] == [".json"]


@pytest.mark.parametrize("text", ["cpu", "cpu:2t:bs2", "cpu:bf16", "ort", "ort:2t"])
def test_an_architecture_is_measured(text: str) -> None:
    found = measure_architecture(SPACE.smallest(), parse_target(text), BRIEF)
    assert found.nanoseconds > 1000
    assert found.spread >= 0
    assert found.repeats >= 1


@pytest.mark.parametrize("text", ["cpu", "ort"])
def test_what_is_measured_is_the_network(text: str) -> None:
    images = torch.randn(1, 3, 32, 32)
    network = build_network(SPACE.largest()).fuse()
    torch.testing.assert_close(ran(text, network, images), network(images), rtol=1e-3, atol=1e-4)


@pytest.mark.soak
@pytest.mark.skipif(shutil.which("g++") is None, reason="no C++ compiler")
def test_what_is_compiled_computes_the_same() -> None:
    # Small: what a compiler needs for a network takes a test's time many times over.
    x, module = torch.randn(2, 4), nn.GELU()
    torch.testing.assert_close(ran("compile", module, x), module(x))


def ran(text: str, module: nn.Module, x: Tensor) -> Tensor:
    """What a module returns on a target."""
    backend = backend_of(parse_target(text))
    with backend.running():
        y = backend.prepared(module, x)(backend.value(x))
    return y if isinstance(y, Tensor) else torch.from_numpy(y.numpy())


def test_measuring_leaves_the_process_as_it_was() -> None:
    state, threads = torch.get_rng_state(), torch.get_num_threads()
    measure_architecture(SPACE.smallest(), Target(threads=threads + 1), BRIEF)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.get_num_threads() == threads
    assert torch.is_grad_enabled()
    assert not torch.is_inference_mode_enabled()


def test_a_failure_leaves_the_threads_as_they_were() -> None:
    threads = torch.get_num_threads()
    with pytest.raises(RuntimeError), backend_of(Target(threads=threads + 1)).running():
        raise RuntimeError
    assert torch.get_num_threads() == threads


@pytest.mark.parametrize(("text", "lacks"), [
    ("cuda", "no CUDA device"), ("ort:cuda", "no CUDA device"), ("compile:cuda", "no CUDA device"), ("ort:bf16", "bf16"),
])  # fmt: skip
def test_what_this_machine_lacks_is_said_in_a_line(text: str, lacks: str) -> None:
    if "cuda" in text and torch.cuda.is_available():
        pytest.skip("there is one")
    with pytest.raises(TargetError, match=rf"^{parse_target(text)}: got .*{lacks}.*expected") as caught:
        measure_architecture(SPACE.smallest(), parse_target(text))
    assert "\n" not in str(caught.value)


def test_without_a_compiler_or_onnxruntime_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(TargetError, match="no-such-compiler"):
        backend_of(parse_target("compile"))
    monkeypatch.setitem(__import__("sys").modules, "onnxruntime", None)
    with pytest.raises(TargetError, match="pip install"):
        backend_of(parse_target("ort"))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_events_tell_the_time_on_the_device() -> None:
    clock = CudaClock()
    marks = [clock.mark()]
    for _ in range(2):
        torch.randn(512, 512, device="cuda") @ torch.randn(512, 512, device="cuda")
        marks.append(clock.mark())
    assert all(nanoseconds > 0 for nanoseconds in clock.between(marks))
