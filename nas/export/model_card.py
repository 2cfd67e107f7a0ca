"""The model card of an exported network, its README: how to use it, how accurate it is, where it comes from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from huggingface_hub import ModelCardData
from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD

from nas import __version__
from nas.export.format import ExportedNetwork, Format
from nas.export.program import GraphFormat
from proxies.macs import cost_of
from space.published import Published

LICENSE = "apache-2.0"


def model_card(
    form: Format, exported: ExportedNetwork, provenance: Mapping[str, Any], results: Mapping[str, Any], published: Published | None
) -> str:
    """The text of the file; `results` are those of a retraining, empty where there are none."""
    data = ModelCardData(
        license=LICENSE, library_name="timm" if "config.json" in form.files else None, pipeline_tag="image-classification",
        tags=["image-classification", "token-mixer-nas"],
    )  # fmt: skip
    architecture = exported.architecture
    sections = [f"# {architecture.name}", "![The architecture](architecture.svg)"]
    sections.append("\n".join(_facts(form, exported)))
    sections.append(f"## Use\n\n```python\n{form.usage(architecture)}```")
    if lines := list(_results(results)):
        sections.append("## Results\n\n" + "\n".join(lines))
    if lines := list(_lineage(provenance, published)):
        sections.append("## Where it comes from\n\n" + "\n".join(lines))
    sections.append(
        f"Written by token-mixer-nas {__version__}, whose code is under the Apache License 2.0. Weights that were "
        "converted from an official release, or trained from one, stay under the terms of that release and of the data."
    )
    return f"---\n{data.to_yaml()}\n---\n\n" + "\n\n".join(sections) + "\n"


def _facts(form: Format, exported: ExportedNetwork) -> Iterator[str]:
    architecture = exported.architecture
    side = architecture.image_size
    yield f"- {cost_of(architecture)} at {side}x{side}; fingerprint `{architecture.fingerprint}`; all of it in `architecture.yaml`"
    mean, std = (", ".join(map(str, values)) for values in (IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD))
    yield f"- images: {architecture.in_chans} channels in [0, 1], less the mean ({mean}), divided by the standard deviation ({std})"
    sizes = "alone"
    if form.takes_any_size(architecture):
        sizes = f"and others, multiples of {architecture.reductions[-1]} px" if isinstance(form, GraphFormat) else "and others"
    yield f"- sizes: {side}x{side} {sizes}; any number of images at a time"
    yield f"- {architecture.num_classes} classes" + (f": {', '.join(exported.labels)}" if exported.labels else "")
    if exported.is_fused:
        yield "- for inference: norms, scales and gates are folded into neighbouring layers"


def _results(results: Mapping[str, Any]) -> Iterator[str]:
    for part in ("test", "validation"):
        if accuracy := results.get(part):
            low, high = accuracy["interval95"]
            yield f"- {part} accuracy {accuracy['accuracy']:.2%} of {accuracy['images']} images (95 %: {low:.2%} to {high:.2%})"
    if "steps" in results:
        yield f"- trained alone for {results['steps']} steps, seed {results['seed']}, in {results['precision']}"


def _lineage(provenance: Mapping[str, Any], published: Published | None) -> Iterator[str]:
    if published is not None:
        yield f"- a published network: {published.paper}, code {published.code}"
    yield from (f"- {key}: {value}" for key, value in provenance.items() if not isinstance(value, Mapping))
