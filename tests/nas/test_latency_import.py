"""Importing latencies: a report is a table or one line of complaint, and what was imported before stays."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nas.latency.__main__ import main
from nas.search import __main__ as search
from proxies.band.space_cost import key_of
from proxies.latency import LatencyError, open_table, table_path
from proxies.target import parse_target
from space.files import dump_space
from tests.nas.conftest import Mistaken
from tests.nas.kits import made_up_report, write_report
from tests.nas.small_search import command
from tests.proxies.test_latency import SPACE

TARGET = parse_target("pixel8")
GOOD = made_up_report(SPACE)
PART = next(iter(GOOD["parts"]))
JSON = st.recursive(st.none() | st.floats() | st.text(max_size=5), st.lists)
BAD_TIMES = st.floats(max_value=0, allow_nan=False) | st.text(max_size=5) | st.none() | st.lists(st.none())
Change = Callable[[dict[str, Any]], object]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a space's file, and a device's table in `tables`."""
    place = tmp_path_factory.mktemp("import")
    (place / "tiny.yaml").write_text(dump_space(SPACE))
    assert main(arguments(place, write_report(place / "good.json", GOOD))) == 0
    return place


def arguments(place: Path, report: Path, name: str = "pixel8") -> list[str]:
    return ["import", str(report), "--name", name, "--space", str(place / "tiny.yaml"), "--latency-tables", str(place / "tables")]


