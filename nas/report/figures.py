"""The report's plots: SVG that stands in the page itself, narrow enough for a phone, the same bytes for the same figures.

Colours are Okabe and Ito's, and nothing is told by colour alone: marks differ in shape, and the same figures stand in
tables beside the plots.
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

from nas.draw.palette import fill_of
from nas.report.ablation import Effect
from nas.report.choices import Choice
from supernet.intervals import Accuracy

WIDTH = 360.0
"""In points: a phone shows text at its own size."""
ROW = 13.0
FAR = 1.3
"""A budget so many times beyond everything is not shown: it would press the rest together."""
INK, FAINT = "#1A1A1A", "#595959"
ORANGE, BLUE, GREEN, VERMILION = "#E69F00", "#0072B2", "#009E73", "#D55E00"
_SETTINGS: dict[Any, Any] = {
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans", "Verdana", "Arial", "Helvetica", "sans-serif"],
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
class Group:
    """Points of one kind: (x, y) each, accuracies in percent; each may have an interval, and then a label at its end."""

    name: str
    points: Sequence[tuple[float, float]]
    colour: str
    marker: str
    size: float = 14
    intervals: Sequence[Accuracy] = ()
    labels: Sequence[str] = ()


def trade_off(
    name: str, alt: str, groups: Sequence[Group], x: str, y: str, limit: float | None, front: Sequence[tuple[float, float]] = ()
) -> Markup:
    """A scatter plot of what is reached against what it costs.

    Args:
        limit: the budget, on the x axis; shown where it is near.
        front: the points of a front, which is drawn as a line.
    """
    with rc_context(_SETTINGS):
        figure, axes = _axes(250)
        if front:
            axes.step(*zip(*sorted(front), strict=True), where="post", color=VERMILION, linewidth=1, zorder=1)
        if limit is not None and limit < FAR * max(x for group in groups for x, _ in group.points):
            axes.axvline(limit, color=FAINT, linestyle="--", linewidth=0.8, label="budget")
        for order, group in enumerate(group for group in groups if group.points):
            _scatter(axes, group, order)
        axes.margins(x=0.12, y=0.08)
        axes.set(xlabel=x, ylabel=y)
        axes.grid(color="#DDDDDD", linewidth=0.5)
        axes.set_axisbelow(True)
        figure.legend(loc="outside upper left", ncols=2, handletextpad=0.3, columnspacing=1, fontsize=9)
        return _svg(figure, name, alt)


def _scatter(axes: Axes, group: Group, order: int) -> None:
    xs, ys = zip(*group.points, strict=True)
    if group.intervals:
        reach = [[y - 100 * one.low for y, one in zip(ys, group.intervals, strict=True)],
                 [100 * one.high - y for y, one in zip(ys, group.intervals, strict=True)]]  # fmt: skip
        axes.errorbar(xs, ys, yerr=reach, fmt="none", ecolor=group.colour, elinewidth=0.9, capsize=2, zorder=2 + order)
    edge = 1 if group.marker == "x" else 0
    axes.scatter(xs, ys, s=group.size, c=group.colour, marker=group.marker, linewidths=edge, zorder=2 + order, label=group.name)
    # Above and below in turn, so that neighbours' do not run into each other.
    for number, (text, x, interval) in enumerate(zip(group.labels, xs, group.intervals, strict=False)):
        y, shift, side = (interval.low, -3, "top") if number % 2 else (interval.high, 3, "bottom")
        axes.annotate(text, (x, 100 * y), xytext=(0, shift), textcoords="offset points", ha="center", va=side, fontsize=8, color=INK)


def mixers_by_block(name: str, alt: str, choices: Sequence[Choice], best: str) -> Markup:
    """Two bars a block: which mixers stand there, among the best (`best` says who they are) and, thinner, among all."""
    with rc_context(_SETTINGS):
        mixers = sorted({mixer for choice in choices for mixer in choice.all})
        figure, axes = _axes(len(choices) * 2.3 * ROW + 60 + 13 * -(-len(mixers) // 2))
        ticks = []
        for row, choice in enumerate(choices):
            y = row + 0.4 * (choice.stage - 1)
            ticks.append((y, f"{choice.stage}.{choice.block}"))
            for counts, of, height, shift in ((choice.best, "best", 0.42, -0.16), (choice.all, "all", 0.22, 0.25)):
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


def gains_by_block(
    name: str, alt: str, blocks: Sequence[tuple[tuple[int, int], Sequence[Effect]]], held: Mapping[tuple[int, int], str]
) -> Markup:
    """What replacing a block's mixer gains in log-likelihood, with 95 % intervals; `held` is the mixer that the winner has there."""
    with rc_context(_SETTINGS):
        rows = sum(1 + len(effects) for _, effects in blocks)
        figure, axes = _axes(rows * ROW + 45)
        y = 0
        labels = []
        for place, effects in blocks:
            axes.axhspan(y - 0.5, y + 0.5, color="#EEEEEE", linewidth=0, zorder=0)
            axes.plot(0, y, marker="D", markersize=4, color=fill_of(held[place].partition("(")[0]).colour, markeredgecolor=INK,
                      markeredgewidth=0.5)  # fmt: skip
            labels.append(f"{place[0]}.{place[1]} {held[place]}")
            for effect in effects:
                y += 1
                colour = fill_of(effect.mixer.partition("(")[0]).colour
                axes.errorbar(effect.log_likelihood, y, xerr=1.96 * effect.stderr, fmt="o", markersize=4, color=colour, ecolor=FAINT,
                              elinewidth=0.9, capsize=1.5, markeredgecolor=INK, markeredgewidth=0.4)  # fmt: skip
                labels.append(effect.mixer)
            y += 1
        axes.axvline(0, color=FAINT, linewidth=0.8, zorder=1)
        axes.set(ylim=(y - 0.4, -0.6), xlabel="gain, nats an image")
        axes.set_yticks(range(y), labels, fontsize=8)
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="x", color="#DDDDDD", linewidth=0.5)
        axes.set_axisbelow(True)
        return _svg(figure, name, alt)


def bars(name: str, alt: str, shares: Mapping[str, float], x: str) -> Markup:
    """Horizontal bars, one a name."""
    with rc_context(_SETTINGS):
        figure, axes = _axes(len(shares) * 1.2 * ROW + 40)
        axes.barh(list(shares), [100 * share for share in shares.values()], 0.62, color=BLUE)
        for row, share in enumerate(shares.values()):
            axes.text(100 * share, row, f" {100 * share:.0f}", va="center", fontsize=8.5)
        axes.set(xlabel=x, ylim=(len(shares) - 0.4, -0.6))
        axes.tick_params(axis="y", length=0)
        return _svg(figure, name, alt)


def in_page(svg: str, alt: str) -> Markup:
    """An SVG document as an element of a page that may hold others: without identifiers that nothing refers to, with a text for it."""
    element = re.sub(r'<g id="[^"]*"', "<g", svg[svg.index("<svg"):])
    return Markup(element.replace("<svg ", Markup('<svg role="img" aria-label="{}" ').format(escape(alt)), 1))


def _axes(height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(WIDTH / 72, height / 72), layout="constrained")
    return figure, figure.subplots()


def _svg(figure: Figure, name: str, alt: str) -> Markup:
    file = io.StringIO()
    # The salt makes the names of what its parts refer to: other ones in every plot, the same in every run.
    with rc_context({"svg.hashsalt": name}):
        figure.savefig(file, format="svg", transparent=True, metadata=_NO_METADATA)
    return in_page(file.getvalue(), alt)
