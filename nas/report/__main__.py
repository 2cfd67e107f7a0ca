"""`python -m nas.report runs/x`: what a search found, and how far to trust that, as one HTML page."""

from __future__ import annotations

import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from nas.cli.command import CommandParser, add_dry_run, exit_code_of

if TYPE_CHECKING:
    from nas.report.swaps import Swaps
    from nas.study.record import StudyRecord

SECONDS_TO_WRITE = 2.0
"""About how long a page takes."""


@dataclass(frozen=True)
class ReportConfig:
    """What to report on.

    Args:
        run: a search's directory.
        swaps: whether to score the winner with one block's mixer swapped, as far as that is not done.
        dry_run: say what would be done, and do none of it.
    """

    run: Path
    swaps: bool
    dry_run: bool


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    parser = CommandParser(
        prog="python -m nas.report",
        description="Write RUN/report.html: what a search found, which mixers won where, and how far that can be trusted.",
        epilog="The page is one file that loads nothing. nas.audit and nas.compare add to what it can tell.",
    )
    parser.add_argument("run", type=Path, metavar="RUN", help="directory of a search that has ended")
    parser.add_argument("--swaps", action="store_true", help="also score the winner with the mixer of one block swapped, with the supernet")
    add_dry_run(parser)
    config = ReportConfig(**vars(parser.parse_args(argv)))
    return exit_code_of(lambda: run(config), is_short=config.dry_run)


def run(config: ReportConfig) -> None:
    """Score swaps if asked to, then write the page."""
    from nas.report import FILE
    from nas.report.origin import check_run
    from nas.runs.lock import lock

    check_run(config.run)
    record = _open(config.run)
    asked = _swaps(config.run, record) if config.swaps else None
    if config.dry_run:
        _plan(config, record, asked)
        return
    from nas.report.page import write_report

    with lock(config.run):
        if asked is not None:
            _score(config.run, asked)
        write_report(config.run, record)
    print(f"report: {config.run / FILE}")


def _open(run: Path) -> StudyRecord:
    from nas.runs.directory import name_of_run, storage_of_run
    from nas.study.record import open_study

    return open_study(storage_of_run(run), name_of_run(run))


def _swaps(run: Path, record: StudyRecord) -> Swaps:
    from nas.report.origin import origin_of
    from nas.report.swaps import swaps_of
    from nas.runs.directory import RunError
    from nas.train.supernet_run import WEIGHTS
    from space.files import load_architecture

    origin = origin_of(run)
    if not (origin.supernet_folder(run) / WEIGHTS).exists():
        raise RunError(f"--swaps: got {run}, which has no supernet.safetensors, expected a run with a supernet to score swaps with")
    return swaps_of(load_architecture(run / "best.yaml"), record.space, origin.budget)


def _plan(config: ReportConfig, record: StudyRecord, asked: Swaps | None) -> None:
    from nas.cli.console import open_console
    from nas.cli.plan import Phase, Plan, memory_now, print_plan
    from nas.cli.workload import workload_of
    from nas.report import FILE, swaps
    from nas.report.origin import origin_of
    from nas.runs.sizes import REPORT_BYTES, YAML_BYTES
    from nas.train.supernet_run import EVALUATION_BATCH, WEIGHTS
    from space.files import load_architecture

    results, phases, memory, files = record.results(), [], {"in all": memory_now()}, {}
    if asked is not None:
        missing = swaps.missing_of(config.run, asked)
        seconds = (len(missing) + 1) * statistics.median(result.seconds for result in results) if missing else None
        phases.append(Phase("scoring", f"{len(missing)} swaps to score, {len(asked.swaps) - len(missing)} are scored already", seconds))
        origin, winner = origin_of(config.run), load_architecture(config.run / "best.yaml")
        shared = (origin.supernet_folder(config.run) / WEIGHTS).stat().st_size
        memory["in all"] += shared + workload_of([winner], origin.image_size).passing_bytes(EVALUATION_BATCH)
        files[str(config.run / swaps.FILE)] = YAML_BYTES
    phases.append(Phase("writing", f"a page about {len(results)} trials", SECONDS_TO_WRITE))
    print_plan(open_console(), Plan(tuple(phases), memory, files | {str(config.run / FILE): REPORT_BYTES}))


def _score(run: Path, asked: Swaps) -> None:
    from nas.cli.progress import phase
    from nas.evaluators.supernet import load_evaluator
    from nas.report.swaps import missing_of, score_swaps
    from nas.train.supernet_run import open_supernet_run

    missing = missing_of(run, asked)
    if missing:
        evaluator = load_evaluator(open_supernet_run(run))
        with phase("swaps", len(missing)) as advance:
            score_swaps(run, asked, evaluator, advance)


if __name__ == "__main__":
    sys.exit(main())
