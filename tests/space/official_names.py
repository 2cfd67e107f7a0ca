"""State dicts as the official codes write them, made of our own networks: the way back, told apart from `space.official`.

Every family lists rows (official module, our modules, change): the tensors of our modules, one below the other where
they are several, become the official module's after the change.
"""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from space import Architecture

Row = tuple[str, tuple[str, ...], Callable[[Tensor], Tensor]]


def official_weights(network: nn.Module, architecture: Architecture) -> dict[str, Tensor]:
    """The state dict of a parent's network as its official code would write it; every tensor of ours is in it."""
    ours, used = network.state_dict(), set()
    official: dict[str, Tensor] = {}
    rows = FAMILIES[architecture.name.partition("-")[0]](architecture)
    for name, modules, change in segmenting(architecture, rows) if architecture.task == "segmentation" else rows:
        for key in [key for key in ours if key == modules[0] or key.startswith(modules[0] + ".")]:
            keys = [module + key.removeprefix(modules[0]) for module in modules]
            # Linear layers are put together by their outputs, convolutions of several maps by their inputs.
            value = ours[key] if len(keys) == 1 else torch.cat([ours[each] for each in keys], 1 if ours[key].ndim == 4 else 0)
            official[name + key.removeprefix(modules[0])] = change(value)
            used |= set(keys)
    assert used == set(ours)
    return official


def row(official: str, *ours: str, change: Callable[[Tensor], Tensor] = lambda value: value) -> Row:
    return official, ours, change


def conv(value: Tensor) -> Tensor:
    """A linear layer's matrix as a 1x1 convolution's."""
    return value[:, :, None, None] if value.ndim == 2 else value


def scale_of_maps(value: Tensor) -> Tensor:
    return value.view(1, -1, 1, 1)


def fused(block: str, names: str = "qkv") -> list[str]:
    return [f"{block}.{name}" for name in names]


def blocks(architecture: Architecture) -> Iterator[tuple[int, int, str, str]]:
    for i, stage in enumerate(architecture.stages):
        for j, block in enumerate(stage.blocks):
            yield i, j, f"stages.{i}.blocks.{j}", block.mixer.type


def embeds(architecture: Architecture, official: Callable[[int], str]) -> Iterator[Row]:
    """Patch embeddings: a convolution and a norm before or behind it."""
    for i in range(len(architecture.stages)):
        ours = f"stages.{i}.downsample" if i else "stem"
        yield row(f"{official(i)}.proj", f"{ours}.conv")
        yield row(f"{official(i)}.norm", f"{ours}.norm")


def uniformer(architecture: Architecture) -> Iterator[Row]:
    """UniFormer and Container."""
    if architecture.stem.type == "patch_stem":
        yield from embeds(architecture, lambda i: f"patch_embed{i + 1}")
    else:
        for index, module in enumerate(("conv1", "norm1", "act", "conv2", "norm2")):
            yield row(f"patch_embed1.proj.{index}", f"stem.{module}")
        for i in range(1, len(architecture.stages)):
            yield row(f"patch_embed{i + 1}.proj.0", f"stages.{i}.downsample.conv")
            yield row(f"patch_embed{i + 1}.proj.1", f"stages.{i}.downsample.norm")
    for i, j, ours, mixer in blocks(architecture):
        block, operator = f"blocks{i + 1}.{j}", f"{ours}.mixer.operator"
        on_maps = mixer != "global_mhra"
        change = conv if on_maps else torch.clone
        yield row(f"{block}.pos_embed", f"{ours}.position.conv")
        yield row(f"{block}.norm1", f"{ours}.mixer.norm")
        yield row(f"{block}.norm2", f"{ours}.ffn.norm")
        for index in (1, 2):
            yield row(f"{block}.mlp.fc{index}", f"{ours}.ffn.operator.fc{index}", change=change)
        for index, branch in enumerate(("mixer", "ffn"), start=1):
            yield row(f"{block}.gamma_{index}", f"{ours}.{branch}.scale", change=scale_of_maps if on_maps else torch.clone)
        if mixer == "local_mhra":
            yield row(f"{block}.conv1", f"{operator}.value", change=conv)
            yield row(f"{block}.attn", f"{operator}.conv")
            yield row(f"{block}.conv2", f"{operator}.proj", change=conv)
        elif mixer == "global_mhra":
            yield row(f"{block}.attn.qkv", *fused(operator))
            yield row(f"{block}.attn.proj", f"{operator}.proj")
        else:
            yield row(f"{block}.conv1", *fused(operator), change=conv)
            yield row(f"{block}.conv", f"{operator}.static")
            yield row(f"{block}.sa_weight", f"{operator}.gate")
            yield row(f"{block}.conv2", f"{operator}.proj", change=conv)
    yield row("norm", "head.norm")
    yield row("head", "head.fc")
    yield row("aux_head", "head.aux")


