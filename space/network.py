"""The network of an architecture."""

import torch

from space.architecture import Architecture
from space.backbone import BuildPart, TokenMixerNet
from space.classification import ClassificationNet
from space.dense import DenseNet
from space.parts import build_part, check_size, parameters_on

__all__ = ["BuildPart", "TokenMixerNet", "build_network"]


def build_network(
    architecture: Architecture,
    drop_path_rate: float = 0.0,
    device: torch.device | str | None = None,
    drop_rate: float = 0.0,
    global_pool: str = "avg",
    build: BuildPart | None = None,
    dtype: torch.dtype | None = None,
) -> TokenMixerNet:
    """Build the network of an architecture, freshly initialised from torch's global random state.

    Args:
        drop_path_rate: stochastic depth of the last block; it grows linearly from zero over the blocks.
        device: of the parameters, torch's current default by default; `"meta"` makes shapes without memory.
        drop_rate: of dropout before the classifier: of numbers, or of whole channels where every pixel is labelled.
        global_pool: as in `ClassificationNet.reset_classifier`; other heads do not pool.
        build: makes the parts, instead of `build_part`.
        dtype: of the parameters and statistics, single precision by default.

    Raises:
        SpaceError: the network has more than `MAX_PARAMS` parameters, and the device is not `"meta"`.
    """
    device = torch.device(device or torch.get_default_device())
    if device.type != "meta":
        check_size(architecture.name, architecture.parts)
    with parameters_on(device):
        kind = DenseNet if architecture.parts[-1].maps else ClassificationNet
        network = kind(architecture, drop_path_rate, drop_rate, global_pool, build or build_part)
        return network.to(dtype) if dtype else network
