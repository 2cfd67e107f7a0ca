"""Measures what a latency table is made of, and goes on with that after an interruption."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Annotated

from pydantic import Field, ValidationError

from proxies.band.space_cost import SpaceParts, key_of
from proxies.latency.backends import BackendError
from proxies.latency.fingerprint import fingerprint_of
from proxies.latency.measure import Effort, OnProgress, label_of, measure_rounds
from proxies.latency.record import MIN_NETWORKS, LatencyError, NetworkRecord, Record
from proxies.latency.reference_clock import Measured, Repeats
from proxies.target import Target
from space.architecture import Architecture
from space.files import write_atomically
from space.registry import Value

NUM_NETWORKS = {"eager": 20, "ort": 20, "ort-int8": 20, "compile": 8}
"""Whole networks that the sums are fitted to. To compile one takes a minute or more."""

DrawNetwork = Callable[[random.Random], Architecture]


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


def unfinished_path(path: Path) -> Path:
    """The file of an unfinished table."""
    return path.with_name(f"{path.stem}.unfinished.json")


def measured_record(
    parts: SpaceParts, target: Target, draw: DrawNetwork, seed: int, on_progress: OnProgress, effort: Effort, unfinished: Path
) -> Record:
    """Measure the parts of a space and whole networks, or go on with that.

    Args:
        draw: draws the whole networks, seeded by `seed`; so is the order of measurements.
        unfinished: the file that a stopped call left, or will leave.

    Raises LatencyError where too few networks run on the target, and BackendError where a part does not.
    """
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
