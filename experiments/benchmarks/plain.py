"""The seeds' own plain formulation of a network: what `parents.py` measures ours against.

Maps are contiguous (B, C, H, W), tokens (B, N, C); 1x1 convolutions are convolutions where the official code has them;
attention is two matrix products with a softmax between them. A plain network is made from one of ours and has its weights, so
both give the same logits. DaViT is missing here: timm has it.
"""

from __future__ import annotations

import copy
from collections import OrderedDict

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from space.blocks import Block, Residual
from space.fuse import merged
from space.network import TokenMixerNet
from space.operators.ffns import DetailSpecificFfn
from space.operators.heads.pooling import PoolingHead, TokenLabelHead
from space.operators.layers import BatchNorm, ChannelsFirst, ChannelsLast, LinearBN, Normed, ResidualDepthwiseConv
from space.operators.mixers.bn_conv_attention import BnConvAttention
from space.operators.mixers.container import ContainerMix
from space.operators.mixers.global_mhra import GlobalMHRA
from space.operators.mixers.ssa import ShuntedSelfAttention
from space.operators.stems import TokenPyramid


class PlainNetwork(nn.Module):
    """The plain formulation of a network, with a copy of its weights."""

    def __init__(self, network: TokenMixerNet) -> None:
        super().__init__()
        self.stem = on_maps(network.stem)
        self.stages = nn.ModuleList()
        for stage in network.stages:
            blocks = [TokenBlock(block) if isinstance(block.mixer.norm, nn.LayerNorm) else on_maps(block) for block in stage.blocks]
            self.stages.append(nn.Sequential(on_maps(stage.downsample), *blocks, on_maps(stage.norm)))
        self.head = PlainHead(network.head)

    def forward(self, images_BCHW: Tensor) -> Tensor:
        x_BCHW = self.stem(images_BCHW)
        for stage in self.stages:
            x_BCHW = stage(x_BCHW)
        return self.head(x_BCHW)


def on_maps(module: nn.Module) -> nn.Module:
    """A copy of a module for (B, C, H, W): other layers inside the same forward, but for what reshapes."""
    if isinstance(module, ResidualDepthwiseConv):
        return PlusIdentity(_convolution(module))
    if isinstance(module, nn.Conv2d):
        return _convolution(module)
    if isinstance(module, BatchNorm):
        return on_maps(module.bn)
    if isinstance(module, nn.BatchNorm2d):
        return _loaded(nn.BatchNorm2d(module.num_features, module.eps), module)
    if isinstance(module, ChannelsFirst | ChannelsLast | LinearBN):
        return nn.Sequential(OrderedDict((name, on_maps(child)) for name, child in module.named_children()))
    if isinstance(module, nn.LayerNorm):
        return _loaded(MapLayerNorm(module.normalized_shape, module.eps), module)
    if isinstance(module, nn.Linear):
        return _pointwise(module)
    for kind, plain in {BnConvAttention: PlainBnConvAttention, ContainerMix: PlainContainer, TokenPyramid: PlainPyramid}.items():
        if isinstance(module, kind):
            return plain(module)
    module = copy.copy(module)
    module._modules = {name: on_maps(child) for name, child in module.named_children()}
    if isinstance(module, Normed):
        module.is_batch_norm = False
    if isinstance(module, Residual) and module.scale is not None:
        module._parameters = {"scale": nn.Parameter(module.scale.detach().clone().view(-1, 1, 1))}
    return module


def _loaded(plain: nn.Module, module: nn.Module) -> nn.Module:
    plain.load_state_dict(module.state_dict())
    return plain


def _convolution(conv: nn.Conv2d) -> nn.Module:
    plain = nn.Conv2d(
        conv.in_channels, conv.out_channels, conv.kernel_size, conv.stride, conv.padding, groups=conv.groups, bias=conv.bias is not None
    )
    return _loaded(plain, conv)


def _pointwise(linear: nn.Linear) -> nn.Conv2d:
    plain = nn.Conv2d(linear.in_features, linear.out_features, 1, bias=linear.bias is not None)
    plain.load_state_dict({name: tensor[:, :, None, None] if name == "weight" else tensor for name, tensor in linear.state_dict().items()})
    return plain


def softmax_attention(q: Tensor, k: Tensor, v: Tensor, scale: float) -> Tensor:
    """(B, heads, N, d), (B, heads, M, d), (B, heads, M, e) -> (B, heads, N, e)."""
    return (q @ k.transpose(-2, -1) * scale).softmax(-1) @ v


