"""A drawing of an architecture: stages as rows, blocks as boxes.

A box is as wide as the block's share of the multiply-adds and as high as the stage has channels, on one scale for all
rows. Its upper part is the mixer's share, in the mixer's colour; the lower, paler part is the feed-forward network's. So
areas compare. Under each row stands what its blocks are. The drawing is narrow, for phones and reports alike, and the same
architecture gives the same bytes.
"""

from __future__ import annotations

import io
import textwrap
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from matplotlib import rc_context
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle

from nas.palette import NEUTRAL, Fill, fill_of
from proxies.cost import Cost
from proxies.macs import part_cost
from space.architecture import Architecture, BlockSpec, Part

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WIDTH, MARGIN = 400.0, 8.0
"""In points, of the whole drawing: a phone's screen shows them at about nine tenths of their size."""
LINE, TEXT, TITLE = 13.0, 9.0, 13.0
LINE_CHARS = 66
LEAST_HEIGHT, GREATEST_HEIGHT = 6.0, 64.0
"""Of a box, in points."""
NUMBER_WIDTH, NUMBER_HEIGHT = 13.0, 9.0
"""What a block's number needs of its box."""
PNG_DPI = 200
INK, PALE_INK, FAINT = "#1A1A1A", "#FFFFFF", "#666666"
DARK = 0.35
"""Below this luminance text is pale."""
PALENESS = 0.55
_SETTINGS: dict[Any, Any] = {
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans", "Verdana", "Arial", "Helvetica", "sans-serif"],
    "font.size": TEXT,
    "hatch.linewidth": 0.6,
    "pdf.fonttype": 42,
    "text.parse_math": False,
}
_UNDATED = {
    "svg": {"Date": None, "Creator": None},
    "png": {"Software": None},
    "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
}


def drawing_of(architecture: Architecture) -> str:
    """An architecture as SVG text, an `<svg>` element that may stand in an HTML page."""
    text = render(architecture, "svg").decode()
    return text[text.index("<svg") :]


def render(architecture: Architecture, format: str) -> bytes:
    """An architecture as the content of a file: `svg`, `png` or `pdf`."""
    # The salt makes the names of an SVG's parts: the same in every run, others in another architecture's drawing on the page.
    with rc_context(_SETTINGS | {"svg.hashsalt": architecture.fingerprint}), warnings.catch_warnings():
        # Names come from people; letters that this font lacks are in their own.
        warnings.filterwarnings("ignore", "Glyph")
        file = io.BytesIO()
        figure_of(architecture).savefig(file, format=format, dpi=PNG_DPI, metadata=_UNDATED[format])
    return file.getvalue()


NO_BLOCK = Fill(NEUTRAL)


@dataclass(frozen=True)
class _Box:
    """A part of a row: blocks have a number, a mixer's and a feed-forward network's multiply-adds; the rest is neutral."""

    macs: int
    number: int | None = None
    fill: Fill = NO_BLOCK
    mixer_macs: int = 0


@dataclass(frozen=True)
class _Row:
    """A stage, the stem or the head. `width` is its channels, None where there is no map."""

    title: str
    width: int | None
    boxes: tuple[_Box, ...]
    lines: tuple[str, ...] = ()

    @property
    def macs(self) -> int:
        return sum(box.macs for box in self.boxes)


def figure_of(architecture: Architecture) -> Figure:
    """An architecture as a figure whose coordinates are points."""
    costs = {part.path: part_cost(part) for part in architecture.parts}
    total = sum(costs.values(), Cost(0, 0))
    rows = list(_rows(architecture, {path: cost.macs for path, cost in costs.items()}))
    per_mac = (WIDTH - 2 * MARGIN) / max(row.macs for row in rows)
    per_channel = GREATEST_HEIGHT / max(stage.width for stage in architecture.stages)
    names = sorted({block.mixer.type for stage in architecture.stages for block in stage.blocks})
    legend_height = LINE * (-(-(len(names) + 2) // 2) + 1)
    heights = [_height(row, per_channel) for row in rows]
    title = textwrap.wrap(architecture.name, 46) or [""]
    height = 2 * MARGIN + TITLE * 1.4 * len(title) + 1.6 * LINE + legend_height
    height += sum(box + LINE * (1.9 + len(row.lines)) for row, box in zip(rows, heights, strict=True))
    figure = Figure(figsize=(WIDTH / 72, height / 72), facecolor="white")
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, WIDTH), ylim=(height, 0))
    axes.set_axis_off()
    y = MARGIN
    for line in title:
        axes.text(MARGIN, y, line, size=TITLE, weight="bold", va="top", color=INK)
        y += TITLE * 1.4
    side = architecture.image_size
    about = f"{total} at {side}×{side}, {architecture.num_classes} classes"
    axes.text(MARGIN, y, about, va="top", color=INK)
    y += 1.6 * LINE
    for row, box_height in zip(rows, heights, strict=True):
        axes.text(MARGIN, y, row.title, va="top", weight="bold", color=INK)
        axes.text(WIDTH - MARGIN, y, f"{row.macs / total.macs:.1%} of MACs", va="top", ha="right", color=FAINT)
        y += LINE
        _draw_boxes(axes, row, y, box_height, per_mac)
        y += box_height + 0.3 * LINE
        for line in row.lines:
            axes.text(MARGIN, y, line, va="top", color=INK)
            y += LINE
        y += 0.6 * LINE
    handles = [_patch(fill_of(name), name) for name in names]
    handles += [_patch(Fill(to_hex(_pale(NEUTRAL))), "paler: its FFN"), _patch(NO_BLOCK, "stem, downsampler, head")]
    axes.legend(
        handles=handles, ncols=2, loc="lower left", bbox_to_anchor=(MARGIN / WIDTH, 2 / height), frameon=False, fontsize=TEXT,
        borderpad=0, borderaxespad=0, handlelength=1.2, handleheight=0.9, labelspacing=0.35, labelcolor=INK,
        title="box: width = share of MACs, height = channels", title_fontsize=TEXT, alignment="left",
    )  # fmt: skip
    return figure


