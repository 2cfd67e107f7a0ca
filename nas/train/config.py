"""The settings of a supernet's training, alone or in a search: keyword arguments of `nas.train.train`, options of `nas.train`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from nas.cli.data_option import DEFAULT, HELP, TargetChoice, source_named
from nas.cli.options import Derived, Group, OptionError, option, quick_option
from nas.cli.trackers.by_name import check_tracker, log_option
from nas.runs.records.search_options import OF_WARM_START
from space.narrowing import Narrowing
from space.pretrained.fetching import NamedWeights

WHAT, HOW, WHERE = Group("what"), Group("how long and how"), Group("where")
PATHS = ("uniform", "fair", "sandwich")
SCOPES = ("space", "band")


def weights_source(value: Any) -> str:
    """A network's name, or `NAME=FILE` with the absolute path of its weights; ValueError for anything else."""
    return str(NamedWeights.parse(str(value)))


def narrowing(value: Any) -> str:
    """A kind of choices and the options that stay, as `Narrowing` reads it; ValueError for anything else."""
    return str(Narrowing.parse(str(value)))


def _default_out(config: SupernetConfig) -> Path:
    name = "-".join((Path(config.space).stem, *config.only, config.budget or config.scope, Path(config.data).stem))
    return (Path("runs") / re.sub(r"[^A-Za-z0-9.]+", "-", name).strip("-.")).resolve()


@dataclass(frozen=True, kw_only=True)
class SupernetConfig(TargetChoice):
    """Everything that a supernet depends on, for training and search."""

    budget: str | None = option(None, "hard limit: 4.5GFLOPs, 25Mparams, 12ms@cpu, or several, quoted", group=WHAT)
    space: str = option("hybrid-224", "the name of a space, such as hybrid-32 or tiny-seg, or a YAML file", group=WHAT)
    only: tuple[str, ...] = option(
        (), "choose among some options alone: mixer=ssa,window stage3.ffn=dw_ffn; kinds are width, depth, position, mixer, ffn, stem, head",
        group=WHAT, convert=narrowing, metavar="KIND=OPTIONS",
    )  # fmt: skip
    floor: float = option(0.9, "least share of the budget to use", group=WHAT, at_least=0, below=1)
    data: str = option(DEFAULT, HELP, group=WHAT, convert=source_named)
    image_size: int | None = option(None, "side in pixels for training and judging the supernet (the data's own)", group=WHAT, at_least=32)
    minutes: float | None = option(
        None, "end after this time at the latest; a later run has as long again; in a search, half of it goes to training",
        group=HOW, at_least=0, below=1e6, may_change=True,
    )  # fmt: skip
    steps: int = option(200, "steps of supernet training", group=HOW, at_least=1)
    batch_size: int = option(32, "images a step", group=HOW, at_least=2)
    lr: float = option(1e-3, "peak learning rate", group=HOW, at_least=0, below=10)
    paths: str = option(PATHS[0], "what a step of supernet training runs", group=HOW, choices=PATHS)
    scope: str = option(SCOPES[0], "train in the whole space or in the budget's band", group=HOW, choices=SCOPES)
    warm_start: tuple[str, ...] = option(
        (), "begin with published networks' weights: davit-t (found by name) uniformer-s=weights.pth",
        group=HOW, convert=weights_source, metavar="NAME[=FILE]",
    )  # fmt: skip
    weights_folder: Path | None = option(None, "where to look for weights by name before the Hugging Face hub", group=HOW, metavar="FOLDER",
                                         convert=lambda value: Path(value).resolve(), may_change=True)  # fmt: skip
    inherited_lr: float = option(0.1, "factor of the learning rate for weights of --warm-start", group=HOW, at_least=0, below=10)
    freeze_stem: bool = option(False, "keep the stem that was inherited as it is", group=HOW)
    teacher: bool = option(False, "the networks of --warm-start, if of the data's classes, teach the paths most like them", group=HOW)
    seed: int = option(0, "of weights, data order, paths and proposals", group=HOW)
    out: Path = option(
        Derived(_default_out), "the run's directory (runs/SPACE-BUDGET-DATA)", group=WHERE, convert=lambda value: Path(value).resolve()
    )
    latency_tables: Path | None = option(None, "where measured latencies are kept (the user's cache)", group=WHERE, metavar="FOLDER",
                                         may_change=True)  # fmt: skip
    log: str = log_option(group=WHERE)

    def check(self) -> None:
        super().check()
        check_tracker(self.log)
        if not self.warm_start:
            for name in sorted(OF_WARM_START):
                if name in self.given:
                    raise OptionError(name, "has no effect without warm_start=NAME")
        if self.teacher and self.paths == "sandwich":
            raise OptionError("teacher", "not with paths=sandwich, where the largest path teaches the others")

    @property
    def narrowings(self) -> tuple[Narrowing, ...]:
        """How the space is narrowed."""
        return tuple(map(Narrowing.parse, self.only))

    @property
    def initial_weights(self) -> tuple[NamedWeights, ...]:
        """What the supernet begins with, in the order in which it was named."""
        return tuple(map(NamedWeights.parse, self.warm_start))


@dataclass(frozen=True, kw_only=True)
class TrainingConfig(SupernetConfig):
    """The options of `nas.train`."""

    of_quick: ClassVar[Mapping[str, Any]] = {"steps": 60}

    quick: bool = quick_option("60 steps, about a minute on two cores with the default data")

    def check(self) -> None:
        super().check()
        if self.scope == "band" and self.budget is None:
            raise OptionError("budget", "missing, expected one such as 4.5GFLOPs, since scope=band needs it")
