"""What a search writes and prints: architectures as YAML, a CSV of all trials, tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import mean
from typing import Any

from rich.console import Console

from nas.cli.console import table_of
from nas.report.cost_columns import cost_cells, macs_unit
from nas.report.final_training import outcome_in_words
from nas.report.score_columns import score_cells, score_headings
from nas.report.wording import mixers_in_words, name_of_others, names_of_files, role_of_rank, sentence_case, tied_in_words
from nas.runs.records.halving import HalvingRecord
from nas.runs.records.tables import write_csv
from nas.search.int8 import int8_cell, int8_notes
from nas.search.measured import MeasuredResult
from nas.study.record import Result, StudyRecord
from proxies.cost import target_of
from proxies.latency import Measured
from proxies.memory.prediction import memory_of
from proxies.memory_quantity import is_memory, moment_of
from proxies.published import Parent
from space.files import dump_architecture, write_atomically
from space.names import as_name
from supernet.score import Score
from supernet.tasks.task import task_of_head


def write_architectures(folder: Path, study: StudyRecord, best: Sequence[MeasuredResult], halving: HalvingRecord | None) -> None:
    """Write the winner as `best.yaml` and the next best ones as `next-2.yaml`, ..., or a front's other points as `front-2.yaml`, ..."""
    for rank, (name, one) in enumerate(zip(names_of_files(study, len(best)), best, strict=True), start=1):
        architecture = one.result.architecture.replace(name=as_name(f"{folder.name}-{name}"))
        role = {"role": role_of_rank(study, rank).value}
        provenance = role | study.provenance(one.result) | one.provenance | _provenance(halving, architecture.fingerprint)
        write_atomically(folder / f"{name}.yaml", dump_architecture(architecture, provenance))


def _provenance(halving: HalvingRecord | None, fingerprint: str) -> dict[str, Any]:
    """Log-likelihoods of successive halving by steps, for an architecture's file; nothing where it took no part."""
    found = next((one for one in halving.candidates if one.fingerprint == fingerprint), None) if halving else None
    if halving is None or found is None:
        return {}
    by_steps = zip(halving.steps, found.rungs, strict=False)
    scores = {"halving": {steps: [round(score.log_likelihood, 4) for score in scores] for steps, scores in by_steps}}
    return scores if found.int8_values is None else scores | {"int8_drop": round(found.int8_drop, 2)}


def write_trials(file: Path, study: StudyRecord, results: Sequence[Result]) -> None:
    """Write all evaluated trials as CSV, in the order of their proposals. The columns of inactive slots are empty."""
    slots = dict.fromkeys(study.space.slots, "")
    write_csv(file, [_row(result) | slots | dict(result.parameters) for result in sorted(results, key=lambda one: one.index)])


def _row(result: Result) -> dict[str, Any]:
    return {
        "proposal": result.index,
        "trial": result.number,
        **result.score.facts,
        **result.costs,
        "seconds": result.seconds,
        "fingerprint": result.architecture.fingerprint,
    }


