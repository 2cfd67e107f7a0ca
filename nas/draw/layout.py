"""The layout of an architecture's drawing: stages as rows, blocks as boxes.

A box is as wide as the block's share of the multiply-adds and as high as the stage has channels, on one scale for all
rows, so areas compare. Its upper part is the mixer's share, in the mixer's colour; the lower, paler part is the
feed-forward network's. The operators of the blocks are listed under each row. The drawing is narrow enough for a phone.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

from nas.draw.palette import NEUTRAL, Fill, fill_of
from proxies.macs import cost_of, part_cost
from space.architecture import Architecture, BlockSpec, Part

WIDTH, MARGIN = 400.0, 8.0
"""In points, of the whole drawing: a phone's screen shows them at about nine tenths of their size."""
FONTS = ["DejaVu Sans", "Verdana", "Arial", "Helvetica", "sans-serif"]
LINE, TEXT, TITLE = 13.0, 9.0, 13.0
LINE_CHARS, TITLE_CHARS = 66, 46
ASCENT, MIDDLE = 0.93, 0.36
"""Of a font's size: how far its baseline lies below a line's upper edge, and below the middle of its digits."""
LEAST_HEIGHT, GREATEST_HEIGHT = 6.0, 64.0
"""Of a box, in points."""
NUMBER_WIDTH, NUMBER_HEIGHT = 13.0, 9.0
"""A block's number is written in a box of this size or larger."""
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
        part: path of the drawn part in the architecture; empty for a block's lower part, and in the key.
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
    rows, total, side = list(_rows(architecture)), cost_of(architecture), architecture.image_size
    per_mac = (WIDTH - 2 * MARGIN) / max(row.macs for row in rows)
    per_channel = GREATEST_HEIGHT / max(row.width for row in rows)
    canvas = _Canvas()
    for line in textwrap.wrap(architecture.name, TITLE_CHARS) or [""]:
        canvas.write(line, 1.4 * TITLE, size=TITLE, bold=True)
    canvas.write(f"{total} at {side}×{side}, {architecture.num_classes} classes", 1.6 * LINE)
    for row in rows:
        canvas.write(f"{row.macs / total.macs:.1%} of MACs", 0, x=WIDTH - MARGIN, colour=FAINT, anchor="end")
        canvas.write(row.title, bold=True)
        height = max(row.width * per_channel, LEAST_HEIGHT)
        _draw_cells(canvas, row.cells, height, per_mac)
        canvas.y += height + 0.3 * LINE
        for line in row.lines:
            canvas.write(line)
        canvas.y += 0.6 * LINE
    _draw_key(canvas, sorted({block.mixer.type for stage in architecture.stages for block in stage.blocks}))
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


@dataclass(frozen=True)
class _Cell:
    """A block, or with no number a part that is none: a stem, a downsampler, a head."""

    part: str
    macs: int
    number: int | None = None
    fill: Fill = NO_BLOCK
    mixer_macs: int = 0


@dataclass(frozen=True)
class _Row:
    """A stage, the stem or the head. `width` is its number of channels, 0 for the head, which returns no map."""

    title: str
    width: int
    cells: tuple[_Cell, ...]
    lines: tuple[str, ...] = ()

    @property
    def macs(self) -> int:
        return sum(cell.macs for cell in self.cells)


def _rows(architecture: Architecture) -> Iterator[_Row]:
    parts = {part.path: part for part in architecture.parts}
    macs = {path: part_cost(part).macs for path, part in parts.items()}
    yield _Row(
        f"stem: {architecture.stem.type}", architecture.stages[0].width, (_Cell("stem", macs["stem"]),), tuple(_maps_of_stem(architecture))
    )
    for i, stage in enumerate(architecture.stages):
        cells = [_Cell(path, macs[path]) for path in (f"stages.{i}.downsample",) if path in parts]
        for j, block in enumerate(stage.blocks):
            path = f"stages.{i}.blocks.{j}"
            mixer = macs.get(f"{path}.position", 0) + macs[f"{path}.mixer"]
            ffn = macs.get(f"{path}.ffn_position", 0) + macs.get(f"{path}.ffn", 0)
            cells.append(_Cell(path, mixer + ffn, j + 1, fill_of(block.mixer.type), mixer))
        height, width = parts[f"stages.{i}.blocks.0.mixer"].out_size
        title = f"stage {i + 1}: {height}×{width}, {stage.width} channels"
        yield _Row(title, stage.width, tuple(cells), tuple(_described(stage.blocks)))
    taps = [part for path, part in parts.items() if path.startswith("taps.")]
    if taps:
        lines = tuple(_line_of_tap(part) for part in taps)
        yield _Row(f"taps: {taps[0].spec.type}", taps[0].widths[-1], tuple(_Cell(part.path, macs[part.path]) for part in taps), lines)
    yield _Row(f"head: {architecture.head.type}", 0, (_Cell("head", macs["head"]),), _lines_of_head(parts["head"]))


