"""`python -m nas.retrain best.yaml --data ...`: train an architecture as a network of its own and measure it on test images."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from nas.cli.command import CommandParser, exit_code_of
from nas.cli.command_line import add_options, read
from nas.retrain.config import RetrainConfig


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    parser = CommandParser(
        prog="python -m nas.retrain",
        description="Train an architecture as a network of its own, and measure it on test images.",
        epilog="Run the same command again to continue an interrupted training.",
    )
    add_options(parser, RetrainConfig)
    config = read(RetrainConfig, parser, argv)
    return exit_code_of(lambda: _run(config), is_short=config.dry_run, on_several_gpus=True)


def _run(config: RetrainConfig) -> None:
    from nas.cli.console import open_console
    from nas.retrain.pipeline import run_retraining, show_plan

    (show_plan if config.dry_run else run_retraining)(config, open_console())


if __name__ == "__main__":
    sys.exit(main())
