"""From a command line to a `Config`: the options are declared once, in `nas.cli.options`."""

from __future__ import annotations

import argparse
import re
import shlex
from collections.abc import Sequence
from typing import Any, Generic, NoReturn, TypeVar

from nas.cli.options import REQUIRED, Config, Group, OptionError, OptionRule, checked, options_of

FAILED = 2
"""Exit code of a command that a user has to mend."""
ConfigT = TypeVar("ConfigT", bound=Config)


class ConfigParser(argparse.ArgumentParser, Generic[ConfigT]):
    """Reads a config from a command line; complains in one line.

    Options have to be written out: a script with an abbreviation would break as soon as a command gets another option of that beginning.
    """

    def __init__(self, config_class: type[ConfigT], **settings: Any) -> None:
        super().__init__(**settings, allow_abbrev=False)
        self._config_class = config_class
        groups: dict[Group, argparse._ArgumentGroup] = {}
        for name, rule in options_of(config_class).items():
            place: argparse._ActionsContainer = self
            if rule.group is not None:
                place = groups.get(rule.group) or groups.setdefault(rule.group, self.add_argument_group(*rule.group))
            spelt = [name] if rule.is_positional else [_flag(name), *rule.flags]
            place.add_argument(*spelt, **_for_argparse(name, rule))

    def read(self, argv: Sequence[str] | None) -> ConfigT:
        """The config that a command line asks for, by default the process's own; ends the program where there is none."""
        # Positional arguments may stand before, between and after options: `nas.compare runs/mine --seeds 3 davit-t`.
        parsed = vars(self.parse_intermixed_args(argv))
        try:
            return self._config_class(**parsed)
        except OptionError as error:
            rules = options_of(self._config_class)
            names = "|".join(rules)
            problem = re.sub(rf"\b({names})=(True\b)?", lambda found: _flag(found[1]) + ("" if found[2] else " "), error.problem)
            self.error(f"{error.name if rules[error.name].is_positional else _flag(error.name)}: {problem}")

    def error(self, message: str) -> NoReturn:
        self.exit(FAILED, f"error: {message.removeprefix('argument ')}; see {self.prog} --help\n")


def _for_argparse(name: str, rule: OptionRule) -> dict[str, Any]:
    is_shown = isinstance(rule.default, str | int | float) and not isinstance(rule.default, bool)
    text = f"{rule.help} ({rule.default})" if is_shown else rule.help
    settings = {"help": text.replace("%", "%%"), "default": argparse.SUPPRESS} | ({} if rule.is_positional else {"dest": name})
    if rule.kind is bool:
        return settings | {"action": argparse.BooleanOptionalAction if rule.default is True else "store_true"}

    def parse(text: str) -> Any:
        try:
            return checked(name, rule, [text])[0] if rule.is_several else checked(name, rule, text)
        except OptionError as error:
            raise argparse.ArgumentTypeError(error.problem) from None

    more = {"nargs": rule.nargs, "const": rule.const, "metavar": rule.metavar, "choices": rule.choices or None}
    settings |= {name: value for name, value in more.items() if value is not None}
    return settings | {"type": parse} | ({"required": True} if rule.default is REQUIRED and not rule.is_positional else {})


def _flag(name: str) -> str:
    # Words of Python's own have an underscore behind them there.
    return f"--{name.removesuffix('_').replace('_', '-')}"


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
