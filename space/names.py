"""Names of architectures and spaces. File names are made of them, too."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator

from space.errors import invalid

MAX_NAME_BYTES = 100
"""File systems allow 255 bytes; callers add prefixes and suffixes."""


def as_name(text: str) -> str:
    """The nearest valid name to any text, such as the name of a folder. A valid name is returned unchanged."""
    name = "".join("-" if character in "/\\" or not character.isprintable() else character for character in text)
    return name.lstrip(".").encode()[:MAX_NAME_BYTES].decode(errors="ignore") or "unnamed"


def _checked(name: str) -> str:
    if as_name(name) != name:
        expected = f"1 to {MAX_NAME_BYTES} bytes of printable text without slashes that does not begin with a dot"
        raise invalid(f"got {name!r:.60}, expected {expected}")
    return name


Name = Annotated[str, AfterValidator(_checked)]
