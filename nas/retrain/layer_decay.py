"""Layer-wise learning rates for fine-tuning (https://arxiv.org/abs/2106.08254, appendix): early layers change least."""

from __future__ import annotations

from space.network import TokenMixerNet


def layer_lr_scales(network: TokenMixerNet, decay: float) -> dict[str, float]:
    """Factors of the learning rate by parameter name: 1 for the head, `decay` for the last block, down to the stem.

    Args:
        network: its `group_matcher` tells the layers.
    """
    # Imported here: it takes seconds, and most trainings need it not.
    from timm.models import group_parameters

    layers = group_parameters(network, network.group_matcher(), reverse=True)
    last = max(layers.values())
    return {name: decay ** (last - layer) for name, layer in layers.items()}
