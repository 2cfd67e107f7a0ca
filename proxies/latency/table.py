"""A space's latencies on one target: measured once, kept in a file, predicted for every member."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import platformdirs

from proxies.band.additive_cost import AdditiveCost, Term
from proxies.band.space_cost import SpaceParts, key_of
from proxies.cost import latency_on
from proxies.latency.backends import BackendError, backend_of
from proxies.latency.fingerprint import fingerprint_of, key_of_fingerprint
from proxies.latency.fit import Sample, errors, fit, left_out, margin
from proxies.latency.measure import SHORT, Effort, OnProgress, measure_architectures
from proxies.latency.record import Fitted, LatencyError, NetworkRecord, Record
from proxies.latency.recording import NUM_NETWORKS, DrawNetwork, measured_record, unfinished_path
from proxies.latency.reference_clock import BUSY, Measured
from proxies.target import DEVICES, Target
from space.architecture import Architecture
from space.errors import SpaceError
from space.files import load_value, write_atomically
from space.search_space import SearchSpace

SCHEMA = "latency-table/1"
EFFORT = Effort()
SECONDS_TO_PREPARE = {"eager": (0.02, 0.5), "ort": (0.15, 3.0), "ort-int8": (0.4, 8.0), "compile": (5.0, 60.0)}
"""For a part and for a network, roughly."""
CONFIDENCE = 0.95


class LatencyTable:
    """Predicts latencies of a space's members on a target.

    Attributes:
        space, target: what the table is for; an imported table's space has the classes and channels that were measured.
        quantity: of the latencies, as budgets name it.
        cost: the predictions as terms over the space's slots; a member's sum is what `predict` says.
        errors: of predictions for each measured network by a fit to the others.
        spread: of the measured networks' repeats, their median, relative.
        reference: what its latencies are scaled by.
        record: what a file holds of it.
    """

    def __init__(self, space: SearchSpace, target: Target, parts: SpaceParts, record: Record) -> None:
        self.space = space
        self.target = target
        quickest = min(record.parts.values())
        beyond = {key: nanoseconds - quickest for key, nanoseconds in record.parts.items()}
        samples = [_sample(network, beyond) for network in record.networks]
        self._predicted, self._measured = left_out(samples), np.array([sample.network_ns for sample in samples], dtype=float)
        self.errors = errors(self._predicted, self._measured)
        self.spread = float(np.median([network.spread for network in record.networks]))
        self.reference = record.reference
        self._fitted = record.fitted or Fitted(**asdict(fit(samples)), margin=self._margin(CONFIDENCE))
        self.record = record.replace(fitted=self._fitted)
        self._constant = round(self._fitted.constant)
        self._costs = {key: round(self._fitted.scale * nanoseconds + self._fitted.step) for key, nanoseconds in beyond.items()}
        self.quantity = latency_on(target)
        constant = Term((), {self.quantity: np.array(self._constant, dtype=np.int64)})
        self.cost: AdditiveCost = (constant, *parts.terms({self.quantity: self._costs}))

    @property
    def notes(self) -> tuple[str, ...]:
        """Warnings for the user, a line each; none where the machine was idle."""
        notes, drift, failures = [], self.record.drift, self.record.failures
        if failures:
            total = len(failures) + len(self.record.networks)
            notes.append(f"{len(failures)} of {total} networks to fit predictions to are left out, the first since {failures[0]}")
        if drift > BUSY:
            notes.append(
                f"{self.target}: the machine's own speed changed by {drift:.0%} while latencies were measured, expected at most "
                f"{BUSY:.0%}; they are scaled to its faster phases"
            )
        if self.spread > BUSY:
            notes.append(
                f"{self.target}: the machine was busy while latencies were measured: repeats spread by {self.spread:.0%}, expected at most "
                f"{BUSY:.0%}. Architectures stay {1 - 1 / self.margin():.0%} under the limit; measured on an idle machine it will be less"
            )
        return tuple(notes)

    def predict(self, architecture: Architecture) -> int:
        """Nanoseconds that a member's network takes; SpaceError for what is no member."""
        if self.target.is_imported:
            architecture = architecture.replace(num_classes=self.space.num_classes, in_chans=self.space.in_chans)
        try:
            return self._constant + sum(self._costs[key_of(part)] for part in architecture.parts)
        except KeyError as error:
            raise SpaceError(f"{architecture.name}: got the part {error}, expected a member of the space {self.space.name}") from None

    def measure(self, architectures: Sequence[Architecture], effort: Effort = SHORT) -> Sequence[Measured | BackendError]:
        """Measure networks on the target, scaled by the table's reference; see `measure_architectures`."""
        return measure_architectures(architectures, self.target, effort, self.reference)

    def margin(self, confidence: float = CONFIDENCE) -> float:
        """By what factor predictions must stay below a limit that networks are to meet with this confidence."""
        return self._fitted.margin if confidence == CONFIDENCE else self._margin(confidence)

    def _margin(self, confidence: float) -> float:
        return margin(self._predicted, self._measured, confidence, self.spread if self.spread > BUSY else 0.0)

    def limit_for(self, limit_ns: int, confidence: float = CONFIDENCE) -> int:
        """The greatest predicted latency whose networks meet a limit with this confidence, nanoseconds."""
        return int(limit_ns / self.margin(confidence))


