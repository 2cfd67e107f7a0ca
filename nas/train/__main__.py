"""`python -m nas.train --budget 4.5GFLOPs --paths fair`: train a supernet alone; a search in the same run directory goes on from there."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from nas.cli.command import CommandParser, exit_code_of
from nas.cli.command_line import add_options, read
from nas.train.config import TrainingConfig


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    parser = CommandParser(
        prog="python -m nas.train",
        description="Train a weight-sharing supernet; nas.search with the same options then searches it.",
        epilog="Run the same command again to continue an interrupted training.",
    )
    add_options(parser, TrainingConfig)
    config = read(TrainingConfig, parser, argv)
    return exit_code_of(lambda: _run(config), is_short=config.dry_run, on_several_gpus=True)


def _run(config: TrainingConfig) -> None:
    from nas.cli.console import open_console
    from nas.train.training import run_training, show_plan

    (show_plan if config.dry_run else run_training)(config, open_console())


if __name__ == "__main__":
    sys.exit(main())
