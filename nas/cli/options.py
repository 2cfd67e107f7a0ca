"""The options of a command in one place: names, defaults, limits and help, for the command line and for Python.

    @dataclass(frozen=True, kw_only=True)
    class AuditConfig(Config):
        seeds: int = option(2, "trainings of each", at_least=1)

`AuditConfig(seeds=3)` makes the config from a Python caller's arguments, `nas.cli.command_line.ConfigParser` from a command line, by the
same rules. A config knows which options were given, so that an option without effect is refused even where it equals its default.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING, dataclass, field, fields, replace
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, ClassVar, Literal, NamedTuple, Self, Union, get_args, get_origin, get_type_hints

from space.errors import UserError

REQUIRED = MISSING
"""The default of an option that has to be given."""
LAST = {"quick": 1, "dry_run": 2}
"""Options that stand at the end of help, in their order."""


class OptionError(UserError):
    """An option that cannot be, or not beside the others: `NAME: got X, expected Y`.

    Args:
        name: of the option.
        problem: other options in it are written `name=value`; a command line shows them as `--name value`.
    """

    def __init__(self, name: str, problem: str) -> None:
        super().__init__(f"{name}: {problem}")
        self.name, self.problem = name, problem


class Group(NamedTuple):
    """A part of `--help`."""

    title: str
    description: str | None = None


@dataclass(frozen=True)
class Derived:
    """A default that is computed from the other options, and from derived ones declared before it."""

    value: Callable[[Any], Any]


@dataclass(frozen=True, kw_only=True)
class OptionRule:
    """One option: what it takes, and what its documentation says.

    Args:
        default: `REQUIRED`, a value, or `Derived`. None means "not given".
        help: the documentation; a default that is a number or text is added to it in parentheses.
        group: where `--help` shows it.
        at_least, above, below: limits of a number.
        choices: of text; those of a Literal need not be given.
        convert: makes the value, each of several, from text or from a Python caller's value. ValueError or UserError says what it expects.
        metavar, nargs, const: as argparse takes them; several are `+` by default.
        flags: other spellings on the command line, such as `-o`.
        may_change: whether a run may continue with another value.
        kind, is_several: the type of the value, of each of several; `Config` finds it in the field's annotation.
    """

    default: Any
    help: str
    group: Group | None = None
    at_least: float | None = None
    above: float | None = None
    below: float | None = None
    choices: tuple[str, ...] = ()
    convert: Callable[[Any], Any] | None = None
    metavar: str | None = None
    nargs: str | None = None
    const: Any = None
    flags: tuple[str, ...] = ()
    may_change: bool = False
    is_positional: bool = False
    kind: Any = None
    is_several: bool = False

    @property
    def takes_none(self) -> bool:
        """Whether None says that it is not given."""
        return self.default is None or isinstance(self.default, Derived)

    def checked(self, value: Any) -> Any:
        """The value in a config, from text or from a Python caller's value; ValueError says what was expected."""
        if value is None and self.takes_none:
            return None
        if not self.is_several:
            return self._checked_one(value)
        if isinstance(value, str) or not isinstance(value, Iterable):
            raise ValueError(f"got {value!r:.80}, expected a list")
        found = tuple(map(self._checked_one, value))
        if not found and self.nargs == "+" and self.default != ():
            raise ValueError("got none, expected one at the least")
        return found

    def _checked_one(self, value: Any) -> Any:
        if self.convert is not None:
            return self.convert(value)
        if self.choices or self.kind is str:
            found = os.fspath(value) if isinstance(value, str | os.PathLike) else None
            is_right = found is not None and (not self.choices or found in self.choices)
        elif self.kind is Path:
            is_right = isinstance(value, str | os.PathLike)
            found = Path(value) if is_right else None
        elif self.kind is bool:
            found, is_right = value, isinstance(value, bool)
        elif self.kind in (int, float):
            try:
                found = math.nan if isinstance(value, bool) or (self.kind is int and isinstance(value, float)) else self.kind(value)
            except (ValueError, TypeError, OverflowError):
                found = math.nan
            is_right = self._is_inside(found)
        else:
            return value
        if not is_right:
            raise ValueError(f"got {value!r:.80}, expected {self._expected()}")
        return found

    def _is_inside(self, value: float) -> bool:
        low = self.at_least if self.at_least is not None else -math.inf
        return low <= value < (math.inf if self.below is None else self.below) and (self.above is None or value > self.above)

    def _expected(self) -> str:
        if self.choices:
            return f"one of {', '.join(self.choices)}"
        if self.kind is int:
            return "a whole number" + ("" if self.at_least is None else f", {self.at_least:g} or more")
        words = (("at least", self.at_least), ("more than", self.above), ("less than", self.below))
        limits = " and ".join(f"{word} {limit:g}" for word, limit in words if limit is not None)
        name = {str: "text", Path: "a path", bool: "true or false", float: "a number"}[self.kind]
        return f"{name}, {limits}" if limits else name