def print_best(
    console: Console,
    study: StudyRecord,
    best: Sequence[MeasuredResult],
    parents: Sequence[Parent],
    latencies_of_parents: Mapping[str, Mapping[str, Measured]],
    judged_by: str,
    ranking: str,
    is_trained_alone: bool,
) -> None:
    """Print the best beside published networks and the median of those drawn at random inside the band, then what authors report.

    Args:
        best: the winner first.
        parents: those within the budget; the first table has those that the search evaluated or measured.
        latencies_of_parents: measured, by name and quantity.
        judged_by: where the scores come from, in words.
        ranking: how well these rank, as far as it is known.
        is_trained_alone: whether successive halving has chosen among the best; it says itself who cannot be told apart.
    """
    winner = best[0].result
    targets = [quantity for quantity in winner.costs if target_of(quantity)]
    memory = [quantity for quantity in winner.costs if is_memory(quantity)]
    has_images = winner.score.num_images > 0
    metric = winner.score.metric
    title = f"Log-likelihood and {metric} {judged_by}, on {winner.score.num_images} search images" if has_images else f"Scores {judged_by}"
    scores = score_headings(metric, has_images)
    limited = (*("ms" for _ in targets), *(f"MiB@{moment_of(quantity)}" for quantity in memory))
    unit = macs_unit(winner.cost.macs)
    table = table_of(("", "trial", *scores, unit.name, "Mparams", *limited), title)

    def add(label: str, result: Result | None, of: Result | Parent, measured: Mapping[str, Measured]) -> None:
        predicted = result.costs if result else {}
        latencies = (_latency(target, measured, predicted) for target in targets)
        needed = (f"{memory_of(of.architecture, quantity) / 2**20:.4g}" for quantity in memory)
        scored = (str(result.number), *score_cells(result.score)) if result else [""] * (1 + len(scores))
        table.add_row(label, *scored, *cost_cells(of.cost, unit), *latencies, *needed)

    for rank, one in enumerate(best, start=1):
        add("best" if rank == 1 else f"{name_of_others(study)} {rank}", one.result, one.result, one.measured)
    if random_draws := study.random_draws():
        table.add_section()
        median = sorted(random_draws, key=lambda result: result.rank_key)[(len(random_draws) - 1) // 2]
        add(f"median of {len(random_draws)} random", median, median, {})
    table.add_section()
    evaluated = {result.architecture.fingerprint: result for result in study.results()}
    for parent in parents:
        name, result = parent.architecture.name, evaluated.get(parent.architecture.fingerprint)
        measured = latencies_of_parents.get(name, {})
        if result is not None or measured:
            add(name, result, parent, measured)
    console.print(table)
    for line in _notes(best, targets, judged_by if has_images else "", ranking):
        console.print(line, soft_wrap=True)
    if len(study.objectives) == 1 and not is_trained_alone and (sentence := tied_in_words([one.result.score for one in best])):
        console.print(sentence, soft_wrap=True)
    console.print()
    _print_published(console, parents)


def _print_published(console: Console, parents: Sequence[Parent]) -> None:
    """Print the figures of the authors apart: they are of other data and other training."""
    reported = [parent for parent in parents if parent.published.headline]
    if not reported:
        return
    measure = task_of_head(reported[0].architecture).published
    console.print(f"Published networks within the budget: {measure}, as their authors report it", style="italic", soft_wrap=True)
    unit = macs_unit(reported[0].cost.macs)
    table = table_of(("", unit.name, "Mparams", "%"))
    for parent in reported:
        table.add_row(parent.architecture.name, *cost_cells(parent.cost, unit), parent.published.headline)
    console.print(table)
    console.print("Trained on other data for longer: not to be compared with figures above. Costs are those in this space.", soft_wrap=True)
    console.print()


def _notes(best: Sequence[MeasuredResult], targets: Sequence[str], judged_by: str, ranking: str) -> Iterator[str]:
    winner, metric = best[0].result.architecture, best[0].result.score.metric
    widths = "-".join(str(stage.width) for stage in winner.stages)
    depths = "-".join(str(len(stage.blocks)) for stage in winner.stages)
    yield f"The best has depths {depths} and widths {widths}, and holds {mixers_in_words(winner)}."
    if judged_by:
        yield (
            f"The log-likelihood {judged_by} ranks architectures. {sentence_case(metric)} beside it, with its 95 % interval over images, "
            f"is no test {metric}. "
            "The best of many is also the luckiest; retrain before you compare."
        )
    if ranking:
        yield ranking
    for quantity in targets:
        if quantity not in best[0].measured:
            yield f"ms: predicted for {target_of(quantity)}; python -m nas.latency verify writes what measures these there."
            continue
        spread = max(one.measured[quantity].spread for one in best)
        slowest = max(one.measured[quantity].slowness for one in best)
        yield (
            f"ms: measured on {target_of(quantity)}, repeats at most {spread:.0%} apart, at the pace that it had when its table was "
            f"measured (now it took up to {slowest:.2f} times as long); in brackets predicted."
        )


def print_halving(console: Console, record: HalvingRecord) -> None:
    """Print what every candidate scored in every rung, and whether the winner is clearly one."""
    if not record.finished:
        console.print("Successive halving ended before its first rung was over: the winner is the search's choice.\n", soft_wrap=True)
        return
    int8 = [] if record.max_int8_drop is None else ["INT8"]
    headings = ("", *(f"{steps} steps" for steps in record.steps[: record.finished]), *int8)
    table = table_of(headings, "Trained alone")
    for one in record.candidates:
        rungs = [*map(_mean_score, one.rungs), *(["failed"] if one.failure else [])]
        blank = [""] * (record.finished - len(rungs))
        table.add_row(one.label, *rungs, *([*blank, int8_cell(one)] if int8 else []))
    console.print(table)
    console.print(
        f"Log-likelihood and {record.metric} in % on the search images, the mean over seeds where there are several.", soft_wrap=True
    )
    if record.finished < len(record.steps):
        console.print(f"--minutes ended successive halving after {record.finished} of {len(record.steps)} rungs.", soft_wrap=True)
    for note in int8_notes(record):
        console.print(note, soft_wrap=True)
    passed_over = {one.label for one in record.candidates if record.is_passed_over(one)}
    best, *others = [label for label in record.tied if label not in passed_over] or [""]
    if others:
        console.print(f"{best} cannot be told apart from {', '.join(others)}; among them the search's score decides.", soft_wrap=True)
    if published := [one.label for one in record.candidates if one.label in record.tied and not one.competes]:
        console.print(f"The search has found nothing that is surely better than {', '.join(published)}.", soft_wrap=True)
    if sentence := outcome_in_words(record):
        console.print(f"\n{sentence}", soft_wrap=True, highlight=False)
    console.print()


def _mean_score(scores: Sequence[Score]) -> str:
    return f"{mean(score.log_likelihood for score in scores):.3f} {100 * mean(score.value for score in scores):.1f}"


def _latency(target: str, measured: Mapping[str, Measured], predicted: Mapping[str, int]) -> str:
    """Milliseconds as measured, else as predicted, in brackets, else nothing."""
    if target in measured:
        return f"{measured[target].nanoseconds / 1e6:.3g}"
    return f"({predicted[target] / 1e6:.3g})" if target in predicted else ""
