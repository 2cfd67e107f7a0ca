"""A device that cannot run this package: a kit measures it, its latencies are imported, a search keeps them, its winners are verified."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from nas.latency.__main__ import main
from nas.latency.config import NUM_NETWORKS
from nas.latency.kit_folder import SCRIPT, graph_of_part, write_kit
from nas.search import __main__ as search
from proxies.band.space_cost import SpaceParts
from proxies.latency import open_table
from proxies.latency.kit_graphs import KitGraphs
from proxies.macs import cost_of
from proxies.target import parse_target
from space.files import dump_space, load_provenance, load_space
from space.search_space import SearchSpace
from tests.nas.conftest import Mistaken, filled
from tests.nas.kits import bare_python, measured
from tests.nas.small_search import command, trials_of
from tests.proxies.test_latency_targets import DENSE
from tests.proxies.test_latency_targets import SPACE as SMALL


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return bare_python(tmp_path_factory.mktemp("bare") / "env")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a space, pictures, and the space's kit."""
    place = filled(tmp_path_factory.mktemp("kit"))
    assert main(["kit", "--space", str(place / "tiny.yaml"), "--networks", "5", "--out", str(place / "kit")]) == 0
    return place


def test_the_device_lacks_everything_but_numpy_and_onnx_runtime(python: Path) -> None:
    for package in ("torch", "nas", "space", "onnx", "pydantic"):
        tried = subprocess.run([python, "-I", "-c", f"import {package}"], capture_output=True, text=True, check=False)
        assert "ModuleNotFoundError" in tried.stderr


def test_a_search_keeps_the_latency_of_a_device_that_only_a_kit_has_met(
    place: Path, python: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], mistaken: Mistaken
) -> None:
    """The other device is this machine with two threads."""
    tables = ["--latency-tables", str(tmp_path / "tables")]
    budget = ["--budget", "3MFLOPs 50ms@other", *tables, "--out", str(tmp_path / "run")]
    assert "other: got no latencies of the space tiny" in mistaken(search.main, command(place, *budget))
    assert "rounds" in measured(python, place / "kit", "--threads", "2", "--minutes", "0")
    answer = place / "kit" / "latencies.json"
    assert main(["import", str(answer), "--name", "Other", "--space", str(place / "tiny.yaml"), *tables]) == 0
    assert "predictions err by" in capsys.readouterr().out
    assert search.main(command(place, *budget)) == 0
    assert "ms: predicted for other" in capsys.readouterr().out
    for trial in trials_of(tmp_path):
        assert 0 < trial.user_attrs["latency@other"] <= 50_000_000
    assert load_provenance(tmp_path / "run" / "best.yaml")["predicted_ms"]["other"] <= 50

    assert main(["verify", str(tmp_path / "run"), "--out", str(tmp_path / "winners")]) == 0
    capsys.readouterr()
    measured(python, tmp_path / "winners", "--threads", "2", "--minutes", "0")
    assert main(["import", str(tmp_path / "winners" / "latencies.json")]) == 0
    out = capsys.readouterr().out
    assert "best" in out
    assert "2 of 2 hold the limit (100%)" in out


def test_a_killed_measurement_continues(place: Path, python: Path) -> None:
    script, unfinished = place / "kit" / SCRIPT, place / "kit" / "latencies.unfinished.json"
    unfinished.unlink(missing_ok=True)
    with subprocess.Popen([python, "-I", script, "--minutes", "9"], stdout=subprocess.DEVNULL) as process:
        for _ in range(5000):
            if unfinished.exists():
                break
            assert process.poll() is None
            time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
    done = json.loads(unfinished.read_text())["rounds"]
    assert done >= 1
    (place / "kit" / "latencies.json").unlink(missing_ok=True)
    assert f"continuing after {done} rounds" in measured(python, place / "kit", "--minutes", "0")
    assert not unfinished.exists()
    answer = json.loads((place / "kit" / "latencies.json").read_text())
    assert answer["device"]["threads"] == 1
    for latency in (*answer["parts"].values(), *answer["networks"].values()):
        assert 0 < latency["q1_ms"] <= latency["median_ms"] <= latency["q3_ms"]
        assert latency["repeats"] >= 1


