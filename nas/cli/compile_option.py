"""The option about compiling, which a config inherits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from nas.cli.options import Config, option


@dataclass(frozen=True, kw_only=True)
class CompileOption(Config):
    """Whether stand-alone trainings and their evaluations are compiled."""

    compile: Literal["auto", "off"] = option(
        "auto", "torch.compile and CUDA graphs for networks that train alone: auto is where a training is long enough to repay it",
        may_change=True,
    )  # fmt: skip

    @property
    def may_compile(self) -> bool:
        """Whether networks are compiled where that pays."""
        return self.compile == "auto"
