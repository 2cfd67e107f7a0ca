"""Networks as backbones in other people's code: feature maps for detection and segmentation, and networks by name."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import timm
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import Tensor, nn
from torchvision.models.detection import MaskRCNN
from torchvision.ops import FeaturePyramidNetwork
from torchvision.ops.feature_pyramid_network import LastLevelMaxPool

from nas.export import export
from space import Architecture, SpaceError, build_network, dump_architecture, load_architecture, parent_names
from space.models import register_network
from tests.documents import snippets

from .examples import SPACES, randomised, sampled, shortened

FOUND = SPACES["hybrid-224"].smallest()
FOUR_STAGES = [name for name in parent_names() if len(load_architecture(name).stages) == 4]


def maps_of(architecture: Architecture, height: int, width: int) -> list[Tensor]:
    with torch.device("meta"):
        network = timm.create_model("token_mixer", architecture=architecture, features_only=True).eval()
        maps = network(torch.empty(1, architecture.in_chans, height, width))
    assert network.feature_info.reduction() == list(architecture.reductions)
    assert network.feature_info.channels() == [stage.width for stage in architecture.stages] == [feature.shape[1] for feature in maps]
    return maps


@pytest.mark.parametrize("name", FOUR_STAGES)
def test_published_networks_of_four_stages_give_four_maps(name: str) -> None:
    assert [feature.shape[2:] for feature in maps_of(load_architecture(name), 256, 320)] == [(64, 80), (32, 40), (16, 20), (8, 10)]


@given(architecture=sampled.filter(lambda architecture: len(architecture.stages) == 4), size=st.tuples(*[st.integers(96, 300)] * 2))
@settings(deadline=None, max_examples=20, suppress_health_check=[HealthCheck.filter_too_much])
def test_searched_networks_give_a_map_a_stage_for_images_of_any_size(architecture: Architecture, size: tuple[int, int]) -> None:
    for feature, reduction in zip(maps_of(architecture, *size), architecture.reductions, strict=True):
        assert all(abs(got - side / reduction) < 1 for got, side in zip(feature.shape[2:], size, strict=True))


# By name --------------------------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for timm with random weights, of images with other statistics than ImageNet's."""
    folder = tmp_path_factory.mktemp("exported")
    save_file(randomised(build_network(FOUND)).state_dict(), folder / "weights.safetensors")
    export(FOUND, format="timm", weights=folder / "weights.safetensors", image_size=96, out=folder / "found-timm")
    return folder / "found-timm"


