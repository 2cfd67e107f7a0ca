"""Trained networks that teach the paths of a supernet which are most like them (https://arxiv.org/abs/1503.02531)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from space.architecture import Architecture
from space.errors import UserError, one_line
from space.network import TokenMixerNet
from supernet.training.losses import Distilled

WEIGHT, TEMPERATURE = 0.5, 3.0
"""Of the teacher's probabilities in the loss; the labels have the rest."""


class Teachers:
    """Gives distillation targets for the images of a step.

    Args:
        networks: with the classes of the supernet, each tried on an image of the supernet's size. UserError where one does not fit.
    """

    def __init__(self, networks: Sequence[TokenMixerNet], num_classes: int, in_chans: int, image_size: int) -> None:
        for network in networks:
            name = network.architecture.name
            if network.num_classes != num_classes:
                expected = f"expected one fine-tuned on the data's {num_classes}, as by nas.retrain {name} --from {name}"
                raise UserError(f"teacher: got {name} with {network.num_classes} classes, {expected}")
            try:
                with torch.no_grad():
                    network.eval()(torch.zeros(1, in_chans, image_size, image_size))
            except (RuntimeError, ValueError, AssertionError) as error:
                raise UserError(f"teacher: got {name}, expected a network for images of {image_size} px ({one_line(error):.100})") from None
        self._networks = [network.requires_grad_(False) for network in networks]
        self._operators = [_operators(network.architecture) for network in networks]

    def nearest(self, architecture: Architecture) -> TokenMixerNet:
        """The network that has most operators in the same places; of equals the first."""
        own = _operators(architecture)
        return self._networks[max(range(len(self._networks)), key=lambda index: len(own & self._operators[index]))]

    @torch.no_grad()
    def distil(self, architecture: Architecture, logits_BC: Tensor, images_BCHW: Tensor) -> Distilled:
        """A path's logits with the probabilities that its nearest teacher gives the same images."""
        own_BC = self.nearest(architecture).to(images_BCHW.device)(images_BCHW).float()
        return Distilled(logits_BC, (own_BC / TEMPERATURE).softmax(1), WEIGHT, TEMPERATURE)


def _operators(architecture: Architecture) -> frozenset[tuple[str, str]]:
    return frozenset((part.path, part.spec.operator) for part in architecture.parts)
