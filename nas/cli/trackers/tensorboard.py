"""Curves for TensorBoard, in files of the run's directory."""

from __future__ import annotations

from nas.cli.trackers.tracker import Place, Tracker

FOLDER = "tensorboard"
"""In a run's directory."""


def tensorboard_run(place: Place, step: int) -> Tracker:
    """Begin a file with which TensorBoard drops this step and later ones from earlier files."""
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(str(place.run / FOLDER / place.part), purge_step=step)
