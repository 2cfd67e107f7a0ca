"""Training a supernet alone, for a search that goes on from there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from nas.search import __main__ as search
from nas.train import __main__ as train
from nas.train.scopes import inside
from proxies.band.architecture_band import ArchitectureBand
from proxies.cost import parse_budget
from proxies.latency import table
from proxies.latency.measure import Effort
from space.files import load_space
from supernet.paths import STRATEGIES
from supernet.training.checkpoint import load_checkpoint
from tests.nas.small_search import BUDGET, trials_of


def options(folder: Path, *more: str) -> list[str]:
    fixed = ["--space", str(folder / "tiny.yaml"), "--data", str(folder / "images"), "--out", str(folder / "run")]
    return [*fixed, "--steps", "3", "--batch-size", "8", *more]


BAND = ("--budget", BUDGET, "--floor", "0.5")


@pytest.mark.parametrize("scope", train.SCOPES)
@pytest.mark.parametrize("paths", STRATEGIES)
def test_a_search_goes_on_from_a_trained_supernet(folder: Path, paths: str, scope: str) -> None:
    how = (*BAND, "--paths", paths, "--scope", scope)
    assert train.main(options(folder, *how)) == 0
    weights = folder / "run" / "supernet.safetensors"
    facts, written = load_checkpoint(weights)[1], weights.stat().st_mtime_ns
    assert facts["steps"] == 3
    # Every path has one mixer in the first block.
    a_step = {"uniform": 1, "fair": 3, "sandwich": 4}[paths]
    assert sum(facts["updates"]["stages.0.blocks.0.mixer"].values()) == 3 * a_step
    assert search.main(options(folder, *how, "--trials", "3", "--workers", "1")) == 0
    assert weights.stat().st_mtime_ns == written
    assert len(trials_of(folder)) == 3
    # And the other way round: there is nothing left to train.
    assert train.main(options(folder, *how)) == 0
    assert weights.stat().st_mtime_ns == written


def test_a_supernet_of_the_whole_space_serves_a_budget_that_comes_later(folder: Path) -> None:
    assert train.main(options(folder)) == 0
    assert search.main(options(folder, *BAND, "--trials", "2", "--workers", "1")) == 0
    assert len(trials_of(folder)) == 2


def test_latencies_are_looked_at_once(folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Effort, "rounds", lambda *_: 3)
    monkeypatch.setattr(table, "NUM_NETWORKS", {"eager": 5})
    how = ("--budget", f"{BUDGET} 200ms@cpu:1t:bs1", "--floor", "0.5", "--scope", "band", "--latency-tables", str(folder / "tables"))
    assert train.main(options(folder, *how)) == 0
    assert capsys.readouterr().out.count("predictions err by") == 1


def test_a_search_of_another_supernet_is_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert train.main(options(folder, *BAND, "--paths", "fair")) == 0
    assert search.main(options(folder, *BAND, "--trials", "2", "--workers", "1")) == 2
    assert "holds a run with paths 'fair', got 'uniform'" in capsys.readouterr().err


def supernet(folder: Path, out: str, *more: str) -> tuple[dict[str, torch.Tensor], dict]:
    """Train one, as far as that is not done; its weights and facts."""
    assert train.main(options(folder, "--out", str(folder / out), *more)) == 0
    return load_checkpoint(folder / out / "supernet.safetensors")


def test_minutes_end_a_training_and_more_minutes_continue_it(folder: Path) -> None:
    whole, _ = supernet(folder, "whole")
    assert supernet(folder, "run", "--minutes", "0.00001")[1]["steps"] == 1
    weights, facts = supernet(folder, "run")
    assert (facts["steps"], facts["finished"]) == (3, True)
    assert all(torch.equal(weights[name], whole[name]) for name in whole)
    assert not list((folder / "run").glob("*checkpoint*"))


def test_what_a_search_has_judged_with_stays(folder: Path) -> None:
    assert supernet(folder, "run", "--minutes", "0.00001")[1]["steps"] == 1
    assert search.main(options(folder, *BAND, "--trials", "2", "--workers", "1")) == 0
    assert supernet(folder, "run")[1]["steps"] == 1


def test_training_in_a_band_needs_a_budget(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        train.main(options(folder, "--scope", "band"))
    assert end.value.code == 2
    assert "--budget: missing, expected one such as 4.5GFLOPs, since --scope band" in capsys.readouterr().err


def test_the_command_line_offers_every_strategy() -> None:
    assert set(train.PATHS) == set(STRATEGIES)


def test_a_bands_scope_tells_what_the_budget_admits(folder: Path) -> None:
    space = load_space(folder / "tiny.yaml")
    band = ArchitectureBand(space, parse_budget(f"{BUDGET} 100Kparams", 0.5))
    scope = inside(band)
    rng = np.random.default_rng(0)
    members = [{slot: options[rng.integers(len(options))] for slot, options in space.slots.items()} for _ in range(300)]
    assert scope.excess is not None
    for answers, excess in zip(members, scope.excess(members), strict=True):
        assert excess == pytest.approx(band.budget.excess(band.amounts(band.rows.row(answers))))
        assert (excess <= 0) == band.contains(space.replay(answers))


def test_a_supernet_begins_with_a_networks_weights(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from safetensors.torch import save_file

    from space.files import dump_architecture
    from space.network import build_network

    architecture = load_space(folder / "tiny.yaml").smallest()
    (folder / "small.yaml").write_text(dump_architecture(architecture))
    save_file(build_network(architecture).state_dict(), folder / "small.safetensors")
    source = f"{folder}/small.yaml={folder}/small.safetensors"
    assert train.main(options(folder, *BAND, "--warm-start", source)) == 0
    out = capsys.readouterr().out
    assert "shared tensors" in out
    assert "% of the supernet's parameters" in out
    (folder / "small.safetensors").write_bytes(b"?")
    assert train.main([*options(folder, *BAND, "--warm-start", source), "--out", str(folder / "other")]) == 2
    assert "small.safetensors: cannot be read as safetensors" in capsys.readouterr().err
