"""What the live screen shows of a training: its loss against steps."""

from __future__ import annotations

import math
from statistics import mean

from rich.console import Group, RenderableType
from rich.text import Text

from nas.cli.plot import plot

LEAST_ROWS, MOST_ROWS = 6, 18
LEAST_STEPS = 4


def training_view(losses: dict[int, float], width: int, height: int) -> RenderableType:
    """Show the losses so far, by step, as means of as many stretches as there are columns; those of skipped steps are left out.

    Args:
        width, height: columns and rows that there are.
    """
    # A copy: the training goes on meanwhile.
    steps = [(step, loss) for step, loss in sorted(losses.copy().items()) if math.isfinite(loss)]
    rows = min(height - 1, MOST_ROWS)
    if len(steps) < LEAST_STEPS or rows < LEAST_ROWS:
        return Text()
    stretch = math.ceil(len(steps) / width)
    groups = [steps[first : first + stretch] for first in range(0, len(steps), stretch)]
    means = [(group[-1][0], mean(loss for _, loss in group)) for group in groups]
    return Group(Text("loss against steps", "dim"), plot(means, [], width, rows))
