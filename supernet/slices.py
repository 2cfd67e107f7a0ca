"""Leading slices of parameters that are trained as if they were parameters.

The gradient of a slice that autograd takes has the whole parameter's size, with zeros outside the slice; momentum and weight decay then
change weights that the step did not run. Here a slice is a leaf with a gradient of its own size, and the optimizer sees only that slice
of the parameter and of its state.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from space.errors import UserError
from supernet.sharing import leading_slice

ALLOCATION = 2**22
"""Numbers for which memory is allocated at once. Much larger pieces return to the system, and each page of them would cost time again."""


class OptimizerError(UserError):
    """An optimizer that cannot update slices."""


@dataclass(frozen=True, eq=False)
class SlicedParameter:
    """What a step trained of one parameter.

    Args:
        view: the parameter, or the smallest leading slice of it that holds all that was trained; its gradient is the step's.
        mask: which elements of the view were trained, where two paths trained different slices; none where all were.
    """

    name: str
    parameter: nn.Parameter
    view: Tensor
    mask: Tensor | None = None

    @property
    def is_whole(self) -> bool:
        """Whether all of the parameter was trained."""
        return self.view is self.parameter and self.mask is None

    @property
    def gradient(self) -> Tensor:
        assert self.view.grad is not None
        return self.view.grad

    def part_of(self, tensor: Tensor) -> Tensor:
        """The view's part of a tensor of the parameter's shape."""
        # One operation; slicing would be one per dimension.
        return tensor.as_strided(self.view.shape, tensor.stride())


class Slices:
    """The slices of a model's parameters that a step's forward passes use."""

    def __init__(self) -> None:
        # By the parameters' identities: hashing thousands of tensors a step takes milliseconds.
        self._leaves: dict[int, dict[torch.Size, Tensor]] = {}
        self._in_use: set[int] = set()

    def leaf(self, parameter: nn.Parameter, shape: torch.Size) -> Tensor:
        """The parameter's leading slice of this shape, the same tensor every time."""
        if parameter.shape == shape:
            return parameter
        self._in_use.add(id(parameter))
        leaves = self._leaves.setdefault(id(parameter), {})
        leaf = leaves.get(shape)
        # The slices of a parameter that has moved to another device are outdated.
        if leaf is None or leaf.device != parameter.device:
            leaf = leaves[shape] = leading_slice(parameter.detach(), shape).requires_grad_(parameter.requires_grad)
        return leaf

    def with_gradients(self, parameters: Mapping[str, nn.Parameter]) -> list[SlicedParameter]:
        """The parameters and slices with a gradient, in the parameters' order; gradients of one parameter's slices are added up."""
        # A path trains a few of thousands of parameters: for the others nothing is made.
        in_use = self._in_use
        touched = [(name, one) for name, one in parameters.items() if id(one) in in_use or one.grad is not None]
        found = []
        for name, parameter in touched:
            leaves: list[Tensor] = [] if parameter.grad is None else [parameter]
            if id(parameter) in in_use:
                leaves += [leaf for leaf in self._leaves[id(parameter)].values() if leaf.grad is not None]
            if len(leaves) == 1:
                found.append(SlicedParameter(name, parameter, leaves[0]))
            elif leaves:
                found.append(self._joined(name, parameter, leaves))
        return found

    def clear(self, trained: Iterable[SlicedParameter]) -> None:
        """Remove the gradients of what `with_gradients` returned, and of all slices."""
        for one in trained:
            one.parameter.grad = None
        for parameter in self._in_use:
            for leaf in self._leaves[parameter].values():
                leaf.grad = None
        self._in_use.clear()

    def _joined(self, name: str, parameter: nn.Parameter, leaves: Sequence[Tensor]) -> SlicedParameter:
        view = self.leaf(parameter, torch.Size(map(max, zip(*(leaf.shape for leaf in leaves), strict=True))))
        gradient = torch.zeros(view.shape, dtype=view.dtype, device=view.device)
        for leaf in leaves:
            assert leaf.grad is not None
            leading_slice(gradient, leaf.shape).add_(leaf.grad)
        view.grad = gradient
        # By shapes: asking a mask would wait for the device.
        if any(leaf.shape == view.shape for leaf in leaves):
            return SlicedParameter(name, parameter, view)
        mask = torch.zeros(view.shape, dtype=torch.bool, device=view.device)
        for leaf in leaves:
            leading_slice(mask, leaf.shape).fill_(True)
        return SlicedParameter(name, parameter, view, mask)


