"""Races: surely lost candidates are stopped, possible winners are not, and no stopped candidate scores like a winner."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from space.files import load_space
from supernet.evaluation import evaluate
from supernet.network import Supernet
from supernet.racing import EVERY, Race, decision_points, shuffled
from supernet.score import PerImage
from supernet.tasks.classification import CLASSES


def judged(log_likelihoods: torch.Tensor) -> PerImage:
    return PerImage(log_likelihoods.double(), (log_likelihoods > -0.7).double(), CLASSES.figures)


def run(race: Race, candidate: PerImage) -> tuple[int, bool]:
    """How many images a candidate is judged on, and whether it was stopped."""
    total = len(candidate)
    for end in decision_points(total)[:-1]:
        part = candidate.first(end)
        if race.is_lost(part):
            race.score(part)
            return end, True
    race.score(candidate)
    return total, False


def candidates(count: int, num_images: int, spread: float, generator: torch.Generator) -> torch.Tensor:
    """Log-likelihoods (count, images) of networks that differ by `spread`, on images that differ in difficulty by far more."""
    difficulty = torch.randn(num_images, generator=generator).exp()
    own = spread * torch.randn(count, 1, generator=generator)
    return -(difficulty + (0.3 * torch.randn(count, num_images, generator=generator) + own + 1).abs())


def test_most_races_keep_their_winner_and_need_few_images() -> None:
    kept = used = total = 0
    for seed in range(40):
        generator = torch.Generator().manual_seed(seed)
        table = candidates(40, 1000, 0.15, generator)
        race = Race(1, 1000)
        counts = [run(race, judged(row)) for row in table]
        used += sum(count for count, _ in counts)
        total += table.numel()
        kept += not counts[int(table.double().mean(dim=1).argmax())][1]
    assert kept >= 38
    assert used < total / 3


@given(st.integers(1, 5), st.integers(0, 100))
def test_stopped_candidates_score_below_the_best(keep: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    race, scores = Race(keep, 200), []
    for row in candidates(12, 200, 0.5, generator):
        full = judged(row)
        for end in decision_points(200):
            part = full.first(end)
            if end == 200 or race.is_lost(part):
                scores.append(race.score(part))
                break
    whole = sorted((score.log_likelihood for score in scores if score.num_images == 200), reverse=True)
    assert len(whole) >= keep
    assert all(score.log_likelihood < whole[keep - 1] for score in scores if score.num_images < 200)


def test_an_equal_of_the_best_is_not_stopped() -> None:
    race, best = Race(1, 100), judged(-torch.rand(100))
    race.score(best)
    assert run(race, best) == (100, False)


def test_no_candidate_is_stopped_before_there_are_enough() -> None:
    race = Race(3, 100)
    for level in (1.0, 5.0, 9.0):
        assert run(race, judged(-level - torch.rand(100))) == (100, False)
    assert run(race, judged(-20 - torch.rand(100))) == (EVERY, True)


@pytest.mark.parametrize("num_images", [1, EVERY, EVERY + 1, 1000])
def test_shuffling_loses_no_image(num_images: int) -> None:
    labels = torch.arange(num_images)
    images = labels.float().view(-1, 1, 1, 1).expand(-1, 3, 2, 2)
    batches = shuffled(list(zip(images.split(7), labels.split(7), strict=True)), seed=0)
    assert torch.cat([part for _, part in batches]).sort().values.equal(labels)
    assert all(part[:, 0, 0, 0].equal(of.float()) for part, of in batches)
    ends = torch.tensor([len(of) for _, of in batches]).cumsum(0).tolist()
    assert ends == decision_points(num_images)


def test_an_evaluation_stops_when_is_over_says_so() -> None:
    space = load_space("hybrid-32").replace(num_classes=3)
    supernet = Supernet(space)
    images = torch.randn(80, 3, 32, 32)
    batches = list(zip(images.split(20), torch.arange(80).remainder(3).split(20), strict=True))
    whole = evaluate(supernet, space.smallest(), [images], batches, CLASSES)
    asked: list[int] = []

    def is_over(so_far: PerImage) -> bool:
        asked.append(len(so_far))
        return len(so_far) == 40

    part = evaluate(supernet, space.smallest(), [images], batches, CLASSES, is_over)
    assert asked == [20, 40]
    assert part.log_likelihoods.equal(whole.log_likelihoods[:40])
    assert whole.score.num_images == 80
