"""Architectures are values: they compare, hash, print and travel by what they say."""

import copy
import itertools
import pickle
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from space import Architecture, BlockSpec, StageSpec
from space.errors import SpaceError
from space.kinds import FFNS, MIXERS, NORMS, POSITIONS, REGISTRIES, STEMS
from space.registry import Registry

from .examples import hand_built, sampled, tiny_space

BLOCK = BlockSpec(mixer=MIXERS("global_mhra"), ffn=FFNS("mlp", ratio=2))


@given(hand_built)
def test_the_fingerprint_depends_on_all_but_the_name(architecture: Architecture) -> None:
    renamed = architecture.replace(name=architecture.name + "'")
    assert renamed != architecture
    assert renamed.fingerprint == architecture.fingerprint
    for change in ({"image_size": architecture.image_size + 1}, {"num_classes": 21}, {"in_chans": 1}):
        assert architecture.replace(**change).fingerprint != architecture.fingerprint


def test_the_fingerprint_is_the_same_in_another_process() -> None:
    code = ("from space import *; from space.kinds import *;"
            "b = BlockSpec(mixer=MIXERS('global_mhra'), ffn=FFNS('mlp', ratio=2));"
            "print(Architecture(stages=(StageSpec(width=64, blocks=(b,)),)).fingerprint)")
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120).stdout.strip()
    assert printed == Architecture(stages=(StageSpec(width=64, blocks=(BLOCK,)),)).fingerprint


@given(st.one_of(hand_built, sampled))
def test_copies_are_equal(architecture: Architecture) -> None:
    for other in (pickle.loads(pickle.dumps(architecture)), copy.deepcopy(architecture), architecture.replace()):
        assert other == architecture
        assert hash(other) == hash(architecture)


def test_a_value_cannot_be_changed() -> None:
    for value, field in ((BLOCK, "layer_scale"), (BLOCK.mixer, "head_dim")):
        with pytest.raises(ValidationError) as caught:
            setattr(value, field, 16)
        assert [error["type"] for error in caught.value.errors()] == ["frozen_instance"]


@given(hand_built)
def test_parts_follow_each_other(architecture: Architecture) -> None:
    parts = architecture.parts
    assert parts[0].path == "stem"
    assert parts[0].in_size == (architecture.image_size,) * 2
    assert parts[-1].path == "head"
    assert all(before.out_size == after.in_size for before, after in itertools.pairwise(parts))
    assert len({part.path for part in parts}) == len(parts)
    assert sum(part.path.endswith(".mixer") for part in parts) == architecture.depth


def test_a_branch_takes_its_native_norm() -> None:
    def norms(mixer: str, ffn: str, **options: object) -> tuple[str, str]:
        block = BlockSpec(mixer=MIXERS(mixer, **options), ffn=FFNS(ffn, ratio=2))
        return block.mixer_norm.label, block.ffn_norm.label

    assert norms("local_mhra", "mlp", kernel_size=5) == ("batch_norm", "batch_norm")
    assert norms("global_mhra", "ds_ffn") == ("layer_norm(eps=1e-06)", "layer_norm(eps=1e-06)")
    assert norms("window", "dw_ffn") == ("layer_norm", "none")
    # A plain feed-forward network is never without a norm, unless the block says so.
    assert norms("bn_conv_attention", "mlp") == ("none", "batch_norm")
    assert BlockSpec(mixer=MIXERS("bn_conv_attention"), ffn=FFNS("mlp", ratio=2), norm=NORMS("none")).ffn_norm.type == "none"


def test_blocks_may_be_listed() -> None:
    assert StageSpec(width=64, blocks=[BLOCK, BLOCK]) == StageSpec(width=64, blocks=(BLOCK, BLOCK))


