"""`config.json` of a search: its options, the command that repeats it, the versions of the libraries that ran it."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from nas.runs.directory import CONFIG, RunError
from nas.runs.records.json_file import read_record
from nas.runs.records.search_options import OF_SUPERNET, OF_TRAINING, OF_WARM_START
from proxies.cost import Budget, parse_budget
from supernet.data.own_dataset import OF_CALLER


class _Options(BaseModel, frozen=True, extra="allow"):
    """The options that a report depends on; the others are kept for the command."""

    space: str
    budget: str
    floor: float
    data: str
    image_size: int
    evaluator: str
    standalone_steps: int
    supernet: str | None = None
    race: bool = False
    warm_start: list[str] = []
    halving_candidates: int = 0


@dataclass(frozen=True)
class SearchRecord:
    """How a search was made.

    Args:
        config: options by name.
        versions: by package.
    """

    config: _Options
    versions: dict[str, str]

    @property
    def budget(self) -> Budget:
        """The limits of the search."""
        return parse_budget(self.config.budget, self.config.floor)

    @property
    def data_name(self) -> str:
        """The data, without the folder where they lie on the machine that searched."""
        data = self.config.data
        return Path(data).name if Path(data).is_absolute() else data

    @property
    def has_supernet(self) -> bool:
        """Whether scores are those of a supernet."""
        return self.config.evaluator == "supernet"

    @property
    def scored_with(self) -> str:
        """What scores come from, in words."""
        evaluator = self.config.evaluator
        words = {"supernet": "the supernet's weights", "standalone": f"{self.config.standalone_steps} steps of training alone"}
        return words.get(evaluator, evaluator)

    def supernet_folder(self, run: Path) -> Path:
        """Where the supernet lies: in the run's directory, or in another one's."""
        return Path(self.config.supernet or run)

    @property
    def is_callers(self) -> bool:
        """Whether data or evaluator are values of a Python caller, which no command line can name."""
        return self.config.evaluator not in ("supernet", "standalone") or self.config.data.startswith(OF_CALLER)

    @property
    def command(self) -> str:
        """A command that repeats the search, with every option that has an effect; of a caller's values a call in Python."""
        if self.is_callers:
            return self._call
        words = ["python", "-m", "nas.search"]
        for name, value in self._effective.items():
            values = [] if value is True else value if isinstance(value, list) else [value]
            words += [f"--{name.replace('_', '-')}", *map(str, values)]
        return shlex.join(words)

    @property
    def _call(self) -> str:
        values = {name: repr(value) for name, value in self._effective.items() if name != "budget"}
        if self.config.data.startswith(OF_CALLER):
            values["data"] = "..."
        if self.config.evaluator not in ("supernet", "standalone"):
            values["evaluator"] = self.config.evaluator
        return f"search({', '.join([repr(self.config.budget), *(f'{name}={value}' for name, value in values.items())])})"

    @property
    def _effective(self) -> dict[str, Any]:
        """The options without those that are off or empty, and those that have no effect together with the others."""
        without_effect: set[str] = set()
        if not self.has_supernet:
            without_effect |= OF_TRAINING | OF_SUPERNET
        if self.config.supernet:
            without_effect |= OF_TRAINING | {"space", "image_size"}
        if not self.config.warm_start:
            without_effect |= OF_WARM_START
        if self.config.evaluator != "standalone":
            without_effect.add("standalone_steps")
        if not self.config.halving_candidates:
            without_effect.add("halving_steps")
        options = self.config.model_dump(exclude=without_effect, exclude_none=True)
        return {name: value for name, value in options.items() if value is not False and value != []}


def read_finished_search(run: Path) -> SearchRecord:
    """How the search in a directory was made; RunError where there is none, or where it has not ended."""
    record = read_record(run / CONFIG, SearchRecord, "the config of a search")
    if record is None:
        raise RunError(f"{run}: got no run's directory, expected one with a {CONFIG}")
    if not (run / "best.yaml").exists():
        raise RunError(f"{run}: has no best.yaml; expected the directory of a search that has ended")
    return record
