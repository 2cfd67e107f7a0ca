"""A drawing shows every block to scale, in the same bytes for the same architecture, and a new mixer in a colour of its own."""

import re
import xml.etree.ElementTree as ElementTree
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from torch import nn

from nas.draw.__main__ import main
from nas.draw.layout import DARK_FILL, ENCODING, HEIGHT, Box, Drawing, lay_out
from nas.draw.nearest import difference_in_words
from nas.draw.palette import fill_of
from nas.draw.rendering import drawing_of
from nas.draw.svg import svg_of
from proxies.macs import cost_of, part_cost
from space import Architecture, dump_architecture, load_architecture, parent_names
from space.kinds import MIXERS, NORMS
from tests.nas.conftest import Mistaken
from tests.space.examples import SPACES, hand_built, sampled

SVG = "{http://www.w3.org/2000/svg}"
SMALL = SPACES["hybrid-32"].smallest()


@settings(max_examples=6)
@given(architecture=sampled | hand_built)
def test_any_architecture_is_drawn_twice_alike(architecture: Architecture) -> None:
    text = drawing_of(architecture)
    assert text.startswith("<svg")
    words = " ".join(ElementTree.fromstring(text).itertext())
    for stage in architecture.stages:
        assert f"{stage.width} channels" in words
        assert all(block.mixer.type in words for block in stage.blocks)
    assert str(cost_of(architecture)) in words
    assert drawing_of(architecture) == text


@pytest.mark.parametrize("name", parent_names())
def test_boxes_are_as_wide_as_their_multiply_adds_and_all_of_one_height(name: str) -> None:
    architecture = load_architecture(name)
    macs: Counter[str] = Counter()
    for part in architecture.parts:
        if not part.path.endswith(".norm"):
            macs[".".join(part.path.split(".")[:4])] += part_cost(part).macs
    drawing = lay_out(architecture)
    boxes = {box.part: box for box in drawing.boxes if box.part}
    widths: Counter[str] = Counter()
    for path, box in boxes.items():
        # A pyramid has a box a scale.
        widths["stem" if path.startswith("stem") else path] += box.width
    assert widths.keys() == macs.keys()
    widest, greatest = max(widths.values()), max(macs.values())
    assert all(widths[path] / widest == pytest.approx(macs[path] / greatest) for path in macs)
    assert {box.height for box in boxes.values()} == {HEIGHT}
    assert all(box.x >= 0 and box.x + box.width <= drawing.width + 1e-6 and box.y + box.height <= drawing.height for box in drawing.boxes)


@pytest.mark.parametrize("name", parent_names())
def test_every_positional_encoding_is_a_line_in_its_block(name: str) -> None:
    architecture = load_architecture(name)
    blocks = [block for stage in architecture.stages for block in stage.blocks]
    expected = sum(spec.type != "none" for block in blocks for spec in (block.position, block.ffn_position))
    drawing = lay_out(architecture)
    assert sum(box.fill == DARK_FILL and box.height == ENCODING for box in drawing.boxes) == expected
    assert ("line: DPE" in {text.content for text in drawing.texts}) == (expected > 0)


def test_a_pyramid_is_opened() -> None:
    drawing = lay_out(load_architecture("topformer-t"))
    scales = [box for box in drawing.boxes if box.part.startswith("stem.scales.")]
    assert len(scales) == 4
    assert all(box.width > 0 for box in scales)
    assert "stem: token_pyramid, 4 scales" in {text.content for text in drawing.texts}


@pytest.mark.parametrize("name", ["davit-t", "uniformer-s-plus", "topformer-b-seg"])
def test_a_published_network_is_most_like_itself_and_a_changed_one_nearly_so(name: str) -> None:
    architecture = load_architecture(name)
    assert difference_in_words(architecture).startswith("all its mixers are those of ")
    first, *stages = architecture.stages
    others = (MIXERS("local_mhra", kernel_size=5), MIXERS("ssa", sr_ratio=1))
    other = next(spec for spec in others if spec.type != first.blocks[0].mixer.type)
    blocks = (first.blocks[0].replace(mixer=other), *first.blocks[1:])
    changed = architecture.replace(stages=(first.replace(blocks=blocks), *stages))
    total = architecture.depth
    assert re.fullmatch(rf"most like \S+ \(depths [\d-]+\): {total - 1} of {total} blocks have its mixer", difference_in_words(changed))


def test_mixers_are_told_apart_and_a_new_one_gets_a_look_of_its_own() -> None:
    names = [f"new_{number}" for number in range(5)]
    for name in names:
        MIXERS.register(name, norm=NORMS("none"))(type(name, (nn.Identity,), {"__init__": lambda self, dim: None}))
    try:
        fills = [fill_of(name) for name in MIXERS.names()]
    finally:
        for name in names:
            MIXERS.unregister(name)
    assert len(set(fills)) == len(fills)
    boxes = tuple(Box(0, 10.0 * number, 10, 10, fill) for number, fill in enumerate(fills))
    looks = [rect.get("fill") for rect in ElementTree.fromstring(svg_of(Drawing(10, 200, boxes, ()))).iter(f"{SVG}rect")]
    assert len(set(looks) - {"white"}) == len(fills)


@pytest.mark.parametrize(("suffix", "start"), [("svg", b"<?xml"), ("png", b"\x89PNG"), ("pdf", b"%PDF")])
def test_the_ending_tells_the_format(suffix: str, start: bytes, tmp_path: Path) -> None:
    (tmp_path / "small.yaml").write_text(dump_architecture(SMALL))
    contents = []
    for name in ("one", "two"):
        output = tmp_path / f"{name}.{suffix}"
        assert main([str(tmp_path / "small.yaml"), "-o", str(output)]) == 0
        contents.append(output.read_bytes())
    assert contents[0] == contents[1]
    assert contents[0].startswith(start)


def test_colours_are_in_the_drawing() -> None:
    assert fill_of(SMALL.stages[0].blocks[0].mixer.type).colour in drawing_of(SMALL)


def test_a_dry_run_writes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["topformer-t", "-o", str(tmp_path / "drawing.svg"), "--dry-run"]) == 0
    assert "kB" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []


def test_mistakes_are_one_line(tmp_path: Path, mistaken: Mistaken) -> None:
    assert "got 'davit', expected one of" in mistaken(main, ["davit", "-o", str(tmp_path / "x.svg")])
    assert "expected a file ending in .svg, .png, .pdf" in mistaken(main, ["davit-t", "-o", str(tmp_path / "x.jpeg")])
    assert "expected one that exists" in mistaken(main, ["davit-t", "-o", str(tmp_path / "none" / "x.svg")])