def contents(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def refused(place: Path, content: bytes, mistaken: Mistaken) -> str:
    """The complaint about a report, which leaves everything as it was."""
    before, report = contents(place / "tables"), place / "bad.json"
    report.write_bytes(content)
    complaint = mistaken(main, arguments(place, report))
    assert contents(place / "tables") == before
    assert complaint.startswith(f"error: {report}: ")
    return complaint


def test_an_imported_table_predicts_what_was_reported(place: Path) -> None:
    table = open_table(SPACE, TARGET, place / "tables")
    assert table.errors.mean < 1e-3
    assert table.margin() == pytest.approx(1, abs=1e-2)
    rng = random.Random(1)
    for _ in range(20):
        architecture = SPACE.sample(rng)
        expected = sum(GOOD["parts"][key_of(part)]["median_ms"] for part in architecture.parts)
        assert table.predict(architecture) == pytest.approx(expected * 1e6, rel=1e-2)


def set_at(path: str, value: object) -> Change:
    """Set a value; `PART` in a path is a part's name."""

    def change(document: dict[str, Any]) -> None:
        *parents, last = (PART if key == "PART" else key for key in path.split("/"))
        for key in parents:
            document = document[key]
        document[last] = value

    return change


BAD: dict[str, tuple[Change, str]] = {
    "another schema": (set_at("schema", "latencies/2"), "schema: got 'latencies/2', expected 'latencies/1'"),
    "no schema": (lambda document: document.pop("schema"), "schema: got None, expected 'latencies/1'"),
    "another space": (set_at("space", "tiny 0123456789abcdef"), "space: got 'tiny 0123456789abcdef', expected 'tiny "),
    "a negative time": (set_at("parts/PART/median_ms", -1.0), "median_ms: got -1.0, expected a value greater than 0"),
    "no time at all": (set_at("parts/PART/q1_ms", 0), "q1_ms: got 0, expected a value greater than 0"),
    "text for a time": (set_at("networks/network-0/median_ms", "fast"), "median_ms: got 'fast', expected a number"),
    "quartiles in another order": (set_at("parts/PART/q1_ms", 1e6), "ms, expected them in rising order"),
    "a missing part": (lambda document: document["parts"].pop(PART), f"parts: got no latency of {PART[:60]!r}"[:-1]),
    "an unknown part": (set_at("parts/magic", {"median_ms": 1.0}), "parts: got a latency of 'magic', expected one of each of the"),
    "no networks": (set_at("networks", {}), "networks: got 0 entries, expected at least 1"),
    "few networks": (lambda document: [document["networks"].pop(f"network-{i}") for i in range(5)], "networks: got 3, expected 4 or more"),
    "a network of no architecture": (lambda document: document["networks"]["network-0"].pop("architecture"), "missing key 'architecture'"),
    "a network of another space": (set_at("networks/network-0/architecture/num_classes", 77), "networks.network-0: got the part '"),
    "an unknown key": (set_at("colour", "red"), "unknown key 'colour'"),
    "a reference that is not there": (set_at("reference", "magic"), "reference: got 'magic', expected the name of one of the networks"),
    "a verification without predictions": (set_at("verifies", "pixel8"), "networks.network-0: got no prediction and limit, expected"),
    "a list": (set_at("parts", []), "parts: got [], expected a mapping"),
    "a drift below none": (set_at("drift", -0.5), "drift: got -0.5, expected a value greater than or equal to 0"),
}


@pytest.mark.parametrize("what", BAD)
def test_a_bad_report_is_refused_in_one_line_and_changes_nothing(what: str, place: Path, mistaken: Mistaken) -> None:
    change, expected = BAD[what]
    document = copy.deepcopy(GOOD)
    change(document)
    assert expected in refused(place, json.dumps(document).encode(), mistaken)


@pytest.mark.parametrize("constant", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_a_time_that_is_no_number_is_refused(constant: str, place: Path, mistaken: Mistaken) -> None:
    document = copy.deepcopy(GOOD)
    document["parts"][PART]["median_ms"] = "HERE"
    refused(place, json.dumps(document).replace('"HERE"', constant).encode(), mistaken)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(share=st.floats(0, 0.999))
def test_a_truncated_report_is_refused(share: float, place: Path, mistaken: Mistaken) -> None:
    content = json.dumps(GOOD).encode()
    assert "got no JSON: " in refused(place, content[: int(share * len(content))], mistaken)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(content=st.binary(max_size=40) | JSON.map(json.dumps).map(str.encode))
def test_anything_else_is_refused(content: bytes, place: Path, mistaken: Mistaken) -> None:
    refused(place, content, mistaken)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=st.data())
def test_a_damaged_value_is_refused(data: st.DataObject, place: Path, mistaken: Mistaken) -> None:
    """No value but a positive number is a time, and no other than a list or mapping is what holds one."""
    document = copy.deepcopy(GOOD)
    group = data.draw(st.sampled_from(["parts", "networks"]))
    name = data.draw(st.sampled_from(sorted(document[group])))
    document[group][name]["median_ms"] = data.draw(BAD_TIMES)
    refused(place, json.dumps(document).encode(), mistaken)


@pytest.mark.parametrize("name", ["cpu", "CUDA", "ort", "2t", "bf16", "cpu:1t", "a/b", "-", "x" * 41])
def test_a_device_has_a_name_of_its_own(name: str, place: Path, mistaken: Mistaken) -> None:
    before = contents(place / "tables")
    assert "expected a name such as pixel8" in mistaken(main, arguments(place, place / "good.json", name))
    assert contents(place / "tables") == before


def test_a_name_is_needed(place: Path, mistaken: Mistaken) -> None:
    assert "--name: got none, expected" in mistaken(main, ["import", str(place / "good.json"), "--space", str(place / "tiny.yaml")])


def test_a_dry_run_imports_nothing(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = contents(place / "tables")
    assert main([*arguments(place, place / "good.json", "another"), "--dry-run"]) == 0
    assert "nothing was written" in capsys.readouterr().out
    assert contents(place / "tables") == before


def test_the_table_of_another_space_is_refused_in_one_line(place: Path, folder: Path, mistaken: Mistaken) -> None:
    complaint = mistaken(search.main, command(folder, "--budget", "3MFLOPs 9ms@pixel8", "--latency-tables", str(place / "tables")))
    assert "pixel8: got no latencies of the space tiny on a device of this name but of tiny" in complaint
    file = table_path(SPACE.replace(image_size=64), TARGET, place / "tables")
    file.write_bytes(table_path(SPACE, TARGET, place / "tables").read_bytes())
    with pytest.raises(LatencyError, match=r"space: measured on 'tiny .*', expected 'tiny "):
        open_table(SPACE.replace(image_size=64), TARGET, place / "tables")
    file.unlink()


@pytest.mark.parametrize("line", [[], ["measure"], ["kit", "extra"], ["verify"]])
def test_a_wrong_subcommand_is_one_line(line: list[str], mistaken: Mistaken) -> None:
    assert "see python -m nas.latency" in mistaken(main, line)


def test_a_search_without_a_limit_on_an_imported_device_is_not_verified(finished: Path, tmp_path: Path, mistaken: Mistaken) -> None:
    complaint = mistaken(main, ["verify", str(finished / "run"), "--out", str(tmp_path / "winners")])
    assert "expected a limit on an imported device (--name)" in complaint
    assert not list(tmp_path.iterdir())
