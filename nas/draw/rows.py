"""What a drawing shows of an architecture: rows of cells with their shares of the multiply-adds, and lines of text."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache

from nas.draw.palette import NEUTRAL, Fill, fill_of
from proxies.macs import part_cost
from space.architecture import Architecture, BlockSpec, Part

LINE_CHARS = 66
NO_BLOCK = Fill(NEUTRAL)


@dataclass(frozen=True)
class Cell:
    """A block, or with no number a part that is none: a stem or a scale of it, a downsampler, a tap, a head.

    Args:
        part: path of the part in the architecture.
        mixer_macs: of a block's mixer with its positional encoding.
        encodings: whether there is a positional encoding before the mixer, and before the feed-forward network.
    """

    part: str
    macs: int
    number: int | None = None
    fill: Fill = NO_BLOCK
    mixer_macs: int = 0
    encodings: tuple[bool, bool] = (False, False)


@dataclass(frozen=True)
class Row:
    """A stage, the stem, taps or the head."""

    title: str
    cells: tuple[Cell, ...]
    lines: tuple[str, ...] = ()

    @property
    def macs(self) -> int:
        """Of all cells."""
        return sum(cell.macs for cell in self.cells)


def drawn_rows(architecture: Architecture) -> Iterator[Row]:
    """The rows from the image to the logits."""
    parts = {part.path: part for part in architecture.parts}
    macs = {path: part_cost(part).macs for path, part in parts.items()}
    yield _row_of_stem(architecture, parts["stem"], macs["stem"])
    for i, stage in enumerate(architecture.stages):
        cells = [Cell(path, macs[path]) for path in (f"stages.{i}.downsample",) if path in parts]
        for j, block in enumerate(stage.blocks):
            path = f"stages.{i}.blocks.{j}"
            mixer = macs.get(f"{path}.position", 0) + macs[f"{path}.mixer"]
            ffn = macs.get(f"{path}.ffn_position", 0) + macs.get(f"{path}.ffn", 0)
            encodings = block.position.type != "none", block.ffn_position.type != "none"
            cells.append(Cell(path, mixer + ffn, j + 1, fill_of(block.mixer.type), mixer, encodings))
        height, width = parts[f"stages.{i}.blocks.0.mixer"].out_size
        yield Row(f"stage {i + 1}: {height}×{width}, {stage.width} channels", tuple(cells), tuple(_described(stage.blocks)))
    taps = [part for path, part in parts.items() if path.startswith("taps.")]
    if taps:
        lines = tuple(_line_of_tap(part) for part in taps)
        title = f"taps: {taps[0].spec.type}, {taps[0].widths[-1]} channels"
        yield Row(title, tuple(Cell(part.path, macs[part.path]) for part in taps), lines)
    yield Row(f"head: {architecture.head.type}", (Cell("head", macs["head"]),), _lines_of_head(parts["head"]))


def _row_of_stem(architecture: Architecture, stem: Part, macs: int) -> Row:
    """One cell, or a cell for each scale of a pyramid, whose maps all go to the first stage."""
    title = f"stem: {architecture.stem.type}"
    maps = architecture.features_at(*[architecture.image_size] * 2)[: -len(architecture.stages)]
    if not maps:
        return Row(f"{title}, {architecture.stages[0].width} channels", (Cell("stem", macs),))
    options = {name: getattr(stem.spec, name) for name in ("kernel_sizes", "ratios")}
    widths = tuple(channels for _, _, channels in maps)
    cells, before = [], 0
    for count in range(1, len(maps) + 1):
        first = stem.spec.replace(widths=widths[:count], **{name: value[:count] for name, value in options.items()})
        upto = part_cost(replace(stem, spec=first, widths=(*stem.widths[:-1], sum(widths[:count])))).macs
        cells.append(Cell(f"stem.scales.{count - 1}", upto - before))
        before = upto
    scales = ", ".join(f"{height}×{width}: {channels}" for height, width, channels in maps)
    return Row(f"{title}, {len(maps)} scales", tuple(cells), (f"channels of its maps: {scales}",))


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
