"""Heads, windowed blocks and whole segmentation networks reproduce the official implementations from the official weights.

`tests/goldens/dense` has the format of `tests/goldens`; where a case has several maps, they are `input_CASE_NUMBER` and
`output_CASE_NUMBER`.
"""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from space import Architecture, BlockSpec, StageSpec, build_network
from space.files import load_architecture
from space.kinds import DOWNSAMPLERS, FFNS, HEADS, MIXERS, NORMS, POSITIONS, STEMS, TAPS
from space.official import davit, load_official, segmentation, topformer, uniformer
from space.official.conversion import Conversion, renamed
from space.taps import taps_of

GOLDENS = Path(__file__).parents[1] / "goldens" / "dense"


def load(name: str) -> tuple[dict[str, Tensor], list[tuple[list[Tensor], list[Tensor]]]]:
    """State dict and cases (inputs, outputs) of a golden; maps are (B, C, H, W)."""
    with np.load(GOLDENS / f"{name}.npz") as arrays:
        # What half precision holds exactly is stored in it.
        values = {key: torch.from_numpy(arrays[key]) for key in arrays.files}
    values = {key: value.float() if value.is_floating_point() else value for key, value in values.items()}
    weights = {key.removeprefix("param/"): value for key, value in values.items() if key.startswith("param/")}
    cases = [case["i"] for case in json.loads((GOLDENS / f"{name}.json").read_text())["cases"]]
    assert cases

    def maps(kind: str, case: int) -> list[Tensor]:
        return [value for key, value in values.items() if key == f"{kind}_{case}" or key.startswith(f"{kind}_{case}_")]

    return weights, [(maps("input", case), maps("output", case)) for case in cases]


def last(x_BCHW: Tensor) -> Tensor:
    return x_BCHW.permute(0, 2, 3, 1)


def assert_same(got_BHWC: Tensor, expected_BCHW: Tensor) -> None:
    expected = last(expected_BCHW)
    torch.testing.assert_close(got_BHWC, expected, rtol=1e-4, atol=2e-5 * expected.abs().max().item())


def filled(module: nn.Module, conversion: Conversion, weights: dict[str, Tensor]) -> nn.Module:
    module.load_state_dict(conversion.convert(weights))
    return module.eval()


def stage(width: int, *mixers: tuple[str, dict], ratio: int = 2, downsample: str | None = None, **fields: object) -> StageSpec:
    blocks = tuple(BlockSpec(mixer=MIXERS(name, **options), ffn=FFNS("mlp", ratio=ratio), **fields) for name, options in mixers)
    return StageSpec(width=width, blocks=blocks, downsample=downsample and DOWNSAMPLERS(downsample))


def small_uniformer(head: object, num_classes: int = 13, window_size: int = 7) -> Architecture:
    """The shrunk UniFormer of the goldens: local blocks, then three windowed and a global one, then a global one."""
    position = {"position": POSITIONS("dpe")}
    local, whole = ("local_mhra", {"kernel_size": 5}), ("global_mhra", {"head_dim": 16})
    windowed = ("global_mhra", {"head_dim": 16, "window_size": window_size})
    return Architecture(image_size=128, num_classes=num_classes, stem=STEMS("patch_stem"), head=head, stages=(
        stage(16, local, **position), stage(32, local, downsample="patch_downsample", **position),
        stage(48, windowed, windowed, windowed, whole, downsample="patch_downsample", **position),
        stage(64, whole, downsample="patch_downsample", **position),
    ))  # fmt: skip


def small_davit() -> Architecture:
    """The shrunk DaViT of the goldens; heads of 8 channels, of which the last stage has six."""
    def pairs(width: int, depth: int, downsample: str | None = None) -> StageSpec:
        mixers = [(name, {"head_dim": 8}) for _ in range(depth) for name in ("window", "channel_group")]
        return stage(width, *mixers, downsample=downsample, position=POSITIONS("dpe"), ffn_position=POSITIONS("dpe"))

    down = "davit_downsample"
    stages = (pairs(16, 1), pairs(24, 1, down), pairs(32, 2, down), pairs(48, 1, down))
    head = HEADS("semantic_fpn", norm=NORMS("layer_norm"))
    return Architecture(image_size=128, stem=STEMS("davit_stem"), stages=stages, head=head)


