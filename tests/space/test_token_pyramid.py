"""TopFormer's token pyramid keeps the channels of its scales apart, and their proportions at any width."""

import pytest
import torch

from space import load_architecture
from space.errors import SpaceError
from space.kinds import STEMS
from space.operators.stems import _deal

PUBLISHED = ("topformer-t", "topformer-s", "topformer-b")


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_widths_are_dealt_as_they_are(name: str) -> None:
    architecture = load_architecture(name)
    widths = architecture.stem.options["widths"]
    assert _deal(architecture.stages[0].width, widths) == list(widths)
    assert _deal(2 * architecture.stages[0].width, widths) == [2 * width for width in widths]


def test_a_wider_pyramid_is_nowhere_narrower() -> None:
    narrower = _deal(4, (16, 32, 64, 96))
    for dim in range(5, 300):
        wider = _deal(dim, (16, 32, 64, 96))
        assert sum(wider) == dim
        assert all(a <= b for a, b in zip(narrower, wider, strict=True))
        narrower = wider


def test_the_output_is_every_scale_pooled() -> None:
    stem = STEMS("token_pyramid").build(3, 208).eval()
    maps: list[torch.Tensor] = []
    for scale in stem.scales:
        scale.register_forward_hook(lambda _, x, y: maps.append(y.permute(0, 2, 3, 1)))
    with torch.no_grad():
        y = stem(torch.randn(2, 64, 96, 3))
    assert [tuple(one.shape[1:]) for one in maps] == [(16, 24, 16), (8, 12, 32), (4, 6, 64), (2, 3, 96)]
    for one, pooled in zip(maps, y.split([16, 32, 64, 96], -1), strict=True):
        torch.testing.assert_close(one.unflatten(2, (3, -1)).unflatten(1, (2, -1)).mean((2, 4)), pooled)
    assert torch.equal(y[..., -96:], maps[-1])


def test_options_that_disagree_are_told() -> None:
    with pytest.raises(ValueError, match=r"got 3 widths, \[2, 2, 2, 2\] kernel_sizes and \[2, 2, 2, 2\] ratios, expected as many"):
        STEMS("token_pyramid", widths=(8, 16, 24)).check(3, 48, 224, 224)
    with pytest.raises(ValueError, match="got width 3, expected at least one channel for each of 4 scales"):
        STEMS("token_pyramid").build(3, 3)
    with pytest.raises(SpaceError, match=r"^stem: token_pyramid: kernel_sizes"):
        STEMS("token_pyramid", kernel_sizes=((4,),))
