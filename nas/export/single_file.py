"""A single Python file and its weights: a network that runs with PyTorch alone, made of the sources of the operators it has."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator
from importlib.util import module_from_spec, spec_from_file_location
from itertools import groupby
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from nas import __version__
from nas.export.format import Format, Trained, state_of
from nas.export.sources import DROPPED, FUSING, Sources
from space.architecture import Architecture, Part
from space.files import write_atomically
from space.registry import Spec

FRAME = "nas.export.plain"
INDENT = " " * 4

_HEADER = '''"""{name}, an image classifier.

    from network import load
    network = load()            # with the weights of {weights}, beside this file
    logits = network(images)    # images (B, {in_chans}, H, W), normalised, to (B, {num_classes})

It needs PyTorch alone. Written by token-mixer-nas {version}, of whose sources it is made.
SPDX-License-Identifier: Apache-2.0
"""

from __future__ import annotations
'''

_BUILD = '''def build() -> Network:
    """The network, its weights at random."""
    return {expression}


def load(weights: str | Path = Path(__file__).with_name("{weights}")) -> Network:
    """The network with its weights, for inference."""
    network = {built}
    network.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))
    return network.eval()
'''


class SingleFile(Format):
    """`network.py` and `weights.pt`, tensors that PyTorch reads without running code."""

    files = ("network.py", "weights.pt")
    seconds_a_block = 0.2

    def write(self, trained: Trained, folder: Path) -> None:
        write_atomically(folder / self.files[0], source_of(trained.architecture, trained.fused, self.files[1]))
        torch.save(state_of(trained), folder / self.files[1])

    def load(self, folder: Path) -> Callable[[Tensor], Tensor]:
        spec = spec_from_file_location("network", folder / self.files[0])
        assert spec is not None
        assert spec.loader is not None
        module: Any = module_from_spec(spec)
        spec.loader.exec_module(module)
        return torch.inference_mode()(module.load())

    def usage(self, architecture: Architecture) -> str:
        return """\
from network import load

network = load()
logits = network(images)
maps = network.maps(images)  # behind each stage
"""


def source_of(architecture: Architecture, fused: bool, weights: str) -> str:
    """The text of the file; `weights` is the name of the one beside it."""
    sources = Sources(DROPPED if fused else DROPPED | FUSING)
    expression = "\n".join(_Writer(architecture, sources).network()).replace("\n", "\n" + INDENT)
    built = f"{sources.add('space.fuse', 'fuse')}(build())" if fused else "build()"
    imports = {*sources.imports().splitlines(), "from pathlib import Path", "import torch", "from torch import nn"}
    fields = {name: getattr(architecture, name) for name in ("name", "in_chans", "num_classes")}
    fields["name"] = fields["name"].replace("\\", "/").replace('"', "'")
    header = _HEADER.format(version=__version__, weights=weights, **fields)
    build = _BUILD.format(expression=expression, weights=weights, built=built)
    return f"{header}\n{_merged(imports)}\n\n\n{sources.definitions()}\n\n\n{build}"


def _merged(imports: set[str]) -> str:
    """Import statements with all that comes from one module in one of them."""
    names: dict[str, set[str]] = {}
    for line in imports:
        if line.startswith("from "):
            module, _, imported = line.removeprefix("from ").partition(" import ")
            names.setdefault(module, set()).update(imported.split(", "))
    return "\n".join([
        *sorted(line for line in imports if line.startswith("import ")),
        *(f"from {module} import {', '.join(sorted(names[module]))}" for module in sorted(names)),
    ])


class _Writer:
    """Writes the expression that builds a network, line by line, and takes what it names into the sources."""

    def __init__(self, architecture: Architecture, sources: Sources) -> None:
        self._architecture = architecture
        self._parts = {part.path: part for part in architecture.parts}
        self._sources = sources

    def network(self) -> Iterator[str]:
        yield f"{self._frame('Network')}("
        yield f"{INDENT}stem={self._module('stem')},"
        yield f"{INDENT}stages=["
        for index in range(len(self._architecture.stages)):
            yield from (2 * INDENT + line for line in self._stage(index))
        yield f"{INDENT}],"
        yield f"{INDENT}head={self._module('head')},"
        yield ")"

    def _stage(self, index: int) -> Iterator[str]:
        yield f"{self._frame('Stage')}("
        yield f"{INDENT}downsample={self._module(f'stages.{index}.downsample')},"
        yield f"{INDENT}blocks=["
        blocks = self._architecture.stages[index].blocks
        for _, run in groupby(range(len(blocks)), key=lambda j: blocks[j]):
            numbers = list(run)
            block = "\n".join(self._block(f"stages.{index}.blocks.{numbers[0]}"))
            repeated = f"*({block} for _ in range({len(numbers)}))," if len(numbers) > 1 else f"{block},"
            yield from textwrap.indent(repeated, 2 * INDENT).splitlines()
        yield f"{INDENT}],"
        yield f"{INDENT}norm={self._module(f'stages.{index}.norm')},"
        yield "),"

    def _block(self, path: str) -> Iterator[str]:
        yield f"{self._frame('Block')}("
        for slot in ("position", "mixer", "ffn_position", "ffn"):
            yield f"{INDENT}{slot}={self._module(f'{path}.{slot}')},"
        yield ")"

    def _module(self, path: str) -> str:
        part = self._parts.get(path)
        if part is None:
            return "nn.Identity()"
        operator = self._call(part.spec, part.widths)
        return operator if part.norm is None else self._residual(part, operator)

    def _residual(self, part: Part, operator: str) -> str:
        assert part.norm is not None
        norm = self._call(part.norm, part.widths)
        residual = self._sources.add("space.network", "Residual")
        return f"{residual}({norm}, {operator}, {part.widths[0]}, {part.layer_scale}, nn.Identity())"

    def _call(self, spec: Spec, widths: tuple[int, ...]) -> str:
        return f"{self._class(spec)}({', '.join([*map(str, widths), *self._options(spec)])})"

    def _options(self, spec: Spec) -> Iterator[str]:
        for name, value in spec.options.items():
            if isinstance(value, Spec):
                inside = ", ".join([self._class(value), *self._options(value)])
                yield f"{name}={self._frame('Option')}({inside})"
            else:
                yield f"{name}={value!r}"

    def _class(self, spec: Spec) -> str:
        factory = spec.entry.factory
        return self._sources.add(factory.__module__, factory.__name__)

    def _frame(self, name: str) -> str:
        return self._sources.add(FRAME, name)
