"""Weights by name: from a file, a folder, a hub on loopback and its cache; what a checkpoint does not tell is asked for."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import save

from space import build_network, load_architecture, parent_names
from space.errors import SpaceError
from space.pretrained import loading
from space.pretrained.fetching import NamedWeights, find_weights
from space.pretrained.loading import check_head_size, load_named
from space.pretrained.sources import SOURCES, HeadSize
from tests.hub import COMMIT, serving
from tests.space.official_names import official_weights

HubAt = Callable[[str], Path]
DAVIT = SOURCES["davit-t"]
UNIFORMER_PLUS = load_architecture("uniformer-s-plus")


@pytest.fixture
def hub_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> HubAt:
    """Sends this process's requests to an address, with an empty cache."""

    def go(address: str) -> Path:
        from huggingface_hub import constants

        # What HF_ENDPOINT and HF_HOME set, where they are set before the library is imported.
        monkeypatch.setattr(constants, "ENDPOINT", address)
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", address + "/{repo_id}/resolve/{revision}/{filename}")
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        return tmp_path / "cache"

    return go


def test_timms_davit_is_fetched_by_name_once_and_lies_in_the_hubs_cache(hub_at: HubAt) -> None:
    torch.manual_seed(1)
    model = timm.create_model("davit_tiny", num_classes=7).eval()
    name, asked, said = f"{DAVIT.repository}/{DAVIT.file}", list[str](), list[str]()
    with serving({name: save(model.state_dict())}, asked) as address:
        cache = hub_at(address)
        assert find_weights(NamedWeights("davit-t"), say=said.append, fetches=False) is None
        assert f"GET {name}" not in asked
        network = load_named(NamedWeights("davit-t"), say=said.append)
    for line, ending in zip(said, ("would be fetched", "being fetched"), strict=True):
        assert line.startswith("davit-t: 11")
        assert line.endswith(f" MB from https://huggingface.co/{DAVIT.repository}, licence apache-2.0, {ending}")
    assert (cache / f"models--{DAVIT.repository.replace('/', '--')}" / "snapshots" / COMMIT / DAVIT.file).is_file()
    assert network.num_classes == 7
    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(network(images), model(images), rtol=1e-4, atol=1e-4)
    # Nothing answers any more.
    found = find_weights(NamedWeights("davit-t"), say=said.append)
    assert found is not None
    assert said[-1].endswith("in the cache already")


def refusal(name: str, folder: Path | None = None) -> str:
    with pytest.raises(SpaceError) as error:
        find_weights(NamedWeights(name), folder)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_without_a_network_one_line_says_what_to_fetch_and_where_to_put_it(hub_at: HubAt) -> None:
    with serving({}) as address:
        hub_at(address)
        missing = refusal("davit-t")
    gone = refusal("davit-t")
    for line in (missing, gone):
        assert line.startswith(f"davit-t: cannot be fetched from https://huggingface.co/{DAVIT.repository} (")
        assert line.endswith(
            f"fetch {DAVIT.file} from https://huggingface.co/{DAVIT.repository} and give davit-t=FILE, or put it as davit-t.safetensors "
            "into a folder for --weights-folder"
        )
    assert "fetch topformer-T-224-66.2.pth from https://github.com/hustvl/TopFormer" in refusal("topformer-t")
    assert refusal("davit").startswith("davit: got no file of weights, expected davit=FILE, or one of davit-t, ")


def test_a_folder_comes_before_the_hub_under_the_authors_name_or_the_networks(tmp_path: Path) -> None:
    said: list[str] = []
    for name, file in (("topformer-t", "topformer-T-224-66.2.pth"), ("davit-t", "davit-t.safetensors"), ("shunted-t", "shunted-t.pt")):
        (tmp_path / file).write_bytes(b"")
        assert find_weights(NamedWeights(name), tmp_path, said.append) == tmp_path / file
    assert said[0] == f"topformer-t: {tmp_path / 'topformer-T-224-66.2.pth'}"
    # Whose it is, its name does not tell.
    (tmp_path / DAVIT.file).write_bytes(b"")
    assert "fetch uniformer_base_ls_in1k.pth" in refusal("uniformer-b-ls", tmp_path)
    assert refusal("topformer-t", tmp_path / "none").startswith("weights folder: got ")


@pytest.mark.parametrize("text", ["", "=file", "davit-t="])
def test_what_names_no_network_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected NAME or NAME=FILE"):
        NamedWeights.parse(text)


def test_every_source_is_of_a_published_network() -> None:
    assert SOURCES.keys() <= set(parent_names())
    assert all(source.file and source.address for source in SOURCES.values())


@pytest.mark.parametrize(
    "wrap", [lambda w: w, lambda w: {"model": w}, lambda w: {"state_dict_ema": {f"module.{k}": v for k, v in w.items()}}]
)
def test_checkpoints_as_published_with_a_head_of_other_classes(tmp_path: Path, wrap: Callable[[Any], Any]) -> None:
    architecture = load_architecture("topformer-t").replace(num_classes=7)
    torch.manual_seed(2)
    expected = build_network(architecture).eval()
    torch.save(wrap(official_weights(expected, architecture)), tmp_path / "official.pth")
    network = load_named(NamedWeights("topformer-t", tmp_path / "official.pth"))
    assert network.num_classes == 7
    assert all(torch.equal(tensor, expected.state_dict()[name]) for name, tensor in network.state_dict().items())


def test_the_head_size_of_uniformer_s_plus_is_told_by_name_and_by_digest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    plus, dim64 = tmp_path / "uniformer_small_plus_in1k.pth", tmp_path / "uniformer_small_plus_dim64_in1k.pth"
    for file in (plus, dim64):
        file.write_bytes(file.name.encode())
    check_head_size(UNIFORMER_PLUS, plus, said.append)
    assert not said
    with pytest.raises(SpaceError, match=r"got heads of 64 channels, expected those of uniformer-s-plus, 32"):
        check_head_size(UNIFORMER_PLUS, dim64, said.append)
    renamed = tmp_path / "weights.pth"
    renamed.write_bytes(b"as published")
    check_head_size(UNIFORMER_PLUS, renamed, said.append)
    (doubt,) = said
    assert doubt.startswith(f"{renamed}: does not tell the size of its heads; uniformer-s-plus has 32 channels each.")
    monkeypatch.setattr(loading, "HEAD_SIZES", {"any": HeadSize(64, hashlib.md5(b"as published").hexdigest())})
    with pytest.raises(SpaceError, match="got heads of 64 channels"):
        check_head_size(UNIFORMER_PLUS, renamed, said.append)
    check_head_size(load_architecture("davit-t"), renamed, said.append)
    assert len(said) == 1
