"""A drawing as SVG, written directly: a search draws every trial, and a plotting library takes a quarter of a second for each."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from xml.sax.saxutils import escape

from nas.draw.layout import FONTS, Box, Drawing, Text
from nas.draw.palette import HATCHES, Fill

_TILE = 6
_STROKES = dict(zip(HATCHES, ("", "M0,6 L6,0", "M3,3 h.1", "M0,6 L6,0 M0,0 L6,6"), strict=True))
"""What a hatch draws on each tile."""


def svg_of(drawing: Drawing) -> str:
    """An `<svg>` element, which an HTML page can contain; lengths are points."""
    width, height = _number(drawing.width), _number(drawing.height)
    opening = f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}pt" height="{height}pt" viewBox="0 0 {width} {height}"'
    fonts = ", ".join(f"'{name}'" if " " in name else name for name in FONTS)
    patterns = sorted({_pattern(box.fill) for box in drawing.boxes if box.fill.hatch})
    return "\n".join((
        f'{opening} font-family="{fonts}">',
        *([f"<defs>{''.join(patterns)}</defs>"] if patterns else []),
        f'<rect width="{width}" height="{height}" fill="white"/>',
        *map(_rect, drawing.boxes),
        *_texts(drawing.texts),
        "</svg>\n",
    ))  # fmt: skip


def _rect(box: Box) -> str:
    edge = f' stroke="white" stroke-width="{box.edge}"' if box.edge else ""
    fill = f"url(#{_name(box.fill)})" if box.fill.hatch else box.fill.colour
    place, size = f'x="{_number(box.x)}" y="{_number(box.y)}"', f'width="{_number(box.width)}" height="{_number(box.height)}"'
    return f'<rect {place} {size} fill="{fill}"{edge}/>'


def _texts(texts: tuple[Text, ...]) -> Iterator[str]:
    for text in texts:
        weight = ' font-weight="bold"' if text.bold else ""
        anchor = f' text-anchor="{text.anchor}"' if text.anchor != "start" else ""
        place = f'x="{_number(text.x)}" y="{_number(text.baseline)}"'
        yield f'<text {place} font-size="{_number(text.size)}" fill="{text.colour}"{weight}{anchor}>{escape(text.content)}</text>'


def _pattern(fill: Fill) -> str:
    ground = f'<rect width="{_TILE}" height="{_TILE}" fill="{fill.colour}"/>'
    strokes = f'<path d="{_STROKES[fill.hatch]}" stroke="white" stroke-linecap="round" fill="none"/>'
    size = f'width="{_TILE}" height="{_TILE}" patternUnits="userSpaceOnUse"'
    return f'<pattern id="{_name(fill)}" {size}>{ground}{strokes}</pattern>'


def _name(fill: Fill) -> str:
    """An id made of what the pattern looks like: drawings in one page that have the same id then have the same pattern."""
    return f"hatch-{HATCHES.index(fill.hatch)}-{fill.colour.removeprefix('#')}"


@lru_cache(maxsize=4096)
def _number(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".")
