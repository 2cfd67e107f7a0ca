"""Weights of the official implementations: UniFormer, Shunted Transformer, TopFormer, Container, DaViT, and timm's DaViT.

Head counts cannot be read off a state dict, since a fused matrix looks the same for any of them: they come from the
network's architecture.
"""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor

from space.errors import SpaceError
from space.network import TokenMixerNet
from space.official.davit import DAVIT, TIMM
from space.official.layout import Layout
from space.official.shunted import SHUNTED
from space.official.topformer import TOPFORMER
from space.official.uniformer import CONTAINER, UNIFORMER
from space.official.weights import Weights

# Container's state dicts have UniFormer's marks too.
LAYOUTS = (CONTAINER, UNIFORMER, SHUNTED, TOPFORMER, DAVIT, TIMM)
MAX_LISTED = 4


def load_official(network: TokenMixerNet, state_dict: Weights) -> int:
    """Fill a network with the weights of its official implementation, whichever of the known ones that is.

    Returns the number of official tensors placed. Raises SpaceError, and leaves the network as it was, where the state
    dict is of no known layout, or has keys that are missing, left over or of another shape.
    """
    name = network.architecture.name
    for key, value in state_dict.items():
        if not isinstance(value, Tensor):
            raise SpaceError(f"weights: {key}: got {type(value).__name__}, expected a tensor")
    layout = _layout_of(state_dict)
    try:
        convert = layout.convert(network.architecture)
    except SpaceError as error:
        raise SpaceError(f"weights: got {layout.name}'s, which do not fit {name}: {error}") from None
    ours = network.state_dict()
    # What has no official counterpart is missing under its own name.
    official = {key: convert.origin(key) or key for key in ours}
    placed = {key: value for key, value in state_dict.items() if key in official.values()}
    converted = convert(placed)
    # A counter of batches changes nothing at inference, and old checkpoints have none.
    missing = [official[key] for key in ours if key not in converted and not key.endswith("num_batches_tracked")]
    left_over = [key for key in state_dict if key not in placed]
    reshaped = {
        official[key]: f"{official[key]}: got {_shape(value)}, expected {_shape(ours[key])} in {key}"
        for key, value in converted.items() if value.shape != ours[key].shape
    }
    mistakes = [
        _listed("missing", dict.fromkeys(missing)), _listed("left over", left_over), _listed("of another shape", reshaped.values()),
    ]
    if any(mistakes):
        raise SpaceError(f"weights: got {layout.name}'s, which do not fit {name}: {'; '.join(filter(None, mistakes))}")
    network.load_state_dict(converted, strict=False)
    return len(placed)


def _layout_of(state_dict: Weights) -> Layout:
    for layout in LAYOUTS:
        if layout.fits(state_dict):
            return layout
    keys = ", ".join(list(state_dict)[:MAX_LISTED]) or "none"
    raise SpaceError(f"weights: got the keys {keys}, ..., expected those of {', '.join(layout.name for layout in LAYOUTS)}")


def _listed(kind: str, keys: Iterable[str]) -> str:
    keys = list(keys)
    more = f", and {len(keys) - MAX_LISTED} more" if len(keys) > MAX_LISTED else ""
    return f"{len(keys)} {kind} ({', '.join(keys[:MAX_LISTED])}{more})" if keys else ""


def _shape(tensor: Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "one number"
