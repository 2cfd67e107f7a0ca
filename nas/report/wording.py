"""Names and descriptions of a search's architectures, for the screen and the page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from nas.runs.records.role import Role
from nas.study.record import StudyRecord
from space.architecture import Architecture
from supernet.score import Score


def names_of_files(study: StudyRecord, count: int) -> list[str]:
    """What the files of so many architectures are called, best first."""
    return [("best" if rank == 1 else f"{name_of_others(study)}-{rank}") for rank in range(1, count + 1)]


def name_of_others(study: StudyRecord) -> str:
    """What the files after the best are called: of the next best, or with several objectives of the other points of the front."""
    return "next" if len(study.objectives) == 1 else "front"


def role_of_rank(study: StudyRecord, rank: int) -> Role:
    """The role of one of these architectures; the best has rank 1."""
    return Role.WINNER if rank == 1 else Role.NEXT_BEST if len(study.objectives) == 1 else Role.FRONT


def sentence_case(metric: str) -> str:
    """A metric's name at the start of a sentence: `Accuracy`, `mIoU`."""
    return metric.capitalize() if metric.islower() else metric


def tied_in_words(scores: Sequence[Score]) -> str:
    """Which of the next best are as good as the best, as far as that many images can say; empty where none is.

    Args:
        scores: those of the best and of the next best, in this order.
    """
    best = scores[0]
    # The error of one score. Paired differences over the images would be more certain, but how a short training ranks is not.
    tied = [rank for rank, one in enumerate(scores[1:], start=2) if best.log_likelihood - one.log_likelihood <= best.log_likelihood_stderr]
    if not best.num_images or not tied:
        return ""
    others = ", ".join(f"next {rank}" for rank in tied)
    return f"The best cannot be told apart from {others}: their log-likelihoods lie within one standard error of its own."


def mixers_in_words(architecture: Architecture) -> str:
    """How many blocks have which mixer, most frequent first: `5 ssa, 3 window`."""
    counts = Counter(block.mixer.type for stage in architecture.stages for block in stage.blocks)
    return ", ".join(f"{count} {name}" for name, count in counts.most_common())
