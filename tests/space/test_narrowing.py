"""Part of a space, by what stays of its choices."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from space.errors import SpaceError
from space.files import load_space, space_names
from space.narrowing import Narrowing, narrowed

TEXTS = ["mixer=ssa", "mixer=ssa(sr_ratio=2),window", "stage3.mixer=window", "ffn=dw_ffn", "stage1.depth=1,2", "width=64", "head=fcn_head"]


@pytest.mark.parametrize("text", TEXTS)
def test_what_is_written_is_read_again(text: str) -> None:
    assert str(Narrowing.parse(text)) == text


@pytest.mark.parametrize(
    "text", ["", "ssa", "mixer", "mixer=", "blocks=2", "stage3.stem=conv_stem", "stage.mixer=ssa", "stage3.block1.mixer=ssa"]
)
def test_anything_else_is_named(text: str) -> None:
    with pytest.raises(ValueError, match=r"got .*, expected KIND=OPTION"):
        Narrowing.parse(text)


@pytest.mark.parametrize("name", space_names())
@given(data=st.data())
def test_members_are_those_of_the_space_that_choose_what_stays(name: str, data: st.DataObject) -> None:
    space = load_space(name)
    slot = data.draw(st.sampled_from([slot for slot in space.slots if slot.count(".") == 1]))
    kept = data.draw(st.lists(st.sampled_from(space.slots[slot]), min_size=1, unique=True))
    part = narrowed(space, [Narrowing.parse(f"{slot}={','.join(map(str, kept))}")])
    assert set(part.slots[slot]) == set(kept)
    # A stage of less depth has fewer blocks to choose for.
    assert {other: options for other, options in part.slots.items() if other != slot}.items() <= space.slots.items()
    assert space.contains(part.sample(random.Random(0)))


@pytest.mark.parametrize("name", space_names())
def test_every_option_is_named_by_its_label(name: str) -> None:
    space = load_space(name)
    for kind, offered in (("mixer", space.mixers[0]), ("ffn", space.stages[0].ffns), ("position", space.stages[0].positions)):
        for option in offered:
            narrowing = Narrowing(kind, (option.label,), 1)
            part = narrowed(space, [narrowing])
            assert part == narrowed(space, [Narrowing.parse(str(narrowing))])
            assert {options for slot, options in part.slots.items() if slot.startswith("stage1.") and slot.endswith(f".{kind}")} == {
                (option.label,)
            }


def test_an_operators_name_stands_for_all_its_options() -> None:
    part = narrowed(load_space("hybrid-224"), [Narrowing.parse("mixer=local_mhra,ssa"), Narrowing.parse("stage2.ffn=mlp")])
    assert {mixer.type for mixers in part.mixers for mixer in mixers} == {"local_mhra", "ssa"}
    assert {ffn.type for ffn in part.stages[1].ffns} == {"mlp"} != {ffn.type for ffn in part.stages[0].ffns}
    assert part == narrowed(part, [Narrowing.parse("mixer=local_mhra,ssa")])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("mixer=convolution", r"only: mixer=convolution: got none that stage 1 offers, expected some of .*local_mhra"),
        ("stage9.mixer=ssa", r"only: stage9.mixer=ssa: got stage 9, expected one from 1 to 4 of hybrid-224"),
        ("stage1.width=63", r"only: stage1.width=63: got none that stage 1 offers, expected some of .*64"),
    ],
)
def test_what_leaves_nothing_is_refused_in_a_line(text: str, message: str) -> None:
    with pytest.raises(SpaceError, match=message):
        narrowed(load_space("hybrid-224"), [Narrowing.parse(text)])
