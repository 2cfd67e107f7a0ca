"""Whole networks take the weights of their official codes, and nothing that does not fit."""

import re
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from space import BlockSpec, SpaceError, build_network, load_architecture, parent_names
from space.kinds import MIXERS
from space.network import TokenMixerNet
from space.official import load_official

from .official_names import official_weights


def shapes_of(name: str) -> tuple[TokenMixerNet, dict[str, Tensor]]:
    """A parent's network and its official state dict, both without memory."""
    architecture = load_architecture(name)
    network = build_network(architecture, device="meta")
    return network, official_weights(network, architecture)


@pytest.mark.parametrize("name", parent_names())
def test_every_official_key_of_every_parent_has_its_place(name: str) -> None:
    network, state_dict = shapes_of(name)
    assert load_official(network, state_dict) == len(state_dict)


@pytest.mark.parametrize("name", ["uniformer-s", "shunted-t", "topformer-t", "container-light", "davit-t"])
def test_every_tensor_is_filled_with_its_own_values(name: str) -> None:
    architecture = load_architecture(name)
    source, target = build_network(architecture), build_network(architecture)
    generator = torch.Generator().manual_seed(5)
    for tensor in source.state_dict().values():
        if tensor.is_floating_point():
            tensor.uniform_(generator=generator)
    state_dict = official_weights(source, architecture)
    assert load_official(target, state_dict) == len(state_dict)
    filled = target.state_dict()
    for key, tensor in source.state_dict().items():
        assert torch.equal(filled[key], tensor), key


@pytest.mark.parametrize(("change", "message"), [
    (lambda w: w.pop("norms.weight"), r"1 missing \(norms\.weight\)$"),
    (lambda w: w.pop("main_blocks.0.0.1.attn.qkv.bias"), r"1 missing \(main_blocks\.0\.0\.1\.attn\.qkv\.bias\)$"),
    (lambda w: w.update({"head.scale": torch.ones(3)}), r"1 left over \(head\.scale\)$"),
    (lambda w: w.update({"head.bias": torch.ones(10)}), r"1 of another shape \(head\.bias: got 10, expected 1000 in head\.fc\.bias\)$"),
    (
        lambda w: w.update({"main_blocks.2.1.0.attn.qkv.weight": torch.ones(4, 384)}),
        r"1 of another shape \(main_blocks\.2\.1\.0\.attn\.qkv\.weight: got 4x384, expected 384x384 in stages\.2\.blocks\.2\..*\)$",
    ),
    (lambda w: w.update({"epoch": 3}), r"^weights: epoch: got int, expected a tensor$"),
    (lambda w: [w.pop(key) for key in list(w) if key.startswith("main_blocks.3")], r"32 missing \(([^,]+, ){4}and 28 more\)$"),
])
def test_what_does_not_fit_is_named(change: Callable[[dict], object], message: str) -> None:
    network, state_dict = shapes_of("davit-t")
    change(state_dict)
    with pytest.raises(SpaceError, match=message) as caught:
        load_official(network, state_dict)
    assert "\n" not in str(caught.value)


def test_counters_of_batches_may_be_missing() -> None:
    architecture = load_architecture("topformer-t")
    network = build_network(architecture)
    state_dict = official_weights(network, architecture)
    fewer = {key: value for key, value in state_dict.items() if not key.endswith("num_batches_tracked")}
    assert load_official(network, fewer) == len(fewer) < len(state_dict)


@pytest.mark.parametrize(("weights", "network", "message"), [
    ("davit-s", "davit-t", r"got DaViT's, which do not fit davit-t: 192 left over \(main_blocks\.2\.3\.0\."),
    ("davit-t", "davit-s", r"got DaViT's, which do not fit davit-s: 192 missing \(main_blocks\.2\.3\.0\."),
    ("davit-b", "davit-s", r"of another shape \(patch_embeds\.0\.proj\.weight: got 128x3x7x7, expected 96x3x7x7 in stem\.conv\.weight"),
    ("uniformer-b-ls", "uniformer-b", r"54 left over \(blocks3\.0\.gamma_1"),
    ("uniformer-b", "uniformer-b-ls", r"54 missing \(blocks3\.0\.gamma_1"),
    ("uniformer-s", "davit-t", r"got UniFormer's, which do not fit davit-t: stem: got davit_stem, expected patch_stem or conv_stem"),
    ("container-light", "uniformer-s", r"got Container's, .*: stages\[2\]\.blocks\[0\]\.mixer: got global_mhra, expected local_mhra or"),
    ("topformer-t", "topformer-s", r"missing \(tpm\.layer10\.conv\.0\.c\.weight, .* of another shape \(tpm\.layer2\.conv\.4\.c\.weight"),
    ("shunted-t", "shunted-s", r"\d+ missing \(patch_embed1\.conv\.4\.weight, "),
])
def test_another_networks_weights_are_refused(weights: str, network: str, message: str) -> None:
    target, _ = shapes_of(network)
    with pytest.raises(SpaceError, match=message):
        load_official(target, shapes_of(weights)[1])


def test_weights_of_something_else_are_refused() -> None:
    message = re.escape("weights: got the keys conv1.weight, fc.bias, ..., expected those of Container, UniFormer, ")
    with pytest.raises(SpaceError, match="^" + message):
        load_official(shapes_of("davit-t")[0], {"conv1.weight": torch.ones(1), "fc.bias": torch.ones(1)})


def test_a_refused_state_dict_changes_nothing() -> None:
    architecture = load_architecture("topformer-t")
    network = build_network(architecture)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    wrong = {key: torch.ones_like(value) for key, value in official_weights(network, architecture).items()} | {"head.l.bias": torch.ones(3)}
    with pytest.raises(SpaceError, match=r"head\.l\.bias: got 3, expected 1000"):
        load_official(network, wrong)
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())


def heads_of_48(block: BlockSpec) -> BlockSpec:
    return block.replace(mixer=MIXERS(block.mixer.type, **block.mixer.options | {"head_dim": 48}))


def test_head_sizes_that_no_published_network_has_are_warned_of(recwarn: pytest.WarningsRecorder) -> None:
    network, state_dict = shapes_of("davit-t")
    load_official(network, state_dict)
    assert not recwarn
    stages = tuple(
        stage.replace(blocks=tuple(map(heads_of_48, stage.blocks)))
        for stage in network.architecture.stages
    )
    other = build_network(network.architecture.replace(name="other", stages=stages), device="meta")
    with pytest.warns(UserWarning, match="head sizes are not in a checkpoint: other's 48 fit, and so do others; davit-t has 32$"):
        assert load_official(other, state_dict) == len(state_dict)
