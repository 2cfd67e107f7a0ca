"""How a run was made: its config as `config.json` keeps it, the command that stands for it, the versions of what computed."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from nas.runs.directory import RunError
from nas.runs.records.reading import read_json
from proxies.cost import Budget, parse_budget
from supernet.data.own_dataset import OF_CALLER

OF_SUPERNET = frozenset({"race", "subtract_bias", "steps", "batch_size", "lr", "paths", "scope", "warm_start"})
OF_STANDALONE = frozenset({"standalone_steps"})
OF_OWN_SUPERNET = frozenset({"space", "image_size", "steps", "batch_size", "lr", "paths", "scope", "warm_start"})
OF_HALVING = frozenset({"halving_steps"})
"""Options that `nas.search` takes with one evaluator alone, those of a supernet that it trains itself, and those of successive halving."""


@dataclass(frozen=True)
class Origin:
    """The config of a search, as far as a report depends on it; older ones may lack what came later.

    Args:
        config: everything, for the command.
        versions: by package.
    """

    space: str
    budget: Budget
    data: str
    image_size: int
    seed: int
    evaluator: str
    standalone_steps: int
    config: Mapping[str, Any]
    versions: Mapping[str, str]

    @property
    def is_callers(self) -> bool:
        """Whether data or evaluator are a Python caller's own, which no command line names."""
        return self.evaluator not in ("supernet", "standalone") or self.data.startswith(OF_CALLER)

    @property
    def command(self) -> str:
        """A command that does the same, with every option written out; for what is a caller's own a call in Python."""
        return self._call if self.is_callers else shlex.join(self._words)

    @property
    def _call(self) -> str:
        own = {"data": "..."} if self.data.startswith(OF_CALLER) else {}
        own |= {} if self.evaluator in ("supernet", "standalone") else {"evaluator": self.evaluator}
        values = {name: repr(value) for name, value in self._options.items() if name != "budget"}
        return f"search({', '.join([repr(self.config['budget']), *(f'{name}={value}' for name, value in (values | own).items())])})"

    @property
    def _words(self) -> list[str]:
        words = ["python", "-m", "nas.search"]
        for name, value in self._options.items():
            values = [] if value is True else value if isinstance(value, list) else [value]
            words += [f"--{name.replace('_', '-')}", *map(str, values)]
        return words

    @property
    def _options(self) -> dict[str, Any]:
        """Without those that would say nothing, and what is off, empty or left to the search."""
        idle = {"supernet": OF_STANDALONE, "standalone": OF_SUPERNET}.get(self.evaluator, OF_SUPERNET | OF_STANDALONE)
        if self.config.get("supernet"):
            idle = idle | OF_OWN_SUPERNET
        if not self.config.get("halving_candidates"):
            idle = idle | OF_HALVING
        return {
            name: value for name, value in self.config.items() if not (name in idle or value is None or value is False or value == [])
        }

    @property
    def data_name(self) -> str:
        """The data, without where they lie on the machine that searched."""
        return Path(self.data).name if Path(self.data).is_absolute() else self.data

    @property
    def judged_by(self) -> str:
        """Where the scores of the search come from, in words."""
        words = {"supernet": "the supernet's weights", "standalone": f"{self.standalone_steps} steps of training alone"}
        return words.get(self.evaluator, self.evaluator)

    def supernet_folder(self, run: Path) -> Path:
        """Where the supernet lies that judged: in the run's directory, or in another one's."""
        return Path(self.config.get("supernet") or run)


@dataclass(frozen=True)
class _Config:
    space: str
    budget: str
    floor: float
    data: str
    image_size: int
    seed: int
    evaluator: str
    standalone_steps: int


@dataclass(frozen=True)
class _File:
    config: _Config
    versions: dict[str, str]


def check_run(run: Path) -> None:
    """RunError where a directory holds no search that has ended."""
    origin_of(run)
    if not (run / "best.yaml").exists():
        raise RunError(f"{run}: has no best.yaml; expected the directory of a search that has ended")


def origin_of(run: Path) -> Origin:
    """The config of a search's directory; RunError where it is none."""
    file = run / "config.json"
    if not file.is_file():
        raise RunError(f"{run}: got no run's directory, expected one with a config.json")
    found = read_json(file, TypeAdapter(_File), "the config of a search")
    known, raw = found.config, json.loads(file.read_bytes())["config"]
    budget = parse_budget(known.budget, known.floor)
    return Origin(
        known.space, budget, known.data, known.image_size, known.seed, known.evaluator, known.standalone_steps, raw, found.versions
    )
