"""Costs are exact, equal to fvcore's count of the built network, and never miss an operator in silence."""

import random
from collections.abc import Iterator

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from proxies.cost import Cost
from proxies.macs import UncountedOpError, cost_of, part_cost
from proxies.reference import count_network
from space.architecture import Architecture, Part
from space.files import load_space, space_names
from space.kinds import MIXERS, NORMS
from space.network import build_network


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("name", space_names())
def test_architectures_of_a_named_space_count_as_fvcore_counts_them(name: str, seed: int) -> None:
    architecture = load_space(name).sample(random.Random(seed))
    assert cost_of(architecture) == count_network(build_network(architecture), architecture.image_size)


def test_a_cost_is_known_for_any_image_size() -> None:
    architecture = load_space("hybrid-32").sample(random.Random(5))
    assert cost_of(architecture, (48, 40)) == count_network(build_network(architecture), (48, 40))
    assert cost_of(architecture, architecture.image_size) == cost_of(architecture)
    assert cost_of(architecture, 64) == cost_of(architecture.replace(image_size=64))


def test_a_cost_is_the_sum_over_parts_and_leaves_names_aside() -> None:
    architecture: Architecture = load_space("hybrid-32").sample(random.Random(6))
    assert cost_of(architecture) == sum(map(part_cost, architecture.parts), Cost(0, 0))
    assert cost_of(architecture.replace(name="another")) == cost_of(architecture)


def test_counting_leaves_random_state_and_default_device_alone() -> None:
    before = torch.get_rng_state()
    cost_of(load_space("hybrid-32").sample(random.Random(7)))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.empty(0).device.type == "cpu"


class Newcomer(nn.Module):
    """Calls what its class attribute says on (B, H, W, C) maps."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(dim, dim))

    def forward(self, x_BHWC: Tensor) -> Tensor:
        return type(self).call(x_BHWC, self.weight)

    call = staticmethod(lambda x, weight: x)


@pytest.fixture
def newcomer() -> Iterator[type[Newcomer]]:
    """A mixer registered at run time; tests say what it calls."""

    class Registered(Newcomer):
        pass

    MIXERS.names()
    MIXERS.register("newcomer", norm=NORMS("none"))(Registered)
    yield Registered
    MIXERS.unregister("newcomer")


def counted(size: tuple[int, int] = (4, 6)) -> int:
    return part_cost(Part("anywhere", MIXERS("newcomer"), (8,), size, size)).macs


@pytest.mark.parametrize(
    ("call", "macs"),
    [
        (lambda x, w: x @ w, 24 * 8 * 8),
        (lambda x, w: torch.einsum("bhwc,cd->bhwd", x, w), 24 * 8 * 8),
        (lambda x, w: F.conv2d(x.permute(0, 3, 1, 2), w[:, :, None, None]).permute(0, 2, 3, 1), 24 * 8 * 8),
        (lambda x, w: F.conv_transpose2d(x.permute(0, 3, 1, 2), w[:, :, None, None].repeat(1, 1, 2, 2), stride=2)
         .permute(0, 2, 3, 1)[:, ::2, ::2], 24 * 8 * 8 * 4),
        (lambda x, w: F.scaled_dot_product_attention(x.flatten(1, 2), x.flatten(1, 2), x.flatten(1, 2) @ w).view_as(x),
         24 * 8 * 8 + 2 * 24 * 24 * 8),
        (lambda x, w: F.scaled_dot_product_attention(x.flatten(1, 2), x.flatten(1, 2), x.flatten(1, 2).repeat(1, 1, 3))[..., :8].view_as(x),
         24 * 24 * (8 + 24)),
        (lambda x, w: (x.flatten(1, 2) @ x.flatten(1, 2).transpose(1, 2)).softmax(-1).matmul(x.flatten(1, 2)).view_as(x), 2 * 24 * 24 * 8),
        (lambda x, w: F.layer_norm(x.permute(0, 2, 1, 3), (8,)).view(1, 6, 4, 8).transpose(1, 2), 0),
    ],
    ids=["matmul", "einsum", "conv", "transposed conv", "attention", "attention with wide values", "products", "norm"],
)
def test_a_new_mixer_is_counted_with_no_further_code(newcomer: type[Newcomer], call: object, macs: int) -> None:
    newcomer.call = staticmethod(call)
    assert counted() == macs


@pytest.mark.parametrize("call", [lambda x, w: torch.linalg.solve(w, x.flatten(0, 2).T).T.view_as(x), lambda x, w: torch.cdist(x, x) @ x])
def test_an_operator_without_a_rule_is_refused_by_name(newcomer: type[Newcomer], call: object) -> None:
    newcomer.call = staticmethod(call)
    with pytest.raises(UncountedOpError, match=r"newcomer: got the operator aten\.\w+") as error:
        counted()
    assert "\n" not in str(error.value)


def test_the_reference_refuses_what_it_does_not_know() -> None:
    class Solver(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.eye(4))

        def forward(self, x: Tensor) -> Tensor:
            return torch.linalg.solve(self.weight, x)

    with pytest.raises(UncountedOpError, match="linalg_solve"):
        count_network(Solver(), (4, 4))


def test_the_reference_counts_in_evaluation_and_leaves_the_mode() -> None:
    network = build_network(load_space("hybrid-32").smallest())
    assert network.training
    count_network(network, 32)
    assert network.training
    assert all(buffer.sum() == 0 for name, buffer in network.named_buffers() if name.endswith("running_mean"))
