"""Measuring, for real, on what this machine has."""

import json
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from proxies.band.space_cost import SpaceParts
from proxies.latency import (
    BackendError,
    Measured,
    class_maps,
    measure,
    measure_architecture,
    measure_architectures,
    open_table,
    table,
    table_path,
)
from proxies.latency.backends import Backend, CudaClock, Run, backend_of
from proxies.latency.measure import Effort
from proxies.latency.record import LatencyError
from proxies.latency.recording import Unfinished, unfinished_path
from proxies.target import Target, TargetError, parse_target
from space.architecture import Architecture
from space.network import build_network
from space.parts import build_part
from space.search_space import SearchSpace

SPACE = SearchSpace.model_validate({
    "name": "one-stage", "image_size": 32, "num_classes": 2,
    "stages": [{
        "widths": [8, 16], "depths": [1, 2], "mixers": [{"type": "local_mhra", "kernel_size": 3}, {"type": "global_mhra", "head_dim": 8}],
        "ffns": [{"type": "mlp", "ratio": 2}],
    }],
})  # fmt: skip
DENSE = SearchSpace.model_validate({
    "name": "segmenting", "image_size": 64, "num_classes": 2,
    "stages": [
        {"widths": [8, 16], "depths": [1], "mixers": [{"type": "channel_group", "head_dim": 8}], "ffns": [{"type": "mlp", "ratio": 2}]},
        {"widths": [16], "depths": [1], "downsample": "conv_downsample", "mixers": [{"type": "global_mhra", "head_dim": 8}],
         "ffns": [{"type": "mlp", "ratio": 2}]},
    ],
    "head": {"type": "semantic_fpn", "width": [8, 16], "hidden": 8},
})  # fmt: skip
TARGET = Target()
BRIEF = Effort(seconds=0, least_rounds=2)


@pytest.mark.parametrize("text", ["cpu", "ort", "ort-int8"])
def test_a_table_is_measured_once_and_kept(tmp_path: Path, text: str) -> None:
    target, progress = parse_target(text), []
    found = open_table(SPACE, target, tmp_path, on_progress=lambda done, total: progress.append((done, total)), effort=BRIEF)
    again = open_table(SPACE, target, tmp_path, on_progress=lambda done, total: pytest.fail("measured again"))
    architecture = SPACE.sample(random.Random(0))
    assert again.predict(architecture) == found.predict(architecture) > 0
    assert progress[-1][0] == progress[-1][1]
    assert [done for done, _ in progress] == list(range(1, len(progress) + 1))
    assert [path.suffix for path in tmp_path.iterdir()] == [".json"]


NUM_ROUNDS = 8
STOPPED = f"""
import sys
from pathlib import Path
from nas.cli.command import exit_code_of
from proxies.latency import measure, open_table, table
from proxies.latency.measure import Effort
from proxies.latency.recording import Unfinished, unfinished_path
from tests.proxies.test_latency_targets import SPACE, TARGET
measure.SECONDS_UNSAVED = 0.0
table.NUM_NETWORKS["eager"] = 5
effort = Effort(seconds=0, least_rounds={NUM_ROUNDS})
sys.exit(exit_code_of(lambda: open_table(SPACE, TARGET, Path(sys.argv[1]), effort=effort)))
"""


def stopped(folder: Path, by: signal.Signals) -> Path:
    """The file that is left where measuring a table is stopped in its middle."""
    unfinished = unfinished_path(table_path(SPACE, TARGET, folder))
    with subprocess.Popen([sys.executable, "-c", STOPPED, str(folder)], stderr=subprocess.PIPE, text=True) as process:
        while not (unfinished.exists() and json.loads(unfinished.read_text())["rounds"] >= 3):
            assert process.poll() is None, process.communicate()
            time.sleep(0.01)
        process.send_signal(by)
        _, complaint = process.communicate(timeout=60)
    assert process.returncode == (-by if by == signal.SIGKILL else 130)
    assert by == signal.SIGKILL or "everything finished so far is kept" in complaint
    assert not table_path(SPACE, TARGET, folder).exists()
    return unfinished