def test_an_architecture_has_a_name_in_a_new_process(tmp_path: Path) -> None:
    (tmp_path / "best.yaml").write_text(dump_architecture(FOUND))
    code = """
import timm, space.models
space.models.register_network("found", "best.yaml")
print(timm.create_model("found", features_only=True).feature_info.channels())
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == str([stage.width for stage in FOUND.stages]), done.stderr


def test_an_exported_folder_has_a_name_and_its_weights(exported: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(exported.parent)
    register_network("found_folder", exported.name)
    monkeypatch.chdir(tmp_path)
    expected = randomised(build_network(FOUND)).eval()
    x = torch.randn(1, 3, 75, 101)
    assert torch.equal(timm.create_model("found_folder", pretrained=True).eval()(x), expected(x))
    assert timm.is_model_pretrained("found_folder")
    assert timm.get_pretrained_cfg("found_folder").input_size == [3, 96, 96]
    maps = timm.create_model("found_folder", pretrained=True, features_only=True, out_indices=(1, 3)).eval()(x)
    assert all(map(torch.equal, maps, expected.forward_intermediates(x, [1, 3], intermediates_only=True)))


def test_a_name_may_be_given_anew_but_not_taken_from_others(exported: Path) -> None:
    register_network("mine", FOUND)
    with pytest.warns(UserWarning, match="Overwriting mine"):
        register_network("mine", shortened("davit-t"))
    assert timm.create_model("mine", num_classes=2).architecture == shortened("davit-t").replace(num_classes=2)
    for name in ("resnet18", "token_mixer", "register_network", "a-b", ""):
        with pytest.raises(SpaceError, match=r"^name: got .*, expected a Python identifier that is no other model's$"):
            register_network(name, FOUND)


@pytest.mark.parametrize("content", [None, b"{", b"[]", b'{"model_args": {}}'])
def test_another_folder_is_refused(content: bytes | None, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "config.json").write_bytes(content)
    with pytest.raises(SpaceError, match=r"^network: got the folder .*, expected one that `nas.export --format timm` wrote$"):
        register_network("folder", tmp_path)


# In other people's networks ------------------------------------------------------------------------------------------------------------


def step(network: nn.Module, backbone: nn.Module, loss: Tensor) -> None:
    """One step of training, which reaches every parameter of the backbone."""
    loss.backward()
    assert [name for name, parameter in backbone.named_parameters() if parameter.grad is None] == []
    before = {name: tensor.clone() for name, tensor in backbone.named_parameters()}
    torch.optim.SGD(network.parameters(), lr=0.1).step()
    assert any(not torch.equal(tensor, before[name]) for name, tensor in backbone.named_parameters())
    assert all(tensor.isfinite().all() for tensor in network.parameters())


@pytest.mark.parametrize("decoder", ["FPN", "UPerNet"])
@pytest.mark.parametrize("form", ["name", "folder"])
def test_segmentation_models_take_one_as_encoder(decoder: str, form: str, exported: Path) -> None:
    models = pytest.importorskip("segmentation_models_pytorch")
    register_network("encoder", exported)
    name = "tu-encoder" if form == "name" else f"tu-local-dir:{exported}"
    network = getattr(models, decoder)(name, encoder_weights=True, classes=5)
    trained = randomised(build_network(FOUND)).state_dict()
    assert all(torch.equal(tensor, trained[name]) for name, tensor in network.encoder.model.model.state_dict().items())
    logits = network(torch.randn(2, 3, 96, 64))
    assert logits.shape == (2, 5, 96, 64)
    step(network, network.encoder, nn.functional.cross_entropy(logits, torch.randint(5, (2, 96, 64))))


def pyramid_on(architecture: Architecture) -> nn.Sequential:
    """A backbone and torchvision's feature pyramid on it, as its detectors take them."""
    backbone = timm.create_model("token_mixer", architecture=architecture, features_only=True, feature_cls="dict")
    network = nn.Sequential(backbone, FeaturePyramidNetwork(backbone.feature_info.channels(), 64, LastLevelMaxPool()))
    network.out_channels = 64
    return network


@pytest.mark.parametrize("architecture", [FOUND, *map(shortened, ("davit-t", "uniformer-s", "shunted-t"))], ids=lambda value: value.name)
def test_feature_pyramids_of_torchvision_take_one(architecture: Architecture) -> None:
    network = pyramid_on(architecture)
    maps = network(torch.randn(2, 3, 101, 75))
    assert list(maps) == ["0", "1", "2", "3", "pool"]
    assert {feature.shape[:2] for feature in maps.values()} == {(2, 64)}
    step(network, network[0], sum(feature.square().mean() for feature in maps.values()))


def test_a_mask_rcnn_of_torchvision_takes_one() -> None:
    torch.manual_seed(0)
    detector = MaskRCNN(pyramid_on(FOUND), num_classes=3, min_size=64, max_size=128)
    box = torch.tensor([[8.0, 8.0, 40.0, 44.0]])
    mask = torch.zeros(1, 65, 97, dtype=torch.uint8)
    mask[:, 8:44, 8:40] = 1
    losses = detector([torch.rand(3, 65, 97)] * 2, [{"boxes": box, "labels": torch.tensor([1]), "masks": mask}] * 2)
    step(detector, detector.backbone[0], sum(losses.values()))
    with torch.inference_mode():
        assert set(detector.eval()([torch.rand(3, 70, 61)])[0]) == {"boxes", "labels", "scores", "masks"}


def test_backbones_are_used_as_documented(exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("segmentation_models_pytorch")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs/mine").mkdir(parents=True)
    (tmp_path / "runs/mine/best.yaml").write_text(dump_architecture(FOUND))
    shutil.copytree(exported, tmp_path / "best-timm")
    imports, *codes = snippets("networks.md")
    names: dict[str, object] = {}
    exec("".join(line for line in imports.splitlines(keepends=True) if line.startswith("import")), names)
    for code in codes:
        exec(compile(code, "networks.md", "exec"), names)
    detector, segmenter = names["detector"], names["segmenter"]
    assert isinstance(detector, MaskRCNN)
    assert isinstance(segmenter, nn.Module)
    assert segmenter(torch.randn(2, 3, 64, 64)).shape == (2, 19, 64, 64)
