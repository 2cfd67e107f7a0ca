"""Draws `house.svg`, the map of the packages in `CONTRIBUTING.md`, from the imports: `python docs/house_map.py`.

A box is a file or folder directly inside a package. An arrow says "imports"; arrows that follow from others are left out,
as are those between packages: space < {proxies, supernet} < nas.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import matplotlib

matplotlib.use("svg")

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

ROOT = Path(__file__).parents[1]
PACKAGES = {"space": "#e6e6e6", "proxies": "#b3ddf2", "supernet": "#f6d79a", "nas": "#b9e3cf"}
WIDTH, HEIGHT, STEP_X, STEP_Y = 2.4, 0.6, 2.7, 1.25
INK, EDGE = "#1a1a1a", "#4d4d4d"

Graph = dict[str, set[str]]


def files() -> dict[str, Path]:
    """Every file of the packages by the name that it is imported by."""
    paths = (path.relative_to(ROOT) for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
    return {".".join(path.with_suffix("").parts).removesuffix(".__init__"): path for path in paths}


def imports(path: Path, known: dict[str, Path]) -> Iterator[str]:
    """The files that a file imports, lazily or not."""
    for node in ast.walk(ast.parse((ROOT / path).read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in known)
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                yield from (name for name in (f"{node.module}.{alias.name}", node.module) if name in known)


def room(name: str) -> str:
    """The file or folder directly inside a package that a module belongs to, such as `nas.search`."""
    return ".".join(name.split(".")[:2])


def house(package: str) -> Graph:
    """The rooms of a package, and which other rooms of it each one imports."""
    known = files()
    rooms: Graph = {room(name): set() for name in known if name.startswith(f"{package}.")}
    for name, path in known.items():
        here = room(name)
        if here in rooms:
            rooms[here] |= {there for there in map(room, imports(path, known)) if there in rooms and there != here}
    return rooms


def below(rooms: Graph, start: str) -> set[str]:
    """All rooms that a room reaches."""
    reached: set[str] = set()
    waiting = [start]
    while waiting:
        new = rooms[waiting.pop()] - reached
        reached |= new
        waiting += new
    return reached


def without_implied_arrows(rooms: Graph) -> Graph:
    """The same order with the fewest arrows (the transitive reduction)."""


    def implied(here: str, there: str) -> bool:
        return any(there in below(rooms, other) for other in rooms[here] - {there})

    return {here: {there for there in direct if not implied(here, there)} for here, direct in rooms.items()}


def floors(rooms: Graph) -> list[list[str]]:
    """Rooms by the length of the longest way down from each, the lowest floor first."""

    def level(here: str) -> int:
        return 1 + max(map(level, rooms[here]), default=-1)

    levels = {here: level(here) for here in rooms}
    return [sorted(here for here in rooms if levels[here] == floor) for floor in range(max(levels.values()) + 1)]


def draw_package(axes: Axes, package: str, x_left: float, y_bottom: float) -> None:
    rooms = without_implied_arrows(house(package))
    rows = floors(rooms)
    widest = max(map(len, rows))
    centres: dict[str, tuple[float, float]] = {}
    for floor, row in enumerate(rows):
        # A room stands over what it imports, as far as its neighbours leave space.
        row.sort(key=lambda here: sum(centres[there][0] for there in rooms[here]) / max(1, len(rooms[here])))
        left = x_left + (widest - len(row)) * STEP_X / 2
        for index, here in enumerate(row):
            centres[here] = (left + index * STEP_X + WIDTH / 2, y_bottom + floor * STEP_Y)
    for here, direct in rooms.items():
        for there in sorted(direct):
            (x0, y0), (x1, y1) = centres[here], centres[there]
            tail, tip = (x0, y0 - HEIGHT / 2), (x1, y1 + HEIGHT / 2)
            axes.add_patch(FancyArrowPatch(tail, tip, arrowstyle="-|>", mutation_scale=9, color=EDGE, linewidth=0.7, shrinkA=0, shrinkB=0))
    for here, (x, y) in centres.items():
        corner = (x - WIDTH / 2, y - HEIGHT / 2)
        style = "round,pad=0.0,rounding_size=0.1"
        axes.add_patch(FancyBboxPatch(corner, WIDTH, HEIGHT, style, facecolor=PACKAGES[package], edgecolor=EDGE, zorder=2))
        axes.text(x, y, here.partition(".")[2], ha="center", va="center", size=9, color=INK, zorder=3)
    top = y_bottom + len(rows) * STEP_Y - HEIGHT / 2
    axes.text(x_left + widest * STEP_X / 2, top, package, ha="center", size=13, weight="bold", color=INK)


def main() -> None:
    plt.rcParams |= {"svg.hashsalt": "house", "svg.fonttype": "none", "font.family": "DejaVu Sans"}
    figure, axes = plt.subplots(figsize=(18, 12.5), layout="constrained")
    height_of_space = (len(floors(house("space"))) + 1) * STEP_Y
    x = 0.0
    for package in ("nas", "supernet", "proxies"):
        draw_package(axes, package, x, height_of_space)
        x += (max(map(len, floors(house(package)))) + 0.5) * STEP_X
    draw_package(axes, "space", STEP_X, 0.0)
    axes.autoscale_view()
    axes.set_aspect("equal")
    axes.set_axis_off()
    metadata = {"Date": None, "Title": "The packages, drawn from their imports"}
    figure.savefig(Path(__file__).with_name("house.svg"), metadata=metadata, bbox_inches="tight")


if __name__ == "__main__":
    main()