def remaining_rounds(folder: Path) -> int:
    """Finish the measurement of a table; returns how many rounds that took."""
    progress = []
    effort = Effort(seconds=0, least_rounds=NUM_ROUNDS)
    open_table(SPACE, TARGET, folder, on_progress=lambda done, total: progress.append(total - done), effort=effort)
    return progress.index(0) + 1 - len(SpaceParts(SPACE).parts) - 5


@pytest.fixture
def _few_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(table.NUM_NETWORKS, "eager", 5)


@pytest.mark.usefixtures("_few_networks")
@pytest.mark.parametrize("by", [signal.SIGKILL, signal.SIGTERM])
def test_a_stopped_table_continues(tmp_path: Path, by: signal.Signals) -> None:
    unfinished = stopped(tmp_path, by)
    found = Unfinished.model_validate_json(unfinished.read_bytes(), strict=False)
    # Another speed by now would be a reason to start again, and other processes may cause it; so readings of many speeds are added.
    readings = found.repeats.readings
    readings = (*readings, *[10 * readings[0]] * len(readings), *[1] * len(readings))
    unfinished.write_text(found.replace(repeats=found.repeats.replace(readings=readings)).model_dump_json())
    assert remaining_rounds(tmp_path) == NUM_ROUNDS - found.rounds
    assert sorted(path.name for path in tmp_path.iterdir()) == [table_path(SPACE, TARGET, tmp_path).name]
    assert open_table(SPACE, TARGET, tmp_path).predict(SPACE.smallest()) > 0


@pytest.mark.usefixtures("_few_networks")
def test_what_was_measured_elsewhere_or_at_another_speed_or_is_damaged_is_measured_again(tmp_path: Path) -> None:
    unfinished = stopped(tmp_path, signal.SIGKILL)
    found = Unfinished.model_validate_json(unfinished.read_bytes(), strict=False)
    others = {
        "device": found.replace(fingerprint=found.fingerprint | {"device": "another"}),
        "space": found.replace(fingerprint=found.fingerprint | {"space": "another"}),
        "networks": found.replace(architectures=found.architectures[1:]),
        "part": found.replace(repeats=found.repeats.replace(runs=dict(list(found.repeats.runs.items())[1:]))),
        "speed": found.replace(repeats=found.repeats.replace(readings=tuple(100 * reading for reading in found.repeats.readings))),
    }
    contents = {what: other.model_dump_json() for what, other in others.items()}
    contents |= {"half": unfinished.read_text()[:500], "empty": ""}
    for what, content in contents.items():
        unfinished.write_text(content)
        assert remaining_rounds(tmp_path) == NUM_ROUNDS, what
        table_path(SPACE, TARGET, tmp_path).unlink()
        assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("text", ["cpu", "cpu:2t:bs2", "cpu:bf16", "ort", "ort:2t", "ort-int8:bs2"])
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


def test_what_is_measured_in_int8_is_the_network_in_eight_bits() -> None:
    images = torch.randn(2, 3, 32, 32)
    network = build_network(SPACE.largest()).fuse()
    expected = network(images)
    error = (ran("ort-int8:bs2", network, images) - expected).abs().max() / expected.abs().max()
    # Less than a step of its range for each of a few layers, and not what floating point leaves.
    assert 1e-4 < error < 0.1


def test_a_network_that_the_backend_cannot_run_is_left_out_in_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    prepared, refused = measure._prepared_network, SPACE.largest()

    def failing(architecture: Architecture, backend: Backend) -> Run:
        if architecture == refused:
            raise BackendError("cpu: cannot run it")
        return prepared(architecture, backend)

    monkeypatch.setattr(measure, "_prepared_network", failing)
    found, failure = measure_architectures([SPACE.smallest(), refused], TARGET, BRIEF)
    assert isinstance(found, Measured)
    assert isinstance(failure, BackendError)
    with pytest.raises(BackendError, match="cannot run it"):
        measure_architecture(refused, TARGET, BRIEF)


