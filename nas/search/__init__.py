"""Searching: train a supernet, evaluate architectures inside a budget, train the best alone, write the winner.

    from nas.search import search

    found = search("4.5GFLOPs", data="path/to/train", out="runs/mine")
    found.best.architecture, found.best.cost, found.best.score

Importing this loads neither PyTorch nor Optuna.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from space.errors import UserError

if TYPE_CHECKING:
    from nas.search.found import Found


class NothingFound(UserError):
    """A search that had no time to evaluate an architecture."""


def search(budget: str, *, data: Any = None, progress: bool = False, **options: Any) -> Found:
    """Search for the best architecture inside a budget, as `python -m nas.search --budget BUDGET` does.

    With the same `out` it continues a search that was interrupted, here or on the command line.

    Args:
        budget: hard limits, such as `4.5GFLOPs`, `25Mparams` or `4.5GFLOPs 12ms@cpu`.
        data: a folder, a tar or a name, as `--data` takes it, or a map-style data set of (image, class or mask) with `classes`; by
            default embedded scenes of digits, or the data of the `supernet`.
        progress: whether progress and tables are printed.
        options: the fields of `nas.search.config.SearchConfig`, which are the command's options. `evaluator` may also be a function
            that takes an architecture and gives a `Score` or a number, greater for the better.

    Returns:
        The winner, the other architectures that were written, how the best trained alone, and the Optuna study.

    Raises:
        UserError: what is asked for cannot be, in one line that says what was expected.
    """
    from nas.cli.console import open_console
    from nas.cli.plan import refuse_dry_run
    from nas.search.config import SearchConfig
    from nas.search.pipeline import run_search
    from supernet.data.images import name_of_data, open_images
    from supernet.data.target_options import TargetOptions

    refuse_dry_run(options)
    images = None if data is None or isinstance(data, str | Path) else open_images(data, TargetOptions.of(options))
    given: dict[str, Any] = {} if data is None else {"data": name_of_data(images or data)}
    config = SearchConfig(budget=budget, **given, **options)
    found = run_search(config, open_console(progress), images)
    if found is None:
        raise NothingFound(f"minutes: got {config.minutes}, too few to evaluate an architecture; the same call with more continues")
    return found


def search_budgets(budgets: Sequence[str], *, data: Any = None, progress: bool = False, **options: Any) -> dict[str, Found]:
    """Train a supernet once and search it in several budgets, as `python -m nas.search --budgets LIST` does.

    Args:
        budgets: each as of `search`, whose other arguments are taken, too.

    Returns:
        What was found, by budget; the runs lie in folders of `out`.

    Raises:
        UserError: what is asked for cannot be, in one line that says what was expected.
    """
    from nas.cli.console import open_console
    from nas.cli.plan import refuse_dry_run
    from nas.search.command_config import SEPARATOR, SearchCommandConfig
    from nas.search.several_budgets import run_searches
    from supernet.data.images import name_of_data, open_images
    from supernet.data.target_options import TargetOptions

    refuse_dry_run(options)
    images = None if data is None or isinstance(data, str | Path) else open_images(data, TargetOptions.of(options))
    given: dict[str, Any] = {} if data is None else {"data": name_of_data(images or data)}
    config = SearchCommandConfig(budgets=SEPARATOR.join(budgets), **given, **options)
    return run_searches(config, open_console(progress), images)
