"""What a network begins its training with: weights of its own architecture, or those of another network where they fit."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from space.errors import SpaceError
from space.network import TokenMixerNet
from space.pretrained.fetching import NamedWeights, Say, find_weights
from space.pretrained.loading import load_pretrained
from space.weights import load_weights
from supernet.warm_start import inherit_network


@dataclass(frozen=True)
class Origin:
    """Trained weights.

    Args:
        weights: a file of the architecture's own weights, or those of a named network.
        folder: where to look for named weights before the hub.
    """

    weights: Path | NamedWeights
    folder: Path | None = None

    def fill(self, network: TokenMixerNet, say: Say, fetches: bool = True) -> None:
        """Give a network the weights; a classifier for other classes keeps its initial ones.

        A named network's tensors go to the same operators in the same places, as in a supernet (`supernet.warm_start.inherit`).

        Args:
            fetches: whether to fetch them; otherwise nothing is filled where that would be needed.

        Raises:
            SpaceError: the weights cannot be found or read, or none of them fit.
        """
        if isinstance(self.weights, Path):
            if load_weights(network, self.weights, other_classes=True):
                say(f"{self.weights}: its head is for other classes and begins at random")
            return
        file = find_weights(self.weights, self.folder, say, fetches)
        if file is None:
            return
        inherited = inherit_network(network, load_pretrained(self.weights.name, file, say))
        tensors = dict(network.named_parameters())
        if not inherited.slices:
            raise SpaceError(f"{self.weights}: got no operator that {network.architecture.name} has in the same place, expected some")
        share = inherited.num_params / sum(tensor.numel() for tensor in tensors.values())
        say(f"{inherited.architecture.name}: filled {len(inherited.slices)} of {len(tensors)} tensors, {share:.1%} of the parameters")
