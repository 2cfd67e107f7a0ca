"""The supernet: shared weights that run every architecture of a space."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Literal

import torch
from torch import Tensor, nn
from torch.func import functional_call

from space.architecture import Architecture, Part
from space.network import TokenMixerNet, build_network, build_part
from space.search_space import SearchSpace
from supernet.randomness import seeded
from supernet.slicing import leading_slice, shared_name, shared_tensors

Statistics = dict[str, Tensor]
"""Running statistics of one architecture's batch norms, by the network's own buffer names."""
Mode = Literal["training", "calibration", "evaluation"]
"""Batch norms use the batch's statistics; these and average them; averaged ones."""
View = Callable[[nn.Parameter, torch.Size], Tensor]
Sharing = tuple[str, str, torch.Size]
"""A parameter's name and shape, and between them the name of the shared tensor of which it is a leading slice."""


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
        # Looking up hundreds of them in the module takes milliseconds.
        self._by_name = dict(self.shared.items())
        # Making modules would take half of a step's time; their parts are few beside the architectures that they make.
        self._module = lru_cache(maxsize=None)(_module)
        # A step of training and the evaluation of a trial call one network many times; few are in use at once.
        self._skeleton = lru_cache(maxsize=16)(self._make_skeleton)

    def forward(self, images_BCHW: Tensor, architecture: Architecture, statistics: Statistics | None = None) -> Tensor:
        """Logits (B, classes) of one architecture.

        Args:
            statistics: of its batch norms, as `calibrate` makes them; without them every batch norm uses the
                batch's own, as in training.
        """
        return self.call(images_BCHW, architecture, statistics, fresh=None)

    def call(
        self,
        images_BCHW: Tensor,
        architecture: Architecture,
        statistics: Statistics | None,
        fresh: Statistics | None,
        weights: Mapping[str, Tensor] | None = None,
    ) -> Tensor:
        """As `forward`; in training mode the batch norms' statistics are averaged into `fresh`.

        Args:
            weights: what to run instead of `weights(architecture)`.
        """
        mode: Mode = "evaluation" if statistics is not None else "calibration" if fresh is not None else "training"
        tensors = {**(self.weights(architecture) if weights is None else weights), **(statistics or fresh or {})}
        return functional_call(self._skeleton(architecture, mode)[0], tensors, (images_BCHW,), tie_weights=False)

    def weights(self, architecture: Architecture, view: View = leading_slice) -> dict[str, Tensor]:
        """Views of the shared tensors, by the names of the architecture's own network.

        Args:
            view: makes the view of a shared parameter that a tensor of some shape sees.
        """
        return {name: view(self._by_name[shared], shape) for name, shared, shape in self._skeleton(architecture, "training")[1]}

    def no_statistics(self, architecture: Architecture) -> Statistics:
        """Statistics of batch norms that have seen nothing: mean 0, variance 1, no batches."""
        device = next(self.parameters()).device
        return {
            name: (torch.ones if name.endswith("running_var") else torch.zeros)(buffer.shape, dtype=buffer.dtype, device=device)
            for name, buffer in self._skeleton(architecture, "training")[0].named_buffers()
        }

    def _make_skeleton(self, architecture: Architecture, mode: Mode) -> tuple[TokenMixerNet, list[Sharing]]:
        """An architecture's network without memory, and its parameters."""
        network = build_network(architecture, device="meta", build=lambda part, _: self._module(part, mode)[0])
        sharing = [
            (f"{part.path}.{name}", shared, shape) for part in architecture.parts for name, shared, shape in self._module(part, mode)[1]
        ]
        return (network.eval() if mode == "evaluation" else network), sharing

    def export(self, architecture: Architecture, statistics: Statistics) -> dict[str, Tensor]:
        """A state dict for `build_network(architecture)`: copies of the weights that ran, and the statistics."""
        tensors: Mapping[str, Tensor] = {**self.weights(architecture), **statistics}
        return {name: tensor.detach().clone().contiguous() for name, tensor in tensors.items()}


def _module(part: Part, mode: Mode) -> tuple[nn.Module, list[Sharing]]:
    """A part's module without memory, and its parameters."""
    module = build_part(part, device="meta")
    for inner in module.modules():
        if isinstance(inner, nn.modules.batchnorm._BatchNorm):
            # Plain averages over the batches that are shown, not exponential ones: calibration shows each once.
            inner.momentum = None
            inner.track_running_stats = mode != "training"
    return module, [(name, shared_name(part, name), parameter.shape) for name, parameter in module.named_parameters()]