def _maps_of_stem(architecture: Architecture) -> Iterator[str]:
    """The maps of a stem that is a pyramid."""
    maps = architecture.features_at(*[architecture.image_size] * 2)[: -len(architecture.stages)]
    if maps:
        scales = ", ".join(f"{height}×{width}: {channels}" for height, width, channels in maps)
        yield f"channels of its maps: {scales}"


def _line_of_tap(part: Part) -> str:
    """The maps that a tap takes."""
    return " and ".join(f"{height}×{width}, {channels} channels" for height, width, channels in part.maps)


def _lines_of_head(part: Part) -> tuple[str, ...]:
    """The logits of a head that labels every pixel."""
    return (f"logits at {part.out_size[0]}×{part.out_size[1]}",) if part.maps else ()


def _described(blocks: tuple[BlockSpec, ...]) -> Iterator[str]:
    """A line or two for each distinct block: its numbers and its operators."""
    for block in dict.fromkeys(blocks):
        yield from _lines(_ranges([number for number, other in enumerate(blocks, start=1) if other == block]), block)


@lru_cache(maxsize=4096)
def _lines(numbers: str, block: BlockSpec) -> tuple[str, ...]:
    specs = (block.position, block.mixer, block.ffn_position, block.ffn)
    text = f"{numbers}: " + " · ".join(spec.label for spec in specs if spec.type != "none")
    # Unbreakable spaces: SVG would swallow others at a line's beginning.
    return tuple(textwrap.wrap(text, LINE_CHARS, subsequent_indent="\u00a0" * 6, break_on_hyphens=False))


def _ranges(numbers: list[int]) -> str:
    """`[1, 2, 3, 5]` as `1–3, 5`."""
    starts = [number for number in numbers if number - 1 not in numbers]
    ends = [number for number in numbers if number + 1 not in numbers]
    return ", ".join(str(first) if first == last else f"{first}–{last}" for first, last in zip(starts, ends, strict=True))


def _draw_cells(canvas: _Canvas, cells: tuple[_Cell, ...], height: float, per_mac: float) -> None:
    x, y = MARGIN, canvas.y
    for cell in cells:
        width = cell.macs * per_mac
        edge = 0.6 if width > 2 else 0.0
        upper = height * cell.mixer_macs / cell.macs if cell.number is not None and cell.macs else height
        canvas.boxes.append(Box(x, y, width, upper, cell.fill, edge, cell.part))
        if upper < height:
            canvas.boxes.append(Box(x, y + upper, width, height - upper, Fill(_pale(cell.fill.colour)), edge))
        # In the taller part, so that no edge runs through the number.
        top, tall = (0.0, upper) if upper >= height / 2 else (upper, height - upper)
        if cell.number is not None and width >= NUMBER_WIDTH and tall >= NUMBER_HEIGHT:
            ink = INK if top or _luminance(cell.fill.colour) > DARK else PALE_INK
            size = TEXT - 1
            canvas.texts.append(Text(x + width / 2, y + top + tall / 2 + MIDDLE * size, str(cell.number), size, ink, anchor="middle"))
        x += width


def _draw_key(canvas: _Canvas, mixers: list[str]) -> None:
    """What the colours mean, in two columns."""
    canvas.write("box: width = share of MACs, height = channels")
    meanings = [(fill_of(name), name) for name in mixers]
    meanings += [(Fill(_pale(NEUTRAL)), "paler: its FFN"), (NO_BLOCK, "stem, downsampler, head")]
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
