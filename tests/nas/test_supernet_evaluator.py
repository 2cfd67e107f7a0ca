"""A supernet's evaluator: its precision."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from nas.evaluators.supernet import SupernetEvaluator
from nas.runs.records.metadata import NetworkMetadata
from space.files import load_space
from supernet.data.preprocessing import preprocessing_at
from supernet.network import Supernet
from supernet.tasks.task import task_of_head
from supernet.training.distributed import own_device


def test_scores_in_bf16_are_close_and_weights_are_written_in_fp32(tmp_path: Path) -> None:
    space, device = load_space("hybrid-32").replace(num_classes=10), own_device()
    images, labels = torch.randn(16, 3, 32, 32, device=device), torch.arange(16, device=device) % 10
    evaluator = SupernetEvaluator(Supernet(space).to(device).requires_grad_(False), [images], [(images, labels)], task_of_head(space))
    half, architecture = replace(evaluator, precision="bf16"), space.smallest()
    for exact, rounded in (
        (evaluator.judged(architecture), half.judged(architecture)),
        (evaluator.judged_uncalibrated(architecture), half.judged_uncalibrated(architecture)),
    ):
        assert not torch.equal(exact.log_likelihoods, rounded.log_likelihoods)
        torch.testing.assert_close(rounded.log_likelihoods, exact.log_likelihoods, rtol=0, atol=0.1)
    metadata = NetworkMetadata(architecture.fingerprint, preprocessing_at(32))
    evaluator.write_weights(architecture, tmp_path / "fp32", metadata)
    half.write_weights(architecture, tmp_path / "bf16", metadata)
    assert (tmp_path / "fp32").read_bytes() == (tmp_path / "bf16").read_bytes()
