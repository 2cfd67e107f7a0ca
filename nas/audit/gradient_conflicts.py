"""Whether operators pull what they share the same way: cosines of the gradients that they give the rest of a supernet."""

from __future__ import annotations

import random
from collections.abc import Sequence
from itertools import combinations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from space.architecture import Architecture
from space.search_space import SearchSpace
from supernet.network import Supernet
from supernet.seeding import seeded


def gradient_cosines(
    supernet: Supernet, contexts: Sequence[Architecture], images_BCHW: Tensor, labels_B: Tensor, seed: int = 0
) -> dict[tuple[str, str], list[float]]:
    """Cosines by pair of mixers, one a context in which both can stand.

    In every context one block, drawn at random, holds each mixer of its stage in turn; the gradients of all tensors that
    every one of these architectures uses are compared. 1 is agreement, 0 indifference, less than 0 conflict.
    """
    rng = random.Random(f"{seed} conflicts")
    cosines: dict[tuple[str, str], list[float]] = {}
    parameters = dict(supernet.shared.items())
    for context in contexts:
        gradients = {}
        for mixer, architecture in _variants(supernet.space, context, rng):
            with seeded("conflicts", seed):
                loss = F.cross_entropy(supernet(images_BCHW, architecture), labels_B)
            found = torch.autograd.grad(loss, list(parameters.values()), allow_unused=True)
            gradients[mixer] = {name: one for name, one in zip(parameters, found, strict=True) if one is not None}
        common = set.intersection(*(set(one) for one in gradients.values()))
        flat = {mixer: torch.cat([one[name].flatten() for name in sorted(common)]) for mixer, one in gradients.items()}
        for pair in combinations(sorted(flat), 2):
            cosines.setdefault(pair, []).append(float(F.cosine_similarity(flat[pair[0]], flat[pair[1]], dim=0)))
    return cosines


def mean_cosines(cosines: dict[tuple[str, str], list[float]]) -> dict[str, float]:
    """The mean cosine of every mixer with the others."""
    mixers = sorted({mixer for pair in cosines for mixer in pair})
    return {mixer: float(np.mean([value for pair, values in cosines.items() if mixer in pair for value in values])) for mixer in mixers}


def _variants(space: SearchSpace, context: Architecture, rng: random.Random) -> list[tuple[str, Architecture]]:
    """The context with one block's mixer exchanged, for every type of mixer that the stage offers."""
    i = rng.randrange(len(context.stages))
    j = rng.randrange(len(context.stages[i].blocks))
    variants: dict[str, Architecture] = {}
    for mixer in space.mixers[i]:
        stage = context.stages[i]
        blocks = tuple(block.model_copy(update={"mixer": mixer}) if k == j else block for k, block in enumerate(stage.blocks))
        stages = tuple(stage.model_copy(update={"blocks": blocks}) if k == i else other for k, other in enumerate(context.stages))
        variants.setdefault(mixer.type, context.replace(stages=stages))
    return list(variants.items())
