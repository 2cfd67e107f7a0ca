"""What users of timm's models rely on, for the published networks and any architecture: after timm's own model tests."""

import math
import warnings
from pathlib import Path

import pytest
import timm
import torch
from timm.models import FeatureInfo, group_parameters
from timm.optim import create_optimizer_v2
from torch import Tensor, nn

import space.models
from space import Architecture, SpaceError, UserError, build_network, dump_architecture, load_architecture, parent_names
from space.kinds import HEADS
from space.models import default_cfg, entry_point_name

from .examples import SPACES, randomised, shortened

SEARCHED = SPACES["hybrid-32"].smallest()
SMALL = {
    # One of each kind of stem, mixer and head.
    **{name: shortened(name) for name in ("uniformer-s-plus", "shunted-t", "topformer-t", "container-light", "davit-t")},
    "searched": SEARCHED,
    "token-label": SEARCHED.replace(head=HEADS("token_label_head")),
}

architectures = pytest.mark.parametrize("architecture", [pytest.param(value, id=name) for name, value in SMALL.items()])


def create(architecture: Architecture, **options) -> nn.Module:
    return timm.create_model("token_mixer", architecture=architecture, **options)


def images(height: int = 64, width: int = 64, channels: int = 3, batch: int = 2) -> Tensor:
    return torch.randn(batch, channels, height, width)


@pytest.mark.parametrize("name", parent_names())
def test_every_published_network_has_an_entry_point(name: str) -> None:
    model_name = entry_point_name(name)
    assert model_name.isidentifier()
    assert timm.is_model(model_name)
    assert model_name in timm.list_models("token_mixer*")
    assert getattr(space.models, model_name) is timm.model_entrypoint(model_name)
    assert timm.get_pretrained_cfg(model_name).input_size == (3, *[load_architecture(name).image_size] * 2)
    with torch.device("meta"):
        network = timm.create_model(model_name, num_classes=42)
    assert network.architecture == load_architecture(name).replace(num_classes=42)


def test_names_do_not_clash_with_those_of_timm() -> None:
    ours = {entry_point_name(name) for name in parent_names()} | {"token_mixer"}
    assert all(timm.model_entrypoint(name).__module__ == "space.models" for name in ours)
    assert ours <= set(timm.list_models(module="models"))


def test_an_architecture_is_a_value_a_file_or_a_name(tmp_path: Path) -> None:
    path = tmp_path / "best.yaml"
    path.write_text(dump_architecture(SEARCHED))
    for given in (str(path), path, SEARCHED):
        assert timm.create_model("token_mixer", architecture=given).architecture == SEARCHED
    with torch.device("meta"):
        assert timm.create_model("token_mixer", architecture="davit-t").architecture == load_architecture("davit-t")


def test_mistakes_are_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"got 'davit', expected one of .*davit-t"):
        timm.create_model("token_mixer", architecture="davit")
    with pytest.raises(SpaceError, match=r"global_pool: got 'most', expected one of avg, max, avgmax, catavgmax, or '' for no pooling"):
        create(SEARCHED, global_pool="most")


@architectures
def test_forward(architecture: Architecture) -> None:
    network = create(architecture).eval()
    for height, width in ((64, 64), (97, 71)):
        with torch.no_grad():
            logits = network(images(height, width))
        assert logits.shape == (2, architecture.num_classes)
        assert logits.isfinite().all()


@architectures
def test_backward_reaches_every_parameter(architecture: Architecture) -> None:
    network = create(architecture, num_classes=42, drop_rate=0.1, drop_path_rate=0.1).train()
    logits = network(images())
    assert logits.shape == (2, 42)
    logits.mean().backward()
    assert [name for name, parameter in network.named_parameters() if parameter.grad is None] == []


@architectures
def test_the_default_cfg_tells_the_truth(architecture: Architecture) -> None:
    network = create(architecture).eval()
    cfg, tensors = network.default_cfg, network.state_dict()
    assert cfg["url"] == ""
    assert cfg["num_classes"] == architecture.num_classes == tensors[cfg["classifier"] + ".weight"].shape[0]
    assert tensors[cfg["first_conv"] + ".weight"].shape[1] == architecture.in_chans
    assert cfg["input_size"] == (3, architecture.image_size, architecture.image_size)
    with torch.device("meta"):
        assert create(architecture).forward_features(torch.empty(1, *cfg["input_size"])).shape[-2:] == cfg["pool_size"]


