"""Which networks every format holds: every operator, every mixer alone and beside all others, random architectures, published networks."""

import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nas.export.by_name import FORMATS, FUSABLE, format_named
from nas.export.program import GraphFormat
from space import BlockSpec, build_network, load_architecture
from space.files import parent_names
from space.kinds import FFNS, HEADS, MIXERS
from space.registry import Spec
from tests.contracts.conftest import specs_of
from tests.nas.exports import exported_of, of_blocks, round_trip, with_metadata, with_operator
from tests.space.examples import SPACES, shortened

pytestmark = pytest.mark.usefixtures("_skip_without_packages_of_format")

FAMILIES = ("uniformer-s-plus", "shunted-t", "topformer-t", "container-light", "davit-t")
MIXERS_AND_FFNS = [pytest.param(spec, id=spec.label) for registry in (MIXERS, FFNS) for spec in specs_of(registry)]
GRAPHS = [name for name in FORMATS if isinstance(format_named(name), GraphFormat)]
# An ONNX graph is made of torch.export's; OpenVINO's is made of it, and tested where it is installed.
GRAPHS_IN_SOAK = [pytest.param(name, marks=pytest.mark.soak if name == "torch-export" else ()) for name in GRAPHS]
FFN_SPECS = tuple(FFNS(name, ratio=1) for name in FFNS.names())


@pytest.mark.parametrize("spec", MIXERS_AND_FFNS)
@pytest.mark.parametrize("name", ["timm", "module"])
def test_every_operator_is_exported(name: str, spec: Spec, tmp_path: Path) -> None:
    architecture = with_operator(spec)
    round_trip(format_named(name), exported_of(architecture), tmp_path / "plain")
    if name in FUSABLE:
        round_trip(format_named(name), exported_of(architecture, fused=True), tmp_path / "fused")


@pytest.mark.parametrize("name", FAMILIES)
def test_every_kind_of_stem_downsampler_and_head_runs_alone(name: str, tmp_path: Path) -> None:
    architecture = shortened(name).replace(image_size=64)
    round_trip(format_named("module"), exported_of(architecture), tmp_path / "plain")
    round_trip(format_named("module"), exported_of(architecture.replace(head=HEADS("token_label_head")), fused=True), tmp_path / "fused")


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("name", parent_names("segmentation"))
def test_networks_that_label_pixels_run_alone(name: str, fused: bool, tmp_path: Path) -> None:
    architecture = shortened(name).replace(image_size=64)
    round_trip(format_named("module"), exported_of(architecture, fused), tmp_path / "export")


@settings(max_examples=3)
@given(name=st.sampled_from(sorted(SPACES)), seed=st.integers(0, 2**32))
def test_any_member_of_a_space_runs_alone(name: str, seed: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    architecture = SPACES[name].replace(image_size=SPACES["hybrid-32"].image_size).sample(random.Random(seed))
    round_trip(format_named("module"), exported_of(architecture), tmp_path_factory.mktemp("export") / "plain")


@pytest.mark.timeout(600)
@pytest.mark.parametrize("kind", MIXERS.names())
@pytest.mark.parametrize("name", GRAPHS_IN_SOAK)
def test_graphs_hold_every_mixer_alone(name: str, kind: str, tmp_path: Path) -> None:
    spec = next(specs_of_kind(kind))
    round_trip(format_named(name), exported_of(of_blocks(BlockSpec(mixer=spec, ffn=FFN_SPECS[0]))), tmp_path / "export")


@pytest.mark.timeout(600)
@pytest.mark.parametrize("fused", [pytest.param(False, marks=pytest.mark.soak, id="plain"), pytest.param(True, id="fused")])
@pytest.mark.parametrize("name", GRAPHS_IN_SOAK)
def test_graphs_hold_all_mixers_in_one_network(name: str, fused: bool, tmp_path: Path) -> None:
    mixers = [next(specs_of_kind(kind)) for kind in MIXERS.names()]
    blocks = [BlockSpec(position="dpe", mixer=mixer, ffn=FFN_SPECS[i % len(FFN_SPECS)]) for i, mixer in enumerate(mixers)]
    # Of these sides none is a multiple of the last stride.
    exported = exported_of(of_blocks(*blocks).replace(image_size=50), fused)
    round_trip(format_named(name), exported, tmp_path / "export")


def specs_of_kind(kind: str) -> Iterator[Spec]:
    return (spec for spec in specs_of(MIXERS) if spec.type == kind)


@pytest.mark.soak
@pytest.mark.timeout(600)
@pytest.mark.parametrize("spec", MIXERS_AND_FFNS)
@pytest.mark.parametrize("name", GRAPHS)
def test_graphs_hold_every_operator(name: str, spec: Spec, tmp_path: Path) -> None:
    round_trip(format_named(name), exported_of(with_operator(spec)), tmp_path / "export")


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("seed", [pytest.param(seed, marks=() if seed == 1 else pytest.mark.soak) for seed in range(50)])
def test_graphs_hold_random_architectures(seed: int, tmp_path: Path) -> None:
    name = sorted(SPACES)[seed % len(SPACES)]
    exported = with_metadata(build_network(SPACES[name].sample(random.Random(seed))).eval())
    round_trip(format_named("onnx"), exported, tmp_path / "export")


@pytest.mark.soak
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("parent", FAMILIES)
@pytest.mark.parametrize("name", FORMATS)
def test_published_networks_are_exported(name: str, parent: str, tmp_path: Path) -> None:
    network = build_network(load_architecture(parent)).eval()
    round_trip(format_named(name), with_metadata(network), tmp_path / "export")
