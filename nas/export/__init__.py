"""Exporting: a trained network for other people's code, or an architecture as a file.

    from nas.export import export

    export(retrained, format="onnx", out="exported/mine")
    export(found.best, out="best.yaml")

Importing this loads neither PyTorch nor Optuna.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any


def export(
    architecture: Any = None, *, format: str = "yaml", weights: str | Path | None = None, out: str | Path | None = None,
    progress: bool = False, **options: Any,
) -> tuple[Path, ...]:  # fmt: skip
    """Write a network and compare what was written with it, as `python -m nas.export` does.

    Args:
        architecture: an `Architecture`, a YAML file, a published network's name, or a value with an `architecture`, such as
            `retrain`'s result and a search's `found.best`; none with `study` and `trial`.
        format: `timm`, `onnx`, `openvino`, `torch-export`, `module`, or `yaml`, the architecture alone.
        weights: a file; by default those of the value with the architecture. A search's result inherits them from its supernet.
        out: the folder to write, NAME-FORMAT by default; of `yaml`, the file.
        progress: whether to print what was compared and written.
        options: the other fields of `nas.export.config.ExportConfig` but `dry_run`, which are the command's options. `labels` may also be
            the names themselves.

    Returns:
        The files that were written.

    Raises:
        UserError: the export cannot be made; one line says what was got and what was expected.
    """
    from nas.cli.console import open_console
    from nas.cli.plan import refuse_dry_run
    from nas.export.config import ExportConfig
    from nas.export.pipeline import run_export

    refuse_dry_run(options)
    given: dict[str, Any] = {"architecture": architecture, "format": format, "weights": weights, "out": out}
    config = ExportConfig(**given, **options)
    return run_export(config, open_console(progress))
