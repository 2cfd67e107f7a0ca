"""`python -m nas.convert --parent davit-t --weights FILE --output DIR`: official weights as files of this package."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from nas.cli.command import Command
from nas.cli.options import REQUIRED, Config, option

if TYPE_CHECKING:
    from rich.console import Console


@dataclass(frozen=True, kw_only=True)
class ConvertConfig(Config):
    """What to convert."""

    parent: str = option(REQUIRED, "name of a published network, such as davit-t, or an architecture's YAML file")
    weights: Path = option(REQUIRED, "the official file, .safetensors or written by torch.save")
    output: Path = option(REQUIRED, "directory for architecture.yaml and weights.safetensors")


main = Command(ConvertConfig, "nas.convert:run", "Convert the weights of a published network's official code.")


def run(config: ConvertConfig, console: Console) -> None:
    """Read, convert and write both files; SpaceError where a tensor has no counterpart."""
    start = time.perf_counter()
    from safetensors.torch import save

    from space.errors import SpaceError
    from space.files import dump_architecture, load_architecture, write_atomically
    from space.network import build_network
    from space.official import load_official
    from space.pretrained.loading import check_head_size
    from space.weights import read_weights

    architecture = load_architecture(config.parent)
    weights = read_weights(config.weights)
    network = build_network(architecture)
    try:
        placed = load_official(network, weights)
        check_head_size(architecture, config.weights, partial(console.print, soft_wrap=True, highlight=False, markup=False))
    except SpaceError as error:
        raise SpaceError(f"{config.weights}: {error}") from None
    if config.output.exists() and not config.output.is_dir():
        raise SpaceError(f"--output: got the file {config.output}, expected a directory")
    tensors = {key: tensor.contiguous() for key, tensor in network.state_dict().items()}
    provenance = {"parent": config.parent, "weights": config.weights.name}
    files = {
        config.output / "weights.safetensors": save(tensors, {"format": "pt"}),
        config.output / "architecture.yaml": dump_architecture(architecture, provenance).encode(),
    }
    what = f"{placed} official tensors as {len(tensors)} of {architecture.name}'s"
    if config.dry_run:
        from nas.cli.plan import Phase, Plan, memory_so_far, print_plan

        phase = Phase("converting", what, time.perf_counter() - start)
        sizes = {str(file): len(content) for file, content in files.items()}
        print_plan(console, Plan((phase,), {"in all": memory_so_far()}, sizes))
        return
    config.output.mkdir(parents=True, exist_ok=True)
    for file, content in files.items():
        write_atomically(file, content)
    print(f"placed {what} in {config.output}")


if __name__ == "__main__":
    sys.exit(main())
