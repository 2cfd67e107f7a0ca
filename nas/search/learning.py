"""What a search learns from earlier ones: scores of the same evaluator, in another budget for instance."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from nas.runs.directory import RunError, config_of_run, name_of_run, storage_of_run
from nas.runs.storage_url import file_of
from nas.samplers.observed_trials import SourceTrials
from nas.search.config import SearchConfig
from nas.search.evaluation import judge_of
from nas.study.objectives import objectives_of
from nas.study.record import StudyRecord, open_study
from nas.study.source_trials import source_trials_of
from nas.train.supernet_run import SupernetRun
from proxies.band.architecture_band import ArchitectureBand
from proxies.cost import parse_budget
from space.files import dump_space

OF_SCORES = ("data", "image_size", "race", "subtract_bias")
"""Options besides the evaluator that a score depends on."""


def learned_from(
    config: SearchConfig, resolved: Mapping[str, Any], supernet_run: SupernetRun, band: ArchitectureBand
) -> SourceTrials | None:
    """The trials of the runs in `learn_from`; None where it names none.

    Args:
        resolved: the config as the run's directory keeps it.

    Raises:
        RunError: a run whose scores do not compare with this search's, or that has none.
    """
    studies = [_study_of(run, config, resolved, supernet_run, band) for run in config.learn_from]
    return source_trials_of(studies, band.rows)


def _study_of(
    run: Path, config: SearchConfig, resolved: Mapping[str, Any], supernet_run: SupernetRun, band: ArchitectureBand
) -> StudyRecord:
    found = config_of_run(run)
    storage = storage_of_run(run)
    file = file_of(storage)
    # Opening it would create it.
    if "trials" not in found or (file is not None and not file.exists()):
        raise RunError(f"learn_from: {run}: got no study there, expected the directory of a search")
    study = open_study(storage, name_of_run(run))
    expected: dict[str, Any] = {
        "space": dump_space(band.space), "judge": judge_of(config, supernet_run),
        "objectives": [asdict(one) for one in objectives_of(config.objectives, parse_budget(config.budget, config.floor))],
    }  # fmt: skip
    for key, value in expected.items():
        if study.study.user_attrs[key] != value:
            raise RunError(f"learn_from: {run}: its {key} differs, so its scores do not compare; expected a search of the same supernet")
    for key in OF_SCORES:
        if str(found.get(key)) != str(resolved[key]):
            raise RunError(f"learn_from: {run}: got {key} {found.get(key)}, expected {resolved[key]}, on which scores depend")
    if not study.num_results:
        raise RunError(f"learn_from: {run}: got no evaluated trial, expected some")
    return study
