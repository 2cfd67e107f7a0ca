"""What TensorBoard makes of the files that trainings write for it."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator


def shown(folder: Path) -> dict[str, dict[int, float]]:
    """Values by name and step; a step that is there twice is an error."""
    events = EventAccumulator(str(folder)).Reload()
    found: dict[str, dict[int, float]] = defaultdict(dict)
    for name in events.Tags()["scalars"]:
        for event in events.Scalars(name):
            assert event.step not in found[name]
            found[name][event.step] = event.value
    return found
