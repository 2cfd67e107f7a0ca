"""The trackers by name. Each one's own settings say where it keeps runs, such as `WANDB_MODE` and `MLFLOW_TRACKING_URI`."""

from __future__ import annotations

from collections.abc import Callable
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any

from nas.cli.options import OptionError, option
from nas.cli.packages import MissingPackageError, check_installed

if TYPE_CHECKING:
    from nas.cli.trackers.tracker import Place, Tracker

TENSORBOARD = "tensorboard"
TRACKERS = {
    TENSORBOARD: "nas.cli.trackers.tensorboard:tensorboard_run",
    "wandb": "nas.cli.trackers.wandb:WandbRun",
    "mlflow": "nas.cli.trackers.mlflow:MlflowRun",
}
"""What makes a `Tracker` of a place and a step, by the name of a package. It is imported when it is used: that takes seconds."""


def log_option(**more: Any) -> Any:
    """The field `log` of a config whose `check` calls `check_tracker`."""
    return option(TENSORBOARD, "where losses and scores become curves", choices=tuple(TRACKERS), may_change=True, **more)


def check_tracker(name: str) -> None:
    """OptionError where a tracker's package is not installed."""
    try:
        check_installed("log", [name], extra=name)
    except MissingPackageError as error:
        raise OptionError("log", str(error).removeprefix("log: ")) from None


def open_tracker(name: str, place: Place, step: int) -> Tracker:
    """Begin a run's curves, or continue them.

    Args:
        step: the first one that will be added; trackers that can forget its later steps do.
    """
    make: Callable[[Place, int], Tracker] = resolve_name(TRACKERS[name])
    return make(place, step)
