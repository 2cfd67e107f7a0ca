"""The options of `nas.latency kit`, `import` and `verify`."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nas.cli.options import REQUIRED, Config, option

NUM_NETWORKS = 16
"""The fit needs some more than its three coefficients, and its margin shrinks with their number."""


def _name(value: Any) -> str:
    from proxies.target import TargetError, parse_target

    with suppress(TargetError):
        if (target := parse_target(str(value))).is_imported:
            return str(target)
    raise ValueError(f"got {value!r:.60}, expected a name such as pixel8: letters, digits, dots and hyphens, no word of a target")


@dataclass(frozen=True, kw_only=True)
class KitConfig(Config):
    """What a kit measures."""

    space: str = option("hybrid-224", "the name of a space, such as hybrid-32 or tiny-seg, or a YAML file")
    budget: str | None = option(None, "draw the whole networks inside this budget, such as 450MFLOPs (from the whole space)")
    batch_size: int = option(1, "images a pass", at_least=1, below=100_000)
    int8: bool = option(False, "graphs in INT8: convolutions and linear layers are quantised")
    networks: int = option(NUM_NETWORKS, "whole networks", at_least=4, below=100)
    seed: int = option(0, "of the networks")
    out: Path = option(Path("kit"), "the folder to write (kit)")


@dataclass(frozen=True, kw_only=True)
class ImportConfig(Config):
    """What is imported, and as what."""

    latencies: Path = option(REQUIRED, "the JSON file that a kit's script wrote", is_positional=True)
    name: str | None = option(None, "what budgets call the device: --budget 20ms@NAME", convert=_name)
    space: str | None = option(None, "the space's YAML file, where the package has no space of its name")
    latency_tables: Path | None = option(None, "where latencies are kept (the user's cache)", metavar="FOLDER")


@dataclass(frozen=True, kw_only=True)
class VerifyConfig(Config):
    """Whose winners are measured."""

    run: Path = option(REQUIRED, "directory of a search under the latency of an imported device", is_positional=True)
    name: str | None = option(None, "the device, where the search's budget names several", convert=_name)
    out: Path = option(Path("kit-of-winners"), "the folder to write (kit-of-winners)")
