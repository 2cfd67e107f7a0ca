"""The options of the command `nas.search`, which searches one budget, or several with one supernet."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nas.cli.options import Derived, OptionError, option
from nas.runs.records.search_options import OF_TRAINING
from nas.search.config import OF_SPACE, SearchConfig
from nas.train.config import WHAT
from space.names import as_name

SEPARATOR = ","


def _budgets(value: Any) -> str:
    """The list with whole budgets: a number alone goes on as the last budget does, so `1,2,4GFLOPs` are three in GFLOPs."""
    if not isinstance(value, str):
        raise ValueError(f"got {value!r:.80}, expected text such as 1,2,4GFLOPs")
    texts = [text.strip() for text in value.split(SEPARATOR)]
    rest = re.sub(r"^[0-9.]*", "", texts[-1])
    found = [text + rest if re.fullmatch(r"[0-9.]+", text) else text for text in texts[:-1]] + texts[-1:]
    if not all(found) or len(set(found)) < len(found):
        raise ValueError(f"got {value!r:.80}, expected different budgets such as 1,2,4GFLOPs")
    return SEPARATOR.join(found)


@dataclass(frozen=True, kw_only=True)
class SearchCommandConfig(SearchConfig):
    """A search's options, with several budgets in place of one."""

    budget: str = option(Derived(lambda config: ""), "hard limit: 4.5GFLOPs, 25Mparams, 12ms@cpu, or several, quoted", group=WHAT)
    budgets: str | None = option(None, "several budgets, such as 1,2,4GFLOPs: one supernet is trained, and searched in each, in OUT/BUDGET",
                                 group=WHAT, convert=_budgets, metavar="LIST")  # fmt: skip

    def check(self) -> None:
        super().check()
        if bool(self.budget) == bool(self.budgets):
            raise OptionError("budget", "expected one, such as 4.5GFLOPs, or several with budgets=1,2,4GFLOPs")
        if not self.budgets:
            return
        if self.judged_by != "supernet":
            raise OptionError("evaluator", f"got {self.evaluator_name}, expected supernet, which is what several budgets share")
        for name in ("scope", "storage"):
            if name in self.given:
                raise OptionError(name, "not with several budgets: the whole space is trained, and each search has its own storage")

    @property
    def of_one_budget(self) -> SearchConfig:
        """The search, where there is one budget."""
        return SearchConfig(**{name: getattr(self, name) for name in self.given})

    def searches(self, supernet: Path) -> dict[str, SearchConfig]:
        """The search of each of several budgets.

        Args:
            supernet: the directory of the trained one, which has its own space and data.
        """
        assert self.budgets is not None
        budgets = self.budgets.split(SEPARATOR)
        of_supernet = frozenset[str]() if self.supernet else OF_SPACE | OF_TRAINING | {"data"}
        given = {name: getattr(self, name) for name in self.given - of_supernet - {"budgets", "dry_run"}}
        if self.minutes is not None:
            # Half of the time is the training's, as in a search.
            given["minutes"] = self.minutes / len(budgets) / (1 if self.supernet else 2)
        return {
            budget: SearchConfig(**given | {"budget": budget, "supernet": supernet, "out": self.out / as_name(budget)})
            for budget in budgets
        }
