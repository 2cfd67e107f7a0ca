"""Scores on held-out images: image by image, and of all of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from pydantic import TypeAdapter
from torch import Tensor

ACCURACY = "accuracy"


@dataclass(frozen=True)
class Figure:
    """How good the outputs for some images are, a share of 1, such as accuracy or mean IoU, and its standard error over images."""

    name: str
    value: float
    stderr: float


Summary = Callable[[Tensor], tuple[Figure, ...]]
"""Counts (N, ...) of some images to the figures of all of them, the headline figure first."""


@dataclass(frozen=True)
class Score:
    """The headline figure of a task and the mean log-likelihood on held-out images, with their standard errors.

    Args:
        value, stderr: of the headline figure, a share of 1.
        log_likelihood: what architectures are ranked by, in nats, an image's or a pixel's; without images, a caller's number,
            greater for the better.
        num_images: fewer where an evaluation was stopped; 0 where a caller's evaluator returned only a number.
        metric: what the headline figure is called.
        others: the further figures of the task.
    """

    value: float
    stderr: float
    log_likelihood: float
    log_likelihood_stderr: float
    num_images: int
    metric: str = ACCURACY
    others: tuple[Figure, ...] = ()

    @classmethod
    def of_number(cls, value: float) -> Score:
        """The score of a caller's number, greater for the better."""
        return cls(0.0, 0.0, value, 0.0, 0)

    @classmethod
    def parsed(cls, fields: Any) -> Score:
        """The score whose fields, as `dataclasses.asdict` gives them, were written as JSON."""
        return _SCORE.validate_python(fields)

    @property
    def facts(self) -> Mapping[str, float]:
        """What a file holds of it, by name: the log-likelihood and every figure, each with its standard error, and the images."""
        ranked_by = Figure("log_likelihood", self.log_likelihood, self.log_likelihood_stderr)
        figures = (ranked_by, Figure(self.metric, self.value, self.stderr), *self.others)
        by_name = {one.name.replace(" ", "_"): one for one in figures}
        facts = {f"{name}{end}": value for name, one in by_name.items() for end, value in (("", one.value), ("_stderr", one.stderr))}
        return facts | {"num_images": self.num_images}

    @property
    def in_words(self) -> str:
        """The log-likelihood with the headline figure in per cent, or the number that stands for the score."""
        return f"log-lik. {self.log_likelihood:.3f} ({100 * self.value:.1f} %)" if self.num_images else f"{self.log_likelihood:.4g}"


_SCORE = TypeAdapter(Score)


@dataclass(frozen=True, eq=False)
class PerImage:
    """What every image contributes to a score.

    Args:
        log_likelihoods: (N,), in double precision.
        counts: (N, ...), what the figures are made of, in double precision; see the task.
        summary: makes figures of counts.
    """

    log_likelihoods: Tensor
    counts: Tensor
    summary: Summary

    def __len__(self) -> int:
        return len(self.log_likelihoods)

    def first(self, count: int) -> PerImage:
        """The first images alone."""
        return replace(self, log_likelihoods=self.log_likelihoods[:count], counts=self.counts[:count])

    @property
    def figures(self) -> tuple[Figure, ...]:
        """The figures of all images, the headline figure first."""
        return self.summary(self.counts)

    @property
    def score(self) -> Score:
        """The figures, and the mean log-likelihood with its standard error."""
        headline, *others = self.figures
        return Score(
            headline.value,
            headline.stderr,
            log_likelihood=self.log_likelihoods.mean().item(),
            log_likelihood_stderr=self.log_likelihoods.std(correction=0).item() / math.sqrt(len(self)),
            num_images=len(self),
            metric=headline.name,
            others=tuple(others),
        )
