"""What every head that labels pixels promises, on a network that it fits."""

import itertools

import pytest
import torch

from proxies.macs import cost_of
from proxies.reference import count_network
from space import Architecture, SpaceError, build_network
from space.kinds import HEADS
from space.parts import build_part
from space.registry import Spec

from .networks import architecture_of, network_of
from .test_operators import assert_leading_slice
from .test_tools import assert_same

SIZES = ((64, 64), (75, 51), (33, 130))


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_it_labels_pixels_at_the_stride_of_its_first_map(dense_head_spec: Spec, size: tuple[int, int]) -> None:
    network = network_of(dense_head_spec)
    first, *_ = (part for part in network.architecture.parts_at(*size) if part.maps)
    with torch.no_grad():
        assert network(torch.randn(2, 3, *size)).shape == (2, 10, *first.out_size)


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_its_parts_add_up_to_what_fvcore_counts(dense_head_spec: Spec, size: tuple[int, int]) -> None:
    network = network_of(dense_head_spec)
    assert cost_of(network.architecture, size) == count_network(network, size)


def test_it_fuses_exactly(dense_head_spec: Spec) -> None:
    network, images = network_of(dense_head_spec), torch.randn(2, 3, 75, 51)
    with torch.no_grad():
        assert_same(network.fuse()(images), network(images))


def test_the_gradient_reaches_every_parameter(dense_head_spec: Spec) -> None:
    network = network_of(dense_head_spec).train()
    logits = network(torch.randn(2, 3, 64, 64))
    (logits * torch.randn(logits.shape)).sum().backward()
    # What a head does not take gets no gradient: the part of a trunk that belongs to a scale that it leaves out does.
    assert all(parameter.grad is not None for parameter in network.parameters())


def test_whole_channels_of_the_classifiers_input_are_dropped(dense_head_spec: Spec) -> None:
    network = build_network(architecture_of(dense_head_spec), drop_rate=0.5)
    dropped = network.head.train().drop(torch.ones(1, 64, 3, 3))
    assert set(dropped.flatten(2).unique().tolist()) == {0.0, 2.0}
    assert all(channel.unique().numel() == 1 for channel in dropped[0])


def test_a_new_classifier_takes_the_old_ones_place(dense_head_spec: Spec) -> None:
    network, images = network_of(dense_head_spec), torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        features = network.forward_head(network.forward_features(images), pre_logits=True)
        network.reset_classifier(4)
        assert network.architecture.num_classes == 4
        assert network(images).shape == (1, 4, *features.shape[2:])
        network.reset_classifier(0)
        assert torch.equal(network(images), features)
    with pytest.raises(SpaceError, match="global_pool: got 'max', expected none"):
        build_network(network.architecture, global_pool="max")


def test_narrower_maps_and_options_take_leading_slices(dense_head_spec: Spec) -> None:
    def parts(architecture: Architecture) -> list:
        return [part for part in architecture.parts if part.maps]

    large = architecture_of(dense_head_spec)
    small = large.replace(stages=tuple(stage.replace(width=32) for stage in large.stages))
    for one, other in zip(parts(small), parts(large), strict=True):
        assert one.spec.operator == other.spec.operator
        assert_leading_slice(build_part(one), build_part(other))
    for name in dense_head_spec.elastic:
        half = getattr(dense_head_spec, name) // 2
        narrow = large.replace(head=dense_head_spec.replace(**{name: half}))
        for one, other in itertools.zip_longest(parts(narrow), parts(large)):
            assert one.spec.operator == other.spec.operator
            assert_leading_slice(build_part(one), build_part(other))


def test_where_it_does_not_fit_the_heads_that_do_are_named() -> None:
    staged = architecture_of(HEADS("norm_pool_head"))
    refusal = r"^architecture: head: semantics_injection: got feature maps of 64, 64 channels, expected "
    with pytest.raises(SpaceError, match=refusal + ".*; segmentation heads that fit: semantic_fpn, upernet"):
        staged.replace(head=HEADS("semantics_injection"))
