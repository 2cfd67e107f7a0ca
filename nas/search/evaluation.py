"""The search itself: a study proposes architectures, and workers evaluate them until there are enough."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial

from rich.console import RenderableType

from nas.cli.progress import phase
from nas.cli.screen import Screen
from nas.evaluators.bias_correction import UnbiasedEvaluator
from nas.evaluators.evaluator import CallerEvaluator, Evaluator, MakeEvaluator
from nas.evaluators.standalone import StandaloneEvaluator
from nas.evaluators.supernet import load_evaluator
from nas.evaluators.trainings import BATCH_SIZE, Conditions
from nas.execution.loop import Deadline, run_jobs
from nas.execution.workers import open_workers
from nas.report.cost_columns import amount, macs_unit
from nas.runs.storage_url import StorageError
from nas.samplers.observed_trials import SourceTrials
from nas.search.config import SearchConfig
from nas.search.curves import SearchCurves
from nas.search.proposals import Proposals
from nas.search.view import search_view
from nas.study.architecture_study import ArchitectureStudy
from nas.study.objectives import objectives_of
from nas.study.record import Result
from nas.train.supernet_run import SupernetRun
from proxies.band.architecture_band import ArchitectureBand
from proxies.cost import Budget
from proxies.published import Parent


def open_search(
    config: SearchConfig, supernet_run: SupernetRun, band: ArchitectureBand, budget: Budget, parents: Sequence[Parent],
    source: SourceTrials | None = None,
) -> ArchitectureStudy:  # fmt: skip
    """The study of a search, created where it is new.

    Args:
        supernet_run: trained, if that is what judges.
        band: what may be proposed; its latencies are limited more tightly than the budget's.
        parents: published networks; those in the band are evaluated first.
        source: what a new study's sampler learns from besides.
    """
    first = [parent for parent in parents if band.contains(parent.architecture)]
    objectives = objectives_of(config.objectives, budget)
    return ArchitectureStudy(
        config.storage_url, config.study_name, band, budget, objectives, config.sampler, config.seed, config.parallel, first,
        judge_of(config, supernet_run), config.artifacts_folder, source,
    )  # fmt: skip


def judge_of(config: SearchConfig, supernet_run: SupernetRun) -> str:
    """Where the scores come from: a study refuses scores of another evaluator."""
    if config.judged_by == "caller":
        return f"the caller's {config.evaluator_name}"
    if config.judged_by == "standalone":
        return f"{config.standalone_steps} steps alone"
    with supernet_run.weights_file.open("rb") as weights:
        return f"supernet {hashlib.file_digest(weights, 'sha256').hexdigest()[:16]}"


def evaluator_of(config: SearchConfig, supernet_run: SupernetRun, corrections: Mapping[str, float] | None) -> MakeEvaluator:
    """The function with which every worker makes its evaluator.

    Args:
        corrections: of biases that an audit found, where they are to be subtracted.
    """
    if callable(config.evaluator):
        return partial(CallerEvaluator, config.evaluator)
    if config.evaluator == "standalone":
        conditions = Conditions(supernet_run, BATCH_SIZE, config.standalone_folder, may_compile=config.may_compile)
        return partial(StandaloneEvaluator, conditions, config.standalone_steps, config.seed)
    race_for = max(config.keep, config.halving_candidates) if config.race else None
    return partial(_supernet_evaluator, supernet_run, race_for, corrections)


def evaluate_proposals(
    config: SearchConfig,
    study: ArchitectureStudy,
    make_evaluator: MakeEvaluator,
    deadline: Deadline,
    screen: Screen,
    parents: Sequence[Parent],
) -> None:
    """Let the config's workers evaluate proposals until the study has as many results as the config asks for.

    Args:
        screen: shows the progress.
        parents: published networks within the budget, to compare with.
    """
    summary, num_workers = study.summary(), config.resources.num_workers

    def view(width: int, height: int) -> RenderableType:
        nonlocal summary
        # The search itself meets the same error and reports it.
        with suppress(StorageError, OSError):
            summary = study.summary()
        return search_view(summary, parents, num_workers, width, height)

    screen.reach("search", view)
    curves = SearchCurves(config.log, config.out)
    with phase("search", config.trials, screen.console) as advance, study.session(), curves:
        best = max(study.results(), key=lambda one: one.rank_key, default=None)
        advance(at=study.num_results, note=_in_words(best))

        def on_result(result: Result) -> None:
            nonlocal best
            best = result if best is None else max(best, result, key=lambda one: one.rank_key)
            # Other processes may evaluate, too.
            num_results = study.num_results
            curves.add(num_results, result.score, best.score)
            advance(at=num_results, note=_in_words(best))

        with open_workers(make_evaluator, config.resources, config.out / "ray") as workers:
            run_jobs(Proposals(study, config.trials, on_result), workers, deadline)


def _supernet_evaluator(run: SupernetRun, race_for: int | None, corrections: Mapping[str, float] | None) -> Evaluator:
    evaluator = load_evaluator(run)
    if race_for is not None:
        return evaluator.racing(race_for)
    return evaluator if corrections is None else UnbiasedEvaluator(evaluator, corrections)


def _in_words(best: Result | None) -> str:
    if best is None:
        return ""
    unit = macs_unit(best.cost.macs)
    return f"best {best.score.in_words} at {amount(best.cost.macs / unit.macs)} {unit.name}"
