"""The checklist of best practices for research on architecture search (https://jmlr.org/papers/v21/20-056.html), answered from a run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from nas.compare.comparison import EqualConditions
from nas.compare.config import CompareConfig
from nas.compare.figures import Figures
from nas.retrain.recipe import recipe_names
from nas.runs.directory import config_of_run, versions_of_run
from nas.runs.records.comparison import ChecklistAnswer
from nas.runs.records.halving import read_halving
from nas.runs.records.role import Role
from nas.runs.records.search import read_finished_search
from space.files import space_names

YES, PARTLY, NO = "yes", "partly", "no"


@dataclass(frozen=True)
class Evidence:
    """What the answers are drawn from.

    Args:
        run: the search's directory.
        searches: directories of all searches of the whole space, that one included.
        devices: on which networks were retrained, with the precision.
        seconds: by what they were spent on.
    """

    config: CompareConfig
    conditions: EqualConditions
    figures: Figures
    run: Path
    searches: Sequence[Path]
    devices: Sequence[str]
    seconds: Mapping[str, float]


def checklist_of(found: Evidence) -> tuple[ChecklistAnswer, ...]:
    """An answer to each point, in the order of the checklist."""
    return tuple(ChecklistAnswer(*answer) for answer in (*_released(found), *_compared(found), *_reported(found)))


Answer = tuple[str, str, str]
"""The point, the answer, and the fact behind it."""


def _released(found: Evidence) -> Iterator[Answer]:
    search, recipe = read_finished_search(found.run), found.config.recipe_name(found.conditions.task)
    version = search.versions.get("token-mixer-nas", "unknown")
    shipped, seeds = recipe in recipe_names(), found.config.seeds
    yield "Code of the training of the final networks", YES, f"nas.retrain of token-mixer-nas {version}"
    named = search.config.space in space_names()
    yield "The search space", YES if named else PARTLY, f"{search.config.space}, {'in the package' if named else 'a file of this machine'}"
    facts = f"{recipe}{'' if shipped else ', a file of this machine'}; seeds {', '.join(map(str, range(seeds)))}"
    yield "Hyperparameters and seeds of that training", YES if shipped else PARTLY, facts
    yield "Code of the search", PARTLY if search.is_callers else YES, f"nas.search of token-mixer-nas {version}; {search.scored_with} judge"
    yield "Hyperparameters and seeds of the search", YES, f"{search.command}; seeds {_listed(_seeds(found))}"


def _compared(found: Evidence) -> Iterator[Answer]:
    config, figures, conditions = found.config, found.figures, found.conditions
    networks, parents = len(figures.rows), len(figures.of_role(Role.PARENT))
    same = f"{networks} networks with one recipe on {len(conditions.images)} images; {parents} of them published, from other spaces"
    yield "Same data, space and training for all that is compared", PARTLY if parents else YES, same
    versions = versions_of_run(found.run), versions_of_run(config.out)
    alike = len(found.devices) == 1 and versions[0] == versions[1]
    libraries = ", ".join(f"{name} {version}" for name, version in versions[1].items())
    confounders = f"{'; '.join(found.devices)}; {libraries}{'' if versions[0] == versions[1] else '; the search had others'}"
    yield "No confounders such as hardware or versions", YES if alike else NO, confounders
    kinds = list(figures.fixed)
    yield "Ablation", YES if kinds else NO, f"fixed in turn: {', '.join(kinds)}" if kinds else "--fix-kinds was not asked for"
    yield "Same evaluation for all", YES, f"{len(conditions.test_images)} test images, read after training, which no search has seen"
    halving = read_halving(found.run)
    over_time = "one length of training" + (f"; candidates after {_listed(halving.steps)} steps in halving.json" if halving else "")
    yield "Performance over time", PARTLY if halving and len(halving.steps) > 1 else NO, over_time
    drawn, even = (len(figures.of_role(role)) for role in (Role.RANDOM, Role.EVEN_RANDOM))
    random = f"{drawn} random networks of the band, {even} with even operators; a random search would train and choose the best of many"
    yield "Random search as a baseline", PARTLY if drawn + even else NO, random
    runs, seeds = len(found.searches), config.seeds
    answer = YES if runs > 1 and seeds > 1 else PARTLY if runs > 1 or seeds > 1 else NO
    yield "Several runs, with their seeds", answer, f"{runs} of the search, {seeds} of each training"
    yield "Tabular or surrogate benchmarks", NO, "none knows this space"


def _reported(found: Evidence) -> Iterator[Answer]:
    changed = [f"{name} {value}" for name, value in found.config.changes.items()]
    tuned = f"changed: {', '.join(changed)}, and no record of how that was tuned" if changed else "the recipe is as it was written"
    yield "How hyperparameters were tuned, and at what cost", NO if changed else PARTLY, tuned
    parts = ", ".join(f"{name} {seconds:,.0f}" for name, seconds in found.seconds.items())
    yield "Time of the whole method", YES if found.seconds.get("trials") else PARTLY, f"{sum(found.seconds.values()):,.0f} s: {parts}"
    yield "All details of the setup", YES, "config.json of the search and of the comparison"


def _seeds(found: Evidence) -> list[int]:
    return [config_of_run(run)["seed"] for run in found.searches]


def _listed(values: Sequence[int]) -> str:
    return ", ".join(map(str, values))
