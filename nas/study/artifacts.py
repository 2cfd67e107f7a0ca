"""What optuna-dashboard shows of a trial beside its numbers: its architecture as YAML, and a drawing of it."""

from __future__ import annotations

from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, BinaryIO

from optuna.artifacts import FileSystemArtifactStore, get_all_artifact_meta, upload_artifact
from optuna.artifacts.exceptions import ArtifactNotFound
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState

from nas.draw.rendering import render
from space.architecture import Architecture
from space.files import dump_architecture, write_atomically
from space.names import as_name

YAML, DRAWING = "architecture.yaml", "architecture.svg"
MIMETYPES = {YAML: "application/yaml", DRAWING: "image/svg+xml"}


class Artifacts:
    """The artifacts of one study's trials.

    Args:
        folder: where they lie, as `optuna.artifacts.FileSystemArtifactStore` reads it.
        study: its name.
        storage: that the study lives in.
    """

    def __init__(self, folder: Path, study: str, storage: BaseStorage) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._store = _Store(folder)
        self._study = study
        self._storage = storage

    def upload(self, trial_id: int, number: int, architecture: Architecture, provenance: Mapping[str, Any]) -> None:
        """Give a trial that has not finished its files.

        Args:
            trial_id, number: of the trial, in the storage and in the study.
        """
        # Optuna goes by the identifier alone; to read the trial again would cost more than to write the files.
        trial = FrozenTrial(
            number, TrialState.RUNNING, value=None, datetime_start=None, datetime_complete=None, params={}, distributions={}, user_attrs={},
            system_attrs={}, intermediate_values={}, trial_id=trial_id,
        )  # fmt: skip
        with TemporaryDirectory() as folder:
            for name, content in self._contents(number, architecture, provenance).items():
                file = Path(folder, name)
                file.write_bytes(content)
                upload_artifact(
                    artifact_store=self._store, file_path=str(file), study_or_trial=trial, storage=self._storage, mimetype=MIMETYPES[name]
                )

    def lost(self, trial: FrozenTrial) -> dict[str, str]:
        """Of a trial's files, those that are not there: identifiers by name."""
        files = get_all_artifact_meta(trial, storage=self._storage)
        return {file.filename: file.artifact_id for file in files if file.filename in MIMETYPES and not self._store.holds(file.artifact_id)}

    def restore(self, lost: Mapping[str, str], number: int, architecture: Architecture, provenance: Mapping[str, Any]) -> None:
        """Write a trial's files again, those that are `lost`."""
        contents = self._contents(number, architecture, provenance)
        for name, artifact_id in lost.items():
            self._store.write(artifact_id, BytesIO(contents[name]))

    def _contents(self, number: int, architecture: Architecture, provenance: Mapping[str, Any]) -> dict[str, bytes]:
        # Nothing else changes, so that nothing has to be checked again.
        named = architecture.model_copy(update={"name": as_name(f"{self._study}-trial-{number}")})
        return {YAML: dump_architecture(named, provenance).encode(), DRAWING: render(named, "svg")}


class _Store(FileSystemArtifactStore):
    """Optuna's store, in which a file stands whole or not at all, whenever its writer is killed."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._folder = folder

    def write(self, artifact_id: str, content_body: BinaryIO) -> None:
        write_atomically(self._folder / artifact_id, content_body.read(), durable=False)

    def holds(self, artifact_id: str) -> bool:
        """Whether a file is there; a loss of power leaves empty ones."""
        try:
            with self.open_reader(artifact_id) as file:
                return file.read(1) != b""
        except ArtifactNotFound:
            return False
