"""A latency table: what it predicts, what it admits, where it is kept and when it is refused."""

import json
import random
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxies.band.additive_cost import CostTable, Rows
from proxies.band.space_cost import SpaceParts, key_of
from proxies.cost import latency_on
from proxies.latency import LatencyTable, estimate_seconds, open_table, table_path
from proxies.latency.fingerprint import fingerprint_of
from proxies.latency.measure import Effort
from proxies.latency.record import LatencyError, NetworkRecord, Record
from proxies.latency.reference_clock import BUSY, Measured, ReferenceClock, Repeats, Timer
from proxies.target import Target
from space.errors import SpaceError, UserError
from space.names import as_name
from space.search_space import SearchSpace

MIXERS = [
    {"type": "local_mhra", "kernel_size": [3, 5]},
    {"type": "global_mhra", "head_dim": 8},
    {"type": "bn_conv_attention", "key_dim": 4},
]
FFNS = [{"type": ["mlp", "dw_ffn"], "ratio": 2}]
SPACE = SearchSpace.model_validate({
    "name": "tiny", "image_size": 32, "num_classes": 10,
    "stages": [
        {"widths": [8, 16, 24], "depths": [1, 3], "mixers": MIXERS, "ffns": FFNS},
        {"widths": [16], "depths": [2], "downsample": "conv_downsample", "mixers": MIXERS, "ffns": FFNS},
        {"widths": [16, 24], "depths": [1, 2], "downsample": "conv_downsample", "mixers": MIXERS[:1], "ffns": FFNS},
    ],
})  # fmt: skip
TARGET = Target()
PARTS = SpaceParts(SPACE)


def record(spread: float = 0.01, noise: float = 0.0, drift: float = 0.0, space: SearchSpace = SPACE) -> Record:
    """Made-up measurements: every part has its own time, and networks take what their parts do, but for a relative noise."""
    rng = random.Random(0)
    parts = {key: rng.randrange(10_000, 1_000_000) for key in SpaceParts(space).parts}
    networks = []
    for _ in range(20):
        keys = [key_of(part) for part in space.sample(rng).parts]
        total = round(sum(parts[key] for key in keys) * (1 + noise * rng.uniform(-1, 1)))
        networks.append(NetworkRecord(parts={key: keys.count(key) for key in keys}, nanoseconds=total, spread=spread))
    reference = ReferenceClock(architecture=space.smallest(), nanoseconds=1_000_000)
    return Record(fingerprint=fingerprint_of(space, TARGET), parts=parts, networks=tuple(networks), reference=reference, drift=drift)


TABLE = LatencyTable(SPACE, TARGET, PARTS, record(noise=0.05))
PART_NS = record().parts
EXACT = LatencyTable(SPACE, TARGET, PARTS, record())


@given(st.integers(0, 10**6))
def test_the_cost_adds_up_to_the_prediction(seed: int) -> None:
    architecture = SPACE.sample(random.Random(seed))
    row = Rows(SPACE).row(SPACE.parameters_of(architecture))
    assert CostTable(Rows(SPACE), TABLE.cost, [latency_on(TARGET)])(row[None])[0, 0] == TABLE.predict(architecture)


@given(st.integers(0, 10**6))
def test_sums_of_parts_are_predicted_to_the_unit_of_rounding(seed: int) -> None:
    architecture = SPACE.sample(random.Random(seed))
    assert EXACT.predict(architecture) == pytest.approx(sum(PART_NS[key_of(part)] for part in architecture.parts), rel=1e-3)


def test_costs_are_whole_and_not_negative() -> None:
    for term in TABLE.cost:
        for costs in term.costs.values():
            assert costs.dtype == np.int64
            assert costs.min() >= 0


def test_walks_pass_every_part_and_only_join_what_fits() -> None:
    passed = set()
    for walk in PARTS.walks:
        for segment in walk:
            passed.update(segment)
            if len(segment) > 1:
                assert all(PARTS.parts[key].in_size == PARTS.parts[key].out_size for key in segment)
        ends = [(PARTS.parts[segment[0]].widths[0], PARTS.parts[segment[0]].widths[-1]) for segment in walk]
        assert all(before[1] == after[0] for before, after in pairwise(ends))
    assert passed == PARTS.parts.keys()


