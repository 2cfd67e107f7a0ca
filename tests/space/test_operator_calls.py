"""DaViT-T calls no more operators than timm's: every call is a launch on a GPU, and most beyond timm's were copies of maps."""

from collections.abc import Mapping
from typing import Any

import pytest
import timm
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from space import build_network, load_architecture

aten = torch.ops.aten
VIEWS = (aten.detach, aten._unsafe_view)
"""Operators that copy nothing, though their schemas don't say so."""


class CallCounter(TorchDispatchMode):
    """Counts the calls of operators; views left out."""

    calls = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None) -> Any:
        self.calls += not func.is_view and func.overloadpacket not in VIEWS
        return func(*args, **(kwargs or {}))


WIDTHS = (32, 32, 64, 96)
"""So narrow that even the last stage has more tokens than channels, as a larger batch of the published network has."""


def calls_of(network: nn.Module, is_bf16: bool) -> tuple[int, int]:
    """Calls of a forward pass, and of a forward and a backward pass."""
    # Two images: the batch's dimension merges with the next where it is 1, which saves copies that training needs.
    images = torch.randn(2, 3, 224, 224)
    counts = []
    for trains in (False, True):
        with CallCounter() as counter:
            with torch.set_grad_enabled(trains), torch.autocast("cpu", torch.bfloat16, enabled=is_bf16):
                logits = network(images)
            if trains:
                logits.float().square().mean().backward()
        counts.append(counter.calls)
    return counts[0], counts[1]


@pytest.mark.parametrize("is_bf16", [False, True], ids=["fp32", "bf16"])
def test_davit_calls_no_more_operators_than_timms(is_bf16: bool) -> None:
    parent = load_architecture("davit-t")
    stages = tuple(stage.replace(width=width) for stage, width in zip(parent.stages, WIDTHS, strict=True))
    ours = calls_of(build_network(parent.replace(stages=stages)), is_bf16)
    heads = tuple(width // 32 for width in WIDTHS)
    timms = calls_of(timm.create_model("davit_tiny", embed_dims=WIDTHS, num_heads=heads), is_bf16)
    assert all(own <= other for own, other in zip(ours, timms, strict=True)), (ours, timms)
