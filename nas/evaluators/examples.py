"""What an architecture answers on some search images, with the supernet's weights, for people to look at."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from nas.evaluators.supernet import SupernetEvaluator
from nas.runs.records.examples import ClassFigure, ExamplesRecord, write_examples
from space.architecture import Architecture
from supernet.data.image_set import spread

NUM_PICTURES = 4
MAX_HEIGHT = 160
"""Of a picture, in pixels: a page holds them all."""


def record_examples(run: Path, evaluator: SupernetEvaluator, architecture: Architecture, class_names: Sequence[str]) -> None:
    """Write the examples of an architecture into a run's directory; nothing where its task shows none."""
    task = evaluator.task
    judged = evaluator.judged(architecture)
    figures = task.by_class(judged.counts)
    # One image of each of some batches, spread over all.
    batches = [evaluator.images[number] for number in spread(len(evaluator.images), NUM_PICTURES)]
    firsts = [(images[:1], targets[:1]) for images, targets in batches]
    pictures = [picture for pair in firsts for picture in task.pictures(*pair, evaluator.logits(architecture, pair[0]))]
    if not figures and not pictures:
        return
    named = zip(class_names, figures, task.colours(len(class_names)), strict=True)
    classes = tuple(ClassFigure(name, None if math.isnan(value) else value, colour) for name, value, colour in named)
    encoded = [_encoded(Image.fromarray(picture)) for picture in pictures]
    write_examples(run, ExamplesRecord(architecture.fingerprint, len(judged), classes, len(encoded)), encoded)


def _encoded(picture: Image.Image) -> bytes:
    if picture.height > MAX_HEIGHT:
        picture = picture.resize((round(picture.width * MAX_HEIGHT / picture.height), MAX_HEIGHT), Image.Resampling.BILINEAR)
    content = io.BytesIO()
    picture.save(content, "PNG", optimize=True)
    return content.getvalue()
