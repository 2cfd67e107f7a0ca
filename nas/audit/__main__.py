"""`python -m nas.audit --run runs/x`: how far can the run's ranking be trusted? Trains a sample alone to find out."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from nas.audit.config import AuditConfig
from nas.cli.command import CommandParser, exit_code_of
from nas.cli.command_line import add_options, command_of, read


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    parser = CommandParser(
        prog="python -m nas.audit",
        description="Train a sample of architectures alone, and report how well a run's supernet and cheaper scores rank them.",
        epilog="Run the same command again to continue an interrupted audit.",
    )
    add_options(parser, AuditConfig)
    config = read(AuditConfig, parser, argv)
    return exit_code_of(lambda: _run(config), is_short=config.dry_run)


def _run(config: AuditConfig) -> None:
    from nas.audit.pipeline import run_audit
    from nas.cli.console import open_console

    run_audit(config, open_console(), command_of("nas.audit", config))


if __name__ == "__main__":
    sys.exit(main())
