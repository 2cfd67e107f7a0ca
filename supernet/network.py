"""The supernet: shared weights that run every architecture of a space."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

import torch
from torch import Tensor, nn
from torch.func import functional_call

from space.architecture import Architecture
from space.network import TokenMixerNet, build_network
from space.search_space import SearchSpace
from supernet.randomness import seeded
from supernet.slicing import shared_tensors, views

Statistics = dict[str, Tensor]
"""Running statistics of one architecture's batch norms, by the network's own buffer names."""


class Supernet(nn.Module):
    """Shared weights of a space. Running an architecture changes no state.

    An architecture's network is the plain one of `space`, called on views of the shared tensors; exporting copies
    these very views.

    Args:
        space: the space whose members can run.
        seed: of the initial weights.
        shared: trained weights by shared name, instead of initial ones.
    """

    def __init__(self, space: SearchSpace, seed: int = 0, shared: Mapping[str, Tensor] | None = None) -> None:
        super().__init__()
        self.space = space
        if shared is None:
            with seeded("supernet", seed):
                shared = shared_tensors(space)
        self.shared = nn.ParameterDict({name: nn.Parameter(tensor) for name, tensor in shared.items()})
        # A step of training and the evaluation of a trial call one network many times; few are in use at once.
        self._skeleton = lru_cache(maxsize=16)(_skeleton)

    def forward(self, images_BCHW: Tensor, architecture: Architecture, statistics: Statistics | None = None) -> Tensor:
        """Logits (B, classes) of one architecture.

        Args:
            statistics: of its batch norms, as `calibrate` makes them; without them every batch norm uses the
                batch's own, as in training.
        """
        return self.call(images_BCHW, architecture, statistics, fresh=None)

    def call(
        self, images_BCHW: Tensor, architecture: Architecture, statistics: Statistics | None, fresh: Statistics | None
    ) -> Tensor:
        """As `forward`; in training mode the batch norms' statistics are averaged into `fresh`."""
        skeleton = self._skeleton(architecture)
        skeleton.train(statistics is None)
        buffers = statistics or fresh or self.no_statistics(architecture)
        return functional_call(skeleton, {**self.weights(architecture), **buffers}, (images_BCHW,))

    def weights(self, architecture: Architecture) -> dict[str, Tensor]:
        """Views of the shared tensors, by the names of the architecture's own network."""
        return views(self._skeleton(architecture), architecture, dict(self.shared.items()))

    def no_statistics(self, architecture: Architecture) -> Statistics:
        """Statistics of batch norms that have seen nothing: mean 0, variance 1, no batches."""
        device = next(self.parameters()).device
        return {
            name: (torch.ones if name.endswith("running_var") else torch.zeros)(buffer.shape, dtype=buffer.dtype, device=device)
            for name, buffer in self._skeleton(architecture).named_buffers()
        }

    def export(self, architecture: Architecture, statistics: Statistics) -> dict[str, Tensor]:
        """A state dict for `build_network(architecture)`: copies of the weights that ran, and the statistics."""
        tensors: Mapping[str, Tensor] = {**self.weights(architecture), **statistics}
        return {name: tensor.detach().clone().contiguous() for name, tensor in tensors.items()}


def _skeleton(architecture: Architecture) -> TokenMixerNet:
    network = build_network(architecture, device="meta")
    for module in network.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            # Plain averages over the batches that are shown, not exponential ones: calibration shows each once.
            module.momentum = None
    return network
