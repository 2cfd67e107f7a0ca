"""Tools that replace or freeze batch norms leave a network's function as it is, also where maps are as high as they have channels."""

import copy

import pytest
import torch
from timm.layers import convert_splitbn_model
from timm.utils import freeze, unfreeze
from torch import Tensor, nn

from space.network import TokenMixerNet
from space.registry import Spec

from .networks import images_of, network_of


def batch_norms(network: nn.Module) -> list[nn.Module]:
    return [module for module in network.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]


def logits(network: nn.Module, images: Tensor) -> Tensor:
    with torch.no_grad():
        return network(images)


@pytest.fixture
def network(any_spec: Spec) -> TokenMixerNet:
    return network_of(any_spec)


def test_synchronised_batch_norms_are_exact(network: TokenMixerNet) -> None:
    images, count = images_of(network), len(batch_norms(network))
    converted = nn.SyncBatchNorm.convert_sync_batchnorm(copy.deepcopy(network))
    assert sum(isinstance(module, nn.SyncBatchNorm) for module in converted.modules()) == count
    assert converted.state_dict().keys() == network.state_dict().keys()
    assert torch.equal(logits(converted, images), logits(network, images))
    assert torch.equal(logits(converted.train(), images), logits(network.train(), images))
    assert_equal_states(converted, network)


def test_frozen_batch_norms_are_exact_and_thaw(network: TokenMixerNet) -> None:
    images = images_of(network)
    expected, trained = logits(network, images), logits(copy.deepcopy(network).train(), images)
    freeze(network)
    assert not batch_norms(network)
    torch.testing.assert_close(logits(network.train(), images), expected, rtol=1e-4, atol=1e-4 * expected.abs().max().item())
    assert not any(parameter.requires_grad for parameter in network.parameters())
    unfreeze(network)
    torch.testing.assert_close(logits(network.train(), images), trained)


def test_split_batch_norms_are_those_of_each_half(network: TokenMixerNet) -> None:
    images = images_of(network, batch=4)
    split = convert_splitbn_model(copy.deepcopy(network), num_splits=2).eval()
    assert torch.equal(logits(split, images), logits(network, images))
    halves = torch.cat([logits(copy.deepcopy(network).train(), half) for half in images.chunk(2)])
    torch.testing.assert_close(logits(split.train(), images), halves, rtol=1e-4, atol=1e-4 * halves.abs().max().item())


def assert_equal_states(one: nn.Module, other: nn.Module) -> None:
    theirs = other.state_dict()
    assert all(torch.equal(tensor, theirs[name]) for name, tensor in one.state_dict().items())
