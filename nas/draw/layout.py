"""The layout of an architecture's drawing: stages as rows, blocks as boxes.

A box is as wide as the block's share of the multiply-adds and as high as the stage has channels, on one scale for all
rows. Its upper part is the mixer's share, in the mixer's colour; the lower, paler part is the feed-forward network's. So
areas compare. Under each row stands what its blocks are. The drawing is narrow, for phones and reports alike.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from nas.draw.palette import NEUTRAL, Fill, fill_of
from proxies.cost import Cost
from proxies.macs import part_cost
from space.architecture import Architecture, BlockSpec, Part

WIDTH, MARGIN = 400.0, 8.0
"""In points, of the whole drawing: a phone's screen shows them at about nine tenths of their size."""
FONTS = ["DejaVu Sans", "Verdana", "Arial", "Helvetica", "sans-serif"]
LINE, TEXT, TITLE = 13.0, 9.0, 13.0
LINE_CHARS = 66
ASCENT, MIDDLE = 0.93, 0.36
"""Of a font's size: how far its baseline lies below a line's upper edge, and below the middle of its digits."""
LEAST_HEIGHT, GREATEST_HEIGHT = 6.0, 64.0
"""Of a box, in points."""
NUMBER_WIDTH, NUMBER_HEIGHT = 13.0, 9.0
"""What a block's number needs of its box."""
SWATCH = 11.0
INK, PALE_INK, FAINT = "#1A1A1A", "#FFFFFF", "#666666"
DARK = 0.35
"""Below this luminance text is pale."""
PALENESS = 0.55
NO_BLOCK = Fill(NEUTRAL)


