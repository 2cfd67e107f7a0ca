"""A comparison from its config to its table."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from rich.console import Console

from nas.cli.data_option import print_data
from nas.cli.plan import print_plan
from nas.cli.progress import phase
from nas.compare.comparison import Contender, EqualConditions, retrain_all, retrainer
from nas.compare.config import CompareConfig
from nas.compare.contenders import contenders_of
from nas.compare.following import followed, total_steps
from nas.compare.initial_weights import begun_trained, head_start, write_inherited
from nas.compare.plan import plan_comparison
from nas.compare.reporting import Compared, report_comparison
from nas.compare.searches import FoundElsewhere, further_searches, search_further
from nas.compare.subject import Subject, opened_subject
from nas.execution.workers import open_workers
from nas.runs.directory import check_run, open_run
from nas.runs.records.data import write_data
from space.pretrained.fetching import Say
from supernet.data.images import open_test_images
from supernet.data.unreadable import DataError
from supernet.tasks.task import task_of_images


def run_comparison(config: CompareConfig, console: Console, data: Any = None, test_data: Any = None) -> Compared | None:
    """Search and retrain as far as that is not done, then write and print the table; None for a dry run.

    Args:
        data, test_data: those of a caller; by default the config names them.
    """
    subject = opened_subject(config, data)
    images = subject.images
    recipe = config.load(task_of_images(images))
    test_images = open_test_images(images, config.test_data, images.class_names) if test_data is None else test_data
    if test_images is None:
        raise DataError(f"{images.source}: has no test part; expected --test-data, since no figure on other images is worth a table")
    conditions = EqualConditions(images, test_images, recipe, subject.image_size, config.out, config.may_compile)
    resolved = config.values() | {
        "data": images.identity, "image_size": conditions.image_size, "recipe": recipe.model_dump(),
        "fingerprint": subject.contender.architecture.fingerprint,
    }  # fmt: skip
    # Mistakes end here, before the directory is taken.
    check_run(config.out, resolved, config.may_change())
    first = conditions.retraining(subject.contender, 0)
    first.check()
    say = partial(console.print, soft_wrap=True, highlight=False, markup=False)
    contenders = _begun(config, subject, conditions, (), say)
    further = further_searches(config, subject)
    print_data(console, images, first.splits, test_images)
    if config.dry_run:
        done = search_further([one for one in further.searches if one.is_done], subject, console)
        contenders = _begun(config, subject, conditions, done, lambda line: None) if done else contenders
        print_plan(console, plan_comparison(config, subject, further.searches, conditions.retrainings(contenders, config.seeds)))
        return None
    with open_run(config.out, resolved, config.may_change()):
        write_data(config.out, images, test_images)
        elsewhere = search_further(further.searches, subject, console)
        if elsewhere:
            contenders = _begun(config, subject, conditions, elsewhere, lambda line: None)
        if config.begins_trained:
            write_inherited(subject, conditions, contenders, elsewhere, config.seeds)
        seeds = "one seed" if config.seeds == 1 else f"{config.seeds} seeds"
        console.print(f"{len(contenders)} networks, {seeds} each, {recipe.length}: {conditions.in_words}", soft_wrap=True)
        retrainings = [one for _, one in conditions.retrainings(contenders, config.seeds)]
        with (
            phase("retraining", total_steps(retrainings), console) as advance,
            followed(retrainings, advance) as tell,
            open_workers(partial(retrainer, conditions), config.resources, config.out / "ray") as workers,
        ):
            rows = retrain_all(contenders, config.seeds, workers, lambda job, test: tell(f"{job.name}: {test.value:.1%}"))
        ahead = head_start(subject.supernet_run, rows) if config.begins_trained and subject.supernet_run else None
        notes = (*further.notes, *([ahead] if ahead else ()))
        return report_comparison(console, config, conditions, subject, elsewhere, notes, rows)


def _begun(
    config: CompareConfig, subject: Subject, conditions: EqualConditions, elsewhere: Sequence[FoundElsewhere], say: Say
) -> list[Contender]:
    """Who takes part, with what they begin with."""
    contenders = contenders_of(config, subject, [one.contender for one in elsewhere])
    return begun_trained(config, subject, conditions, contenders, say) if config.begins_trained else contenders