def open_table(
    space: SearchSpace,
    target: Target,
    place: Path | None = None,
    draw: DrawNetwork | None = None,
    seed: int = 0,
    on_progress: OnProgress = lambda done, total: None,
    effort: Effort = EFFORT,
) -> LatencyTable:
    """Read a space's table from its file, or measure it, some minutes, and write that file.

    A file beside it holds what was measured before a call was stopped or killed; the next call on this machine continues it.

    Args:
        place: see `table_path`.
        draw: draws the networks that the sums are fitted to; by default evenly from the space.
        seed: for these draws, and for the order of measurements.

    Raises LatencyError for a file from another device, library or space, and where the latencies of a named device were not imported,
    TargetError where this machine lacks the target, and BackendError where the backend cannot run a part of the space.
    """
    if not target.is_imported:
        backend_of(target)
    path = table_path(space, target, place)
    if path.exists():
        return read_table(space, target, path, fingerprint_of(space, target))
    if target.is_imported:
        raise LatencyError(_not_imported(space, target, path))
    parts = SpaceParts(space)
    # A folder that cannot be written to is an error here, before anything slow.
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = unfinished_path(path)
    record = measured_record(parts, target, draw or space.sample, seed, on_progress, effort, unfinished)
    table = LatencyTable(space, target, parts, record)
    write_table(table, path)
    unfinished.unlink(missing_ok=True)
    return table


def read_table(space: SearchSpace, target: Target, path: Path, expected: Mapping[str, str]) -> LatencyTable:
    """Read a table from its file.

    Args:
        expected: entries that the file's fingerprint must have: `subject_of` to predict, `fingerprint_of` to measure as well.

    Raises LatencyError for another fingerprint or other parts, SpaceError for a file that holds no table.
    """
    record = load_value(Record, path, SCHEMA)
    if record.num_classes is not None and record.in_chans is not None:
        space = space.replace(num_classes=record.num_classes, in_chans=record.in_chans)
    parts = SpaceParts(space)
    differing = [name for name in expected if record.fingerprint.get(name) != expected[name]]
    if differing or record.parts.keys() != parts.parts.keys():
        name = differing[0] if differing else "parts"
        got, wanted = (facts.get(name, "others") for facts in (record.fingerprint, expected))
        hint = "a table serves where it was measured: go on there, or choose another place for one of this machine"
        raise LatencyError(f"{path}: {name}: measured on {got!r:.100}, expected {wanted!r}; {hint}")
    if unknown := {key for network in record.networks for key in network.parts} - record.parts.keys():
        raise LatencyError(f"{path}: networks: got the part {min(unknown)!r:.100}, expected those that were measured")
    return LatencyTable(space, target, parts, record)


def write_table(table: LatencyTable, path: Path) -> None:
    """Write a table's file, in a folder that exists."""
    write_atomically(path, json.dumps({"schema": SCHEMA, **table.record.model_dump()}, indent=1, ensure_ascii=False))


def table_path(space: SearchSpace, target: Target, place: Path | None = None) -> Path:
    """The file of a space's table: `place` if that is a `.json` file, else one in the folder `place`, by default in the user's cache.

    In a folder, each device, library version, target and space has its own file.
    """
    if place is not None and place.suffix == ".json":
        return place
    folder = place or platformdirs.user_cache_path("token-mixer-nas") / "latency"
    return folder / f"{space.name}-{str(target).replace(':', '-')}-{key_of_fingerprint(fingerprint_of(space, target))}.json"


def estimate_seconds(space: SearchSpace, target: Target, place: Path | None = None) -> float:
    """About how long `open_table` will take: nothing where the file is there."""
    if table_path(space, target, place).exists():
        return 0.0
    part, network = SECONDS_TO_PREPARE[target.backend]
    return len(SpaceParts(space).parts) * part + NUM_NETWORKS[target.backend] * network + EFFORT.seconds


def _not_imported(space: SearchSpace, target: Target, path: Path) -> str:
    """That there are no latencies of a named device, what there is instead, and what to do."""
    others = sorted({file.name.split(f"-{target}-")[0] for file in path.parent.glob(f"*-{target}-*.json")})
    there = f" but of {', '.join(others)}" if others else ""
    known = f"{' or '.join(DEVICES)}, or latencies imported before: python -m nas.latency import FILE --name {target}"
    return f"{target}: got no latencies of the space {space.name} on a device of this name{there}, expected {known}"


def _sample(network: NetworkRecord, beyond: dict[str, int]) -> Sample:
    return Sample(sum(count * beyond[key] for key, count in network.parts.items()), sum(network.parts.values()), network.nanoseconds)
