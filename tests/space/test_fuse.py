"""The inference network gives the logits of the network that it was made from."""

import pytest
import torch
from hypothesis import given, settings
from torch import nn

from space import Architecture, build_network, parent_names
from space.network import TokenMixerNet

from .examples import SPACES, hand_built, randomised, sampled, shortened


def assert_fuses(architecture: Architecture, side: int = 64) -> TokenMixerNet:
    # In double precision: a deep network of random weights may magnify the rounding of a single sum a thousandfold.
    network = randomised(build_network(architecture)).double().eval()
    images = torch.randn(1, architecture.in_chans, side, side - 13).double()
    with torch.no_grad():
        expected, fused = network(images), network.fuse()
        torch.testing.assert_close(fused(images), expected, rtol=1e-6, atol=1e-6 * expected.abs().max().item())
    return fused


def norms_left(network: nn.Module) -> list[str]:
    return [name for name, module in network.named_modules() if isinstance(module, nn.BatchNorm2d)]


@settings(max_examples=8)
@given(hand_built)
def test_networks_of_every_shape_fuse(architecture: Architecture) -> None:
    assert_fuses(architecture)


@settings(max_examples=3)
@given(sampled)
def test_members_of_the_spaces_fuse_without_a_batch_norm_left(architecture: Architecture) -> None:
    assert not norms_left(assert_fuses(architecture))


@pytest.mark.parametrize("name", parent_names())
def test_a_published_network_fuses_without_a_batch_norm_left(name: str) -> None:
    network = randomised(build_network(shortened(name)))
    images = torch.randn(2, 3, 75, 64)
    with torch.no_grad():
        # Statistics of what really flows: against random ones, activations grow from block to block.
        for norm in (module for module in network.modules() if isinstance(module, nn.BatchNorm2d)):
            norm.momentum = 1.0
        network(images)
        network.eval()
        expected, fused = network(images[:1]), network.fuse()
        torch.testing.assert_close(fused(images[:1]), expected, rtol=1e-4, atol=1e-4 * expected.abs().max().item())
    assert not norms_left(fused)


@pytest.mark.parametrize("name", SPACES)
def test_fewer_modules_run(name: str) -> None:
    network = build_network(SPACES[name].largest(), device="meta").eval()
    count = len(list(network.modules()))
    assert len(list(network.fuse().modules())) < 0.9 * count


def test_the_original_is_untouched_and_trains_on() -> None:
    network = randomised(build_network(SPACES["hybrid-32"].smallest(), drop_path_rate=0.1)).train()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    fused = network.fuse()
    assert network.training
    assert not fused.training
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())
    network(torch.randn(2, 3, 32, 32)).sum().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())


def test_a_fused_network_stays_in_its_precision_and_exports() -> None:
    network = randomised(build_network(SPACES["hybrid-32"].smallest())).eval()
    images = torch.randn(2, 3, 32, 32)
    expected = network.fuse()(images)
    exported = torch.export.export(network.fuse(), (images,)).module()
    torch.testing.assert_close(exported(images), expected, rtol=1e-4, atol=1e-4)
    half = network.to(torch.bfloat16).fuse()
    assert {parameter.dtype for parameter in half.parameters()} == {torch.bfloat16}
