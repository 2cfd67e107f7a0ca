"""The options of `python -m nas.compare`, which are the keyword arguments of `nas.compare.compare`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from nas.cli.backend_options import BackendOptions
from nas.cli.data_option import TargetChoice, source_named
from nas.cli.given_architecture import given_architecture, name_of
from nas.cli.options import REQUIRED, Derived, OptionError, option, quick_option
from nas.retrain.config import RecipeChoice


def _default_out(config: CompareConfig) -> Path:
    if config.run is not None:
        return config.run / "comparison"
    return (Path("runs") / f"{Path(name_of(config.subject)).stem}-against-parents").resolve()


@dataclass(frozen=True, kw_only=True)
class CompareConfig(BackendOptions, RecipeChoice, TargetChoice):
    """Everything that a comparison depends on."""

    of_quick: ClassVar[Mapping[str, Any]] = {"epochs": 1, "seeds": 1}

    quick: bool = quick_option("an epoch, a seed and one random network, about 4 minutes on two cores after the default search")
    subject: Any = option(
        REQUIRED, "directory of a search that has ended, or an architecture: a YAML file, or a published network's name",
        is_positional=True, convert=given_architecture, may_change=True,
    )  # fmt: skip
    others: tuple[Any, ...] = option((), "more to compare: a YAML file, or a published network's name", is_positional=True, nargs="*",
                                     convert=given_architecture, may_change=True)  # fmt: skip
    data: str | None = option(None, "images to train on (the search's); needed where an architecture is compared", convert=source_named)
    test_data: str | None = option(None, "images to test on (the test part of the data, such as its val/)", convert=source_named)
    image_size: int | None = option(None, "side in pixels (the search's, or the data's own)", at_least=32)
    seeds: int = option(3, "retrainings of each", at_least=1, may_change=True)
    random: int = option(
        Derived(lambda config: 0 if config.run is None else 1 if config.quick else 5),
        "how many to draw at random inside the budget of a search (5)", at_least=0, may_change=True,
    )  # fmt: skip
    latency_tables: Path | None = option(None, "where measured latencies are kept (the user's cache)", metavar="FOLDER", may_change=True)
    out: Path = option(Derived(_default_out), "the comparison's directory (RUN/comparison)", convert=lambda value: Path(value).resolve())

    def check(self) -> None:
        super().check()
        if self.run is None:
            if self.data is None:
                raise OptionError("data", f"missing, expected the images to compare {name_of(self.subject)} on")
            if self.random:
                raise OptionError("random", "has no effect beside an architecture; expected a search's directory, which has a budget")
        else:
            for name in ("data", "image_size", "task", "ignore_index", "reduce_zero_label", "class_names"):
                if name in self.given:
                    raise OptionError(name, f"is that of the search in {self.run}; leave it out")

    @property
    def run(self) -> Path | None:
        """The search's directory; none where an architecture is compared."""
        return Path(self.subject).resolve() if isinstance(self.subject, str) and Path(self.subject).is_dir() else None

    def values(self) -> dict[str, Any]:
        return super().values() | {"subject": name_of(self.subject), "others": tuple(map(name_of, self.others))}