def test_a_table_is_fitted_to_the_networks_that_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prepared, drawn = measure._prepared_network, list[Architecture]()

    def failing(architecture: Architecture, backend: Backend) -> Run:
        drawn.append(architecture)
        if len(drawn) == 2:
            raise BackendError("cpu: cannot run it")
        return prepared(architecture, backend)

    monkeypatch.setattr(measure, "_prepared_network", failing)
    monkeypatch.setitem(table.NUM_NETWORKS, "eager", 5)
    found = open_table(SPACE, TARGET, tmp_path, effort=BRIEF)
    assert len(found.record.networks) == 4
    assert "1 of 5 networks to fit predictions to are left out, the first since cpu: cannot run it" in found.notes
    for file in tmp_path.iterdir():
        file.unlink()
    monkeypatch.setitem(table.NUM_NETWORKS, "eager", 4)
    drawn.clear()
    with pytest.raises(LatencyError, match="cannot run it; got 3 networks that run, expected at least 4"):
        open_table(SPACE, TARGET, tmp_path, effort=BRIEF)


@pytest.mark.soak
@pytest.mark.skipif(shutil.which("g++") is None, reason="no C++ compiler")
def test_what_is_compiled_computes_the_same() -> None:
    # Small: what a compiler needs for a network takes a test's time many times over.
    x, module = torch.randn(2, 4), nn.GELU()
    torch.testing.assert_close(ran("compile", module, x), module(x))


@pytest.mark.parametrize(("target", "atol"), [("cpu", 1e-4), ("ort", 1e-4), ("ort-int8", 0.3)])
def test_parts_of_several_maps_run_on_all_of_them(target: str, atol: float) -> None:
    member = DENSE.largest()
    backend = backend_of(parse_target(target))
    for part in (part for part in member.parts if part.maps):
        module, maps = build_part(part).eval(), [torch.randn(1, *shape) for shape in part.inputs]
        with backend.running():
            y = backend.tried(module, maps, part.path)(backend.value(maps))
        got = y if isinstance(y, Tensor) else torch.from_numpy(y.numpy())
        torch.testing.assert_close(got, module(maps), rtol=1e-4, atol=atol)


def test_the_latency_of_a_segmentation_network_is_measured_and_predicted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(table.NUM_NETWORKS, "eager", 4)
    found = open_table(DENSE, TARGET, tmp_path, effort=BRIEF)
    assert all(found.predict(DENSE.sample(random.Random(seed))) > 0 for seed in range(5))
    assert any("semantic_fpn" in key for key in found.record.parts)
    assert any("lateral" in key for key in found.record.parts)


@pytest.mark.parametrize("text", ["cpu:argmax", "ort:argmax"])
def test_a_latency_may_include_the_map_of_classes(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target, shapes = parse_target(text), {}
    assert parse_target(str(target)) == target

    def note(self: Backend, module: nn.Module, example: Tensor | list[Tensor], name: str) -> Run:
        run = tried(self, module, example, name)
        value = run(self.value(example))
        shapes[name] = tuple(value.shape() if callable(value.shape) else value.shape)
        return run

    tried = Backend.tried
    monkeypatch.setattr(Backend, "tried", note)
    monkeypatch.setitem(table.NUM_NETWORKS, target.backend, 4)
    open_table(DENSE, target, tmp_path, effort=BRIEF)
    outputs = {name: shape for name, shape in shapes.items() if "semantic_fpn" in name or name.startswith(DENSE.name)}
    assert len(outputs) > 2
    assert set(outputs.values()) == {(1, 64, 64)}


def test_the_map_of_classes_is_interpolated_first() -> None:
    network, images = build_network(DENSE.largest()).eval(), torch.randn(1, 3, 64, 64)
    expected = nn.functional.interpolate(network(images), (64, 64), mode="bilinear").argmax(1)
    assert torch.equal(class_maps.with_output(network, parse_target("cpu:argmax"), 64)(images), expected)


def test_networks_that_classify_images_have_no_map_of_classes() -> None:
    with pytest.raises(TargetError, match=r"^cpu:1t:bs1:fp32:argmax: got networks that classify whole images, expected argmax for "):
        measure_architecture(SPACE.smallest(), parse_target("cpu:argmax"))


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
    for text in ("ort", "ort-int8"):
        with pytest.raises(TargetError, match="pip install"):
            backend_of(parse_target(text))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_events_tell_the_time_on_the_device() -> None:
    clock = CudaClock()
    marks = [clock.mark()]
    for _ in range(2):
        torch.randn(512, 512, device="cuda") @ torch.randn(512, 512, device="cuda")
        marks.append(clock.mark())
    assert all(nanoseconds > 0 for nanoseconds in clock.between(marks))
