"""The dry run of an audit."""

from __future__ import annotations

from collections.abc import Sequence

from nas.audit.config import AuditConfig
from nas.audit.predictors import ZERO_COST_IMAGES
from nas.audit.sample import Member, SampleTrainings
from nas.cli.plan import Phase, Plan, memory_now
from nas.cli.workload import TRAINING_PASSES, slower_by, workload_of
from nas.evaluators.trainings import Conditions
from nas.runs.sizes import RESULT_BYTES, YAML_BYTES
from proxies.zero_cost.registry import SCORES

SECONDS_TO_TIME = 1.0
"""About how long one network's latency is measured."""
EVALUATIONS = 3
"""With the supernet's weights: calibrated, not calibrated, and normalised by the batch."""
REPORT_BYTES = 5e4


def plan_audit(config: AuditConfig, conditions: Conditions, members: Sequence[Member]) -> Plan:
    """The plan of `nas.audit`.

    Args:
        members: those of the sample, which may not be written yet.
    """
    run = conditions.run
    workload = workload_of([member.architecture for member in members], run.image_size)
    asked = [training for of_kind in SampleTrainings.of(config, members) for training in of_kind]
    missing = [training for training in asked if conditions.result_of(training) is None]
    steps = sum(training.steps for training in missing)
    training = slower_by(config.resources.num_workers) * workload.training_seconds(steps, config.batch_size)
    _, splits = run.images()
    images = len(SCORES) * TRAINING_PASSES * ZERO_COST_IMAGES
    if run.weights_file.exists():
        images += EVALUATIONS * (len(splits.calibration) + len(splits.search))
    scoring = len(members) * workload.passing_seconds(images)
    workers = config.resources.num_workers
    what = f"{len(missing)} of {len(asked)} trainings, {steps} steps of {config.batch_size} images, {workers} at a time"
    files = {
        f"{config.bench}/sample/": len(members) * YAML_BYTES,
        f"{config.bench}/latencies/": len(members) * RESULT_BYTES,
        f"{config.bench}/trainings/": len(asked) * RESULT_BYTES,
        f"{config.folder}/report.md and tables": REPORT_BYTES,
    } | ({f"{config.publish}/": REPORT_BYTES} if config.publish else {})
    phases = (
        Phase("timing", f"{len(members)} networks on {config.latency}", len(members) * SECONDS_TO_TIME),
        Phase("training", what, training if missing else None),
        Phase("scoring", f"{len(members)} networks with the supernet and {len(SCORES)} zero-cost scores", scoring),
    )
    memory = {"for each worker": memory_now() + workload.training_bytes(config.batch_size)}
    return Plan(phases, memory, files, config.resources.num_workers * workload.checkpoint_bytes)
