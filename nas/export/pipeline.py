"""An export from its config to its files. A network is loaded back and compared before its folder gets its name."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console

from nas.cli.console import table_of
from nas.cli.given_architecture import architecture_of, provenance_of
from nas.cli.plan import Phase, Plan, memory_so_far, print_plan
from nas.cli.progress import duration
from nas.draw.rendering import render
from nas.export import int8
from nas.export.by_name import format_named
from nas.export.config import YAML, ExportConfig
from nas.export.format import ExportedNetwork, ExportError, Format, differences, image_sizes
from nas.export.held_out import HeldOut, open_held_out
from nas.runs.records.metadata import PROVENANCE, NetworkMetadata, parse_metadata, read_metadata
from nas.runs.records.role import role_of
from nas.runs.whole_folder import check_new_folder, folder_written_whole
from proxies.macs import cost_of
from space.architecture import Architecture
from space.files import dump_architecture, load_published, write_atomically
from space.names import as_name
from space.network import TokenMixerNet, build_network
from space.weights import load_weights
from supernet.data.preprocessing import preprocessing_at

DOCUMENTS = ("README.md", "architecture.yaml", "architecture.svg")
"""What every folder has in addition to the format's own files."""
DOCUMENTS_BYTES = 5e4
MAX_TEXT_CHARS = 1_000_000


def run_export(config: ExportConfig, console: Console) -> tuple[Path, ...]:
    """Read, check and write; returns the files, none for a dry run."""
    if not config.out.absolute().parent.is_dir():
        raise ExportError(f"out: got the folder {config.out.parent}, expected one that exists")
    architecture, provenance = _architecture(config)
    if config.format == YAML:
        return _write_yaml(config, console, architecture, provenance)
    return _write_folder(config, console, architecture, provenance)


def _architecture(config: ExportConfig) -> tuple[Architecture, dict[str, Any]]:
    """The architecture and its provenance."""
    if config.architecture is not None:
        return architecture_of(config.architecture), provenance_of(config.architecture)
    # Imported here: Optuna takes a second, and most exports are not of trials.
    from nas.runs.directory import storage_of_run
    from nas.runs.storage_url import JOURNAL
    from nas.study.record import open_study

    assert config.study is not None
    assert config.trial is not None
    storage = config.study if "://" in config.study or config.study.startswith(JOURNAL) else storage_of_run(Path(config.study))
    study = open_study(storage, config.study_name)
    proposal = study.proposal(config.trial)
    return proposal.architecture, study.provenance(proposal)


def _write_yaml(config: ExportConfig, console: Console, architecture: Architecture, provenance: dict[str, Any]) -> tuple[Path, ...]:
    if config.out.is_dir():
        raise ExportError(f"out: got the folder {config.out}, expected a file")
    if config.image_size is not None:
        architecture = architecture.replace(image_size=config.image_size)
    text = dump_architecture(architecture.replace(name=as_name(config.out.stem)), provenance)
    trial = "" if config.trial is None else f": trial {config.trial}"
    what = f"{config.out}{trial}, {cost_of(architecture)}"
    if config.dry_run:
        _print_plan(console, "writing", what, 0.0, {str(config.out): len(text)})
        return ()
    write_atomically(config.out, text)
    console.print(f"wrote {what}", soft_wrap=True)
    return (config.out,)


def _write_folder(config: ExportConfig, console: Console, architecture: Architecture, provenance: dict[str, Any]) -> tuple[Path, ...]:
    check_new_folder(config.out)
    form = format_named(config.format)
    form.check()
    metadata = _metadata(config, architecture, provenance)
    network = _network(config, architecture)
    exported = ExportedNetwork(network.fuse() if config.fuse else network, metadata, config.fuse)
    held_out = open_held_out(*config.held_out_images, exported) if config.int8 else None
    sizes = ", ".join(f"{height}x{width}" for height, width in image_sizes(form, exported))
    if config.dry_run:
        weights = sum(tensor.nbytes for tensor in exported.network.state_dict().values())
        what = f"{config.format}, and comparing its logits with the network's for images of {sizes}"
        files, seconds = [*form.files, *DOCUMENTS], form.seconds_a_block
        if held_out is not None:
            calibration, search = len(held_out.splits.calibration), len(held_out.splits.search)
            what += f"; in INT8 as well, calibrated on {calibration} images and judged on {search}"
            files, seconds = [*files, int8.FILE], seconds + int8.SECONDS_A_BLOCK
        written = {f"{config.out}/{{{','.join(files)}}}": weights + DOCUMENTS_BYTES}
        _print_plan(console, "exporting", what, seconds * architecture.depth, written, 2.0 * weights)
        return ()
    start = time.perf_counter()
    with folder_written_whole(config.out) as folder:
        form.write(exported, folder)
        for shape, difference in differences(form, exported, folder):
            console.print(f"{shape} images: logits differ from the network's by {difference:.2g} at most", soft_wrap=True)
        sections = [] if held_out is None else [_write_int8(console, form, exported, held_out, folder)]
        _write_documents(config, form, exported, provenance, folder, sections)
        names = sorted(file.name for file in folder.iterdir())
        sizes_of_files = [f"{name} ({(folder / name).stat().st_size / 1e6:.2f} MB)" for name in names]
    side = exported.image_size
    console.print(f"it takes images of {side}x{side} {form.sizes(exported)}, any number at a time", soft_wrap=True)
    console.print(f"wrote {', '.join(sizes_of_files)} into {config.out} in {duration(time.perf_counter() - start)}", soft_wrap=True)
    return tuple(config.out / name for name in names)


