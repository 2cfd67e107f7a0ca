"""A single Python file and its weights: a network that runs with PyTorch alone."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from pprint import pformat
from typing import Any

import torch
from torch import Tensor

from nas import __version__
from nas.export.format import ExportedNetwork, Format
from nas.export.frame import DenseNetwork, ModuleFactory, Network
from nas.export.sources import Sources
from space.architecture import Part
from space.blocks import Residual
from space.files import write_atomically
from space.fuse import fuse
from space.registry import Spec
from space.taps import taps_of

_FILE = '''"""{name}, a network for {task}.

    from network import load
    network = load()            # with the weights of {weights}, beside this file
    logits = network(images)    # images (B, {in_chans}, H, W), normalised, to (B, {num_classes}{pixels})
    METADATA                    # preprocessing, class names and so on

It needs PyTorch alone. Written by token-mixer-nas {version}, whose sources it holds.
SPDX-License-Identifier: Apache-2.0
"""

from __future__ import annotations

{sources}


METADATA = {metadata}


def build() -> {network}:
    """The network, its weights at random."""
    return {network}(
        depths={depths},
        parts={{
{parts}
        }},{sources_of_taps}
    )


def load(weights: str | Path = Path(__file__).with_name("{weights}")) -> {network}:
    """The network with its weights, for inference."""
    network = {built}
    network.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))
    return network.eval()
'''


class SingleFile(Format):
    """`network.py` and `weights.pt`, tensors that PyTorch reads without running code."""

    files = ("network.py", "weights.pt")
    seconds_a_block = 0.2

    def write(self, exported: ExportedNetwork, folder: Path) -> None:
        write_atomically(folder / self.files[0], source_of(exported, self.files[1]))
        torch.save({name: tensor.contiguous() for name, tensor in exported.network.state_dict().items()}, folder / self.files[1])

    def load(self, folder: Path) -> Callable[[Tensor], Tensor]:
        spec = spec_from_file_location("exported_network", folder / self.files[0])
        assert spec is not None
        assert spec.loader is not None
        module: Any = module_from_spec(spec)
        # Data classes look their module up there.
        sys.modules[spec.name] = module
        try:
            spec.loader.exec_module(module)
        finally:
            del sys.modules[spec.name]
        return torch.inference_mode()(module.load())

    def usage(self, exported: ExportedNetwork) -> str:
        return """\
from network import METADATA, load

network = load()
logits = network(images)
maps = network.maps(images)
"""


def source_of(exported: ExportedNetwork, weights: str) -> str:
    """The text of the file; `weights` is the name of the one beside it."""
    architecture = exported.architecture
    taps = taps_of(architecture.head, architecture.features_at(architecture.image_size, architecture.image_size))
    sources_of_taps = [[(source.feature, source.start, source.stop) for source in tap.sources] for tap in taps]
    sources = Sources()
    parts = "\n".join(f'            "{part.path}": {_module(part, sources)},' for part in architecture.parts)
    return _FILE.format(
        name=architecture.name.replace("\\", "/").replace('"', "'"), in_chans=architecture.in_chans,
        num_classes=architecture.num_classes, weights=weights, version=__version__,
        network=sources.name_of(DenseNetwork if taps else Network), task=architecture.task, pixels=", H', W'" if taps else "",
        depths=tuple(len(stage.blocks) for stage in architecture.stages), parts=parts,
        sources_of_taps=f"\n        sources={sources_of_taps}," if taps else "",
        built=f"{fuse.__name__}(build())" if exported.is_fused else "build()",
        metadata=pformat(exported.metadata.document, width=120, sort_dicts=False), sources=sources.text(),
    )  # fmt: skip


def _module(part: Part, sources: Sources) -> str:
    """The expression that builds a part."""
    operator = _call(part.spec, part.widths, sources)
    if part.norm is None:
        return operator
    norm = _call(part.norm, part.widths, sources)
    return f"{sources.name_of(Residual)}({norm}, {operator}, {part.widths[0]}, {part.layer_scale}, nn.Identity())"


def _call(spec: Spec, widths: tuple[int, ...], sources: Sources) -> str:
    return f"{sources.name_of(spec.factory)}({', '.join([*map(str, widths), *_options(spec, sources)])})"


def _options(spec: Spec, sources: Sources) -> list[str]:
    options = []
    for name, value in spec.options.items():
        if isinstance(value, Spec):
            inside = ", ".join([sources.name_of(value.factory), *_options(value, sources)])
            options.append(f"{name}={sources.name_of(ModuleFactory)}({inside})")
        else:
            options.append(f"{name}={value!r}")
    return options
