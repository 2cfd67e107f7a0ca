"""Draws `how-it-works.svg`, the figure of `how-it-works.md`: `python docs/how_it_works.py`."""

from __future__ import annotations

from pathlib import Path

import matplotlib

matplotlib.use("svg")

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

INK, EDGE = "#1a1a1a", "#4d4d4d"
GIVEN, COUNTED, LEARNT, FOUND = "#e6e6e6", "#b3ddf2", "#f6d79a", "#b9e3cf"
WIDTH, HEIGHT = 2.7, 1.05
BOXES = {
    "space": (0, 3, GIVEN, "space", "YAML: mixers, FFNs,\nwidths and depths"),
    "budget": (0, 1.5, GIVEN, "budget", "4.5GFLOPs, 25Mparams,\n12ms@cpu"),
    "data": (0, 0, GIVEN, "data", "training part alone, split:\ntrain, calibration, search"),
    "band": (3.6, 2.25, COUNTED, "band", "architectures that fit,\ncounted and sampled exactly"),
    "supernet": (3.6, 0, LEARNT, "supernet", "all operators of all blocks,\none path trained a step"),
    "sampler": (7.2, 2.25, COUNTED, "sampler", "proposes from the band,\nnone of them twice"),
    "evaluation": (7.2, 0, LEARNT, "evaluation", "views of shared weights,\nbatch norms calibrated"),
    "study": (10.8, 2.25, FOUND, "Optuna study", "every trial: choices,\ncosts, score"),
    "halving": (10.8, 0, FOUND, "successive halving", "the best, a random one and a\npublished network, alone"),
    "best": (14.4, 1.125, FOUND, "best.yaml", "retrain, compare,\nexport, draw"),
}
ARROWS = (
    ("space", "band", ""), ("budget", "band", ""), ("space", "supernet", ""), ("data", "supernet", "train"), ("band", "sampler", ""),
    ("sampler", "evaluation", "architecture"), ("supernet", "evaluation", "weights"), ("evaluation", "study", "score"),
    ("study", "sampler", ""), ("study", "halving", "the best"), ("halving", "best", ""),
)  # fmt: skip


def draw_box(axes: Axes, x: float, y: float, colour: str, name: str, what: str) -> None:
    axes.add_patch(FancyBboxPatch((x, y), WIDTH, HEIGHT, "round,pad=0.02,rounding_size=0.12", facecolor=colour, edgecolor=EDGE))
    axes.text(x + WIDTH / 2, y + HEIGHT - 0.24, name, ha="center", va="center", weight="bold", size=11, color=INK)
    axes.text(x + WIDTH / 2, y + 0.38, what, ha="center", va="center", size=8.5, color=INK)


def ends(start: str, end: str) -> tuple[tuple[float, float], tuple[float, float]]:
    """From the side of one box to the facing side of the other."""
    (x0, y0), (x1, y1) = (BOXES[name][:2] for name in (start, end))
    if x0 == x1:
        return ((x0 + WIDTH / 2, y0 - 0.04), (x1 + WIDTH / 2, y1 + HEIGHT + 0.04))
    # An arrow to the left runs a little lower than one to the right.
    lower = -0.2 if x0 > x1 else 0.0
    left, right = (x0 + WIDTH + 0.04, x1 - 0.04) if x0 < x1 else (x0 - 0.04, x1 + WIDTH + 0.04)
    return ((left, y0 + HEIGHT / 2 + lower), (right, y1 + HEIGHT / 2 + lower))


def draw_arrow(axes: Axes, start: str, end: str, label: str) -> None:
    tail, tip = ends(start, end)
    axes.add_patch(FancyArrowPatch(tail, tip, arrowstyle="-|>", mutation_scale=13, color=EDGE, linewidth=1.1, shrinkA=0, shrinkB=0))
    middle = ((tail[0] + tip[0]) / 2, (tail[1] + tip[1]) / 2)
    axes.text(*middle, label, ha="center", va="center", size=8, color=INK, bbox={"facecolor": "white", "edgecolor": "none", "pad": 1})


def main() -> None:
    plt.rcParams |= {"svg.hashsalt": "how-it-works", "font.family": "DejaVu Sans"}
    figure, axes = plt.subplots(figsize=(13.6, 3.6), layout="constrained")
    axes.set_axis_off()
    axes.set_xlim(-0.15, 17.25)
    axes.set_ylim(-0.15, 4.2)
    for box in BOXES.values():
        draw_box(axes, *box)
    for arrow in ARROWS:
        draw_arrow(axes, *arrow)
    file = Path(__file__).with_name("how-it-works.svg")
    figure.savefig(file, metadata={"Date": None, "Title": "How it works"})


if __name__ == "__main__":
    main()
