"""What the training loop trains of a supernet: the paths of a step, and how often every operator was trained."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from space.architecture import Architecture
from space.search_space import SearchSpace
from supernet.network import Supernet
from supernet.paths import Paths, Strategy
from supernet.sampling_domain import SamplingDomain
from supernet.slices import Slices
from supernet.teachers import Teachers
from supernet.training.losses import Distilled, Output


class PathTraining(nn.Module):
    """The `Forward` of a supernet's training.

    The counts of updates are a buffer, so checkpoints hold them and a skipped step does not change them.

    Args:
        seed: of the paths.
        teachers: of strategies that do not distil themselves.

    Attributes:
        slices: the slices of the shared tensors that the paths run; `train_network` updates these alone.
    """

    counts: Tensor

    def __init__(self, supernet: Supernet, strategy: Strategy, domain: SamplingDomain, seed: int, teachers: Teachers | None = None) -> None:
        super().__init__()
        self.supernet = supernet
        self._paths: Paths = strategy.paths(domain, seed)
        self._distils = strategy.distils
        self._teachers = teachers
        self.slices = Slices()
        self._index = {operator: index for index, operator in enumerate(_operators(supernet.space))}
        self.register_buffer("counts", torch.zeros(len(self._index), dtype=torch.int64))

    def forward(self, step: int, images_BCHW: Tensor) -> Iterator[Output]:
        """The outputs of a step's paths one by one; where the strategy distils, the first path's probabilities are the others' target."""
        target: Tensor | None = None
        for architecture in self._paths(step):
            weights = self.supernet.weights(architecture, self.slices.leaf)
            logits = self.supernet(images_BCHW, architecture, weights=weights)
            self._count(architecture)
            if self._teachers is not None:
                yield self._teachers.distil(architecture, logits, images_BCHW)
                continue
            yield logits if target is None else Distilled(logits, target)
            if self._distils and target is None:
                target = logits.detach().float().softmax(1)

    @property
    def updates(self) -> dict[str, dict[str, int]]:
        """How many paths trained each operator of each block: `{"stages.0.blocks.1.mixer": {"ssa(sr_ratio=4)": 12, ...}, ...}`."""
        updates: dict[str, dict[str, int]] = {}
        for (path, operator), count in zip(self._index, self.counts.tolist(), strict=True):
            updates.setdefault(path, {})[operator] = count
        return updates

    def _count(self, architecture: Architecture) -> None:
        operators = ((part.path, part.spec.label) for part in architecture.parts)
        indices = [self._index[operator] for operator in operators if operator in self._index]
        # In place on views: indices would have to be copied to the device.
        torch._foreach_add_([self.counts[index] for index in indices], 1)


def _operators(space: SearchSpace) -> list[tuple[str, str]]:
    """Every operator that a block of the space may hold, as path and label."""
    found = []
    for i, (stage, mixers) in enumerate(zip(space.stages, space.mixers, strict=True)):
        for j in range(stage.depths[-1]):
            for slot, specs in (("position", stage.positions), ("mixer", mixers), ("ffn", stage.ffns)):
                found += [(f"stages.{i}.blocks.{j}.{slot}", spec.label) for spec in specs if spec.type != "none"]
    return found
