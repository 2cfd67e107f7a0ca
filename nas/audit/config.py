"""The options of `python -m nas.audit`, which are the keyword arguments of `nas.audit.audit`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from nas.cli.backend_options import BackendOptions
from nas.cli.compile_option import CompileOption
from nas.cli.options import REQUIRED, Derived, option, quick_option


def _resolved(value: Any) -> Path:
    return Path(value).resolve()


@dataclass(frozen=True, kw_only=True)
class AuditConfig(CompileOption, BackendOptions):
    """Everything that an audit depends on."""

    of_quick: ClassVar[Mapping[str, Any]] = {"architectures": 8, "seeds": 1, "steps": 60, "long": 0.0, "short": (20,)}

    quick: bool = quick_option("8 architectures and 60 steps, about 4 minutes on two cores after the default search")
    run: Path = option(REQUIRED, "directory of a search, or of a supernet's training", convert=_resolved)
    bench: Path = option(
        Derived(lambda config: config.run / "audit"), "folder of the sample and its trainings, which several runs may share (RUN/audit)",
        convert=_resolved,
    )  # fmt: skip
    budget: str | None = option(None, "half of the sample has about these multiply-adds: 450MFLOPs (the run's budget)")
    architectures: int = option(32, "size of the sample", at_least=4, may_change=True)
    seeds: int = option(2, "trainings of each", at_least=1, may_change=True)
    steps: int = option(800, "steps of a training", at_least=1)
    batch_size: int = option(32, "images a step", at_least=2)
    long: float = option(0.25, "share to train five times as long as well", at_least=0, below=1.001, may_change=True)
    short: tuple[int, ...] = option((50, 100, 200), "short trainings to judge as predictors (50 100 200)", at_least=1, nargs="*",
                                    metavar="STEPS", may_change=True)  # fmt: skip
    sample_seed: int = option(0, "of the sample")
    latency: str = option("cpu:1t:bs1", "where the sample's networks are timed", metavar="DEVICE")
    publish: Path | None = option(None, "also write the table of all scores there, with a page about it", metavar="FOLDER")

    @property
    def folder(self) -> Path:
        """Of the report; the run's own directory is another command's to write in."""
        return self.run / "audit"