def option(default: Any, help: str, **more: Any) -> Any:
    """A field of a `Config`, described as `OptionRule` says. Its type is str, int, float, bool, Path or a Literal, one of these or None,
    or several as `tuple[T, ...]`; any other needs `convert`, or is left to the command."""
    return field(default=default, metadata={"option": OptionRule(default=default, help=help, **more)})


def quick_option(cost: str) -> Any:
    """The field `quick` of a `Config` that has `of_quick`; `cost` says in words what such a run does and takes."""
    return option(False, f"a small run, to try the command: {cost}; options that are given as well win", may_change=True)


@dataclass(frozen=True, kw_only=True)
class Config:
    """The options of a command; its fields are made by `option`. OptionError where a value cannot be.

    Attributes:
        of_quick: values of options that are not given, where `quick` is.
    """

    of_quick: ClassVar[Mapping[str, Any]] = {}

    dry_run: bool = option(False, "say what would be done, what it costs in time, memory and disk, and stop", may_change=True)

    def __new__(cls, **given: Any) -> Self:
        options = options_of(cls)
        for name in given.keys() - {each.name for each in fields(cls)}:
            raise OptionError(name, f"got an option that there is not, expected one of {', '.join(options)}")
        config = super().__new__(cls)
        config.__dict__["_given"] = frozenset(
            name for name, value in given.items() if name in options and not (value is None and options[name].takes_none)
        )
        return config

    def __post_init__(self) -> None:
        options = options_of(type(self))
        derived = {name for name, rule in options.items() if isinstance(rule.default, Derived) and name not in self.given}
        for name in options.keys() - derived:
            object.__setattr__(self, name, checked(name, options[name], getattr(self, name)))
        if getattr(self, "quick", False):
            quick = {name: value for name, value in self.of_quick.items() if name not in self.given}
            derived -= quick.keys()
            for name, value in quick.items():
                object.__setattr__(self, name, checked(name, options[name], value))
        for name in (name for name in options if name in derived):
            object.__setattr__(self, name, options[name].default.value(self))
        self.check()

    def check(self) -> None:
        """Refuse what does not go together; a class that adds to this calls its parent's. OptionError."""

    @property
    def given(self) -> frozenset[str]:
        """Names of the options that were given; None where that is the default is not given."""
        return self.__dict__["_given"]

    def values(self) -> dict[str, Any]:
        """Every field's value by name, as a run's `config.json` keeps it."""
        return {each.name: getattr(self, each.name) for each in fields(self)}

    @classmethod
    def may_change(cls) -> frozenset[str]:
        """Names of the options that may differ when a run continues: none of them decides what is computed already."""
        return frozenset(name for name, rule in options_of(cls).items() if rule.may_change)

    @classmethod
    def restored(cls, values: Mapping[str, Any]) -> Self:
        """The config of `values`, as a file holds them or changed. Unlike `dataclasses.replace` it does not treat all of them as given,
        and does not check their combination again. KeyError where one is missing."""
        config = cls.__new__(cls)
        for name, rule in options_of(cls).items():
            object.__setattr__(config, name, checked(name, rule, values[name]))
        return config


def options_of(kind: type[Config]) -> dict[str, OptionRule]:
    """The options of a config by name, in order; `quick` and `dry_run`, which commands share, come last."""
    hints = get_type_hints(kind)
    described = sorted((each for each in fields(kind) if "option" in each.metadata), key=lambda each: LAST.get(each.name, 0))
    return {each.name: _typed(each.metadata["option"], hints[each.name]) for each in described}


def _typed(rule: OptionRule, hint: Any) -> OptionRule:
    if get_origin(hint) in (Union, UnionType):
        hint = next(part for part in get_args(hint) if part is not NoneType)
    is_several = get_origin(hint) is tuple and get_args(hint)[-1] is Ellipsis
    if is_several:
        hint = get_args(hint)[0]
    choices = get_args(hint) if get_origin(hint) is Literal else rule.choices
    nargs = rule.nargs or ("+" if is_several else "?" if rule.is_positional and rule.default is None else None)
    return replace(rule, kind=str if choices else hint, is_several=is_several, choices=choices, nargs=nargs)


def checked(name: str, rule: OptionRule, value: Any) -> Any:
    """The value of an option in a config; OptionError where it cannot be."""
    try:
        return rule.checked(value)
    except (UserError, ValueError) as error:
        raise OptionError(name, str(error).removeprefix(f"{name}: ")) from None
