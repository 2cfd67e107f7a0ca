"""`python -m nas.profile davit-t best.yaml`: what a network costs, stage by stage and block by block."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

from nas.cli.command import Command
from nas.cli.options import Config, OptionError, option

if TYPE_CHECKING:
    from rich.console import Console

    from proxies.cost import Cost
    from space.architecture import Architecture, Part, StageSpec
    from space.published import Published
    from supernet.tasks.task import Task

LEAST_SIDE, GREATEST_SIDE = 32, 4096
SECONDS_A_NETWORK = 2.0
"""About how long counting takes."""
TRAINING = "train:bs32"
"""The training step whose memory is printed."""


def parse_image_size(size: str | tuple[int, int]) -> tuple[int, int]:
    """Height and width, as they are or from `256` or `256x192`."""
    if isinstance(size, tuple):
        return size
    sides = [int(side) for side in size.split("x") if side.isascii() and side.isdigit()]
    if len(sides) != size.count("x") + 1 or len(sides) > 2 or not all(LEAST_SIDE <= side <= GREATEST_SIDE for side in sides):
        raise ValueError(f"got {size!r}, expected a side from {LEAST_SIDE} to {GREATEST_SIDE}, or two, height first, as 256x192")
    return sides[0], sides[-1]


@dataclass(frozen=True, kw_only=True)
class ProfileConfig(Config):
    """What to profile."""

    architectures: tuple[str, ...] = option(
        (), "a YAML file, or the name of a published network", is_positional=True, nargs="*", metavar="architecture"
    )
    parents: bool = option(False, "a table of all published networks with counted and published figures")
    image_size: tuple[int, int] | None = option(
        None, "256 or, height first, 256x192; default: each one's own", convert=parse_image_size, metavar="SIDE"
    )

    def check(self) -> None:
        super().check()
        if not self.architectures and not self.parents:
            raise OptionError("architectures", "got none, expected a YAML file, a published network's name, or parents=True")


main = Command(ProfileConfig, "nas.profile:run", "What networks cost, stage by stage and block by block.")


@dataclass(frozen=True)
class ProfileRow:
    """One line of a profile: a part of a network and its costs for one image.

    Args:
        depth: 0 for stem, stages, head; 1 inside a stage.
        operators: in words.
        out_size: height and width of the map that it returns.
        activations: elements that convolutions, linear layers and matrix products return.
    """

    depth: int
    name: str
    operators: str
    out_size: tuple[int, int]
    cost: Cost
    activations: int


def run(config: ProfileConfig, console: Console) -> None:
    """Load everything first, so that mistakes are reported before the first table, and print the tables."""
    from rich.console import Console

    from space.files import load_architecture, load_published
    from supernet.tasks.task import TASKS, task_of_head

    loaded = [(load_architecture(name), load_published(name)) for name in config.architectures]
    if config.dry_run:
        _plan(console, config, [architecture for architecture, _ in loaded])
        return
    # Names come from files: they may look like markup.
    console = Console(markup=False, highlight=False)
    for architecture, published in loaded:
        height, width = config.image_size or (architecture.image_size,) * 2
        title = f"{architecture.name} at {height}x{width}, {architecture.num_classes} classes, fingerprint {architecture.fingerprint}"
        print_profile(console, title, profile(architecture, height, width), total_of(architecture, height, width))
        console.print(memory_in_words(architecture, height, width))
        if published is not None:
            words = _in_words(published, task_of_head(architecture))
            console.print(f"Published, at {architecture.image_size} px: {words}.", soft_wrap=True)
            console.print(f"From {published.paper}\n", soft_wrap=True)
    if config.parents:
        for task in TASKS.values():
            print_parents(console, task, config.image_size)


def _plan(console: Console, config: ProfileConfig, architectures: Sequence[Architecture]) -> None:
    from nas.cli.plan import Phase, Plan, memory_now, print_plan
    from space.files import parent_names

    names = [*(architecture.name for architecture in architectures), *(parent_names() if config.parents else ())]
    phase = Phase("counting", ", ".join(names), SECONDS_A_NETWORK * len(names))
    print_plan(console, Plan((phase,), {"in all": memory_now()}))


def profile(architecture: Architecture, height: int, width: int) -> list[ProfileRow]:
    """The rows of a profile; those of depth 0 add up to the network. Equal consecutive blocks share a row."""
    parts = {part.path: part for part in architecture.parts_at(height, width)}
    rows = [_row("stem", 0, [parts["stem"]], architecture.stem.label)]
    for index, stage in enumerate(architecture.stages):
        of_stage = {path.split(".", 2)[2]: part for path, part in parts.items() if path.startswith(f"stages.{index}.")}
        inside = _stage_rows(stage, of_stage)
        rows += [_row(f"stage {index + 1}", 0, list(of_stage.values()), f"{stage.width} channels"), *inside]
    head = [part for path, part in parts.items() if path.startswith(("taps.", "head"))]
    return [*rows, _row("head", 0, head, architecture.head.label)]


def total_of(architecture: Architecture, height: int, width: int) -> ProfileRow:
    """The row of the whole network."""
    return _row("total", 0, architecture.parts_at(height, width), "")


def memory_in_words(architecture: Architecture, height: int, width: int) -> str:
    """The activations of an inference and of a training step, as budgets limit them."""
    from proxies.memory.inference import peaks_of
    from proxies.memory.prediction import memory_of
    from proxies.memory_quantity import ACTIVATIONS, MEMORY, batch_of

    peaks, of_training = peaks_of(architecture, (height, width)), f"{MEMORY}@{TRAINING}"
    worst = max(peaks, key=peaks.__getitem__)
    step = memory_of(architecture, of_training, (height, width))
    return (
        f"Activations: {peaks[worst] / 2**20:,.4g} MiB in an inference ({ACTIVATIONS}), most in {worst}; "
        f"{step / 2**20:,.0f} MiB in a training step of {batch_of(of_training)} images ({of_training})."
    )


def _stage_rows(stage: StageSpec, parts: dict[str, Part]) -> list[ProfileRow]:
    rows = [_row("downsample", 1, [parts["downsample"]], parts["downsample"].spec.label)] if "downsample" in parts else []
    for block, run in groupby(range(len(stage.blocks)), key=lambda j: stage.blocks[j]):
        numbers = list(run)
        of_run = [part for j in numbers for path, part in parts.items() if path.startswith(f"blocks.{j}.")]
        name = f"block {numbers[0] + 1}" if len(numbers) == 1 else f"blocks {numbers[0] + 1}-{numbers[-1] + 1}"
        specs = (block.position, block.mixer, block.ffn_position, block.ffn)
        rows.append(_row(name, 1, of_run, ", ".join(spec.label for spec in specs if spec.type != "none")))
    return [*rows, _row("norm", 1, [parts["norm"]], stage.norm.label)] if "norm" in parts else rows


def _row(name: str, depth: int, parts: Sequence[Part], operators: str) -> ProfileRow:
    from proxies.cost import Cost
    from proxies.macs import part_activations, part_cost

    cost = sum(map(part_cost, parts), Cost(0, 0))
    return ProfileRow(depth, name, operators, parts[-1].out_size, cost, sum(map(part_activations, parts)))


def print_profile(console: Console, title: str, rows: Sequence[ProfileRow], total: ProfileRow) -> None:
    """Print a profile with the share of each row in the multiply-adds."""
    from rich import box
    from rich.table import Table

    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for heading in ("", "operators"):
        table.add_column(heading, overflow="fold", no_wrap=not heading)
    for heading in ("map", "Kparams", "MFLOPs", "share", "Kacts"):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(*_cells(row, total), style="" if row.depth else "bold")
    table.add_section()
    table.add_row(*_cells(total, total), style="bold")
    console.print(table)


def _cells(row: ProfileRow, total: ProfileRow) -> Iterable[str]:
    return (
        "  " * row.depth + row.name,
        row.operators,
        "" if row.name in ("head", "total") else f"{row.out_size[0]}x{row.out_size[1]}",
        f"{row.cost.params / 1e3:,.1f}",
        f"{row.cost.macs / 1e6:,.1f}",
        f"{100 * row.cost.macs / total.cost.macs:.1f} %",
        f"{row.activations / 1e3:,.0f}",
    )


def print_parents(console: Console, task: Task, size: tuple[int, int] | None) -> None:
    """Print the counted and the published costs of all published networks for a task, and the memory of their activations."""
    from rich import box
    from rich.table import Table

    from proxies.memory.prediction import memory_of
    from proxies.memory_quantity import ACTIVATIONS, MEMORY, moment_of
    from space.files import load_architecture, load_published, parent_names

    at = "their own size" if size is None else f"{size[0]}x{size[1]}"
    published_at = "as published at their own size"
    title = f"Published networks for {task.name}, counted at {at} and {published_at}; MiB of activations; {task.metric} in %"
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=0)
    memory = {quantity: "MiB\n@" + moment_of(quantity).replace(":", "\n") for quantity in (ACTIVATIONS, f"{MEMORY}@{TRAINING}")}
    for heading in ("", "Mparams", "paper", "GFLOPs", "paper", "Macts", *memory.values(), "%"):
        table.add_column(heading, justify="right" if heading else "left", no_wrap=True)
    notes = []
    for name in parent_names(task.name):
        architecture, published = load_architecture(name), load_published(name)
        height_width = size or (architecture.image_size,) * 2
        total = total_of(architecture, *height_width)
        params, macs, score = _figures(published)
        counted = (f"{total.cost.params / 1e6:.2f}", f"{total.cost.macs / 1e9:.3f}", f"{total.activations / 1e6:.1f}")
        mebibytes = (f"{memory_of(architecture, quantity, height_width) / 2**20:,.0f}" for quantity in memory)
        table.add_row(name, counted[0], params, counted[1], macs, counted[2], *mebibytes, score)
        if published is not None and published.note:
            notes.append(f"{name}: {published.note}")
    console.print(table)
    for note in notes:
        console.print(note)


def _figures(published: Published | None) -> tuple[str, str, str]:
    if published is None:
        return "", "", ""
    params = "" if published.params is None else f"{published.params / 1e6:.4g}"
    macs = "" if published.macs is None else f"{published.macs / 1e9:.4g}"
    return params, macs, published.headline


def _in_words(published: Published, task: Task) -> str:
    params, macs, score = _figures(published)
    figures = (f"{params} Mparams" if params else "", f"{macs} GFLOPs" if macs else "", f"{score} % {task.published}" if score else "")
    return "; ".join(filter(None, [", ".join(filter(None, figures)), published.note.rstrip(".")]))


if __name__ == "__main__":
    sys.exit(main())
