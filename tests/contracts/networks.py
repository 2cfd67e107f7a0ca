"""Small networks of one operator each, for tests of whole networks."""

import torch

from space import Architecture, BlockSpec, StageSpec
from space.kinds import DOWNSAMPLERS, FFNS, HEADS, MIXERS, NORMS, POSITIONS, STEMS
from space.network import TokenMixerNet, build_network
from space.registry import Spec
from tests.space.examples import randomised

from .conftest import WIDTH


def network_of(spec: Spec) -> TokenMixerNet:
    """A network with this operator and batch norms wherever there may be some, every tensor random, in evaluation."""
    chosen = {
        "stem": STEMS("patch_stem", patch_size=1), "position": POSITIONS("dpe"), "mixer": MIXERS("local_mhra", kernel_size=3),
        "ffn": FFNS("dw_ffn", ratio=1), "norm": NORMS("batch_norm"), "downsampler": DOWNSAMPLERS("conv_downsample"),
        "head": HEADS("norm_pool_head"),
    } | {spec.registry.kind: spec}  # fmt: skip
    block = BlockSpec(**{slot: chosen[slot] for slot in ("position", "mixer", "ffn", "norm")})
    stages = (
        StageSpec(width=WIDTH, blocks=(block,), norm=chosen["norm"]),
        StageSpec(width=WIDTH, downsample=chosen["downsampler"], blocks=(block,)),
    )
    architecture = Architecture(image_size=WIDTH, num_classes=10, stem=chosen["stem"], stages=stages, head=chosen["head"])
    return randomised(build_network(architecture)).eval()


def images_of(network: TokenMixerNet, batch: int = 2) -> torch.Tensor:
    """Images whose first map is as high as it has channels where the stem keeps their size; windows do not tile it."""
    return torch.randn(batch, network.in_chans, WIDTH, 10 * network.feature_info[0]["reduction"])
