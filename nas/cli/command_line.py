"""From a command line to a `Config`: the options are declared once, in `nas.cli.options`."""

from __future__ import annotations

import argparse
import re
import shlex
from collections.abc import Sequence
from typing import Any, TypeVar

from nas.cli.options import REQUIRED, Config, Group, Option, OptionError, options_of
from space.errors import UserError

ConfigT = TypeVar("ConfigT", bound=Config)


def add_options(parser: argparse.ArgumentParser, kind: type[Config]) -> None:
    """Add the options of a config; in their groups."""
    groups: dict[Group, argparse._ArgumentGroup] = {}
    for name, rule in options_of(kind).items():
        place: argparse._ActionsContainer = parser
        if rule.group is not None:
            place = groups.get(rule.group) or groups.setdefault(rule.group, parser.add_argument_group(*rule.group))
        spelt = [name] if rule.is_positional else [_flag(name), *rule.flags]
        place.add_argument(*spelt, **_for_argparse(rule))


def read(kind: type[ConfigT], parser: argparse.ArgumentParser, argv: Sequence[str] | None) -> ConfigT:
    """The config that a command line asks for; the parser, with its options added, ends the program where it cannot be."""
    # Positional arguments may stand before, between and after options: `nas.compare runs/mine --seeds 3 davit-t`.
    parsed = vars(parser.parse_intermixed_args(argv))
    try:
        return kind(**parsed)
    except OptionError as error:
        rule = options_of(kind)[error.name]
        names = "|".join(options_of(kind))
        problem = re.sub(rf"\b({names})=(True\b)?", lambda found: _flag(found[1]) + ("" if found[2] else " "), error.problem)
        parser.error(f"{error.name if rule.is_positional else _flag(error.name)}: {problem}")


def _for_argparse(rule: Option) -> dict[str, Any]:
    is_shown = isinstance(rule.default, str | int | float) and not isinstance(rule.default, bool)
    told = {"help": (f"{rule.help} ({rule.default})" if is_shown else rule.help).replace("%", "%%"), "default": argparse.SUPPRESS}
    if rule.kind is bool:
        return told | {"action": argparse.BooleanOptionalAction if rule.default is True else "store_true"}

    def parse(text: str) -> Any:
        try:
            return rule.checked([text])[0] if rule.is_several else rule.checked(text)
        except (UserError, ValueError) as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    more = {"nargs": rule.nargs, "const": rule.const, "metavar": rule.metavar, "choices": rule.choices or None}
    told |= {name: value for name, value in more.items() if value is not None}
    return told | {"type": parse} | ({"required": True} if rule.default is REQUIRED and not rule.is_positional else {})


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def command_of(module: str, config: Config) -> str:
    """The command line that makes a config, with the options that were given."""
    words = ["python", "-m", module]
    for name, rule in options_of(type(config)).items():
        value = getattr(config, name)
        if name not in config.given or value is None:
            continue
        if rule.kind is bool:
            words += [_flag(name) if value else f"--no-{_flag(name)[2:]}"]
            continue
        values = [*map(str, value)] if rule.is_several else [str(value)]
        words += values if rule.is_positional else [_flag(name), *values]
    return shlex.join(words)
