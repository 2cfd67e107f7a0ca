"""Packages that only some commands need, which the extras of this package install."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.util import find_spec

from space.errors import UserError


class MissingPackageError(UserError):
    """A package that a command needs is not installed."""


def check_installed(what: str, packages: Iterable[str], extra: str) -> None:
    """Raise MissingPackageError where a package is absent.

    Args:
        what: needs them; begins the message.
        extra: that of this package which installs them.
    """
    for package in packages:
        if find_spec(package) is None:
            raise MissingPackageError(f"{what}: got no {package}, expected it installed: pip install 'token-mixer-nas[{extra}]'")
