"""Training a weight-sharing supernet for later searches.

    from nas.train import train

    supernet = train("450MFLOPs", data="path/to/train", out="runs/mine")
    network = supernet.network(architecture)

Importing this loads neither PyTorch nor Optuna.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas.cli.data_option import DEFAULT

if TYPE_CHECKING:
    from nas.train.supernet_run import TrainedSupernet


def train(budget: str | None = None, *, data: Any = DEFAULT, progress: bool = False, **options: Any) -> TrainedSupernet:
    """Train a supernet, as `python -m nas.train` does; either one resumes an interrupted training where `out` is the same.

    Args:
        budget: hard limits, such as `4.5GFLOPs`; with `scope="band"` the supernet is trained in their band.
        data: a folder, a tar or a name, as `--data` takes it, or a map-style data set of (image, class or mask) with `classes`.
        progress: whether to print progress.
        options: the fields of `nas.train.config.TrainingConfig` but `dry_run`, which are the command's options.

    Raises:
        UserError: an argument is impossible; one line says what was expected.
    """
    from nas.cli.console import open_console
    from nas.cli.plan import refuse_dry_run
    from nas.train.config import TrainingConfig
    from nas.train.training import run_training
    from supernet.data.images import name_of_data, open_images
    from supernet.data.target_options import TargetOptions

    refuse_dry_run(options)
    images = None if isinstance(data, str | Path) else open_images(data, TargetOptions.of(options))
    config = TrainingConfig(budget=budget, data=name_of_data(images or data), **options)
    trained = run_training(config, open_console(progress), images)
    assert trained is not None
    return trained
