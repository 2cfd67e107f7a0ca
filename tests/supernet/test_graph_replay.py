"""Replaying a recorded forward pass: the same results, or one line and the pass as it is."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from space.files import load_space
from space.network import build_network
from supernet.graph_replay import MIN_BATCHES, Forward, GraphReplay, Replay, record_cuda_graph, replayed

FORWARD = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval().requires_grad_(False)


def record(forward: Forward, images: Tensor) -> Replay:
    """As a CUDA graph does: every replay reads the recorded tensor and writes the same one."""
    logits = forward(images)
    return lambda: logits.copy_(forward(images))


@given(st.lists(st.tuples(st.integers(1, 9), st.sampled_from([5, 7])), min_size=1, max_size=8))
def test_results_are_those_of_the_function(shapes: list[tuple[int, int]]) -> None:
    replay = GraphReplay(FORWARD, record)
    batches = [torch.randn(count, 3, side, side) for count, side in shapes]
    # All are kept until the end: a replay must not overwrite what an earlier one returned.
    found = [replay(images) for images in batches]
    for images, logits in zip(batches, found, strict=True):
        torch.testing.assert_close(logits, FORWARD(images))


def test_batches_of_the_first_ones_shape_and_smaller_ones_are_replayed() -> None:
    calls = []

    def forward(images: Tensor) -> Tensor:
        calls.append(images)
        return FORWARD(images)

    replay = GraphReplay(forward, lambda forward, images: lambda: FORWARD(images))
    for count, side in ((4, 5), (4, 5), (3, 5), (1, 5)):
        replay(torch.randn(count, 3, side, side))
    assert not calls
    for count, side in ((5, 5), (4, 6)):
        replay(torch.randn(count, 3, side, side))
    assert [tuple(images.shape) for images in calls] == [(5, 3, 5, 5), (4, 3, 6, 6)]


def test_a_recording_that_fails_costs_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    def fail(forward: Forward, images: Tensor) -> Replay:
        raise RuntimeError("not\npermitted")

    replay, images = GraphReplay(FORWARD, fail), torch.randn(2, 3, 5, 5)
    for _ in range(3):
        assert torch.equal(replay(images), FORWARD(images))
    assert capsys.readouterr().err.splitlines() == ["compile: recording a CUDA graph failed (not permitted); batches run without"]


def test_a_cuda_graph_is_recorded_on_a_gpu_alone_for_many_batches_and_where_the_user_lets_it() -> None:
    cuda, cpu = torch.device("cuda"), torch.device("cpu")
    assert isinstance(replayed(FORWARD, MIN_BATCHES, cuda), GraphReplay)
    assert replayed(FORWARD, MIN_BATCHES - 1, cuda) is FORWARD
    assert replayed(FORWARD, MIN_BATCHES, cuda, may_record=False) is FORWARD
    assert replayed(FORWARD, MIN_BATCHES, cpu) is FORWARD


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("is_bf16", [False, True])
def test_a_cuda_graph_computes_the_networks_logits(is_bf16: bool) -> None:
    network = build_network(load_space("hybrid-32").smallest()).cuda().eval()
    replay = GraphReplay(network, record_cuda_graph)
    with torch.no_grad(), torch.autocast("cuda", torch.bfloat16, enabled=is_bf16):
        for count in (8, 8, 3):
            images = torch.randn(count, 3, 32, 32, device="cuda")
            torch.testing.assert_close(replay(images), network(images))
