"""Comparing: a search's winner, or any architecture, retrained alike with published networks, random ones and other searches' winners.

    from nas.compare import compare

    compared = compare("runs/mine", seeds=3)
    for row in compared.rows:
        print(row.contender.label, row.mean, row.interval)
    print(*compared.conclusions, sep="\n")

Importing this loads neither PyTorch nor Optuna.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nas.compare.reporting import Compared


def compare(subject: Any, *others: Any, data: Any = None, test_data: Any = None, progress: bool = False, **options: Any) -> Compared:
    """Compare, as `python -m nas.compare SUBJECT OTHERS` does; it continues a comparison that was interrupted.

    Args:
        subject: directory of a search that has ended, or an architecture: an `Architecture`, a YAML file, a published network's name,
            or what holds one, such as a search's `found.best`.
        others: further architectures, and directories of other searches, whose winners take part.
        data: images to train on, as of `nas.search.search`; by default the search's. Needed for an architecture.
        test_data: images to test on, likewise; by default the test part of the data.
        progress: whether progress and the table are printed.
        options: the fields of `nas.compare.config.CompareConfig`, which are the command's options.

    Raises:
        UserError: what is asked for cannot be, in one line that says what was expected.
    """
    from nas.cli.console import open_console
    from nas.cli.plan import refuse_dry_run
    from nas.compare.config import CompareConfig
    from nas.compare.pipeline import run_comparison
    from supernet.data.images import name_of_data, open_images, open_test_images
    from supernet.data.target_options import TargetOptions

    refuse_dry_run(options)
    images = None if data is None or isinstance(data, str | Path) else open_images(data, TargetOptions.of(options))
    named: dict[str, Any] = {} if data is None else {"data": name_of_data(images or data)}
    tested = None
    if isinstance(test_data, str | Path):
        named["test_data"] = str(test_data)
    elif test_data is not None:
        training = images or open_images(named["data"], TargetOptions.of(options))
        tested = open_test_images(training, test_data, training.class_names)
    config = CompareConfig(subject=subject, others=others, **named, **options)
    compared = run_comparison(config, open_console(progress), images, tested)
    assert compared is not None
    return compared
