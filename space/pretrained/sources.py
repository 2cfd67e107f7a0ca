"""Where the weights of the published networks are: the one table of repositories, file names, licences and head sizes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

HUB = "https://huggingface.co"
TIMM_FILE = "model.safetensors"
"""What timm calls the weights of each of its networks."""


@dataclass(frozen=True)
class WeightsSource:
    """Where one network's weights are offered.

    Args:
        file: its name, as the authors give it.
        licence: of the weights, as they are offered; empty where none is stated.
        page: where a reader finds the file, if it is in no repository.
        repository: on the Hugging Face hub, `OWNER/NAME`; empty where there is none.
    """

    file: str
    licence: str = ""
    page: str = ""
    repository: str = ""

    @property
    def address(self) -> str:
        """Of the page or the repository."""
        return f"{HUB}/{self.repository}" if self.repository else self.page


def _davit(size: str) -> WeightsSource:
    return WeightsSource(TIMM_FILE, "apache-2.0", repository=f"timm/davit_{size}.msft_in1k")


def _uniformer(file: str) -> WeightsSource:
    return WeightsSource(file, "mit", repository="Sense-X/uniformer_image")


def _uniformer_page(file: str) -> WeightsSource:
    return WeightsSource(file, "apache-2.0", "https://github.com/Sense-X/UniFormer/tree/main/image_classification")


def _shunted(size: str) -> WeightsSource:
    return WeightsSource(f"shunted-{size}.pth", page="https://github.com/OliverRensu/Shunted-Transformer")


def _topformer(file: str) -> WeightsSource:
    return WeightsSource(file, "apache-2.0", "https://github.com/hustvl/TopFormer")


SOURCES: Mapping[str, WeightsSource] = MappingProxyType({
    "davit-t": _davit("tiny"),
    "davit-s": _davit("small"),
    "davit-b": _davit("base"),
    "uniformer-s": _uniformer("uniformer_small_in1k.pth"),
    "uniformer-s-plus": _uniformer("uniformer_small_plus_in1k.pth"),
    "uniformer-b": _uniformer("uniformer_base_in1k.pth"),
    "uniformer-b-ls": _uniformer_page("uniformer_base_ls_in1k.pth"),
    "uniformer-l": _uniformer_page("uniformer_large_ls_tl_224.pth"),
    "shunted-t": _shunted("t"),
    "shunted-s": _shunted("s"),
    "shunted-b": _shunted("b"),
    "topformer-t": _topformer("topformer-T-224-66.2.pth"),
    "topformer-s": _topformer("topformer-S-224-72.3.pth"),
    "topformer-b": _topformer("topformer-B-224-75.3.pth"),
    "container-light": WeightsSource("container-light.pth", "apache-2.0", "https://github.com/allenai/container"),
})  # fmt: skip
"""By the name of the published network. Where authors give files no telling names, the name here is this package's."""


@dataclass(frozen=True)
class HeadSize:
    """What a checkpoint's tensors do not tell: channels per head of UniFormer's global attention.

    Args:
        md5: of the file as published.
    """

    head_dim: int
    md5: str


HEAD_SIZES: Mapping[str, HeadSize] = MappingProxyType({
    "uniformer_small_in1k": HeadSize(64, "f122ab0dde94b1d73ac00d2c5359a610"),
    "uniformer_small_plus_in1k": HeadSize(32, "9a9e04132baa7c61b50611b636ed4bea"),
    "uniformer_small_plus_dim64_in1k": HeadSize(64, "3a5aefe567d6e97149d60af91aa958da"),
    "uniformer_base_in1k": HeadSize(64, "5be77ad1f3506a9c3edcabcb71a1de6b"),
    "uniformer_base_ls_in1k": HeadSize(64, "3491dddcda1babb9ea798bbbf6942a40"),
    "uniformer_small_tl_224": HeadSize(32, "b2a33929f20a5bbde0d237cc03f1d4fc"),
    "uniformer_small_plus_tl_224": HeadSize(32, "83abb926261d1f0dbacaae239a53360c"),
    "uniformer_base_tl_224": HeadSize(32, "1ffe1f83a214b4e0173a0df6ba344fb3"),
    "uniformer_large_ls_tl_224": HeadSize(64, "a26ef63a4ab2b1eaf59a106724666273"),
    "uniformer_small_dim64_tl_224": HeadSize(64, "771bf024006256c8406892c6159d4384"),
    "uniformer_small_plus_dim64_tl_224": HeadSize(64, "723f198c629e2cd06630f380b3f68ec1"),
    "uniformer_base_dim64_tl_224": HeadSize(64, "a1c1abf5bcac177c16114229132b4327"),
})  # fmt: skip
"""By the authors' file name without its suffix (https://github.com/Sense-X/UniFormer, image_classification)."""
