"""What every stem, downsampler and head promises."""

import pytest
import torch

from space.registry import Spec

from .conftest import WIDTH

IMAGE_SIZES = ((32, 32), (33, 47), (24, 56), (5, 3))


@pytest.mark.parametrize("size", IMAGE_SIZES, ids=str)
def test_a_stem_returns_the_map_that_it_says(stem_spec: Spec, size: tuple[int, int]) -> None:
    y = stem_spec.build(3, WIDTH).eval()(torch.randn(2, *size, 3))
    assert y.shape == (2, *stem_spec.out_size(*size), WIDTH)


def test_a_downsampler_returns_the_map_that_it_says(downsampler_spec: Spec, map_size: tuple[int, int]) -> None:
    y = downsampler_spec.build(32, WIDTH).eval()(torch.randn(2, *map_size, 32))
    assert y.shape == (2, *downsampler_spec.out_size(*map_size), WIDTH)
    assert max(y.shape[1:3]) <= -(-max(map_size) // 2)


@pytest.mark.parametrize("num_classes", [0, 10])
def test_a_head_returns_logits_or_pooled_features(head_spec: Spec, map_size: tuple[int, int], num_classes: int) -> None:
    assert head_spec.build(WIDTH, num_classes).eval()(torch.randn(2, *map_size, WIDTH)).shape == (2, num_classes or WIDTH)


def test_the_gradient_reaches_every_parameter_of_a_stem(stem_spec: Spec) -> None:
    assert_gradient_everywhere(stem_spec.build(3, WIDTH), torch.randn(2, 32, 32, 3))


def test_the_gradient_reaches_every_parameter_of_a_downsampler(downsampler_spec: Spec) -> None:
    assert_gradient_everywhere(downsampler_spec.build(32, WIDTH), torch.randn(2, 8, 8, 32))


def assert_gradient_everywhere(module: torch.nn.Module, x: torch.Tensor) -> None:
    y = module(x)
    (y * torch.randn(y.shape)).sum().backward()
    assert all(parameter.grad is not None for parameter in module.parameters())


def test_narrower_stems_are_leading_slices(stem_spec: Spec) -> None:
    small, large = stem_spec.build(3, 32).state_dict(), stem_spec.build(3, WIDTH).state_dict()
    assert {key: len(tensor.shape) for key, tensor in small.items()} == {key: len(tensor.shape) for key, tensor in large.items()}
    assert all(a <= b for key in small for a, b in zip(small[key].shape, large[key].shape, strict=True))


def test_narrower_downsamplers_are_leading_slices(downsampler_spec: Spec) -> None:
    small, large = downsampler_spec.build(16, 32).state_dict(), downsampler_spec.build(32, WIDTH).state_dict()
    assert {key: len(tensor.shape) for key, tensor in small.items()} == {key: len(tensor.shape) for key, tensor in large.items()}
    assert all(a <= b for key in small for a, b in zip(small[key].shape, large[key].shape, strict=True))
