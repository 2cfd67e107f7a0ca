"""What a search leaves behind: architectures as YAML, a CSV of all trials, a table."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from nas.parents import Parent
from nas.study import Result, StudyRecord
from proxies.cost import Cost
from space.architecture import Architecture
from space.files import dump_architecture, write_atomically


def write_architectures(folder: Path, study: StudyRecord, ranked: Sequence[Result]) -> None:
    """Write the winner as `best.yaml` and the next best ones as `next-2.yaml`, `next-3.yaml`, ..."""
    for rank, result in enumerate(ranked, start=1):
        name = "best" if rank == 1 else f"next-{rank}"
        architecture = result.architecture.replace(name=f"{folder.name}-{name}")
        write_atomically(folder / f"{name}.yaml", dump_architecture(architecture, study.provenance(result.number)))


def write_trials(file: Path, study: StudyRecord, results: Sequence[Result]) -> None:
    """Write all evaluated trials as CSV, in order of trial number, with the answer to every slot."""
    text = io.StringIO()
    rows = [_row(result) | study.parameters(result.number) for result in sorted(results, key=lambda result: result.number)]
    writer = csv.DictWriter(text, fieldnames=list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    write_atomically(file, text.getvalue())


def _row(result: Result) -> dict[str, Any]:
    score = result.score
    return {
        "trial": result.number,
        "accuracy": score.accuracy,
        "accuracy_stderr": score.accuracy_stderr,
        "log_likelihood": score.log_likelihood,
        "log_likelihood_stderr": score.log_likelihood_stderr,
        "images": score.num_images,
        "macs": result.cost.macs,
        "params": result.cost.params,
        "seconds": result.seconds,
        "fingerprint": result.architecture.fingerprint,
    }


def print_table(
    console: Console, results: Sequence[Result], keep: int, random_draws: Sequence[Result], parents: Sequence[Parent]
) -> None:
    """Print the best architectures beside the median of those drawn at random inside the band, and the published networks.

    Args:
        results: best first.
        keep: how many of them to show.
        parents: those within the budget; one that the search evaluated is shown with its score.
    """
    title = f"Supernet accuracy on {results[0].score.num_images} search images"
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=0, show_edge=False)
    for heading in ("", "trial", "accuracy %", "log-lik.", "GFLOPs", "Mparams", "depths", "top-1 %"):
        table.add_column(heading, justify="left" if not heading else "right", no_wrap=True)
    for rank, result in enumerate(results[:keep], start=1):
        table.add_row("best" if rank == 1 else f"next {rank}", *_score(result), *_facts(result.cost, result.architecture))
    if random_draws:
        table.add_section()
        median = sorted(random_draws, key=lambda result: result.rank_key)[(len(random_draws) - 1) // 2]
        table.add_row(f"median of {len(random_draws)} random", *_score(median), *_facts(median.cost, median.architecture))
    table.add_section()
    evaluated = {result.architecture.fingerprint: result for result in results}
    for parent in parents:
        known = evaluated.get(parent.architecture.fingerprint)
        score = _score(known) if known else ("", "", "")
        table.add_row(parent.architecture.name, *score, *_facts(parent.cost, parent.architecture), f"{parent.published.top1:.1f}")
    console.print(table)
    best = results[0].architecture
    widths = "-".join(str(stage.width) for stage in best.stages)
    console.print(f"The best has widths {widths} and holds {mixers_in_words(best)}.", soft_wrap=True)
    console.print(
        "Accuracy with the supernet's weights, ± one standard error: it ranks architectures and is no test accuracy. "
        "The best of many is also the luckiest; retrain before you compare.",
        soft_wrap=True,
    )
    if parents:
        console.print("top-1 %: published on ImageNet, for the networks within the budget, trained alone at 224 px.", soft_wrap=True)
    console.print()


def _score(result: Result) -> tuple[str, str, str]:
    score = result.score
    return str(result.number), f"{100 * score.accuracy:.1f} ± {100 * score.accuracy_stderr:.1f}", f"{score.log_likelihood:.3f}"


def _facts(cost: Cost, architecture: Architecture) -> tuple[str, str, str]:
    depths = "-".join(str(len(stage.blocks)) for stage in architecture.stages)
    return f"{cost.macs / 1e9:.3g}", f"{cost.params / 1e6:.1f}", depths


def mixers_in_words(architecture: Architecture) -> str:
    """How many blocks hold which mixer, most frequent first: `5 ssa, 3 window`."""
    counts = Counter(block.mixer.type for stage in architecture.stages for block in stage.blocks)
    return ", ".join(f"{count} {name}" for name, count in counts.most_common())
