"""What users of segmentation networks rely on: features, exports at any size, timm's options."""

import pytest
import timm
import torch
from torch import nn
from torch.export import Dim

import space.models  # noqa: F401
from space import Architecture, SpaceError, build_network, load_architecture
from space.kinds import HEADS
from tests.contracts.networks import network_of

from .examples import randomised, shortened
from .test_official_dense import small_uniformer

SMALL = {"topformer-t-seg": shortened("topformer-t-seg"), "hybrid": small_uniformer(HEADS("semantic_fpn", width=16, hidden=8))}
architectures = pytest.mark.parametrize("architecture", SMALL.values(), ids=SMALL.keys())


@architectures
@pytest.mark.parametrize("indices", [None, (0, 1), (-1,)], ids=str)
def test_features_are_those_that_the_head_sees(architecture: Architecture, indices: tuple[int, ...] | None) -> None:
    torch.manual_seed(0)
    features = timm.create_model("token_mixer", architecture=architecture, features_only=True, out_indices=indices).eval()
    whole = randomised(build_network(architecture)).eval()
    # What features do not need is gone.
    missing, _ = features.model.load_state_dict(whole.state_dict(), strict=False)
    assert not missing
    assert not any(name.startswith(("taps.", "head.")) for name, _ in features.model.named_parameters())
    images = torch.randn(2, 3, 128, 192)
    with torch.no_grad():
        maps, expected = features(images), whole.forward_features(images)
    wanted = [expected[i] for i in (indices or range(len(expected)))]
    assert all(torch.equal(got, one) for got, one in zip(maps, wanted, strict=True))
    assert features.feature_info.channels() == [one.shape[1] for one in wanted]
    assert features.feature_info.reduction() == [round(192 / one.shape[3]) for one in wanted]


@architectures
def test_timm_makes_it_with_other_classes_and_channels(architecture: Architecture) -> None:
    network = timm.create_model("token_mixer", architecture=architecture, num_classes=3, in_chans=1, drop_path_rate=0.1)
    assert network.eval()(torch.randn(1, 1, 70, 90)).shape[:2] == (1, 3)
    assert isinstance(network.get_classifier(), nn.Linear)
    with pytest.raises(SpaceError, match="global_pool: got '', expected none"):
        timm.create_model("token_mixer", architecture=architecture, global_pool="")


def test_its_graph_takes_any_size() -> None:
    network = randomised(build_network(SMALL["topformer-t-seg"])).eval().requires_grad_(False)
    scripted = torch.jit.script(network)
    dims = {0: Dim.DYNAMIC, 2: Dim.DYNAMIC, 3: Dim.DYNAMIC}
    exported = torch.export.export(network, (torch.randn(2, 3, 128, 192),), dynamic_shapes=(dims,)).module()
    for size in ((128, 192), (160, 224), (192, 128)):
        images = torch.randn(3, 3, *size)
        expected = network(images)
        tolerance = {"rtol": 1e-4, "atol": 1e-4 * expected.abs().max().item()}
        torch.testing.assert_close(exported(images), expected, **tolerance)
        torch.testing.assert_close(scripted(images), expected, **tolerance)


def test_a_network_without_its_head_keeps_its_backbone() -> None:
    network = network_of(HEADS("semantic_fpn"))
    assert network.prune_intermediate_layers([0]) == [0]
    assert len(network.stages) == 1
    assert network.architecture.task == load_architecture("davit-t").task == "classification"
    assert network.num_classes == 0
