"""Racing: an evaluation stops when it is sure that the candidate is not among the best.

The images are common, so candidates are compared image by image: the spread of the differences is far smaller than that
of the log-likelihoods. What is decided is the difference on all images from that on a part of them, drawn at random
without repetition; hence the correction for a finite population, which leaves no doubt when all are drawn. Means are
what is ranked by, so means are tested, and not ranks as by Wilcoxon's test, whose median may point the other way.
"""

from __future__ import annotations

import math
from bisect import insort
from collections.abc import Sequence

import torch
from torch import Tensor

from supernet.accuracy import PerImage, Score

SURE = 2.5
"""Standard errors that a candidate has to lie behind."""
EVERY = 32
"""Images between two looks."""


class Race:
    """Evaluations one after another, on the same images in the same order.

    Args:
        keep: so many of the best are evaluated in full.
        num_images: of a full evaluation.
    """

    def __init__(self, keep: int, num_images: int) -> None:
        self._keep, self._num_images = keep, num_images
        self._best: list[PerImage] = []

    def is_lost(self, so_far: PerImage) -> bool:
        """Whether the candidate is surely worse than the last of those to be kept."""
        if len(self._best) < self._keep:
            return False
        differences = so_far.log_likelihoods - self._best[-1].log_likelihoods[: len(so_far)]
        left = 1 - len(so_far) / self._num_images
        stderr = differences.std().item() * math.sqrt(left / len(so_far))
        return differences.mean().item() < -SURE * stderr

    def score(self, judged: PerImage) -> Score:
        """A candidate's score; of one that was stopped, what its part of the images lets expect of all of them."""
        if len(judged) == self._num_images:
            insort(self._best, judged, key=lambda one: -one.log_likelihoods.mean().item())
            del self._best[self._keep :]
            return judged.score
        # Parts differ in difficulty, and the rival tells by how much.
        rival, count = self._best[-1], len(judged)
        part = PerImage(
            rival.log_likelihoods.mean() + judged.log_likelihoods - rival.log_likelihoods[:count],
            rival.hits.mean() + judged.hits - rival.hits[:count],
        )
        return part.score


def shuffled(batches: Sequence[tuple[Tensor, Tensor]], seed: int) -> list[tuple[Tensor, Tensor]]:
    """All images in random order, in batches that end where a race is looked at."""
    images_BCHW, labels_B = (torch.cat(parts) for parts in zip(*batches, strict=True))
    order = torch.randperm(len(labels_B), generator=torch.Generator().manual_seed(seed)).to(labels_B.device)
    ends = looks(len(labels_B))
    sizes = [end - start for start, end in zip([0, *ends], ends, strict=False)]
    return list(zip(images_BCHW[order].split(sizes), labels_B[order].split(sizes), strict=True))


def looks(num_images: int) -> list[int]:
    """How many images have been judged when a race is looked at; the last time all."""
    return [*range(EVERY, num_images, EVERY), num_images]
