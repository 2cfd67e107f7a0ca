"""Options are declared once; the command line and a Python caller are held to the same rules."""

from __future__ import annotations

import json
import pickle
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import pytest

from nas.audit.config import AuditConfig
from nas.cli.command_line import ConfigParser
from nas.cli.options import REQUIRED, Config, Derived, Group, OptionError, option, options_of, quick_option
from nas.compare.config import CompareConfig
from nas.retrain.config import RetrainConfig
from nas.search.config import SearchConfig
from tests.test_layers import modules_loaded_by

HOW = Group("how", "and for how long")


def even(value: Any) -> int:
    if int(value) % 2:
        raise ValueError(f"got {value!r}, expected an even number")
    return int(value)


@dataclass(frozen=True, kw_only=True)
class Baking(Config):
    of_quick: ClassVar[Mapping[str, Any]] = {"loaves": 1, "out": "shelf"}

    quick: bool = quick_option("a loaf, ten minutes")
    bread: Path = option(REQUIRED, "what to bake", is_positional=True)
    others: tuple[str, ...] = option((), "what else", is_positional=True, nargs="*", metavar="bread")
    loaves: int = option(2, "how many", group=HOW, at_least=1)
    share: float = option(0.5, "of flour, 50% by default", group=HOW, above=0, below=1)
    minutes: float | None = option(None, "at most", group=HOW, at_least=0)
    oven: Literal["gas", "wood"] = option("gas", "of what kind", group=HOW)
    logs: int | None = option(None, "of wood", group=HOW, convert=even)
    seeds: tuple[int, ...] = option((1,), "on top", at_least=0)
    cover: bool = option(True, "cover it")
    toppings: tuple[str, ...] = option((), "over it")
    dark: bool = option(False, "bake it well")
    out: Path = option(Derived(lambda config: Path("oven") / config.bread), "where (oven/BREAD)", flags=("-o",))

    def check(self) -> None:
        if self.oven != "wood" and "logs" in self.given:
            raise OptionError("logs", "needs oven=wood")
        if self.dark and "minutes" in self.given:
            raise OptionError("minutes", "not with dark=True: it takes as long as it takes")


@dataclass(frozen=True, kw_only=True)
class Workers(Config):
    bakers: int = option(1, "at a time", group=HOW, at_least=1)
    van: str | None = option(None, "who drives")

    def check(self) -> None:
        super().check()
        if self.van and self.bakers < 2:
            raise OptionError("van", "needs bakers=2, or more")


@dataclass(frozen=True, kw_only=True)
class Bakery(Workers, Baking):
    bakers: int = option(4, "at a time", at_least=2)


def parser(config_class: type[Config] = Baking) -> ConfigParser[Any]:
    return ConfigParser(config_class, prog="bake")


def line(*argv: str) -> Baking:
    config: Baking = parser().read(argv)
    return config


def complaint(capsys: pytest.CaptureFixture[str], *argv: str) -> str:
    with pytest.raises(SystemExit) as end:
        line(*argv)
    assert end.value.code == 2
    return capsys.readouterr().err


def test_a_command_line_and_a_caller_make_the_same_config() -> None:
    typed = line("rye", "oat", "--loaves", "3", "--oven", "wood", "--logs", "4", "--seeds", "1", "2", "--no-cover", "--dark", "-o", "here")
    called = Baking(
        bread="rye", others=["oat"], loaves=3, oven="wood", logs=4, seeds=[1, 2], cover=False, dark=True, out="here"
    )  # fmt: skip
    assert typed == called
    assert typed.given == called.given == {"bread", "others", "loaves", "oven", "logs", "seeds", "cover", "dark", "out"}
    assert called.out == Path("here")
    assert called.seeds == (1, 2)
    assert hash(typed) == hash(called)


def test_what_is_not_given_is_as_declared() -> None:
    assert line("rye").values() == Baking(bread=Path("rye")).values() == {
        "bread": Path("rye"), "others": (), "loaves": 2, "share": 0.5, "minutes": None, "oven": "gas", "logs": None, "seeds": (1,),
        "cover": True, "toppings": (), "dark": False, "quick": False, "dry_run": False, "out": Path("oven/rye"),
    }  # fmt: skip
    assert Baking(bread="rye", minutes=None, out=None).given == {"bread"}


