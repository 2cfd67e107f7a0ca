"""The Optuna side of a search: one study, which alone is the search's memory, and those who propose, evaluate and read its trials."""

from __future__ import annotations

from nas.study.architecture_study import ArchitectureStudy
from nas.study.record import Proposal, Result, StudyError, StudyRecord, open_study

__all__ = ["ArchitectureStudy", "Proposal", "Result", "StudyError", "StudyRecord", "open_study"]
