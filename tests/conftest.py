"""What all tests share: one thread (the tensors are small), a fixed seed a test, no deadline for generated examples.

Trainings run on a GPU where there is one. A test that brings tensors of its own asks the network, the images that the forward is
given, or `own_device()` where they belong, and compares in the main memory.
"""

import os

import pytest
import torch
from hypothesis import settings

from supernet.training import checkpointer, loop

pytest_plugins = ["tests.postgresql"]

torch.set_num_threads(1)
if torch.cuda.is_available():
    # Trainings are compared bit for bit; some of a GPU's fast kernels add up in any order.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True, warn_only=True)
settings.register_profile("tests", deadline=None, derandomize=True)
settings.load_profile("tests")


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def _reading_every_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests look at trainings after every step, on a GPU too."""
    monkeypatch.setattr(loop, "steps_read_together", lambda device: 1)


@pytest.fixture
def saving_every_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trainings write a checkpoint after every step."""
    monkeypatch.setattr(checkpointer, "SECONDS_UNSAVED", 0.0)
    monkeypatch.setattr(checkpointer, "WRITING_SHARE", float("inf"))
