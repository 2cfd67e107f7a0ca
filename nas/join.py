"""`python -m nas.join runs/mine`: evaluate for a search that runs elsewhere, in another process or on another host with the same files."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from nas import __version__
from nas.cli.command import Command
from nas.cli.options import REQUIRED, Config, option
from nas.runs.lock import holder_of
from nas.runs.process_id import is_alive
from nas.runs.storage_url import checked_url, file_of
from space.errors import UserError

if TYPE_CHECKING:
    from rich.console import Console

    from nas.search.config import SearchConfig
    from nas.study.record import StudyRecord

POLL = 1.0
"""Seconds between two checks whether the search has started to evaluate."""


@dataclass(frozen=True, kw_only=True)
class JoinConfig(Config):
    """Which search to evaluate for, and how."""

    run: Path = option(REQUIRED, "the search's run directory", is_positional=True)
    workers: int | None = option(None, "evaluations at a time (one a core; on a GPU one)", at_least=1)
    storage: str | None = option(None, "the search's, with a password that neither PGPASSWORD nor ~/.pgpass has", convert=checked_url)
    wait: float = option(60.0, "minutes to wait for the search to begin", at_least=0, below=1e6)


class JoinError(UserError):
    """A search that this process cannot evaluate for."""


main = Command(
    JoinConfig,
    "nas.join:run",
    "Evaluate architectures for a search that runs elsewhere, until it has as many as it wants.",
    epilog="The search itself trains the supernet, trains the best alone and writes the files. It may have ended; run it again for those.",
)


def run(config: JoinConfig, console: Console) -> None:
    """Propose and evaluate as the search's own workers do, with its weights and its settings."""
    _check_versions(config.run)

    from nas.search.config import SearchConfig, search_config_of

    search = search_config_of(config.run)
    here = {"backend": "local", "workers": config.workers, "ray_address": None, "storage": config.storage or search.storage}
    search = SearchConfig.restored(search.values() | here)
    _check_host(config.run, search.storage_url)

    from nas.train.supernet_run import open_supernet_run
    from proxies.band.architecture_band import ArchitectureBand
    from proxies.cost import parse_budget, without_latency

    supernet_run = open_supernet_run(search.out)
    budget = parse_budget(search.budget, search.floor)
    band = ArchitectureBand(supernet_run.searched_space, without_latency(budget))
    if config.dry_run:
        from nas.cli.plan import print_plan
        from nas.search.plan import plan_join

        print_plan(console, plan_join(search, band, supernet_run))
        return

    from nas.cli.screen import Screen
    from nas.execution.loop import Deadline
    from nas.latency.tables import limited, tables_of_run
    from nas.runs.records.audit import corrections_of
    from nas.search.evaluation import evaluate_proposals, evaluator_of, open_search
    from proxies.published import parents_within

    num_results = _wait_for_study(config, search, console).num_results
    if num_results >= search.trials:
        ended = f"no architecture left to evaluate, {num_results} in all; for more, run the search again with more --trials"
        console.print(f"{config.run}: {ended}", soft_wrap=True)
        return
    if budget.targets:
        # The search's own tables: latencies measured on this machine would make another band.
        band = limited(band, budget, tables_of_run(search.out, supernet_run.searched_space, budget))
    parents = parents_within(supernet_run.searched_space, budget)
    study = open_search(search, supernet_run, band, budget, parents)
    before = study.num_results
    corrections = corrections_of(supernet_run.folder) if search.subtract_bias else None
    with Screen(console, ("search",)) as screen:
        evaluate_proposals(search, study, evaluator_of(search, supernet_run, corrections), Deadline(), screen, parents)
    console.print(f"{study.num_results - before} architectures evaluated meanwhile, {study.num_results} in all", soft_wrap=True)


def _check_versions(run: Path) -> None:
    """Raise JoinError if other versions of packages made the run: they may score differently, or fail to read it."""
    from nas.runs.directory import versions_of_run

    for package, version in versions_of_run(run).items():
        try:
            ours = __version__ if package == "token-mixer-nas" else metadata.version(package)
        except metadata.PackageNotFoundError:
            ours = "none"
        if ours != version:
            raise JoinError(f"{run}: made with {package} {version}, got {ours}; install that, or run the search again with this")


def _check_host(run: Path, storage: str) -> None:
    """Raise JoinError if the search runs on another host and its study is a file, which serves the processes of one host only."""
    file, holder = file_of(storage), holder_of(run)
    if file is not None and holder is not None and is_alive(holder.process) is None:
        where = f"a search on {holder.process.host}, whose study {file} serves one host"
        raise JoinError(f"{run}: got {where}; join it there, or begin it with --storage postgresql://USER@HOST/DATABASE")


def _wait_for_study(config: JoinConfig, search: SearchConfig, console: Console) -> StudyRecord:
    """The study of the search, as soon as it has started to evaluate; JoinError if it does not in time."""
    from nas.study.record import StudyError, open_study

    deadline = time.monotonic() + 60 * config.wait
    has_said = False
    while True:
        try:
            return open_study(search.storage_url, search.study_name)
        except StudyError:
            if not has_said:
                console.print(f"{config.run}: the search has not begun to evaluate; waiting up to {config.wait:g} min", soft_wrap=True)
                has_said = True
            if time.monotonic() > deadline:
                waited = f"got no study {search.study_name!r} within {config.wait:g} min"
                raise JoinError(f"{config.run}: {waited}, expected a search that has trained its supernet") from None
        time.sleep(POLL)


if __name__ == "__main__":
    sys.exit(main())
