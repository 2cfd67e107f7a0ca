"""Training one network through torch.compile, where the training is long enough to repay it.

Compiling takes minutes, and saves a share of every step. To measure in the run whether that pays would make a resumed training decide
otherwise than an uninterrupted one, and end with other last digits. So the device and the number of steps decide.

The compiled function runs the network's own tensors and is no part of it: checkpoints and weights have the names that they always have.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from space.errors import one_line
from supernet.seeding import seeded
from supernet.training.distributed import is_first, own_device

Run = Callable[[Tensor], Tensor]
"""Images (B, C, H, W) to logits."""

BACKEND: str | Callable[..., Any] = "inductor"
MIN_STEPS = {"cuda": 5000}
"""From how many steps on a training is compiled, by device; never on others. `docs/decisions/compilation.md` says why."""
TRIAL_STEPS = 3
"""A CUDA graph is warmed up, recorded and replayed."""
TOLERANCE = 0.05
"""Largest difference of the compiled network in the trial, as a share of the largest number; bf16 rounds to 0.004."""


class CompilationError(RuntimeError):
    """A network cannot be compiled here."""


@contextmanager
def compiled(network: nn.Module, num_steps: int, num_parts: int = 1, may_compile: bool = True) -> Iterator[Run]:
    """What a training runs instead of the network: a compiled form of it, or the network itself where that would not pay.

    The first call compiles for its images' shape and tries the result. Where this fails, one line says so and the network itself runs.

    Args:
        num_steps: of the whole training, with those that were done before it was resumed.
        num_parts: of a batch, that are trained on one after the other in this process.
        may_compile: whether the user lets it.
    """
    if not may_compile or num_steps < MIN_STEPS.get(own_device().type, num_steps + 1):
        yield network
        return
    # Random numbers are drawn as without compiling.
    options: dict[str, Any] = {"fallback_random": True}
    # Gradients that a graph has left are overwritten by its next replay, so they cannot be added up over parts.
    if own_device().type == "cuda" and num_parts == 1:
        options["triton.cudagraphs"] = True
    try:
        yield _Tried(network, options)
    finally:
        # A process may train many networks: dynamo stops compiling after eight, and graphs keep their memory.
        torch.compiler.reset()


class _Tried:
    """A network that is compiled and tried in the first call; the network itself where that fails."""

    def __init__(self, network: nn.Module, options: dict[str, Any]) -> None:
        self._network, self._options = network, options
        self._run: Run | None = None

    def __call__(self, images_BCHW: Tensor) -> Tensor:
        if self._run is None:
            try:
                self._run = self._compiled(images_BCHW)
            except CompilationError as error:
                self._run = self._network
                # The network needs the memory that the attempt has taken.
                torch.compiler.reset()
                if is_first():
                    print(f"compile: {error}; the network is trained without", file=sys.stderr, flush=True)
        return self._run(images_BCHW)

    def _compiled(self, images_BCHW: Tensor) -> Run:
        """The compiled network, tried forward and backward. The network and the random states stay as they were."""
        network = self._network
        buffers = {buffer: buffer.clone() for buffer in network.buffers()}
        try:
            expected = _outcome(network, network, images_BCHW)
            try:
                run = torch.compile(network, fullgraph=True, dynamic=False, backend=BACKEND, options=self._options)
                for _ in range(TRIAL_STEPS):
                    found = _outcome(network, run, images_BCHW)
            except Exception as error:  # Of any type: compilers, drivers and what they call raise their own.
                raise CompilationError(f"torch.compile failed ({one_line(error):.200})") from error
        finally:
            with torch.no_grad():
                for buffer, before in buffers.items():
                    buffer.copy_(before)
        for one, other in zip(found, expected, strict=True):
            if not ((one - other).abs().max() <= TOLERANCE * other.abs().max()):
                raise CompilationError("torch.compile computed other numbers")
        return run


def _outcome(network: nn.Module, run: Run, images_BCHW: Tensor) -> tuple[Tensor, Tensor]:
    """Logits, and the norm of all gradients of a loss."""
    try:
        with seeded("trial of a compiled network"):
            logits = run(images_BCHW)
            logits.float().square().mean().backward()
        norm = nn.utils.get_total_norm([parameter.grad for parameter in network.parameters() if parameter.grad is not None])
        # A copy: a CUDA graph's next replay overwrites what this one returned.
        return logits.detach().float().clone(), norm
    finally:
        network.zero_grad(set_to_none=True)
