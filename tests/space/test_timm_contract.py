"""What timm's own model tests ask of every network, asked of ours: tracing, scripting, features in every form, poolings, precisions.

The networks have each of a stage's distinct blocks once; the soak tests run the published networks as they are.
"""

import pytest
import timm
import torch
from timm.models import create_feature_extractor
from torch import Tensor, nn

import space.models  # registers the networks
from space import build_network, load_architecture

from .examples import randomised, shortened

NAMES = ("davit-t", "uniformer-s", "shunted-t", "container-light", "topformer-t")

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.fixture(params=[
    *(pytest.param((name, True), id=name) for name in NAMES),
    *(pytest.param((name, False), id=f"{name} in full", marks=pytest.mark.soak) for name in NAMES),
])  # fmt: skip
def architecture(request: pytest.FixtureRequest) -> space.Architecture:
    name, is_short = request.param
    return shortened(name) if is_short else load_architecture(name)


def create(architecture: space.Architecture, **options: object) -> nn.Module:
    return timm.create_model("token_mixer", architecture=architecture, **options)


def images(side: int = 96, batch: int = 1) -> Tensor:
    return torch.randn(batch, 3, side, side)


def test_it_scripts(architecture: space.Architecture) -> None:
    scripted, x = torch.jit.script(create(architecture).eval()), images(128)
    logits = scripted(x)
    assert logits.shape == (1, 1000)
    assert logits.isfinite().all()


def test_a_traced_network_has_the_same_logits_and_scripts(architecture: space.Architecture) -> None:
    network, x = randomised(create(architecture)).eval(), images(128)
    with torch.no_grad():
        traced = create_feature_extractor(network, [last_node_of(network)])
        expected = network(x)
        # A graph for any size projects queries, keys and values by one product of matrices, which rounds in another way.
        torch.testing.assert_close(torch.cat(list(traced(x).values())), expected, rtol=1e-5, atol=1e-6 * expected.abs().max().item())
        (scripted,) = torch.jit.script(traced)(x).values()
        torch.testing.assert_close(scripted, expected, rtol=1e-4, atol=1e-4 * expected.abs().max().item())


def test_a_traced_network_trains(architecture: space.Architecture) -> None:
    network = create(architecture, num_classes=42).train()
    traced = create_feature_extractor(network, [last_node_of(network)])
    (logits,) = traced(images(batch=2)).values()
    assert logits.shape == (2, 42)
    logits.mean().backward()
    assert all(parameter.grad is not None for parameter in traced.parameters())
    assert sum(parameter.numel() for parameter in traced.parameters()) == sum(parameter.numel() for parameter in network.parameters())


def last_node_of(network: nn.Module) -> str:
    _, names = timm.models.get_graph_node_names(network)
    return names[-1]


@pytest.mark.parametrize("form", ["getter", "list", "dict", "fx"])
def test_features_in_every_form(architecture: space.Architecture, form: str) -> None:
    x = images()
    network = created_alike(architecture, features_only=True, feature_cls=form).eval()
    expected = created_alike(architecture).eval().forward_intermediates(x, intermediates_only=True)
    maps = network(x)
    maps = list(maps.values()) if form == "dict" else maps
    assert len(maps) >= 4
    assert network.feature_info.channels() == [feature.shape[1] for feature in maps]
    for got, wanted, reduction in zip(maps, expected, network.feature_info.reduction(), strict=True):
        assert torch.equal(got, wanted)
        assert abs(got.shape[-1] - 96 / reduction) < 1


@pytest.mark.parametrize("form", ["getter", "list", "dict", "fx"])
def test_chosen_features(architecture: space.Architecture, form: str) -> None:
    x, indices = images(), (0, 2)
    maps = created_alike(architecture, features_only=True, feature_cls=form, out_indices=indices).eval()(x)
    if form == "dict":
        assert list(maps) == ["0", "2"]
        maps = list(maps.values())
    expected = created_alike(architecture).eval().forward_intermediates(x, list(indices), intermediates_only=True)
    assert [feature.shape for feature in maps] == [feature.shape for feature in expected]
    assert all(map(torch.equal, maps, expected))


@pytest.mark.parametrize("form", ["getter", "list", "dict"])
def test_features_train_alike_with_checkpointing(architecture: space.Architecture, form: str) -> None:
    x = images(64, batch=2)

    def gradients(enable: bool) -> dict[str, Tensor | None]:
        network = created_alike(architecture, features_only=True, feature_cls=form).train()
        network.set_grad_checkpointing(enable)
        assert {stage.grad_checkpointing for stage in network.model.stages} == {enable}
        maps = network(x)
        sum(feature.square().mean() for feature in (maps.values() if form == "dict" else maps)).backward()
        return {name: parameter.grad for name, parameter in network.named_parameters()}

    torch.testing.assert_close(gradients(True), gradients(False), rtol=1e-4, atol=1e-6)


def test_features_script(architecture: space.Architecture) -> None:
    x = images(128)
    network = created_alike(architecture, features_only=True, out_indices=(0, 1, -1) if len(architecture.stages) > 2 else (0, -1)).eval()
    expected = network(x)
    for got, wanted in zip(torch.jit.script(network)(x), expected, strict=True):
        torch.testing.assert_close(got, wanted, rtol=1e-4, atol=1e-4 * wanted.abs().max().item())


