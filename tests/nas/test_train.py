"""Training a supernet for a later search."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from nas.search import __main__ as search
from nas.train import __main__ as train
from nas.train import train as train_here
from nas.train.config import PATHS, SCOPES
from nas.train.domain import sampling_domain
from nas.train.supernet_run import open_supernet_run
from proxies.band.architecture_band import ArchitectureBand
from proxies.cost import parse_budget
from proxies.latency import table
from proxies.latency.measure import Effort
from space.errors import UserError
from space.files import dump_architecture, load_space
from space.network import build_network
from supernet.data.images import open_images
from supernet.paths import STRATEGIES
from supernet.training.checkpoint import load_checkpoint
from tests.nas.small_search import BUDGET, trials_of


def options(folder: Path, *more: str) -> list[str]:
    fixed = ["--space", str(folder / "tiny.yaml"), "--data", str(folder / "images"), "--out", str(folder / "run")]
    return [*fixed, "--steps", "3", "--batch-size", "8", *more]


BAND = ("--budget", BUDGET, "--floor", "0.5")
ALONE = ("--trials", "3", "--halving-candidates", "0", "--workers", "1")
"""A search of one worker, without successive halving."""


@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize("paths", STRATEGIES)
def test_a_search_uses_a_trained_supernet(folder: Path, paths: str, scope: str) -> None:
    how = (*BAND, "--paths", paths, "--scope", scope)
    assert train.main(options(folder, *how)) == 0
    weights = folder / "run" / "supernet.safetensors"
    facts, written = load_checkpoint(weights)[1], weights.stat().st_mtime_ns
    assert facts["steps"] == 3
    # Every path has one mixer in the first block.
    a_step = {"uniform": 1, "fair": 3, "sandwich": 4}[paths]
    assert sum(facts["updates"]["stages.0.blocks.0.mixer"].values()) == 3 * a_step
    assert search.main(options(folder, *how, *ALONE)) == 0
    assert weights.stat().st_mtime_ns == written
    assert len(trials_of(folder)) == 3
    # And the other way round: there is nothing left to train.
    assert train.main(options(folder, *how)) == 0
    assert weights.stat().st_mtime_ns == written


def test_a_supernet_of_the_whole_space_serves_any_later_budget(folder: Path) -> None:
    assert train.main(options(folder)) == 0
    assert search.main(options(folder, *BAND, *ALONE)) == 0
    assert len(trials_of(folder)) == 3


def test_latencies_are_measured_once(folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Effort, "rounds", lambda *_: 3)
    monkeypatch.setitem(table.NUM_NETWORKS, "eager", 5)
    how = ("--budget", f"{BUDGET} 200ms@cpu:1t:bs1", "--floor", "0.5", "--scope", "band", "--latency-tables", str(folder / "tables"))
    assert train.main(options(folder, *how)) == 0
    assert capsys.readouterr().out.count("predictions err by") == 1


def test_a_search_of_another_supernet_is_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert train.main(options(folder, *BAND, "--paths", "fair")) == 0
    assert search.main(options(folder, *BAND, *ALONE)) == 2
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


def test_weights_that_a_search_has_used_stay_unchanged(folder: Path) -> None:
    assert supernet(folder, "run", "--minutes", "0.00001")[1]["steps"] == 1
    assert search.main(options(folder, *BAND, *ALONE)) == 0
    assert supernet(folder, "run")[1]["steps"] == 1


def test_training_in_a_band_needs_a_budget(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        train.main(options(folder, "--scope", "band"))
    assert end.value.code == 2
    assert "--budget: missing, expected one such as 4.5GFLOPs, since --scope band" in capsys.readouterr().err


def test_the_command_line_offers_every_strategy() -> None:
    assert set(PATHS) == set(STRATEGIES)


def test_a_bands_domain_is_what_the_budget_admits(folder: Path) -> None:
    space = load_space(folder / "tiny.yaml")
    band = ArchitectureBand(space, parse_budget(f"{BUDGET} 100Kparams", 0.5))
    domain = sampling_domain(space, band)
    rng = np.random.default_rng(0)
    members = [{slot: options[rng.integers(len(options))] for slot, options in space.slots.items()} for _ in range(300)]
    assert domain.excess is not None
    for choices, excess in zip(members, domain.excess(members), strict=True):
        assert excess == pytest.approx(band.budget.excess(band.costs_of(band.rows.row(choices))))
        assert (excess <= 0) == band.contains(space.replay(choices))


def small_source(folder: Path) -> str:
    """A small network's file and weights, as `--warm-start` takes them."""
    architecture = load_space(folder / "tiny.yaml").smallest()
    (folder / "small.yaml").write_text(dump_architecture(architecture))
    save_file(build_network(architecture).state_dict(), folder / "small.safetensors")
    return f"{folder}/small.yaml={folder}/small.safetensors"


