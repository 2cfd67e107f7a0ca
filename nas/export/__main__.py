"""`python -m nas.export best.yaml --weights weights.safetensors --format onnx`: a trained network for someone else's code.

Without `--format` it writes the architecture itself, such as that of any trial of a search.
"""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas.cli.command import CommandParser, add_dry_run, exit_code_of, whole_number
from nas.export import FORMATS, FUSABLE
from space.errors import UserError

if TYPE_CHECKING:
    from nas.export.format import Format, Trained
    from space.architecture import Architecture

YAML = "yaml"
BESIDES = ("README.md", "architecture.yaml", "architecture.svg")
"""What every folder has besides the format's own files."""
BESIDES_BYTES = 5e4
MAX_TEXT_CHARS = 1_000_000


class ExportCommandError(UserError):
    """An export that was asked for in a way that cannot be."""


@dataclass(frozen=True)
class ExportConfig:
    """What to export.

    Args:
        architecture: the YAML file, or a published network's name; None for a study's trial.
        study: a run's directory, or an Optuna storage URL.
        study_name: of the study in its storage, where that holds several.
        trial: number of the trial.
        weights: of the network; None for the architecture alone.
        format: `yaml`, or one of `nas.export.FORMATS`.
        image_size: instead of the architecture's own, the one that the network was trained at.
        fuse: fold norms, scales and gates for inference.
        labels: a text file with the names of the classes, one a line.
        output: the YAML file, or the folder to write.
        dry_run: check everything, and write nothing.
    """

    architecture: str | None
    study: str | None
    study_name: str | None
    trial: int | None
    weights: Path | None
    format: str
    image_size: int | None
    fuse: bool
    labels: Path | None
    output: Path
    dry_run: bool


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    config = _parse(argv)
    return exit_code_of(lambda: run(config), is_short=config.dry_run)


def _parse(argv: Sequence[str] | None) -> ExportConfig:
    parser = CommandParser(prog="python -m nas.export", description="Write a trained network for other people's code, or an architecture.")
    parser.add_argument("architecture", nargs="?", help="YAML file, or a published network's name; or --study and --trial")
    parser.add_argument("--study", help="a run's directory, or an Optuna storage URL")
    parser.add_argument("--study-name", help="name of the study, where the storage holds several")
    parser.add_argument("--trial", type=whole_number(0), help="number of the trial, as in trials.csv and the dashboard")
    parser.add_argument("--weights", type=Path, help="the network's weights, such as a retraining's weights.safetensors")
    parser.add_argument("--format", choices=(YAML, *FORMATS), default=YAML, help="what to write (%(default)s: the architecture alone)")
    parser.add_argument("--image-size", type=whole_number(32), help="side in pixels that it was trained at (the architecture's)")
    parser.add_argument("--fuse", action="store_true", help=f"fold norms, scales and gates for inference; for {', '.join(FUSABLE)}")
    parser.add_argument("--labels", type=Path, help="text file with the names of the classes, one a line")
    parser.add_argument("--output", "--out", type=Path, help="the YAML file, or the folder (NAME-FORMAT)")
    add_dry_run(parser)
    arguments = parser.parse_args(argv)
    if (arguments.architecture is None) == (arguments.study is None):
        parser.error("architecture: got both or none, expected an architecture, or --study and --trial")
    if (arguments.study is None) != (arguments.trial is None):
        parser.error("--trial: expected together with --study")
    if (arguments.format == YAML) != (arguments.weights is None):
        parser.error(f"--weights: expected with every --format but {YAML}, got --format {arguments.format}")
    if arguments.fuse and arguments.format not in FUSABLE:
        parser.error(f"--fuse: got --format {arguments.format}, expected {', '.join(FUSABLE)}: a fused network is for inference alone")
    if arguments.labels and arguments.format == YAML:
        parser.error(f"--labels: got --format {YAML}, expected {', '.join(FORMATS)}")
    if arguments.output is None and arguments.format == YAML:
        parser.error(f"--output: got none, expected the file to write with --format {YAML}")
    if arguments.output is None:
        name = f"trial-{arguments.trial}" if arguments.architecture is None else Path(arguments.architecture).stem
        arguments.output = Path(f"{name}-{arguments.format}")
    return ExportConfig(**vars(arguments))


def run(config: ExportConfig) -> None:
    """Read, check, write."""
    if not config.output.absolute().parent.is_dir():
        raise ExportCommandError(f"--output: got the folder {config.output.parent}, expected one that exists")
    architecture, provenance = _architecture(config)
    if config.format == YAML:
        _write_yaml(config, architecture, provenance)
    else:
        _write_folder(config, architecture, provenance)


def _architecture(config: ExportConfig) -> tuple[Architecture, dict[str, Any]]:
    """The architecture, and where it comes from."""
    from space.files import load_architecture, load_provenance

    if config.architecture is not None:
        return load_architecture(config.architecture), load_provenance(config.architecture)
    from nas.runs.directory import storage_of_run
    from nas.runs.storage_url import JOURNAL
    from nas.study.record import open_study

    assert config.study is not None
    assert config.trial is not None
    storage = config.study if "://" in config.study or config.study.startswith(JOURNAL) else storage_of_run(Path(config.study))
    study = open_study(storage, config.study_name)
    return study.architecture(config.trial), study.provenance(config.trial)


