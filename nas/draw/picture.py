"""A drawing as PNG or PDF, by matplotlib."""

from __future__ import annotations

import io
import warnings
from typing import Any

from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from nas.draw.layout import FONTS, Drawing

DPI = 200
_SETTINGS: dict[Any, Any] = {
    "font.family": "sans-serif",
    "font.sans-serif": FONTS,
    "hatch.linewidth": 0.6,
    "pdf.fonttype": 42,
    "text.parse_math": False,
}
_UNDATED = {"png": {"Software": None}, "pdf": {"CreationDate": None, "Creator": None, "Producer": None}}
_SIDES = {"start": "left", "middle": "center", "end": "right"}


def picture_of(drawing: Drawing, format: str) -> bytes:
    """The content of a `png` or `pdf` file."""
    with rc_context(_SETTINGS), warnings.catch_warnings():
        # An architecture's name may have letters that the font lacks.
        warnings.filterwarnings("ignore", "Glyph")
        figure = Figure(figsize=(drawing.width / 72, drawing.height / 72), facecolor="white")
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set(xlim=(0, drawing.width), ylim=(drawing.height, 0))
        axes.set_axis_off()
        for box in drawing.boxes:
            style: dict[str, Any] = {"facecolor": box.fill.colour, "hatch": box.fill.hatch, "edgecolor": "white", "linewidth": box.edge}
            axes.add_patch(Rectangle((box.x, box.y), box.width, box.height, **style))
        for text in drawing.texts:
            weight = "bold" if text.bold else "normal"
            axes.text(text.x, text.baseline, text.content, size=text.size, color=text.colour, weight=weight, ha=_SIDES[text.anchor])
        file = io.BytesIO()
        figure.savefig(file, format=format, dpi=DPI, metadata=_UNDATED[format])
    return file.getvalue()
