"""The columns of a score in a table: what architectures are ranked by comes first, the headline figure stands beside it."""

from __future__ import annotations

from supernet.intervals import of_score
from supernet.score import Score


def score_headings(metric: str, has_images: bool) -> tuple[str, ...]:
    """Headings; there is no headline figure where a caller's evaluator returned only numbers."""
    return ("log-lik.", f"{metric} %") if has_images else ("score",)


def score_cells(score: Score) -> tuple[str, ...]:
    """What these columns hold; the headline figure has its 95 % interval over images."""
    ranked_by = f"{score.log_likelihood:.3f}"
    return (ranked_by, of_score(score).in_percent) if score.num_images else (ranked_by,)