def test_what_is_no_member_has_no_latency() -> None:
    with pytest.raises(SpaceError, match="expected a member of the space tiny"):
        TABLE.predict(SPACE.sample(random.Random(0)).replace(num_classes=77))


def test_the_limit_leaves_room_for_errors_and_more_on_a_busy_machine() -> None:
    busy = LatencyTable(SPACE, TARGET, PARTS, record(spread=0.4, noise=0.05))
    assert busy.limit_for(10**9) < TABLE.limit_for(10**9) < 10**9
    assert TABLE.limit_for(10**9, confidence=0.99) < TABLE.limit_for(10**9)
    assert not TABLE.notes
    assert len(busy.notes) == 1
    assert "40%" in busy.notes[0]


def test_repeats_on_a_busy_machine_are_told() -> None:
    assert not Measured.of([100, 101, 102, 103]).is_busy
    assert Measured.of([100, 100, 100, 200, 200, 200, 200]).spread > BUSY
    assert Measured.of([0, 0, 0]).nanoseconds == 1


def timed(slowness: Sequence[float], nominal_ns: int | None = None, earlier: Repeats | None = None) -> Timer:
    """Runs of 3 s each on a machine whose speed changes before each reading of the reference network, which takes a second."""
    readings = [round(1e9 * now) for now in slowness]
    upcoming = iter(readings)
    timer = Timer(lambda: next(upcoming), nominal_ns, earlier)
    for before, after in pairwise(readings):
        timer.add(["run"], [3 * (before + after) // 2])
    return timer


@given(st.lists(st.floats(1, 4), min_size=2, max_size=20))
def test_a_machine_that_slows_down_as_a_whole_changes_no_latency(slowness: list[float]) -> None:
    found = timed(slowness, nominal_ns=10**9).measured("run")
    assert found.nanoseconds == pytest.approx(3e9, rel=1e-6)
    assert found.spread == pytest.approx(0, abs=1e-6)
    assert found.slowness == pytest.approx(np.median(slowness))


def test_without_nominal_nanoseconds_latencies_are_scaled_to_the_faster_phases() -> None:
    timer = timed([1.0] * 5 + [1.5] * 6)
    assert timer.nominal_ns == 10**9
    assert timer.drift == pytest.approx(0.5)
    assert timer.measured("run").slowness == pytest.approx(1.5)


def test_repeats_during_a_change_of_speed_are_left_out() -> None:
    readings = iter([10**9, 10**9, 2 * 10**9, 2 * 10**9])
    timer = Timer(lambda: next(readings), 10**9)
    for nanoseconds in (3 * 10**9, 3 * 10**9, 6 * 10**9):
        timer.add(["run"], [nanoseconds])
    assert timer.measured("run").repeats == 2
    assert timer.measured("run").nanoseconds == 3 * 10**9


PHASES = st.lists(st.floats(1, 1.5), min_size=2, max_size=9)


@given(PHASES, PHASES)
def test_another_process_continues_with_the_same_repeats(slowness: list[float], later: list[float]) -> None:
    earlier = Repeats.model_validate_json(timed(slowness).repeats().model_dump_json(), strict=False)
    timer = timed(later, earlier=earlier)
    assert timer.continues
    assert len(timer.repeats().runs["run"]) == len(slowness) + len(later) - 2
    assert timer.repeats().runs["run"][: len(slowness) - 1] == earlier.runs["run"]
    assert timer.nominal_ns == round(np.quantile([round(1e9 * now) for now in slowness + later], 0.25))
    assert timer.measured("run").nanoseconds == pytest.approx(3 * timer.nominal_ns, rel=1e-6)


@pytest.mark.parametrize(("slowness", "continues"), [(1.0, True), (1.9, True), (0.6, True), (0.4, False), (2.1, False), (10.0, False)])
def test_repeats_at_another_speed_are_dropped(slowness: float, continues: bool) -> None:
    timer = timed([slowness] * 3, earlier=timed([1.0] * 5).repeats())
    assert timer.continues == continues
    assert timer.measured("run").repeats == (6 if continues else 2)


def test_a_change_of_speed_is_noted() -> None:
    (note,) = LatencyTable(SPACE, TARGET, PARTS, record(drift=0.35)).notes
    assert "35%" in note


def test_rounds_are_bounded() -> None:
    effort = Effort(seconds=10, least_rounds=3, most_rounds=20)
    assert [effort.rounds(seconds) for seconds in (0.0, 0.1, 1.0, 100.0)] == [20, 20, 10, 3]


def kept(path: Path, **changes: object) -> Path:
    """A table's file, some of its fields changed."""
    document = {"schema": "latency-table/1", **record().model_dump()} | changes
    path.write_text(json.dumps(document))
    return path


def test_a_table_is_read_from_its_file(tmp_path: Path) -> None:
    table = open_table(SPACE, TARGET, kept(tmp_path / "table.json"))
    architecture = SPACE.sample(random.Random(3))
    assert table.predict(architecture) == EXACT.predict(architecture)
    assert estimate_seconds(SPACE, TARGET, tmp_path / "table.json") == 0


@pytest.mark.parametrize("name", ["target", "device", "torch", "space"])
def test_a_table_from_elsewhere_is_refused_and_what_differs_is_said(tmp_path: Path, name: str) -> None:
    path = kept(tmp_path / "table.json", fingerprint=fingerprint_of(SPACE, TARGET) | {name: "another"})
    with pytest.raises(LatencyError, match=rf"table.json: {name}: measured on 'another', expected '") as caught:
        open_table(SPACE, TARGET, path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", ["", "{", "[1]", '{"schema": "latency-table/1"}', '{"schema": "latency-table/2"}'])
def test_a_broken_file_is_refused_in_a_line(tmp_path: Path, content: str) -> None:
    (tmp_path / "table.json").write_text(content)
    with pytest.raises(UserError, match=r"table\.json") as caught:
        open_table(SPACE, TARGET, tmp_path / "table.json")
    assert "\n" not in str(caught.value)


def test_a_table_of_other_parts_is_refused(tmp_path: Path) -> None:
    parts = dict(list(PART_NS.items())[1:])
    with pytest.raises(LatencyError, match="parts"):
        open_table(SPACE, TARGET, kept(tmp_path / "table.json", parts=parts))


@pytest.mark.parametrize(("change", "message"), [
    ({"parts": dict.fromkeys(PART_NS, 10**30)}, r"parts\..*: got 1000000000000000000000000000000, expected a value less than or equal"),
    ({"networks": [{"parts": {"none\nsuch": 1}, "nanoseconds": 5, "spread": 0.0}] * 4}, r"networks: got the part 'none\\nsuch', expected"),
    ({"networks": [{"parts": {}, "nanoseconds": 10**30, "spread": 0.0}] * 4}, r"networks\[0\]\.nanoseconds: got 1"),
    ({"drift": float("inf")}, "drift: got 'Infinity', expected a number"),
    ({"drift": float("nan")}, "drift: got 'NaN', expected a number"),
])
def test_figures_that_cannot_be_are_refused(tmp_path: Path, change: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        open_table(SPACE, TARGET, kept(tmp_path / "table.json", **change))
    assert "\n" not in str(caught.value)


def test_a_table_stays_in_its_folder(tmp_path: Path) -> None:
    for name in ("../../x", "/etc/x", "a/b", "x" * 5000, "a\nb", "a\0b"):
        with pytest.raises(SpaceError):
            SPACE.replace(name=name)
        path = table_path(SPACE.replace(name=as_name(name)), TARGET, tmp_path)
        assert path.resolve().parent == tmp_path.resolve()
        path.write_text("a file system takes it")


def test_spaces_and_targets_have_files_of_their_own(tmp_path: Path) -> None:
    other = SPACE.replace(num_classes=20)
    targets = [TARGET, Target(threads=2), Target(batch=4), Target(backend="compile"), Target(precision="bf16")]
    paths = {table_path(space, target, tmp_path) for space in (SPACE, other) for target in targets}
    assert len(paths) == 2 * len(targets)
    assert {path.parent for path in paths} == {tmp_path}
    assert table_path(SPACE.replace(name="tiny"), TARGET, tmp_path) in paths
