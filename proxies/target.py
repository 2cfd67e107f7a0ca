"""What a latency is measured on: device, backend, threads, batch size and precision."""

from __future__ import annotations

import re
from dataclasses import dataclass

from space.errors import UserError

BACKENDS = ("eager", "compile", "ort")
"""PyTorch as it is, `torch.compile`, ONNX Runtime."""
DEVICES = ("cpu", "cuda")
PRECISIONS = ("fp32", "bf16", "fp16")
EXPECTED = (
    f"a device ({' or '.join(DEVICES)}) or a backend (compile or ort), then threads, batch and precision where they are not one thread, "
    f"one image and fp32: cpu, cpu:1t:bs1, ort:2t, compile:cuda:bs8:{PRECISIONS[1]}"
)
_COUNT = re.compile(r"(?:(?P<threads>[1-9]\d{0,3})t|bs(?P<batch>[1-9]\d{0,4}))", re.ASCII)


class TargetError(UserError, ValueError):
    """A target that cannot be read, or that this machine does not have."""


@dataclass(frozen=True)
class Target:
    """Where and how a network runs when its latency is measured.

    Args:
        device: `cpu` or `cuda`.
        backend: `eager`, `compile` or `ort`.
        threads: of the processor; on `cuda` they only feed the device.
        batch: images a pass.
        precision: of weights and images.
    """

    device: str = "cpu"
    backend: str = "eager"
    threads: int = 1
    batch: int = 1
    precision: str = "fp32"

    def __str__(self) -> str:
        backend = [] if self.backend == "eager" else [self.backend]
        return ":".join([*backend, self.device, f"{self.threads}t", f"bs{self.batch}", self.precision])


def parse_target(text: str) -> Target:
    """Read `cpu:1t:bs1`, `ort:1t:bs1`, `compile:cuda:bs8:bf16`: words in any order, each kind at most once.

    Raises TargetError for an unknown or repeated word, and where neither device nor backend is named.
    """
    fields: dict[str, str | int] = {}
    for word in text.lower().split(":"):
        key, value = _read_word(word)
        if not key or key in fields:
            raise TargetError(f"got {word!r:.60} in {text!r:.60}, expected {EXPECTED}")
        fields[key] = value
    if not fields.keys() & {"device", "backend"}:
        raise TargetError(f"got {text!r:.60} without a device, expected {EXPECTED}")
    target = Target(**fields)  # type: ignore[arg-type]
    if target.device == "cpu" and target.precision == "fp16":
        raise TargetError(f"got {text!r:.60}, expected fp32 or bf16 on cpu")
    return target


def _read_word(word: str) -> tuple[str, str | int]:
    for key, known in (("device", DEVICES), ("backend", BACKENDS), ("precision", PRECISIONS)):
        if word in known:
            return key, word
    match = _COUNT.fullmatch(word)
    if match is None:
        return "", ""
    return ("threads", int(match["threads"])) if match["threads"] else ("batch", int(match["batch"]))
