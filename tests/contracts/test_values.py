"""What every registered operator promises as a value: names, YAML, documentation."""

import inspect
import re
import sys

import pytest
from pydantic import ValidationError

from space import Architecture, BlockSpec, SpaceError, StageSpec, dump_architecture, load_architecture
from space.kinds import FFNS, NORMS, REGISTRIES, STEMS
from space.registry import Spec

from .conftest import WIDTH, specs_of


def test_it_reads_back_what_it_writes(any_spec: Spec) -> None:
    registry = any_spec.registry
    assert registry.parse(any_spec.to_yaml()) == any_spec
    assert hash(registry.parse(any_spec.to_yaml())) == hash(any_spec)
    assert registry(any_spec.type, **any_spec.options) == any_spec


@pytest.mark.parametrize("kind", REGISTRIES)
def test_labels_tell_values_apart(kind: str) -> None:
    by_label = {}
    for spec in specs_of(REGISTRIES[kind]):
        assert by_label.setdefault(spec.label, spec) == spec
        assert spec.label == REGISTRIES[kind].parse(spec.to_yaml()).label


def test_an_architecture_with_this_mixer_survives_yaml(mixer_spec: Spec, tmp_path) -> None:
    block = BlockSpec(mixer=mixer_spec, ffn=FFNS("mlp", ratio=2))
    architecture = Architecture(stages=(StageSpec(width=WIDTH, blocks=(block, block)),))
    path = tmp_path / "architecture.yaml"
    path.write_text(dump_architecture(architecture))
    assert load_architecture(path) == architecture
    assert load_architecture(path).fingerprint == architecture.fingerprint


def test_an_unknown_option_is_refused_with_its_address(mixer_spec: Spec, tmp_path) -> None:
    path = tmp_path / "architecture.yaml"
    options = {**mixer_spec.options, "colour": 3}
    inside = ", ".join(f"{key}: {value}" for key, value in options.items() if value is not None)
    path.write_text(f"""schema: architecture/1
stages:
- width: {WIDTH}
  blocks:
  - {{mixer: {{type: {mixer_spec.type}, {inside}}}, ffn: {{type: mlp, ratio: 2}}}}
""")
    with pytest.raises(SpaceError, match=re.escape(f"{path}: stages[0].blocks[0].mixer: unknown key 'colour'; expected ")):
        load_architecture(path)


def test_a_width_that_does_not_fit_has_an_address(mixer_spec: Spec) -> None:
    block = BlockSpec(mixer=mixer_spec, ffn=FFNS("mlp", ratio=2))
    try:
        mixer_spec.check(61, 56, 56)
    except ValueError as refusal:
        with pytest.raises(ValidationError, match=re.escape(f"stages[0].blocks[0].mixer: {mixer_spec.label}: {refusal}")):
            Architecture(stem=STEMS("patch_stem"), stages=(StageSpec(width=61, blocks=(block,)),))
    else:
        assert Architecture(stem=STEMS("patch_stem"), stages=(StageSpec(width=61, blocks=(block,)),))


def test_every_option_is_documented(any_spec: Spec) -> None:
    text = inspect.getdoc(any_spec.factory) or ""
    assert text, any_spec.type
    undocumented = [name for name in any_spec.options if not re.search(rf"\b{name}\b", text)]
    assert not undocumented, f"{any_spec.type}: the docstring of its class does not mention {undocumented}"


def test_a_mixer_names_its_paper_and_its_norm(mixer_spec: Spec) -> None:
    assert re.match("https://", mixer_spec.paper)
    assert mixer_spec.paper in (sys.modules[mixer_spec.factory.__module__].__doc__ or ""), "the file's header links the paper"
    assert NORMS.parse(mixer_spec.traits["norm"])


def test_a_feed_forward_network_names_its_paper_and_its_norm(ffn_spec: Spec) -> None:
    assert re.match("https://", ffn_spec.paper)
    norm = ffn_spec.traits["norm"]
    assert norm is None or NORMS.parse(norm) == norm
