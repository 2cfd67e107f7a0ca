"""A supernet that begins with the weights of trained networks."""

from __future__ import annotations

import itertools

import pytest
import torch

from space import SearchSpace, build_network, load_architecture
from space.architecture import Architecture
from space.network import TokenMixerNet
from supernet.network import Supernet
from supernet.warm_start import report, warm_start
from tests.supernet.test_paths import space_of

SPACE = space_of(3, 3)
OF_TWO = SearchSpace(
    name="of-two", image_size=64, num_classes=5, stem=["conv_stem", {"type": "patch_stem", "patch_size": 4}],
    stages=[{
        "widths": [32, 64], "depths": [1, 2, 3], "positions": ["none", "dpe"],
        "mixers": [{"type": "local_mhra", "kernel_size": [3, 5]}, {"type": "channel_group", "head_dim": 16}],
        "ffns": [{"type": ["mlp", "dw_ffn"], "ratio": [1, 2]}],
    }],
    head=[{"type": "norm_pool_head", "norm": "batch_norm"}, {"type": "pool_norm_head", "norm": "layer_norm"}],
)  # fmt: skip
"""A space with two families: each has a stem, a mixer, a feed-forward network and a head of its own."""


def member(stem: str, mixer: str, ffn: str, head: str, width: int, depth: int) -> Architecture:
    def choose(name: str, options: tuple[str | int, ...]) -> str | int:
        kind = name.rpartition(".")[2]
        wanted = {"stem": stem, "mixer": mixer, "ffn": ffn, "head": head, "position": "none"}
        if kind in wanted:
            return next(option for option in options if str(option).startswith(wanted[kind]))
        return {"width": width, "depth": depth}[kind]

    return OF_TWO.decide(choose)


NARROW = member("conv_stem", "local_mhra", "dw_ffn", "norm_pool_head", 32, 3).replace(name="narrow")
WIDE = member("patch_stem", "channel_group", "mlp", "pool_norm_head", 64, 2).replace(name="wide")


def trained(architecture: Architecture, seed: int) -> TokenMixerNet:
    """A network with no weight and no statistic left at its initial value."""
    torch.manual_seed(seed)
    network = build_network(architecture).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
        for name, buffer in network.named_buffers():
            if buffer.is_floating_point():
                buffer.copy_(0.5 + torch.rand_like(buffer) if name.endswith("var") else torch.randn_like(buffer))
    return network


@torch.no_grad()
def difference(supernet: Supernet, network: TokenMixerNet) -> float:
    """The greatest difference between a network's logits and those of its own path, in units of their spread."""
    images = torch.randn(4, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    expected = network(images)
    got = supernet(images, network.architecture, statistics=dict(network.named_buffers()))
    return float((got - expected).abs().max() / expected.std())


@pytest.mark.parametrize("order", itertools.permutations((0, 1)))
def test_two_parents_keep_their_logits_before_the_first_step(order: tuple[int, int]) -> None:
    parents = [trained(NARROW, 1), trained(WIDE, 2)]
    supernet = Supernet(OF_TWO, seed=3)
    assert all(difference(supernet, parent) > 0.1 for parent in parents)
    inherited = warm_start(supernet, [parents[index] for index in order])
    assert all(difference(supernet, parent) <= 1e-5 for parent in parents)
    lines = list(report(OF_TWO, dict(supernet.shared.items()), inherited))
    assert all(line.endswith("its own path keeps its outputs") for line in lines[:-1])


def test_of_two_networks_the_first_has_a_tensor_that_both_claim_and_the_report_says_so() -> None:
    first = trained(NARROW, 1)
    second = trained(member("conv_stem", "channel_group", "dw_ffn", "norm_pool_head", 64, 1).replace(name="second"), 2)
    supernet = Supernet(OF_TWO, seed=3)
    inherited = warm_start(supernet, [first, second])
    assert difference(supernet, first) <= 1e-5 < difference(supernet, second)
    claimed = {name for name in inherited[1].of_others if name.startswith("stem/")}
    assert claimed
    assert not inherited[1].slices.keys() & inherited[0].slices.keys()
    lines = list(report(OF_TWO, dict(supernet.shared.items()), inherited))
    assert "its own path keeps its outputs" in lines[0]
    assert f"{len(inherited[1].of_others)} more are those of a network named before it" in lines[1]


def test_an_architecture_that_filled_a_supernet_inherits_its_own_weights() -> None:
    supernet = Supernet(SPACE, seed=1)
    network = trained(SPACE.smallest(), 5)
    (inherited,) = warm_start(supernet, [network])
    weights = supernet.weights(SPACE.smallest())
    own = dict(network.named_parameters())
    assert weights.keys() == own.keys()
    assert all(torch.equal(weights[name], own[name]) for name in own)
    assert len(inherited.slices) == len(own)
    assert inherited.num_params == sum(tensor.numel() for tensor in own.values())


def test_tensors_that_a_network_lacks_stay_unchanged() -> None:
    supernet, untouched = Supernet(SPACE, seed=1), Supernet(SPACE, seed=1)
    (inherited,) = warm_start(supernet, [trained(SPACE.smallest(), 5)])
    for name, tensor in supernet.shared.items():
        inside = torch.zeros_like(tensor, dtype=torch.bool)
        if name in inherited.slices:
            inside[tuple(map(slice, inherited.slices[name]))] = True
        assert torch.equal(tensor[~inside], untouched.shared[name][~inside])
        assert not inside.any() or not torch.equal(tensor[inside], untouched.shared[name][inside])


def test_other_classes_and_channels_are_left_out() -> None:
    supernet, untouched = Supernet(SPACE, seed=1), Supernet(SPACE, seed=1)
    warm_start(supernet, [trained(SPACE.smallest().replace(num_classes=7, in_chans=1), 5)])
    for name, tensor in supernet.weights(SPACE.smallest()).items():
        if name.startswith(("stem.", "head.fc.")):
            assert torch.equal(tensor, untouched.weights(SPACE.smallest())[name])


def test_the_report_counts_tensors_by_stage() -> None:
    supernet = Supernet(SPACE, seed=1)
    inherited = warm_start(supernet, [trained(SPACE.smallest().replace(num_classes=7), 5)])
    lines = list(report(SPACE, dict(supernet.shared.items()), inherited))
    assert "its own path keeps its features; its classifier, of 7 classes, begins at random" in lines[0]
    counts = dict(entry.rsplit(" ", 3)[0::3] for entry in lines[-1].partition(": ")[2].split(", "))
    assert list(counts) == ["stem", "stage 1", "stage 2", "head"]
    assert sum(map(int, counts.values())) == len(supernet.shared)
    head = [name for name in supernet.shared if name.startswith("head/")]
    assert f"head {len(head) - 2} of {len(head)}" in lines[-1]


def test_a_published_network_fits_a_space_of_its_operators() -> None:
    parent = load_architecture("uniformer-s-plus")
    stages = [
        {"widths": [64, stage.width] if i else [stage.width], "depths": [1, 2], "positions": ["dpe"], "ffns": [{"type": "mlp", "ratio": 4}],
         "mixers": [stage.blocks[0].mixer.to_yaml()], "downsample": stage.downsample and stage.downsample.to_yaml()}
        for i, stage in enumerate(parent.stages)
    ]  # fmt: skip
    space = SearchSpace(name="around", stem=parent.stem, stages=stages, head=parent.head)
    supernet = Supernet(space)
    (inherited,) = warm_start(supernet, [build_network(parent)])
    assert inherited.num_params > 0.9 * sum(tensor.numel() for tensor in supernet.shared.values())
