"""Every operator is counted without further code, exactly as fvcore counts the built module."""

import torch
from torch import Tensor, nn

from proxies.cost import Cost
from proxies.macs import part_cost
from proxies.reference import count_network
from space.architecture import Part
from space.registry import Spec

from .conftest import WIDTH


class _OnImages(nn.Module):
    """A module of (B, H, W, C) maps that takes (B, C, H, W) images."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module
        # The reference asks the first parameter for the device; some operators have none.
        self.anchor = nn.Parameter(torch.zeros(()))

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return self.module(x_BCHW.permute(0, 2, 3, 1))


def counted(spec: Spec, widths: tuple[int, ...], size: tuple[int, int]) -> tuple[Cost, Cost]:
    """Our cost, and fvcore's of the module on its own."""
    ours = part_cost(Part("anywhere", spec, widths, size, spec.out_size(*size)))
    reference = count_network(_OnImages(spec.build(*widths)), size, widths[0])
    return ours, Cost(reference.macs, reference.params - 1)


def test_an_operator_counts_as_fvcore_counts_it(operator_spec: Spec, map_size: tuple[int, int]) -> None:
    ours, reference = counted(operator_spec, (WIDTH,), map_size)
    assert ours == reference


def test_a_mixer_has_multiply_adds_and_parameters(mixer_spec: Spec) -> None:
    cost = part_cost(Part("anywhere", mixer_spec, (WIDTH,), (16, 16), (16, 16)))
    assert cost.macs > 0
    assert cost.params > 0


def test_a_stem_counts_as_fvcore_counts_it(stem_spec: Spec) -> None:
    ours, reference = counted(stem_spec, (3, WIDTH), (32, 48))
    assert ours == reference


def test_a_downsampler_counts_as_fvcore_counts_it(downsampler_spec: Spec) -> None:
    ours, reference = counted(downsampler_spec, (WIDTH, 2 * WIDTH), (9, 14))
    assert ours == reference


def test_a_head_counts_as_fvcore_counts_it(head_spec: Spec) -> None:
    ours, reference = counted(head_spec, (WIDTH, 10), (7, 7))
    assert ours == reference


def test_norm_and_layer_scale_of_a_branch_are_parameters(mixer_spec: Spec, norm_spec: Spec) -> None:
    def params(**branch: object) -> int:
        return part_cost(Part("anywhere", mixer_spec, (WIDTH,), (16, 16), (16, 16), **branch)).params  # type: ignore[arg-type]

    norm = part_cost(Part("anywhere", norm_spec, (WIDTH,), (16, 16), (16, 16)))
    assert norm.macs == 0
    assert params(norm=norm_spec) == params() + norm.params
    assert params(norm=norm_spec, layer_scale=0.1) == params() + norm.params + WIDTH
