"""A report from its config to its page."""

from __future__ import annotations

import statistics
from pathlib import Path

from rich.console import Console

from nas.cli.plan import Phase, Plan, memory_now, print_plan
from nas.cli.progress import phase
from nas.cli.workload import workload_of
from nas.evaluators.supernet import load_evaluator
from nas.report import FILE, ablation
from nas.report.ablation import AblationPlan, missing_of, plan_ablation, score_replacements
from nas.report.config import ReportConfig
from nas.report.origin import check_run, origin_of
from nas.report.page import write_report
from nas.runs.directory import RunError, name_of_run, storage_of_run
from nas.runs.lock import lock
from nas.runs.sizes import REPORT_BYTES, YAML_BYTES
from nas.study.record import StudyRecord, open_study
from nas.train.supernet_run import EVALUATION_BATCH, WEIGHTS, open_supernet_run
from space.files import load_architecture

SECONDS_TO_WRITE = 2.0
"""About how long a page takes."""


def run_report(config: ReportConfig, console: Console) -> None:
    """Score the ablation if asked to, then write the page."""
    check_run(config.run)
    record = open_study(storage_of_run(config.run), name_of_run(config.run))
    asked = _planned(config.run, record) if config.ablation else None
    if config.dry_run:
        _plan(console, config, record, asked)
        return
    with lock(config.run):
        if asked is not None:
            _score(config.run, asked)
        write_report(config.run, record)
    print(f"report: {config.run / FILE}")


def _planned(run: Path, record: StudyRecord) -> AblationPlan:
    origin = origin_of(run)
    if not (origin.supernet_folder(run) / WEIGHTS).exists():
        raise RunError(f"--ablation: got {run}, which has no supernet.safetensors, expected a run with a supernet to score with")
    return plan_ablation(load_architecture(run / "best.yaml"), record.space, origin.budget)


def _plan(console: Console, config: ReportConfig, record: StudyRecord, asked: AblationPlan | None) -> None:
    results, phases, memory, files = record.results(), [], {"in all": memory_now()}, {}
    if asked is not None:
        missing = missing_of(config.run, asked)
        seconds = (len(missing) + 1) * statistics.median(result.seconds for result in results) if missing else None
        done = len(asked.replacements) - len(missing)
        phases.append(Phase("scoring", f"{len(missing)} replaced mixers to score, {done} are scored already", seconds))
        origin, winner = origin_of(config.run), load_architecture(config.run / "best.yaml")
        shared = (origin.supernet_folder(config.run) / WEIGHTS).stat().st_size
        memory["in all"] += shared + workload_of([winner], origin.image_size).passing_bytes(EVALUATION_BATCH)
        files[str(config.run / ablation.FILE)] = YAML_BYTES
    phases.append(Phase("writing", f"a page about {len(results)} trials", SECONDS_TO_WRITE))
    print_plan(console, Plan(tuple(phases), memory, files | {str(config.run / FILE): REPORT_BYTES}))


def _score(run: Path, asked: AblationPlan) -> None:
    missing = missing_of(run, asked)
    if missing:
        evaluator = load_evaluator(open_supernet_run(run))
        with phase("ablation", len(missing)) as advance:
            score_replacements(run, asked, evaluator, advance)