def test_a_supernet_begins_with_a_networks_weights(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = small_source(folder)
    assert train.main(options(folder, *BAND, "--warm-start", source)) == 0
    out = capsys.readouterr().out
    assert "shared tensors" in out
    assert "% of the supernet's parameters" in out
    (folder / "small.safetensors").write_bytes(b"?")
    assert train.main([*options(folder, *BAND, "--warm-start", source), "--out", str(folder / "other")]) == 2
    assert "small.safetensors: cannot be read as safetensors" in capsys.readouterr().err


@pytest.mark.parametrize("more", [[], ["--dry-run"]])
def test_a_mistyped_source_leaves_no_directory(
    folder: Path, capsys: pytest.CaptureFixture[str], more: list[str]
) -> None:
    source = small_source(folder)
    assert train.main(options(folder, "--warm-start", f"{source}x", *more)) == 2
    assert "small.safetensorsx: got no file" in capsys.readouterr().err
    assert not (folder / "run").exists()
    assert train.main(options(folder, "--warm-start", source)) == 0


def test_a_dry_run_refuses_what_the_command_refuses(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert train.main(options(folder)) == 0
    assert train.main(options(folder, "--dry-run")) == 0
    assert "done already" in capsys.readouterr().out
    assert train.main(options(folder, "--seed", "1", "--dry-run")) == 2
    assert "holds a run with seed 0, got 1" in capsys.readouterr().err


def test_python_and_the_command_line_train_the_same(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert train.main(options(folder, "--minutes", "0.00001")) == 0
    capsys.readouterr()
    how = {"space": folder / "tiny.yaml", "data": folder / "images", "steps": 3, "batch_size": 8}
    trained = train_here(out=folder / "run", **how)
    assert capsys.readouterr().out == ""
    assert (trained.folder, trained.facts["steps"], trained.facts["finished"]) == (folder / "run", 3, True)
    other = train_here(out=folder / "other", progress=True, **how)
    assert f"weights: {folder}/other/supernet.safetensors" in " ".join(capsys.readouterr().out.split())
    ours, theirs = (load_checkpoint(one.run.weights_file)[0] for one in (trained, other))
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert train.main(options(folder, "--out", str(folder / "other"))) == 0
    assert open_supernet_run(folder / "run") == trained.run

    architecture = trained.run.space.smallest()
    network = trained.network(architecture)
    assert not network.training
    assert network(torch.randn(1, 3, 32, 32)).shape == (1, 3)


def test_mistakes_of_a_python_caller_are_one_line(folder: Path) -> None:
    for given, said in (
        ({"steps": 0}, "steps: got 0, expected a whole number, 1 or more"),
        ({"step": 3}, "step: got an option that there is not, expected one of task, ignore_index"),
        ({"scope": "band"}, "budget: missing, expected one such as 4.5GFLOPs, since scope=band needs it"),
        ({"dry_run": True}, "dry_run: got True, expected it on the command line alone"),
        ({"data": 3}, "data: got int, expected a path, the name of a set, or an object"),
        ({"space": folder / "none.yaml"}, "expected one of hybrid-224, hybrid-32, "),
    ):
        with pytest.raises(UserError) as caught:
            train_here(out=folder / "run", **given)
        assert said in str(caught.value)
        assert "\n" not in str(caught.value)
    assert not (folder / "run").exists()


class Pictures:
    """A caller's data set, that of a folder."""

    def __init__(self, folder: Path) -> None:
        self.images = open_images(str(folder))
        self.classes = self.images.class_names
        self.targets = self.images.labels

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Image.Image, int]:
        return self.images.read(index), int(self.targets[index])


def test_a_callers_data_set_trains_as_its_folder_does(folder: Path) -> None:
    how = {"space": folder / "tiny.yaml", "steps": 3, "batch_size": 8}
    own = train_here(data=Pictures(folder / "images"), out=folder / "own", **how)
    named = train_here(data=folder / "images", out=folder / "named", **how)
    ours, theirs = (load_checkpoint(one.run.weights_file)[0] for one in (own, named))
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    identity = json.loads((folder / "own" / "config.json").read_text())["config"]["data"]
    assert identity.startswith("a dataset of the caller's, Pictures: 60 images of 3 classes, ")

    fewer = Pictures(folder / "images")
    fewer.targets = fewer.targets[::-1].copy()
    with pytest.raises(UserError, match=r"holds a run with data .*got .a dataset of the caller's, Pictures"):
        train_here(data=fewer, out=folder / "own", **how)
    with pytest.raises(UserError, match="was an object, which has no name to open it by; give it again"):
        open_supernet_run(folder / "own")
    again = open_supernet_run(folder / "own", Pictures(folder / "images"))
    assert again == own.run
    with pytest.raises(UserError, match="data: got 10 classes, expected as many as the supernet in"):
        open_supernet_run(folder / "own", "digits")
    there = pickle.loads(pickle.dumps(own.run))
    assert there == own.run
    assert (there.images()[1].search == own.run.images()[1].search).all()
