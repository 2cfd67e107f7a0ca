"""Racing: an evaluation stops when the candidate is surely not among the best.

Candidates are compared image by image on common images: the differences vary far less than the log-likelihoods. The test is about the
mean difference on all images, given that on some, drawn at random without replacement; hence the correction for a finite population,
which leaves no doubt when all are drawn. Architectures are ranked by means, so means are tested, and not ranks as in Wilcoxon's test,
whose median may have the other sign.
"""

from __future__ import annotations

import math
from bisect import insort
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from supernet.score import PerImage, Score

LOST_BY_STDERRS = 2.5
"""Standard errors by which a lost candidate's mean is lower."""
EVERY = 32
"""Images between two tests."""


class Race:
    """Evaluations one after another, on the same images in the same order.

    Args:
        keep: how many of the best are evaluated on all images.
        num_images: of a full evaluation.
    """

    def __init__(self, keep: int, num_images: int) -> None:
        self._keep, self._num_images = keep, num_images
        self._best: list[PerImage] = []

    def is_lost(self, so_far: PerImage) -> bool:
        """Whether the candidate is surely worse than the last of the best."""
        if len(self._best) < self._keep or len(so_far) % EVERY:
            return False
        differences = so_far.log_likelihoods - self._best[-1].log_likelihoods[: len(so_far)]
        remaining = 1 - len(so_far) / self._num_images
        stderr = differences.std().item() * math.sqrt(remaining / len(so_far))
        return differences.mean().item() < -LOST_BY_STDERRS * stderr

    def score(self, judged: PerImage) -> Score:
        """A candidate's score; for one that was stopped, the score expected on all images."""
        if len(judged) == self._num_images:
            insort(self._best, judged, key=lambda one: -one.log_likelihoods.mean().item())
            del self._best[self._keep :]
            return judged.score
        # Images differ in difficulty; the rival's scores on the same images correct for that.
        rival, of_same = self._best[-1], self._best[-1].first(len(judged))
        expected = replace(
            judged,
            log_likelihoods=rival.log_likelihoods.mean() + judged.log_likelihoods - of_same.log_likelihoods,
            counts=rival.counts.mean(0) + judged.counts - of_same.counts,
        )
        return expected.score


def shuffled(batches: Sequence[tuple[Tensor, Tensor]], seed: int) -> list[tuple[Tensor, Tensor]]:
    """All images in random order, in batches that end where a race is tested; images of different sizes are batches of their own."""
    pairs = [pair for images_BCHW, targets in batches for pair in zip(images_BCHW, targets, strict=True)]
    order = torch.randperm(len(pairs), generator=torch.Generator().manual_seed(seed)).tolist()
    ends, of_all = decision_points(len(pairs)), []
    for start, end in zip([0, *ends], ends, strict=False):
        of_size: dict[tuple[torch.Size, torch.Size], list[tuple[Tensor, Tensor]]] = {}
        for image, target in (pairs[index] for index in order[start:end]):
            of_size.setdefault((image.shape, target.shape), []).append((image, target))
        for images, targets in (zip(*group, strict=True) for group in of_size.values()):
            of_all.append((torch.stack(images), torch.stack(targets)))
    return of_all


def decision_points(num_images: int) -> list[int]:
    """Numbers of images after which a race is tested; the last one is all."""
    return [*range(EVERY, num_images, EVERY), num_images]
