"""Architectures as arguments: a YAML file, a published network's name, a value, or an object with one, such as a search's result."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from space.architecture import Architecture

EXPECTED = "a YAML file, a published network's name, an Architecture, or an object with an `architecture`"


def given_architecture(value: Any) -> Any:
    """An option's value: a file or a name as text, anything else as it is; ValueError where it has no architecture."""
    if isinstance(value, str | Path):
        return str(value)
    # Imported here, as below: it loads PyTorch.
    from space.architecture import Architecture

    if isinstance(value, Architecture) or isinstance(getattr(value, "architecture", None), Architecture):
        return value
    raise ValueError(f"got {type(value).__name__}, expected {EXPECTED}")


def architecture_of(value: Any) -> Architecture:
    """The architecture, read where it is a file's."""
    from space.architecture import Architecture
    from space.files import load_architecture

    if isinstance(value, str):
        return load_architecture(value)
    return value if isinstance(value, Architecture) else value.architecture


def name_of(value: Any) -> str:
    """Its name in a run's config: the file, or its own."""
    return value if isinstance(value, str) else architecture_of(value).name


def provenance_of(value: Any) -> dict[str, Any]:
    """The provenance in its file, or of the object; of a published network, that it is one. Empty where nothing is known."""
    from space.files import load_provenance, load_published

    if not isinstance(value, str):
        return dict(getattr(value, "provenance", {}))
    published = {} if load_published(value) is None else {"role": "parent"}
    return published | load_provenance(value)


def weights_file_of(value: Any) -> Path | None:
    """The file of its weights: beside its YAML, or the object's `weights_file`; none of a plain value."""
    if isinstance(value, str):
        return Path(value).with_suffix(".safetensors")
    found = getattr(value, "weights_file", None)
    return None if found is None else Path(found)
