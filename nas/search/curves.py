"""The scores of a search as curves: of each trial, and of the best so far."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType

from nas.cli.trackers.by_name import open_tracker
from nas.cli.trackers.tracker import Place, Tracker
from supernet.score import Score


class SearchCurves:
    """Hands scores to a tracker: `with SearchCurves(...) as curves: ...`. Nothing is opened before the first one.

    Args:
        tracker: a name of `nas.cli.trackers.by_name`.
        run: the search's directory.
    """

    def __init__(self, tracker: str, run: Path) -> None:
        self._name, self._place = tracker, Place(run, "search")
        self._tracker: Tracker | None = None

    def __enter__(self) -> SearchCurves:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._tracker is not None:
            self._tracker.close()

    def add(self, num_results: int, trial: Score, best: Score) -> None:
        """Add the scores of the trial that finished last, and of the best so far.

        Args:
            num_results: finished trials of the study.
        """
        if self._tracker is None:
            self._tracker = open_tracker(self._name, self._place, num_results)
        for name, score in (("trial", trial), ("best", best)):
            has_images = score.num_images > 0
            self._tracker.add_scalar(f"{name}, {'log-likelihood' if has_images else 'score'}", score.log_likelihood, num_results)
            if has_images:
                self._tracker.add_scalar(f"{name}, {score.metric}", score.value, num_results)
