"""Evaluating a network on many batches by replaying a CUDA graph of one.

A small network's kernels are done before the CPU has launched the next ones. A graph launches them all at once.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

import torch
from torch import Tensor

from space.errors import one_line

Forward = Callable[[Tensor], Tensor]
"""Images (B, ...) to logits (B, ...), those of an image independent of the others: no batch norm in training mode."""
Replay = Callable[[], Tensor]
"""Computes the forward anew from what the recorded tensor holds now, into the same tensor every time."""
Record = Callable[[Forward, Tensor], Replay]

MIN_BATCHES = 32
"""Recording takes as long as about three batches, and pays only where launching is slower than the GPU: it costs at most a tenth."""


def replayed(forward: Forward, num_batches: int, device: torch.device, may_record: bool = True) -> Forward:
    """A function with the same results, for evaluating so many batches; `forward` itself where recording would not pay."""
    return GraphReplay(forward, record_cuda_graph) if may_record and device.type == "cuda" and num_batches >= MIN_BATCHES else forward


class GraphReplay:
    """`replay(images)` is `forward(images)`, recorded with the first batch.

    Smaller batches are padded; those of other sizes of images, or larger ones, run `forward`. Where recording fails, one line says so
    and all run `forward`.
    """

    def __init__(self, forward: Forward, record: Record) -> None:
        self._forward, self._record = forward, record
        self._images: Tensor | None = None
        self._replay: Replay | None = None

    def __call__(self, images: Tensor) -> Tensor:
        if self._images is None:
            self._images = images.clone()
            try:
                self._replay = self._record(self._forward, self._images)
            except RuntimeError as error:
                print(f"compile: recording a CUDA graph failed ({one_line(error):.200}); batches run without", file=sys.stderr, flush=True)
        count = len(images)
        if self._replay is None or count > len(self._images) or images.shape[1:] != self._images.shape[1:]:
            return self._forward(images)
        # What is left of the batch before pads a smaller one.
        self._images[:count].copy_(images)
        return self._replay()[:count].clone()


def record_cuda_graph(forward: Forward, images: Tensor) -> Replay:
    """Record the kernels of one forward pass.

    Args:
        images: stays the input of every replay.
    """
    graph, stream = torch.cuda.CUDAGraph(), torch.cuda.Stream()
    is_cached = torch.is_autocast_cache_enabled()
    # Copies of weights in lower precision must be made in the graph: autocast frees those that it keeps.
    torch.clear_autocast_cache()
    torch.set_autocast_cache_enabled(False)
    try:
        # A first pass on a stream of its own, as graphs need it: it may set up libraries, which cannot be recorded.
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            forward(images)
        torch.cuda.current_stream().wait_stream(stream)
        # Threads that load images may allocate memory meanwhile.
        with torch.cuda.graph(graph, capture_error_mode="thread_local"):
            logits = forward(images)
    finally:
        torch.set_autocast_cache_enabled(is_cached)

    def replay() -> Tensor:
        graph.replay()
        return logits

    return replay
