"""The progress of retrainings, wherever they run: each leaves its metrics in its folder after every epoch."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress

from nas.cli.progress import Advance
from nas.retrain.retraining import Retraining

LOOK_SECONDS = 2.0


@contextmanager
def followed(retrainings: Sequence[Retraining], advance: Advance) -> Iterator[Callable[[str], None]]:
    """Inside, show how many steps of all retrainings are done.

    Args:
        advance: of a phase of `total_steps`.

    Yields:
        A function to call after each retraining, with a line about it; the last line stands beside the bar.
    """
    ended, is_over = list[str](), threading.Event()
    total = total_steps(retrainings)

    def look() -> None:
        # A folder on another machine may be away for a moment.
        with suppress(OSError):
            steps = sum(one.steps_done for one in retrainings)
            if len(ended) < len(retrainings):
                # Testing follows the last step.
                steps = min(steps, total - 1)
            advance(at=steps, note=f"{len(ended)} of {len(retrainings)} trainings, {ended[-1]}" if ended else "")

    def look_again() -> None:
        while not is_over.wait(LOOK_SECONDS):
            look()

    look()
    thread = threading.Thread(target=look_again, daemon=True)
    thread.start()
    try:
        yield ended.append
    finally:
        is_over.set()
        thread.join()
    look()


def total_steps(retrainings: Sequence[Retraining]) -> int:
    """Steps of all retrainings, done or not."""
    return sum(one.train_config.steps for one in retrainings)
