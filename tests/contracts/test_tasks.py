"""Every task trains and judges: its batches, its loss, its scores and their standard errors agree with each other."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest
import torch
from torch import Tensor

from supernet.evaluation import judge
from supernet.intervals import of_score
from supernet.score import PerImage, Score
from supernet.tasks.task import TASKS, Task, TaskError, register_task, score_facts, task_named, task_of_images
from supernet.training.losses import Distilled, loss_of


@pytest.fixture(params=sorted(TASKS))
def task(request: pytest.FixtureRequest) -> Task:
    return TASKS[request.param]


def batches_of(task: Task, count: int = 20, batch_size: int | None = None) -> list[tuple[Tensor, Tensor]]:
    return list(task.evaluation_batches(task.example(), np.arange(count), 64, batch_size))


def logits_of(images_BCHW: Tensor, targets: Tensor, num_classes: int) -> Tensor:
    """Random logits of the shape that the task's networks have: a map where the targets are maps."""
    generator = torch.Generator().manual_seed(int(images_BCHW.sum().abs() * 1000) % 2**31)
    size = () if targets.ndim == 1 else (images_BCHW.shape[2] // 8, images_BCHW.shape[3] // 8)
    return torch.randn(len(images_BCHW), num_classes, *size, generator=generator)


def judged(task: Task, batches: list[tuple[Tensor, Tensor]]) -> PerImage:
    num_classes = task.example().num_classes
    targets = iter([targets for _, targets in batches])
    return judge(lambda images: logits_of(images, next(targets), num_classes), batches, task)


def test_an_image_set_names_its_task(task: Task) -> None:
    assert task_of_images(task.example()) is task


def test_training_batches_have_images_and_targets_of_one_size(task: Task) -> None:
    images = task.example()
    batches = task.training_batches(images, np.arange(40), 8, 64, seed=1)
    first, second = batches.stream(3, 5)
    again = next(batches.stream(3, 4))
    assert first[0].shape == (8, 3, 64, 64)
    assert len(first[1]) == 8
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first[0], second[0])


def test_the_loss_has_a_gradient_and_falls_towards_the_targets(task: Task) -> None:
    images = task.example()
    pixels, targets = next(task.training_batches(images, np.arange(40), 8, 64, seed=1).stream(0, 1))
    logits = logits_of(pixels, targets, images.num_classes).requires_grad_()
    loss = loss_of(logits, targets, task, label_smoothing=0.0)
    loss.backward()
    assert logits.grad is not None
    better = (logits - 10 * logits.grad).detach()
    assert loss_of(better, targets, task, 0.0) < loss
    assert loss_of(logits, targets, task, 0.1) != loss
    target = logits.detach().softmax(1)
    assert torch.isfinite(loss_of(Distilled(logits, target), targets, task, 0.0))
    assert torch.isfinite(loss_of(Distilled(logits, target, weight=0.5, temperature=2.0), targets, task, 0.0))


def test_scores_do_not_depend_on_how_images_are_batched(task: Task) -> None:
    whole, single = (judged(task, batches_of(task, batch_size=size)) for size in (20, 20))
    assert whole.score == single.score
    images, targets = batches_of(task, batch_size=20)[0]
    logits = logits_of(images, targets, task.example().num_classes)
    together = task.judge(logits, targets)
    apart = [task.judge(logits[i : i + 1], targets[i : i + 1]) for i in range(20)]
    for at in (0, 1):
        torch.testing.assert_close(together[at], torch.cat([one[at] for one in apart]))


def test_a_score_has_all_figures_of_its_task_and_survives_json(task: Task) -> None:
    score = judged(task, batches_of(task)).score
    assert (score.metric, *(one.name for one in score.others)) == task.metrics
    assert score.num_images == 20
    assert score.log_likelihood < 0 <= min(score.value, score.stderr, score.log_likelihood_stderr)
    plain = {each.name: getattr(score, each.name) for each in fields(score)}
    assert Score.parsed(plain | {"others": [vars(one) for one in score.others]}) == score
    assert score.facts.keys() <= score_facts()
    interval = of_score(score)
    assert 0 <= interval.low <= score.value <= interval.high <= 1


def test_standard_errors_shrink_with_the_root_of_the_number_of_images(task: Task) -> None:
    few = judged(task, batches_of(task, 20))
    many = PerImage(few.log_likelihoods.repeat(16), few.counts.repeat(16, *[1] * (few.counts.ndim - 1)), few.summary)
    for one, other in zip(few.figures, many.figures, strict=True):
        assert other.value == pytest.approx(one.value)
        assert other.stderr == pytest.approx(one.stderr / 4, rel=0.1)


def test_perfect_outputs_are_perfect(task: Task) -> None:
    num_classes = task.example().num_classes
    batches = batches_of(task)
    targets = iter([targets for _, targets in batches])

    def perfect(_: Tensor) -> Tensor:
        target = next(targets).long()
        hot = torch.nn.functional.one_hot(target.clamp_max(num_classes), num_classes + 1)[..., :num_classes]
        return 50.0 * hot.movedim(-1, 1)

    score = judge(perfect, batches, task).score
    assert score.value == pytest.approx(1)
    assert all(one.value == pytest.approx(1) for one in score.others)
    assert score.log_likelihood == pytest.approx(0, abs=1e-6)


def test_a_task_is_registered_once(task: Task) -> None:
    with pytest.raises(TaskError, match="registered already"):
        register_task(task)
    with pytest.raises(TaskError, match=f"expected one of .*{task.name}"):
        task_named("depth")
