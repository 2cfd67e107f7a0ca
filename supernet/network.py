"""The supernet: shared weights that run every architecture of a space."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Literal

import torch
from torch import Tensor, nn
from torch.func import functional_call

from space.architecture import Architecture, Part
from space.network import TokenMixerNet, build_network
from space.parts import build_part
from space.search_space import SearchSpace
from supernet.seeding import seeded
from supernet.sharing import leading_slice, shared_name, shared_tensors

Statistics = dict[str, Tensor]
"""Running statistics of one architecture's batch norms, by the network's buffer names."""
Mode = Literal["training", "calibration", "evaluation"]
"""Whether batch norms use the batch's statistics, use and average them, or use averaged ones."""
Sharing = tuple[str, str, torch.Size]
"""A parameter's name, the name of the shared tensor of which it is a leading slice, and its shape."""


class Supernet(nn.Module):
    """Shared weights of a space. Running an architecture changes no state.

    An architecture's network is the plain one of `space`, called on views of the shared tensors; exporting copies these views.

    Args:
        space: the space whose architectures can run.
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
        # Making modules would take half of a step's time; a space has few different parts, but many architectures.
        self._module = lru_cache(maxsize=None)(_module)
        # A training step and a trial's evaluation call one network many times; few are in use at once.
        self._skeleton = lru_cache(maxsize=16)(self._make_skeleton)

    def forward(
        self,
        images_BCHW: Tensor,
        architecture: Architecture,
        statistics: Statistics | None = None,
        fresh: Statistics | None = None,
        weights: Mapping[str, Tensor] | None = None,
    ) -> Tensor:
        """Logits (B, classes) of one architecture.

        Args:
            statistics: of its batch norms, as `calibrate` returns them; without them batch norms use the batch's own, as in training.
            fresh: where the batch's own statistics are averaged into.
            weights: to run instead of `weights(architecture)`.
        """
        mode: Mode = "evaluation" if statistics is not None else "calibration" if fresh is not None else "training"
        tensors = {**(self.weights(architecture) if weights is None else weights), **(statistics or fresh or {})}
        return functional_call(self._skeleton(architecture, mode)[0], tensors, (images_BCHW,), tie_weights=False)

    def weights(self, architecture: Architecture, view: Callable[[nn.Parameter, torch.Size], Tensor] = leading_slice) -> dict[str, Tensor]:
        """Views of the shared tensors, by the parameter names of the architecture's network.

        Args:
            view: makes the view of a shared parameter for a parameter of some shape.
        """
        return {name: view(self._by_name[shared], shape) for name, shared, shape in self._skeleton(architecture, "training")[1]}

    def no_statistics(self, architecture: Architecture) -> Statistics:
        """Statistics of batch norms before the first batch: mean 0, variance 1."""
        device = next(self.parameters()).device

        def make(name: str, buffer: Tensor) -> Tensor:
            fill = torch.ones if name.endswith("running_var") else torch.zeros
            # Batch norms read the number of batches in Python, which would wait for another device.
            return fill(buffer.shape, dtype=buffer.dtype, device=device if buffer.is_floating_point() else "cpu")

        return {name: make(name, buffer) for name, buffer in self._skeleton(architecture, "training")[0].named_buffers()}

    def _make_skeleton(self, architecture: Architecture, mode: Mode) -> tuple[TokenMixerNet, list[Sharing]]:
        """An architecture's network on the meta device, and how its parameters are shared."""
        network = build_network(architecture, device="meta", build=lambda part, _: self._module(part, mode)[0])
        sharing = [
            (f"{part.path}.{name}", shared, shape) for part in architecture.parts for name, shared, shape in self._module(part, mode)[1]
        ]
        return (network.eval() if mode == "evaluation" else network), sharing

    def export(self, architecture: Architecture, statistics: Statistics) -> dict[str, Tensor]:
        """A state dict for `build_network(architecture)`: copies of the weights that run, and the statistics."""
        tensors: Mapping[str, Tensor] = {**self.weights(architecture), **statistics}
        return {name: tensor.detach().clone().contiguous() for name, tensor in tensors.items()}


def _module(part: Part, mode: Mode) -> tuple[nn.Module, list[Sharing]]:
    """A part's module on the meta device, and how its parameters are shared."""
    module = build_part(part, device="meta")
    for inner in module.modules():
        if isinstance(inner, nn.modules.batchnorm._BatchNorm):
            # Plain averages over the batches, not exponential ones: calibration runs each batch once.
            inner.momentum = None
            inner.track_running_stats = mode != "training"
    return module, [(name, shared_name(part, name), parameter.shape) for name, parameter in module.named_parameters()]
