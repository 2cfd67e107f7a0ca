"""AZ-NAS's parts (Lee and Ham 2024, https://arxiv.org/abs/2403.19232); the fourth is the score `macs`.

Adapted: the features are the first block's input and every block's output, whatever the blocks hold (the official code
for transformers takes those of each attention and each feed-forward), and batch norms normalise by the batch. The paper ranks
a population by each part and adds up the logarithms of the ranks; here each part is a score of its own.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

from proxies.zero_cost.blocks import rows_of, watch_blocks
from proxies.zero_cost.registry import Batch, ScoreError, register

PAPER = "https://arxiv.org/abs/2403.19232"
SEED = 0


@register("az_expressivity", paper=PAPER)
def az_expressivity(network: nn.Module, batch: Batch) -> float:
    """sum over features of the entropy of their principal components' shares in the variance: how isotropic they are.

    One forward pass and a decomposition of each feature's covariance; labels do not matter.
    """
    return sum(_entropies(network, batch))


@register("az_progressivity", paper=PAPER)
def az_progressivity(network: nn.Module, batch: Batch) -> float:
    """The least increase of that entropy from one feature to the next. Cost as of `az_expressivity`."""
    return min(after - before for before, after in pairwise(_entropies(network, batch)))


@register("az_trainability", paper=PAPER)
def az_trainability(network: nn.Module, batch: Batch) -> float:
    """mean over blocks of 2 - s - 1 / s, where s is the spectral norm of a block's mean Jacobian: 0 is best, at s = 1.

    The Jacobian is estimated as the mean over positions of g_in g_out^T, where g_out is random signs at the block's output and
    g_in what the backward pass makes of them at its input. One forward pass, one backward pass; labels do not matter. Blocks
    that change the size of the map, and those that are the identity, are left out.
    """
    flows: list[tuple[Tensor, Tensor]] = []
    # The first block may be the first layer.
    watch_blocks(network, batch.images.detach().clone().requires_grad_(), lambda before, after: flows.append((before, after)))
    generator, scores = torch.Generator().manual_seed(SEED), []
    while flows:
        before, after = flows.pop()
        signs = torch.randint(2, after.shape, generator=generator).to(after) * 2 - 1
        (reached,) = torch.autograd.grad(after, before, signs)
        g_in, g_out = rows_of(network, reached), rows_of(network, signs)
        if len(g_in) == len(g_out) and not torch.equal(g_in, g_out):
            norm = float(torch.linalg.matrix_norm(g_in.T @ g_out / len(g_in), 2))
            # The constant keeps a block that passes nothing back finite, as in the official code.
            scores.append(2 - norm - 1 / (norm + 1e-6))
    if not scores:
        raise ScoreError("az_trainability: got a network without blocks that keep the size of the map, expected one at least")
    return sum(scores) / len(scores)


@torch.no_grad()
def _entropies(network: nn.Module, batch: Batch) -> list[float]:
    """One for every feature, in nats."""
    entropies: list[float] = []

    def measure(before: Tensor, after: Tensor) -> None:
        features = (after,) if entropies else (before, after)
        entropies.extend(_entropy(rows_of(network, feature)) for feature in features)

    watch_blocks(network, batch.images, measure)
    if not entropies:
        raise ScoreError("az_nas: got a network without blocks, expected a list of modules, convolutions or linear layers")
    return entropies


def _entropy(rows: Tensor) -> float:
    rows = rows.double()
    rows = rows - rows.mean(0)
    # Both products have the same eigenvalues other than zero.
    gram = rows @ rows.T if len(rows) < rows.shape[1] else rows.T @ rows
    variances = torch.linalg.eigvalsh(gram).clamp(min=0)
    return float(torch.special.entr(variances / variances.sum()).sum())
