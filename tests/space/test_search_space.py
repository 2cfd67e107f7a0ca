"""A space is what `decide` can build, whoever chooses."""

import itertools
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from space import Architecture, BlockSpec, SearchSpace, SpaceError, StageChoices, StageSpec
from space.kinds import FFNS, MIXERS

from .examples import SPACES, hand_built, tiny_space

TINY = tiny_space()


def all_answers(space: SearchSpace) -> list[dict[str, str | int]]:
    return [dict(zip(space.slots, answers, strict=True)) for answers in itertools.product(*space.slots.values())]


MEMBERS = {space_answers: TINY.replay(dict(space_answers)) for space_answers in (tuple(answers.items()) for answers in all_answers(TINY))}


def test_size_counts_the_distinct_members() -> None:
    assert TINY.size == len(set(MEMBERS.values())) == len({member.fingerprint for member in MEMBERS.values()})
    assert TINY.size < len(MEMBERS), "blocks that a shallow stage drops make several answers one architecture"


def test_parameters_of_a_member_lead_back_to_it() -> None:
    for member in MEMBERS.values():
        parameters = TINY.parameters_of(member)
        assert list(parameters) == list(TINY.slots)
        assert all(parameters[name] in options for name, options in TINY.slots.items())
        assert TINY.replay(parameters) == member


@pytest.mark.parametrize("name", SPACES)
@given(seed=st.integers(0, 2**32))
def test_a_sample_is_a_member(name: str, seed: int) -> None:
    space = SPACES[name]
    architecture = space.sample(random.Random(seed))
    assert space.sample(random.Random(seed)) == architecture
    assert space.contains(architecture)
    assert space.contains(architecture.replace(name="other"))
    assert space.replay(space.parameters_of(architecture)) == architecture


def test_every_member_is_drawn() -> None:
    rng = random.Random(0)
    drawn = {TINY.sample(rng) for _ in range(40 * TINY.size)}
    assert drawn == set(MEMBERS.values())


@given(hand_built)
def test_what_no_answers_lead_to_is_no_member(architecture: Architecture) -> None:
    # Two stages of 64 pixels and more: in none of these spaces.
    assert not any(space.contains(architecture) for space in (TINY, *SPACES.values()))


@pytest.mark.parametrize("change", [
    {"image_size": 64},
    {"num_classes": 3},
    {"head": "pool_norm_head"},
    {"stem": {"type": "conv_stem", "stride": 2}},
])
def test_what_the_space_fixes_decides_membership_too(change: dict) -> None:
    assert TINY.contains(TINY.smallest())
    assert not TINY.contains(TINY.smallest().replace(**change))
    with pytest.raises(SpaceError, match="not a member of the space tiny"):
        TINY.parameters_of(TINY.smallest().replace(**change))


def test_stages_of_unlike_ffns_or_another_depth_are_outside() -> None:
    member = TINY.largest()
    block = member.stages[0].blocks[0]
    other = BlockSpec(position=block.position, mixer=block.mixer, ffn=FFNS("mlp", ratio=1))
    for blocks in ((block, other), (block,) * 3, (other.model_copy(update={"mixer": MIXERS("window")}),)):
        stage = StageSpec(width=32, blocks=blocks)
        assert not TINY.contains(member.replace(stages=(stage, member.stages[1])))
    assert not TINY.contains(member.replace(stages=member.stages[:1]))


@pytest.mark.parametrize("space", [TINY, *SPACES.values()], ids=lambda space: space.name)
def test_every_chooser_is_asked_every_slot_in_the_same_order(space: SearchSpace) -> None:
    for pick in (0, -1):
        asked = {}
        space.decide(lambda name, options, asked=asked, pick=pick: asked.setdefault(name, options)[pick])
        assert list(asked.items()) == list(space.slots.items())
    blocks = sum(stage.depths[-1] for stage in space.stages)
    surroundings = [name for name in ("stem", "head") if len(getattr(space, name)) > 1]
    assert list(space.slots)[: len(surroundings)] == surroundings
    assert len(space.slots) == len(surroundings) + 3 * len(space.stages) + 2 * blocks
    assert all(len(set(options)) == len(options) for options in space.slots.values())


