"""What a latency is measured on: device, backend, threads, batch size and precision, and whether it is that of class maps."""

from __future__ import annotations

import re
from dataclasses import dataclass

from space.errors import UserError

INT8_BACKEND = "ort-int8"
BACKENDS = ("eager", "compile", "ort", INT8_BACKEND)
"""PyTorch as it is, `torch.compile`, ONNX Runtime, ONNX Runtime on INT8 graphs."""
IMPORTED = "imported"
"""The backend of a device that has only a name here: its latencies were measured elsewhere."""
DEVICES = ("cpu", "cuda")
PRECISIONS = ("fp32", "bf16", "fp16")
OUTPUTS = ("logits", "argmax")
EXPECTED = (
    f"a device ({' or '.join(DEVICES)}) or a backend ({', '.join(BACKENDS[1:])}), then threads, batch and precision where they are not "
    f"one thread, one image and fp32: cpu, cpu:1t:bs1, ort:2t, {INT8_BACKEND}, compile:cuda:bs8:{PRECISIONS[1]}; "
    f"for networks that label pixels also {OUTPUTS[1]}: cpu:1t:{OUTPUTS[1]}; or the name of a device whose latencies were imported"
)
_NAME = re.compile(r"[a-z][a-z0-9._-]{0,39}", re.ASCII)
_COUNT = re.compile(r"(?:(?P<threads>[1-9]\d{0,3})t|bs(?P<batch>[1-9]\d{0,4}))", re.ASCII)


class TargetError(UserError, ValueError):
    """A target that cannot be read, or that this machine does not have."""


@dataclass(frozen=True)
class Target:
    """Where and how a network runs when its latency is measured.

    Args:
        device: `cpu`, `cuda`, or the name of a device whose latencies were imported.
        backend: one of `BACKENDS`, or `IMPORTED`.
        threads: of the processor; on `cuda` they only feed the device.
        batch: images a pass.
        precision: of weights and images; with `ort-int8` of what stays in floating point.
        output: `logits`, as the network returns them; or `argmax`, the likeliest class of every pixel of the image, for which
            logits are interpolated to the image's size.
    """

    device: str = "cpu"
    backend: str = "eager"
    threads: int = 1
    batch: int = 1
    precision: str = "fp32"
    output: str = "logits"

    def __str__(self) -> str:
        if self.is_imported:
            return self.device
        backend = [] if self.backend == "eager" else [self.backend]
        precision = [] if self.is_int8 else [self.precision]
        output = [] if self.output == "logits" else [self.output]
        return ":".join([*backend, self.device, f"{self.threads}t", f"bs{self.batch}", *precision, *output])

    @property
    def is_imported(self) -> bool:
        """Whether it is a device that this machine cannot measure on."""
        return self.backend == IMPORTED

    @property
    def is_int8(self) -> bool:
        """Whether graphs are quantised."""
        return self.backend == INT8_BACKEND

    @property
    def is_onnx(self) -> bool:
        """Whether ONNX Runtime runs it."""
        return self.backend in ("ort", INT8_BACKEND)


def parse_target(text: str) -> Target:
    """Read `cpu:1t:bs1`, `ort:1t:bs1`, `compile:cuda:bs8:bf16`: words in any order, each kind at most once. Any other single word
    is the name of an imported device.

    Raises TargetError for an unknown or repeated word, and where neither device nor backend is named.
    """
    if _NAME.fullmatch(text.lower()) and not _read_word(text.lower())[0]:
        return Target(text.lower(), IMPORTED)
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
    if target.is_int8 and (target.device, target.precision) != ("cpu", "fp32"):
        raise TargetError(f"got {text!r:.60}, expected {INT8_BACKEND} on cpu, without another precision")
    return target


def _read_word(word: str) -> tuple[str, str | int]:
    for key, known in (("device", DEVICES), ("backend", BACKENDS), ("precision", PRECISIONS), ("output", OUTPUTS)):
        if word in known:
            return key, word
    match = _COUNT.fullmatch(word)
    if match is None:
        return "", ""
    return ("threads", int(match["threads"])) if match["threads"] else ("batch", int(match["batch"]))
