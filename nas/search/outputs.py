"""What a search leaves behind: architectures as YAML, a CSV of all trials, a table."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from nas.report.wording import mixers_in_words, name_of_others, names_of_files
from nas.runs.records.finals import FinalsRecord
from nas.search.finalists import Finalist
from nas.study.record import Result, StudyRecord
from proxies.cost import Cost, target_of
from proxies.latency import Measured
from proxies.published import Parent
from space.files import dump_architecture, write_atomically
from space.names import as_name
from supernet.accuracy import Score


def write_architectures(folder: Path, study: StudyRecord, finalists: Sequence[Finalist], finals: FinalsRecord | None) -> None:
    """Write the winner as `best.yaml` and the next best ones as `next-2.yaml`, ..., or a front's other points as `front-2.yaml`, ..."""
    for name, finalist in zip(names_of_files(study, len(finalists)), finalists, strict=True):
        architecture = finalist.result.architecture.replace(name=as_name(f"{folder.name}-{name}"))
        provenance = study.provenance(finalist.result.number) | finalist.provenance | _provenance(finals, architecture.fingerprint)
        write_atomically(folder / f"{name}.yaml", dump_architecture(architecture, provenance))


def _provenance(finals: FinalsRecord | None, fingerprint: str) -> dict[str, Any]:
    """What an architecture's file tells of the finals: log-likelihoods by steps; nothing where it took no part."""
    for finalist in finals.finalists if finals else ():
        if finalist.fingerprint == fingerprint and finals is not None:
            scored = zip(finals.steps, finalist.rounds, strict=False)
            return {"finals": {steps: [round(score.log_likelihood, 4) for score in scores] for steps, scores in scored}}
    return {}


