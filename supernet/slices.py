"""Leading slices of parameters that are trained as if they were parameters.

The gradient of a slice that autograd takes has the whole parameter's size, with zeros outside the slice; momentum and weight decay then
change weights that the step did not run. Here a slice is a leaf with a gradient of its own size, and the optimizer sees only that slice
of the parameter and of its state.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from space.errors import UserError
from supernet.sharing import leading_slice


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

    def contiguous_part_of(self, tensor: Tensor) -> Tensor:
        """The same in contiguous memory, which is the tensor's own only where all of a contiguous part was trained."""
        part = self.part_of(tensor)
        return part.contiguous() if self.mask is None else part.clone(memory_format=torch.contiguous_format)

    def write(self, tensor: Tensor, values: Tensor) -> None:
        """Write values of the view's shape into the tensor where the view was trained."""
        part = self.part_of(tensor)
        if self.mask is not None:
            part.copy_(torch.where(self.mask, values, part))
        elif part.data_ptr() != values.data_ptr():
            part.copy_(values)


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
        # The slices of a parameter that has moved to another device are outdated.
        if shape not in leaves or leaves[shape].data_ptr() != parameter.data_ptr():
            leaves[shape] = leading_slice(parameter.detach(), shape).requires_grad_()
        return leaves[shape]

    def with_gradients(self, parameters: Mapping[str, nn.Parameter]) -> list[SlicedParameter]:
        """The parameters and slices with a gradient, in the parameters' order; gradients of one parameter's slices are added up."""
        found = []
        for name, parameter in parameters.items():
            leaves: list[Tensor] = [] if parameter.grad is None else [parameter]
            if id(parameter) in self._in_use:
                leaves += [leaf for leaf in self._leaves[id(parameter)].values() if leaf.grad is not None]
            if len(leaves) == 1:
                found.append(SlicedParameter(name, parameter, leaves[0]))
            elif leaves:
                found.append(self._joined(name, parameter, leaves))
        return found

    def clear(self) -> None:
        """Remove the gradients of all slices."""
        for parameter in self._in_use:
            for leaf in self._leaves[parameter].values():
                leaf.grad = None
        self._in_use.clear()

    def _joined(self, name: str, parameter: nn.Parameter, leaves: Sequence[Tensor]) -> SlicedParameter:
        view = self.leaf(parameter, torch.Size(map(max, zip(*(leaf.shape for leaf in leaves), strict=True))))
        gradient = torch.zeros(view.shape, dtype=view.dtype, device=view.device)
        mask = torch.zeros(view.shape, dtype=torch.bool, device=view.device)
        for leaf in leaves:
            assert leaf.grad is not None
            leading_slice(gradient, leaf.shape).add_(leaf.grad)
            leading_slice(mask, leaf.shape).fill_(True)
        view.grad = gradient
        # By shapes: asking the mask would wait for the device.
        is_covered = any(leaf.shape == view.shape for leaf in leaves)
        return SlicedParameter(name, parameter, view, None if is_covered else mask)


@torch.no_grad()
def update(optimizer: torch.optim.Optimizer, trained: Sequence[SlicedParameter]) -> None:
    """Do one step of an optimizer on the trained slices alone.

    The optimizer works on contiguous copies of slices that are not contiguous: torch's fused optimizers rely on that.

    Raises:
        OptimizerError: the optimizer's state does not have its parameters' shapes, so no part of it belongs to a slice.
    """
    stand_ins = {one.parameter: _stand_in(one) for one in trained}
    wholes = [group["params"] for group in optimizer.param_groups]
    states: dict[nn.Parameter, dict[str, Any]] = {parameter: optimizer.state.pop(parameter, {}) for parameter in stand_ins}
    try:
        for group in optimizer.param_groups:
            group["params"] = [stand_ins[parameter] for parameter in group["params"] if parameter in stand_ins]
        for one in trained:
            if state := states[one.parameter]:
                optimizer.state[stand_ins[one.parameter]] = {key: _part(value, one) for key, value in state.items()}
        optimizer.step()
        for one in trained:
            stand_in, state = stand_ins[one.parameter], states[one.parameter]
            if not one.is_whole:
                one.write(one.parameter, stand_in)
            for key, value in optimizer.state.pop(stand_in, {}).items():
                state[key] = _whole(type(optimizer).__name__, value, state.get(key), one)
    finally:
        for group, whole in zip(optimizer.param_groups, wholes, strict=True):
            group["params"] = whole
        for parameter, state in states.items():
            optimizer.state[parameter] = state


def _stand_in(one: SlicedParameter) -> Tensor:
    """What the optimizer updates instead of a parameter."""
    if one.is_whole:
        return one.parameter
    stand_in = one.contiguous_part_of(one.parameter.detach())
    stand_in.grad = one.gradient.contiguous()
    return stand_in


def _part(value: object, one: SlicedParameter) -> object:
    """The slice's part of a value of the optimizer's state."""
    if one.is_whole or not isinstance(value, Tensor) or value.shape != one.parameter.shape:
        return value
    return one.contiguous_part_of(value)


def _whole(optimizer: str, value: object, before: object, one: SlicedParameter) -> object:
    """The whole parameter's value of the state after the step."""
    if one.is_whole or not isinstance(value, Tensor) or value.ndim == 0:
        return value
    if value.shape != one.view.shape:
        got = f"got {optimizer}, whose state for a weight of {tuple(one.view.shape)} has {tuple(value.shape)}"
        raise OptimizerError(f"optimizer: {got}; expected one such as adamw")
    whole = before if isinstance(before, Tensor) else value.new_zeros(one.parameter.shape)
    one.write(whole, value)
    return whole