def shunted(architecture: Architecture) -> Iterator[Row]:
    convs = architecture.stem.options["num_convs"] + 1
    for index in range(convs):
        yield row(f"patch_embed1.conv.{3 * index}", f"stem.conv{index}")
        yield row(f"patch_embed1.conv.{3 * index + 1}", f"stem.norm{index}")
    yield row(f"patch_embed1.conv.{3 * convs}", "stem.proj")
    yield row("patch_embed1.norm", "stem.norm")
    for i, stage in enumerate(architecture.stages):
        yield row(f"norm{i + 1}", f"stages.{i}.norm")
        if i:
            yield row(f"patch_embed{i + 1}.proj", f"stages.{i}.downsample.conv")
            yield row(f"patch_embed{i + 1}.norm", f"stages.{i}.downsample.norm")
        heads = {64: 2, 128: 4, 256: 8, 512: 16}[stage.width]
        # Ours alternate: coarse, fine, coarse, fine; the official ones are all coarse first.
        order = [*range(0, heads, 2), *range(1, heads, 2)]
        for j in range(len(stage.blocks)):
            block, ours = f"block{i + 1}.{j}", f"stages.{i}.blocks.{j}"
            operator, attn = f"{ours}.mixer.operator", f"{block}.attn"
            yield row(f"{block}.norm1", f"{ours}.mixer.norm")
            yield row(f"{block}.norm2", f"{ours}.ffn.norm")
            for official, name in (("fc1", "fc1"), ("dwconv.dwconv", "conv"), ("fc2", "fc2")):
                yield row(f"{block}.mlp.{official}", f"{ours}.ffn.operator.{name}")
            if i == 3:
                yield row(f"{attn}.kv", *fused(f"{operator}.scales.0", "kv"))
                yield row(f"{attn}.local_conv", f"{operator}.scales.0.local")
                yield row(f"{attn}.q", f"{operator}.q")
                yield row(f"{attn}.proj", f"{operator}.proj")
                continue
            for index in (0, 1):
                scale = f"{operator}.scales.{index}"
                yield row(f"{attn}.sr{index + 1}", f"{scale}.merge")
                yield row(f"{attn}.norm{index + 1}", f"{scale}.norm")
                yield row(f"{attn}.kv{index + 1}", *fused(scale, "kv"))
                yield row(f"{attn}.local_conv{index + 1}", f"{scale}.local")
            yield row(f"{attn}.q", f"{operator}.q", change=lambda q, order=order: torch.cat([q[32 * h : 32 * h + 32] for h in order]))
            yield row(f"{attn}.proj.bias", f"{operator}.proj.bias")
            yield row(f"{attn}.proj.weight", f"{operator}.proj.weight",
                      change=lambda p, order=order: torch.cat([p[:, 32 * h : 32 * h + 32] for h in order], 1))
    yield row("head", "head.fc")


def topformer(architecture: Architecture) -> Iterator[Row]:
    def conv_bn(official: str, ours: str, inner: str) -> Iterator[Row]:
        yield row(f"{official}.c", f"{ours}.{inner}", change=conv)
        yield row(f"{official}.bn", f"{ours}.bn")

    yield from conv_bn("tpm.stem.0", "stem.conv", "conv")
    layers = ["stem.first", *(f"stem.scales.{i}.{j}" for i in range(4) for j in range(len(architecture.stem.options["ratios"][i])))]
    for number, layer in enumerate(layers, start=1):
        first = 0 if number == 1 else 2
        if first:
            yield from conv_bn(f"tpm.layer{number}.conv.0", f"{layer}.expand.0", "linear")
        yield from conv_bn(f"tpm.layer{number}.conv.{first}", f"{layer}.depthwise", "conv")
        yield from conv_bn(f"tpm.layer{number}.conv.{first + 2}", f"{layer}.project", "linear")
    for _, j, ours, _ in blocks(architecture):
        block = f"trans.transformer_blocks.{j}"
        for official, name in (("to_q", "q"), ("to_k", "k"), ("to_v", "v"), ("proj.1", "proj")):
            yield from conv_bn(f"{block}.attn.{official}", f"{ours}.mixer.operator.{name}", "linear")
        for name in ("fc1", "fc2"):
            yield from conv_bn(f"{block}.mlp.{name}", f"{ours}.ffn.operator.{name}", "linear")
        yield row(f"{block}.mlp.dwconv", f"{ours}.ffn.operator.conv")
    yield row("head.bn", "head.norm")
    yield row("head.l", "head.fc")