@architectures
def test_the_classifier_and_pooling_come_off(architecture: Architecture) -> None:
    network = create(architecture).eval()
    x = images(72, 90)
    features = network.forward_features(x)
    assert features.ndim == 4
    assert features.shape[1] == network.num_features

    pooled = network.forward_head(features, pre_logits=True)
    assert pooled.shape == (2, network.head_hidden_size)
    torch.testing.assert_close(network.forward_head(features), network(x))

    network.reset_classifier(0)
    assert network.num_classes == network.architecture.num_classes == 0
    assert isinstance(network.get_classifier(), nn.Identity)
    torch.testing.assert_close(network(x), pooled)

    network.reset_classifier(0, "")
    assert network(x).shape == features.shape
    assert create(architecture, num_classes=0, global_pool="").eval()(x).shape == features.shape

    network.reset_classifier(5)
    assert network(x).shape == (2, 5, *features.shape[2:])
    network.reset_classifier(5, "avg")
    assert network.get_classifier().out_features == 5
    assert network(x).shape == (2, 5)
    assert network.num_classes == network.architecture.num_classes == 5


@architectures
def test_a_new_classifier_leaves_the_rest(architecture: Architecture) -> None:
    network = randomised(create(architecture, drop_rate=0.3)).double().eval()
    x = images().double()
    before = network.forward_head(network.forward_features(x), pre_logits=True)
    network.reset_classifier(7)
    assert network.head.drop.p == 0.3
    assert not network.head.training
    assert {parameter.dtype for parameter in network.parameters()} == {torch.float64}
    assert torch.equal(network.forward_head(network.forward_features(x), pre_logits=True), before)
    # Fresh, as in a new network: normal of 0.02, no bias.
    assert 0.01 < network.get_classifier().weight.std() < 0.03
    assert not network.get_classifier().bias.any()


@architectures
def test_features_only(architecture: Architecture) -> None:
    network = create(architecture, features_only=True).eval()
    channels, reductions = network.feature_info.channels(), network.feature_info.reduction()
    assert channels == feature_widths(architecture)
    for height, width in ((96, 96), (75, 130)):
        with torch.no_grad():
            maps = network(images(height, width))
        assert len(maps) == len(channels)
        for feature, count, reduction in zip(maps, channels, reductions, strict=True):
            assert feature.shape[:2] == (2, count)
            for got, side in zip(feature.shape[2:], (height, width), strict=True):
                assert side // reduction <= got <= math.ceil(side / reduction)
            assert feature.isfinite().all()
    assert not [name for name, _ in network.named_parameters() if "head" in name]


@architectures
def test_some_features_only(architecture: Architecture) -> None:
    widths = feature_widths(architecture)
    last = len(widths) - 1
    whole = randomised(create(architecture)).eval()
    first = create(architecture, features_only=True, out_indices=(0,)).eval()
    assert len(first.model.stages) == (architecture.stem.type != "token_pyramid")
    assert first.model.num_features == widths[0]
    assert first.feature_info.channels() == [first(images())[0].shape[1]] == widths[:1]
    loaded = first.model.load_state_dict(whole.state_dict(), strict=False)
    assert not loaded.missing_keys
    x = images()
    torch.testing.assert_close(first(x)[0], whole.forward_intermediates(x, (0,), intermediates_only=True)[0])
    ends = create(architecture, features_only=True, out_indices=(0, -1) if last else (-1,))
    assert ends.feature_info.channels() == [widths[i] for i in sorted({0, last})]


@architectures
def test_intermediates(architecture: Architecture) -> None:
    network = randomised(create(architecture)).eval()
    x, count = images(), len(feature_widths(architecture))
    info = FeatureInfo(network.feature_info, count)
    last, maps = network.forward_intermediates(x)
    assert [feature.shape[1] for feature in maps] == info.channels()
    assert torch.equal(last, network.forward_features(x))
    assert torch.equal(last, maps[-1])

    only = network.forward_intermediates(x, indices=1, intermediates_only=True)
    assert len(only) == 1
    assert torch.equal(only[0], maps[-1])
    early, taken = network.forward_intermediates(x, indices=[0], stop_early=True)
    assert torch.equal(early, maps[0])
    assert torch.equal(taken[0], maps[0])
    normed = network.forward_intermediates(x, norm=True, intermediates_only=True)[-1]
    expected = network.head.normed(last.permute(0, 2, 3, 1)).permute(0, 3, 1, 2) if network.head.norms_maps else last
    assert torch.equal(normed, expected)
    with pytest.raises(ValueError, match="output_fmt: got 'NLC', expected 'NCHW'"):
        network.forward_intermediates(x, output_fmt="NLC")


@architectures
def test_pruning_what_features_do_not_need(architecture: Architecture) -> None:
    network = create(architecture).eval()
    x = images()
    expected = network.forward_intermediates(x, [0], intermediates_only=True)[0]
    assert network.prune_intermediate_layers([0]) == [0]
    assert network.architecture.stages == architecture.stages[:1]
    assert len(network.feature_info) == 1
    assert torch.equal(network.forward_intermediates(x, [0], intermediates_only=True)[0], expected)
    assert torch.equal(network(x), expected)


def feature_widths(architecture: Architecture) -> list[int]:
    """Channels of the maps of a stem that is a pyramid, then of the stages."""
    stem = architecture.stem.options["widths"] if architecture.stem.type == "token_pyramid" else ()
    return [*stem, *(stage.width for stage in architecture.stages)]


