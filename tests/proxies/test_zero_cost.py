"""Zero-cost scores: what papers' formulas give by hand, and what every registered score promises."""

import math
import random
from collections import OrderedDict
from collections.abc import Callable
from functools import cache

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from proxies.cost import Cost
from proxies.macs import cost_of
from proxies.zero_cost.blocks import blocks_of
from proxies.zero_cost.passes import loss_gradients
from proxies.zero_cost.registry import SCORES, Batch, ScoreError, register, score_named
from space import BlockSpec, build_network, load_architecture, load_space, parent_names
from space.blocks import Block
from space.kinds import FFNS, MIXERS
from space.network import TokenMixerNet
from tests.space.examples import shortened, tiny_space

every_score = pytest.mark.parametrize("name", SCORES)


def images(count: int = 4, side: int = 32, channels: int = 3) -> Tensor:
    return torch.randn(count, channels, side, side, generator=torch.Generator().manual_seed(1))


def labels(count: int = 4) -> Tensor:
    return torch.arange(count) % 2


@cache
def member(seed: int) -> TokenMixerNet:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return build_network(load_space("hybrid-32").sample(random.Random(seed)))


@cache
def parent(name: str) -> TokenMixerNet:
    """A published network with each distinct block once, and no wider than 320: a multiple of all head sizes."""
    short = shortened(name)
    narrow = short.replace(stages=tuple(stage.model_copy(update={"width": min(stage.width, 320)}) for stage in short.stages))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return build_network(narrow)


def one_block(block: BlockSpec) -> TokenMixerNet:
    architecture = tiny_space().smallest()
    return build_network(architecture.replace(stages=(architecture.stages[0].model_copy(update={"blocks": (block,)}),)))


def conv_net(prefix: str = "") -> nn.Module:
    """A plain network with everything that a score may look at, its submodules named with a prefix."""
    torch.manual_seed(3)
    layers = {
        "first": nn.Conv2d(3, 6, 3, 2, 1), "norm": nn.BatchNorm2d(6), "act": nn.ReLU(inplace=True), "same": nn.Conv2d(6, 6, 3, 1, 1),
        "gelu": nn.GELU(), "pool": nn.AdaptiveAvgPool2d(1), "flat": nn.Flatten(), "fc": nn.Linear(6, 2),
    }  # fmt: skip
    return nn.Sequential(OrderedDict((prefix + name, layer) for name, layer in layers.items()))


# What every score promises.


@every_score
@pytest.mark.parametrize("seed", range(3))
def test_a_member_of_a_space_has_every_score_twice_the_same(name: str, seed: int) -> None:
    first = SCORES[name](member(seed), images(), labels())
    assert math.isfinite(first)
    torch.randn(5)
    assert SCORES[name](member(seed), images(), labels()) == first


HIDDEN = {("dss", "shunted-t-fpn"), ("dss", "uniformer-s-h14-fpn")}
"""Networks in which a layer norm before positive weights and a ReLU lets nothing through: they have no such score."""


@every_score
@pytest.mark.parametrize("parent_name", parent_names())
def test_every_published_network_has_every_score(name: str, parent_name: str) -> None:
    network, batch = parent(parent_name), images(side=64)
    if load_architecture(parent_name).task == "segmentation":
        masks = labels()[:, None, None].expand(-1, 64, 64)

        def loss(logits: torch.Tensor, masks: torch.Tensor) -> torch.Tensor:
            return F.cross_entropy(F.interpolate(logits, (64, 64)), masks)

        if (name, parent_name) in HIDDEN:
            with pytest.raises(ScoreError, match="got -inf, expected a finite number"):
                SCORES[name](network, batch, masks, loss)
            return
        value = SCORES[name](network, batch, masks, loss)
    else:
        value = SCORES[name](network, batch, labels())
    assert math.isfinite(value)


@every_score
def test_a_score_leaves_everything_as_it_was(name: str) -> None:
    network = build_network(tiny_space().sample(random.Random(1)), drop_path_rate=0.1, drop_rate=0.5)
    for index, (module, parameter) in enumerate(zip(network.modules(), network.parameters(), strict=False)):
        module.training = index % 2 == 0
        parameter.requires_grad_(index % 3 > 0)
        parameter.grad = torch.ones_like(parameter) if index % 2 else None
    batch = images().requires_grad_()

    def everything() -> list[object]:
        tensors = [*network.parameters(), *network.buffers(), batch]
        return [
            [tensor.tolist() for tensor in tensors],
            [(id(tensor), tensor.requires_grad, tensor.dtype, None if tensor.grad is None else tensor.grad.tolist()) for tensor in tensors],
            [(module.training, len(module._forward_hooks), len(module._forward_pre_hooks)) for module in network.modules()],
            torch.get_rng_state().tolist(), torch.is_grad_enabled(),
        ]  # fmt: skip

    before = everything()
    with torch.no_grad():
        SCORES[name](network, batch, labels())
    assert everything() == before


