"""How long a sample's networks take on a device: measured in one session, and kept with the bench."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from nas.audit.sample import Member
from proxies.latency import BackendError, measure_architectures
from proxies.target import Target
from space.files import write_atomically


def latencies(folder: Path, members: Sequence[Member], target: Target) -> list[float]:
    """Milliseconds of every member, read from the folder if it has them all, else measured.

    They come from one session: their ratios hold, and another session on the same machine may differ by a factor.

    Raises BackendError where the target cannot run one of them.
    """
    file = folder / f"{str(target).replace(':', '-')}.json"
    fingerprints = [member.architecture.fingerprint for member in members]
    found: dict[str, float] = {}
    # A damaged file is measured again.
    with suppress(FileNotFoundError, ValueError):
        found = dict(json.loads(file.read_text()))
    if not found.keys() >= set(fingerprints):
        found = {}
        for fingerprint, measured in zip(fingerprints, measure_architectures([one.architecture for one in members], target), strict=True):
            if isinstance(measured, BackendError):
                raise measured
            found[fingerprint] = measured.nanoseconds / 1e6
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(file, json.dumps(found, indent=1) + "\n")
    return [found[fingerprint] for fingerprint in fingerprints]
