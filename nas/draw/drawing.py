"""A drawing from its config to its file."""

from __future__ import annotations

import time

from rich.console import Console

from nas.cli.plan import Phase, Plan, memory_so_far, print_plan
from nas.draw.config import DrawConfig
from nas.draw.rendering import render
from space.files import load_architecture, write_atomically


def run_drawing(config: DrawConfig, console: Console) -> None:
    """Draw and write."""
    start = time.perf_counter()
    content = render(load_architecture(config.architecture), config.output.suffix.removeprefix("."))
    if config.dry_run:
        phase = Phase("drawing", config.architecture, time.perf_counter() - start)
        print_plan(console, Plan((phase,), {"in all": memory_so_far()}, {str(config.output): len(content)}))
        return
    write_atomically(config.output, content)
    print(f"wrote {config.output}, {len(content) / 1e3:.0f} kB")