class PlusIdentity(nn.Module):
    """x + module(x)."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, x: Tensor) -> Tensor:
        return x + self.module(x)


class MapLayerNorm(nn.LayerNorm):
    """Layer norm over the channels of (B, C, H, W), by way of tokens."""

    def forward(self, x_BCHW: Tensor) -> Tensor:
        tokens_BNC = super().forward(x_BCHW.flatten(2).transpose(1, 2))
        return tokens_BNC.transpose(1, 2).reshape(x_BCHW.shape).contiguous()


class TokenBlock(nn.Module):
    """A position on the map, then both branches on tokens: UniFormer's global block, Shunted Transformer's block."""

    def __init__(self, block: Block) -> None:
        super().__init__()
        self.position = on_maps(block.position)
        self.norm1, self.norm2 = copy.deepcopy(block.mixer.norm), copy.deepcopy(block.ffn.norm)
        self.scale1, self.scale2 = copy.deepcopy(block.mixer.scale), copy.deepcopy(block.ffn.scale)
        kind = {GlobalMHRA: PlainAttention, ShuntedSelfAttention: PlainShunted}[type(block.mixer.operator)]
        self.mixer = kind(block.mixer.operator)
        ffn = block.ffn.operator
        self.ffn = PlainDetailSpecificFfn(ffn) if isinstance(ffn, DetailSpecificFfn) else OnTokens(copy.deepcopy(ffn))

    def forward(self, x_BCHW: Tensor) -> Tensor:
        x_BCHW = self.position(x_BCHW)
        height, width = x_BCHW.shape[2:]
        x_BNC = x_BCHW.flatten(2).transpose(1, 2)
        for norm, branch, scale in ((self.norm1, self.mixer, self.scale1), (self.norm2, self.ffn, self.scale2)):
            y_BNC = branch(norm(x_BNC), height, width)
            x_BNC = x_BNC + (y_BNC if scale is None else scale * y_BNC)
        return x_BNC.transpose(1, 2).reshape(x_BCHW.shape)


class OnTokens(nn.Module):
    """A branch that does not ask for the map's size."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, x_BNC: Tensor, height: int, width: int) -> Tensor:
        return self.module(x_BNC)


class PlainAttention(nn.Module):
    """UniFormer's attention over tokens."""

    def __init__(self, mixer: GlobalMHRA) -> None:
        super().__init__()
        self.num_heads = mixer.num_heads
        self.qkv, self.proj = merged(mixer.q, mixer.k, mixer.v), copy.deepcopy(mixer.proj)

    def forward(self, x_BNC: Tensor, height: int, width: int) -> Tensor:
        q, k, v = self.qkv(x_BNC).unflatten(-1, (3, self.num_heads, -1)).permute(2, 0, 3, 1, 4)
        return self.proj(softmax_attention(q, k, v, q.shape[-1] ** -0.5).transpose(1, 2).reshape(x_BNC.shape))


class PlainShunted(nn.Module):
    """Shunted self-attention over tokens; all coarse heads come first, as in the official code."""

    def __init__(self, mixer: ShuntedSelfAttention) -> None:
        super().__init__()
        self.num_heads = mixer.num_heads
        self.q, self.proj = copy.deepcopy(mixer.q), copy.deepcopy(mixer.proj)
        self.merges, self.norms, self.kvs, self.locals = (nn.ModuleList() for _ in range(4))
        for scale in mixer.scales:
            self.merges.append(on_maps(scale.merge) if scale.merge is not None else nn.Identity())
            self.norms.append(nn.Sequential(copy.deepcopy(scale.norm), nn.GELU()) if scale.norm is not None else nn.Identity())
            self.kvs.append(merged(scale.k, scale.v))
            self.locals.append(_convolution(scale.local))
        if len(mixer.scales) > 1:
            channels = torch.arange(self.q.out_features).view(self.num_heads, -1)
            order = torch.cat((channels[0::2], channels[1::2])).flatten()
            self.q.weight, self.q.bias = nn.Parameter(self.q.weight[order]), nn.Parameter(self.q.bias[order])
            self.proj.weight = nn.Parameter(self.proj.weight[:, order])

    def forward(self, x_BNC: Tensor, height: int, width: int) -> Tensor:
        q = self.q(x_BNC).unflatten(-1, (self.num_heads, -1)).transpose(1, 2)
        x_BCHW = x_BNC.transpose(1, 2).unflatten(-1, (height, width))
        scale = q.shape[-1] ** -0.5
        mixed = []
        for q_part, merge, norm, kv, local in zip(q.chunk(len(self.kvs), 1), self.merges, self.norms, self.kvs, self.locals, strict=True):
            merged_BCHW = merge(x_BCHW)
            k_BMC, v_BMC = kv(norm(merged_BCHW.flatten(2).transpose(1, 2))).chunk(2, -1)
            detail_BMC = local(v_BMC.transpose(1, 2).unflatten(-1, merged_BCHW.shape[2:])).flatten(2).transpose(1, 2)
            is_split = len(self.kvs) > 1
            k, v = (y.unflatten(-1, (q_part.shape[1], -1)).transpose(1, 2) for y in (k_BMC, v_BMC + detail_BMC if is_split else v_BMC))
            y_BNC = softmax_attention(q_part, k, v, scale).transpose(1, 2).flatten(2)
            mixed.append(y_BNC if is_split else y_BNC + detail_BMC)
        return self.proj(torch.cat(mixed, -1))