def test_what_another_device_began_is_not_continued(place: Path, python: Path) -> None:
    (place / "kit" / "latencies.unfinished.json").write_text(json.dumps({"device": {"processor": "another"}, "rounds": 3}))
    assert "starting anew" in measured(python, place / "kit", "--minutes", "0")


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--threads", "0"], "error: --threads: got 0, expected 1 or more"),
        (["--minutes", "nan"], "error: --minutes: got nan, expected 0 or more"),
        (["--provider", "Abacus"], "error: --provider: got Abacus, expected one of"),
    ],
)
def test_a_mistake_of_the_scripts_user_is_one_line(place: Path, python: Path, options: list[str], complaint: str) -> None:
    done = subprocess.run([python, "-I", place / "kit" / SCRIPT, *options], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith(complaint)
    assert done.stderr.count("\n") == 1


def narrowed(name: str) -> SearchSpace:
    """A space of the package with one width a stage."""
    space = load_space(name)
    return space.replace(stages=tuple(stage.replace(widths=stage.widths[:1]) for stage in space.stages))


@pytest.mark.parametrize(("space", "kind", "off"), [
    (narrowed("hybrid-32"), KitGraphs(batch=2), 1e-4),
    (narrowed("tiny-seg"), KitGraphs(), 1e-4),
    (DENSE, KitGraphs(batch=2, int8=True), 0.1),
], ids=["several images", "segmentation", "INT8"])  # fmt: skip
def test_every_graph_of_a_part_computes_what_pytorch_does(space: SearchSpace, kind: KitGraphs, off: float, tmp_path: Path) -> None:
    graphs = [graph_of_part(key, part, kind.batch) for key, part in SpaceParts(space).parts.items()]
    write_kit(tmp_path / "kit", iter(graphs), {}, "", kind)
    entries = json.loads((tmp_path / "kit" / "manifest.json").read_text())["graphs"]
    assert [entry["name"] for entry in entries] == [graph.name for graph in graphs]
    for graph, entry in zip(graphs, entries, strict=True):
        inputs = graph.inputs if isinstance(graph.inputs, list) else [graph.inputs]
        assert entry["inputs"] == [list(tensor.shape) for tensor in inputs]
        session = onnxruntime.InferenceSession(tmp_path / "kit" / entry["file"])
        names = [node.name for node in session.get_inputs()]
        (found,) = session.run(None, {one: tensor.numpy() for one, tensor in zip(names, inputs, strict=True)})
        with torch.no_grad():
            expected = graph.module(graph.inputs).numpy()
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=off * np.abs(expected).max(), err_msg=graph.name)


def test_weights_are_written_once(place: Path) -> None:
    """Networks share the weights of parts: the file is as large as the parts', although the networks have several times as many."""
    parts = SpaceParts(load_space(place / "tiny.yaml")).parts.values()
    shapes = {tuple(p.shape) for part in parts for p in graph_of_part("", part, 1).module.parameters()}
    # Graphs keep some matrices transposed, too.
    assert (place / "kit" / "graphs" / "weights.bin").stat().st_size < 2 * 4 * sum(map(np.prod, shapes)) + 4096 * 2 * len(shapes)


def test_an_existing_folder_is_not_written_over(place: Path, mistaken: Mistaken) -> None:
    assert "expected a new or an empty folder" in mistaken(main, ["kit", "--space", str(place / "tiny.yaml"), "--out", str(place / "kit")])


def test_networks_are_drawn_inside_a_budget(place: Path, capsys: pytest.CaptureFixture[str], mistaken: Mistaken) -> None:
    arguments = ["kit", "--space", str(place / "tiny.yaml"), "--out", str(place / "another")]
    assert main([*arguments, "--budget", "3MFLOPs", "--dry-run"]) == 0
    assert f"{NUM_NETWORKS} graphs of whole networks" in capsys.readouterr().out
    assert "budget: got 1GFLOPs" in mistaken(main, [*arguments, "--budget", "1GFLOPs"])
    assert not (place / "another").exists()


def test_the_table_of_a_device_serves_data_with_any_classes(place: Path, python: Path, tmp_path: Path) -> None:
    measured(python, place / "kit", "--minutes", "0")
    space = load_space(place / "tiny.yaml")
    options = ["--space", str(place / "tiny.yaml"), "--latency-tables", str(tmp_path)]
    assert main(["import", str(place / "kit" / "latencies.json"), "--name", "other", *options]) == 0
    few, many = (open_table(space.replace(num_classes=classes), parse_target("other"), tmp_path) for classes in (3, 2000))
    assert few.record == many.record
    assert few.predict(space.smallest().replace(num_classes=3)) == many.predict(space.smallest())


def quantised(kit: Path) -> dict[str, bool]:
    """Whether each graph of a kit has layers in INT8, by name."""
    entries = json.loads((kit / "manifest.json").read_text())["graphs"]
    files = {entry["name"]: onnx.load(kit / entry["file"], load_external_data=False) for entry in entries}
    return {name: any(node.op_type == "DequantizeLinear" for node in file.graph.node) for name, file in files.items()}


def test_several_images_in_int8_are_measured_and_verified(folder: Path, python: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kind = KitGraphs(batch=2, int8=True)
    (folder / "space.yaml").write_text(dump_space(SMALL))
    space, tables = ["--space", str(folder / "space.yaml")], ["--latency-tables", str(folder / "tables")]
    assert main(["kit", *space, "--int8", "--batch-size", "2", "--networks", "5", "--out", str(folder / "kit")]) == 0
    found = quantised(folder / "kit")
    assert all(is_int8 for name, is_int8 in found.items() if name.startswith("network") or "mlp" in name)
    measured(python, folder / "kit", "--minutes", "0")
    assert main(["import", str(folder / "kit" / "latencies.json"), "--name", "other", *space, *tables]) == 0
    assert "5 networks, 2 images a pass in INT8, on" in capsys.readouterr().out
    assert open_table(SMALL, parse_target("other"), folder / "tables").record.graphs == kind
    budget = f"{cost_of(SMALL.largest()).macs}FLOPs 50ms@other"
    assert search.main(command(folder, *space, "--budget", budget, "--floor", "0.01", *tables)) == 0
    assert main(["verify", str(folder / "run"), "--out", str(folder / "winners")]) == 0
    assert all(quantised(folder / "winners").values())
    manifest = json.loads((folder / "winners" / "manifest.json").read_text())
    assert manifest["answer"]["graphs"] == kind.model_dump()
    assert all(entry["inputs"][0][0] == 2 for entry in manifest["graphs"])


