"""The plain network is what its architecture says, at any image size."""

import pytest
import torch
from hypothesis import given, settings

from space import Architecture, SpaceError, build_network
from space.parts import build_part

from .examples import SPACES, hand_built

FEW = settings(max_examples=15)


@FEW
@given(hand_built)
def test_parts_tell_the_maps_that_really_flow(architecture: Architecture) -> None:
    network = build_network(architecture).eval()
    seen = {}
    for part in architecture.parts[:-1]:
        network.get_submodule(part.path).register_forward_hook(
            lambda _, x, y, path=part.path: seen.__setitem__(path, (tuple(x[0].shape[1:3]), tuple(y.shape[1:3]))))
    for height, width in ((architecture.image_size,) * 2, (67, 90)):
        with torch.no_grad():
            network(torch.randn(1, 3, height, width))
        for part in architecture.parts_at(height, width)[:-1]:
            assert seen[part.path] == (part.in_size, part.out_size), part.path


@FEW
@given(hand_built)
def test_logits_and_features_have_the_shapes_that_are_said(architecture: Architecture) -> None:
    network = build_network(architecture).eval()
    images = torch.randn(2, 3, 65, 83)
    last = architecture.stages[-1].width
    assert network(images).shape == (2, architecture.num_classes or last)
    assert network.forward_features(images).shape == (2, last, *architecture.parts_at(65, 83)[-1].in_size)


@FEW
@given(hand_built)
def test_on_the_meta_device_it_has_the_same_tensors(architecture: Architecture) -> None:
    real, meta = build_network(architecture).state_dict(), build_network(architecture, device="meta").state_dict()
    assert {key: tensor.shape for key, tensor in real.items()} == {key: tensor.shape for key, tensor in meta.items()}
    assert all(tensor.is_meta for tensor in meta.values())


@FEW
@given(hand_built)
def test_the_network_is_made_of_the_parts(architecture: Architecture) -> None:
    network = build_network(architecture, device="meta").state_dict()
    parts = {f"{part.path}.{key}" for part in architecture.parts for key in build_part(part, device="meta").state_dict()}
    assert parts == set(network)


@pytest.mark.parametrize("name", SPACES)
def test_a_seed_is_a_network(name: str) -> None:
    def network() -> dict[str, torch.Tensor]:
        torch.manual_seed(3)
        return build_network(SPACES[name].smallest()).state_dict()

    first, second = network(), network()
    assert all(torch.equal(first[key], second[key]) for key in first)


def test_stochastic_depth_grows_over_the_blocks_and_rests_in_evaluation() -> None:
    architecture = SPACES["hybrid-32"].largest()
    network = build_network(architecture, drop_path_rate=0.5)
    rates = [getattr(block.ffn.drop_path, "drop_prob", 0.0) for stage in network.stages for block in stage.blocks]
    assert rates == pytest.approx([0.5 * index / (architecture.depth - 1) for index in range(architecture.depth)])
    torch.manual_seed(0)
    plain = build_network(architecture)
    plain.load_state_dict(network.state_dict())
    images = torch.randn(2, 3, 32, 32)
    assert torch.equal(network.eval()(images), plain.eval()(images))


def test_the_layer_scale_scales_both_branches() -> None:
    member = SPACES["hybrid-32"].smallest()
    block = member.stages[0].blocks[0].model_copy(update={"layer_scale": 1e-3})
    architecture = member.replace(stages=(member.stages[0].model_copy(update={"blocks": (block,)}), *member.stages[1:]))
    scaled = build_network(architecture).stages[0].blocks[0]
    assert torch.equal(scaled.mixer.scale, torch.full((architecture.stages[0].width,), 1e-3))
    assert torch.equal(scaled.ffn.scale, scaled.mixer.scale)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("in_chans", [1, 3])
def test_maps_stay_channels_last_inside(layout: torch.memory_format, in_chans: int) -> None:
    network = build_network(SPACES["hybrid-32"].largest().replace(in_chans=in_chans)).eval()
    contiguous = []
    for stage in network.stages:
        for block in stage.blocks:
            block.register_forward_hook(lambda _, x, y: contiguous.append(y.is_contiguous()))
    with torch.no_grad():
        network(torch.randn(2, in_chans, 32, 32).to(memory_format=layout))
    assert all(contiguous)


def test_a_network_that_fits_no_machine_is_refused_and_still_has_shapes() -> None:
    block = {"mixer": {"type": "local_mhra", "kernel_size": 3}, "ffn": {"type": "mlp", "ratio": 32}, "repeat": 100}
    giant = Architecture(name="giant", image_size=32, stages=[{"width": 8192, "blocks": [block]}])
    with pytest.raises(SpaceError, match=r"^giant: got 4\.43e\+11 parameters, expected at most 1e\+10$"):
        build_network(giant)
    assert sum(parameter.numel() for parameter in build_network(giant, device="meta").parameters()) > 4e11
