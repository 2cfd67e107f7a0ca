"""Errors that the user can fix, and the messages of failed validations."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import ValidationError
from pydantic_core import PydanticCustomError


class UserError(Exception):
    """A mistake that the user can fix. The message is one line, `where: got X, expected Y`; commands print it and exit with 2."""


class SpaceError(UserError, ValueError):
    """Invalid input: an architecture, a search space, or weights that do not fit."""


def one_line(text: object) -> str:
    """The first 200 characters of another library's message, on one line."""
    return " ".join(str(text).split())[:200]


def address(location: Sequence[int | str]) -> str:
    """Render `("stages", 1, "blocks", 0)` as `stages[1].blocks[0]`."""
    text = ""
    for key in location:
        text += f"[{key}]" if isinstance(key, int) else f".{key}" if text else str(key)
    return text


def invalid(text: str) -> PydanticCustomError:
    """What a validator raises: pydantic adds the address, and `explain` shows the text as it is."""
    return PydanticCustomError("invalid", "{text}", {"text": text})


# Python's tuple or model is a list or a mapping in YAML.
_WORDS = {
    "tuple_type": "a list",
    "list_type": "a list",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
    "dict_type": "a mapping",
    "int_type": "an integer",
    "float_type": "a number",
    "bool_type": "true or false",
    "string_type": "text",
}
_BOUNDS = {
    "greater_than": "greater than",
    "greater_than_equal": "greater than or equal to",
    "less_than": "less than",
    "less_than_equal": "less than or equal to",
}


def explain(error: ValidationError, where: str) -> SpaceError:
    """Turn the first of pydantic's errors into one line `where: address: got X, expected Y`."""
    first = error.errors(include_url=False)[0]
    message, location = first["msg"], first["loc"]
    if first["type"] == "missing":
        *parents, key = location
        location, message = tuple(parents), f"missing key '{key}'"
    elif first["type"] in ("too_short", "too_long"):
        limits = first["ctx"]
        bound = f"at least {limits['min_length']}" if first["type"] == "too_short" else f"at most {limits['max_length']}"
        message = f"got {limits['actual_length']} entries, expected {bound}"
    elif first["type"] in _BOUNDS:
        (limit,) = first["ctx"].values()
        message = f"got {first['input']!r:.60}, expected a value {_BOUNDS[first['type']]} {limit:.15g}"
    elif first["type"] in _WORDS:
        message = f"got {first['input']!r:.60}, expected {_WORDS[first['type']]}"
    elif message.startswith("Input should be "):
        message = f"got {first['input']!r:.60}, expected {message.removeprefix('Input should be ')}"
    else:
        message = message.removeprefix("Value error, ")
    # Keys come from the file: they may be long or contain line breaks.
    place = one_line(address(location))
    return SpaceError(": ".join(part for part in (where, place, " ".join(message.split())[:500]) if part))
