"""The files that optuna-dashboard shows of a trial: its architecture as YAML, and a drawing of it."""

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
from nas.study.record import Proposal
from space.files import dump_architecture, write_atomically
from space.names import as_name

YAML, DRAWING = "architecture.yaml", "architecture.svg"
MIMETYPES = {YAML: "application/yaml", DRAWING: "image/svg+xml"}


class Artifacts:
    """The artifacts of one study's trials.

    Args:
        folder: of the files, as `optuna.artifacts.FileSystemArtifactStore` reads it.
        study: name of the study.
        storage: that holds the study.
    """

    def __init__(self, folder: Path, study: str, storage: BaseStorage) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._store = _Store(folder)
        self._study = study
        self._storage = storage

    def upload(self, trial_id: int, proposal: Proposal, provenance: Mapping[str, Any]) -> None:
        """Write the files of a running trial, which has the identifier `trial_id` in the storage."""
        # Optuna uses the identifier alone. Reading the trial from the storage would take longer than writing the files.
        trial = FrozenTrial(
            proposal.number, TrialState.RUNNING, value=None, datetime_start=None, datetime_complete=None, params={}, distributions={},
            user_attrs={}, system_attrs={}, intermediate_values={}, trial_id=trial_id,
        )  # fmt: skip
        with TemporaryDirectory() as folder:
            for name, content in self._contents(proposal, provenance).items():
                file = Path(folder, name)
                file.write_bytes(content)
                upload_artifact(
                    artifact_store=self._store, file_path=str(file), study_or_trial=trial, storage=self._storage, mimetype=MIMETYPES[name]
                )

    def missing(self, trial: FrozenTrial) -> dict[str, str]:
        """The identifiers, by name, of a trial's files that do not exist."""
        files = get_all_artifact_meta(trial, storage=self._storage)
        return {file.filename: file.artifact_id for file in files if file.filename in MIMETYPES and not self._store.holds(file.artifact_id)}

    def restore(self, missing: Mapping[str, str], proposal: Proposal, provenance: Mapping[str, Any]) -> None:
        """Write a trial's missing files again."""
        contents = self._contents(proposal, provenance)
        for name, artifact_id in missing.items():
            self._store.write(artifact_id, BytesIO(contents[name]))

    def _contents(self, proposal: Proposal, provenance: Mapping[str, Any]) -> dict[str, bytes]:
        # Only the name changes, so the copy need not be validated again.
        name = as_name(f"{self._study}-trial-{proposal.number}")
        named = proposal.architecture.model_copy(update={"name": name})
        return {YAML: dump_architecture(named, provenance).encode(), DRAWING: render(named, "svg")}


class _Store(FileSystemArtifactStore):
    """Optuna's store, but a file is written whole or not at all, whenever its writer is killed."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._folder = folder

    def write(self, artifact_id: str, content_body: BinaryIO) -> None:
        write_atomically(self._folder / artifact_id, content_body.read(), durable=False)

    def holds(self, artifact_id: str) -> bool:
        """Whether a file exists and is not empty, as a power failure leaves it."""
        try:
            with self.open_reader(artifact_id) as file:
                return file.read(1) != b""
        except ArtifactNotFound:
            return False
