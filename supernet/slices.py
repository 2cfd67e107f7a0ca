"""Leading slices of parameters that train by themselves.

A slice that autograd takes of a parameter writes a gradient of the parameter's whole size, zeros where the slice is not, and
momentum and weight decay then move what the step did not run. Here a slice is a leaf with a gradient of its own size, and the
optimiser sees that slice of the parameter and of its state alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from space.errors import UserError
from supernet.slicing import leading_slice


class OptimizerError(UserError):
    """An optimizer that cannot update slices."""


@dataclass(frozen=True, eq=False)
class Touched:
    """What a step trained of one parameter.

    Args:
        view: the parameter, or the leading slice of it that holds all that was trained; its gradient is the step's.
        idle: where the view was not trained after all, since two paths trained different parts of it; none where all was.
    """

    name: str
    parameter: nn.Parameter
    view: Tensor
    idle: Tensor | None = None

    @property
    def is_whole(self) -> bool:
        """Whether all of the parameter was trained."""
        return self.view is self.parameter and self.idle is None

    @property
    def gradient(self) -> Tensor:
        assert self.view.grad is not None
        return self.view.grad

    def of(self, tensor: Tensor) -> Tensor:
        """The view's part of a tensor of the parameter's shape."""
        # One operation where slicing would be one a dimension.
        return tensor.as_strided(self.view.shape, tensor.stride())

    def taken(self, tensor: Tensor) -> Tensor:
        """The same in contiguous memory: the part itself where it is and all of it was trained, otherwise a copy."""
        part = self.of(tensor)
        return part.contiguous() if self.idle is None else part.clone(memory_format=torch.contiguous_format)

    def write(self, tensor: Tensor, values: Tensor) -> None:
        """Put what was `taken`, or other values of the view's shape, back into the tensor, where they were trained."""
        part = self.of(tensor)
        if self.idle is not None:
            part.copy_(torch.where(self.idle, part, values))
        elif part.data_ptr() != values.data_ptr():
            part.copy_(values)


class Slices:
    """The slices in use."""

    def __init__(self) -> None:
        # By the parameters' identities: hashing thousands of tensors a step takes milliseconds.
        self._leaves: dict[int, dict[torch.Size, Tensor]] = {}
        self._in_use: set[int] = set()

    def leaf(self, parameter: nn.Parameter, shape: torch.Size) -> Tensor:
        """The leading slice of this shape, the same one every time."""
        if parameter.shape == shape:
            return parameter
        self._in_use.add(id(parameter))
        leaves = self._leaves.setdefault(id(parameter), {})
        # A parameter that moved to another device has left its slices behind.
        if shape not in leaves or leaves[shape].data_ptr() != parameter.data_ptr():
            leaves[shape] = leading_slice(parameter.detach(), shape).requires_grad_()
        return leaves[shape]

    def touched(self, parameters: Iterable[tuple[str, nn.Parameter]]) -> list[Touched]:
        """Whatever has a gradient, in the order of the named parameters; gradients of one parameter's slices are added up."""
        touched = []
        for name, parameter in parameters:
            leaves: list[Tensor] = [] if parameter.grad is None else [parameter]
            if id(parameter) in self._in_use:
                leaves += [leaf for leaf in self._leaves[id(parameter)].values() if leaf.grad is not None]
            if len(leaves) == 1:
                touched.append(Touched(name, parameter, leaves[0]))
            elif leaves:
                touched.append(self._joined(name, parameter, leaves))
        return touched

    def clear(self) -> None:
        """Forget all gradients of slices."""
        for parameter in self._in_use:
            for leaf in self._leaves[parameter].values():
                leaf.grad = None
        self._in_use.clear()

    def _joined(self, name: str, parameter: nn.Parameter, leaves: Sequence[Tensor]) -> Touched:
        view = self.leaf(parameter, torch.Size(map(max, zip(*(leaf.shape for leaf in leaves), strict=True))))
        gradient = torch.zeros(view.shape, dtype=view.dtype, device=view.device)
        idle = torch.ones(view.shape, dtype=torch.bool, device=view.device)
        for leaf in leaves:
            assert leaf.grad is not None
            leading_slice(gradient, leaf.shape).add_(leaf.grad)
            leading_slice(idle, leaf.shape).fill_(False)
        view.grad = gradient
        return Touched(name, parameter, view, idle if idle.any() else None)


@torch.no_grad()
def update(optimizer: torch.optim.Optimizer, touched: Sequence[Touched]) -> None:
    """Let an optimizer do one step on what was touched.

    It works on contiguous copies of slices that are not: torch's fused optimizers take that for granted.

    Raises:
        OptimizerError: its state does not have its parameters' shapes, so no part of it belongs to a slice.
    """
    by_parameter = {one.parameter: one for one in touched}
    stand_ins = {one.parameter: _stand_in(one) for one in touched}
    wholes = [group["params"] for group in optimizer.param_groups]
    states: dict[nn.Parameter, dict[str, Any]] = {parameter: optimizer.state.pop(parameter, {}) for parameter in by_parameter}
    try:
        for group in optimizer.param_groups:
            group["params"] = [stand_ins[parameter] for parameter in group["params"] if parameter in stand_ins]
        for parameter, state in states.items():
            if state:
                optimizer.state[stand_ins[parameter]] = {key: _part(value, by_parameter[parameter]) for key, value in state.items()}
        optimizer.step()
        for parameter, one in by_parameter.items():
            if not one.is_whole:
                one.write(parameter, stand_ins[parameter])
            for key, value in optimizer.state.pop(stand_ins[parameter], {}).items():
                states[parameter][key] = _whole(type(optimizer).__name__, value, states[parameter].get(key), one)
    finally:
        for group, whole in zip(optimizer.param_groups, wholes, strict=True):
            group["params"] = whole
        for parameter, state in states.items():
            optimizer.state[parameter] = state


def _stand_in(one: Touched) -> Tensor:
    """What the optimizer takes for a parameter."""
    if one.is_whole:
        return one.parameter
    stand_in = one.taken(one.parameter.detach())
    stand_in.grad = one.gradient.contiguous()
    return stand_in


def _part(value: object, one: Touched) -> object:
    """What the optimizer sees of a state."""
    if one.is_whole or not isinstance(value, Tensor) or value.shape != one.parameter.shape:
        return value
    return one.taken(value)


def _whole(optimizer: str, value: object, before: object, one: Touched) -> object:
    """A state after the step, of the whole parameter again."""
    if one.is_whole or not isinstance(value, Tensor) or value.ndim == 0:
        return value
    if value.shape != one.view.shape:
        got = f"got {optimizer}, whose state for a weight of {tuple(one.view.shape)} has {tuple(value.shape)}"
        raise OptimizerError(f"optimizer: {got}; expected one such as adamw")
    whole = before if isinstance(before, Tensor) else value.new_zeros(one.parameter.shape)
    one.write(whole, value)
    return whole
