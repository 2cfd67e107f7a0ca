"""Every operator, alone and in a residual branch, gives the same numbers when fused for inference."""

import pytest
import torch
from torch import Tensor, nn

from space.architecture import Part
from space.fuse import fuse
from space.kinds import NORMS
from space.parts import build_part
from space.registry import Spec
from tests.space.examples import randomised

from .conftest import WIDTH


def assert_fuses(module: nn.Module, x: Tensor) -> nn.Module:
    """Compare with the fused copy, and the module with what it was before."""
    randomised(module).eval()
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    with torch.no_grad():
        expected = module(x)
        fused = fuse(module.train())
        torch.testing.assert_close(fused(x), expected, rtol=1e-4, atol=1e-4 * expected.abs().max().item())
        assert torch.equal(module.eval()(x), expected)
    assert all(torch.equal(before[name], tensor) for name, tensor in module.state_dict().items())
    assert not any(parameter.requires_grad for parameter in fused.parameters())
    return fused


def test_an_operator_fuses(operator_spec: Spec, map_size: tuple[int, int]) -> None:
    assert_fuses(operator_spec.build(WIDTH), torch.randn(2, *map_size, WIDTH))


@pytest.mark.parametrize("norm", NORMS.names())
def test_a_mixer_fuses_with_its_norm_and_scale(mixer_spec: Spec, norm: str) -> None:
    assert_branch_fuses(mixer_spec, norm)


@pytest.mark.parametrize("norm", NORMS.names())
def test_a_feed_forward_network_fuses_with_its_norm_and_scale(ffn_spec: Spec, norm: str) -> None:
    assert_branch_fuses(ffn_spec, norm)


def assert_branch_fuses(spec: Spec, norm: str) -> None:
    size = (9, 14)
    part = Part("part", spec, (WIDTH,), size, size, norm=NORMS(norm), layer_scale=0.5)
    fused = assert_fuses(build_part(part, drop_path_rate=0.2), torch.randn(2, *size, WIDTH))
    names = {name for name, _ in fused.named_parameters()}
    if hasattr(fused.operator, "last_linear"):
        assert "scale" not in names
    if getattr(fused.operator, "first_linears", ()) and norm == "batch_norm":
        assert isinstance(fused.norm, nn.Identity)


def test_a_stem_fuses(stem_spec: Spec) -> None:
    assert_fuses(stem_spec.build(3, WIDTH), torch.randn(2, 33, 47, 3))


def test_a_downsampler_fuses(downsampler_spec: Spec, map_size: tuple[int, int]) -> None:
    assert_fuses(downsampler_spec.build(32, WIDTH), torch.randn(2, *map_size, 32))


@pytest.mark.parametrize("num_classes", [0, 10])
def test_a_head_fuses(head_spec: Spec, num_classes: int) -> None:
    assert_fuses(head_spec.build(WIDTH, num_classes), torch.randn(2, 5, 7, WIDTH))
