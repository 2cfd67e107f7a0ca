"""Searches besides the one that is compared: with other seeds, with one mixer alone, with one kind of choice fixed.

The command makes them in this process, each in a folder of the comparison, where they resume as any search does.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from nas.compare.comparison import Contender
from nas.compare.config import CompareConfig
from nas.compare.fixed_kinds import fixed_kinds
from nas.compare.subject import FOUND, Subject, winner_of
from nas.runs.directory import RunError, config_of_run, name_of_run, storage_of_run
from nas.runs.records.role import Role
from nas.search.config import SearchConfig, search_config_of
from nas.search.pipeline import run_search
from nas.study.record import Result, open_study
from nas.train.supernet_run import SupernetRun
from proxies.band.architecture_band import ArchitectureBand
from proxies.cost import Budget, BudgetError, without_latency
from space.errors import SpaceError
from space.names import as_name
from space.narrowing import Narrowing, narrowed
from space.search_space import SearchSpace

SAME = ("space", "only", "budget", "floor", "objectives", "data", "image_size", "ignore_index", "reduce_zero_label", "class_names")
"""Options that searches whose winners are compared must share."""


@dataclass(frozen=True)
class FurtherSearch:
    """A search that takes part with its winner.

    Args:
        label: of the winner.
        role: of the winner.
        kind: of choice that is fixed, if one is.
    """

    label: str
    role: Role
    config: SearchConfig
    kind: str = ""

    @property
    def is_done(self) -> bool:
        """Whether it has ended with as many trials as are asked for."""
        folder = self.config.out
        return (folder / "best.yaml").exists() and config_of_run(folder).get("trials") == self.config.trials


@dataclass(frozen=True)
class FoundElsewhere:
    """The winner of a further search, and the supernet that judged it."""

    search: FurtherSearch
    contender: Contender
    supernet_run: SupernetRun


@dataclass(frozen=True)
class FurtherSearches:
    """All that a comparison needs.

    Args:
        notes: a line for each that cannot be made.
    """

    searches: tuple[FurtherSearch, ...] = ()
    notes: tuple[str, ...] = ()


def further_searches(config: CompareConfig, subject: Subject) -> FurtherSearches:
    """The searches that a config asks for, in the order of the table; UserError where a given one does not compare."""
    if config.run is None or not (config.runs or config.search_seeds or config.homogeneous or config.fix_kinds):
        return FurtherSearches()
    study = open_study(storage_of_run(config.run), name_of_run(config.run))
    own = search_config_of(config.run)
    wanted = [*(_given(config.run, run) for run in config.runs), *(_seeded(config, own, more + 1) for more in range(config.search_seeds))]
    restricted: list[FurtherSearch | str] = []
    if config.homogeneous:
        restricted += _homogeneous(config, subject, own, study.num_results)
    if config.fix_kinds:
        restricted += _fixed(config, subject, own, study.results())
    wanted += [one for one in restricted if not isinstance(one, str)]
    return FurtherSearches(tuple(wanted), tuple(one for one in restricted if isinstance(one, str)))


def search_further(searches: Sequence[FurtherSearch], subject: Subject, console: Console) -> list[FoundElsewhere]:
    """Make the searches as far as that is not done; their winners."""
    return [_searched(search, subject, console) for search in searches]


def space_of(search: FurtherSearch, subject: Subject) -> SearchSpace:
    """The part of the subject's space in which a further search searches."""
    assert subject.supernet_run is not None
    return narrowed(subject.supernet_run.space, search.config.narrowings)


def _searched(search: FurtherSearch, subject: Subject, console: Console) -> FoundElsewhere:
    folder = search.config.out
    if not search.is_done:
        console.print(f"\n[bold]{search.label}[/bold]: searching in {folder}", soft_wrap=True)
        if run_search(search.config, console, subject.images) is None:
            raise RunError(f"{folder}: its --minutes were too few to evaluate an architecture; the same command continues")
    found = winner_of(folder, subject.images)
    assert found.supernet_run is not None
    return FoundElsewhere(search, Contender(search.label, found.contender.architecture, search.role), found.supernet_run)


