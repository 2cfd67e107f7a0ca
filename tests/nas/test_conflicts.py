"""Cosines of operators' gradients on what they share."""

from __future__ import annotations

from itertools import combinations

import pytest
import torch

from nas.audit.gradient_conflicts import gradient_cosines, mean_cosines
from space.files import load_space
from supernet.network import Supernet
from supernet.tasks.classification import CLASSES

SPACE = load_space("hybrid-32").replace(num_classes=3)


def test_every_pair_of_mixers_is_compared_once_a_context_and_nothing_is_changed() -> None:
    supernet = Supernet(SPACE)
    before = {name: tensor.clone() for name, tensor in supernet.shared.items()}
    images, labels = torch.randn(6, 3, 32, 32), torch.arange(6) % 3
    contexts = [SPACE.smallest(), SPACE.replay(SPACE.parameters_of(SPACE.smallest()) | {"stage1.width": 48})]
    cosines = gradient_cosines(supernet, contexts, images, labels, CLASSES)
    mixers = sorted({mixer for pair in cosines for mixer in pair})
    assert set(cosines) == set(combinations(mixers, 2))
    assert set(mixers) == {mixer.type for of_stage in SPACE.mixers for mixer in of_stage}
    assert all(len(values) <= len(contexts) and all(abs(value) < 1 + 1e-5 for value in values) for values in cosines.values())
    assert cosines == gradient_cosines(supernet, contexts, images, labels, CLASSES)
    assert all(tensor.equal(before[name]) and tensor.grad is None for name, tensor in supernet.shared.items())
    assert set(mean_cosines(cosines)) == set(mixers)


def test_means_are_over_pairs_and_contexts() -> None:
    means = mean_cosines({("a", "b"): [1.0, 0.0], ("a", "c"): [-0.2], ("b", "c"): [0.4]})
    assert means == pytest.approx({"a": 0.8 / 3, "b": 1.4 / 3, "c": 0.1})
