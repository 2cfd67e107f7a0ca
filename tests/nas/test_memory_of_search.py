"""A search within a limit on memory: what it proposes keeps it, and its outputs say what the architectures need."""

import csv
import io
from pathlib import Path

import pytest
from rich.console import Console

from nas.search.measured import MeasuredResult
from nas.search.outputs import print_best, write_architectures, write_trials
from nas.study.architecture_study import ArchitectureStudy
from nas.study.objectives import objectives_of
from proxies.band.architecture_band import ArchitectureBand
from proxies.cost import Budget, parse_budget
from proxies.memory.prediction import memory_of
from proxies.memory_quantity import ACTIVATIONS
from proxies.published import parents_within
from space.files import load_architecture, load_provenance, parse_space
from supernet.score import Score
from tests.nas.small_search import BUDGET, SPACE

TRAINING = "memory@train:bs4"
TRIALS = 6


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> ArchitectureStudy:
    """Some trials, of which later ones are better, within what half of the band's members need."""
    space, folder = parse_space(SPACE, "tiny"), tmp_path_factory.mktemp("study")
    loose = parse_budget(f"{BUDGET} 1GiB@act 1GiB@train:bs4", floor=0.0)
    costs = sorted(
        (memory_of(member, ACTIVATIONS), memory_of(member, TRAINING))
        for member in map(ArchitectureBand(space, loose).architecture, ArchitectureBand(space, loose).members(40))
    )
    budget = Budget({**loose.limits, ACTIVATIONS: costs[len(costs) // 2][0], TRAINING: max(costs, key=lambda one: one[1])[1]}, floor=0.0)
    band = ArchitectureBand(space, parse_budget(str(budget), 0.0))
    objectives = objectives_of(["accuracy"], budget)
    study = ArchitectureStudy(f"journal:{folder}/study.journal", "mine", band, band.budget, objectives, "random", seed=0)
    for number in range(TRIALS):
        proposal = study.ask(TRIALS)
        assert proposal is not None
        study.tell(proposal, Score(0.1 * number, 0.01, 0.1 * number - 2, 0.01, 100), 0.5)
    return study


def test_what_is_proposed_keeps_the_limits_of_memory(study: ArchitectureStudy) -> None:
    for result in study.results():
        for quantity, limit in study.band.budget.memory.items():
            assert result.costs[quantity] == memory_of(result.architecture, quantity) <= limit


def test_trials_table_and_files_say_what_memory_architectures_need(study: ArchitectureStudy, tmp_path: Path) -> None:
    results = study.results()
    write_trials(tmp_path / "trials.csv", study, results)
    rows = list(csv.DictReader((tmp_path / "trials.csv").open()))
    assert sorted(int(row[ACTIVATIONS]) for row in rows) == sorted(result.costs[ACTIVATIONS] for result in results)
    best = [MeasuredResult(results[0])]
    write_architectures(tmp_path, study, best, None)
    winner = load_architecture(tmp_path / "best.yaml")
    assert load_provenance(tmp_path / "best.yaml")["memory_mib"] == {
        moment: memory_of(winner, f"memory@{moment}") / 2**20 for moment in ("train:bs4", "act")
    }
    printed = io.StringIO()
    print_best(Console(file=printed, width=200), study, best, (), {}, "by nobody", "", is_trained_alone=False)
    assert "MiB@act" in printed.getvalue()
    assert f"{memory_of(winner, ACTIVATIONS) / 2**20:.4g}" in printed.getvalue()


def test_published_networks_keep_limits_of_memory() -> None:
    space = parse_space(SPACE, "tiny").replace(image_size=224)
    every, within = (parents_within(space, parse_budget(f"20GFLOPs {text}")) for text in ("", "9MiB@act"))
    kept = [parent.architecture.name for parent in within]
    assert kept == [parent.architecture.name for parent in every if memory_of(parent.architecture, ACTIVATIONS) <= 9 * 2**20]
    assert 0 < len(kept) < len(every)
