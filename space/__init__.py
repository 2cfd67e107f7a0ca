"""Architectures and search spaces as values, operators by name, and the network of an architecture.

Importing this package does not import torch; operators are imported with the first access to a registry.
"""

from typing import Any

_HOMES = {
    "Architecture": "space.architecture",
    "BlockSpec": "space.architecture",
    "Part": "space.architecture",
    "Published": "space.published",
    "StageSpec": "space.architecture",
    "SearchSpace": "space.search_space",
    "StageChoices": "space.search_space",
    "SpaceError": "space.errors",
    "UserError": "space.errors",
    "build_network": "space.network",
    "dump_architecture": "space.files",
    "dump_space": "space.files",
    "load_architecture": "space.files",
    "load_provenance": "space.files",
    "load_published": "space.files",
    "load_space": "space.files",
    "parent_names": "space.files",
    "space_names": "space.files",
}

__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'space' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_HOMES[name]), name)
