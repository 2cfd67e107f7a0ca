"""Names of architectures and spaces: text for people, of which the names of files are made too."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator
from pydantic_core import PydanticCustomError

MAX_NAME_BYTES = 100
"""File systems allow 255 bytes, of which whoever makes a file's name of one adds some."""


def as_name(text: str) -> str:
    """The nearest name to any text, such as the name of a folder; a name stays as it is."""
    name = "".join("-" if character in "/\\" or not character.isprintable() else character for character in text)
    return name.lstrip(".").encode()[:MAX_NAME_BYTES].decode(errors="ignore") or "unnamed"


def _checked(name: str) -> str:
    if as_name(name) != name:
        expected = f"1 to {MAX_NAME_BYTES} bytes of printable text without slashes that does not begin with a dot"
        raise PydanticCustomError("name", "{text}", {"text": f"got {name!r:.60}, expected {expected}"})
    return name


Name = Annotated[str, AfterValidator(_checked)]
