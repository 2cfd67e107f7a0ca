"""torch's tools take every mixer: tracing, scripting, compiling, quantising, sharding, exporting."""

import copy
import io
import warnings
from collections.abc import Iterator

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.fsdp import fully_shard

from space.blocks import Block
from space.kinds import FFNS, HEADS, STEMS
from space.network import TokenMixerNet
from space.registry import Spec

from .networks import images_of, network_of

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")


def assert_same(got: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-4 * expected.abs().max().item())


@pytest.fixture
def network(mixer_spec: Spec) -> TokenMixerNet:
    return network_of(mixer_spec).requires_grad_(False)


@pytest.mark.parametrize("fused", [False, True], ids=["plain", "fused"])
def test_fx_traces_it_for_any_size_and_torchscript_takes_the_graph(network: TokenMixerNet, fused: bool) -> None:
    network = network.fuse() if fused else network
    traced = torch.fx.symbolic_trace(network)
    scripted = torch.jit.script(traced)
    for images in (images_of(network), torch.randn(1, 3, 33, 47)):
        expected = network(images)
        assert torch.equal(traced(images), expected)
        assert_same(scripted(images), expected)


@pytest.mark.parametrize("fused", [False, True], ids=["plain", "fused"])
def test_it_scripts_and_runs_at_any_size(network: TokenMixerNet, fused: bool) -> None:
    network = network.fuse() if fused else network
    scripted = torch.jit.script(network)
    for images in (images_of(network), torch.randn(1, 3, 33, 47)):
        assert_same(scripted(images), network(images))


def test_jit_traces_it(network: TokenMixerNet) -> None:
    images = images_of(network)
    assert_same(torch.jit.trace(network, (images,))(images), network(images))


@pytest.mark.parametrize("kind", ["stem", "ffn", "head"])
def test_other_operators_trace_and_script(kind: str) -> None:
    for spec in {"stem": [STEMS(name) for name in STEMS.names()], "head": [HEADS(name) for name in HEADS.names()],
                 "ffn": [FFNS(name, ratio=2) for name in FFNS.names()]}[kind]:  # fmt: skip
        network = network_of(spec).requires_grad_(False)
        images = images_of(network)
        assert torch.equal(torch.fx.symbolic_trace(network)(images), network(images)), spec.label
        assert_same(torch.jit.script(network)(images), network(images))


def test_every_linear_layer_quantises(network: TokenMixerNet) -> None:
    images = images_of(network)
    quantised = torch.ao.quantization.quantize_dynamic(network, {nn.Linear}, dtype=torch.qint8)
    assert not any(type(module) is nn.Linear for module in quantised.modules())
    expected = network(images)
    assert (quantised(images) - expected).norm() < 0.2 * expected.norm()


@pytest.mark.soak
def test_it_compiles_in_one_graph(network: TokenMixerNet) -> None:
    torch.compiler.reset()
    images = images_of(network)
    # Whether dynamo finds one graph does not depend on what compiles it.
    assert_same(torch.compile(network, fullgraph=True, backend="eager")(images), network(images))


@pytest.fixture(scope="module")
def _alone() -> Iterator[None]:
    """A group of one process."""
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield
    dist.destroy_process_group()


@pytest.mark.usefixtures("_alone")
def test_fsdp_wraps_blocks(network: TokenMixerNet) -> None:
    images, expected = images_of(network), network(images_of(network).zero_())
    sharded = copy.deepcopy(network).requires_grad_(True)
    for block in (module for module in sharded.modules() if isinstance(module, Block)):
        fully_shard(block)
    fully_shard(sharded)
    assert_same(sharded(torch.zeros_like(images)).detach(), expected)
    sharded.train()(images).square().mean().backward()
    # A key's bias and what stands before a batch norm may have a zero gradient, but none is missing.
    assert all(parameter.grad is not None for parameter in sharded.parameters())


@pytest.mark.soak
def test_the_older_onnx_exporter_takes_it(network: TokenMixerNet) -> None:
    runtime = pytest.importorskip("onnxruntime")
    images, file = images_of(network), io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(network, (images,), file, dynamo=False, opset_version=17)
    session = runtime.InferenceSession(file.getvalue())
    assert_same(torch.from_numpy(session.run(None, {session.get_inputs()[0].name: images.numpy()})[0]), network(images))
