"""What to draw: the options of `python -m nas.draw`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from nas.cli.options import REQUIRED, Config, Derived, OptionError, option

SUFFIXES = (".svg", ".png", ".pdf")


@dataclass(frozen=True, kw_only=True)
class DrawConfig(Config):
    """What to draw, and where."""

    architecture: str = option(
        REQUIRED, "YAML file, such as a search's best.yaml, or a published network's name", is_positional=True
    )
    output: Path = option(
        Derived(lambda config: Path(Path(config.architecture).stem + ".svg")),
        f"the file, ending in {', '.join(SUFFIXES)} (ARCHITECTURE.svg)", flags=("-o",),
    )  # fmt: skip

    def check(self) -> None:
        super().check()
        if self.output.suffix not in SUFFIXES:
            raise OptionError("output", f"got {str(self.output)!r}, expected a file ending in {', '.join(SUFFIXES)}")
        if not self.output.parent.is_dir():
            raise OptionError("output", f"got the folder {self.output.parent}, expected one that exists")
        if self.output.is_dir():
            raise OptionError("output", f"got the folder {self.output}, expected a file")
