"""Whatever stands in a file, what comes out is a value that can be used, or one line: no traceback, no hang, no gigabyte."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from space.files import ARCHITECTURE_SCHEMA, SPACE_SCHEMA
from space.kinds import FFNS, HEADS, MIXERS, NORMS, POSITIONS, STEMS
from tests.fuzz.doors import DOORS
from tests.fuzz.fuzzer import enter

ROOT = Path(__file__).parents[2]
SOAKED = 12_000


def fuzzed(inputs: int, seed: int) -> list[dict[str, float]]:
    """What the fuzzer found, a door each. It has a process of its own, whose memory it may limit."""
    command = [sys.executable, "-m", "tests.fuzz.fuzzer", "--inputs", str(inputs), "--seed", str(seed)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=3000)
    assert done.returncode == 0, done.stdout + done.stderr[-5000:]
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_mutated_files_end_in_a_value_or_a_line() -> None:
    found = fuzzed(400, seed=0)
    assert {door["door"] for door in found} == DOORS.keys()
    # A fuzzer whose inputs are all refused at the first look shows nothing.
    assert all(door["accepted"] > 0 and door["refused"] > 0 for door in found)


@pytest.mark.soak
@pytest.mark.timeout(3000)
def test_ten_thousand_mutated_files_do() -> None:
    found = fuzzed(SOAKED, seed=2)
    print(json.dumps(found, indent=1))
    assert sum(door["inputs"] for door in found) >= 10_000


WORDS = st.sampled_from([
    "type", "name", "image_size", "in_chans", "num_classes", "stem", "stages", "head", "width", "widths", "depths", "downsample",
    "blocks", "mixer", "mixers", "ffn", "ffns", "position", "positions", "norm", "layer_scale", "repeat", "ratio", "head_dim",
    "kernel_size", "eps", *(name for kind in (FFNS, HEADS, MIXERS, NORMS, POSITIONS, STEMS) for name in kind.names()),
])  # fmt: skip
SCALARS = st.one_of(st.none(), st.booleans(), st.integers(), st.integers(0, 128), st.floats(), st.text(max_size=20), st.dates(), WORDS)
KEYS = WORDS | st.text(max_size=3)
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=5))
OPERATORS = st.fixed_dictionaries({"type": WORDS}, optional={"ratio": VALUES, "head_dim": VALUES, "kernel_size": VALUES}) | WORDS | VALUES
MORE_OF_BLOCKS = {"position": OPERATORS, "norm": OPERATORS, "repeat": VALUES}
BLOCKS = st.fixed_dictionaries({"mixer": OPERATORS, "ffn": OPERATORS}, optional=MORE_OF_BLOCKS)
STAGES = st.fixed_dictionaries({"width": st.integers(-1, 9000) | VALUES, "blocks": st.lists(BLOCKS, max_size=3) | VALUES})
CHOICES = st.fixed_dictionaries({
    "widths": st.lists(st.integers(-1, 9000), max_size=3) | VALUES, "depths": st.lists(st.integers(0, 3), max_size=3) | VALUES,
    "mixers": st.lists(OPERATORS, max_size=3), "ffns": st.lists(OPERATORS, max_size=3),
})  # fmt: skip
MORE = {"name": VALUES, "image_size": VALUES, "stem": OPERATORS, "head": OPERATORS, "num_classes": VALUES}
ARCHITECTURES = st.fixed_dictionaries({"schema": st.just(ARCHITECTURE_SCHEMA), "stages": st.lists(STAGES, max_size=2)}, optional=MORE)
SPACES = st.fixed_dictionaries({"schema": st.just(SPACE_SCHEMA), "stages": st.lists(CHOICES, max_size=2)}, optional=MORE)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzz")


@settings(max_examples=60)
@given(ARCHITECTURES | VALUES)
def test_any_document_as_an_architecture(folder: Path, document: object) -> None:
    enter(DOORS["architecture"], yaml.safe_dump(document, allow_unicode=True).encode("utf-8", "replace"), folder)


@settings(max_examples=60)
@given(SPACES | VALUES)
def test_any_document_as_a_space(folder: Path, document: object) -> None:
    enter(DOORS["space"], yaml.safe_dump(document, allow_unicode=True).encode("utf-8", "replace"), folder)


@settings(max_examples=150)
@given(st.text() | st.from_regex(r"[0-9.e_+-]{1,9}\s?[kKMGTgm]?(FLOPs|MACs|params|ms|us|s)(@(cpu|cuda|ort)(:[0-9bst]{1,4})?)?"))
def test_any_text_as_a_budget(folder: Path, text: str) -> None:
    enter(DOORS["budget"], text.encode("utf-8", "replace"), folder)


@pytest.mark.parametrize("door", ["checkpoint", "inherited weights", "official weights"])
@settings(max_examples=50)
@given(st.binary(max_size=200))
def test_any_bytes_as_weights(door: str, folder: Path, content: bytes) -> None:
    enter(DOORS[door], content, folder)
