"""The options of `python -m nas.search`, which are the keyword arguments of `nas.search.search`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from nas.cli.backend_options import WHERE as BACKEND
from nas.cli.backend_options import BackendOptions
from nas.cli.compile_option import CompileOption
from nas.cli.options import REQUIRED, Derived, OptionError, option, quick_option
from nas.runs.records.search_options import OF_SUPERNET, OF_TRAINING
from nas.runs.storage_url import checked_url, journal_url
from nas.train.config import HOW, WHAT, WHERE, SupernetConfig
from proxies.cost import BudgetError, parse_budget
from proxies.target import INT8_BACKEND

SAMPLERS = ("surrogate", "evolution", "tpe", "random")
EVALUATORS = ("supernet", "standalone")
OBJECTIVES = ("accuracy", "latency", "macs", "params")
STANDALONE = "standalone"
"""Folder of a run's stand-alone trainings."""
CANDIDATES = 1
INT8_CANDIDATES, MAX_INT8_DROP = 3, 1.0
"""Where the budget limits a latency of INT8 graphs: how many train alone, since some may be passed over, and the points that INT8 may take
from a winner."""
OF_SPACE = frozenset({"space", "image_size", "task", "ignore_index", "reduce_zero_label", "class_names"})
"""Options that a trained supernet has decided."""
HALVING_SHARE = 0.25
"""Of `minutes`, what is kept for successive halving."""


def _evaluator(value: Any) -> Any:
    if callable(value) or value in EVALUATORS:
        return value
    raise ValueError(f"got {value!r:.60}, expected one of {', '.join(EVALUATORS)}, or in Python a function of an architecture")


