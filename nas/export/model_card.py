"""The model card of an exported network, its README: how to use it, how accurate it is, where it comes from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from huggingface_hub import ModelCardData

from nas import __version__
from nas.export.format import ExportedNetwork, Format
from nas.runs.records.metadata import NetworkMetadata
from proxies.macs import cost_of
from space.published import Published
from supernet.tasks.task import score_facts

LICENSE = "apache-2.0"
OF_SCORE = score_facts()
"""What a search's provenance says of other weights: those with which the search judged the architecture."""


def model_card(
    form: Format, exported: ExportedNetwork, provenance: Mapping[str, Any], published: Published | None, more: Sequence[str] = ()
) -> str:
    """The text of the file; `more` are further sections, after the results."""
    architecture = exported.architecture
    task = f"image-{architecture.task}"
    library = "timm" if "config.json" in form.files else None
    data = ModelCardData(license=LICENSE, library_name=library, pipeline_tag=task, tags=[task, "token-mixer-nas"])
    sections = [f"# {architecture.name}", "![The architecture](architecture.svg)"]
    sections.append("\n".join(_facts(form, exported)))
    sections.append(f"## Use\n\n```python\n{form.usage(exported)}```")
    if lines := list(_results(exported.metadata)):
        sections.append("## Results\n\n" + "\n".join(lines))
    sections += more
    if lines := list(_lineage(provenance, published)):
        sections.append("## Where it comes from\n\n" + "\n".join(lines))
    sections.append(
        f"Written by token-mixer-nas {__version__}, whose code is under the Apache License 2.0. Weights that were "
        "converted from an official release, or trained from one, stay under the terms of that release and of the data."
    )
    return f"---\n{data.to_yaml()}\n---\n\n" + "\n\n".join(sections) + "\n"


def _facts(form: Format, exported: ExportedNetwork) -> Iterator[str]:
    architecture = exported.architecture
    metadata, steps, counted_at, side = exported.metadata, exported.metadata.preprocessing, architecture.image_size, exported.image_size
    cost = f"{cost_of(architecture)} at {counted_at}x{counted_at}"
    yield f"- {cost}; fingerprint `{architecture.fingerprint}`; all of it in `architecture.yaml`"
    yield f"- images: the centre {steps.crop_pct:.0%} of an image, resized to {side}x{side} ({steps.interpolation})"
    mean, std = (", ".join(map(str, values)) for values in (steps.mean, steps.std))
    yield f"- pixels: {architecture.in_chans} channels in [0, 1], less the mean ({mean}), divided by the standard deviation ({std})"
    yield f"- sizes: {side}x{side} {form.sizes(exported)}; any number of images at a time"
    yield f"- {architecture.num_classes} classes" + (f": {', '.join(metadata.class_names)}" if metadata.class_names else "")
    if exported.is_fused:
        yield "- for inference: norms, scales and gates are folded into neighbouring layers"


def _results(metadata: NetworkMetadata) -> Iterator[str]:
    size = metadata.preprocessing.image_size
    for part, found in (("test", metadata.test), ("validation", metadata.validation)):
        if found is not None:
            low, high = found.interval95
            interval = f"95 %: {low:.2%} to {high:.2%}"
            yield f"- {part} {found.metric} of these weights: {found.value:.2%} of {found.images} images at {size} px ({interval})"
    if metadata.weights:
        epoch = "" if metadata.epoch is None else f", number {metadata.epoch}"
        yield f"- weights: {metadata.weights}{epoch}"
    if metadata.steps is not None:
        precision = f", in {metadata.precision}" if metadata.precision else ""
        yield f"- trained alone for {metadata.steps} steps, seed {metadata.seed}{precision}"


def _lineage(provenance: Mapping[str, Any], published: Published | None) -> Iterator[str]:
    if published is not None:
        yield f"- a published network: {published.paper}, code {published.code}"
    for key, value in provenance.items():
        if not isinstance(value, Mapping):
            yield f"- {'score in the search, ' if key in OF_SCORE else ''}{key}: {value}"