@dataclass(frozen=True)
class Box:
    """A filled rectangle with a white edge, in points from the upper left corner.

    Args:
        part: the path of what it stands for in the architecture; empty for a block's lower part, and in the key.
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


@dataclass(frozen=True)
class _Cell:
    """A part of a row: blocks have a number, a mixer's and a feed-forward network's multiply-adds; the rest is neutral."""

    part: str
    macs: int
    number: int | None = None
    fill: Fill = NO_BLOCK
    mixer_macs: int = 0


@dataclass(frozen=True)
class _Row:
    """A stage, the stem or the head. `width` is its channels, None where there is no map."""

    title: str
    width: int | None
    cells: tuple[_Cell, ...]
    lines: tuple[str, ...] = ()

    @property
    def macs(self) -> int:
        return sum(cell.macs for cell in self.cells)


def lay_out(architecture: Architecture) -> Drawing:
    """Lay an architecture out."""
    parts = {part.path: part for part in architecture.parts}
    costs = {path: part_cost(part) for path, part in parts.items()}
    total = Cost(sum(cost.macs for cost in costs.values()), sum(cost.params for cost in costs.values()))
    rows = list(_rows(architecture, parts, {path: cost.macs for path, cost in costs.items()}))
    per_mac = (WIDTH - 2 * MARGIN) / max(row.macs for row in rows)
    per_channel = GREATEST_HEIGHT / max(stage.width for stage in architecture.stages)
    boxes: list[Box] = []
    texts: list[Text] = []
    y = MARGIN
    for line in textwrap.wrap(architecture.name, 46) or [""]:
        texts.append(Text(MARGIN, y + ASCENT * TITLE, line, TITLE, bold=True))
        y += TITLE * 1.4
    side = architecture.image_size
    texts.append(_line(y, f"{total} at {side}×{side}, {architecture.num_classes} classes"))
    y += 1.6 * LINE
    for row in rows:
        texts.append(_line(y, row.title, bold=True))
        share = f"{row.macs / total.macs:.1%} of MACs"
        texts.append(Text(WIDTH - MARGIN, y + ASCENT * TEXT, share, colour=FAINT, anchor="end"))
        y += LINE
        height = LEAST_HEIGHT if row.width is None else max(row.width * per_channel, LEAST_HEIGHT)
        _draw_cells(row.cells, y, height, per_mac, boxes, texts)
        y += height + 0.3 * LINE
        for line in row.lines:
            texts.append(_line(y, line))
            y += LINE
        y += 0.6 * LINE
    y = _draw_key(sorted({block.mixer.type for stage in architecture.stages for block in stage.blocks}), y, boxes, texts)
    return Drawing(WIDTH, y + MARGIN, tuple(boxes), tuple(texts))


def _line(y: float, content: str, bold: bool = False) -> Text:
    return Text(MARGIN, y + ASCENT * TEXT, content, bold=bold)


def _rows(architecture: Architecture, parts: dict[str, Part], macs: dict[str, int]) -> Iterator[_Row]:
    yield _Row(f"stem: {architecture.stem.type}", architecture.stages[0].width, (_Cell("stem", macs["stem"]),))
    for i, stage in enumerate(architecture.stages):
        cells = [_Cell(path, macs[path]) for path in (f"stages.{i}.downsample",) if path in parts]
        for j, block in enumerate(stage.blocks):
            path = f"stages.{i}.blocks.{j}"
            slots = {slot: macs.get(f"{path}.{slot}", 0) for slot in ("position", "mixer", "ffn_position", "ffn")}
            of_mixer = slots["position"] + slots["mixer"]
            cells.append(_Cell(path, sum(slots.values()), j + 1, fill_of(block.mixer.type), of_mixer))
        height, width = parts[f"stages.{i}.blocks.0.mixer"].out_size
        title = f"stage {i + 1}: {height}×{width}, {stage.width} channels"
        yield _Row(title, stage.width, tuple(cells), tuple(_described(stage.blocks)))
    yield _Row(f"head: {architecture.head.type}", None, (_Cell("head", macs["head"]),))


def _described(blocks: tuple[BlockSpec, ...]) -> Iterator[str]:
    """A line or two for each distinct block: its numbers and its operators."""
    numbers: dict[BlockSpec, list[int]] = {}
    for number, block in enumerate(blocks, start=1):
        numbers.setdefault(block, []).append(number)
    for block, its in numbers.items():
        yield from _lines(_ranges(its), block)


@lru_cache(maxsize=4096)
def _lines(numbers: str, block: BlockSpec) -> tuple[str, ...]:
    specs = (block.position, block.mixer, block.ffn_position, block.ffn)
    text = f"{numbers}: " + " · ".join(spec.label for spec in specs if spec.type != "none")
    # Spaces at a line's beginning, which SVG would swallow, are unbreakable ones.
    return tuple(textwrap.wrap(text, LINE_CHARS, subsequent_indent="\u00a0" * 6, break_on_hyphens=False))


def _ranges(numbers: list[int]) -> str:
    """`[1, 2, 3, 5]` as `1–3, 5`."""
    starts = [number for number in numbers if number - 1 not in numbers]
    ends = [number for number in numbers if number + 1 not in numbers]
    return ", ".join(str(first) if first == last else f"{first}–{last}" for first, last in zip(starts, ends, strict=True))


def _draw_cells(cells: tuple[_Cell, ...], y: float, height: float, per_mac: float, boxes: list[Box], texts: list[Text]) -> None:
    x = MARGIN
    for cell in cells:
        width = cell.macs * per_mac
        edge = 0.6 if width > 2 else 0.0
        upper = height * cell.mixer_macs / cell.macs if cell.number is not None and cell.macs else height
        boxes.append(Box(x, y, width, upper, cell.fill, edge, cell.part))
        if upper < height:
            boxes.append(Box(x, y + upper, width, height - upper, Fill(_pale(cell.fill.colour)), edge))
        # In the taller part, so that no edge runs through it.
        top, tall = (0.0, upper) if upper >= height / 2 else (upper, height - upper)
        if cell.number is not None and width >= NUMBER_WIDTH and tall >= NUMBER_HEIGHT:
            ink = INK if top or _luminance(cell.fill.colour) > DARK else PALE_INK
            size = TEXT - 1
            texts.append(Text(x + width / 2, y + top + tall / 2 + MIDDLE * size, str(cell.number), size, ink, anchor="middle"))
        x += width


def _draw_key(mixers: list[str], y: float, boxes: list[Box], texts: list[Text]) -> float:
    """What colours mean, in two columns; where it ends."""
    texts.append(_line(y, "box: width = share of MACs, height = channels"))
    entries = [(fill_of(name), name) for name in mixers]
    entries += [(Fill(_pale(NEUTRAL)), "paler: its FFN"), (NO_BLOCK, "stem, downsampler, head")]
    lines = -(-len(entries) // 2)
    for number, (fill, label) in enumerate(entries):
        column, line = divmod(number, lines)
        x, top = MARGIN + column * (WIDTH / 2 - MARGIN), y + (line + 1) * LINE
        boxes.append(Box(x, top + (LINE - TEXT) / 4, SWATCH, TEXT, fill))
        texts.append(Text(x + 1.5 * SWATCH, top + ASCENT * TEXT, label))
    return y + (lines + 1) * LINE


@lru_cache
def _pale(colour: str) -> str:
    return "#" + "".join(f"{round(255 * (PALENESS + (1 - PALENESS) * part)):02X}" for part in _parts(colour))


@lru_cache
def _luminance(colour: str) -> float:
    red, green, blue = _parts(colour)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _parts(colour: str) -> tuple[float, float, float]:
    """`#RRGGBB` as shares."""
    red, green, blue = (value / 255 for value in bytes.fromhex(colour.removeprefix("#")))
    return red, green, blue
