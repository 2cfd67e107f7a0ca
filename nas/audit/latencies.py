"""How long a sample's networks take on a device: measured in one session, and kept with the bench."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from nas.audit.sample import Member
from proxies.latency import measure_architectures
from proxies.target import Target
from space.files import write_atomically


def latencies(folder: Path, members: Sequence[Member], target: Target) -> list[float]:
    """Milliseconds of every member, read from the folder if it has them all, else measured.

    They come from one session: their ratios hold, and another session on the same machine may differ by a factor.
    """
    file = folder / f"{str(target).replace(':', '-')}.json"
    fingerprints = [member.architecture.fingerprint for member in members]
    found: dict[str, float] = {}
    # A damaged file is measured again.
    with suppress(FileNotFoundError, ValueError):
        found = dict(json.loads(file.read_text()))
    if not found.keys() >= set(fingerprints):
        measured = measure_architectures([member.architecture for member in members], target)
        found = {fingerprint: one.nanoseconds / 1e6 for fingerprint, one in zip(fingerprints, measured, strict=True)}
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(file, json.dumps(found, indent=1) + "\n")
    return [found[fingerprint] for fingerprint in fingerprints]