class PlainDetailSpecificFfn(nn.Module):
    """Shunted Transformer's feed-forward network over tokens."""

    def __init__(self, ffn: DetailSpecificFfn) -> None:
        super().__init__()
        self.fc1, self.fc2, self.conv = copy.deepcopy(ffn.fc1), copy.deepcopy(ffn.fc2), _convolution(ffn.conv)

    def forward(self, x_BNC: Tensor, height: int, width: int) -> Tensor:
        hidden = self.fc1(x_BNC)
        detail = self.conv(hidden.transpose(1, 2).unflatten(-1, (height, width))).flatten(2).transpose(1, 2)
        return self.fc2(F.gelu(hidden + detail))


class PlainContainer(nn.Module):
    """Container's mixed affinity on maps."""

    def __init__(self, mixer: ContainerMix) -> None:
        super().__init__()
        self.num_heads = mixer.num_heads
        self.qkv, self.proj = _pointwise(merged(mixer.q, mixer.k, mixer.v)), _pointwise(mixer.proj)
        self.static, self.gate = _convolution(mixer.static), copy.deepcopy(mixer.gate)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        qkv = self.qkv(x_BCHW)
        static = self.static(qkv[:, 2 * x_BCHW.shape[1] :])
        q, k, v = qkv.flatten(2).transpose(1, 2).unflatten(-1, (3, self.num_heads, -1)).permute(2, 0, 3, 1, 4)
        dynamic = softmax_attention(q, k, v, q.shape[-1] ** -0.5).transpose(2, 3).reshape(x_BCHW.shape)
        gate = self.gate.sigmoid()
        return self.proj(gate * dynamic + (1 - gate) * static)


class PlainBnConvAttention(nn.Module):
    """TopFormer's attention on maps."""

    def __init__(self, mixer: BnConvAttention) -> None:
        super().__init__()
        self.num_heads = mixer.num_heads
        self.q, self.k, self.v, self.proj = (on_maps(child) for child in (mixer.q, mixer.k, mixer.v, mixer.proj))

    def forward(self, x_BCHW: Tensor) -> Tensor:
        q, k, v = (
            layer(x_BCHW).flatten(2).unflatten(1, (self.num_heads, -1)).transpose(-2, -1) for layer in (self.q, self.k, self.v)
        )
        mixed = softmax_attention(q, k, v, 1.0).transpose(-2, -1).flatten(1, 2)
        return self.proj(F.relu6(mixed.unflatten(-1, x_BCHW.shape[2:])))


class PlainPyramid(nn.Module):
    """TopFormer's token pyramid on maps."""

    def __init__(self, stem: TokenPyramid) -> None:
        super().__init__()
        self.first = nn.Sequential(on_maps(stem.conv), nn.ReLU(), on_maps(stem.first))
        self.scales = nn.ModuleList(on_maps(scale) for scale in stem.scales)
        self.pool_stride = stem.pool_stride

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return self.pooled(self.maps(x_BCHW))

    def maps(self, x_BCHW: Tensor) -> list[Tensor]:
        """The maps of all scales."""
        x_BCHW, maps = self.first(x_BCHW), []
        for scale in self.scales:
            x_BCHW = scale(x_BCHW)
            maps.append(x_BCHW)
        return maps

    def pooled(self, maps_BCHW: list[Tensor]) -> Tensor:
        """All maps at the size of the trunk's, side by side."""
        size = [(side - 1) // self.pool_stride + 1 for side in maps_BCHW[-1].shape[2:]]
        return torch.cat([F.adaptive_avg_pool2d(map_BCHW, size) for map_BCHW in maps_BCHW], 1)


class PlainHead(nn.Module):
    """Norm and average in the head's order, then the classifiers."""

    def __init__(self, head: PoolingHead) -> None:
        super().__init__()
        self.norm, self.norms_maps = on_maps(head.norm), head.norms_maps
        self.fc = copy.deepcopy(head.fc)
        self.aux = _pointwise(head.aux) if isinstance(head, TokenLabelHead) and head.aux is not None else None

    def forward(self, x_BCHW: Tensor) -> Tensor:
        if self.norms_maps:
            x_BCHW = self.norm(x_BCHW)
        pooled = x_BCHW.mean((2, 3), keepdim=True)
        logits = self.fc((pooled if self.norms_maps else self.norm(pooled)).flatten(1))
        return logits if self.aux is None else logits + 0.5 * self.aux(x_BCHW).flatten(2).amax(-1)