def _write_yaml(config: ExportConfig, architecture: Architecture, provenance: dict[str, Any]) -> None:
    from proxies.macs import cost_of
    from space.files import dump_architecture, write_atomically
    from space.names import as_name

    if config.output.is_dir():
        raise ExportCommandError(f"--output: got the folder {config.output}, expected a file")
    architecture = _sized(config, architecture)
    text = dump_architecture(architecture.replace(name=as_name(config.output.stem)), provenance)
    what = f"{config.output}, {cost_of(architecture)}" if config.trial is None else (
        f"{config.output}: trial {config.trial}, {cost_of(architecture)}"
    )  # fmt: skip
    if config.dry_run:
        _print_plan("writing", what, 0.0, {str(config.output): len(text)})
        return
    write_atomically(config.output, text)
    print(f"wrote {what}")


def _write_folder(config: ExportConfig, architecture: Architecture, provenance: dict[str, Any]) -> None:
    from nas.cli.progress import duration
    from nas.export import format_named
    from nas.export.format import Trained, differences, image_sizes
    from space.network import build_network
    from space.weights import load_weights

    assert config.weights is not None
    if config.output.exists() and (not config.output.is_dir() or any(config.output.iterdir())):
        raise ExportCommandError(f"--output: got {config.output}, which is there already, expected a new or an empty folder")
    form = format_named(config.format)
    form.check()
    labels = _labels(config, architecture)
    results = _results(config, architecture)
    architecture = _sized(config, architecture)
    network = build_network(architecture).eval()
    load_weights(network, config.weights)
    trained = Trained(architecture, network.fuse() if config.fuse else network, config.fuse, labels)
    sizes = " and ".join(f"{height}x{width}" for height, width in image_sizes(form, architecture))
    if config.dry_run:
        weights = sum(tensor.nbytes for tensor in trained.network.state_dict().values())
        what = f"{config.format}, and comparing with the network what comes of that for images of {sizes}"
        written = {f"{config.output}/{{{','.join((*form.files, *BESIDES))}}}": weights + BESIDES_BYTES}
        _print_plan("exporting", what, form.seconds_a_block * architecture.depth, written, 2.0 * weights)
        return
    start = time.perf_counter()
    with _whole(config.output) as folder:
        form.write(trained, folder)
        for shape, difference in differences(form, trained, folder):
            print(f"{shape} images: logits differ from the network's by {difference:.2g} at most", flush=True)
        _write_besides(config, form, trained, provenance, results, folder)
        files = [f"{file.name} ({file.stat().st_size / 1e6:.2f} MB)" for file in sorted(folder.iterdir())]
    if not form.takes_any_size(architecture):
        print(f"it takes images of {sizes} alone: the exporter cannot follow the maps of this architecture's mixers at others")
    print(f"wrote {', '.join(files)} into {config.output} in {duration(time.perf_counter() - start)}")


def _print_plan(name: str, what: str, seconds: float, files: dict[str, float], more_memory: float = 0.0) -> None:
    from nas.cli.console import open_console
    from nas.cli.plan import Phase, Plan, memory_so_far, print_plan

    print_plan(open_console(), Plan((Phase(name, what, seconds),), {"in all": memory_so_far() + more_memory}, files))


def _write_besides(
    config: ExportConfig, form: Format, trained: Trained, provenance: dict[str, Any], results: dict[str, Any], folder: Path
) -> None:
    from nas.draw.rendering import render
    from nas.export.card import card
    from space.files import dump_architecture, load_published

    published = None if config.architecture is None else load_published(config.architecture)
    (folder / "README.md").write_text(card(form, trained, provenance, results, published), encoding="utf-8")
    (folder / "architecture.yaml").write_text(dump_architecture(trained.architecture, provenance), encoding="utf-8")
    (folder / "architecture.svg").write_bytes(render(trained.architecture, "svg"))


def _sized(config: ExportConfig, architecture: Architecture) -> Architecture:
    return architecture if config.image_size is None else architecture.replace(image_size=config.image_size)


def _labels(config: ExportConfig, architecture: Architecture) -> tuple[str, ...]:
    if config.labels is None:
        return ()
    labels = tuple(line.strip() for line in _text(config.labels).splitlines() if line.strip())
    if len(labels) != architecture.num_classes:
        raise ExportCommandError(f"{config.labels}: got {len(labels)} names, expected {architecture.num_classes}, one a class")
    return labels


def _results(config: ExportConfig, architecture: Architecture) -> dict[str, Any]:
    """What the retraining that made the weights measured, where its results lie beside them."""
    import json

    assert config.weights is not None
    file = config.weights.with_name("result.json")
    if not file.exists():
        return {}
    try:
        results = json.loads(_text(file))
        is_of_these = results["fingerprint"] == architecture.fingerprint
    except (ValueError, KeyError, TypeError):
        raise ExportCommandError(f"{file}: got no results of a retraining; move it away from the weights") from None
    return results if is_of_these else {}


def _text(path: Path) -> str:
    try:
        with path.open(encoding="utf-8") as file:
            return file.read(MAX_TEXT_CHARS)
    except OSError as error:
        raise ExportCommandError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ExportCommandError(f"{path}: cannot be read: not UTF-8 text") from None


@contextmanager
def _whole(output: Path) -> Iterator[Path]:
    """A folder to fill under a temporary name, which becomes the output when all is done."""
    folder = output.absolute().with_name(f".{output.name}.{os.getpid()}.tmp")
    folder.mkdir()
    try:
        yield folder
        folder.replace(output)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
