"""The layout of an architecture's drawing: stages as rows, blocks as boxes.

All boxes have one height, and each is as wide as its share of the multiply-adds, so areas compare. A box's upper part is the mixer's
share, in the mixer's colour; the lower, paler part is the feed-forward network's. A dark line stands for a positional encoding, before
the mixer or before the feed-forward network. Channels and operators are listed as text. The drawing is narrow enough for a phone.
"""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

from nas.draw.nearest import difference_in_words
from nas.draw.palette import NEUTRAL, Fill, fill_of
from nas.draw.rows import LINE_CHARS, NO_BLOCK, Cell, drawn_rows
from proxies.macs import cost_of
from space.architecture import Architecture

WIDTH, MARGIN = 400.0, 8.0
"""In points, of the whole drawing: a phone's screen shows them at about nine tenths of their size."""
FONTS = ["DejaVu Sans", "Verdana", "Arial", "Helvetica", "sans-serif"]
LINE, TEXT, TITLE = 13.0, 9.0, 13.0
TITLE_CHARS = 46
ASCENT, MIDDLE = 0.93, 0.36
"""Of a font's size: how far its baseline lies below a line's upper edge, and below the middle of its digits."""
HEIGHT, ENCODING = 32.0, 2.5
"""Of a box, and of the line in it that stands for a positional encoding, in points."""
NUMBER_WIDTH, NUMBER_HEIGHT = 13.0, 9.0
"""A block's number is written in a box of this size or larger."""
LEAST_WIDTH = 0.5
"""Of a row that takes a box's height, in points."""
SWATCH = 11.0
INK, PALE_INK, FAINT = "#1A1A1A", "#FFFFFF", "#666666"
DARK = 0.35
"""Below this luminance text is pale."""
PALENESS = 0.55
DARK_FILL = Fill("#4D4D4D")


@dataclass(frozen=True)
class Box:
    """A filled rectangle with a white edge, in points from the upper left corner.

    Args:
        part: path of the drawn part in the architecture; empty for what lies in a block's box, and in the key.
    """

    x: float
    y: float
    width: float
    height: float
    fill: Fill
    edge: float = 0.0
    part: str = ""


@dataclass(frozen=True)
class Text:
    """A line of text; `anchor` says which of its points lies at `x`."""

    x: float
    baseline: float
    content: str
    size: float = TEXT
    colour: str = INK
    bold: bool = False
    anchor: Literal["start", "middle", "end"] = "start"


@dataclass(frozen=True)
class Drawing:
    """What is drawn, in points."""

    width: float
    height: float
    boxes: tuple[Box, ...]
    texts: tuple[Text, ...]


def lay_out(architecture: Architecture) -> Drawing:
    """Lay an architecture out."""
    rows, total, side = list(drawn_rows(architecture)), cost_of(architecture), architecture.image_size
    per_mac = (WIDTH - 2 * MARGIN) / max(row.macs for row in rows)
    canvas = _Canvas()
    for line in textwrap.wrap(architecture.name, TITLE_CHARS) or [""]:
        canvas.write(line, 1.4 * TITLE, size=TITLE, bold=True)
    canvas.write(f"{total} at {side}×{side}, {architecture.num_classes} classes")
    for line in textwrap.wrap(difference_in_words(architecture), LINE_CHARS, break_on_hyphens=False):
        canvas.write(line, colour=FAINT)
    canvas.y += 0.6 * LINE
    for row in rows:
        canvas.write(f"{row.macs / total.macs:.1%} of MACs", 0, x=WIDTH - MARGIN, colour=FAINT, anchor="end")
        canvas.write(row.title, bold=True)
        _draw_cells(canvas, row.cells, per_mac)
        # A head's box is mostly too narrow to be seen.
        canvas.y += HEIGHT + 0.3 * LINE if row.macs * per_mac >= LEAST_WIDTH else 0.0
        for line in row.lines:
            canvas.write(line)
        canvas.y += 0.6 * LINE
    has_encoding = any(any(cell.encodings) for row in rows for cell in row.cells)
    _draw_key(canvas, sorted({block.mixer.type for stage in architecture.stages for block in stage.blocks}), has_encoding)
    return Drawing(WIDTH, canvas.y + MARGIN, tuple(canvas.boxes), tuple(canvas.texts))