@every_score
def test_any_network_has_every_score_and_names_do_not_matter(name: str) -> None:
    assert SCORES[name](conv_net(), images(), labels()) == SCORES[name](conv_net("z_"), images(), labels())


@every_score
def test_a_batch_of_the_wrong_shape_is_one_line(name: str) -> None:
    for batch in ((images()[0], labels()), (images(), labels(3)), (images().long(), labels())):
        with pytest.raises(ScoreError, match=rf"^{name}: got .*, expected floats \(B, C, H, W\) and \(B, \.\.\.\)$"):
            SCORES[name](conv_net(), *batch)


@pytest.mark.parametrize("name", ["naswot", "naswot_normalised", "zico"])
def test_one_image_cannot_be_compared(name: str) -> None:
    with pytest.raises(ScoreError, match=f"^{name}: got a batch of 1, expected 2 images or more$"):
        SCORES[name](conv_net(), images(1), labels(1))


@pytest.mark.parametrize("name", sorted(SCORES.keys() - {"macs", "params", "synflow", "dss", "az_expressivity", "az_progressivity"}))
def test_a_network_that_cannot_be_scored_is_one_line(name: str) -> None:
    with pytest.raises(ScoreError) as error:
        SCORES[name](nn.Sequential(nn.AvgPool2d(32), nn.Flatten()), images(), labels())
    assert "\n" not in str(error.value)


def test_mistakes_say_what_is_expected() -> None:
    with pytest.raises(ScoreError, match=r"^score: got 'snap', expected one of az_expressivity, .*zico$"):
        score_named("snap")
    with pytest.raises(ScoreError, match="labels: got 0 to 3, expected 0 to 1, the network's classes"):
        SCORES["snip"](conv_net(), images(), torch.arange(4))
    with pytest.raises(ScoreError, match=r"network: got images \(4, 1, 32, 32\), which it cannot run on"):
        SCORES["snip"](conv_net(), images(channels=1), labels())
    with pytest.raises(ScoreError, match="naswot: got -inf, expected a finite number"):
        SCORES["naswot"](conv_net().eval(), images(1).expand(4, -1, -1, -1), labels())


def test_a_new_score_is_a_registered_function(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("proxies.zero_cost.registry.SCORES", {})

    @register("depth")
    def depth(network: nn.Module, batch: Batch) -> float:
        return len(blocks_of(network))

    assert score_named("depth")(member(0), images(), labels()) == member(0).architecture.depth
    with pytest.raises(ScoreError, match="'depth' is registered already"):
        register("depth")(lambda network, batch: 0.0)


# What the formulas give by hand.


class Linear(nn.Module):
    """Logits W x of an image of two channels and one pixel."""

    def __init__(self, weight: list[list[float]]) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(weight))

    def forward(self, images_BCHW: Tensor) -> Tensor:
        return images_BCHW.flatten(1) @ self.weight.T


def mean_logit(logits: Tensor, _: Tensor) -> Tensor:
    """A loss whose gradient with respect to the weights of `Linear` is the images' mean, class by class."""
    return logits.sum(1).mean()


POINTS = torch.tensor([[1.0, 2.0], [3.0, 0.0]])[:, :, None, None]


@pytest.mark.parametrize(("name", "value"), [
    # The gradient is (2, 1) in both rows.
    ("grad_norm", math.sqrt(10)),
    ("snip", 2 + 3 + 8 + 0.5),
    ("synflow", math.log(1 + 3 + 4 + 0.5)),
    # The halves' gradients are (1, 2) and (3, 0): sums over differences are 4/2 and 2/2, in both rows.
    ("zico", math.log(6)),
    ("params", 4),
])
def test_a_linear_network_has_known_scores(name: str, value: float) -> None:
    network = Linear([[1.0, -3.0], [4.0, 0.5]])
    assert SCORES[name](network, POINTS, labels(2), mean_logit) == pytest.approx(value, rel=1e-6)


def test_synflow_adds_up_paths_over_every_layer_and_passes_norms_over() -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(2, 2, bias=False), nn.LayerNorm(2), nn.ReLU(), nn.Linear(2, 1, bias=False))
    with torch.no_grad():
        network[1].weight.copy_(torch.tensor([[1.0, -2.0], [0.0, 5.0]]))
        network[4].weight.copy_(torch.tensor([[-1.0, 3.0]]))
    # Paths: (1 + 2) * 1 + (0 + 5) * 3, counted once for each of two layers.
    assert SCORES["synflow"](network, POINTS, labels(2)) == pytest.approx(math.log(2 * 18))


def test_synflow_does_not_see_queries_and_keys() -> None:
    network = one_block(BlockSpec(mixer=MIXERS("global_mhra", head_dim=16), ffn=FFNS("mlp", ratio=1)))
    before = SCORES["synflow"](network, images(), labels())
    mixer = network.stages[0].blocks[0].mixer.operator
    with torch.no_grad():
        mixer.q.weight.mul_(1e3)
        mixer.k.weight.zero_()
    assert SCORES["synflow"](network, images(), labels()) == pytest.approx(before)
    with torch.no_grad():
        mixer.v.weight.mul_(2)
    assert SCORES["synflow"](network, images(), labels()) > before


