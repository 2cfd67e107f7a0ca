"""`ablation.json`: what replacing the mixer of one block of a search's winner changes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from nas.runs.records.json_file import read_record, write_record

FILE = "ablation.json"


@dataclass(frozen=True)
class Effect:
    """What one replacement changes, on the search images.

    Args:
        stage, block: of the replaced mixer, counted from 1.
        mixer: label of the new one.
        macs, params: of the whole network with it.
        log_likelihood: of the network with the new mixer less that of the winner, in nats; `stderr` is its standard error.
        headline: likewise of the task's headline figure, a share of 1.
    """

    stage: int
    block: int
    mixer: str
    macs: int
    params: int
    log_likelihood: float
    stderr: float
    headline: float


@dataclass(frozen=True)
class AblationRecord:
    """All replacements that were scored.

    Args:
        winner: fingerprint of the architecture whose mixers were replaced.
        num_possible: how many replacements there are, of which a bounded number is scored.
        effects: by fingerprint of the architecture with the new mixer.
    """

    winner: str
    num_images: int
    num_possible: int
    effects: Mapping[str, Effect]

    @property
    def by_block(self) -> dict[tuple[int, int], list[Effect]]:
        """The effects of the replacements in each stage and block, best first, in order of execution."""
        blocks: dict[tuple[int, int], list[Effect]] = {}
        for effect in sorted(self.effects.values(), key=lambda one: (one.stage, one.block, -one.log_likelihood)):
            blocks.setdefault((effect.stage, effect.block), []).append(effect)
        return blocks


def write_ablation(run: Path, record: AblationRecord) -> None:
    """Write the record into a run's directory."""
    write_record(run / FILE, record)


def read_ablation(run: Path, winner: str) -> AblationRecord | None:
    """The record of a run's directory; None where there is none of the winner with this fingerprint. RunError where it is damaged."""
    found = read_record(run / FILE, AblationRecord, "scores of nas.report --ablation")
    return found if found and found.winner == winner and found.effects else None
