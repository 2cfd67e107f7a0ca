"""`python -m nas.export best.yaml --weights weights.safetensors --format onnx`: a trained network for someone else's code.

Without `--format` it writes the architecture itself, such as that of any trial of a search.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from nas.cli.command import CommandParser, exit_code_of
from nas.cli.command_line import add_options, read
from nas.export.config import ExportConfig


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    parser = CommandParser(prog="python -m nas.export", description="Write a trained network for other people's code, or an architecture.")
    add_options(parser, ExportConfig)
    config = read(ExportConfig, parser, argv)
    return exit_code_of(lambda: _run(config), is_short=config.dry_run)


def _run(config: ExportConfig) -> None:
    from nas.cli.console import open_console
    from nas.export.pipeline import run_export

    run_export(config, open_console())


if __name__ == "__main__":
    sys.exit(main())
