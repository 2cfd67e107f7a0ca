"""The published networks are exact points of what can be built."""

import re
from pathlib import Path

import pytest

from proxies.cost import parse_budget
from proxies.macs import cost_of
from proxies.published import parents_within
from space import SpaceError, build_network, load_architecture, load_provenance, load_published, parent_names

# Measured with the official codes and fvcore at 224 px: parameters, multiply-adds and the part of them that are norms, in 10^9.
MEASURED = {
    "uniformer-s": (21_545_256, 3.644, 0.012),
    "uniformer-s-plus": (24_032_552, 4.213, 0.012),
    "uniformer-b": (49_776_552, 8.273, 0.022),
    "uniformer-b-ls": (49_796_520, 8.273, 0.022),
    "uniformer-l": (100_103_888, 19.755, 0.041),
    "shunted-t": (11_553_576, 2.160, 0.014),
    "shunted-s": (22_401_256, 5.019, 0.026),
    "shunted-b": (39_614_376, 8.189, 0.040),
    "topformer-t": (1_503_304, 0.1263, 0.006),
    "topformer-s": (3_105_928, 0.2352, 0.007),
    "topformer-b": (5_068_872, 0.3733, 0.009),
    "container-light": (20_633_643, 3.856, 0.008),
    "container-light-paper": (20_008_235, 3.137, 0.008),
    # No official code exists; these are what the five blocks' formulas give for the reconstruction.
    "container": (21_808_826, 8.240, 0.008),
    "davit-t": (28_360_168, 4.540244736, 0.018),
    "davit-s": (49_745_896, 8.800488192, 0.027),
    "davit-b": (87_954_408, 15.510430720, 0.037),
}


# Segmentation networks at 512 px and 150 classes: parameters, multiply-adds, published mIoU on ADE20K. The first four were measured
# with the official codes. The others' parameters are the sums of DaViT's backbone and UniFormer's neck and head, and likewise.
MEASURED_AT_512 = {
    "topformer-t-seg": (1_389_654, 534_110_208, 34.6),
    "topformer-s-seg": (3_034_662, 1_112_297_472, 37.0),
    "topformer-b-seg": (5_062_646, 1_752_203_264, 39.2),
    "uniformer-s-h14-fpn": (25_299_926, 44_040_613_888, 46.3),
    "davit-t-fpn": (31_965_654, 45_364_470_720, None),
    "shunted-t-fpn": (15_290_838, 35_951_484_928, None),
    # Without the auxiliary classifier of the official network's training, and without the projections of the tokens that pad its
    # windows: at 128, 64, 32 and 16 pixels a side these are 1305, 804, 201 and 185 tokens, in 1, 1, 3 and 1 blocks.
    "davit-t-upernet": (
        60_013_676 - 923_798,
        236_005_159_872 - 4 * (1305 * 96**2 + 804 * 192**2 + 3 * 201 * 384**2 + 185 * 768**2),
        46.3,
    ),
}


def test_every_parent_is_measured() -> None:
    assert set(parent_names("classification")) == set(MEASURED)
    assert set(parent_names("segmentation")) == set(MEASURED_AT_512)
    assert set(parent_names()) == set(MEASURED) | set(MEASURED_AT_512)


@pytest.mark.parametrize("name", MEASURED_AT_512)
def test_a_segmentation_network_costs_what_its_official_code_does(name: str) -> None:
    architecture, published = load_architecture(name), load_published(name)
    network = build_network(architecture, device="meta")
    cost = cost_of(architecture)
    assert (cost.params, cost.macs, published.miou) == MEASURED_AT_512[name]
    assert sum(parameter.numel() for parameter in network.parameters()) == cost.params
    assert architecture.name == name
    assert architecture.task == "segmentation"


def test_a_segmentation_network_costs_less_at_fewer_pixels() -> None:
    assert cost_of(load_architecture("topformer-t-seg"), (448, 448)).macs == 408_363_648


def test_published_networks_are_compared_within_their_task() -> None:
    budget = parse_budget("1.2GFLOPs")
    for like, expected in (("davit-t", "topformer-b topformer-s topformer-t"), ("topformer-t-seg", "topformer-s-seg topformer-t-seg")):
        assert [parent.architecture.name for parent in parents_within(load_architecture(like), budget)] == expected.split()


@pytest.mark.parametrize("name", MEASURED)
def test_a_parent_costs_what_its_official_code_does(name: str) -> None:
    params, gmacs, norm_gmacs = MEASURED[name]
    cost = cost_of(load_architecture(name))
    assert cost.params == params
    assert cost.macs / 1e9 == pytest.approx(gmacs - norm_gmacs, rel=5e-3)


@pytest.mark.parametrize("name", MEASURED)
def test_a_parent_builds_with_the_parameters_that_are_counted(name: str) -> None:
    network = build_network(load_architecture(name), device="meta")
    assert sum(parameter.numel() for parameter in network.parameters()) == MEASURED[name][0]


@pytest.mark.parametrize("name", MEASURED)
def test_a_parent_says_what_is_published_of_it(name: str) -> None:
    published = load_published(name)
    assert published is not None
    assert load_architecture(name).name == name
    assert re.fullmatch(r"https://arxiv\.org/abs/\d{4}\.\d{5}", published.paper)
    assert published.params == pytest.approx(MEASURED[name][0], rel=0.035)
    assert 60 < published.top1 < 90
    # The one mistake in the papers is named in a note.
    if published.macs and name != "uniformer-l":
        assert published.macs / 1e9 == pytest.approx(MEASURED[name][1], rel=0.035)
    assert ("19.8" in published.note) == (name == "uniformer-l")
    assert published.approximate == (name in ("container", "container-light-paper"))
    assert load_provenance(name) == {}


def test_only_the_global_blocks_of_uniformer_b_ls_are_scaled() -> None:
    scales = [[block.layer_scale for block in stage.blocks] for stage in load_architecture("uniformer-b-ls").stages]
    assert scales == [[None] * 5, [None] * 8, [1e-6] * 20, [1e-6] * 7]


def test_a_name_may_come_as_a_path() -> None:
    assert load_architecture(Path("davit-t")) == load_architecture("davit-t")


def test_an_unknown_name_lists_the_parents() -> None:
    with pytest.raises(SpaceError, match=r"^architecture: got 'davit-x', expected one of container, .*, uniformer-s-plus or a YAML file$"):
        load_architecture("davit-x")


def test_a_file_without_published_figures_has_none(tmp_path) -> None:
    path = tmp_path / "mine.yaml"
    block = "{mixer: {type: window}, ffn: {type: mlp, ratio: 2}}"
    path.write_text(f"schema: architecture/1\nstages: [{{width: 32, blocks: [{block}]}}]\n")
    assert load_published(path) is None
    path.write_text(path.read_text() + "published: {paper: x, code: x, params: many, top1: 80}\n")
    assert load_architecture(path).stages[0].width == 32
    with pytest.raises(SpaceError, match=re.escape(f"{path}: published: params: got 'many', expected a number")):
        load_published(path)
