"""Predicted memory is what the tensors of a built network come to."""

import itertools
import random
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from proxies.band.architecture_band import ArchitectureBand
from proxies.cost import Budget, BudgetError
from proxies.memory.inference import peak_of
from proxies.memory.live import LiveMemory, measured_peak
from proxies.memory.training import loss_of_logits, training_memory_of
from proxies.memory_quantity import ACTIVATIONS
from space.architecture import Architecture
from space.files import load_architecture, load_space, parent_names, space_names
from space.kinds import MIXERS
from space.network import build_network

TOLERANCE = 0.05
TRAINING = "memory@train:bs32"


def measured_on_shapes(architecture: Architecture) -> int:
    """On tensors without data; `test_tensors_without_data_are_as_large_as_real_ones` holds that they serve."""
    side = architecture.image_size
    with FakeTensorMode():
        return measured_peak(build_network(architecture).eval(), torch.empty(1, architecture.in_chans, side, side))


def measured_step(architecture: Architecture, batch: int) -> int:
    """The peak of a step: forward pass, loss, backward pass; without the weights' gradients."""
    side = architecture.image_size
    with FakeTensorMode():
        network = build_network(architecture).train()
        for parameter in network.parameters():
            # A gradient that is there already is added to in place, and what was made to be added is freed at once.
            parameter.grad = torch.zeros_like(parameter)
        live = LiveMemory([*network.parameters(), *network.buffers(), *(parameter.grad for parameter in network.parameters())])
        images = torch.empty(batch, architecture.in_chans, side, side)
        live.add(images)
        with live:
            loss_of_logits(network(images), (side, side)).backward()
    return live.peak


def some_of(space_name: str, count: int, seed: int) -> Iterator[Architecture]:
    rng, space = random.Random(seed), load_space(space_name)
    return (space.sample(rng) for _ in range(count))


@pytest.mark.parametrize("name", ["hybrid-32", "tiny-seg", "topformer-t"])
def test_tensors_without_data_are_as_large_as_real_ones(name: str) -> None:
    architecture = next(some_of(name, 1, 0)) if name in space_names() else load_architecture(name)
    image = torch.zeros(1, architecture.in_chans, *[architecture.image_size] * 2)
    assert measured_peak(build_network(architecture).eval(), image) == measured_on_shapes(architecture)


@pytest.mark.parametrize("name", space_names())
def test_the_memory_of_an_inference_is_predicted_for_every_member(name: str) -> None:
    for architecture in some_of(name, 3, 1):
        assert peak_of(architecture) == pytest.approx(measured_on_shapes(architecture), rel=TOLERANCE)


@pytest.mark.parametrize("name", parent_names())
def test_the_memory_of_an_inference_is_predicted_for_published_networks(name: str) -> None:
    architecture = load_architecture(name)
    assert peak_of(architecture) == pytest.approx(measured_on_shapes(architecture), rel=TOLERANCE)


@pytest.mark.parametrize("name", ["hybrid-32", "tiny-seg"])
def test_the_memory_of_a_training_step_is_predicted_where_attention_is_fused(name: str) -> None:
    unfused = MIXERS("bn_conv_attention").type
    fused = (one for one in some_of(name, 100, 2) if all(block.mixer.type != unfused for stage in one.stages for block in stage.blocks))
    for architecture in itertools.islice(fused, 3):
        assert training_memory_of(architecture, 32) == pytest.approx(measured_step(architecture, 32), rel=TOLERANCE)


@pytest.mark.parametrize("name", ["hybrid-32", "tiny-seg"])
def test_a_training_step_needs_no_less_than_is_predicted(name: str) -> None:
    for architecture in some_of(name, 3, 5):
        assert training_memory_of(architecture, 32) <= (1 + TOLERANCE) * measured_step(architecture, 32)


def test_a_training_steps_memory_grows_with_its_images() -> None:
    architecture = load_architecture("topformer-t")
    few, many = (training_memory_of(architecture, batch) for batch in (8, 32))
    assert 3 * few < many < 4.1 * few


@pytest.mark.parametrize("name", ["hybrid-32", "tiny-seg"])
def test_a_band_holds_the_members_whose_memory_is_within_the_limit(name: str) -> None:
    space, members = load_space(name), list(some_of(name, 60, 3))
    peaks = [peak_of(member) for member in members]
    limit = int(np.quantile(peaks, 0.4))
    band = ArchitectureBand(space, Budget({"macs": 10**12, ACTIVATIONS: limit}, floor=0))
    for member, peak in zip(members, peaks, strict=True):
        assert band.contains(member) == (peak <= limit)
        assert band.costs_of(band.row_of(member))[ACTIVATIONS] == peak
    assert all(peak_of(band.draw(random.Random(seed))) <= limit for seed in range(20))


def test_memory_of_training_is_a_limit_like_others() -> None:
    space, members = load_space("hybrid-32"), list(some_of("hybrid-32", 40, 4))
    needed = [training_memory_of(member, 32) for member in members]
    band = ArchitectureBand(space, Budget({TRAINING: int(np.quantile(needed, 0.6))}, floor=0.5))
    for member, memory in zip(members, needed, strict=True):
        assert band.costs_of(band.row_of(member))[TRAINING] == memory
        assert band.contains(member) == band.budget.admits({TRAINING: memory})
    assert band.budget.admits({TRAINING: training_memory_of(band.draw(random.Random(0)), 32)})


def test_memory_out_of_reach_is_refused_with_the_least_that_there_is() -> None:
    space = load_space("hybrid-32")
    complaint = r"budget: got 1TFLOPs 1KB@act, expected at least \S+KiB@act, the least that hybrid-32 needs"
    with pytest.raises(BudgetError, match=complaint) as error:
        ArchitectureBand(space, Budget({"macs": 10**12, ACTIVATIONS: 1000}, floor=0))
    least = int(float(str(error.value).partition("at least ")[2].partition("KiB")[0]) * 1024)
    assert peak_of(ArchitectureBand(space, Budget({"macs": 10**12, ACTIVATIONS: least}, floor=0)).draw(random.Random(0))) == least
    with pytest.raises(BudgetError):
        ArchitectureBand(space, Budget({"macs": 10**12, ACTIVATIONS: least - 1}, floor=0))
