"""Whether operators conflict in training: cosines between the gradients that they cause in the rest of a supernet."""

from __future__ import annotations

import random
from collections.abc import Sequence
from itertools import combinations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from nas.report.ablation import with_mixer
from space.architecture import Architecture
from space.search_space import SearchSpace
from supernet.network import Supernet
from supernet.seeding import seeded
from supernet.tasks.task import Task


def gradient_cosines(
    supernet: Supernet, contexts: Sequence[Architecture], images_BCHW: Tensor, targets: Tensor, task: Task, seed: int = 0
) -> dict[tuple[str, str], list[float]]:
    """Cosines by pair of mixers, one for each context that allows both.

    A context is an architecture. One of its blocks, drawn at random, gets each mixer of its stage in turn; the gradients of all tensors
    that every one of these variants uses are compared. 1 means the same direction, less than 0 a conflict.
    """
    rng = random.Random(f"{seed} conflicts")
    cosines: dict[tuple[str, str], list[float]] = {}
    parameters = dict(supernet.shared.items())
    for context in contexts:
        gradients = {}
        for mixer, architecture in _variants(supernet.space, context, rng):
            with seeded("conflicts", seed):
                loss = task.loss(supernet(images_BCHW, architecture), targets, 0.0)
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
    """The context with another mixer in one block, one for each type that the stage offers."""
    i = rng.randrange(len(context.stages))
    j = rng.randrange(len(context.stages[i].blocks))
    variants: dict[str, Architecture] = {}
    for mixer in space.mixers[i]:
        variants.setdefault(mixer.type, with_mixer(context, i, j, mixer))
    return list(variants.items())
