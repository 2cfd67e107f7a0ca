"""The report of an audit: a verdict in plain words, tables, and the same as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from nas.audit.analysis import Analysis, Truth
from nas.audit.operator_bias import LEAST
from nas.audit.predictors import Predictor
from nas.audit.sample import LONG
from nas.runs.records.audit import GROUPS, REPORT, SUPERNET, RankCorrelation
from nas.runs.records.tables import markdown_table
from space.files import write_atomically

SURE_BIAS = 2
"""The verdict names biases of more than so many standard errors."""
USEFUL_TAU = 0.4
"""tau from which seven pairs of ten are in order."""


def write_audit(
    folder: Path,
    truth: Truth,
    predictors: Sequence[Predictor],
    analysis: Analysis,
    facts: Mapping[str, str],
    of_operators: Mapping[str, Mapping[str, float]],
) -> list[str]:
    """Write `report.md` and `report.json`; returns the verdict, in sentences.

    Args:
        facts: what the report is of, by heading.
        of_operators: further columns, by heading and operator.
    """
    sentences = verdict(analysis)
    table = [*_heading(truth), *_table(predictors, analysis)]
    lines = [
        "# How far the ranking can be trusted", "", *(f"- {sentence}" for sentence in sentences), "",
        *(f"- {name}: {value}" for name, value in facts.items()), "", *table, "", *_by_operator(analysis, of_operators),
    ]  # fmt: skip
    write_atomically(folder / "report.md", "\n".join(lines) + "\n")
    content = asdict(analysis) | {"facts": dict(facts), "operators": dict(of_operators), "verdict": sentences}
    write_atomically(folder / REPORT, json.dumps(content, indent=1) + "\n")
    return sentences


def verdict(analysis: Analysis) -> list[str]:
    """What the figures allow to say, in sentences."""
    if SUPERNET not in analysis.correlations["overall"]:
        return ["There is no supernet to judge in this run.", *_of_truth(analysis)]
    sentences = []
    for group, where in (("band", "At equal multiply-adds"), ("overall", "Over the whole sample")):
        correlations, perfect = analysis.correlations[group], analysis.ceilings[group].perfect
        ours = correlations[SUPERNET]
        share = f", {ours.tau / perfect[0]:.0%} of what perfect knowledge would reach" if perfect and perfect[0] > 0 else ""
        ranks = f"the supernet ranks {ours.count} architectures with tau {_interval(ours.tau, ours.tau_interval)}{share}"
        sentences.append(f"{where} {ranks}: {_in_words(ours)}.")
        gain, interval = analysis.advantages[group]
        than = "better than" if interval[0] > 0 else "worse than" if interval[1] < 0 else "not shown to differ from"
        sentences.append(f"That is {than} counting multiply-adds (difference {_interval(gain, interval)}).")
        best = max(correlations, key=lambda name: correlations[name].tau)
        if best != SUPERNET:
            figures = _interval(correlations[best].tau, correlations[best].tau_interval)
            sentences.append(f"The best predictor there is {best}, with tau {figures}; chosen afterwards, so flattered.")
    sure = {name: bias for name, bias in analysis.biases.items() if abs(bias.mean) > SURE_BIAS * bias.stderr and bias.count >= LEAST}
    if sure:
        words = ", ".join(f"{name} ({bias.mean:+.2f} sd)" for name, bias in sure.items())
        sentences.append(f"It ranks too high (+) or too low (-), by more than {SURE_BIAS} standard errors, what holds {words}.")
    return sentences + _of_truth(analysis)


def _of_truth(analysis: Analysis) -> list[str]:
    sentences = []
    if spread := analysis.ceilings["band"].spread:
        times = f" ({spread.architectures / spread.seeds:.1f} to 1)" if spread.seeds else ""
        differ = f"the truths of architectures differ by a standard deviation of {spread.architectures:.3f} nats"
        sentences.append(f"At equal multiply-adds {differ}, the seeds of one architecture by {spread.seeds:.3f}{times}.")
    longer = analysis.ceilings["overall"].longer
    if longer is None:
        return sentences
    holds = "holds" if longer.tau_interval[0] > 0 else "is not shown to hold"
    figures = _interval(longer.tau, longer.tau_interval)
    return [*sentences, f"The truth {holds} in trainings {LONG} times as long: tau {figures} on {longer.count} architectures."]


def _in_words(found: RankCorrelation) -> str:
    if found.tau_interval[0] <= 0:
        return "no better than chance, as far as this sample can tell"
    return "worth having" if found.tau >= USEFUL_TAU else "weak, but better than chance"


def _heading(truth: Truth) -> list[str]:
    overall, band = (len(truth.rows(group)) for group in GROUPS)
    return [
        "Kendall's tau (b) and Spearman's rho of scores with the mean log-likelihood of stand-alone training, with 95 % bootstrap",
        f"intervals over architectures: all {overall} of them, and the {band} within 5 % of one number of multiply-adds.",
        "",
    ]


def _table(predictors: Sequence[Predictor], analysis: Analysis) -> list[str]:
    rows = []
    for predictor in predictors:
        seconds = "-" if predictor.core_seconds is None else f"{predictor.core_seconds:.2g}"
        rows.append([predictor.name, seconds, *_cells([analysis.correlations[group][predictor.name] for group in GROUPS])])
    ceilings = [analysis.ceilings[group] for group in GROUPS]
    rows.append(["*one seed of the truth by another*", "", *_cells([ceiling.seeds for ceiling in ceilings])])
    rows.append([f"*{LONG} times the steps by the truth*", "", *_cells([ceiling.longer for ceiling in ceilings])])
    perfect = [_interval(*ceiling.perfect) if ceiling.perfect else "" for ceiling in ceilings]
    rows.append(["*a perfect predictor, simulated*", "", perfect[0], "", perfect[1], ""])
    return markdown_table(["predictor", "core-s each", "tau, all", "rho, all", "tau, equal MACs", "rho, equal MACs"], rows)


def _cells(correlations: Sequence[RankCorrelation | None]) -> list[str]:
    pairs = [(_interval(one.tau, one.tau_interval), _interval(one.rho, one.rho_interval)) if one else ("", "") for one in correlations]
    return [cell for pair in pairs for cell in pair]


def _by_operator(analysis: Analysis, of_operators: Mapping[str, Mapping[str, float]]) -> list[str]:
    judged = SUPERNET if SUPERNET in analysis.correlations["overall"] else next(iter(analysis.correlations["overall"]))
    headings, rows = ["operator", "over-rated by, sd", "architectures", *of_operators], []
    for name, bias in analysis.biases.items():
        more = [f"{values[name]:,.3g}" if name in values else "" for values in of_operators.values()]
        rows.append([name, f"{bias.mean:+.2f} ± {bias.stderr:.2f}", str(bias.count), *more])
    about = "The standardised rank by the score less that by the truth, weighted by the operator's share of the blocks."
    return [f"## By operator, for {judged}", "", about, "", *markdown_table(headings, rows)]


def _interval(value: float, interval: tuple[float, float]) -> str:
    return f"{value:.2f} [{interval[0]:.2f}, {interval[1]:.2f}]"
