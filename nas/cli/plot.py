"""A small plot for a terminal: a line of Braille dots, eight to a character, and points.

Plotting libraries for terminals take tens of milliseconds for a plot, which is too slow for a screen that is drawn twice a second.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import groupby, pairwise

from rich.text import Text

Points = Sequence[tuple[float, float]]

_BITS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
"""Of the dots in a Braille character, by row and column (Unicode's block from U+2800 on)."""
_POINT = "•"
_STYLES = {"line": "green", "point": "blue", "nothing": ""}


def plot(line: Points, points: Points, width: int, height: int) -> Text:
    """Draw a line and points over common axes, in so many columns and rows; a point hides the line.

    Args:
        line: in the order of x, joined by straight lines.
    """
    xs, ys = zip(*line, *points, strict=True)
    (left, right), (bottom, top) = (min(xs), max(xs)), (min(ys), max(ys))
    labels = [f"{top:.4g}", *[""] * (height - 3), f"{bottom:.4g}"]
    margin = max(map(len, labels)) + 1
    columns, rows = width - margin, height - 1

    def cell(x: float, y: float) -> tuple[int, int]:
        """Column and row of a Braille dot."""
        across = (x - left) / (right - left) if right > left else 0.0
        down = (top - y) / (top - bottom) if top > bottom else 0.5
        return round(across * (2 * columns - 1)), round(down * (4 * rows - 1))

    bits = [[0] * columns for _ in range(rows)]
    for column, row in _joined([cell(x, y) for x, y in line]):
        bits[row // 4][column // 2] |= _BITS[row % 4][column % 2]
    marked = {(row // 4, column // 2) for column, row in (cell(x, y) for x, y in points)}
    text = Text(no_wrap=True)
    for row, label in enumerate(labels):
        text.append(f"{label:>{margin - 1}}│", "dim")
        looks = ["point" if (row, column) in marked else "line" if bits[row][column] else "nothing" for column in range(columns)]
        for look, run in groupby(range(columns), looks.__getitem__):
            text.append("".join(_POINT if look == "point" else chr(0x2800 + bits[row][column]) for column in run), _STYLES[look])
        text.append("\n")
    start, end = f"{left:.0f}", f"{right:.0f}"
    text.append(f"{'':{margin - 1}}└{start}{end:─>{columns - len(start)}}", "dim")
    return text


def _joined(cells: Sequence[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """The cells, and those on straight lines between them."""
    yield from cells[:1]
    for (column, row), (next_column, next_row) in pairwise(cells):
        steps = max(abs(next_column - column), abs(next_row - row))
        for step in range(1, steps + 1):
            share = step / steps
            yield math.floor(column + share * (next_column - column) + 0.5), math.floor(row + share * (next_row - row) + 0.5)