@pytest.mark.parametrize(("change", "message"), [
    ({"stages": ()}, "at least 1"),
    ({"image_size": 31}, "greater than or equal to 32"),
    ({"stages": (StageSpec(width=64, blocks=(BLOCK,)),) * 2}, r"stages\[1\]\.downsample: got none, expected one"),
    ({"stages": (StageSpec(width=64, blocks=(BLOCK,), downsample="conv_downsample"),)}, r"stages\[0\]\.downsample: got one, expected none"),
    ({"stages": (StageSpec(width=40, blocks=(BLOCK,)),)}, r"stages\[0\]\.blocks\[0\]\.mixer: global_mhra: got width 40, expected"),
    ({"stages": (StageSpec(width=33, blocks=(BLOCK,)),)}, "stem: conv_stem: got width 33, expected an even one"),
])
def test_an_impossible_architecture_says_where(change: dict, message: str) -> None:
    with pytest.raises(SpaceError, match=message):
        Architecture(stages=(StageSpec(width=64, blocks=(BLOCK,)),)).replace(**change)


def test_shunted_attention_needs_a_map_to_merge() -> None:
    block = BlockSpec(mixer=MIXERS("ssa", sr_ratio=8), ffn=FFNS("mlp", ratio=2))
    stage = StageSpec(width=64, blocks=(block,))
    assert Architecture(image_size=32, stages=(stage,))
    with pytest.raises(ValidationError, match=r"stages\[0\]\.blocks\[0\]\.mixer: .*: got a 7x7 map, expected at least 8x8"):
        Architecture(image_size=35, stem={"type": "patch_stem", "patch_size": 5}, stages=(stage,))


@pytest.mark.parametrize("name", POSITIONS.names())
def test_a_spec_of_another_registry_is_not_taken_for_one(name: str) -> None:
    with pytest.raises(ValidationError, match=r"(?s)mixer.*expected one of"):
        BlockSpec(mixer=POSITIONS(name), ffn=FFNS("mlp", ratio=2))


def test_a_change_that_is_impossible_says_why() -> None:
    """As a search finds architectures at 224 px, and looks whether they stand at the size of its data."""
    ssa = BlockSpec(mixer=MIXERS("ssa", sr_ratio=8), ffn=FFNS("mlp", ratio=2))
    stages = (StageSpec(width=64, downsample=None, blocks=(BLOCK,)), StageSpec(width=64, downsample="conv_downsample", blocks=(ssa,)))
    architecture = Architecture(stem=STEMS("conv_stem", stride=4), stages=stages, image_size=64)
    with pytest.raises(SpaceError, match=r"stages\[1\].blocks\[0\].mixer: ssa\(sr_ratio=8.*\): got a 4x4 map") as caught:
        architecture.replace(image_size=32)
    assert "\n" not in str(caught.value)


VALUES = {
    "space": tiny_space(), "stage": tiny_space().stages[0], "architecture": tiny_space().smallest(), "block": BLOCK, "mixer": BLOCK.mixer,
}  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "changes", "expected"),
    [
        ("space", {"image_size": 7}, "tiny: image_size: got 7, expected a value greater than or equal to 32"),
        ("space", {"image_sise": 64}, "tiny: unknown key 'image_sise'; expected name, image_size"),
        ("space", {"name": "a/b"}, "tiny: name: "),
        ("stage", {"widths": [16, 8]}, "StageChoices: widths: got [16, 8], expected distinct values in ascending order"),
        ("architecture", {"num_classes": "ten"}, "tiny: num_classes: got 'ten', expected an integer"),
        ("block", {"mixer": "sssa"}, "BlockSpec: mixer: got 'sssa', expected one of "),
        ("mixer", {"head_dim": 0}, "head_dim: got 0, expected a value greater than"),
        ("mixer", {"ratio": 2}, "unknown key 'ratio'; expected head_dim"),
    ],
)
def test_every_value_refuses_a_change_in_a_line_with_an_address(kind: str, changes: dict[str, object], expected: str) -> None:
    with pytest.raises(SpaceError) as caught:
        VALUES[kind].replace(**changes)
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)
    assert VALUES[kind].replace() == VALUES[kind]


@pytest.mark.parametrize("registry", REGISTRIES.values(), ids=lambda registry: registry.kind)
def test_a_spec_with_an_option_that_there_is_not_has_an_address(registry: Registry) -> None:
    name = registry.names()[0]
    with pytest.raises(SpaceError, match=f"^{registry.kind}: {name}: unknown key 'no_such'; expected ") as caught:
        registry(name, no_such=1)
    assert "\n" not in str(caught.value)
