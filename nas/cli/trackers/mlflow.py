"""Curves for MLflow, on a server, in a database or in a folder, as `MLFLOW_TRACKING_URI` says."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from mlflow import MlflowClient, MlflowException
from mlflow.entities import Metric, Param

from nas.cli.trackers.tracker import PROJECT, Place, TrackerError
from nas.runs.directory import config_of_run
from space.errors import one_line

MOST_METRICS, PARAM_CHARS = 1000, 500
"""What a server takes at once, and of a text."""


class MlflowRun:
    """One run of the project's experiment, begun, or continued where this place has one.

    Values wait for `flush`, since each request takes its time.
    """

    def __init__(self, place: Place, step: int) -> None:
        self._waiting: list[Metric] = []
        with _errors():
            self._client = MlflowClient()
            experiment = self._client.get_experiment_by_name(PROJECT)
            number = experiment.experiment_id if experiment else self._client.create_experiment(PROJECT)
            self._run_id = place.id_of("mlflow", lambda: self._new(number, place))

    def add_scalar(self, name: str, value: float, step: int) -> None:
        """See `Tracker`."""
        self._waiting.append(Metric(name, value, round(1000 * time.time()), step))

    def flush(self) -> None:
        """See `Tracker`."""
        with _errors():
            for start in range(0, len(self._waiting), MOST_METRICS):
                self._client.log_batch(self._run_id, self._waiting[start : start + MOST_METRICS])
        self._waiting.clear()

    def close(self) -> None:
        """See `Tracker`."""
        self.flush()
        with _errors():
            self._client.set_terminated(self._run_id)

    def _new(self, experiment: str, place: Place) -> str:
        run = self._client.create_run(experiment, run_name=place.name)
        config = [Param(name, str(value)[:PARAM_CHARS]) for name, value in config_of_run(place.run).items()]
        self._client.log_batch(run.info.run_id, params=config)
        return str(run.info.run_id)


@contextmanager
def _errors() -> Iterator[None]:
    """Turn MLflow's errors into a TrackerError of one line."""
    try:
        yield
    except MlflowException as error:
        raise TrackerError(f"log: mlflow failed: {one_line(error)}") from None
