"""The options of `python -m nas.compare`, which are the keyword arguments of `nas.compare.compare`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

from nas.cli.backend_options import BackendOptions
from nas.cli.compile_option import CompileOption
from nas.cli.data_option import TargetChoice, source_named
from nas.cli.given_architecture import given_architecture, name_of
from nas.cli.options import REQUIRED, Derived, OptionError, option, quick_option
from nas.retrain.config import SCRATCH, SUPERNET, InitialWeightsChoice

OF_SEARCH = ("random", "even_random", "homogeneous", "search_seeds", "fix_kinds")
"""Options without effect where an architecture is compared."""


def _run_in(value: Any) -> Path | None:
    """The folder that was given in place of an architecture. One with the name of a published network counts if it is a run's."""
    if not isinstance(value, str) or not Path(value).is_dir():
        return None
    # Imported here: it loads PyTorch.
    from nas.runs.directory import CONFIG
    from space.files import parent_names

    return Path(value).resolve() if (Path(value) / CONFIG).is_file() or value not in parent_names() else None


def _default_out(config: CompareConfig) -> Path:
    if config.run is not None:
        return config.run / "comparison"
    return (Path("runs") / f"{Path(name_of(config.subject)).stem}-against-parents").resolve()


@dataclass(frozen=True, kw_only=True)
class CompareConfig(CompileOption, BackendOptions, InitialWeightsChoice, TargetChoice):
    """Everything that a comparison depends on."""

    of_quick: ClassVar[Mapping[str, Any]] = {"epochs": 1, "seeds": 1}

    quick: bool = quick_option("an epoch, a seed and one random network, about 4 minutes on two cores after the default search")
    subject: Any = option(
        REQUIRED, "directory of a search that has ended, or an architecture: a YAML file, or a published network's name",
        is_positional=True, convert=given_architecture, may_change=True,
    )  # fmt: skip
    others: tuple[Any, ...] = option(
        (), "more to compare: directories of searches with other seeds, YAML files, or published networks' names", is_positional=True,
        nargs="*", convert=given_architecture, may_change=True,
    )  # fmt: skip
    data: str | None = option(None, "images to train on (the search's); needed where an architecture is compared", convert=source_named)
    test_data: str | None = option(None, "images to test on (the test part of the data, such as its val/)", convert=source_named)
    image_size: int | None = option(None, "side in pixels (the search's, or the data's own)", at_least=32)
    seeds: int = option(3, "retrainings of each", at_least=1, may_change=True)
    random: int = option(
        Derived(lambda config: 0 if config.run is None else 1 if config.quick else 5),
        "how many to draw at random inside the budget of a search (5)", at_least=0, may_change=True,
    )  # fmt: skip
    even_random: int = option(0, "how many to draw with even mixers and feed-forward networks besides", at_least=0, may_change=True)
    homogeneous: bool = option(False, "search with each mixer alone as well, as the search did: does mixing pay?", may_change=True)
    search_seeds: int = option(0, "how many searches with other seeds to make besides", at_least=0, may_change=True)
    fix_kinds: bool = option(False, "search with each kind of choice (mixer, ffn, width...) fixed in turn: what does it earn?",
                             may_change=True)  # fmt: skip
    from_: Literal["scratch", "supernet"] = option(
        SCRATCH, "what networks begin with: random weights, or those that members of the space inherit in the search's supernet, and those "
        "of published networks")  # fmt: skip
    allow_scratch: bool = option(False, "with --from supernet, let a network that has no such weights begin with random ones (refused)",
                                 may_change=True)  # fmt: skip
    latency_tables: Path | None = option(None, "where measured latencies are kept (the user's cache)", metavar="FOLDER", may_change=True)
    out: Path = option(Derived(_default_out), "the comparison's directory (RUN/comparison)", convert=lambda value: Path(value).resolve())

    def check(self) -> None:
        super().check()
        if not self.begins_trained:
            for name in ("allow_scratch", "weights_folder"):
                if name in self.given:
                    raise OptionError(name, f"has no effect without from_={SUPERNET}")
        if self.run is None:
            if self.data is None:
                raise OptionError("data", f"missing, expected the images to compare {name_of(self.subject)} on")
            if self.begins_trained:
                raise OptionError("from_", f"got {self.from_} beside an architecture, expected a search's directory, which has a supernet")
            if self.runs:
                raise OptionError("others", f"got {self.runs[0]}, expected a search's directory in front of other ones")
            for name in OF_SEARCH:
                if getattr(self, name):
                    raise OptionError(name, "has no effect beside an architecture; expected a search's directory, which has a budget")
        else:
            for name in ("data", "image_size", "task", "ignore_index", "reduce_zero_label", "class_names"):
                if name in self.given:
                    raise OptionError(name, f"is that of the search in {self.run}; leave it out")

    @property
    def run(self) -> Path | None:
        """The search's directory; none where an architecture is compared."""
        return _run_in(self.subject)

    @property
    def runs(self) -> tuple[Path, ...]:
        """Directories of other searches."""
        return tuple(folder for one in self.others if (folder := _run_in(one)) is not None)

    @property
    def architectures(self) -> tuple[Any, ...]:
        """What else is compared, as it was given."""
        return tuple(one for one in self.others if _run_in(one) is None)

    def values(self) -> dict[str, Any]:
        return super().values() | {"subject": name_of(self.subject), "others": tuple(map(name_of, self.others))}
