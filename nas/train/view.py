"""The live screen's view of a training: loss against steps."""

from __future__ import annotations

import math
from statistics import mean

from rich.console import Group, RenderableType
from rich.text import Text

from nas.cli.plot import plot

LEAST_ROWS, MOST_ROWS = 6, 18
LEAST_STEPS = 10
"""That a plot shows: a few points are no curve."""


def training_view(losses: dict[int, float], width: int, height: int) -> RenderableType:
    """Plot the losses so far, averaged over as many intervals of steps as there are columns, without those of skipped steps.

    Args:
        width, height: available columns and rows.
    """
    # A copy: the training adds losses meanwhile.
    steps = [(step, loss) for step, loss in sorted(losses.copy().items()) if math.isfinite(loss)]
    rows = min(height - 1, MOST_ROWS)
    if len(steps) < LEAST_STEPS or rows < LEAST_ROWS:
        return Text()
    interval = math.ceil(len(steps) / width)
    groups = [steps[first : first + interval] for first in range(0, len(steps), interval)]
    means = [(group[-1][0], mean(loss for _, loss in group)) for group in groups]
    return Group(Text("loss against steps", "dim"), plot(means, [], width, rows))
