"""What to report on: the options of `python -m nas.report`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from nas.cli.options import REQUIRED, Config, option


@dataclass(frozen=True, kw_only=True)
class ReportConfig(Config):
    """What to report on, and what to measure for it."""

    run: Path = option(REQUIRED, "directory of a search that has ended", is_positional=True, metavar="RUN")
    ablation: bool = option(False, "also score the winner with the mixer of one block replaced, with the supernet's weights")