@pytest.mark.parametrize(
    ("given", "typed", "problem"),
    [
        ({"loaves": 0}, ["--loaves", "0"], "expected a whole number, 1 or more"),
        ({"loaves": True}, ["--loaves", "many"], "expected a whole number, 1 or more"),
        ({"loaves": 1.5}, ["--loaves", "1.5"], "expected a whole number, 1 or more"),
        ({"loaves": None}, ["--loaves", ""], "expected a whole number, 1 or more"),
        ({"share": 0}, ["--share", "0"], "expected a number, more than 0 and less than 1"),
        ({"share": float("nan")}, ["--share", "nan"], "expected a number, more than 0 and less than 1"),
        ({"minutes": -1}, ["--minutes", "-1"], "expected a number, at least 0"),
        ({"oven": "sun"}, ["--oven", "sun"], "expected one of gas, wood"),
        ({"seeds": [1, -2]}, ["--seeds", "1", "-2"], "expected a whole number, 0 or more"),
        ({"seeds": []}, ["--seeds"], "expected"),
        ({"oven": "wood", "logs": 3}, ["--oven", "wood", "--logs", "3"], "expected an even number"),
    ],
)
def test_a_value_that_cannot_be_is_refused_in_one_line(
    capsys: pytest.CaptureFixture[str], given: dict[str, Any], typed: list[str], problem: str
) -> None:
    name = list(given)[-1]
    with pytest.raises(OptionError, match=f"^{name}: got .*{problem}") as error:
        Baking(bread="rye", **given)
    assert "\n" not in str(error.value)
    printed = complaint(capsys, "rye", *typed)
    assert printed.startswith(f"error: --{name}: ")
    assert problem in printed
    assert printed.count("\n") == 1


@pytest.mark.parametrize("given", [{"others": "oat"}, {"dark": "yes"}, {"bread": 3}, {"others": 3}])
def test_a_python_value_of_another_type_is_refused(given: dict[str, Any]) -> None:
    with pytest.raises(OptionError, match=f"^{next(iter(given))}: got .*, expected"):
        Baking(**{"bread": "rye"} | given)


def test_an_option_that_says_nothing_is_refused_also_where_it_equals_its_default(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(OptionError, match=r"^logs: needs oven=wood$"):
        Baking(bread="rye", logs=2)
    assert complaint(capsys, "rye", "--logs", "2") == "error: --logs: needs --oven wood; see bake --help\n"
    assert complaint(capsys, "rye", "--minutes", "9", "--dark").startswith("error: --minutes: not with --dark: it takes")


def test_commands_share_options_and_may_have_their_own_defaults() -> None:
    with pytest.raises(OptionError, match=r"^van: needs bakers=2"):
        Workers(van="me")
    assert Bakery(bread="rye", van="me").bakers == 4
    with pytest.raises(OptionError, match=r"^logs: needs oven=wood"):
        Bakery(bread="rye", logs=2)
    assert "--bakers BAKERS at a time (4)" in " ".join(parser(Bakery).format_help().split())


def test_an_unknown_option_is_refused_with_those_there_are() -> None:
    with pytest.raises(OptionError, match=r"^loafs: got an option that there is not, expected one of bread, others, loaves"):
        Baking(bread="rye", loafs=3)


def test_a_quick_run_is_small_where_nothing_else_is_asked_for() -> None:
    assert (Baking(bread="rye").loaves, Baking(bread="rye", quick=True).loaves) == (2, 1)
    assert Baking(bread="rye", quick=True, loaves=2).loaves == 2
    # Also in place of a default that is computed, and what it sets is not taken for given.
    quick = Baking(bread="rye", quick=True)
    assert (quick.out, quick.given) == (Path("shelf"), {"bread", "quick"})
    assert Baking.restored(quick.values()) == quick


@pytest.mark.parametrize("kind", [SearchConfig, RetrainConfig, CompareConfig, AuditConfig], ids=lambda kind: kind.__name__)
def test_long_commands_say_what_their_quick_runs_take(kind: type[Config]) -> None:
    options = options_of(kind)
    assert kind.of_quick
    assert kind.of_quick.keys() <= options.keys()
    assert re.search(r"about \d+ minutes on two cores", options["quick"].help)


def test_help_tells_groups_defaults_and_choices() -> None:
    text = " ".join(parser().format_help().split())
    assert "how: and for how long --loaves LOAVES how many (2) --share SHARE of flour, 50% by default (0.5)" in text
    assert "--oven {gas,wood} of what kind (gas)" in text
    assert "--cover, --no-cover" in text
    assert "-o OUT where (oven/BREAD)" in text


def test_a_config_comes_back_from_a_file_and_from_another_process() -> None:
    config = Baking(bread="rye", seeds=(3,), out="here")
    assert Baking.restored(json.loads(json.dumps(config.values(), default=str))) == config
    travelled = pickle.loads(pickle.dumps(config))
    assert (travelled, travelled.given) == (config, config.given)
    with pytest.raises(KeyError):
        Baking.restored({})


def test_declaring_options_loads_nothing_heavy() -> None:
    assert not modules_loaded_by("import nas.cli.command_line") & {"torch", "optuna", "ray", "timm"}


def test_what_trains_networks_alone_says_whether_they_may_be_compiled() -> None:
    required = {RetrainConfig: {"architecture": "davit-t"}, SearchConfig: {"budget": "1GFLOPs"}, AuditConfig: {"run": "run"}}
    for kind, subject in required.items():
        assert kind(**subject).may_compile
        assert not kind(**subject, compile="off").may_compile
        assert "compile" in kind.may_change()
    with pytest.raises(OptionError, match="compile: has no effect where nothing trains alone"):
        SearchConfig(budget="1GFLOPs", halving_candidates=0, compile="off")