@architectures
def test_other_channels(architecture: Architecture) -> None:
    in_chans = 4
    network = create(architecture, in_chans=in_chans).eval()
    assert network.in_chans == network.architecture.in_chans == in_chans
    assert network(images(channels=in_chans)).shape == (2, architecture.num_classes)


@architectures
def test_checkpointing_changes_memory_and_nothing_else(architecture: Architecture) -> None:
    x = images()

    def step(enable: bool) -> tuple[Tensor, dict[str, Tensor], dict[str, Tensor], int]:
        torch.manual_seed(1)
        network = create(architecture, drop_path_rate=0.2).train()
        network.set_grad_checkpointing(enable)
        saved = 0

        def count(tensor: Tensor) -> Tensor:
            nonlocal saved
            saved += tensor.numel()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
            logits = network(x)
        logits.square().sum().backward()
        gradients = {name: parameter.grad for name, parameter in network.named_parameters() if parameter.grad is not None}
        return logits.detach(), gradients, dict(network.named_buffers()), saved

    (logits, gradients, statistics, saved), (again, same_gradients, same_statistics, fewer) = step(False), step(True)
    torch.testing.assert_close(again, logits)
    torch.testing.assert_close(same_gradients, gradients, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(same_statistics, statistics)
    # The stem, half of a TopFormer, and the head keep theirs.
    assert fewer < (0.9 if "token_pyramid" in architecture.stem.label else 0.6) * saved


@architectures
def test_parameters_group_into_layers(architecture: Architecture) -> None:
    network = create(architecture)
    for coarse in (True, False):
        layers = group_parameters(network, network.group_matcher(coarse))
        names = [name for group in layers.values() for name in group]
        assert sorted(names) == sorted(name for name, _ in network.named_parameters())
        depth = len(architecture.stages) if coarse else architecture.depth
        assert len(layers) == depth + 2
        assert all(name.startswith("stem.") for name in layers[0])
        assert all(name.startswith("head.") for name in layers[depth + 1])


@architectures
def test_weight_decay_leaves_vectors_alone(architecture: Architecture) -> None:
    network = create(architecture)
    spared = network.no_weight_decay()
    assert all(parameter.ndim >= 2 or name in spared for name, parameter in network.named_parameters())
    assert all(network.get_parameter(name).ndim < 2 for name in spared)
    optimizer = create_optimizer_v2(network, "adamw", weight_decay=0.05, layer_decay=0.9)
    decayed = {id(parameter) for group in optimizer.param_groups if group["weight_decay"] for parameter in group["params"]}
    assert not decayed & {id(network.get_parameter(name)) for name in spared}


@architectures
def test_the_state_dict_makes_the_round_trip(architecture: Architecture, tmp_path: Path) -> None:
    from safetensors.torch import save_file

    first, second = randomised(create(architecture)).eval(), create(architecture).eval()
    x = images()
    assert not torch.equal(first(x), second(x))
    save_file(first.state_dict(), tmp_path / "model.safetensors")
    timm.models.load_checkpoint(second, str(tmp_path / "model.safetensors"))
    assert torch.equal(first(x), second(x))


def test_weights_of_other_classes_and_channels_are_adapted(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    architecture = SMALL["shunted-t"]
    trained = randomised(create(architecture))
    save_file(trained.state_dict(), tmp_path / "model.safetensors")
    cfg = default_cfg(architecture) | {"file": str(tmp_path / "model.safetensors")}
    network = create(architecture, pretrained=True, pretrained_cfg=cfg, num_classes=5, in_chans=1)
    assert network.num_classes == 5
    assert torch.equal(network.stages[-1].norm.weight, trained.stages[-1].norm.weight)
    torch.testing.assert_close(network.stem.conv0.weight, trained.stem.conv0.weight.sum(1, keepdim=True))


@architectures
def test_it_exports(architecture: Architecture) -> None:
    network = randomised(create(architecture)).eval()
    x = images(72, 64)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        exported = torch.export.export(network, (x,)).module()
    torch.testing.assert_close(exported(x), network(x), rtol=1e-4, atol=1e-4)


def test_it_exports_for_any_number_of_images() -> None:
    network = create(SEARCHED).eval()
    exported = torch.export.export(network, (images(32, 32),), dynamic_shapes=({0: torch.export.Dim("batch", min=1, max=64)},)).module()
    x = images(32, 32, batch=5)
    torch.testing.assert_close(exported(x), network(x), rtol=1e-4, atol=1e-4)


def test_dropout_stands_before_the_classifier() -> None:
    network = build_network(SEARCHED, drop_rate=0.5)
    x = images(32, 32)
    features = network.eval().forward_head(network.forward_features(x), pre_logits=True)
    torch.manual_seed(0)
    expected = network.get_classifier()(nn.functional.dropout(features, 0.5))
    torch.manual_seed(0)
    network.head.drop.train()
    torch.testing.assert_close(network(x), expected)
