"""What all tests share: one thread (the tensors are small), a fixed seed a test, no deadline for generated examples."""

import pytest
import torch
from hypothesis import settings

from supernet.training import engine

pytest_plugins = ["tests.postgresql"]

torch.set_num_threads(1)
settings.register_profile("tests", deadline=None, derandomize=True)
settings.load_profile("tests")


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


@pytest.fixture
def saving_every_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trainings write a checkpoint after every step."""
    monkeypatch.setattr(engine, "SECONDS_UNSAVED", 0.0)
    monkeypatch.setattr(engine, "WRITING_SHARE", float("inf"))