def write_trials(file: Path, study: StudyRecord, results: Sequence[Result]) -> None:
    """Write all evaluated trials as CSV, in the order of their proposals, with the answer to every slot."""
    text = io.StringIO()
    rows = [_row(result) | study.parameters(result.number) for result in sorted(results, key=lambda result: result.place)]
    writer = csv.DictWriter(text, fieldnames=list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    write_atomically(file, text.getvalue())


def _row(result: Result) -> dict[str, Any]:
    score = result.score
    return {
        "place": result.place,
        "trial": result.number,
        "accuracy": score.accuracy,
        "accuracy_stderr": score.accuracy_stderr,
        "log_likelihood": score.log_likelihood,
        "log_likelihood_stderr": score.log_likelihood_stderr,
        "images": score.num_images,
        **result.amounts,
        "seconds": result.seconds,
        "fingerprint": result.architecture.fingerprint,
    }


def print_table(
    console: Console,
    study: StudyRecord,
    finalists: Sequence[Finalist],
    parents: Sequence[Parent],
    measured_parents: Mapping[str, Mapping[str, Measured]],
    judged_by: str,
    trust: str,
) -> None:
    """Print the finalists beside the median of those drawn at random inside the band, and the published networks.

    Args:
        finalists: best first.
        parents: those within the budget; one that the search evaluated is shown with its score.
        measured_parents: their latencies, by name and quantity.
        judged_by: where the accuracies come from, in words.
        trust: what is known of how well that ranks.
    """
    best = finalists[0].result
    targets = list(finalists[0].measured)
    has_images = best.score.num_images > 0
    title = f"Accuracy {judged_by}, on {best.score.num_images} search images" if has_images else f"Scores {judged_by}"
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=0, show_edge=False)
    scores = ("accuracy %", "log-lik." if has_images else "score")
    headings = ("", "trial", *scores, "GFLOPs", "Mparams", *("ms" for _ in targets), "depths", "top-1 %")
    for heading in headings:
        table.add_column(heading, justify="left" if not heading else "right", no_wrap=True)
    for rank, finalist in enumerate(finalists, start=1):
        result = finalist.result
        label = "best" if rank == 1 else f"{name_of_others(study)} {rank}"
        table.add_row(label, *_score(result), *_cost(result.cost), *_latencies(targets, finalist.measured, result.amounts), _depths(result))
    if random_draws := study.random_draws():
        table.add_section()
        median = sorted(random_draws, key=lambda result: result.rank_key)[(len(random_draws) - 1) // 2]
        latencies = _latencies(targets, {}, median.amounts)
        table.add_row(f"median of {len(random_draws)} random", *_score(median), *_cost(median.cost), *latencies, _depths(median))
    table.add_section()
    evaluated = {result.architecture.fingerprint: result for result in study.results()}
    for parent in parents:
        known = evaluated.get(parent.architecture.fingerprint)
        latencies = _latencies(targets, measured_parents[parent.architecture.name], known.amounts if known else {})
        table.add_row(
            parent.architecture.name, *(_score(known) if known else ("", "", "")), *_cost(parent.cost), *latencies, _depths(parent),
            f"{parent.published.top1:.1f}",
        )  # fmt: skip
    console.print(table)
    widths = "-".join(str(stage.width) for stage in best.architecture.stages)
    console.print(f"The best has widths {widths} and holds {mixers_in_words(best.architecture)}.", soft_wrap=True)
    if has_images:
        console.print(
            f"Accuracy {judged_by}, ± one standard error: it ranks architectures and is no test accuracy. "
            "The best of many is also the luckiest; retrain before you compare.",
            soft_wrap=True,
        )
    if trust:
        console.print(trust, soft_wrap=True)
    for quantity in targets:
        spread = max(finalist.measured[quantity].spread for finalist in finalists)
        slowest = max(finalist.measured[quantity].slowness for finalist in finalists)
        console.print(
            f"ms: measured on {target_of(quantity)}, repeats at most {spread:.0%} apart, at the pace that it had when its table was "
            f"measured (now it took up to {slowest:.2f} times as long); in brackets predicted.",
            soft_wrap=True,
        )
    if parents:
        console.print("top-1 %: published on ImageNet, for the networks within the budget, trained alone at 224 px.", soft_wrap=True)
    console.print()


def print_finals(console: Console, finals: FinalsRecord) -> None:
    """Print what everyone scored in every round of the finals, and whether the winner is one."""
    if not finals.finished:
        console.print("The finals ended before their first round was over: the winner is the search's choice.\n", soft_wrap=True)
        return
    table = Table(title="Finals: trained alone", title_justify="left", box=box.SIMPLE_HEAD, padding=0, show_edge=False)
    table.add_column("", no_wrap=True)
    for steps in finals.steps[: finals.finished]:
        table.add_column(f"{steps} steps", justify="right", no_wrap=True)
    for finalist in finals.finalists:
        table.add_row(finalist.label, *map(_final_scores, finalist.rounds), *(["failed"] if finalist.failure else []))
    console.print(table)
    console.print("Accuracy in % and log-likelihood on the search images, the mean over seeds where there are several.", soft_wrap=True)
    if finals.finished < len(finals.steps):
        console.print(f"--minutes ended the finals after {finals.finished} of {len(finals.steps)} rounds.", soft_wrap=True)
    best, *others = finals.tied
    if others:
        console.print(f"{best} cannot be told apart from {', '.join(others)}; among them the search's score decides.", soft_wrap=True)
    if published := [one.label for one in finals.finalists if one.label in finals.tied and not one.competes]:
        console.print(f"The search has found nothing that is surely better than {', '.join(published)}.", soft_wrap=True)
    console.print()


def _final_scores(scores: Sequence[Score]) -> str:
    return f"{100 * mean(score.accuracy for score in scores):.1f} {mean(score.log_likelihood for score in scores):.3f}"


def _score(result: Result) -> tuple[str, str, str]:
    score = result.score
    return str(result.number), score.accuracy_cell, f"{score.log_likelihood:.3f}"


def _cost(cost: Cost) -> tuple[str, str]:
    return f"{cost.macs / 1e9:.3g}", f"{cost.params / 1e6:.1f}"


def _depths(of: Result | Parent) -> str:
    return "-".join(str(len(stage.blocks)) for stage in of.architecture.stages)


def _latencies(targets: Sequence[str], measured: Mapping[str, Measured], amounts: Mapping[str, int]) -> list[str]:
    """Milliseconds as measured, else as predicted, in brackets, else nothing."""

    def cell(target: str) -> str:
        if target in measured:
            return f"{measured[target].nanoseconds / 1e6:.3g}"
        return f"({amounts[target] / 1e6:.3g})" if target in amounts else ""

    return [cell(target) for target in targets]
