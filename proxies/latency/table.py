"""A space's latencies on one target: measured once, kept in a file, predicted for every member."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import numpy as np
import platformdirs
from pydantic import Field, ValidationError

from proxies.band.additive_cost import AdditiveCost, Term
from proxies.band.space_cost import SpaceParts, key_of
from proxies.cost import latency_on
from proxies.latency.backends import BackendError, backend_of
from proxies.latency.fingerprint import fingerprint_of, key_of_fingerprint
from proxies.latency.fit import Sample, errors, fit, left_out, margin
from proxies.latency.kit_graphs import KitGraphs
from proxies.latency.measure import SHORT, Effort, OnProgress, label_of, measure_architectures, measure_rounds
from proxies.latency.reference_clock import BUSY, Measured, Nanoseconds, ReferenceClock, Repeats
from proxies.target import DEVICES, Target
from space.architecture import Architecture
from space.errors import SpaceError, UserError
from space.files import load_value, write_atomically
from space.registry import Value
from space.search_space import SearchSpace

SCHEMA = "latency-table/1"
EFFORT = Effort()
NUM_NETWORKS = {"eager": 20, "ort": 20, "ort-int8": 20, "compile": 8}
"""Whole networks that the sums are fitted to. To compile one takes a minute or more."""
SECONDS_TO_PREPARE = {"eager": (0.02, 0.5), "ort": (0.15, 3.0), "ort-int8": (0.4, 8.0), "compile": (5.0, 60.0)}
"""For a part and for a network, roughly."""
CONFIDENCE = 0.95
MIN_NETWORKS = 4
"""Networks that a fit needs."""
MAX_PARTS = 100_000
"""Equal ones in a network."""

DrawNetwork = Callable[[random.Random], Architecture]


class LatencyError(UserError, ValueError):
    """A latency table that does not belong to this device or this space."""


class NetworkRecord(Value):
    """A whole network as it was measured; `parts` are their numbers by key."""

    parts: dict[str, Annotated[int, Field(ge=1, le=MAX_PARTS)]]
    nanoseconds: Nanoseconds
    spread: Annotated[float, Field(ge=0)]


class Fitted(Value):
    """What was fitted to measurements: the coefficients of `proxies.latency.fit`, and the margin.

    The last digits of a fit depend on the machine that computes it. Hosts that must predict the same numbers share these.
    """

    constant: Annotated[float, Field(ge=0, le=1e15)]
    scale: Annotated[float, Field(ge=0, le=1e6)]
    step: Annotated[float, Field(ge=0, le=1e15)]
    margin: Annotated[float, Field(gt=0, le=1e6)]


class Record(Value):
    """What was measured, as a file holds it.

    Args:
        fingerprint: of the device, the libraries, the target and the space, see `fingerprint_of`.
        parts: nanoseconds by part.
        networks: whole networks that the sums are fitted to.
        failures: why other networks, drawn for the same purpose, could not run on the target.
        reference: what all latencies are scaled by.
        drift: by how much the machine's speed changed meanwhile, relative.
        fitted: what all hosts predict with; by default each host fits by itself.
        num_classes, in_chans, graphs: of the measured networks, in an imported table.
    """

    fingerprint: dict[str, str]
    reference: ReferenceClock
    drift: Annotated[float, Field(ge=0)]
    parts: dict[str, Nanoseconds]
    networks: Annotated[tuple[NetworkRecord, ...], Field(min_length=MIN_NETWORKS, strict=False)]
    failures: Annotated[tuple[str, ...], Field(strict=False)] = ()
    fitted: Fitted | None = None
    num_classes: Annotated[int, Field(ge=1)] | None = None
    in_chans: Annotated[int, Field(ge=1)] | None = None
    graphs: KitGraphs | None = None


class Unfinished(Value):
    """A table that is being measured, as a file beside its own holds it.

    Args:
        fingerprint: as of a record.
        architectures: the whole networks that the sums will be fitted to.
        rounds: how many have been measured.
        repeats: of parts, by key, and of networks, by `label_of`.
    """

    fingerprint: dict[str, str]
    architectures: tuple[Architecture, ...]
    rounds: Annotated[int, Field(ge=1)]
    repeats: Repeats

    def is_of(self, parts: SpaceParts, target: Target) -> bool:
        """Whether it is the table of a space on a target of this machine."""
        labels = {label_of(number) for number in range(NUM_NETWORKS[target.backend])}
        keys = {key_of(part) for architecture in self.architectures for part in architecture.parts}
        is_whole = self.repeats.runs.keys() == parts.parts.keys() | labels and all(self.repeats.runs.values())
        is_ours = len(self.architectures) == len(labels) and keys <= parts.parts.keys()
        return is_whole and is_ours and self.fingerprint == fingerprint_of(parts.space, target)


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
    record = _measured_record(parts, target, draw or space.sample, seed, on_progress, effort, unfinished)
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


def unfinished_path(path: Path) -> Path:
    """The file of an unfinished table."""
    return path.with_name(f"{path.stem}.unfinished.json")


def _not_imported(space: SearchSpace, target: Target, path: Path) -> str:
    """That there are no latencies of a named device, what there is instead, and what to do."""
    others = sorted({file.name.split(f"-{target}-")[0] for file in path.parent.glob(f"*-{target}-*.json")})
    there = f" but of {', '.join(others)}" if others else ""
    known = f"{' or '.join(DEVICES)}, or latencies imported before: python -m nas.latency import FILE --name {target}"
    return f"{target}: got no latencies of the space {space.name} on a device of this name{there}, expected {known}"


def _measured_record(
    parts: SpaceParts, target: Target, draw: DrawNetwork, seed: int, on_progress: OnProgress, effort: Effort, unfinished: Path
) -> Record:
    earlier = _read_unfinished(unfinished, parts, target)
    rng = random.Random(seed)
    architectures = earlier.architectures if earlier else tuple(draw(rng) for _ in range(NUM_NETWORKS[target.backend]))
    fingerprint = fingerprint_of(parts.space, target)

    def save(rounds: int, repeats: Repeats) -> None:
        now = Unfinished(fingerprint=fingerprint, architectures=architectures, rounds=rounds, repeats=repeats)
        # A loss of power costs some minutes of measuring at most.
        write_atomically(unfinished, now.model_dump_json(), durable=False)

    # Not the order of the rounds that have been measured.
    order = random.Random(f"{seed} after {earlier.rounds if earlier else 0} rounds")
    session = measure_rounds(
        parts.parts, parts.walks, architectures, target, effort, order, on_progress=on_progress,
        earlier=(earlier.rounds, earlier.repeats) if earlier else None, save=save,
    )  # fmt: skip
    networks = [
        NetworkRecord(parts=dict(Counter(map(key_of, architecture.parts))), nanoseconds=whole.nanoseconds, spread=whole.spread)
        for architecture, whole in zip(architectures, session.networks, strict=True)
        if isinstance(whole, Measured)
    ]
    failures = tuple(str(whole) for whole in session.networks if isinstance(whole, BackendError))
    if len(networks) < MIN_NETWORKS:
        raise LatencyError(f"{failures[0]}; got {len(networks)} networks that run, expected at least {MIN_NETWORKS}")
    return Record(
        fingerprint=fingerprint,
        parts={key: part.nanoseconds for key, part in session.parts.items()},
        networks=tuple(networks),
        failures=failures,
        reference=session.reference,
        drift=session.drift,
    )


def _read_unfinished(path: Path, parts: SpaceParts, target: Target) -> Unfinished | None:
    """An unfinished table; None where there is none for this machine, or the file is damaged."""
    with suppress(FileNotFoundError, ValidationError):
        found = Unfinished.model_validate_json(path.read_bytes(), strict=False)
        return found if found.is_of(parts, target) else None
    return None


def _sample(network: NetworkRecord, beyond: dict[str, int]) -> Sample:
    return Sample(sum(count * beyond[key] for key, count in network.parts.items()), sum(network.parts.values()), network.nanoseconds)