@dataclass(frozen=True, kw_only=True)
class SearchConfig(CompileOption, BackendOptions, SupernetConfig):
    """Everything that a search depends on."""

    of_ray: ClassVar[tuple[str, ...]] = ("ray_address", "gpus_per_worker")
    of_quick: ClassVar[Mapping[str, Any]] = {"steps": 60, "trials": 16, "halving_steps": 20, "standalone_steps": 20}

    quick: bool = quick_option("60 steps, 16 trials, about 2 minutes on two cores with the default data")

    budget: str = option(REQUIRED, "hard limit: 4.5GFLOPs, 25Mparams, 12ms@cpu, or several, quoted", group=WHAT)
    objectives: tuple[str, ...] = option(("accuracy",), "accuracy, and costs to trade it against", group=WHAT, choices=OBJECTIVES)
    floor: float = option(
        Derived(lambda config: 0.9 if len(config.objectives) == 1 else 0.0),
        "least share of the budget to use (0.9; with several objectives 0)", group=WHAT, at_least=0, below=1,
    )  # fmt: skip
    supernet: Path | None = option(None, "directory of a trained supernet to search, which stays as it is (one is trained)", group=WHAT,
                                   convert=lambda value: Path(value).resolve(), metavar="DIR")  # fmt: skip
    trials: int = option(60, "architectures to evaluate", group=HOW, at_least=1, may_change=True)
    sampler: str = option(SAMPLERS[0], "what proposes architectures", group=HOW, choices=SAMPLERS)
    learn_from: tuple[Path, ...] = option(
        (), "directories of earlier searches, such as of another budget, whose scores by the same supernet the sampler learns from",
        group=HOW, convert=lambda value: Path(value).resolve(), metavar="DIR",
    )  # fmt: skip
    race: bool = option(False, "stop evaluating what is surely not among the best that are kept", group=HOW)
    subtract_bias: bool = option(False, "correct scores by what nas.audit found of this run's supernet", group=HOW)
    evaluator: str | Callable[..., Any] = option(
        EVALUATORS[0], "what judges: supernet (shared weights), or standalone (a short training)", group=HOW, convert=_evaluator
    )
    standalone_steps: int = option(100, "steps of such a training, with --evaluator standalone", group=HOW, at_least=1)
    halving_candidates: int = option(
        Derived(lambda config: config.default_candidates()),
        f"how many of the best train alone at the end, by successive halving; 0 for none ({CANDIDATES}; {INT8_CANDIDATES} within "
        f"milliseconds of {INT8_BACKEND})",
        group=HOW, at_least=0, may_change=True,
    )  # fmt: skip
    halving_steps: int = option(60, "steps of training in the last rung of successive halving; half as many in each before", group=HOW,
                               at_least=1)  # fmt: skip
    max_int8_drop: float | None = option(
        Derived(lambda config: MAX_INT8_DROP if config.halving_candidates and config.is_int8 else None),
        "points of accuracy (or mIoU) that INT8 may take from a winner of successive halving "
        f"({MAX_INT8_DROP:g} with a budget of {INT8_BACKEND})",
        group=HOW, at_least=0, below=100, may_change=True,
    )  # fmt: skip
    workers: int | None = option(None, "evaluations and trainings at a time (one a core, at most --parallel; on a GPU, and in a race, one)",
                                 group=BACKEND, at_least=1, may_change=True)  # fmt: skip
    cpus_per_worker: int = option(1, "threads of each worker, on which the last digits of a score depend", group=BACKEND, at_least=1,
                                  metavar="N")  # fmt: skip
    storage: str | None = option(None, "of the study: sqlite:///FILE, journal:FILE or postgresql://USER@HOST/DATABASE "
                                 "(a file in the run's directory)", group=WHERE, convert=checked_url)  # fmt: skip
    keep: int = option(5, "architectures to write, the best included; with several objectives the whole front is written", group=WHERE,
                       at_least=1, may_change=True)  # fmt: skip
    parallel: int = option(4, "evaluations that may be under way at once; decides what is proposed", group=WHERE, at_least=1)

    def check(self) -> None:
        super().check()
        if self.judged_by != "supernet":
            for name in sorted(OF_TRAINING | OF_SUPERNET):
                if name in self.given:
                    raise OptionError(name, "has no effect without a supernet; expected evaluator=supernet beside it, or neither")
        if self.supernet is not None:
            for name in sorted(OF_SPACE | OF_TRAINING):
                if name in self.given:
                    raise OptionError(name, f"is that of the supernet in {self.supernet}; leave it out, or leave out supernet")
        if self.learn_from and self.sampler == "random":
            raise OptionError("learn_from", "has no effect with sampler=random; expected another sampler")
        if self.learn_from and self.judged_by == "supernet" and self.supernet is None:
            raise OptionError("learn_from", "expected supernet=DIR beside it: scores of different supernets do not compare")
        if self.judged_by != "standalone" and "standalone_steps" in self.given:
            raise OptionError("standalone_steps", "has no effect without evaluator=standalone")
        if not self.halving_candidates and "halving_steps" in self.given:
            raise OptionError("halving_steps", "has no effect without halving_candidates; leave it out, or ask for some")
        if not self.halving_candidates and "max_int8_drop" in self.given:
            raise OptionError("max_int8_drop", "has no effect without halving_candidates; leave it out, or ask for some")
        if not self.halving_candidates and self.judged_by != "standalone" and "compile" in self.given:
            raise OptionError("compile", "has no effect where nothing trains alone; leave it out, or ask for halving_candidates")
        if self.race and self.subtract_bias:
            raise OptionError("race", "not with subtract_bias=True: a race compares images, a bias is that of whole scores")
        if len(self.objectives) > 1 and self.halving_candidates:
            raise OptionError("halving_candidates", f"got {self.halving_candidates}, expected one objective: a front has no winner")
        if self.workers is not None:
            if self.workers > self.parallel:
                limit = f"no more than parallel={self.parallel}, which decides what is proposed"
                raise OptionError("workers", f"got {self.workers}, expected {limit}")
            if self.race and self.workers > 1:
                raise OptionError("workers", f"got {self.workers}, expected 1 with race=True: scores depend on the order of evaluations")

    @property
    def judged_by(self) -> str:
        """Which evaluator scores architectures: `supernet`, `standalone` or `caller`."""
        return self.evaluator if isinstance(self.evaluator, str) else "caller"

    @property
    def evaluator_name(self) -> str:
        """The evaluator's name in a run's directory and study; a caller's function by its module and name."""
        if isinstance(self.evaluator, str):
            return self.evaluator
        function = self.evaluator if hasattr(self.evaluator, "__qualname__") else type(self.evaluator)
        return f"{function.__module__}.{function.__qualname__}"

    @property
    def storage_url(self) -> str:
        """Where the study lives."""
        return self.storage or journal_url(self.out)

    @property
    def share_of_search(self) -> float:
        """Of `minutes`, what training and search may take."""
        return 1 - HALVING_SHARE if self.halving_candidates else 1.0

    @property
    def is_int8(self) -> bool:
        """Whether the budget limits a latency of INT8 graphs."""
        with suppress(BudgetError):
            return any(target.is_int8 for target in parse_budget(self.budget).targets.values())
        # The command refuses a budget that cannot be read, and says why.
        return False

    def default_candidates(self) -> int:
        """How many candidates train alone where it is not said: 0 where a front or a caller's function leaves no winner to train."""
        if len(self.objectives) > 1 or self.judged_by == "caller":
            return 0
        return INT8_CANDIDATES if self.is_int8 else CANDIDATES

    def default_workers(self) -> int:
        """One in a race, whose scores depend on the order of evaluations, and for a caller's function, which may not be picklable."""
        if self.race or self.judged_by == "caller":
            return 1
        return self.parallel if self.ray_address else min(self.parallel, super().default_workers())

    @property
    def study_name(self) -> str:
        """Of its study in the storage."""
        from nas.runs.directory import name_of_run

        return name_of_run(self.out)

    @property
    def artifacts_folder(self) -> Path:
        """Folder of the files that the dashboard shows for every trial."""
        return self.out / "artifacts"

    @property
    def standalone_folder(self) -> Path:
        """Where the run keeps its stand-alone trainings."""
        return self.out / STANDALONE

    def values(self) -> dict[str, Any]:
        return super().values() | {"evaluator": self.evaluator_name}


def search_config_of(run: Path) -> SearchConfig:
    """The config of a search's directory, wherever that lies now; RunError where it is none of a search."""
    from nas.runs.directory import RunError, config_of_run

    found = config_of_run(run)
    if found.get("evaluator", EVALUATORS[0]) not in EVALUATORS:
        judge = f"judged by {found['evaluator']}, a function of its caller's"
        raise RunError(f"{run}: {judge}, expected a search whose evaluator the command line knows")
    try:
        return SearchConfig.restored(found | {"out": run.resolve()})
    except (KeyError, OptionError):
        raise RunError(f"{run}: got the directory of another command, expected that of a search") from None
