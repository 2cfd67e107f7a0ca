"""Forward and backward passes that leave no trace: they run on aliases of the parameters and copies of the buffers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.func import functional_call

from proxies.zero_cost.registry import Batch, ScoreError

BATCH_NORMS = (nn.modules.batchnorm._BatchNorm,)
NORM_LAYERS = (*BATCH_NORMS, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm, nn.modules.instancenorm._InstanceNorm)


def tensors_of(network: nn.Module) -> dict[str, Tensor]:
    """Parameters, as fresh leaves that require gradients, and buffers, as copies, by name; a norm's zero scale is one."""
    norms = (module.weight for module in network.modules() if isinstance(module, NORM_LAYERS) and module.weight is not None)
    zeros = {id(weight) for weight in norms if not weight.any()}
    tensors = {name: buffer.detach().clone() for name, buffer in network.named_buffers()}
    for name, parameter in network.named_parameters():
        tensor = torch.ones_like(parameter) if id(parameter) in zeros else parameter
        # An inference tensor refuses gradients; its clone does not.
        tensor = (tensor.clone() if tensor.is_inference() else tensor).detach()
        tensors[name] = tensor.requires_grad_(tensor.is_floating_point())
    return tensors


def run_network(network: nn.Module, tensors: Mapping[str, Tensor], images_BCHW: Tensor, batch_statistics: bool = True) -> Tensor:
    """A network's output with these tensors in place of its own, nothing dropped at random.

    Args:
        batch_statistics: whether batch norms normalise by the batch, or by their running statistics.
    """
    with evaluating(network, batch_statistics):
        try:
            output = functional_call(network, dict(tensors), (images_BCHW,))
        except (RuntimeError, ValueError) as error:
            reason = " ".join(str(error).split())[:160]
            raise ScoreError(f"network: got images {tuple(images_BCHW.shape)}, which it cannot run on ({reason})") from error
    if not isinstance(output, Tensor):
        raise ScoreError(f"network: got an output of type {type(output).__name__}, expected one tensor")
    return output


@contextmanager
def evaluating(network: nn.Module, batch_statistics: bool = False) -> Iterator[None]:
    """Run a block with all modules in evaluation, batch norms in training where asked, and put every module's mode back."""
    modes = {module: module.training for module in network.modules()}
    try:
        for module in modes:
            module.training = batch_statistics and isinstance(module, BATCH_NORMS)
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode


def positive(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The absolute values of floating tensors, in double precision: what is left is a linear network but for its activations."""
    return {
        name: tensor.detach().double().abs().requires_grad_(tensor.requires_grad) if tensor.is_floating_point() else tensor
        for name, tensor in tensors.items()
    }


def ones_like(batch: Batch) -> Tensor:
    """One image of ones, of the batch's size."""
    return torch.ones_like(batch.images[:1], dtype=torch.float64)


@contextmanager
def replaced(network: nn.Module, kinds: tuple[type[nn.Module], ...], function: Callable[[Tensor], Tensor]) -> Iterator[None]:
    """Run a block in which modules of these kinds return a function of their input."""
    # A hook's result takes the place of the module's.
    hooks = [
        module.register_forward_hook(lambda module, args, output: function(args[0]))
        for module in network.modules() if isinstance(module, kinds)
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def loss_gradients(network: nn.Module, batch: Batch) -> dict[str, tuple[Tensor, Tensor]]:
    """`weight_gradients` of the batch's loss: one forward and one backward pass."""
    tensors = tensors_of(network)
    logits = run_network(network, tensors, batch.images)
    classes, labels = logits.shape[1] if logits.ndim > 1 else 1, batch.labels
    # Targets of more dimensions, such as masks, are the loss's own matter: some of them may be no class.
    if labels.ndim == 1 and len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < classes:
        raise ScoreError(f"labels: got {int(labels.min())} to {int(labels.max())}, expected 0 to {classes - 1}, the network's classes")
    return weight_gradients(batch.loss(logits, labels), tensors)


def weight_gradients(scalar: Tensor, tensors: Mapping[str, Tensor]) -> dict[str, tuple[Tensor, Tensor]]:
    """Weights and a scalar's gradients with respect to them, by name; zeros where it does not depend on a weight.

    Weights are the parameters of two dimensions or more: those of convolutions and linear layers, not biases, norms, scales.
    """
    weights = {name: tensor for name, tensor in tensors.items() if tensor.requires_grad and tensor.ndim > 1}
    if not weights or not scalar.requires_grad:
        raise ScoreError("network: got no weight that its output depends on, expected convolutions or linear layers")
    gradients = torch.autograd.grad(scalar, list(weights.values()), allow_unused=True, materialize_grads=True)
    return {name: (weight.detach(), gradient) for (name, weight), gradient in zip(weights.items(), gradients, strict=True)}