class _Canvas:
    """What is drawn so far, and how far down that goes."""

    def __init__(self) -> None:
        self.boxes: list[Box] = []
        self.texts: list[Text] = []
        self.y = MARGIN

    def write(self, content: str, line_height: float = LINE, *, x: float = MARGIN, size: float = TEXT, **style: Any) -> None:
        self.texts.append(Text(x, self.y + ASCENT * size, content, size, **style))
        self.y += line_height


def _draw_cells(canvas: _Canvas, cells: tuple[Cell, ...], per_mac: float) -> None:
    x, y = MARGIN, canvas.y
    for cell in cells:
        width = cell.macs * per_mac
        edge = 0.6 if width > 2 else 0.0
        canvas.boxes.append(Box(x, y, width, HEIGHT, cell.fill, edge, cell.part))
        if cell.number is not None:
            _draw_block(canvas, cell, x, width, edge)
        x += width


def _draw_block(canvas: _Canvas, cell: Cell, x: float, width: float, edge: float) -> None:
    """What lies in a block's box: its feed-forward network, its positional encodings, its number."""
    y, upper = canvas.y, HEIGHT * cell.mixer_macs / max(cell.macs, 1)
    if upper < HEIGHT:
        canvas.boxes.append(Box(x, y + upper, width, HEIGHT - upper, Fill(_pale(cell.fill.colour)), edge))
    for is_there, top in zip(cell.encodings, (0.0, upper), strict=True):
        if is_there:
            canvas.boxes.append(Box(x + edge / 2, y + top, max(width - edge, 0.0), ENCODING, DARK_FILL))
    # In the taller part, so that no edge runs through the number.
    top, tall = (0.0, upper) if upper >= HEIGHT / 2 else (upper, HEIGHT - upper)
    if width >= NUMBER_WIDTH and tall >= NUMBER_HEIGHT:
        ink = INK if top or _luminance(cell.fill.colour) > DARK else PALE_INK
        size = TEXT - 1
        canvas.texts.append(Text(x + width / 2, y + top + tall / 2 + MIDDLE * size, str(cell.number), size, ink, anchor="middle"))


def _draw_key(canvas: _Canvas, mixers: list[str], has_encoding: bool) -> None:
    """What the colours mean, in two columns."""
    canvas.write("box: width = share of MACs, all of one height")
    meanings = [(fill_of(name), name) for name in mixers]
    meanings += [(Fill(_pale(NEUTRAL)), "paler: its FFN"), *([(DARK_FILL, "line: DPE")] if has_encoding else [])]
    meanings.append((NO_BLOCK, "stem, downsampler, head"))
    num_lines = -(-len(meanings) // 2)
    for number, (fill, meaning) in enumerate(meanings):
        column, line = divmod(number, num_lines)
        x, y = MARGIN + column * (WIDTH / 2 - MARGIN), canvas.y + line * LINE
        canvas.boxes.append(Box(x, y + (LINE - TEXT) / 4, SWATCH, TEXT, fill))
        canvas.texts.append(Text(x + 1.5 * SWATCH, y + ASCENT * TEXT, meaning))
    canvas.y += num_lines * LINE


@lru_cache
def _pale(colour: str) -> str:
    return "#" + "".join(f"{round(255 * (PALENESS + (1 - PALENESS) * share)):02X}" for share in _red_green_blue(colour))


@lru_cache
def _luminance(colour: str) -> float:
    red, green, blue = _red_green_blue(colour)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _red_green_blue(colour: str) -> list[float]:
    """`#RRGGBB` as three shares of 1."""
    return [value / 255 for value in bytes.fromhex(colour.removeprefix("#"))]
