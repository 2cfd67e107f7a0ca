"""The report's charts, by matplotlib: SVG elements for the page itself, of any width, the same bytes for the same data.

Colours are Okabe and Ito's. Colour alone distinguishes nothing: marks differ in shape, and tables beside the charts have
the same figures.
"""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup, escape
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from nas.draw.layout import FONTS
from nas.draw.palette import fill_of
from nas.report.mixer_counts import MixerCounts
from nas.runs.records.ablation import Effect
from supernet.intervals import Interval

NARROW, WIDE = 360.0, 690.0
"""In points: so wide are a phone's screen and the page, on which text then has its own size."""
ROW = 13.0
FAR = 1.3
"""A budget more than so many times the greatest cost is not shown: it would press the points together."""
INK, FAINT = "#1A1A1A", "#595959"
ORANGE, BLUE, GREEN, VERMILION = "#E69F00", "#0072B2", "#009E73", "#D55E00"
SKY, PURPLE, YELLOW = "#56B4E9", "#CC79A7", "#F0E442"
_SETTINGS: dict[Any, Any] = {
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.sans-serif": FONTS,
    "font.size": 9.5,
    "axes.titlesize": 9.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "text.color": INK,
    "xtick.color": FAINT,
    "ytick.color": FAINT,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "legend.frameon": False,
    "hatch.linewidth": 0.6,
    "text.parse_math": False,
}
_NO_METADATA = dict.fromkeys(("Date", "Creator", "Format", "Type"))


@dataclass(frozen=True)
class Series:
    """Points of one kind: (x, y) each, shares in percent; each may have an interval, and a label above or below it."""

    name: str
    points: Sequence[tuple[float, float]]
    colour: str
    marker: str
    size: float = 14
    intervals: Sequence[Interval] = ()
    labels: Sequence[str] = ()


def trade_off(
    name: str, alt: str, series: Sequence[Series], x: str, y: str, limit: float | None, width: float,
    front: Sequence[tuple[float, float]] = (),
) -> Markup:
    """A scatter plot of what is reached against what it costs.

    Args:
        limit: the budget, on the x axis; shown where it is near.
        front: the points of a front, which is drawn as a line.
    """
    with rc_context(_SETTINGS):
        figure, axes = _axes(width, 250)
        if front:
            axes.step(*zip(*sorted(front), strict=True), where="post", color=VERMILION, linewidth=1, zorder=1)
        if limit is not None and limit < FAR * max(x for one in series for x, _ in one.points):
            axes.axvline(limit, color=FAINT, linestyle="--", linewidth=0.8, label="budget")
        for order, one in enumerate(one for one in series if one.points):
            _scatter(axes, one, order)
        axes.margins(x=0.12, y=0.08)
        axes.set(xlabel=x, ylabel=y)
        axes.grid(color="#DDDDDD", linewidth=0.5)
        axes.set_axisbelow(True)
        figure.legend(loc="outside upper left", ncols=2, handletextpad=0.3, columnspacing=1, fontsize=9)
        return _svg(figure, name, alt)


def _scatter(axes: Axes, series: Series, order: int) -> None:
    xs, ys = zip(*series.points, strict=True)
    if series.intervals:
        lengths = [[y - 100 * one.low for y, one in zip(ys, series.intervals, strict=True)],
                   [100 * one.high - y for y, one in zip(ys, series.intervals, strict=True)]]  # fmt: skip
        axes.errorbar(xs, ys, yerr=lengths, fmt="none", ecolor=series.colour, elinewidth=0.9, capsize=2, zorder=2 + order)
    edge = 1 if series.marker == "x" else 0
    axes.scatter(xs, ys, s=series.size, c=series.colour, marker=series.marker, linewidths=edge, zorder=2 + order, label=series.name)
    # Above and below in turn, so that neighbouring labels do not overlap.
    ends = [(100 * one.low, 100 * one.high) for one in series.intervals] or [(y, y) for y in ys]
    for number, (text, x, (low, high)) in enumerate(zip(series.labels, xs, ends, strict=False)):
        y, shift, side = (low, -4, "top") if number % 2 else (high, 4, "bottom")
        axes.annotate(text, (x, y), xytext=(0, shift), textcoords="offset points", ha="center", va=side, fontsize=8, color=INK)


