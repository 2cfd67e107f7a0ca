"""Which modules of a network are its blocks, and what goes in and out of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from torch import Tensor, nn

from proxies.zero_cost.passes import run_network, tensors_of
from space.network import TokenMixerNet


def watch_blocks(network: nn.Module, images_BCHW: Tensor, watcher: Callable[[Tensor, Tensor], None]) -> None:
    """Run a network forward and call the watcher with every block's input and output, in the order in which they run."""

    def tell(module: nn.Module, args: tuple[object, ...], output: object) -> None:
        if args and isinstance(args[0], Tensor) and isinstance(output, Tensor):
            watcher(args[0], output)

    hooks = [block.register_forward_hook(tell) for block in blocks_of(network)]
    try:
        run_network(network, tensors_of(network), images_BCHW)
    finally:
        for hook in hooks:
            hook.remove()


def rows_of(network: nn.Module, features: Tensor) -> Tensor:
    """The input or output of a block as (positions, C), the positions of all images in a row.

    Maps of networks from `space` are (B, H, W, C), those of others (B, C, H, W); tokens are (B, N, C), features (B, C).
    """
    if features.ndim == 4 and not isinstance(network, TokenMixerNet):
        features = features.movedim(1, -1)
    return features.flatten(0, -2)


def blocks_of(network: nn.Module) -> list[nn.Module]:
    """The items of a network's lists of modules that have two weights or more, stages being taken apart into their blocks.

    If there are none, as in a plain chain of layers, these are the modules that own a weight themselves.
    """
    return list(_blocks_in(network)) or [module for module in network.modules() if _num_weights(module, recurse=False)]


def _blocks_in(module: nn.Module) -> Iterator[nn.Module]:
    for child in module.children():
        is_stage = any(map(_is_list_of_blocks, (child, *child.children())))
        if _is_list_of_blocks(module) and _num_weights(child) > 1 and not is_stage:
            yield child
        else:
            yield from _blocks_in(child)


def _is_list_of_blocks(module: nn.Module) -> bool:
    return isinstance(module, nn.ModuleList | nn.Sequential) and any(_num_weights(item) > 1 for item in module)


def _num_weights(module: nn.Module, recurse: bool = True) -> int:
    return sum(parameter.ndim > 1 for parameter in module.parameters(recurse))
