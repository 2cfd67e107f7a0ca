"""A retraining's directory, for those who use the network that it trained."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from space.architecture import Architecture

ARCHITECTURE, WEIGHTS = "architecture.yaml", "weights.safetensors"
"""The trained architecture, and its weights."""


@dataclass(frozen=True)
class RetrainingFolder:
    """What a retraining left in a folder."""

    folder: Path

    @property
    def is_whole(self) -> bool:
        """Whether the folder has an architecture and its weights."""
        return all((self.folder / name).is_file() for name in (ARCHITECTURE, WEIGHTS))

    @cached_property
    def architecture(self) -> Architecture:
        """With the classes of its data."""
        # Imported here, as below: it loads PyTorch.
        from space.files import load_architecture

        return load_architecture(self.folder / ARCHITECTURE)

    @property
    def provenance(self) -> dict[str, Any]:
        """Where the architecture comes from."""
        from space.files import load_provenance

        return load_provenance(self.folder / ARCHITECTURE)

    @property
    def weights_file(self) -> Path:
        """The trained weights."""
        return self.folder / WEIGHTS

    @property
    def config(self) -> dict[str, Any]:
        """What the retraining was asked for; RunError where the folder does not say."""
        from nas.runs.directory import config_of_run

        return config_of_run(self.folder)