def test_semantics_are_injected() -> None:
    weights, cases = load("topformer_sim_tap")
    tap = filled(TAPS("injection").build(16, 24), segmentation.injection, weights)
    for inputs, (expected,) in cases:
        assert_same(tap([last(x) for x in inputs]), expected)


@pytest.mark.parametrize(("width", "classes", "depthwise"), [(24, 13, False), (16, 11, True)])
def test_topformers_head(width: int, classes: int, depthwise: bool) -> None:
    weights, cases = load("topformer_head_dw" if depthwise else "topformer_head")
    head = HEADS("semantics_injection", width=width, depthwise=depthwise).build(*[width] * 3, classes)
    filled(head, segmentation.simple_head(depthwise), weights)
    for inputs, (expected,) in cases:
        assert_same(head([last(x) for x in inputs]), expected)


def test_a_token_pyramid() -> None:
    weights, cases = load("topformer_tpm")
    ratios = ((4, 3), (3, 3), (3, 3), (6, 6))
    spec = STEMS("token_pyramid", hidden=8, widths=(8, 16, 24, 32), kernel_sizes=((3, 3), (5, 5), (3, 3), (5, 5)), ratios=ratios)
    stem = filled(spec.build(3, 80), topformer.token_pyramid(spec, 80), weights)
    for (images,), expected in cases:
        for map_BCHW, one in zip(stem.pyramid(last(images)), expected, strict=True):
            assert_same(last(map_BCHW), one)


def test_every_key_of_an_official_segmentation_checkpoint() -> None:
    """The keys of the official TopFormer-T, in its order, with their shapes."""
    shapes = json.loads((GOLDENS / "topformer_t_seg_keys.json").read_text())["keys"]
    network = build_network(load_architecture("topformer-t-seg"))
    weights = {key: torch.zeros(shape, dtype=torch.long if key.endswith("tracked") else torch.float) for key, shape in shapes.items()}
    assert load_official(network, weights) == len(shapes) == len(network.state_dict())


@pytest.mark.parametrize(("golden", "stride"), [("topformer_ppa_s1", 1), ("topformer_ppa", 2)])
def test_a_pyramid_pools_at_either_stride(golden: str, stride: int) -> None:
    _, cases = load(golden)
    stem = STEMS("token_pyramid", pool_stride=stride).build(3, 28)
    for inputs, (expected,) in cases:
        assert_same(stem.pooled(inputs), expected)


def test_semantic_fpn() -> None:
    weights, cases = load("semantic_fpn")
    spec = HEADS("semantic_fpn", width=20, hidden=12, norm=NORMS("none"))
    neck = {key.removeprefix("neck."): value for key, value in weights.items() if key.startswith("neck.lateral")}
    laterals = [
        filled(TAPS("lateral").build(width, 20), segmentation.lateral,
               {key.removeprefix(f"lateral_convs.{i}."): value for key, value in neck.items() if f"convs.{i}." in key})
        for i, width in enumerate((8, 16, 24, 32))
    ]
    head = spec.build(*[20] * 4, 13).eval()
    ours = segmentation.fpn_head(4).convert({k.removeprefix("decode_head."): v for k, v in weights.items() if k.startswith("decode_head.")})
    for i in range(4):
        for kind in ("weight", "bias"):
            ours[f"levels.{i}.pyramid.{kind}"] = weights[f"neck.fpn_convs.{i}.conv.{kind}"]
    head.load_state_dict(ours)
    for inputs, (*_, expected) in cases:
        assert_same(head([lateral([last(x)]) for lateral, x in zip(laterals, inputs, strict=True)]), expected)


def test_upernet() -> None:
    weights, cases = load("upernet_head")
    widths = (8, 12, 16, 24)
    head = HEADS("upernet", width=16, norm=NORMS("none"))
    sizes = [(32 >> i, 32 >> i, width) for i, width in enumerate(widths)]
    parts = nn.ModuleDict({
        "taps": nn.ModuleList(tap.spec.build(width, tap.width) for tap, width in zip(taps_of(head, sizes), widths, strict=True)),
        "head": head.build(*[16] * 4, 11),
    })
    filled(parts, segmentation.uper_head(24, 16, 4), weights)
    for inputs, (expected,) in cases:
        maps = [tap([last(x)]) for tap, x in zip(parts["taps"], inputs, strict=True)]
        assert_same(parts["head"](maps), expected)