def _rows(architecture: Architecture, macs: dict[str, int]) -> Iterator[_Row]:
    parts = {part.path: part for part in architecture.parts}
    yield _Row(f"stem: {architecture.stem.type}", architecture.stages[0].width, (_Box(macs["stem"]),))
    for i, stage in enumerate(architecture.stages):
        boxes = [_Box(macs[path]) for path in (f"stages.{i}.downsample",) if path in parts]
        for j, block in enumerate(stage.blocks):
            slots = {slot: macs.get(f"stages.{i}.blocks.{j}.{slot}", 0) for slot in ("position", "mixer", "ffn_position", "ffn")}
            of_mixer = slots["position"] + slots["mixer"]
            boxes.append(_Box(sum(slots.values()), j + 1, fill_of(block.mixer.type), of_mixer))
        height, width = _map_size(parts, i)
        title = f"stage {i + 1}: {height}×{width}, {stage.width} channels"
        yield _Row(title, stage.width, tuple(boxes), tuple(_described(stage.blocks)))
    yield _Row(f"head: {architecture.head.type}", None, (_Box(macs["head"]),))


def _map_size(parts: dict[str, Part], stage: int) -> tuple[int, int]:
    return parts[f"stages.{stage}.blocks.0.mixer"].out_size


def _described(blocks: tuple[BlockSpec, ...]) -> Iterator[str]:
    """A line or two for each distinct block: its numbers and its operators."""
    for block in dict.fromkeys(blocks):
        numbers = _ranges([j for j, other in enumerate(blocks, start=1) if other == block])
        specs = (block.position, block.mixer, block.ffn_position, block.ffn)
        text = f"{numbers}: " + " · ".join(spec.label for spec in specs if spec.type != "none")
        yield from textwrap.wrap(text, LINE_CHARS, subsequent_indent="      ", break_on_hyphens=False)


def _ranges(numbers: list[int]) -> str:
    """`[1, 2, 3, 5]` as `1–3, 5`."""
    starts = [number for number in numbers if number - 1 not in numbers]
    ends = [number for number in numbers if number + 1 not in numbers]
    return ", ".join(str(first) if first == last else f"{first}–{last}" for first, last in zip(starts, ends, strict=True))


def _height(row: _Row, per_channel: float) -> float:
    return LEAST_HEIGHT if row.width is None else max(row.width * per_channel, LEAST_HEIGHT)


def _draw_boxes(axes: Axes, row: _Row, y: float, height: float, per_mac: float) -> None:
    x = MARGIN
    for box in row.boxes:
        width = box.macs * per_mac
        style: dict[str, Any] = {"edgecolor": "white", "linewidth": 0.6 if width > 2 else 0.0}
        upper = height * box.mixer_macs / box.macs if box.number is not None and box.macs else height
        axes.add_patch(Rectangle((x, y), width, upper, facecolor=box.fill.colour, hatch=box.fill.hatch, **style))
        if upper < height:
            axes.add_patch(Rectangle((x, y + upper), width, height - upper, facecolor=_pale(box.fill.colour), **style))
        # In the taller part, so that no edge runs through it.
        top, tall = (0.0, upper) if upper >= height / 2 else (upper, height - upper)
        if box.number is not None and width >= NUMBER_WIDTH and tall >= NUMBER_HEIGHT:
            ink = INK if top or _luminance(box.fill.colour) > DARK else PALE_INK
            middle = (x + width / 2, y + top + tall / 2)
            axes.text(*middle, str(box.number), ha="center", va="center_baseline", color=ink, size=TEXT - 1)
        x += width


def _pale(colour: str) -> tuple[float, float, float]:
    red, green, blue = (PALENESS + (1 - PALENESS) * part for part in to_rgb(colour))
    return red, green, blue


def _luminance(colour: str) -> float:
    red, green, blue = to_rgb(colour)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _patch(fill: Fill, label: str) -> Patch:
    return Patch(facecolor=fill.colour, hatch=fill.hatch, label=label, linewidth=0)
