"""`python -m nas.compare runs/x`: retrain a search's winner, published networks and random ones alike, and test them."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from nas.cli.command import CommandParser, exit_code_of
from nas.cli.command_line import add_options, command_of, read
from nas.compare.config import CompareConfig


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    parser = CommandParser(
        prog="python -m nas.compare",
        description="Retrain a search's winner, or any architecture, the published networks that fit its budget and random ones inside it, "
        "all alike, and compare their test accuracies.",
        epilog="Run the same command again to continue an interrupted comparison.",
    )
    add_options(parser, CompareConfig)
    config = read(CompareConfig, parser, argv)
    return exit_code_of(lambda: _run(config), is_short=config.dry_run)


def _run(config: CompareConfig) -> None:
    from nas.cli.console import open_console
    from nas.compare.pipeline import run_comparison

    run_comparison(config, open_console(), command_of("nas.compare", config))


if __name__ == "__main__":
    sys.exit(main())
