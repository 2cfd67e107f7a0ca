"""TopFormer (hustvl/TopFormer): its classifiers, whose trunk's map is pooled, normed and classified, and its segmentation networks."""

from __future__ import annotations

from space.architecture import Architecture
from space.official.checkpoint_format import CheckpointFormat, all_blocks, constant, stem_and_downsamplers
from space.official.conversion import Children, Conversion, pointwise, renamed, same
from space.official.segmentation import segmentation_format
from space.registry import Spec

conv_bn = renamed({"c": ("linear", pointwise), "bn": ("bn", same)})
"""`Conv2d_BN` of 1x1."""

spatial_conv_bn = renamed({"c": ("conv", same), "bn": ("bn", same)})
"""`Conv2d_BN` of a larger kernel."""

attention = renamed({"to_q": ("q", conv_bn), "to_k": ("k", conv_bn), "to_v": ("v", conv_bn), "proj.1": ("proj", conv_bn)})
ffn = renamed({"fc1": ("fc1", conv_bn), "dwconv": ("conv", same), "fc2": ("fc2", conv_bn)})
block = renamed({"attn": ("mixer.operator", attention), "mlp": ("ffn.operator", ffn)})


def inverted_residual(ratio: int) -> Conversion:
    """`InvertedResidual`, whose first convolution is left out where nothing widens."""
    first = 0 if ratio == 1 else 2
    widening = {} if ratio == 1 else {"conv.0": ("expand.0", conv_bn)}
    return renamed({**widening, f"conv.{first}": ("depthwise", spatial_conv_bn), f"conv.{first + 2}": ("project", conv_bn)})


def token_pyramid(spec: Spec, width: int) -> Conversion:
    """`TokenPyramidModule`, which counts its inverted residuals through."""
    blocks = {"layer1": ("first", inverted_residual(1))}
    for i, ratios in enumerate(spec.options["ratios"]):
        for j, ratio in enumerate(ratios):
            blocks[f"layer{len(blocks) + 1}"] = (f"scales.{i}.{j}", inverted_residual(ratio))
    return renamed({"stem.0": ("conv", spatial_conv_bn), **blocks})


def _backbone(architecture: Architecture) -> Children:
    return {
        **stem_and_downsamplers(architecture, {"token_pyramid": token_pyramid}, {}, lambda _: "tpm"),
        **all_blocks(architecture, {"bn_conv_attention": constant(block)}, lambda _, j: f"trans.transformer_blocks.{j}"),
    }


_SIGNATURE = ("tpm.stem", "trans.transformer_blocks")

TOPFORMER = CheckpointFormat("TopFormer", _SIGNATURE, lambda architecture: renamed({
    **_backbone(architecture), "head.bn": ("head.norm", same), "head.l": ("head.fc", same),
}))
TOPFORMER_SEGMENTATION = segmentation_format("TopFormer", _SIGNATURE, _backbone)
