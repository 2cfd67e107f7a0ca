"""`python -m nas.draw best.yaml -o best.svg`: a drawing of an architecture; see `nas.draw` for what it shows."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from nas.cli.command import CommandParser, add_dry_run, exit_code_of
from space.errors import UserError

SUFFIXES = (".svg", ".png", ".pdf")


class DrawingError(UserError):
    """A drawing that cannot be written."""


@dataclass(frozen=True)
class DrawConfig:
    """What to draw.

    Args:
        architecture: the YAML file, or a published network's name.
        output: the file; its ending tells the format.
        dry_run: draw, and write nothing.
    """

    architecture: str
    output: Path
    dry_run: bool


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    parser = CommandParser(prog="python -m nas.draw", description="Draw an architecture: what its blocks are, and what they cost.")
    parser.add_argument("architecture", help="YAML file, such as a search's best.yaml, or a published network's name")
    parser.add_argument("-o", "--output", type=Path, help=f"the file, ending in {', '.join(SUFFIXES)} (ARCHITECTURE.svg)")
    add_dry_run(parser)
    arguments = parser.parse_args(argv)
    output = arguments.output or Path(Path(arguments.architecture).stem + ".svg")
    config = DrawConfig(arguments.architecture, output, arguments.dry_run)
    return exit_code_of(lambda: run(config), is_short=config.dry_run)


def run(config: DrawConfig) -> None:
    """Draw and write."""
    if config.output.suffix not in SUFFIXES:
        raise DrawingError(f"--output: got {str(config.output)!r}, expected a file ending in {', '.join(SUFFIXES)}")
    if not config.output.parent.is_dir():
        raise DrawingError(f"--output: got the folder {config.output.parent}, expected one that exists")
    if config.output.is_dir():
        raise DrawingError(f"--output: got the folder {config.output}, expected a file")
    from nas.draw.rendering import render
    from space.files import load_architecture, write_atomically

    start = time.perf_counter()
    content = render(load_architecture(config.architecture), config.output.suffix.removeprefix("."))
    if config.dry_run:
        from nas.cli.console import open_console
        from nas.cli.plan import Phase, Plan, memory_so_far, print_plan

        phase = Phase("drawing", config.architecture, time.perf_counter() - start)
        print_plan(open_console(), Plan((phase,), {"in all": memory_so_far()}, {str(config.output): len(content)}))
        return
    write_atomically(config.output, content)
    print(f"wrote {config.output}, {len(content) / 1e3:.0f} kB")


if __name__ == "__main__":
    sys.exit(main())