def test_a_windowed_block() -> None:
    weights, cases = load("uniformer_sablock_window")
    spec = stage(32, ("global_mhra", {"head_dim": 16, "window_size": 14}), ratio=4, position=POSITIONS("dpe"))
    block = filled(build_network(Architecture(stages=(spec,))).stages[0].blocks[0], uniformer.sablock, weights)
    for (x,), (expected,) in cases:
        assert_same(block(last(x)), expected)


def test_windowed_and_global_blocks_in_a_row() -> None:
    weights, cases = load("uniformer_stage3_hybrid")
    windows = (14, 14, 14, 0, 14)
    mixers = [("global_mhra", {"head_dim": 16, "window_size": window_size}) for window_size in windows]
    blocks = build_network(Architecture(stages=(stage(32, *mixers, position=POSITIONS("dpe")),))).stages[0].blocks
    filled(blocks, renamed({str(i): (str(i), uniformer.sablock) for i in range(len(windows))}), weights)
    for (x,), (expected,) in cases:
        assert_same(nn.Sequential(*blocks)(last(x)), expected)


@pytest.mark.parametrize("name", ["uniformer_dense", "davit_dense"])
def test_the_normed_maps_of_a_backbone(name: str) -> None:
    weights, cases = load(name)
    head = HEADS("semantic_fpn", norm=NORMS("layer_norm", eps=1e-6))
    architecture, backbone = {
        "uniformer_dense": (small_uniformer(head), uniformer.dense_uniformer), "davit_dense": (small_davit(), davit.dense_davit),
    }[name]  # fmt: skip
    network = build_network(architecture).eval()
    missing, unexpected = network.load_state_dict(renamed(backbone(architecture)).convert(weights), strict=False)
    assert not unexpected
    assert all(key.startswith("head.") or ".linear." in key for key in missing)
    for (images,), expected in cases:
        with torch.no_grad():
            for map_BCHW, tap, one in zip(network.forward_features(images), network.taps, expected, strict=True):
                assert_same(tap.norm(last(map_BCHW)), one)


def small_topformer() -> Architecture:
    mixer = MIXERS("bn_conv_attention", key_dim=16, num_heads=4)
    blocks = (BlockSpec(mixer=mixer, ffn=FFNS("dw_ffn", ratio=2)),) * 2
    stem = STEMS("token_pyramid", widths=(8, 16, 24, 32), pool_stride=2)
    head = HEADS("semantics_injection", width=32, depthwise=True)
    return Architecture(image_size=128, num_classes=19, stem=stem, stages=(StageSpec(width=80, blocks=blocks),), head=head)


def test_whole_segmentation_networks() -> None:
    fpn = HEADS("semantic_fpn", width=24, hidden=16, norm=NORMS("layer_norm", eps=1e-6))
    for name, architecture in (("topformer_seg", small_topformer()), ("uniformer_fpn_seg", small_uniformer(fpn))):
        weights, cases = load(name)
        network = build_network(architecture).eval()
        with pytest.warns(UserWarning, match="head sizes") if name.startswith("uniformer") else torch.no_grad():
            assert load_official(network, weights) == len(weights)
        for (images,), (expected,) in cases:
            with torch.no_grad():
                assert_same(last(network(images)), expected)


def test_every_window_has_the_same_weights() -> None:
    networks = [build_network(small_uniformer(HEADS("norm_pool_head"), window_size=size)).eval() for size in (0, 5, 64)]
    for other in networks[1:]:
        other.load_state_dict(networks[0].state_dict())
    images = torch.randn(1, 3, 128, 128)
    with torch.no_grad():
        whole, small, _ = (network(images) for network in networks)
    assert not torch.allclose(whole, small)
    labels = {MIXERS("global_mhra", window_size=size).operator for size in (0, 5, 64)}
    assert len(labels) == 1
