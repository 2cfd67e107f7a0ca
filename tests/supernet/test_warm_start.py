"""Filling a supernet from trained networks."""

from __future__ import annotations

import torch

from space import SearchSpace, build_network, load_architecture
from supernet.network import Supernet
from supernet.warm_start import fill
from tests.supernet.test_paths import space_of

SPACE = space_of(3, 3)


def test_an_architecture_that_filled_a_supernet_inherits_its_own_weights() -> None:
    supernet = Supernet(SPACE, seed=1)
    torch.manual_seed(5)
    network = build_network(SPACE.smallest())
    (filled,) = fill(supernet, network)
    weights = supernet.weights(SPACE.smallest())
    own = dict(network.named_parameters())
    assert weights.keys() == own.keys()
    assert all(torch.equal(weights[name], own[name]) for name in own)
    assert filled.num_tensors == len(own)
    total = sum(tensor.numel() for tensor in supernet.parameters())
    assert filled.share == sum(tensor.numel() for tensor in own.values()) / total


def test_tensors_that_a_network_lacks_stay_unchanged() -> None:
    supernet, untouched = Supernet(SPACE, seed=1), Supernet(SPACE, seed=1)
    fill(supernet, build_network(SPACE.smallest()))
    for name, tensor in supernet.shared.items():
        inside = torch.zeros_like(tensor, dtype=torch.bool)
        if any(tensor.data_ptr() == view.data_ptr() for view in supernet.weights(SPACE.smallest()).values()):
            shape = next(view.shape for view in supernet.weights(SPACE.smallest()).values() if view.data_ptr() == tensor.data_ptr())
            inside[tuple(map(slice, shape))] = True
        assert torch.equal(tensor[~inside], untouched.shared[name][~inside])


def test_of_two_networks_the_first_fills_a_tensor() -> None:
    supernet = Supernet(SPACE, seed=1)
    torch.manual_seed(5)
    first, second = build_network(SPACE.smallest()), build_network(SPACE.smallest())
    given = fill(supernet, first, second)
    weights = supernet.weights(SPACE.smallest())
    assert all(torch.equal(weights[name], tensor) for name, tensor in first.named_parameters())
    assert given[1].num_tensors == 0


def test_other_classes_and_channels_are_left_out() -> None:
    other = SPACE.smallest().replace(num_classes=7, in_chans=1)
    supernet, untouched = Supernet(SPACE, seed=1), Supernet(SPACE, seed=1)
    fill(supernet, build_network(other))
    for name, tensor in supernet.weights(SPACE.smallest()).items():
        if name.startswith(("stem.", "head.fc.")):
            assert torch.equal(tensor, untouched.weights(SPACE.smallest())[name])


def test_a_published_network_fits_a_space_of_its_operators() -> None:
    parent = load_architecture("uniformer-s-plus")
    stages = [
        {"widths": [64, stage.width] if i else [stage.width], "depths": [1, 2], "positions": ["dpe"], "ffns": [{"type": "mlp", "ratio": 4}],
         "mixers": [stage.blocks[0].mixer.to_yaml()], "downsample": stage.downsample and stage.downsample.to_yaml()}
        for i, stage in enumerate(parent.stages)
    ]  # fmt: skip
    space = SearchSpace(name="around", stem=parent.stem, stages=stages, head=parent.head)
    supernet = Supernet(space)
    (filled,) = fill(supernet, build_network(parent))
    assert filled.share > 0.9
