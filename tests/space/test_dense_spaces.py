"""Spaces of segmentation networks: stems and heads are choices, costs stay sums, weights are shared."""

import itertools
import random
import re

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from proxies.band.additive_cost import CostTable, Rows
from proxies.band.architecture_band import ArchitectureBand
from proxies.band.space_cost import QUANTITIES, SpaceParts, key_of, space_cost
from proxies.cost import parse_budget
from proxies.macs import cost_of
from space import SearchSpace, SpaceError, build_network, dump_space, load_architecture, load_space
from space.files import parse_space
from supernet.calibration import calibrate
from supernet.fair import fair
from supernet.network import Supernet
from supernet.sampling_domain import whole_space

MIXERS = [{"type": "local_mhra", "kernel_size": 3}, {"type": "global_mhra", "head_dim": 8, "window_size": [0, 3]}]
FFNS = [{"type": "mlp", "ratio": [1, 2]}]
SCALES = {"type": "token_pyramid", "hidden": 8, "pool_stride": 2, "kernel_sizes": [[3], [3], [3]]}
PYRAMID = SearchSpace.model_validate({
    "name": "pyramid", "image_size": 64, "num_classes": 5,
    "stem": [
        {**SCALES, "widths": [8, 16, 24], "ratios": [[2], [2], [2]]},
        {**SCALES, "widths": [8, 16, 24], "ratios": [[3], [1], [4]]},
        {**SCALES, "widths": [16, 16, 16], "ratios": [[2], [2], [2]]},
    ],
    "stages": [{"widths": [48, 64], "depths": [1, 2], "mixers": MIXERS, "ffns": FFNS}],
    "head": [
        {"type": "semantics_injection", "width": [8, 16], "depthwise": [True, False]},
        {"type": "semantic_fpn", "width": 8, "hidden": 8},
    ],
})  # fmt: skip
STAGED = SearchSpace.model_validate({
    "name": "staged", "image_size": 64, "num_classes": 5,
    "stages": [
        {"widths": [16, 24], "depths": [1], "mixers": MIXERS, "ffns": FFNS},
        {"widths": [16, 32, 40], "depths": [1, 2], "downsample": "conv_downsample", "mixers": MIXERS, "ffns": FFNS},
        {"widths": [24, 32], "depths": [1], "downsample": "conv_downsample", "mixers": MIXERS, "ffns": FFNS},
    ],
    "head": {"type": "semantic_fpn", "width": [8, 16], "hidden": 8},
})  # fmt: skip

spaces = pytest.mark.parametrize("space", [PYRAMID, STAGED], ids=lambda space: space.name)


@pytest.mark.parametrize("name", ["topformer-t-seg", "topformer-s-seg", "topformer-b-seg"])
def test_the_mobile_space_holds_topformer(name: str) -> None:
    space, parent = load_space("mobile-seg-512"), load_architecture(name)
    assert space.contains(parent)
    assert space.replay(space.parameters_of(parent)).fingerprint == parent.fingerprint
    row = Rows(space).row(space.parameters_of(parent))
    macs, params = CostTable(Rows(space), space_cost(space), QUANTITIES)(row[None])[0].tolist()
    assert (macs, params) == (cost_of(parent).macs, cost_of(parent).params)


def test_tasks_follow_heads() -> None:
    tasks = {name: load_space(name).task for name in ("hybrid-224", "tiny-seg", "hybrid-seg-512", "mobile-seg-512")}
    assert tasks == dict.fromkeys(tasks, "segmentation") | {"hybrid-224": "classification"}


@spaces
@given(seed=st.integers(0, 10**6))
def test_a_members_terms_add_up_to_its_cost(space: SearchSpace, seed: int) -> None:
    member = space.sample(random.Random(seed))
    row = Rows(space).row(space.parameters_of(member))
    cost = cost_of(member)
    assert CostTable(Rows(space), space_cost(space), QUANTITIES)(row[None])[0].tolist() == [cost.macs, cost.params]


@spaces
def test_a_band_is_drawn_without_rejections(space: SearchSpace) -> None:
    macs = sorted(cost_of(space.sample(random.Random(seed))).macs for seed in range(40))
    band, rng = ArchitectureBand(space, parse_budget(f"{macs[20]}FLOPs")), random.Random(0)
    drawn = [band.draw(rng) for _ in range(40)]
    assert all(band.budget.admits(cost_of(one)) and space.contains(one) for one in drawn)
    assert {band.architecture(band.row_of(one)) for one in drawn} == set(drawn)
    assert len({one.head for one in drawn}) > 1


@spaces
def test_walks_measure_every_part_once_its_maps_are_there(space: SearchSpace) -> None:
    parts = SpaceParts(space)
    assert {key for walk in parts.walks for segment in walk for key in segment} == parts.parts.keys()
    for walk in parts.walks:
        chain = [parts.parts[segment[0]] for segment in walk]
        chained = [part for part in chain if not part.maps]
        # Parts that take maps of their own come last, so that each of the others runs on the one before.
        assert chain[: len(chained)] == chained
        assert all(before.out_size == after.in_size for before, after in itertools.pairwise(chained))
    members = [space.sample(random.Random(seed)) for seed in range(20)]
    assert {key_of(part) for member in members for part in member.parts} <= parts.parts.keys()


@spaces
def test_members_run_on_slices_as_they_do_alone(space: SearchSpace) -> None:
    supernet, images = Supernet(space), torch.randn(4, 3, 48, 72)
    for seed in range(6):
        member = space.sample(random.Random(seed))
        statistics = calibrate(supernet, member, [images])
        network = build_network(member).eval()
        network.load_state_dict(supernet.export(member, statistics))
        with torch.no_grad():
            assert torch.equal(network(images), supernet(images, member, statistics))


@spaces
def test_fair_paths_of_a_cycle_share_stem_and_head(space: SearchSpace) -> None:
    paths = fair(whole_space(space), seed=0)
    steps = [paths(step) for step in range(12)]
    assert all(len({(path.stem, path.head) for path in step}) == 1 for step in steps)
    assert len({step[0].head for step in steps}) > 1


@spaces
def test_it_survives_yaml(space: SearchSpace) -> None:
    assert parse_space(dump_space(space), "space") == space
    assert space.size == len(space.stem) * len(space.head) * space.replace(stem=space.stem[:1], head=space.head[:1]).size


def refused(space: SearchSpace, **changes: object) -> str:
    with pytest.raises(SpaceError) as caught:
        space.replace(**changes)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_stems_and_heads_that_do_not_go_together_are_refused() -> None:
    classifier = load_space("hybrid-224")
    message = refused(classifier, head="semantics_injection")
    assert re.fullmatch(r"hybrid-224: head: semantics_injection: got feature maps of 64, 128, 256, 384 channels, expected .*"
                        r"; segmentation heads that fit: semantic_fpn, upernet", message)
    assert refused(classifier, head=["norm_pool_head", "semantic_fpn"]) == (
        "hybrid-224: head: got heads for classification and segmentation, expected heads for one task")
    assert refused(classifier, stem=[{"type": "conv_stem", "stride": 2}, {"type": "conv_stem", "stride": 4}]) == (
        "hybrid-224: stem: got stems whose maps differ in size, expected maps of the same sizes")
    assert refused(classifier, head=[]) == "hybrid-224: head: got 0 entries, expected at least 1"