def davit(architecture: Architecture) -> Iterator[Row]:
    yield from embeds(architecture, lambda i: f"patch_embeds.{i}")
    for i, j, ours, _ in blocks(architecture):
        block, operator = f"main_blocks.{i}.{j // 2}.{j % 2}", f"{ours}.mixer.operator"
        yield row(f"{block}.cpe.0.proj", f"{ours}.position.conv")
        yield row(f"{block}.cpe.1.proj", f"{ours}.ffn_position.conv")
        yield row(f"{block}.norm1", f"{ours}.mixer.norm")
        yield row(f"{block}.norm2", f"{ours}.ffn.norm")
        yield row(f"{block}.attn.qkv", *fused(operator))
        yield row(f"{block}.attn.proj", f"{operator}.proj")
        for name in ("fc1", "fc2"):
            yield row(f"{block}.mlp.{name}", f"{ours}.ffn.operator.{name}")
    yield row("norms", "head.norm")
    yield row("head", "head.fc")


def segmenting(architecture: Architecture, backbone: Iterator[Row]) -> Iterator[Row]:
    """mmsegmentation's network on a backbone."""
    for name, modules, change in backbone:
        if not modules[0].startswith("head."):
            yield f"backbone.{name}", modules, change
    yield row("decode_head.conv_seg", "head.fc", change=conv)
    if architecture.head.type == "semantics_injection":
        yield row("decode_head.linear_fuse.conv", "head.fuse.conv" if architecture.head.depthwise else "head.fuse.linear", change=conv)
        yield row("decode_head.linear_fuse.bn", "head.fuse.bn")
        for i in range(3):
            for official, name in (("local_embedding", "local"), ("global_embedding", "embed"), ("global_act", "gate")):
                yield row(f"backbone.SIM.{i + 1}.{official}.conv", f"taps.{i}.{name}.linear", change=conv)
                yield row(f"backbone.SIM.{i + 1}.{official}.bn", f"taps.{i}.{name}.bn")
        return
    if architecture.head.type == "upernet":
        yield from upernet()
        return
    for i, num_convs in enumerate((1, 1, 2, 3)):
        yield row(f"backbone.norm{i if architecture.name.startswith('davit') else i + 1}", f"taps.{i}.norm")
        yield row(f"neck.lateral_convs.{i}.conv", f"taps.{i}.linear", change=conv)
        yield row(f"neck.fpn_convs.{i}.conv", f"head.levels.{i}.pyramid")
        for j in range(num_convs):
            yield row(f"decode_head.scale_heads.{i}.{2 * j}.conv", f"head.levels.{i}.convs.{j}.0")
            yield row(f"decode_head.scale_heads.{i}.{2 * j}.bn", f"head.levels.{i}.convs.{j}.1")


def upernet() -> Iterator[Row]:
    """`UPerHead` on DaViT's output norms."""
    for i in range(4):
        yield row(f"backbone.norm{i}", f"taps.{i}.norm")
        yield row(f"decode_head.psp_modules.{i}.1.conv", f"taps.3.pools.{i}.linear", change=conv)
        yield row(f"decode_head.psp_modules.{i}.1.bn", f"taps.3.pools.{i}.bn")
    for i in range(3):
        yield row(f"decode_head.lateral_convs.{i}.conv", f"taps.{i}.lateral.linear", change=conv)
        yield row(f"decode_head.lateral_convs.{i}.bn", f"taps.{i}.lateral.bn")
    inside = {"bottleneck": ("taps.3.bottleneck", 5), "fpn_bottleneck": ("head.bottleneck", 4)}
    for official, (ours, num_maps) in (inside | {f"fpn_convs.{i}": (f"head.levels.{i}", 1) for i in range(3)}).items():
        # Our convolutions of several maps are one official convolution of all their channels.
        yield row(f"decode_head.{official}.conv", *(f"{ours}.convs.{j}" for j in range(num_maps)))
        yield row(f"decode_head.{official}.bn", f"{ours}.bn")


FAMILIES = {"uniformer": uniformer, "container": uniformer, "shunted": shunted, "topformer": topformer, "davit": davit}
