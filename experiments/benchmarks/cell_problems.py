"""Made-up searches over a cell of six edges between four nodes with five operators, as in NAS-Bench-201 (https://arxiv.org/abs/2001.00326)."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from experiments.benchmarks.sampler_problems import Problem, Space, all_rows
from proxies.band.additive_cost import Rows, Term
from proxies.cost import Budget

EDGES = ((0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3))
OPERATORS = ("none", "skip", "conv1x1", "conv3x3", "pool")
SPACE = Space("cell", {f"edge{a}{b}": OPERATORS for a, b in EDGES}, {}, ())
MOST_MACS = {"small": 53_000_000, "large": 121_000_000}
"""Limits whose bands hold 2,160 and 1,260 cells, or half as many under a limit on latency, too."""
FLOOR = 0.9
PAIRS = 0.5
"""Weight of random effects of two operators on two edges."""
NOISE = 1.0
"""Standard deviation of each function's own effect, in points."""


@dataclass(frozen=True)
class _Facts:
    """Of all cells: rows, the function that each computes, live edges, most convolutions on a path, and whether a path has none.

    Args:
        functions: (n,), equal numbers for cells that compute the same function: 4,930 of 15,625.
        live: (n, edges), those that some path from input to output passes.
    """

    cells: NDArray[np.int64]
    functions: NDArray[np.int64]
    live: NDArray[np.bool_]
    depth: NDArray[np.int64]
    residual: NDArray[np.bool_]


@functools.cache
def _facts() -> _Facts:
    cells = all_rows(Rows(SPACE))
    functions = np.unique([_function(cell) for cell in cells], return_inverse=True)[1]
    live = np.zeros(cells.shape, dtype=bool)
    depth, residual = np.zeros(len(cells), dtype=np.int64), np.zeros(len(cells), dtype=bool)
    for path in ([3], [0, 4], [1, 5], [0, 2, 5]):
        passed = (cells[:, path] != 0).all(axis=1)
        live[:, path] |= passed[:, None]
        depth = np.maximum(depth, np.isin(cells[:, path], (2, 3)).sum(axis=1) * passed)
        residual |= (cells[:, path] == 1).all(axis=1)
    return _Facts(cells, functions, live, depth, residual)


def _function(cell: NDArray[np.int64]) -> str:
    """What a cell computes, as a sum of nested operators. A node is a sum of terms: a skip passes them on, nothing comes of nothing."""
    nodes: list[list[str]] = [["input"]]
    for node in range(1, 4):
        terms: list[str] = []
        for (start, end), operator in zip(EDGES, cell, strict=True):
            name = OPERATORS[operator]
            if end == node and name != "none" and nodes[start]:
                terms += nodes[start] if name == "skip" else [f"{name}({'+'.join(nodes[start])})"]
        nodes.append(sorted(terms))
    return "+".join(nodes[3])


def cell_problem(instance: int, limits: Sequence[str], size: str) -> Problem:
    """15,625 cells. Those that compute the same function have the same accuracy; without a path from input to output it is chance.

    Args:
        limits: limited quantities: `macs`, or `macs` and `latency`.
        size: of the limit on MACs, one of `MOST_MACS`. A latency is limited to the median of the cells that are left.
    """
    facts, rows = _facts(), Rows(SPACE)
    rng = np.random.default_rng([3, instance])
    cells, live = facts.cells, facts.live
    worth = np.array([0.0, 0.5, 1.6, 2.4, -0.6]) + 0.25 * rng.normal(size=(6, 5))
    worth[:, 0] = 0
    gain = (worth[np.arange(6), cells] * live).sum(axis=1)
    pairs = sum(rng.normal(size=(5, 5))[cells[:, a], cells[:, b]] * live[:, a] * live[:, b] for a, b in itertools.combinations(range(6), 2))
    score = 47 - 22 * np.exp(-0.22 * np.maximum(gain + 1.2 * facts.residual + PAIRS * pairs + 1, 0)) - 1.2 * np.abs(facts.depth - 2)
    score = np.where(live.any(axis=1), score, 0.8)
    score = np.bincount(facts.functions, score) / np.bincount(facts.functions)
    score = (score + NOISE * rng.normal(size=len(score)))[facts.functions]
    latency = 2_000_000 + 500_000 * facts.depth + np.array([0, 0, 450_000, 700_000, 650_000])[cells].sum(axis=1)
    latency = (latency * np.exp(0.03 * rng.normal(size=len(cells)))).astype(np.int64)  # As measured, so not quite a sum.
    shape = tuple(rows.sizes)
    cost = (
        *(Term((name,), {"macs": np.array([0, 0, 1, 9, 0]) * 4_000_000}) for name in SPACE.slots),
        Term((), {"macs": np.array(5_000_000)}),
        Term(tuple(SPACE.slots), {"latency": latency.reshape(shape)}),
    )
    macs = 5_000_000 + 4_000_000 * np.array([0, 0, 1, 9, 0])[cells].sum(axis=1)
    most = MOST_MACS[size]
    inside = (macs <= most) & (macs >= FLOOR * most)
    most_of = {"macs": most, "latency": int(np.median(latency[inside]))}
    table = score.reshape(shape)
    budget = Budget({limit: most_of[limit] for limit in limits}, FLOOR)
    return Problem(f"cell, {size}, {' + '.join(limits)}", SPACE, cost, budget, lambda found: table[tuple(found.T)], 0.0, instance)