def _given(own: Path, run: Path) -> FurtherSearch:
    ours, theirs = config_of_run(own), config_of_run(run)
    for key in SAME:
        if ours.get(key) != theirs.get(key):
            raise RunError(f"{run}: got a search with {key} {theirs.get(key)}, expected {ours.get(key)} as in {own}")
    return FurtherSearch(f"{FOUND} in {run.name}", Role.WINNER, search_config_of(run))


def _seeded(config: CompareConfig, own: SearchConfig, more: int) -> FurtherSearch:
    seed = own.seed + more
    return FurtherSearch(f"{FOUND}, seed {seed}", Role.WINNER, _changed(config, own, f"seed-{seed}", seed=seed))


def _homogeneous(config: CompareConfig, subject: Subject, own: SearchConfig, trials: int) -> Iterator[FurtherSearch | str]:
    """A search for each mixer, or why there is none."""
    space = _searched_space(subject)
    for mixer in dict.fromkeys(one.type for offered in space.mixers for one in offered):
        only = (Narrowing("mixer", (mixer,)),)
        if reason := _why_empty(space, only, subject.budget):
            yield f"No network of {mixer} alone takes part: {reason}."
        else:
            restricted = _restricted(config, own, only, f"homogeneous/{mixer}", trials)
            yield FurtherSearch(f"only {mixer}", Role.HOMOGENEOUS, restricted)


def _fixed(config: CompareConfig, subject: Subject, own: SearchConfig, results: Sequence[Result]) -> Iterator[FurtherSearch | str]:
    """A search for each kind of choice, or why there is none."""
    space = _searched_space(subject)
    for kind, candidates in fixed_kinds(space, results).items():
        fixed = next((only for only in candidates if not _why_empty(space, only, subject.budget)), None)
        if fixed is None:
            yield f"No network with one {kind} alone takes part: none fits the budget."
            continue
        at = " ".join(one.options[0] if one.stage is None else f"{one.options[0]} (stage {one.stage})" for one in fixed)
        restricted = _restricted(config, own, fixed, f"fixed/{kind}", len(results))
        yield FurtherSearch(f"{kind} fixed at {at}", Role.FIXED, restricted, kind)


def _searched_space(subject: Subject) -> SearchSpace:
    assert subject.supernet_run is not None
    return subject.supernet_run.searched_space


def _restricted(config: CompareConfig, own: SearchConfig, only: Sequence[Narrowing], folder: str, trials: int) -> SearchConfig:
    """The same search of a part of the space: the same evaluator and seed, and as many trials as the search has evaluated."""
    supernet = own.supernet or own.out if own.judged_by == "supernet" else None
    # Scores of another space teach nothing here, and no clock ends what must be equal.
    return _changed(config, own, folder, supernet=supernet, only=(*own.only, *map(str, only)), trials=trials, minutes=None, learn_from=())


def _changed(config: CompareConfig, own: SearchConfig, folder: str, **changes: object) -> SearchConfig:
    """A search's config with other values, in a folder of the comparison, where the comparison's workers work."""
    workers = None if config.workers is None else min(config.workers, 1 if own.race else own.parallel)
    where = {"workers": workers, "backend": config.backend, "ray_address": config.ray_address, "gpus_per_worker": config.gpus_per_worker}
    out = config.out.joinpath(*map(as_name, folder.split("/")))
    return SearchConfig.restored(own.values() | where | {"storage": None, "dry_run": False, "out": out} | changes)


def _why_empty(space: SearchSpace, only: Sequence[Narrowing], budget: Budget) -> str:
    """Why no member of a part of the space lies in the budget; empty where one does."""
    try:
        ArchitectureBand(narrowed(space, only), without_latency(budget))
    except (SpaceError, BudgetError) as error:
        return str(error)
    return ""
