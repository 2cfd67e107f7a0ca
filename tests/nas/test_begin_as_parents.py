"""A supernet that begins with trained networks' weights: what it keeps, what it says, who teaches it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from nas.train import __main__ as train
from space import build_network, dump_architecture
from space.files import load_space
from space.pretrained.fetching import NamedWeights
from space.pretrained.loading import load_named
from supernet.network import Supernet
from supernet.sharing import leading_slice
from supernet.teachers import Teachers
from supernet.training.checkpoint import load_checkpoint
from supernet.warm_start import warm_start
from tests.nas.conftest import Mistaken


def options(folder: Path, *more: str) -> list[str]:
    where = ["--space", str(folder / "tiny.yaml"), "--data", str(folder / "images"), "--out", str(folder / "run")]
    return [*where, "--steps", "3", "--batch-size", "8", "--lr", "0.05", *more]


def parents(folder: Path, num_classes: int = 3) -> list[str]:
    """The smallest and the largest architecture of the space, with weights, as `--warm-start` takes them."""
    space = load_space(folder / "tiny.yaml").replace(num_classes=num_classes)
    found = []
    for seed, (name, architecture) in enumerate({"small": space.smallest(), "large": space.largest()}.items()):
        torch.manual_seed(seed)
        (folder / f"{name}.yaml").write_text(dump_architecture(architecture.replace(name=name)))
        save_file(build_network(architecture).state_dict(), folder / f"{name}.safetensors")
        found.append(f"{folder / name}.yaml={folder / name}.safetensors")
    return found


def trained(folder: Path) -> dict[str, torch.Tensor]:
    return load_checkpoint(folder / "run" / "supernet.safetensors")[0]


def at_first(folder: Path, *sources: str) -> dict[str, torch.Tensor]:
    """The shared tensors before the first step, and what was inherited of them."""
    networks = [load_named(NamedWeights.parse(source)) for source in sources]
    supernet = Supernet(load_space(folder / "tiny.yaml").replace(num_classes=3), seed=0)
    (inherited,) = warm_start(supernet, networks)
    return {name: leading_slice(supernet.shared[name].detach(), shape) for name, shape in inherited.slices.items()}


def test_inherited_tensors_move_by_a_lower_rate_and_new_ones_by_the_whole(folder: Path) -> None:
    source = parents(folder)[0]
    begun = at_first(folder, source)
    assert train.main(options(folder, "--warm-start", source, "--inherited-lr", "0", "--paths", "fair")) == 0
    after = trained(folder)
    assert all(torch.equal(leading_slice(after[name], tensor.shape), tensor) for name, tensor in begun.items())
    fresh = Supernet(load_space(folder / "tiny.yaml").replace(num_classes=3), seed=0).shared
    assert any(not torch.equal(after[name], fresh[name]) for name in after.keys() - begun.keys())
    assert train.main(options(folder, "--warm-start", source, "--paths", "fair", "--out", str(folder / "moving"))) == 0
    moving = load_checkpoint(folder / "moving" / "supernet.safetensors")[0]
    assert any(not torch.equal(leading_slice(moving[name], tensor.shape), tensor) for name, tensor in begun.items())


def test_a_frozen_stem_stays_as_it_was_inherited_also_after_an_interruption(folder: Path) -> None:
    source = parents(folder)[0]
    begun = {name: tensor for name, tensor in at_first(folder, source).items() if name.startswith("stem/")}
    argv = options(folder, "--warm-start", source, "--freeze-stem")
    assert train.main([*argv, "--minutes", "0.00001"]) == 0
    assert train.main(argv) == 0
    after = trained(folder)
    assert begun
    assert all(torch.equal(leading_slice(after[name], tensor.shape), tensor) for name, tensor in begun.items())
    assert train.main([*argv, "--out", str(folder / "whole")]) == 0
    whole = load_checkpoint(folder / "whole" / "supernet.safetensors")[0]
    assert all(torch.equal(after[name], whole[name]) for name in whole)


def test_the_command_says_what_was_inherited(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert train.main(options(folder, "--warm-start", *parents(folder))) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "small: filled " in out
    assert "its own path keeps its outputs" in out
    assert "large: filled " in out
    assert "more are those of a network named before it" in out
    assert "inherited tensors by stage: stem " in out


def test_the_teacher_of_a_path_is_the_network_most_like_it(folder: Path) -> None:
    small, large = (load_named(NamedWeights.parse(source)) for source in parents(folder))
    teachers = Teachers([small, large], 3, 3, 32)
    assert teachers.nearest(small.architecture) is small
    assert teachers.nearest(large.architecture) is large
    images, logits = torch.randn(2, 3, 32, 32), torch.zeros(2, 3)
    distilled = teachers.distil(large.architecture, logits, images)
    torch.testing.assert_close(distilled.target, (large(images) / distilled.temperature).softmax(1))


def test_the_networks_that_it_begins_with_teach_it(folder: Path) -> None:
    sources = parents(folder)
    assert train.main(options(folder, "--warm-start", *sources, "--teacher")) == 0
    assert train.main(options(folder, "--warm-start", *sources, "--out", str(folder / "alone"))) == 0
    taught, alone = trained(folder), load_checkpoint(folder / "alone" / "supernet.safetensors")[0]
    assert any(not torch.equal(taught[name], alone[name]) for name in taught)


def test_what_cannot_be_is_refused_before_a_directory_is_made(folder: Path, mistaken: Mistaken) -> None:
    source = parents(folder, num_classes=7)[0]
    complaint = mistaken(train.main, options(folder, "--warm-start", source, "--teacher"))
    assert "teacher: got small with 7 classes, expected one fine-tuned on the data's 3" in complaint
    for option in (["--teacher"], ["--freeze-stem"], ["--inherited-lr", "0.5"], ["--weights-folder", str(folder)]):
        assert f"{option[0]}: has no effect without --warm-start" in mistaken(train.main, options(folder, *option))
    sandwich = options(folder, "--warm-start", source, "--teacher", "--paths", "sandwich")
    assert "--teacher: not with --paths sandwich" in mistaken(train.main, sandwich)
    assert "davit: got no file of weights, expected davit=FILE" in mistaken(train.main, options(folder, "--warm-start", "davit"))
    assert not (folder / "run").exists()
