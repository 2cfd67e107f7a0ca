"""How a training is configured, and what follows from the configuration: optimizer, precision, parts of a batch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import nn

from space.errors import UserError, one_line
from supernet.training.distributed import num_processes

Precision = Literal["fp32", "bf16"]

FUSED = frozenset({"adam", "adamw"})
"""The optimizers whose fused form accepts parameters without state beside parameters with state."""


class TrainingError(UserError):
    """A training that is configured wrongly or has diverged."""


@dataclass(frozen=True)
class TrainConfig:
    """How to train. Names are timm's.

    Args:
        steps: updates of the weights in all.
        optimizer: a name of `timm.optim`.
        optimizer_eps: epsilon of the optimizer; None is timm's.
        lr: the highest learning rate; it rises over `warmup_steps`, then falls along `schedule`.
        schedule: a cosine or a straight line (`poly` with power 1) to zero, or stairs (`step`): times `decay_rate` every `decay_steps`.
        head_lr: factor of the learning rate for the parameters of the head.
        decay_all: whether weights of norms, and biases, decay as well.
        clip_grad: greatest norm of all gradients together; none does not clip.
        label_smoothing: share of the target that is spread over all classes.
        mixup, cutmix: alpha of the Beta distribution; 0 is off.
        mix_prob: share of the batches that are mixed.
        ema_decay: decay of the averaged weights; it rises from 0.1 over the first steps. None keeps no average.
        accumulate: parts of its share of a batch that a process trains on one after the other.
        precision: of the arithmetic; `auto` as `precision_of` says.
    """

    steps: int
    optimizer: str = "adamw"
    optimizer_eps: float | None = None
    lr: float = 1e-3
    weight_decay: float = 0.05
    schedule: Literal["cosine", "poly", "step"] = "cosine"
    decay_steps: int = 1
    decay_rate: float = 0.97
    head_lr: float = 1.0
    decay_all: bool = False
    warmup_steps: int = 0
    clip_grad: float | None = 5.0
    label_smoothing: float = 0.1
    mixup: float = 0.0
    cutmix: float = 0.0
    mix_prob: float = 1.0
    ema_decay: float | None = None
    accumulate: int = 1
    precision: Literal["fp32", "bf16", "auto"] = "auto"
    seed: int = 0

    @property
    def is_mixed(self) -> bool:
        """Whether images are mixed in pairs."""
        return self.mixup > 0 or self.cutmix > 0


def check_training(batch_size: int, config: TrainConfig) -> None:
    """TrainingError where `train` would refuse a configuration, so that a command can refuse it before it writes anything."""
    num_parts(batch_size, config)
    if config.optimizer not in FUSED:
        make_optimizer(nn.Linear(1, 1), config)


def num_parts(batch_size: int, config: TrainConfig) -> int:
    """How many parts a batch is split into, in all processes together; TrainingError where they would differ in size."""
    parts = config.accumulate * num_processes()
    multiple = 2 * parts if config.is_mixed or parts > 1 else 1
    if batch_size % multiple:
        why = f"to be mixed in pairs, in {parts} equal parts" if config.is_mixed else f"to be trained on in {parts} equal parts"
        raise TrainingError(f"batch size: got {batch_size}, expected a multiple of {multiple}, {why}")
    return parts


def make_optimizer(model: nn.Module, config: TrainConfig, lr_scales: Mapping[str, float] | None = None) -> torch.optim.Optimizer:
    """The optimizer of a model's parameters that have gradients.

    Args:
        lr_scales: factors of the learning rate by parameter name; 1 for the others.

    Raises:
        TrainingError: timm has no optimizer of that name, or it cannot be used here.
    """
    # Imported here: it takes seconds, and many who name a recipe do not train.
    from timm.optim import create_optimizer_v2

    # timm's schedulers multiply the rate of a group by its scale.
    groups: dict[str, Any] = {}
    if config.head_lr != 1 or config.decay_all or lr_scales:
        groups["param_group_fn"] = lambda whole: _groups(whole, config, lr_scales or {})
    eps = {} if config.optimizer_eps is None else {"eps": config.optimizer_eps}
    try:
        # A step on hundreds of small tensors is four times as fast fused.
        fused: dict[str, Any] = {"fused": True} if config.optimizer in FUSED else {}
        optimizer = create_optimizer_v2(model, config.optimizer, lr=config.lr, weight_decay=config.weight_decay, **(fused | groups | eps))
    except (ValueError, AssertionError) as error:
        raise TrainingError(f"optimizer: got {config.optimizer!r}, expected a name of timm's ({one_line(error):.120})") from None
    if getattr(optimizer, "is_second_order", False):
        raise TrainingError(f"optimizer: got {config.optimizer!r}, expected one that needs gradients of first order alone")
    return optimizer


def _groups(model: nn.Module, config: TrainConfig, lr_scales: Mapping[str, float]) -> list[dict[str, Any]]:
    """Groups of parameters by learning rate; norms and biases apart, where they do not decay."""
    groups: dict[tuple[float, bool], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            scale = lr_scales.get(name, 1.0) * (config.head_lr if name.startswith("head.") else 1.0)
            groups.setdefault((scale, config.decay_all or parameter.ndim > 1), []).append(parameter)
    return [
        {"params": parameters, "weight_decay": config.weight_decay if decays else 0.0, **({"lr_scale": scale} if scale != 1 else {})}
        for (scale, decays), parameters in groups.items()
    ]


def precision_of(device: torch.device) -> Precision:
    """bf16 on a GPU with units for it, else fp32.

    On a CPU only a measurement could tell which is faster, and close measurements vary from run to run: a resumed training could end
    otherwise than an uninterrupted one.
    """
    return "bf16" if device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"


def autocast(device: torch.device, precision: Precision) -> torch.autocast:
    """A context whose operators compute in a precision; parameters and batch norm statistics stay in fp32."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16")
