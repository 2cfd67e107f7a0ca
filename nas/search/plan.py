"""The dry runs of a search and of a command that joins one."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import replace
from random import Random

from nas.cli.plan import Phase, Plan, memory_now
from nas.cli.trackers.scalars import expected_files
from nas.cli.workload import Workload, slower_by, workload_of
from nas.evaluators.trainings import BATCH_SIZE
from nas.runs.records.data import DATA
from nas.runs.records.examples import FOLDER as EXAMPLES
from nas.runs.records.halving import read_halving
from nas.runs.sizes import ARTIFACTS_BYTES, CONFIG_BYTES, EXAMPLES_BYTES, REPORT_BYTES, RESULT_BYTES, STUDY_BYTES, TABLE_BYTES, YAML_BYTES
from nas.runs.storage_url import file_of, without_password
from nas.search.config import SearchConfig
from nas.search.successive_halving import num_steps, num_tests, steps_of_rungs
from nas.train.plan import SAMPLES, latency_phases, training_phase
from nas.train.supernet_run import SupernetRun
from proxies.band.architecture_band import ArchitectureBand
from proxies.cost import parse_budget
from proxies.published import parents_within
from proxies.target import Target
from supernet.data.images import open_test_images


def plan_search(config: SearchConfig, band: ArchitectureBand, targets: Sequence[Target], supernet_run: SupernetRun) -> Plan:
    """The plan of `nas.search`.

    Args:
        band: without limits on latency, whose tables are measured in the first phase; workloads are averaged over draws from it.
        targets: where latency would be measured.
    """
    drawn, phases = _drawn(band, supernet_run), latency_phases(config, band.space, targets)
    memory, shared, passing = {}, drawn, 0.0
    if config.judged_by == "supernet" and config.supernet is None:
        training, shared = training_phase(config, supernet_run, band if config.scope == "band" else None)
        phases.append(training)
        memory["in training"] = memory_now() + shared.training_bytes(config.batch_size)
        passing = shared.checkpoint_bytes
    phases.append(_search_phase(config, drawn, supernet_run, _seconds_of_evaluations(config)))
    if config.halving_candidates:
        phases.append(_halving_phase(config, band, drawn, supernet_run))
    memory["for each worker"] = _worker_bytes(config, drawn, shared, supernet_run)
    note = "" if config.minutes is None else f"; --minutes ends it after {config.minutes:g}"
    return Plan(tuple(phases), memory, _files(config, drawn, shared, supernet_run), passing, note)


def plan_join(config: SearchConfig, band: ArchitectureBand, supernet_run: SupernetRun) -> Plan:
    """The plan of `nas.join`.

    Args:
        config: the search's, with the workers and the storage of whoever joins.
        band: without limits on latency.
    """
    drawn = _drawn(band, supernet_run)
    shared = training_phase(config, supernet_run, None)[1] if config.judged_by == "supernet" else drawn
    done = _seconds_of_evaluations(config)
    phase = _search_phase(config, drawn, supernet_run, done)
    phase = replace(phase, what=f"{phase.what}; less where others evaluate, too")
    files = {_study(config): max(config.trials - len(done), 0) * STUDY_BYTES}
    return Plan((phase,), {"for each worker": _worker_bytes(config, drawn, shared, supernet_run)}, files)


def _drawn(band: ArchitectureBand, supernet_run: SupernetRun) -> Workload:
    rng = Random(0)
    return workload_of([band.draw(rng) for _ in range(SAMPLES)], supernet_run.image_size)


def _search_phase(config: SearchConfig, drawn: Workload, supernet_run: SupernetRun, done: Sequence[float]) -> Phase:
    """The remaining evaluations, at the speed of the finished ones, if any; `done` are their seconds."""
    _, splits = supernet_run.images()
    alone, workers = config.judged_by == "standalone", config.resources
    if done:
        seconds = statistics.median(done) / workers.num_workers
    else:
        before = drawn.training_seconds(config.standalone_steps, BATCH_SIZE) if alone else drawn.passing_seconds(len(splits.calibration))
        seconds = (before + drawn.passing_seconds(len(splits.search))) * slower_by(workers.num_workers * workers.cpus)
    before_that = f"{config.standalone_steps} steps of training alone" if alone else f"calibrating on {len(splits.calibration)}"
    missing = max(config.trials - len(done), 0)
    what = f"{missing} architectures on {len(splits.search)} images, after {before_that}, {workers.num_workers} at a time"
    return Phase("search", what, seconds * missing if missing else None)


def _halving_phase(config: SearchConfig, band: ArchitectureBand, drawn: Workload, supernet_run: SupernetRun) -> Phase:
    # Beside the best, one drawn at random and the best published network.
    budget = parse_budget(config.budget, config.floor)
    candidates = config.halving_candidates + (not budget.targets) + bool(parents_within(band.space, budget))
    rungs = steps_of_rungs(config.halving_steps, candidates)
    steps, done = num_steps(candidates, rungs), read_halving(config.out)
    workers = config.resources
    images = supernet_run.images()[0]
    tested = open_test_images(images, None, images.class_names)
    seconds = drawn.training_seconds(steps, BATCH_SIZE) + drawn.passing_seconds(num_tests(candidates, rungs) * len(tested or ()))
    seconds *= slower_by(workers.num_workers * workers.cpus)
    what = f"{candidates} networks train alone, {steps} steps in all, {workers.num_workers} at a time"
    if config.max_int8_drop is not None:
        what += ", and are judged in INT8 as well"
    is_done = done is not None and done.finished == len(done.steps)
    return Phase("halving", what, None if is_done else seconds)


def _worker_bytes(config: SearchConfig, drawn: Workload, shared: Workload, supernet_run: SupernetRun) -> float:
    if config.judged_by == "standalone":
        return memory_now() + drawn.training_bytes(BATCH_SIZE)
    task = supernet_run.task
    return memory_now() + replace(drawn, params=shared.params).passing_bytes(max(task.calibration_batch, task.evaluation_batch))


def _files(config: SearchConfig, drawn: Workload, shared: Workload, supernet_run: SupernetRun) -> dict[str, float]:
    files = {f"{config.artifacts_folder.name}/": config.trials * ARTIFACTS_BYTES}
    files |= {"config.json": CONFIG_BYTES, DATA: CONFIG_BYTES}
    files |= {"best.yaml": YAML_BYTES, "trials.csv": config.trials * TABLE_BYTES, "report.html": REPORT_BYTES}
    if config.judged_by == "supernet" and config.supernet is None:
        files |= {"supernet.safetensors": shared.weights_bytes, "best.safetensors": drawn.weights_bytes}
        files |= expected_files(config.log, config.steps)
    if config.judged_by == "supernet" and supernet_run.task.colours(1):
        files[f"{EXAMPLES}/"] = EXAMPLES_BYTES
    if config.halving_candidates or config.judged_by == "standalone":
        trainings = config.halving_candidates + (config.trials if config.judged_by == "standalone" else 0)
        files[f"{config.standalone_folder.name}/"] = trainings * RESULT_BYTES
    if len(config.objectives) == 1:
        files |= {f"next-{rank}.yaml": YAML_BYTES for rank in range(2, config.keep + 1)}
    else:
        files["front-2.yaml and so on, as many as the front has points"] = YAML_BYTES
    return {f"{config.out}/{name}": size for name, size in files.items()} | {_study(config): config.trials * STUDY_BYTES}


def _study(config: SearchConfig) -> str:
    return str(file_of(config.storage_url) or without_password(config.storage_url))


def _seconds_of_evaluations(config: SearchConfig) -> list[float]:
    """Of the finished trials. A study that does not exist yet is not opened, since that would create it."""
    file = file_of(config.storage_url)
    if not (config.out / "config.json").exists() or (file is not None and not file.exists()):
        return []
    from nas.study.record import StudyError, open_study

    try:
        return [result.seconds for result in open_study(config.storage_url, config.study_name).results()]
    except StudyError:
        return []
