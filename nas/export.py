"""`python -m nas.export --study runs/x --trial 17 --output arch.yaml`: write the architecture of any trial of a study."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from nas.command import CommandParser, exit_code_of, whole_number


@dataclass(frozen=True)
class ExportConfig:
    """What to export.

    Args:
        study: a run's directory, or an Optuna storage URL.
        study_name: of the study in its storage, where that holds several.
        trial: number of the trial.
        output: the YAML file to write.
    """

    study: str
    study_name: str | None
    trial: int
    output: Path


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    parser = CommandParser(prog="python -m nas.export", description="Write the architecture of a search's trial as YAML.")
    parser.add_argument("--study", required=True, help="a run's directory, or an Optuna storage URL")
    parser.add_argument("--study-name", help="name of the study, where the storage holds several")
    parser.add_argument("--trial", type=whole_number(0), required=True, help="number of the trial, as in trials.csv and the dashboard")
    parser.add_argument("--output", type=Path, required=True, help="the YAML file to write")
    config = ExportConfig(**vars(parser.parse_args(argv)))
    return exit_code_of(lambda: run(config))


def run(config: ExportConfig) -> None:
    """Read the trial from its study and write its architecture."""
    from nas.run_directory import storage_of_run
    from nas.study import StudyError, open_study
    from proxies.cost import Cost
    from space.files import dump_architecture, write_atomically
    from space.names import as_name

    storage = config.study if "://" in config.study else storage_of_run(Path(config.study))
    study = open_study(storage, config.study_name)
    architecture, provenance = study.architecture(config.trial), study.provenance(config.trial)
    if not config.output.parent.is_dir():
        raise StudyError(f"--output: got the folder {config.output.parent}, expected one that exists")
    write_atomically(config.output, dump_architecture(architecture.replace(name=as_name(config.output.stem)), provenance))
    cost = Cost(provenance["macs"], provenance["params"])
    print(f"wrote {config.output}: trial {config.trial}, {cost}")


if __name__ == "__main__":
    sys.exit(main())
