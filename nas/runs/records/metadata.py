"""What one must know of a network's weights to use them. It travels with them, in the header of their file."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError
from safetensors import SafetensorError, safe_open

from nas.runs.directory import RunError
from nas.runs.records.role import Role
from supernet.data.preprocessing import Preprocessing
from supernet.intervals import of_score
from supernet.score import ACCURACY, Score

HEADER = "token-mixer-nas"
"""Key of the metadata in a safetensors file. Files have no other key, since safetensors writes several in any order."""
PROVENANCE = "trained"
"""Key of the metadata in the provenance of an architecture's YAML."""
INHERITED, LAST, AVERAGED, BEST_EPOCH = "inherited from the supernet", "last", "averaged", "best epoch"
"""Which weights they can be."""


@dataclass(frozen=True)
class MeasuredFigure:
    """The headline figure of a task on some images.

    Args:
        value: a share of 1.
        interval95: of the value (Wilson's).
        metric: what it is called.
        stderr: standard error over images; None where it is unknown.
    """

    value: float
    interval95: tuple[float, float]
    images: int
    metric: str = ACCURACY
    stderr: float | None = None

    @classmethod
    def of(cls, score: Score) -> MeasuredFigure:
        """That of a score."""
        found = of_score(score)
        return cls(score.value, (found.low, found.high), score.num_images, score.metric, score.stderr)


@dataclass(frozen=True)
class NetworkMetadata:
    """Facts about a network's weights.

    Args:
        fingerprint: of the architecture.
        preprocessing: of the images, at the size that the weights were trained at.
        class_names: in the order of the logits; empty where unknown.
        role: what the network is in its search or comparison.
        weights: which ones they are; empty where unknown.
        epoch: after which the best epoch's weights were kept.
        steps, seed: of the training.
        precision: of the training, `fp32` or `bf16`; empty where unknown.
        validation, test: headline figures of these very weights; None where they were not measured.
    """

    fingerprint: str
    preprocessing: Preprocessing
    class_names: tuple[str, ...] = ()
    role: Role = Role.OTHER
    weights: str = ""
    epoch: int | None = None
    steps: int | None = None
    seed: int | None = None
    precision: str = ""
    validation: MeasuredFigure | None = None
    test: MeasuredFigure | None = None

    @property
    def without_figures(self) -> NetworkMetadata:
        """The same without these figures: for other architectures or image sizes than those that were measured."""
        return replace(self, validation=None, test=None)

    @property
    def document(self) -> dict[str, Any]:
        """As JSON and YAML hold it; what is unknown is left out."""
        fields = asdict(self) | {"role": self.role.value}
        known = {name: value for name, value in fields.items() if value not in (None, "", ())}
        return json.loads(json.dumps(known))

    @property
    def header(self) -> dict[str, str]:
        """For a safetensors file."""
        return {HEADER: json.dumps(self.document)}


def parse_metadata(document: object, where: str) -> NetworkMetadata:
    """Read what `document` holds; RunError, which begins with `where`, for anything else."""
    try:
        return TypeAdapter(NetworkMetadata).validate_python(document)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"]))[:100]
        raise RunError(f"{where}: {place or 'content'}: {first['msg']}, expected the metadata of a network") from None


def read_metadata(weights: Path) -> NetworkMetadata | None:
    """The metadata of a file of weights; None where it has none. RunError where it is damaged."""
    try:
        with safe_open(weights, "pt") as file:
            text = (file.metadata() or {}).get(HEADER)
    except (OSError, SafetensorError):
        return None
    if text is None:
        return None
    try:
        document = json.loads(text)
    except ValueError:
        document = text
    return parse_metadata(document, f"{weights}: {HEADER}")