def _write_int8(console: Console, form: Format, exported: ExportedNetwork, held_out: HeldOut, folder: Path) -> str:
    """Write the INT8 graph beside the graph, and print how both compare; returns the section of the model card."""
    found = int8.write_int8(exported, folder, folder / form.files[0], held_out, lambda line: console.print(line, soft_wrap=True))
    table = table_of(("", form.files[0], int8.FILE), "INT8")
    for row in found.rows:
        table.add_row(*row)
    console.print(table)
    return found.section


def _network(config: ExportConfig, architecture: Architecture) -> TokenMixerNet:
    """The network with its weights, in evaluation mode."""
    network = build_network(architecture).eval()
    if config.weights_file is None:
        network.load_state_dict(config.architecture.network().state_dict())
    else:
        load_weights(network, config.weights_file)
    return network


def _print_plan(console: Console, name: str, what: str, seconds: float, files: dict[str, float], more_memory: float = 0.0) -> None:
    print_plan(console, Plan((Phase(name, what, seconds),), {"in all": memory_so_far() + more_memory}, files))


def _write_documents(
    config: ExportConfig, form: Format, exported: ExportedNetwork, provenance: dict[str, Any], folder: Path, sections: Sequence[str]
) -> None:
    # Imported here: it takes a second, and a dry run needs none.
    from nas.export.model_card import model_card

    published = load_published(config.architecture) if isinstance(config.architecture, str) else None
    (folder / "README.md").write_text(model_card(form, exported, provenance, published, sections), encoding="utf-8")
    provenance = provenance | {PROVENANCE: exported.metadata.document}
    (folder / "architecture.yaml").write_text(dump_architecture(exported.architecture, provenance), encoding="utf-8")
    (folder / "architecture.svg").write_bytes(render(exported.architecture, "svg"))


def _metadata(config: ExportConfig, architecture: Architecture, provenance: dict[str, Any]) -> NetworkMetadata:
    """What is known of the weights: what they say of themselves, else what the architecture's file says; then what the user says."""
    file = config.weights_file
    found = getattr(config.architecture, "metadata", None) if file is None else read_metadata(file)
    if found is None and PROVENANCE in provenance:
        found = parse_metadata(provenance[PROVENANCE], f"{config.architecture}: provenance.{PROVENANCE}").without_figures
    if found is None:
        found = NetworkMetadata(architecture.fingerprint, preprocessing_at(architecture.image_size), role=role_of(provenance))
    if found.fingerprint != architecture.fingerprint:
        found = replace(found.without_figures, fingerprint=architecture.fingerprint)
    if config.image_size not in (None, found.preprocessing.image_size):
        found = replace(found.without_figures, preprocessing=preprocessing_at(config.image_size))
    if config.labels is not None:
        found = replace(found, class_names=_labels(config, architecture))
    return found if len(found.class_names) == architecture.num_classes else replace(found, class_names=())


def _labels(config: ExportConfig, architecture: Architecture) -> tuple[str, ...]:
    is_file = isinstance(config.labels, Path)
    labels = tuple(line.strip() for line in _text(config.labels).splitlines() if line.strip()) if is_file else config.labels
    if len(labels) != architecture.num_classes:
        where = config.labels if is_file else "labels"
        raise ExportError(f"{where}: got {len(labels)} names, expected {architecture.num_classes}, one a class")
    return labels


def _text(path: Path) -> str:
    try:
        with path.open(encoding="utf-8") as file:
            return file.read(MAX_TEXT_CHARS)
    except OSError as error:
        raise ExportError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ExportError(f"{path}: cannot be read: not UTF-8 text") from None
