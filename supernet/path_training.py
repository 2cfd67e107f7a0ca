"""A supernet as the training loop sees it: what a step runs, what it learns, and how often every operator was trained."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from space.architecture import Architecture
from space.search_space import SearchSpace
from supernet.network import Supernet
from supernet.paths import Paths, Strategy
from supernet.scope import Scope
from supernet.slices import Slices
from supernet.training.losses import Output, Taught


class PathTraining(nn.Module):
    """The `Forward` of a supernet's training.

    Counts of updates are a buffer: checkpoints keep it, and a step that is skipped leaves it as it was.

    Args:
        seed: of the paths.

    Attributes:
        slices: of the shared tensors, as the paths under way see them; `train` updates these alone.
    """

    counts: Tensor

    def __init__(self, supernet: Supernet, strategy: Strategy, scope: Scope, seed: int) -> None:
        super().__init__()
        self.supernet = supernet
        self._paths: Paths = strategy.paths(scope, seed)
        self._distils = strategy.distils
        self.slices = Slices()
        self._places = {operator: place for place, operator in enumerate(_operators(supernet.space))}
        self.register_buffer("counts", torch.zeros(len(self._places), dtype=torch.int64))

    def forward(self, step: int, images_BCHW: Tensor) -> Iterator[Output]:
        """The logits of a step's paths one by one, with the first path's probabilities to learn where it teaches the others."""
        taught: Tensor | None = None
        for architecture in self._paths(step):
            weights = self.supernet.weights(architecture, self.slices.leaf)
            logits = self.supernet.call(images_BCHW, architecture, statistics=None, fresh=None, weights=weights)
            self._count(architecture)
            yield logits if taught is None else Taught(logits, taught)
            if self._distils and taught is None:
                taught = logits.detach().float().softmax(1)

    @property
    def updates(self) -> dict[str, dict[str, int]]:
        """How many paths trained each operator of each block: `{"stages.0.blocks.1.mixer": {"ssa(sr_ratio=4)": 12, ...}, ...}`."""
        updates: dict[str, dict[str, int]] = {}
        for (path, operator), count in zip(self._places, self.counts.tolist(), strict=True):
            updates.setdefault(path, {})[operator] = count
        return updates

    def _count(self, architecture: Architecture) -> None:
        operators = ((part.path, part.spec.label) for part in architecture.parts)
        places = [self._places[operator] for operator in operators if operator in self._places]
        self.counts[torch.tensor(places, device=self.counts.device)] += 1


def _operators(space: SearchSpace) -> list[tuple[str, str]]:
    """All that the blocks of a space may hold, as path and label."""
    found = []
    for i, (stage, mixers) in enumerate(zip(space.stages, space.mixers, strict=True)):
        for j in range(stage.depths[-1]):
            for slot, specs in (("position", stage.positions), ("mixer", mixers), ("ffn", stage.ffns)):
                found += [(f"stages.{i}.blocks.{j}.{slot}", spec.label) for spec in specs if spec.type != "none"]
    return found
