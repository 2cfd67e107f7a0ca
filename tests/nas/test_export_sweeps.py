"""Which networks every format holds: every operator, every mixer alone and beside all others, random architectures, published networks.

Tests with the fixture `_tabled` say in pytest's report which network and format they are about; `experiments/benchmarks/formats.py` makes a
table of that.
"""

import itertools
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from experiments.benchmarks.formats import COLUMNS, INT8, NOT_TRIED, PAGE, RANDOM, of_mixer, sides
from nas.export.by_name import FORMATS, FUSABLE, format_named
from nas.export.format import BATCHES, image_sizes
from nas.export.held_out import one_image
from nas.export.onnx_graph import OnnxGraph, run_of_file
from nas.export.program import GraphFormat
from proxies.latency.int8 import WITH_WEIGHTS, CalibratedGraph
from space import Architecture, BlockSpec, build_network, load_architecture
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
GRAPHS_IN_SOAK, ALL_IN_SOAK = (
    [pytest.param(name, marks=pytest.mark.soak if name == "torch-export" else ()) for name in names] for names in (GRAPHS, FORMATS)
)
FFN_SPECS = tuple(FFNS(name, ratio=1) for name in FFNS.names())


@pytest.fixture
def _tabled(request: pytest.FixtureRequest, record_property: Callable[[str, object], None]) -> None:
    """Says which network and format a test is about: its parameters `mixer` or `network`, else random ones, and `name`, else INT8."""
    params = request.node.callspec.params
    record_property("network", of_mixer(params["mixer"]) if "mixer" in params else params.get("network", RANDOM))
    record_property("format", params.get("name", INT8))


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


@pytest.mark.usefixtures("_tabled")
@pytest.mark.timeout(600)
@pytest.mark.parametrize("mixer", MIXERS.names())
@pytest.mark.parametrize("name", ALL_IN_SOAK)
def test_every_format_holds_every_mixer_alone(name: str, mixer: str, tmp_path: Path) -> None:
    round_trip(format_named(name), exported_of(of_one_mixer(mixer)), tmp_path / "export")


@pytest.mark.soak
@pytest.mark.usefixtures("_tabled")
@pytest.mark.timeout(600)
@pytest.mark.parametrize("mixer", MIXERS.names())
def test_int8_graphs_hold_every_mixer_alone(mixer: str, tmp_path: Path) -> None:
    exported, graph, int8 = exported_of(of_one_mixer(mixer)), OnnxGraph(), tmp_path / "int8.onnx"
    graph.write(exported, tmp_path)
    calibrated = CalibratedGraph(tmp_path / graph.files[0], [{"images": one_image(exported).numpy()}], tmp_path)
    calibrated.write_quantised(WITH_WEIGHTS, int8)
    run = run_of_file(int8)
    with torch.inference_mode():
        expected = exported.network(one_image(exported))
        assert 0 < (run(one_image(exported)) - expected).abs().max() < 0.1 * expected.abs().max()
        for (height, width), batch in itertools.product(image_sizes(graph, exported), BATCHES):
            images_BCHW = torch.randn(batch, 3, height, width)
            assert run(images_BCHW).isfinite().all()
            assert run(images_BCHW).shape == exported.network(images_BCHW).shape


@pytest.mark.timeout(600)
@pytest.mark.parametrize("fused", [pytest.param(False, marks=pytest.mark.soak, id="plain"), pytest.param(True, id="fused")])
@pytest.mark.parametrize("name", GRAPHS_IN_SOAK)
def test_graphs_hold_all_mixers_in_one_network(name: str, fused: bool, tmp_path: Path) -> None:
    mixers = [next(specs_of_kind(kind)) for kind in MIXERS.names()]
    blocks = [BlockSpec(position="dpe", mixer=mixer, ffn=FFN_SPECS[i % len(FFN_SPECS)]) for i, mixer in enumerate(mixers)]
    # Of these sides none is a multiple of the last stride.
    exported = exported_of(of_blocks(*blocks).replace(image_size=50), fused)
    round_trip(format_named(name), exported, tmp_path / "export")


def of_one_mixer(kind: str) -> Architecture:
    """A network with nothing but this mixer to mix tokens."""
    return of_blocks(BlockSpec(mixer=next(specs_of_kind(kind)), ffn=FFN_SPECS[0]))


def specs_of_kind(kind: str) -> Iterator[Spec]:
    return (spec for spec in specs_of(MIXERS) if spec.type == kind)


@pytest.mark.soak
@pytest.mark.timeout(600)
@pytest.mark.parametrize("spec", MIXERS_AND_FFNS)
@pytest.mark.parametrize("name", GRAPHS)
def test_graphs_hold_every_operator(name: str, spec: Spec, tmp_path: Path) -> None:
    round_trip(format_named(name), exported_of(with_operator(spec)), tmp_path / "export")


@pytest.mark.usefixtures("_tabled")
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("seed", [pytest.param(seed, marks=() if seed == 1 else pytest.mark.soak) for seed in range(50)])
@pytest.mark.parametrize("name", ["onnx"])
def test_graphs_hold_random_architectures(name: str, seed: int, tmp_path: Path) -> None:
    space = SPACES[sorted(SPACES)[seed % len(SPACES)]]
    exported = with_metadata(build_network(space.sample(random.Random(seed))).eval())
    round_trip(format_named(name), exported, tmp_path / "export")


@pytest.mark.soak
@pytest.mark.usefixtures("_tabled")
@pytest.mark.timeout(1200)
@pytest.mark.parametrize(("network", "name"), [
    *itertools.product(FAMILIES, FORMATS), *((network, "onnx") for network in parent_names() if network not in FAMILIES)
])  # fmt: skip
def test_published_networks_are_exported(name: str, network: str, tmp_path: Path) -> None:
    """One of each family whole. Of its other members, which only have more of the same blocks, each block once, as a graph."""
    # Small images: attention between all tokens of the first maps of `container` takes many GB for five images of its own size.
    architecture = load_architecture(network) if network in FAMILIES else shortened(network).replace(image_size=64)
    round_trip(format_named(name), with_metadata(build_network(architecture).eval()), tmp_path / "export")


def test_the_page_tells_what_became_of_every_mixer_in_every_format() -> None:
    table = [[cell.strip() for cell in line.split("|")[1:-1]] for line in PAGE.read_text().splitlines() if line.startswith("|")]
    assert table[0] == ["", *COLUMNS]
    rows = {row[0]: row[1:] for row in table[2:]}
    assert rows["sides of images"] == [*map(sides, COLUMNS)]
    for mixer in MIXERS.names():
        assert NOT_TRIED not in rows.get(of_mixer(mixer), NOT_TRIED), f"{mixer}: no row; experiments/benchmarks/formats.py writes it"
    assert all(rows[name][COLUMNS.index("onnx")] != NOT_TRIED for name in (*parent_names(), RANDOM))
