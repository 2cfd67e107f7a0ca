"""`nas.compare --from supernet`: networks that begin with trained weights."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from nas.compare import __main__ as compare
from nas.compare import compare as compare_call
from nas.evaluators.supernet import load_evaluator
from nas.runs.records.role import Role
from nas.train.supernet_run import open_supernet_run
from space import build_network, load_architecture
from tests.nas.conftest import Mistaken
from tests.nas.small_commands import copied

NEXT_TO_NOTHING = {"lr": 1e-12, "epochs": 1, "batch_size": 8, "seeds": 1, "workers": 1}


@pytest.fixture
def place(finished: Path, tmp_path: Path) -> Path:
    """A finished search, and weights of the published networks that fit its budget."""
    place = copied(finished, tmp_path)
    (place / "weights").mkdir()
    torch.manual_seed(0)
    save_file(build_network(load_architecture("topformer-t")).state_dict(), place / "weights" / "topformer-t.safetensors")
    return place


def test_members_begin_with_inherited_weights_and_published_networks_with_their_own(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = {"from_": "supernet", "weights_folder": place / "weights", "random": 1, "search_seeds": 1, "progress": True}
    compared = compare_call(place / "run", **given, **NEXT_TO_NOTHING)
    shown = " ".join(capsys.readouterr().out.split())
    assert "topformer-t: filled" in shown
    assert "Members of the space begin ahead: their supernet has trained on these images before" in shown
    assert "Not so topformer-t: with few epochs this may decide." in shown
    assert "finetune-short" in (compared.folder / "comparison.md").read_text()
    own, other = (load_evaluator(open_supernet_run(run)) for run in (place / "run", compared.folder / "seed-1"))
    for row in compared.rows:
        architecture = row.contender.architecture
        after = load_file(compared.folder / f"{architecture.fingerprint}-0" / "weights.safetensors")
        if row.contender.role is Role.PARENT:
            begun = load_file(place / "weights" / "topformer-t.safetensors")
        else:
            begun = (other if row.contender.label == "found, seed 1" else own).network(architecture).state_dict()
        for name, tensor in after.items():
            if tensor.is_floating_point() and "running" not in name and tensor.shape == begun[name].shape:
                torch.testing.assert_close(tensor, begun[name])
    assert {row.contender.role for row in compared.rows} == {Role.WINNER, Role.RANDOM, Role.PARENT}


def test_what_has_no_weights_is_refused_or_begins_at_random_if_asked(
    place: Path, mistaken: Mistaken, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = [str(place / "run"), "--recipe", str(place / "recipe.yaml"), "--random", "0", "--seeds", "1", "--workers", "1"]
    assert "--allow-scratch: has no effect without --from supernet" in mistaken(compare.main, [*argv, "--allow-scratch"])
    argv += ["--from", "supernet"]
    complaint = mistaken(compare.main, argv)
    assert "topformer-t: its authors offer the weights on no hub" in complaint
    assert "--allow-scratch" in complaint
    assert not (place / "run" / "comparison").exists()
    assert compare.main([*argv, "--allow-scratch"]) == 0
    assert "it begins at random" in capsys.readouterr().out
    with (place / "run" / "comparison" / "comparison.csv").open() as file:
        assert {"found", "topformer-t"} <= {row["network"] for row in csv.DictReader(file)}
    (place / "run" / "supernet.safetensors").unlink()
    assert "no supernet.safetensors" in mistaken(compare.main, [*argv, "--out", str(place / "other")])