def test_a_network_ends_at_any_of_its_maps(architecture: space.Architecture) -> None:
    x = images(64, batch=2)
    whole = created_alike(architecture).eval()
    for index, expected in enumerate(whole.forward_intermediates(x, intermediates_only=True)):
        early, taken = whole.forward_intermediates(x, [index], stop_early=True)
        assert torch.equal(early, expected)
        assert torch.equal(taken[0], expected)
        network = created_alike(architecture).eval()
        assert network.prune_intermediate_layers([index], prune_norm=True) == [index]
        assert torch.equal(network(x), expected)
        assert torch.equal(network.forward_features(x), expected)
        assert torch.equal(network.forward_intermediates(x, [index], intermediates_only=True)[0], expected)
        network.train().forward_features(x).mean().backward()
        assert [name for name, parameter in network.named_parameters() if parameter.grad is None] == []
        network.reset_classifier(7, "avg")
        assert network(x).shape == (2, 7)
        assert network.head_hidden_size == network.num_features == expected.shape[1]
        assert build_network(network.architecture.replace(num_classes=7)).num_classes == 7


@pytest.mark.parametrize("name", ["topformer-t-seg", "uniformer-s-h14-fpn"])
def test_a_network_that_labels_pixels_ends_at_any_of_its_maps(name: str) -> None:
    architecture, x = shortened(name), images(64, batch=2)
    for index, expected in enumerate(created_alike(architecture).eval().forward_intermediates(x, intermediates_only=True)):
        network = created_alike(architecture, features_only=True, out_indices=(index,)).eval()
        assert torch.equal(network(x)[0], expected)
        assert torch.equal(network.model(x), expected)
        (scripted,) = torch.jit.script(network)(x)
        torch.testing.assert_close(scripted, expected, rtol=1e-4, atol=1e-4 * expected.abs().max().item())
        network.train()(x)[0].mean().backward()
        assert [name for name, parameter in network.named_parameters() if parameter.grad is None] == []


def test_indices_of_no_map_are_refused(architecture: space.Architecture) -> None:
    network = create(architecture).eval()
    count = len(network.feature_info)
    for indices in ([], [count], [-count - 1], 0, count + 1):
        with pytest.raises(ValueError, match=rf"^indices: got .*, expected some of {count} feature maps$"):
            network.forward_intermediates(images(32), indices)


def test_only_a_pruned_heads_norm_trains_no_more(architecture: space.Architecture) -> None:
    network, x = create(architecture).train(), images(64, batch=2)
    last = len(network.feature_info) - 1
    network.prune_intermediate_layers([last])
    network.forward_intermediates(x, [last], norm=True, intermediates_only=True)[0].square().mean().backward()
    assert [name for name, parameter in network.named_parameters() if parameter.grad is None] == []
    kept = create(architecture).eval()
    expected = kept(x)
    kept.prune_intermediate_layers([last], prune_head=False)
    assert torch.equal(kept(x), expected)


def created_alike(architecture: space.Architecture, **options: object) -> nn.Module:
    """A network with the same initial weights at every call."""
    torch.manual_seed(0)
    return create(architecture, **options)


@pytest.mark.parametrize("pooling", ["avg", "max", "avgmax", "catavgmax"])
def test_poolings(architecture: space.Architecture, pooling: str) -> None:
    network, x = create(architecture, global_pool=pooling, num_classes=7).eval(), images(batch=2)
    width = network.num_features * (2 if pooling == "catavgmax" else 1)
    assert network(x).shape == (2, 7)
    assert network.head_hidden_size == network.get_classifier().in_features == width
    features = network.forward_features(x)
    assert network.forward_head(features, pre_logits=True).shape == (2, width)
    # Pooling after the head's norm, or before it, is torch's own.
    normed = network.head.normed(features.permute(0, 2, 3, 1)) if network.head.norms_maps else features.permute(0, 2, 3, 1)
    mean, maximum = normed.mean((1, 2), keepdim=True), normed.amax((1, 2), keepdim=True)
    pooled = {"avg": (mean,), "max": (maximum,), "avgmax": ((mean + maximum) / 2,), "catavgmax": (mean, maximum)}[pooling]
    pooled = pooled if network.head.norms_maps else map(network.head.normed, pooled)
    torch.testing.assert_close(network(x), network.get_classifier()(torch.cat(list(pooled), -1).flatten(1)))
    expected = network(x)
    torch.testing.assert_close(network.fuse()(x), expected, rtol=1e-4, atol=1e-4 * expected.abs().max().item())
    network.reset_classifier(0, pooling)
    assert network(x).shape == (2, width)
    network.reset_classifier(3, "avg")
    assert network.get_classifier().in_features == network.head_hidden_size == network.num_features


def test_a_classifier_without_the_rest_of_the_head(architecture: space.Architecture) -> None:
    network, x = create(architecture).eval(), images(batch=2)
    network.reset_classifier(5, reset_other=True)
    assert isinstance(network.head.norm, nn.Identity)
    pooled = network.forward_features(x).mean((2, 3))
    torch.testing.assert_close(network(x), network.get_classifier()(pooled))


def test_precision_and_device_are_options(architecture: space.Architecture) -> None:
    network = create(architecture, dtype=torch.bfloat16, device="cpu", num_classes=5).eval()
    assert {tensor.dtype for tensor in network.state_dict().values() if tensor.is_floating_point()} == {torch.bfloat16}
    assert network(images().bfloat16()).dtype == torch.bfloat16
    network.reset_classifier(3)
    assert network.get_classifier().weight.dtype == torch.bfloat16
    assert next(create(architecture, device="meta").parameters()).is_meta


def test_pyramids_give_as_many_maps_as_backbones_for_detection() -> None:
    network = create(shortened("topformer-t"), features_only=True).eval()
    assert network.feature_info.reduction() == [4, 8, 16, 32, 32]
    assert network.feature_info.channels() == [16, 32, 64, 96, 208]
    few = create(shortened("topformer-t"), features_only=True, out_indices=(1, 2, 3)).eval()
    assert [feature.shape[1] for feature in few(images())] == [32, 64, 96]
