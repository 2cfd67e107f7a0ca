"""Promises of weight sharing, for every registered operator."""

from __future__ import annotations

import random

import pytest
import torch

from space import SearchSpace, build_network
from space.kinds import FFNS, MIXERS
from supernet.calibration import calibrate
from supernet.network import Supernet
from supernet.sharing import shared_name

WIDTHS = (64, 96, 128)
IMAGES = torch.randn(6, 3, 48, 40, generator=torch.Generator().manual_seed(0))


def space_of(mixers: list[object], ffns: list[object]) -> SearchSpace:
    stage = {"widths": WIDTHS, "depths": (1, 2), "mixers": mixers, "ffns": ffns}
    return SearchSpace(
        name="tiny", image_size=64, num_classes=5, stem="conv_stem", stages=[stage, {**stage, "downsample": "conv_downsample"}]
    )


def some_options(name: str) -> dict[str, object]:
    """Required options of an operator, at a value that it takes."""
    required = {"kernel_size": 3, "sr_ratio": 2, "ratio": 2}
    fields = MIXERS.spec(name).model_fields if name in MIXERS.names() else FFNS.spec(name).model_fields
    return {"type": name} | {key: required[key] for key, field in fields.items() if field.is_required()}


@pytest.fixture(scope="module")
def full_space() -> SearchSpace:
    ffns = [{"type": name, "ratio": [2, 4]} for name in FFNS.names()]
    return space_of([some_options(name) for name in MIXERS.names()], ffns)


@pytest.fixture(scope="module")
def full_supernet(full_space: SearchSpace) -> Supernet:
    return Supernet(full_space, seed=1)


@pytest.mark.parametrize("mixer", MIXERS.names())
def test_exported_network_gives_the_supernets_logits_bit_for_bit(mixer: str) -> None:
    space = space_of([some_options(mixer)], [{"type": "ds_ffn", "ratio": [2, 4]}])
    supernet = Supernet(space, seed=3)
    rng = random.Random(mixer)
    for _ in range(4):
        architecture = space.sample(rng)
        statistics = calibrate(supernet, architecture, [IMAGES, IMAGES + 1])
        network = build_network(architecture).eval()
        network.load_state_dict(supernet.export(architecture, statistics))
        with torch.no_grad():
            assert torch.equal(network(IMAGES), supernet(IMAGES, architecture, statistics))


def test_running_one_architecture_changes_nothing_for_another(full_supernet: Supernet) -> None:
    rng = random.Random(0)
    first, second = full_supernet.space.sample(rng), full_supernet.space.sample(rng)
    before = {name: tensor.clone() for name, tensor in full_supernet.state_dict().items()}
    with torch.no_grad():
        logits = full_supernet(IMAGES, first)
        calibrate(full_supernet, second, [IMAGES])
        assert torch.equal(full_supernet(IMAGES, first), logits)
    assert all(torch.equal(tensor, before[name]) for name, tensor in full_supernet.state_dict().items())


def test_gradient_reaches_exactly_the_weights_that_ran(full_supernet: Supernet) -> None:
    architecture = full_supernet.space.sample(random.Random(5))
    full_supernet.zero_grad(set_to_none=True)
    full_supernet(IMAGES, architecture).square().sum().backward()
    trained = {name for name, parameter in full_supernet.shared.items() if parameter.grad is not None}
    parts = {part.path: part for part in architecture.parts}
    expected = set()
    for name, _ in build_network(architecture).named_parameters():
        path = next(path for path in parts if name.startswith(path + "."))
        expected.add(shared_name(parts[path], name.removeprefix(path + ".")))
    assert trained == expected
    full_supernet.zero_grad(set_to_none=True)


def test_a_narrow_architecture_sees_the_leading_slice_of_a_wide_one(full_supernet: Supernet) -> None:
    space = full_supernet.space
    narrow = space.decide(lambda name, options: options[0])
    wide = space.decide(lambda name, options: options[-1] if name.endswith(".width") else options[0])
    narrow_weights, wide_weights = full_supernet.weights(narrow), full_supernet.weights(wide)
    assert narrow_weights.keys() == wide_weights.keys()
    for name, tensor in narrow_weights.items():
        assert tensor.data_ptr() == wide_weights[name].data_ptr()
        assert all(small <= large for small, large in zip(tensor.shape, wide_weights[name].shape, strict=True))


def test_every_option_of_the_space_has_shared_weights(full_supernet: Supernet) -> None:
    rng = random.Random(2)
    for _ in range(60):
        architecture = full_supernet.space.sample(rng)
        shapes = {name: parameter.shape for name, parameter in build_network(architecture, device="meta").named_parameters()}
        assert {name: tensor.shape for name, tensor in full_supernet.weights(architecture).items()} == shapes


def test_operators_of_different_kind_share_nothing(full_supernet: Supernet) -> None:
    space = full_supernet.space
    owners: dict[str, set[str]] = {}
    for label in space.slots["stage1.block1.mixer"]:
        architecture = space.decide(lambda name, options, chosen=label: chosen if chosen in options else options[0])
        part = next(part for part in architecture.parts if part.path == "stages.0.blocks.0.mixer")
        for name in full_supernet.weights(architecture):
            if name.startswith(part.path + "."):
                owners.setdefault(shared_name(part, name.removeprefix(part.path + ".")), set()).add(label)
    assert all(len(labels) == 1 for labels in owners.values())


def test_calibration_averages_over_its_batches(full_supernet: Supernet) -> None:
    architecture = full_supernet.space.sample(random.Random(9))
    first, second, both = (calibrate(full_supernet, architecture, batches) for batches in ([IMAGES], [IMAGES + 1], [IMAGES, IMAGES + 1]))
    name = next(name for name in both if name.endswith("running_mean"))
    torch.testing.assert_close(both[name], (first[name] + second[name]) / 2)


def test_the_seed_alone_decides_the_initial_weights(full_space: SearchSpace) -> None:
    torch.manual_seed(123)
    same, other = Supernet(full_space, seed=1), Supernet(full_space, seed=2)
    again = Supernet(full_space, seed=1)
    assert all(torch.equal(a, b) for a, b in zip(same.parameters(), again.parameters(), strict=True))
    assert any(not torch.equal(a, b) for a, b in zip(same.parameters(), other.parameters(), strict=True))