@pytest.mark.parametrize("activation", [nn.ReLU(), nn.GELU(), nn.SiLU(inplace=True), nn.ReLU6(), F.gelu, torch.relu])
def test_naswot_is_the_determinant_of_agreements(activation: Callable[[Tensor], Tensor]) -> None:
    class Coded(nn.Module):
        def forward(self, images_BCHW: Tensor) -> Tensor:
            return activation(images_BCHW.flatten(1) * 1.0)

    codes = torch.tensor([[1.0, 1.0, -1.0], [1.0, -2.0, -1.0], [-1.0, -3.0, 2.0]])[:, :, None, None]
    agreements = torch.tensor([[3.0, 2.0, 0.0], [2.0, 3.0, 1.0], [0.0, 1.0, 3.0]])
    value = float(agreements.det().log())
    assert SCORES["naswot"](Coded(), codes, labels(3)) == pytest.approx(value, rel=1e-6)
    assert SCORES["naswot_normalised"](Coded(), codes, labels(3)) == pytest.approx(value - 3 * math.log(3), rel=1e-6)


def test_macs_and_params_are_the_exact_costs() -> None:
    architecture = load_space("hybrid-32").sample(random.Random(0))
    found = Cost(*(int(SCORES[name](member(0), images(side=48), labels())) for name in ("macs", "params")))
    assert found == cost_of(architecture, 48)


class Rotate(nn.Module):
    """A block whose Jacobian is `gain` times a rotation."""

    def __init__(self, gain: float) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(2, 2, bias=False) for _ in range(2))
        with torch.no_grad():
            self.layers[0].weight.copy_(gain * torch.tensor([[0.6, -0.8], [0.8, 0.6]]))
            self.layers[1].weight.copy_(torch.eye(2))

    def forward(self, x: Tensor) -> Tensor:
        return self.layers[1](self.layers[0](x))


@pytest.mark.parametrize("gain", [1.0, 2.0, 0.5])
def test_trainability_is_best_for_a_rotation(gain: float) -> None:
    network = nn.Sequential(nn.Flatten(), nn.Sequential(Rotate(gain), Rotate(gain)))
    points = torch.randn(20_000, 2, 1, 1)
    assert SCORES["az_trainability"](network, points, labels(20_000)) == pytest.approx(2 - gain - 1 / gain, abs=0.05)


def test_entropies_count_isotropic_directions() -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(2, 4, bias=False), nn.Linear(4, 2, bias=False))
    with torch.no_grad():
        network[1].weight.copy_(torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0], [0.0, 0.0]]))
        network[2].weight.copy_(torch.tensor([[1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]]))
    square = torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])[:, :, None, None]
    # Two directions at the input and after the first layer, one after the second.
    assert SCORES["az_expressivity"](network, square, labels()) == pytest.approx(2 * math.log(2))
    assert SCORES["az_progressivity"](network, square, labels()) == pytest.approx(-math.log(2))


def test_dss_takes_square_matrices_as_mixing_and_others_as_salient() -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(2, 2, bias=False), nn.Linear(2, 1, bias=False))
    with torch.no_grad():
        network[1].weight.copy_(torch.tensor([[3.0, 0.0], [0.0, -4.0]]))
        network[2].weight.copy_(torch.tensor([[2.0, -1.0]]))
    # dR/dW of the square one is the outer product of (2, 1) and ones; the other's saliency is 2 * 3 + 1 * 4.
    assert SCORES["dss"](network, POINTS, labels(2)) == pytest.approx(math.log((3 + 4) * math.sqrt(10) + 10))


# What the scores look at.


@pytest.mark.parametrize("name", parent_names())
def test_blocks_of_a_published_network_are_its_blocks(name: str) -> None:
    network = build_network(load_architecture(name), device="meta")
    blocks = blocks_of(network)
    assert [block for block in blocks if isinstance(block, Block)] == [module for module in network.modules() if isinstance(module, Block)]
    in_stages = set(network.stages.modules())
    assert all(isinstance(block, Block) or block not in in_stages for block in blocks)


def test_a_branch_that_starts_as_the_identity_is_seen() -> None:
    """TopFormer's attention ends in a norm whose scale starts at zero, which would hide all that comes before it."""
    network = one_block(BlockSpec(mixer=MIXERS("bn_conv_attention", key_dim=8), ffn=FFNS("mlp", ratio=1)))
    mixer = network.stages[0].blocks[0].mixer.operator
    assert not mixer.proj.bn.weight.any()
    gradients = loss_gradients(network, Batch(images(), labels()))
    assert all(gradient.any() for name, (_, gradient) in gradients.items() if ".mixer." in name)
