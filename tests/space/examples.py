"""Architectures and spaces for tests: hypothesis strategies, and ones small enough to count by hand."""

import random

import torch
from hypothesis import strategies as st
from torch import nn

from space import Architecture, BlockSpec, SearchSpace, StageChoices, StageSpec, load_architecture, load_space, space_names
from space.kinds import DOWNSAMPLERS, FFNS, HEADS, MIXERS, NORMS, POSITIONS, STEMS
from space.names import as_name
from space.taps import task_of

SPACES = {name: load_space(name) for name in space_names()}

MIXER_SPECS = (
    MIXERS("local_mhra", kernel_size=5),
    MIXERS("global_mhra", head_dim=16),
    MIXERS("ssa", sr_ratio=2, head_dim=16),
    MIXERS("bn_conv_attention", key_dim=8, num_heads=3),
    MIXERS("window", window_size=5, head_dim=8),
    MIXERS("channel_group", head_dim=8),
    MIXERS("container", head_dim=32),
)
NORM_SPECS = (NORMS("none"), NORMS("batch_norm"), NORMS("layer_norm", eps=1e-6))
POSITION_SPECS = (POSITIONS("none"), POSITIONS("dpe"), POSITIONS("dpe", kernel_size=5, act=True))

blocks = st.builds(
    BlockSpec,
    position=st.sampled_from(POSITION_SPECS),
    mixer=st.sampled_from(MIXER_SPECS),
    ffn_position=st.sampled_from(POSITION_SPECS),
    ffn=st.builds(FFNS, st.sampled_from(FFNS.names()), ratio=st.integers(1, 8)),
    norm=st.none() | st.sampled_from(NORM_SPECS),
    layer_scale=st.none() | st.floats(1e-7, 1.0),
)


@st.composite
def stages(draw, first: bool) -> StageSpec:
    """A stage of up to six blocks, equal ones among them in a row and apart."""
    kinds = draw(st.lists(blocks, min_size=1, max_size=2))
    return StageSpec(
        width=draw(st.sampled_from((32, 64, 96))),
        downsample=None if first else DOWNSAMPLERS(draw(st.sampled_from(DOWNSAMPLERS.names()))),
        blocks=tuple(draw(st.lists(st.sampled_from(kinds), min_size=1, max_size=6))),
        norm=draw(st.sampled_from(NORM_SPECS)),
    )


hand_built = st.builds(
    Architecture,
    name=st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), max_size=12).map(as_name),
    # So large that merging 2x2 tokens finds them in the second stage even behind a stem of stride 32.
    image_size=st.integers(97, 128),
    num_classes=st.integers(0, 20),
    stem=st.builds(STEMS, st.sampled_from(STEMS.names())),
    stages=st.tuples(stages(first=True), stages(first=False)),
    head=st.builds(HEADS, st.sampled_from([name for name in HEADS.names() if task_of(HEADS(name)) == "classification"]),
                   norm=st.sampled_from(NORM_SPECS)),
)

sampled = st.builds(lambda name, seed: SPACES[name].sample(random.Random(seed)), st.sampled_from(sorted(SPACES)), st.integers(0, 2**32))


def tiny_space() -> SearchSpace:
    """Two stages of at most two blocks: few enough members to write them all down."""
    return SearchSpace(
        name="tiny",
        image_size=32,
        num_classes=2,
        stages=(
            StageChoices(widths=(32,), depths=(1, 2), mixers=("channel_group", {"type": "local_mhra", "kernel_size": [3]}),
                         ffns=({"type": "mlp", "ratio": [1, 2]},)),
            StageChoices(widths=(32, 64), depths=(1,), downsample="conv_downsample", positions=("dpe",),
                         mixers=("channel_group", "global_mhra"), ffns=({"type": "dw_ffn", "ratio": 1},)),
        ),
    )


def shortened(name: str) -> Architecture:
    """A published network with each of a stage's distinct blocks once: all that is in it, in a fraction of the time."""
    parent = load_architecture(name)
    return parent.replace(stages=tuple(stage.model_copy(update={"blocks": tuple(dict.fromkeys(stage.blocks))}) for stage in parent.stages))


def randomised(module: nn.Module) -> nn.Module:
    """The module with every tensor random, in place: fresh zeros and ones would hide what they multiply."""
    generator = torch.Generator().manual_seed(0)
    for name, tensor in module.state_dict().items():
        if tensor.is_floating_point():
            noise = torch.randn(tensor.shape, generator=generator)
            # Variances are positive; norms multiply by about one, or deep networks would explode or fade.
            is_scale = name.endswith("running_var") or (name.endswith("weight") and tensor.ndim == 1)
            tensor.copy_((0.3 * noise).exp() if is_scale else 0.1 * noise if tensor.ndim < 2 else noise * tensor[0].numel() ** -0.5)
    return module
