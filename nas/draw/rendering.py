"""An architecture as text or as the content of a file."""

from __future__ import annotations

from nas.draw.layout import lay_out
from nas.draw.svg import svg_of
from space.architecture import Architecture


def drawing_of(architecture: Architecture) -> str:
    """An architecture as SVG text: an `<svg>` element, which an HTML page can contain."""
    return svg_of(lay_out(architecture))


def render(architecture: Architecture, format: str) -> bytes:
    """An architecture as the content of a file, `svg`, `png` or `pdf`; the same architecture gives the same bytes."""
    if format == "svg":
        return f'<?xml version="1.0" encoding="utf-8"?>\n{drawing_of(architecture)}'.encode()
    # Imported here: matplotlib takes a second, and most drawings are SVG.
    from nas.draw.picture import picture_of

    return picture_of(lay_out(architecture), format)
