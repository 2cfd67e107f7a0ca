"""The memory of the tensors that are alive while a network runs, and the most that it came to."""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class LiveMemory(TorchDispatchMode):
    """Counts the storages of tensors that operators return inside, from when they are made until nothing holds them.

    What a kernel allocates for itself and frees before it returns is not seen. Run without gradients but not in inference mode: there,
    operators such as attention would arrive whole, with the tensors that they make on the way.

    Args:
        apart: tensors that do not count, such as parameters.

    Attributes:
        now, peak: bytes.
    """

    def __init__(self, apart: Iterable[Tensor] = ()) -> None:
        super().__init__()
        self.now = self.peak = 0
        self._known = {_key(tensor) for tensor in apart}

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        # As in `proxies.macs`: True would import the compiler.
        return False

    def add(self, tensor: Tensor) -> None:
        """Count a tensor's storage, once, until it is freed."""
        storage, key = tensor.untyped_storage(), _key(tensor)
        if key not in self._known:
            self._known.add(key)
            self.now += storage.nbytes()
            self.peak = max(self.peak, self.now)
            weakref.finalize(storage, self._freed, key, storage.nbytes())

    def _freed(self, key: int, size: int) -> None:
        self._known.discard(key)
        self.now -= size

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None) -> Any:
        output = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(output):
            if isinstance(tensor, Tensor):
                self.add(tensor)
        return output


def measured_peak(network: nn.Module, image_BCHW: Tensor) -> int:
    """Bytes of the tensors that one inference keeps alive at its worst moment, the image among them, the weights not."""
    live = LiveMemory([*network.parameters(), *network.buffers()])
    live.add(image_BCHW)
    with torch.no_grad(), live:
        network(image_BCHW)
    return live.peak


def _key(tensor: Tensor) -> int:
    return tensor.untyped_storage()._cdata
