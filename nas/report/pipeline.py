"""A report from its config to its page."""

from __future__ import annotations

import statistics

from rich.console import Console

from nas.cli.plan import Phase, Plan, memory_now, print_plan
from nas.cli.progress import phase
from nas.cli.workload import workload_of
from nas.evaluators.supernet import load_evaluator
from nas.report import FILE
from nas.report.ablation import Ablation, ablation_of
from nas.report.config import ReportConfig
from nas.report.page import write_report
from nas.runs.directory import RunError, name_of_run, storage_of_run
from nas.runs.lock import lock
from nas.runs.records.ablation import FILE as ABLATION_FILE
from nas.runs.records.search import SearchRecord, read_finished_search
from nas.runs.sizes import REPORT_BYTES, YAML_BYTES
from nas.study.record import StudyRecord, open_study
from nas.train.supernet_run import WEIGHTS, open_supernet_run
from space.files import load_architecture
from supernet.tasks.task import task_of_head

SECONDS_TO_WRITE = 2.0
"""About how long a page takes."""


def run_report(config: ReportConfig, console: Console) -> None:
    """Score the replacements of a mixer ablation if asked to, then write the page."""
    search = read_finished_search(config.run)
    study = open_study(storage_of_run(config.run), name_of_run(config.run))
    ablation = _ablation(config, search, study) if config.ablation else None
    if config.dry_run:
        _plan(config, console, search, study, ablation)
        return
    with lock(config.run):
        if ablation is not None and (missing := ablation.missing(config.run)):
            evaluator = load_evaluator(open_supernet_run(config.run))
            with phase("mixer ablation", len(missing)) as advance:
                ablation.score(config.run, evaluator, advance)
        write_report(config.run, study)
    print(f"report: {config.run / FILE}")


def _ablation(config: ReportConfig, search: SearchRecord, study: StudyRecord) -> Ablation:
    if not (search.supernet_folder(config.run) / WEIGHTS).exists():
        raise RunError(f"--ablation: got {config.run}, which has no {WEIGHTS}, expected a run with a supernet to score with")
    return ablation_of(load_architecture(config.run / "best.yaml"), study.space, search.budget)


def _plan(config: ReportConfig, console: Console, search: SearchRecord, study: StudyRecord, ablation: Ablation | None) -> None:
    results, phases, memory, files = study.results(), [], memory_now(), {}
    if ablation is not None:
        left, total = len(ablation.missing(config.run)), len(ablation.replacements)
        seconds = (left + 1) * statistics.median(result.seconds for result in results) if left else None
        phases.append(Phase("scoring", f"{left} replacements of mixers to score, {total - left} are scored already", seconds))
        memory += (search.supernet_folder(config.run) / WEIGHTS).stat().st_size
        at_a_time = task_of_head(study.space).evaluation_batch
        memory += workload_of([ablation.winner], search.config.image_size).passing_bytes(at_a_time)
        files[str(config.run / ABLATION_FILE)] = YAML_BYTES
    phases.append(Phase("writing", f"a page about {len(results)} trials", SECONDS_TO_WRITE))
    print_plan(console, Plan(tuple(phases), {"in all": memory}, files | {str(config.run / FILE): REPORT_BYTES}))
