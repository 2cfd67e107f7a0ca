"""The state of a training between two steps: all that a checkpoint holds."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import torch
from pydantic import BaseModel, NonNegativeFloat, NonNegativeInt, PositiveFloat
from torch import Tensor, nn

from supernet.training.checkpoint import CheckpointError, flatten_optimizer, restore_optimizer
from supernet.training.config import Precision, TrainConfig, make_optimizer

NOT_WHOLE = "not a whole checkpoint; delete it and run again, which starts this part over"


class Counters(BaseModel, strict=True):
    """The numbers of a training.

    Args:
        step: steps done.
        skipped: steps without a finite loss and gradient; they changed no weights.
        skipped_in_a_row: the last of them.
        lr_factor: below 1 after a rollback.
        seconds: of all runs of the training together.
    """

    step: NonNegativeInt
    skipped: NonNegativeInt
    skipped_in_a_row: NonNegativeInt
    lr_factor: PositiveFloat
    seconds: NonNegativeFloat
    precision: Precision


class TrainState:
    """What a step changes and a checkpoint holds.

    Attributes:
        parameters: the model's, by name.
        average: averaged weights and buffers by name; none where the configuration asks for none.
        extra: what the caller of `train` collects, in terms of JSON.
    """

    def __init__(
        self, model: nn.Module, config: TrainConfig, precision: Precision, extra: dict[str, Any],
        lr_scales: Mapping[str, float] | None = None,
    ) -> None:  # fmt: skip
        self.model = model
        # Once: walking through a supernet takes milliseconds.
        self.parameters = dict(model.named_parameters())
        self.optimizer = make_optimizer(model, config, lr_scales)
        self.average: dict[str, Tensor] | None = None
        if config.ema_decay is not None:
            self.average = {name: tensor.detach().clone() for name, tensor in self._weights().items()}
        self.counters = Counters(step=0, skipped=0, skipped_in_a_row=0, lr_factor=1.0, seconds=0.0, precision=precision)
        self.extra = extra
        self._num_steps = config.steps

    @property
    def finished(self) -> bool:
        """Whether all steps are done."""
        return self.counters.step >= self._num_steps

    def dump(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Tensors, and everything else in terms of JSON."""
        optimizer, numbers = flatten_optimizer(self.optimizer, self.parameters)
        groups = {"model": self._weights(), "optimizer": optimizer, "average": self.average or {}}
        tensors = {f"{group}/{name}": tensor for group, state in groups.items() for name, tensor in state.items()}
        return tensors, {**self.counters.model_dump(), "extra": self.extra, "optimizer": numbers}

    @torch.no_grad()
    def load(self, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
        """Take over what `dump` returned; CheckpointError where it is incomplete or another network's."""
        groups: dict[str, dict[str, Tensor]] = defaultdict(dict)
        for name, tensor in tensors.items():
            group, _, rest = name.partition("/")
            groups[group][rest] = tensor
        weights = self._weights()
        if {name: t.shape for name, t in weights.items()} != {name: t.shape for name, t in groups["model"].items()}:
            raise CheckpointError("got the weights of another network; use another --out or delete it")
        try:
            self.counters = Counters.model_validate(facts)
            for name, tensor in weights.items():
                tensor.copy_(groups["model"][name])
            for name, tensor in (self.average or {}).items():
                tensor.copy_(groups["average"][name])
            restore_optimizer(self.optimizer, self.parameters, {**groups["optimizer"], **facts["optimizer"]})
            extra = dict(facts["extra"])
        except (LookupError, RuntimeError, TypeError, ValueError):
            # Something is missing, or of another type or shape.
            raise CheckpointError(NOT_WHOLE) from None
        self.extra.clear()
        self.extra.update(extra)

    def _weights(self) -> dict[str, Tensor]:
        return {**self.parameters, **dict(self.model.named_buffers())}
