"""`python -m nas.search --budget 4.5GFLOPs`: train a supernet, search it inside the budget, export the winner."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from nas.cli.command import CommandParser, exit_code_of
from nas.cli.command_line import add_options, read
from nas.search.config import SearchConfig


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    parser = CommandParser(
        prog="python -m nas.search",
        description="Train a weight-sharing supernet, search it for the best architecture inside a budget, and write that as YAML.",
        epilog="Run the same command again to continue an interrupted search.",
    )
    add_options(parser, SearchConfig)
    config = read(SearchConfig, parser, argv)
    return exit_code_of(lambda: _run(config), is_short=config.dry_run)


def _run(config: SearchConfig) -> None:
    from nas.cli.console import open_console
    from nas.search.pipeline import run_search

    run_search(config, open_console())


if __name__ == "__main__":
    sys.exit(main())
