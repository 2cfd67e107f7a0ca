"""What an export depends on: keyword arguments of `nas.export.export`, options of `nas.export`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas.cli.data_option import TargetChoice, source_named
from nas.cli.given_architecture import given_architecture, name_of, weights_file_of
from nas.cli.options import Derived, OptionError, option, options_of
from nas.export.by_name import FORMATS, FUSABLE
from nas.runs.records.retraining import ARCHITECTURE, WEIGHTS, RetrainingFolder

if TYPE_CHECKING:
    from supernet.data.target_options import TargetOptions

YAML, ONNX = "yaml", "onnx"
TARGETS = tuple(name for name in options_of(TargetChoice) if name != "dry_run")
"""Options of images with masks."""


def _source(value: Any) -> Any:
    """An architecture, or a retraining's folder."""
    if isinstance(value, str | Path) and Path(value).is_dir():
        folder = RetrainingFolder(Path(value))
        if not folder.is_whole:
            raise ValueError(f"got the folder {value}, expected a file, or a retraining's folder with {ARCHITECTURE} and {WEIGHTS}")
        return folder
    return given_architecture(value)


def _labels(value: Any) -> Path | tuple[str, ...]:
    if isinstance(value, str | Path):
        return Path(value)
    if isinstance(value, list | tuple) and all(isinstance(name, str) for name in value):
        return tuple(value)
    raise ValueError(f"got {value!r:.80}, expected a text file, or the names themselves")


def _default_out(config: ExportConfig) -> Path:
    if config.format == YAML:
        raise OptionError("out", f"got none, expected the file to write with format={YAML}")
    name = f"trial-{config.trial}" if config.architecture is None else Path(name_of(config.architecture)).stem
    return Path(f"{name}-{config.format}")


@dataclass(frozen=True, kw_only=True)
class ExportConfig(TargetChoice):
    """What to export."""

    architecture: Any = option(
        None, "YAML file, a retraining's folder, or a published network's name; or --study and --trial", is_positional=True, convert=_source
    )
    study: str | None = option(None, "a run's directory, or an Optuna storage URL")
    study_name: str | None = option(None, "name of the study, where the storage holds several")
    trial: int | None = option(None, "number of the trial, as in trials.csv and the dashboard", at_least=0)
    weights: Path | None = option(None, "the network's weights, such as a retraining's weights.safetensors")
    format: str = option(YAML, "what to write; yaml is the architecture alone", choices=(YAML, *FORMATS))
    image_size: int | None = option(None, "side in pixels (the one that the weights were trained at, else the architecture's)", at_least=32)
    fuse: bool = option(False, f"fold norms, scales and gates for inference; for {', '.join(FUSABLE)}")
    int8: bool = option(False, f"write {ONNX} in INT8 as well, quantised where measurement shows that it pays; needs --data")
    data: str | None = option(
        None, "images to calibrate and judge INT8 with, no test images among them (a retraining's own)", convert=source_named
    )
    labels: Any = option(None, "text file with the names of the classes, one a line", convert=_labels)
    out: Path = option(Derived(_default_out), "the YAML file, or the folder (NAME-FORMAT)", flags=("--output",))

    def check(self) -> None:
        super().check()
        if (self.architecture is None) == (self.study is None):
            raise OptionError("architecture", "got both or none, expected an architecture, or study and trial")
        if (self.study is None) != (self.trial is None):
            raise OptionError("trial", "expected together with study")
        if self.format == YAML and self.weights is not None:
            raise OptionError("weights", f"expected with every format but {YAML}, got format={YAML}")
        if self.format != YAML and self.weights_file is None and not hasattr(self.architecture, "network"):
            raise OptionError("weights", f"expected with every format but {YAML}, got format={self.format}")
        if self.fuse and self.format not in FUSABLE:
            raise OptionError("fuse", f"got format={self.format}, expected {', '.join(FUSABLE)}: a fused network is for inference alone")
        if self.labels is not None and self.format == YAML:
            raise OptionError("labels", f"got format={YAML}, expected {', '.join(FORMATS)}")
        if self.int8 and self.format != ONNX:
            raise OptionError("int8", f"got format={self.format}, expected format={ONNX}")
        if self.int8 and self.data is None and not isinstance(self.architecture, RetrainingFolder):
            raise OptionError("data", "missing, expected the images to calibrate and judge int8=True with")
        for name in ("data", *TARGETS):
            if name in self.given and not self.int8:
                raise OptionError(name, "has no effect without int8=True")

    @property
    def held_out_images(self) -> tuple[str, TargetOptions]:
        """The data that INT8 needs, and how their targets are read: those given, or the retraining's."""
        from supernet.data.target_options import TargetOptions

        if self.data is None:
            found = self.architecture.config
            return found["data"], TargetOptions.of(found)
        return self.data, self.targets

    @property
    def weights_file(self) -> Path | None:
        """The weights that are given, or those of the value that holds the architecture."""
        return self.weights or (None if isinstance(self.architecture, str) else weights_file_of(self.architecture))
