"""What a file says is what one gets back, and a mistake in it has an address."""

import errno
import itertools
import os
import re
import tempfile
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from space import (
    Architecture,
    SearchSpace,
    SpaceError,
    dump_architecture,
    dump_space,
    load_architecture,
    load_provenance,
    load_space,
    space_names,
)
from space.files import MAX_FILE_BYTES, parse_space, write_atomically
from space.names import as_name
from space.yaml_text import MAX_NODES

from .examples import SPACES, hand_built, sampled, tiny_space

ARCHITECTURE = """schema: architecture/1
name: example
image_size: 64
stem: {type: conv_stem}
stages:
- width: 64
  blocks:
  - {mixer: {type: local_mhra, kernel_size: 3}, ffn: {type: mlp, ratio: 4}, layer_scale: 1e-6, repeat: 2}
- width: 96
  downsample: conv_downsample
  blocks:
  - {position: dpe, mixer: {type: ssa, sr_ratio: 4}, ffn: {type: ds_ffn, ratio: 2}}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "found.yaml"


@given(architecture=st.one_of(hand_built, sampled))
def test_an_architecture_reads_back_as_itself(architecture: Architecture, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("yaml") / "a.yaml"
    path.write_text(dump_architecture(architecture, {"seed": 3}), encoding="utf-8")
    again = load_architecture(path)
    assert again == architecture
    assert again.fingerprint == architecture.fingerprint
    assert load_provenance(path) == {"seed": 3}


@given(hand_built)
def test_equal_blocks_in_a_row_are_written_once(architecture: Architecture) -> None:
    for stage, written in zip(architecture.stages, yaml.safe_load(dump_architecture(architecture))["stages"], strict=True):
        runs = [{key: value for key, value in entry.items() if key != "repeat"} for entry in written["blocks"]]
        assert all(a != b for a, b in itertools.pairwise(runs))
        assert sum(entry.get("repeat", 1) for entry in written["blocks"]) == len(stage.blocks)


def test_an_architecture_writes_out_every_option_of_its_operators(file: Path) -> None:
    file.write_text(ARCHITECTURE)
    block = yaml.safe_load(dump_architecture(load_architecture(file)))["stages"][1]["blocks"][0]
    assert block["mixer"] == {"type": "ssa", "sr_ratio": 4, "head_dim": 32}


def test_a_file_may_leave_out_what_has_a_default(file: Path) -> None:
    file.write_text(ARCHITECTURE)
    architecture = load_architecture(file)
    assert architecture.num_classes == 1000
    assert [len(stage.blocks) for stage in architecture.stages] == [2, 1]
    assert architecture.stages[0].blocks[0].layer_scale == 1e-6
    assert load_provenance(file) == {}


@pytest.mark.parametrize("name", space_names())
def test_a_named_space_reads_back_as_itself(name: str, file: Path) -> None:
    file.write_text(dump_space(SPACES[name]))
    assert load_space(file) == SPACES[name]
    assert parse_space(file.read_text(), "text") == SPACES[name]


def test_a_space_in_code_reads_back_as_itself() -> None:
    assert parse_space(dump_space(tiny_space()), "text") == tiny_space()


@pytest.mark.parametrize(("old", "new", "message"), [
    ("sr_ratio: 4", "sr_ration: 4", "stages[1].blocks[0].mixer: unknown key 'sr_ration'; expected sr_ratio, head_dim"),
    ("sr_ratio: 4", "sr_ratio: 3", "stages[1].blocks[0].mixer.sr_ratio: got 3, expected 1, 2, 4"),
    (", sr_ratio: 4", "", "stages[1].blocks[0].mixer: missing key 'sr_ratio'"),
    ("type: ssa", "type: sse", "stages[1].blocks[0].mixer: got 'sse', expected one of "),
    ("type: ssa, ", "", "stages[1].blocks[0].mixer: got {'sr_ratio': 4}, expected a mapping with the key 'type'"),
    ("ratio: 4}", "ratio: four}", "stages[0].blocks[0].ffn.ratio: got 'four', expected an integer"),
    ("ratio: 4}", "ratio: 4.0}", "stages[0].blocks[0].ffn.ratio: got 4.0, expected an integer"),
    ("ratio: 4}", "ratio: 999999}", "stages[0].blocks[0].ffn.ratio: got 999999, expected a value less than"),
    ("width: 64", "width: true", "stages[0].width: got True, expected an integer"),
    ("width: 64", "width: 0", "stages[0].width: got 0, expected a value greater than or equal to 1"),
    ("width: 64", "wdth: 64", "stages[0]: unknown key 'wdth'; expected width, downsample, blocks, norm"),
    ("width: 64", "width: 64\n  type: wide", "stages[0]: unknown key 'type'; expected width, downsample, blocks, norm"),
    ("- width: 64", "- 64\n- width: 64", "stages[0]: got 64, expected a mapping"),
    ("repeat: 2", "repeat: 1000000", "stages[0].blocks[0].repeat: got 1000000, expected a value less than or equal to 128"),
    ("layer_scale: 1e-6", "layer_scale: .nan", "stages[0].blocks[0].layer_scale: got nan, expected "),
    ("  downsample: conv_downsample\n", "", "stages[1].downsample: got none, expected one such as conv_downsample"),
    ("width: 96", "width: 100", "stages[1].blocks[0].mixer: ssa(sr_ratio=4): got width 100, expected a multiple of the head size 32"),
    ("sr_ratio: 4", "sr_ratio: 8, head_dim: 96", "stages[1].blocks[0].mixer: ssa(sr_ratio=8, head_dim=96): got width 96, one head"),
    ("name: example", "name: example\nname: other", "not valid YAML: line 3: the key 'name' is there twice"),
    ("width: 96", "width: 96\n  width: 64", "not valid YAML: line 10: the key 'width' is there twice"),
    ("name: example", "name: [example", "not valid YAML: line "),
    ("image_size: 64", "image_size: " + "9" * 5000, "not valid YAML: line 3: got a number of 5000 digits, expected at most 40"),
    ("image_size: 64", "image_size: 2001-99-99", "not valid YAML: line 3: got '2001-99-99', expected 'timestamp'"),
    ("architecture/1", "architecture/2", "schema: got 'architecture/2', expected 'architecture/1'"),
    ("schema: architecture/1\n", "", "schema: got None, expected 'architecture/1'"),
])
def test_a_mistake_has_an_address(file: Path, old: str, new: str, message: str) -> None:
    assert old in ARCHITECTURE
    file.write_text(ARCHITECTURE.replace(old, new, 1))
    with pytest.raises(SpaceError, match="^" + re.escape(f"{file}: {message}")) as caught:
        load_architecture(file)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("content", "message"), [
    ("", "schema: got 'NoneType', expected 'architecture/1'"),
    ("- 1\n- 2\n", "schema: got 'list', expected 'architecture/1'"),
    ("just text", "schema: got 'str', expected 'architecture/1'"),
    ("a: b: c", "not valid YAML: line 1: "),
    ("!!python/object/apply:os.system [ls]", "not valid YAML: line 1: "),
    ("\x00", "not valid YAML: "),
    (b"\xff\xfe\xfa", "cannot be read: not UTF-8 text"),
    # So deep that PyYAML may refuse them before we count.
    ("[" * 900_000, "not valid YAML: line 1: "),
    ("- " * 450_000, "not valid YAML: line 1: "),
    ("[" * 51 + "]" * 51, "not valid YAML: line 1: got 51 levels of lists and mappings, expected at most 50"),
    ("- " * 51, "not valid YAML: line 1: got 51 levels of lists and mappings, expected at most 50"),
    ("x" * (MAX_FILE_BYTES + 1), f"got a larger file, expected at most {MAX_FILE_BYTES} bytes"),
    ("schema: architecture/1\nstages: &a [*a]\n", "not valid YAML: line 2: got an alias inside its own anchor"),
    ("schema: architecture/1\na: &a {x: y}\nstages: [*b]\n", "not valid YAML: line 3: "),
])
def test_what_is_no_architecture_says_so(file: Path, content: str | bytes, message: str) -> None:
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(SpaceError, match="^" + re.escape(f"{file}: {message}")):
        load_architecture(file)


def test_a_bomb_of_aliases_is_refused_unexploded(file: Path) -> None:
    rows = ["schema: architecture/1", f"a0: &a0 [{', '.join('x' * 10)}]"]
    rows += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 30)]
    file.write_text("\n".join([*rows, "stages: *a29"]))
    with pytest.raises(SpaceError, match=f"line 6: got more values, expected at most {MAX_NODES} with all aliases written out"):
        load_architecture(file)


def test_aliases_nest_no_deeper_than_brackets(file: Path) -> None:
    rows = ["schema: architecture/1", "a0: &a0 []", *(f"a{i}: &a{i} [*a{i - 1}]" for i in range(1, 5000))]
    file.write_text("\n".join(rows))
    with pytest.raises(SpaceError, match="line 52: got 51 levels of lists and mappings, expected at most 50 with all aliases written out"):
        load_architecture(file)


@pytest.mark.parametrize(("scalar", "message"), [
    ("0x" + "f" * 5000, "got a number of 5002 digits, expected at most 40"),
    ("1" + ":1" * 5000, "got a number of 10001 digits, expected at most 40"),
    ("1" + ":1" * 500 + ".5", "got a number of 1003 digits, expected at most 40"),
    ("!!timestamp foo", "got 'foo', expected 'timestamp'"),
    ("!!int ''", "got '', expected 'int'"),
    ("!!float _", "got '_', expected 'float'"),
    ("!!bool foo", "got 'foo', expected 'bool'"),
    ("!!binary '@@'", None),
    ("!!set {a: b}", None),
    ("'" + "x" * 100_000 + "'", None),
    ("\"\\ud800\"", ""),
])
def test_what_yaml_makes_of_a_scalar_is_never_a_traceback(file: Path, scalar: str, message: str | None) -> None:
    file.write_text(ARCHITECTURE.replace("image_size: 64", f"image_size: {scalar}"))
    expected = f"{file}: image_size: got " if message is None else f"{file}: not valid YAML: line 3: {message}"
    with pytest.raises(SpaceError, match="^" + re.escape(expected)) as caught:
        load_architecture(file)
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize("name", ["../../x", "/etc/passwd", "a/b", "..", ".hidden", "a\\b", "", "a\0b", "a\nb", "\x1b[31m",
                                  "x" * 5000, "\u202ex", "é" * 51])
@pytest.mark.parametrize("kind", ["architecture", "space"])
def test_a_name_is_no_path(kind: str, name: str) -> None:
    values = yaml.safe_load(ARCHITECTURE) if kind == "architecture" else yaml.safe_load(dump_space(tiny_space()))
    values["name"] = name
    with pytest.raises(SpaceError, match=r"name: got .*, expected 1 to 100 bytes of printable text without slashes") as caught:
        load_text(kind, yaml.safe_dump(values))
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 300
    values["name"] = as_name(name)
    assert load_text(kind, yaml.safe_dump(values, allow_unicode=True)).name == as_name(name)


def load_text(kind: str, text: str) -> Architecture | SearchSpace:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "file.yaml")
        file.write_text(text, encoding="utf-8")
        return load_architecture(file) if kind == "architecture" else load_space(file)


@pytest.mark.parametrize("name", ["mine [bold]", "CvT-13 (ours)", "4.5GFLOPs 12ms@cpu:1t", "架构", "x" * 100])
def test_names_for_people_stay_as_they_are(name: str) -> None:
    assert as_name(name) == name
    assert tiny_space().replace(name=name).name == name


@given(st.text())
def test_any_text_has_a_nearest_name(text: str) -> None:
    name = as_name(text)
    assert as_name(name) == name
    assert tiny_space().replace(name=name).name == name
    assert Path("runs", f"{name}.yaml").resolve().parent == Path("runs").resolve()


@pytest.mark.parametrize(("old", "new", "message"), [
    ("image_size: 64", "image_size: 1000000000", "image_size: got 1000000000, expected a value less than or equal to 4096"),
    ("width: 64", "width: 1000000000000", "stages[0].width: got 1000000000000, expected a value less than or equal to 8192"),
    ("repeat: 2", "repeat: 1000000000", "stages[0].blocks[0].repeat: got 1000000000, expected a value less than or equal to 128"),
    ("image_size: 64", "num_classes: 1000000000", "num_classes: got 1000000000, expected a value less than or equal to 100000"),
    ("image_size: 64", "image_size: 4096\nin_chans: 8192", "stem: conv_stem: got a 4096x4096 map of 8192 channels, expected "),
    ("stem: {type: conv_stem}", "stem: {type: patch_stem, patch_size: 1}\nhead: token_label_head\nnum_classes: 100000",
     "head: token_label_head: got 100000 classes at a 64x64 map"),
    ("{type: local_mhra, kernel_size: 3}", "{type: bn_conv_attention, key_dim: 1024, value_ratio: 1024, num_heads: 1024}",
     "stages[0].blocks[0].mixer: bn_conv_attention(key_dim=1024, value_ratio=1024, num_heads=1024): got 1024 heads of 1048576 values"),
    ("layer_scale: 1e-6", "layer_scale: 1e300", "stages[0].blocks[0].layer_scale: got 1e+300, expected a value less than or equal to 1000"),
    ("layer_scale: 1e-6", "norm: {type: batch_norm, eps: 1e300}", "stages[0].blocks[0].norm.eps: got 1e+300, expected a value less than"),
])
def test_sizes_that_no_machine_holds_are_refused(file: Path, old: str, new: str, message: str) -> None:
    text = ARCHITECTURE.replace(old, new, 1)
    file.write_text(text if "token_label" not in new else text[: text.index("- width: 96")])
    with pytest.raises(SpaceError, match="^" + re.escape(f"{file}: {message}")):
        load_architecture(file)


@pytest.mark.parametrize(("name", "code"), [("missing.yaml", errno.ENOENT), (".", errno.EISDIR)])
def test_what_cannot_be_read_says_why(tmp_path: Path, name: str, code: int) -> None:
    with pytest.raises(SpaceError, match=f"^{re.escape(f'{tmp_path / name}: cannot be read: {os.strerror(code)}')}$"):
        load_architecture(tmp_path / name)


def test_an_unknown_space_lists_the_named_ones() -> None:
    with pytest.raises(SpaceError, match=r"space: got 'hybird-224', expected one of hybrid-224, hybrid-32, .* or a YAML file"):
        load_space("hybird-224")


@pytest.mark.parametrize(("change", "message"), [
    ({"widths": [64, 32]}, r"stages\[0\]\.widths: got \[64, 32\], expected distinct values in ascending order"),
    ({"widths": []}, r"stages\[0\]\.widths: got 0 entries, expected at least 1"),
    ({"widths": ["64"]}, r"stages\[0\]\.widths\[0\]: got '64', expected an integer"),
    ({"mixers": ["window", "window"]}, r"stages\[0\]\.mixers: got window twice, expected distinct choices"),
    ({"mixers": "window"}, r"stages\[0\]\.mixers: got 'window', expected a list"),
    ({"mixers": [{"type": "ssa", "sr_ratio": [1, 3]}]}, r"stages\[0\]\.mixers\.sr_ratio: got 3, expected 1, 2, 4"),
    ({"mixers": [{"type": "global_mhra", "head_dim": list(range(1, 2000))}]}, r"stages\[0\]\.mixers: got more than 1000 combinations"),
    ({"mixers": [{"type": "global_mhra", "head_dim": 48}]}, r"stages\[0\]\.mixers: none of them can run at a 56x56 map"),
    ({"depths": [0]}, r"stages\[0\]\.depths\[0\]: got 0, expected a value greater"),
    ({"depth": [1]}, r"stages\[0\]: unknown key 'depth'; expected widths, depths"),
    ({"downsample": "conv_downsample"}, r"stages\[0\]\.downsample: got one, expected none"),
    ({"widths": [33], "mixers": [{"type": "local_mhra", "kernel_size": 3}]}, r"stages\[0\]\.widths: conv_stem: got width 33, expected"),
])
def test_a_mistake_in_a_space_has_an_address(change: dict[str, Any], message: str) -> None:
    stage = {"widths": [64], "depths": [1], "mixers": ["window"], "ffns": [{"type": "mlp", "ratio": 4}]} | change
    text = yaml.safe_dump({"schema": "search-space/1", "name": "mine", "stages": [stage]})
    with pytest.raises(SpaceError, match=f"^mine.yaml: {message}"):
        parse_space(text, "mine.yaml")


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "best.yaml"
    write_atomically(path, "old")
    with pytest.raises(TypeError):
        write_atomically(path, None)  # type: ignore[arg-type]
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
