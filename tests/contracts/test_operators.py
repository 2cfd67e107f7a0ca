"""What every operator that keeps a map's size promises: mixers, feed-forward networks, positions, norms."""

import itertools
import re

import pytest
import torch
from torch import Tensor, nn

from space.registry import Spec

from .conftest import WIDTH


def built(spec: Spec, width: int = WIDTH) -> nn.Module:
    """The operator in evaluation, every tensor random: fresh zeros and ones would hide what they multiply."""
    module = spec.build(width).eval()
    generator = torch.Generator().manual_seed(width)
    for tensor in (*module.parameters(), *(buffer for buffer in module.buffers() if buffer.is_floating_point())):
        # Positive, as running variances are.
        tensor.data = torch.rand(tensor.shape, generator=generator) * 0.4 + 0.1 if tensor.ndim < 2 else torch.randn(
            tensor.shape, generator=generator) * tensor[0].numel() ** -0.5
    return module


def test_the_map_keeps_its_size(operator_spec: Spec, map_size: tuple[int, int]) -> None:
    x = torch.randn(2, *map_size, WIDTH)
    y = built(operator_spec)(x)
    assert y.shape == x.shape
    assert y.isfinite().all()
    assert operator_spec.out_size(*map_size) == map_size


def test_the_gradient_reaches_input_and_every_parameter(operator_spec: Spec) -> None:
    module = built(operator_spec).train()
    x = torch.randn(2, 16, 16, WIDTH, requires_grad=True)
    (module(x) * torch.randn(x.shape)).sum().backward()
    for name, tensor in {"input": x, **dict(module.named_parameters())}.items():
        assert tensor.grad is not None, name
        assert tensor.grad.isfinite().all(), name
        # A key's bias shifts all of a query's scores alike, which softmax ignores: its gradient is rightly zero.
        assert tensor.grad.abs().sum() > 0 or re.search(r"\bk\b.*bias$", name), name


def test_the_same_input_gives_the_same_output(operator_spec: Spec) -> None:
    module, x = built(operator_spec), torch.randn(2, 9, 14, WIDTH)
    assert torch.equal(module(x), module(x))


def test_the_same_seed_gives_the_same_weights(operator_spec: Spec) -> None:
    def weights() -> dict[str, Tensor]:
        torch.manual_seed(7)
        return operator_spec.build(WIDTH).state_dict()

    first, second = weights(), weights()
    assert all(torch.equal(first[key], second[key]) for key in first)


def test_images_do_not_see_their_batch(operator_spec: Spec, map_size: tuple[int, int]) -> None:
    module, x = built(operator_spec), torch.randn(3, *map_size, WIDTH)
    alone = torch.cat([module(image) for image in x.split(1)])
    torch.testing.assert_close(module(x), alone, rtol=1e-4, atol=1e-4)


def test_the_memory_layout_of_the_input_does_not_matter(operator_spec: Spec) -> None:
    module, x = built(operator_spec), torch.randn(2, 9, 14, WIDTH)
    torch.testing.assert_close(module(x.permute(0, 3, 1, 2).contiguous().permute(0, 2, 3, 1)), module(x), rtol=1e-4, atol=1e-4)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_it_exports(operator_spec: Spec) -> None:
    module, x = built(operator_spec), torch.randn(2, 9, 14, WIDTH)
    exported = torch.export.export(module, (x,)).module()
    torch.testing.assert_close(exported(x), module(x), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("width", [61, 72])
def test_an_awkward_width_works_or_gives_one_clear_error(operator_spec: Spec, width: int) -> None:
    try:
        operator_spec.check(width, 16, 16)
    except ValueError:
        message = rf"^got width {width}\b.*, expected .+$"
        with pytest.raises(ValueError, match=message):
            operator_spec.check(width, 16, 16)
        with pytest.raises(ValueError, match=message):
            operator_spec.build(width)
    else:
        x = torch.randn(1, 5, 6, width)
        assert built(operator_spec, width)(x).shape == x.shape


def test_a_narrower_operator_is_a_leading_slice(operator_spec: Spec) -> None:
    # 96 has an odd number of heads where it has any; operators with heads of 64 take the others.
    widths = [width for width in (64, 96, 128, 192) if stands(operator_spec, width)]
    assert len(widths) > 2
    for small, large in itertools.combinations(widths, 2):
        assert_leading_slice(operator_spec.build(small), operator_spec.build(large))


def stands(spec: Spec, width: int) -> bool:
    try:
        spec.check(width, 16, 16)
    except ValueError:
        return False
    return True


def test_elastic_options_only_change_sizes(operator_spec: Spec) -> None:
    smaller = operator_spec.build(WIDTH)
    for name in operator_spec.elastic:
        options = operator_spec.options
        larger = type(operator_spec)(type=operator_spec.type, **options | {name: 2 * options[name] or 8})
        assert larger.operator == operator_spec.operator
        assert larger != operator_spec
        assert_leading_slice(smaller, larger.build(WIDTH))


def assert_leading_slice(small: nn.Module, large: nn.Module) -> None:
    """Same tensors by name, none larger in any dimension, and the leading slices load and run."""
    small_tensors, large_tensors = small.state_dict(), large.state_dict()
    assert small_tensors.keys() == large_tensors.keys()
    sliced = {}
    for key, tensor in small_tensors.items():
        other = large_tensors[key]
        assert tensor.ndim == other.ndim, key
        assert all(a <= b for a, b in zip(tensor.shape, other.shape, strict=True)), key
        sliced[key] = other[tuple(slice(side) for side in tensor.shape)]
    small.load_state_dict(sliced)