@pytest.mark.parametrize("space", [TINY, *SPACES.values()], ids=lambda space: space.name)
def test_smallest_and_largest_have_the_least_and_greatest_width_and_depth(space: SearchSpace) -> None:
    for index, stage in enumerate(space.stages):
        small, large = space.smallest().stages[index], space.largest().stages[index]
        assert (small.width, len(small.blocks)) == (stage.widths[0], stage.depths[0])
        assert (large.width, len(large.blocks)) == (stage.widths[-1], stage.depths[-1])
    assert space.contains(space.smallest())
    assert space.contains(space.largest())


@pytest.mark.parametrize("space", SPACES.values(), ids=lambda space: space.name)
def test_every_mixer_is_offered_somewhere(space: SearchSpace) -> None:
    offered = {mixer.type for mixers in space.mixers for mixer in mixers}
    assert offered == set(MIXERS.names())


def test_a_mixer_that_cannot_stand_is_not_offered() -> None:
    mixers = [{"type": "ssa", "sr_ratio": [1, 2, 4, 8], "head_dim": [16, 32]}]
    stage = {"depths": (1,), "mixers": mixers, "ffns": ({"type": "mlp", "ratio": 1},)}
    space = SearchSpace(name="narrow", image_size=32, stem={"type": "conv_stem", "stride": 4}, stages=(
        StageChoices(widths=(32, 64), **stage),
        StageChoices(widths=(48, 96), downsample="conv_downsample", **stage),
        StageChoices(widths=(96,), downsample="conv_downsample", **stage),
    ))
    labels = [[mixer.label for mixer in mixers] for mixers in space.mixers]
    # Maps are 8x8, 4x4 and 2x2; one head of 32 channels cannot look at two scales; 48 is no multiple of 32.
    assert labels[0] == ["ssa(sr_ratio=1, head_dim=16)", "ssa(sr_ratio=1)", *(f"ssa(sr_ratio={r}, head_dim=16)" for r in (2, 4, 8))]
    assert labels[1] == [f"ssa(sr_ratio={r}, head_dim=16)" for r in (1, 2, 4)]
    assert labels[2] == [f"ssa(sr_ratio={r}{dim})" for r in (1, 2) for dim in (", head_dim=16", "")]
    assert set(space.slots["stage1.block1.mixer"]) == set(labels[0])


def test_a_list_of_values_is_one_choice_a_combination() -> None:
    stage = StageChoices(widths=(32,), depths=(1,), mixers=("window",), ffns=({"type": ["mlp", "dw_ffn"], "ratio": [2, 4]},))
    assert [ffn.label for ffn in stage.ffns] == ["mlp(ratio=2)", "mlp(ratio=4)", "dw_ffn(ratio=2)", "dw_ffn(ratio=4)"]


def test_replay_names_the_slot_that_does_not_fit() -> None:
    parameters = TINY.parameters_of(TINY.smallest())
    with pytest.raises(SpaceError, match=r"stage1\.block2\.mixer: got 'windw', expected one of channel_group, local_mhra\(kernel_size=3\)"):
        TINY.replay(parameters | {"stage1.block2.mixer": "windw"})
    with pytest.raises(SpaceError, match=r"stage2\.width: missing, expected one of 32, 64"):
        TINY.replay({name: value for name, value in parameters.items() if name != "stage2.width"})


def test_a_space_may_be_narrowed() -> None:
    narrowed = TINY.replace(stages=(TINY.stages[0], TINY.stages[1].model_copy(update={"widths": (32,)})))
    assert narrowed.size == TINY.size // 2
    assert not narrowed.contains(TINY.largest())
