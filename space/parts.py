"""The modules of an architecture's parts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from space.architecture import Part
from space.blocks import Residual
from space.errors import SpaceError
from space.limits import MAX_PARAMS


def build_part(part: Part, drop_path_rate: float = 0.0, device: torch.device | str | None = None) -> nn.Module:
    """Build one part: (B, H, W, C) -> (B, H', W', C'); a head that pools returns (B, classes). A part with `maps` takes a list of them.

    Args:
        device: as in `build_network`; torch's current default by default.
    """
    if device is not None:
        with parameters_on(device):
            return build_part(part, drop_path_rate)
    module = part.spec.build(*part.widths)
    if part.norm is not None:
        module = Residual(part.norm.build(part.widths[0]), module, part.widths[0], part.layer_scale, _drop_path(drop_path_rate))
    module.apply(_initialise)
    return module


def check_size(name: str, parts: Sequence[Part]) -> None:
    """SpaceError where parts have more than `MAX_PARAMS` parameters together; they are counted without building them."""
    kinds = Counter((part.spec, part.widths, part.norm) for part in parts)
    total = 0
    for (spec, widths, norm), count in kinds.items():
        module = build_part(Part("part", spec, widths, (1, 1), (1, 1), norm), device="meta")
        total += count * sum(parameter.numel() for parameter in module.parameters())
    if total > MAX_PARAMS:
        raise SpaceError(f"{name}: got {total:.3g} parameters, expected at most {MAX_PARAMS:.3g}")


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        # The official truncation, at 100 standard deviations, has no effect and takes most of the time.
        nn.init.normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif callable(init_weights := getattr(module, "init_weights", None)):
        init_weights()


@contextmanager
def parameters_on(device: torch.device | str) -> Iterator[None]:
    """Make parameters on a device; on `"meta"` without initialising them."""
    with torch.device(device), _ShapesOnly() if torch.device(device).type == "meta" else nullcontext():
        yield


class _ShapesOnly(TorchFunctionMode):
    """Skips in-place initialisation: it has no effect on the meta device and takes most of the time there."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = getattr(func, "__name__", "")
        if name.endswith("_") and not name.endswith("__") and name != "requires_grad_":
            # Functions of torch.nn.init pass their tensor by name.
            return args[0] if args else (kwargs or {})["tensor"]
        return func(*args, **(kwargs or {}))


def _drop_path(rate: float) -> nn.Module:
    if not rate:
        return nn.Identity()
    # Here, because timm would take most of the time of importing this module.
    from timm.layers import DropPath

    return DropPath(rate)
