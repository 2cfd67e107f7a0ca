"""What optuna-dashboard shows of a trial beside its numbers: its architecture as YAML, and a drawing of it.

A trial names its files from its first moment on, in the transaction that makes it appear, which costs a study nothing, and
they are written before that. So there is no moment at which a search that is killed could have a trial without them. The
attributes are those that `optuna.artifacts.upload_artifact` would set; a file is named after the trial, not at random, so
that files which got lost can be written again.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from optuna.artifacts import ArtifactMeta

from nas.draw.rendering import render
from space.architecture import Architecture
from space.files import dump_architecture, write_atomically
from space.names import as_name

PREFIX = "artifacts:"
"""Of the system attributes in which Optuna looks for artifacts."""
YAML, DRAWING = "architecture.yaml", "architecture.svg"
MIMETYPES = {YAML: "application/yaml", DRAWING: "image/svg+xml"}


class Artifacts:
    """The artifacts of one study's trials.

    Args:
        folder: where they lie, as `optuna.artifacts.FileSystemArtifactStore` reads it.
        study: its name.
    """

    def __init__(self, folder: Path, study: str) -> None:
        self._folder = folder
        self._study = study

    def attributes(self, number: int) -> dict[str, str]:
        """The system attributes that a trial finds its artifacts by."""
        found = {}
        for name, mimetype in MIMETYPES.items():
            meta = ArtifactMeta(self._id(number, name), name, mimetype, None)
            found[f"{PREFIX}{meta.artifact_id}"] = json.dumps(asdict(meta))
        return found

    def exist(self, number: int) -> bool:
        """Whether a trial's files are there."""
        files = [self._folder / self._id(number, name) for name in MIMETYPES]
        # A loss of power leaves empty ones.
        return all(file.exists() and file.stat().st_size for file in files)

    def write(self, number: int, architecture: Architecture, provenance: Mapping[str, Any]) -> None:
        """Write a trial's files, whatever lies there."""
        self._folder.mkdir(parents=True, exist_ok=True)
        # Nothing else changes, so that nothing has to be checked again.
        named = architecture.model_copy(update={"name": as_name(f"{self._study}-trial-{number}")})
        write_atomically(self._folder / self._id(number, YAML), dump_architecture(named, provenance), durable=False)
        write_atomically(self._folder / self._id(number, DRAWING), render(named, "svg"), durable=False)

    def _id(self, number: int, name: str) -> str:
        return str(uuid.uuid5(uuid.NAMESPACE_URL, f"{self._study}/{number}/{name}"))