@torch.no_grad()
def update(optimizer: torch.optim.Optimizer, trained: Sequence[SlicedParameter], found_inf: Tensor) -> None:
    """Do one step of an optimizer on the trained slices alone.

    Args:
        found_inf: a scalar on the device; where it is 1.0, nothing changes. Fused optimizers test it on the device, as they do for
            `torch.amp.GradScaler`. For others it is read here, which waits for the device.

    Raises:
        OptimizerError: the optimizer's state does not have its parameters' shapes, so no part of it belongs to a slice.
    """
    if optimizer.defaults.get("fused"):
        optimizer.found_inf = found_inf  # type: ignore[attr-defined]
    elif found_inf.item():
        return
    wholes = [group["params"] for group in optimizer.param_groups]
    states = {one.parameter: optimizer.state.pop(one.parameter, {}) for one in trained}
    stand_ins = {one.parameter: _StandIn(one, states[one.parameter]) for one in trained if not one.is_whole}
    _copy_strided(stand_ins.values())
    updated = {parameter: stand_ins[parameter].tensor if parameter in stand_ins else parameter for parameter in states}
    # By identities, as above.
    by_id = {id(parameter): tensor for parameter, tensor in updated.items()}
    try:
        for group in optimizer.param_groups:
            group["params"] = [by_id[id(parameter)] for parameter in group["params"] if id(parameter) in by_id]
        for parameter, state in states.items():
            if state:
                optimizer.state[updated[parameter]] = stand_ins[parameter].part_of_state if parameter in stand_ins else state
        optimizer.step()
        changes = [
            change
            for parameter, stand_in in stand_ins.items()
            for change in stand_in.changes(optimizer.state.pop(stand_in.tensor, {}), type(optimizer).__name__)
        ]
        if changes:
            torch._foreach_copy_([part for part, _ in changes], [values for _, values in changes])
    finally:
        for group, whole in zip(optimizer.param_groups, wholes, strict=True):
            group["params"] = whole
        for parameter, state in states.items():
            if parameter in stand_ins or state:
                optimizer.state[parameter] = state


_PARAMETER = "parameter"
"""Key of the parameter among the tensors of its state."""


class _StandIn:
    """What an optimizer updates instead of a parameter that was trained in part: contiguous slices of it and of its state.

    Args:
        state: the optimizer's state of the whole parameter.

    Attributes:
        parts: views of the parameter and of its state.
        tensors: the same in contiguous memory: fused optimizers write past the end of strided views.
    """

    def __init__(self, one: SlicedParameter, state: dict[str, Any]) -> None:
        self._one, self._state = one, state
        shape = one.parameter.shape
        wholes = {_PARAMETER: one.parameter.detach()}
        wholes |= {key: value for key, value in state.items() if isinstance(value, Tensor) and value.shape == shape}
        self.parts = {key: one.part_of(whole) for key, whole in wholes.items()}
        self.tensors = dict(self.parts)

    @property
    def strided(self) -> list[str]:
        """The keys of the parts that must be copied."""
        return [key for key, part in self.parts.items() if self._one.mask is not None or not part.is_contiguous()]

    @property
    def tensor(self) -> Tensor:
        """The parameter's slice, with its gradient."""
        tensor = self.tensors[_PARAMETER]
        if tensor.grad is None:
            tensor.grad = self._one.gradient.contiguous()
        return tensor

    @property
    def part_of_state(self) -> dict[str, Any]:
        """The state of the slice."""
        return {key: self.tensors.get(key, value) for key, value in self._state.items()}

    def changes(self, state: Mapping[str, Any], optimizer: str) -> Iterator[tuple[Tensor, Tensor]]:
        """Take over the slice's state after the step; pairs of parts and the values to be written into them.

        Args:
            optimizer: its name.
        """
        view, mask = self._one.view, self._one.mask
        for key, value in {_PARAMETER: self.tensor, **state}.items():
            if not isinstance(value, Tensor) or value.ndim == 0:
                self._state[key] = value
                continue
            if value.shape != view.shape:
                got = f"got {optimizer}, whose state for a weight of {tuple(view.shape)} has {tuple(value.shape)}"
                raise OptimizerError(f"optimizer: {got}; expected one such as adamw")
            if key not in self.parts:
                self._state[key] = value.new_zeros(self._one.parameter.shape)
                self.parts[key] = self._one.part_of(self._state[key])
            part = self.parts[key]
            if value is not part:
                yield part, value if mask is None else torch.where(mask, value, part)


def _copy_strided(stand_ins: Iterable[_StandIn]) -> None:
    """Copy strided slices of one type into contiguous memory, in one call: on a GPU a call takes longer than a small copy."""
    strided = [(stand_in.tensors, key) for stand_in in stand_ins for key in stand_in.strided]
    if strided:
        parts = [tensors[key] for tensors, key in strided]
        copies = _contiguous_memory(parts)
        torch._foreach_copy_(copies, parts)
        for (tensors, key), copy in zip(strided, copies, strict=True):
            tensors[key] = copy


def _contiguous_memory(parts: Sequence[Tensor]) -> list[Tensor]:
    """Contiguous tensors of the same shapes, in few allocations."""
    found: list[Tensor] = []
    free = parts[0].new_empty(0)
    for number, part in enumerate(parts):
        size = part.numel()
        if size > len(free):
            free = part.new_empty(max(size, min(ALLOCATION, sum(part.numel() for part in parts[number:]))))
        found.append(free[:size].view(part.shape))
        free = free[size:]
    return found
