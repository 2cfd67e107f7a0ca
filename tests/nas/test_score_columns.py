"""What tables say of scores: the ranking first, accuracies with intervals, who cannot be told apart."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas.report.score_columns import score_cells, score_headings
from nas.report.wording import tied_in_words
from supernet.score import Score


def score(log_likelihood: float, hits: int = 50, images: int = 100) -> Score:
    share = hits / images
    return Score(share, (share * (1 - share) / images) ** 0.5, log_likelihood, 0.1, images)


@pytest.mark.parametrize(
    ("found", "cells"),
    [
        # Wilson's intervals, as `statsmodels.stats.proportion.proportion_confint(..., method="wilson")` gives them.
        (score(-1.25, 50), ("-1.250", "50.0 [40.4, 59.6]")),
        (score(-0.01, 100), ("-0.010", "100.0 [96.3, 100.0]")),
        (score(-9.0, 0), ("-9.000", "0.0 [0.0, 3.7]")),
        (Score.of_number(0.5), ("0.500",)),
    ],
)
def test_the_ranking_comes_first_and_accuracy_beside_it_with_its_interval(found: Score, cells: tuple[str, ...]) -> None:
    assert score_cells(found) == cells
    headings = score_headings(found.metric, found.num_images > 0)
    assert headings[0] in ("log-lik.", "score")
    assert len(headings) == len(cells)


@given(hits=st.integers(0, 2000), images=st.integers(1, 2000))
def test_no_accuracy_is_without_a_doubt(hits: int, images: int) -> None:
    accuracy = score_cells(score(-1.0, min(hits, images), images))[1]
    low, high = accuracy.partition("[")[2].rstrip("]").split(", ")
    assert 0 <= float(low) < float(high) <= 100


def test_those_within_a_standard_error_cannot_be_told_apart_from_the_best() -> None:
    words = tied_in_words([score(-1.0), score(-1.05), score(-1.2), score(-0.95)])
    assert words.startswith("The best cannot be told apart from next 2, next 4:")
    assert tied_in_words([score(-1.0), score(-1.2)]) == tied_in_words([score(-1.0)]) == ""
    assert tied_in_words([Score.of_number(1.0), Score.of_number(1.0)]) == ""