def mixers_by_block(name: str, alt: str, blocks: Sequence[MixerCounts], best: str, width: float) -> Markup:
    """Two bars a block: which mixers the best (`best` says who they are) have there and, thinner, which ones all have."""
    with rc_context(_SETTINGS):
        mixers = sorted({mixer for block in blocks for mixer in block.all})
        figure, axes = _axes(width, len(blocks) * 2.3 * ROW + 60 + 13 * -(-len(mixers) // 2))
        ticks = []
        for row, block in enumerate(blocks):
            y = row + 0.4 * (block.stage - 1)
            ticks.append((y, f"{block.stage}.{block.block}"))
            for counts, of, height, shift in ((block.best, "best", 0.42, -0.16), (block.all, "all", 0.22, 0.25)):
                total = sum(counts.values())
                left = 0.0
                for mixer in mixers:
                    if share := 100 * counts.get(mixer, 0) / max(total, 1):
                        fill = fill_of(mixer)
                        axes.barh(y + shift, share, height, left, color=fill.colour, hatch=fill.hatch, edgecolor="white", linewidth=0.4)
                        left += share
                axes.text(102, y + shift, f"{total} {of}" if total else f"none {of}", va="center", fontsize=7.5, color=FAINT)
        axes.set(xlim=(0, 100), ylim=(ticks[-1][0] + 0.6, -0.6), xlabel=f"% of architectures: thick {best}, thin all evaluated")
        axes.set_yticks(*zip(*ticks, strict=True))
        axes.set_ylabel("stage.block")
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        patches = [Patch(facecolor=fill_of(mixer).colour, hatch=fill_of(mixer).hatch, label=mixer, linewidth=0) for mixer in mixers]
        figure.legend(handles=patches, loc="outside upper left", ncols=2, handlelength=1.2, columnspacing=1, fontsize=9)
        return _svg(figure, name, alt)


def effects_by_block(
    name: str, alt: str, blocks: Mapping[tuple[int, int], Sequence[Effect]], winner: Mapping[tuple[int, int], str], unit: str,
    width: float,
) -> Markup:
    """By stage and block, what other mixers gain in log-likelihood, with 95 % intervals.

    Args:
        winner: labels of the winner's mixers.
        unit: what the log-likelihoods are means over, such as `image`.
    """
    with rc_context(_SETTINGS):
        figure, axes = _axes(width, sum(1 + len(effects) for effects in blocks.values()) * ROW + 45)
        labels: list[str] = []
        for place, effects in blocks.items():
            y = len(labels)
            axes.axhspan(y - 0.5, y + 0.5, color="#EEEEEE", linewidth=0, zorder=0)
            axes.plot(0, y, marker="D", markersize=4, color=_colour_of(winner[place]), markeredgecolor=INK, markeredgewidth=0.5)
            labels.append(f"{place[0]}.{place[1]} {winner[place]}")
            for effect in effects:
                axes.errorbar(effect.log_likelihood, len(labels), xerr=1.96 * effect.stderr, fmt="o", markersize=4,
                              color=_colour_of(effect.mixer), ecolor=FAINT, elinewidth=0.9, capsize=1.5, markeredgecolor=INK,
                              markeredgewidth=0.4)  # fmt: skip
                labels.append(effect.mixer)
        axes.axvline(0, color=FAINT, linewidth=0.8, zorder=1)
        axes.set(ylim=(len(labels) - 0.4, -0.6), xlabel=f"gain, nats per {unit}")
        axes.set_yticks(range(len(labels)), labels, fontsize=8)
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="x", color="#DDDDDD", linewidth=0.5)
        axes.set_axisbelow(True)
        return _svg(figure, name, alt)


def _colour_of(label: str) -> str:
    """The colour of a mixer by its label, such as `ssa(sr_ratio=4)`."""
    return fill_of(label.partition("(")[0]).colour


def bars(name: str, alt: str, shares: Mapping[str, float], x: str, width: float) -> Markup:
    """Horizontal bars, one a name."""
    with rc_context(_SETTINGS):
        figure, axes = _axes(width, len(shares) * 1.2 * ROW + 40)
        axes.barh(list(shares), [100 * share for share in shares.values()], 0.62, color=BLUE)
        for row, share in enumerate(shares.values()):
            axes.text(100 * share, row, f" {100 * share:.0f}", va="center", fontsize=8.5)
        axes.set(xlabel=x, ylim=(len(shares) - 0.4, -0.6))
        axes.tick_params(axis="y", length=0)
        return _svg(figure, name, alt)


def in_page(svg: str, alt: str) -> Markup:
    """An SVG document as an element of a page, with a text for those who cannot see it, and without ids, which would occur twice."""
    element = re.sub(r'<g id="[^"]*"', "<g", svg[svg.index("<svg"):])
    return Markup(element.replace("<svg ", Markup('<svg role="img" aria-label="{}" ').format(escape(alt)), 1))


def _axes(width: float, height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width / 72, height / 72), layout="constrained")
    return figure, figure.subplots()


def _svg(figure: Figure, name: str, alt: str) -> Markup:
    file = io.StringIO()
    # The salt makes ids that differ between the charts and widths of a page and are the same in every run.
    with rc_context({"svg.hashsalt": f"{name} {figure.get_figwidth()}"}):
        figure.savefig(file, format="svg", transparent=True, metadata=_NO_METADATA)
    return in_page(file.getvalue(), alt)
