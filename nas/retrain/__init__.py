"""Retraining: training an architecture as a network of its own, and measuring it on test images.

    from nas.retrain import retrain

    retrained = retrain("runs/mine/best.yaml", data="path/to/train", test_data="path/to/val")
    retrained.test.value, retrained.test.interval95, retrained.weights_file
    network = retrained.network()

Importing this loads neither PyTorch nor Optuna.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas.cli.data_option import DEFAULT

if TYPE_CHECKING:
    from nas.retrain.retrained import Retrained


def retrain(
    architecture: Any, *, data: Any = DEFAULT, test_data: Any = None, recipe: str | None = None, progress: bool = False, **options: Any
) -> Retrained:
    """Train an architecture alone, as `python -m nas.retrain` does; either one resumes an interrupted training where `out` is the same.

    Args:
        architecture: an `Architecture`, a YAML file, a published network's name, or an object with one, such as a search's `found.best`.
        data: a folder, a tar or a name, as `--data` takes it, or a map-style data set of (image, class or mask) with `classes`.
        test_data: likewise; by default the test part of `data`, where that has one.
        recipe: a name or a YAML file; by default that of the data's task.
        progress: whether to print progress and results.
        options: the fields of `nas.retrain.config.RetrainConfig` but `dry_run`, which are the command's options. `from_="supernet"`
            begins with the weights beside the file, or with those of `found.best`; `from_="davit-t"` with a published network's.

    Raises:
        UserError: an argument is impossible; one line says what was expected.
    """
    from nas.cli.console import open_console
    from nas.cli.plan import refuse_dry_run
    from nas.retrain.config import RetrainConfig
    from nas.retrain.pipeline import run_retraining
    from supernet.data.images import name_of_data, open_images, open_test_images
    from supernet.data.target_options import TargetOptions

    refuse_dry_run(options)
    images = None if isinstance(data, str | Path) else open_images(data, TargetOptions.of(options))
    tested, test_name = None, test_data
    if not isinstance(test_data, str | Path | None):
        images = images or open_images(data, TargetOptions.of(options))
        tested = open_test_images(images, test_data, images.class_names)
        test_name = tested and tested.identity
    named = {"data": name_of_data(images or data), "test_data": test_name}
    config = RetrainConfig(architecture=architecture, recipe=recipe, **named, **options)
    retrained = run_retraining(config, open_console(progress), images, tested)
    assert retrained is not None
    return retrained
