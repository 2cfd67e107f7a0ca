"""The writing side of a study: what to evaluate next is proposed inside the band, told, and proposed again where it was cut off.

Any number of processes may use one study at a time. They take turns to propose, and a trial appears with all of its parameters
in one step: whatever moment a process dies at, the study holds no half of a proposal, and no value without the trial's files.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from itertools import count
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import FrozenTrial, TrialState, create_trial

from nas import __version__
from nas.runs.process_id import ProcessId, this_process_id
from nas.runs.storage_url import without_password
from nas.samplers.by_name import make_sampler
from nas.samplers.past import PLACE, Reader
from nas.study.artifacts import Artifacts
from nas.study.heartbeat import Heartbeat
from nas.study.objectives import Objective
from nas.study.record import SECONDS, Proposal, Result, StudyError, StudyRecord
from nas.study.schedule import FAILURE, INTERRUPTED, Schedule, Turn
from nas.study.storage import open_storage, told
from nas.study.tally import PASSED_OVER, SCORE, Tally, tally_of
from proxies.band.architecture_band import ArchitectureBand
from proxies.cost import Budget
from proxies.macs import cost_of
from proxies.published import Parent
from space.files import dump_space
from supernet.accuracy import Score

OWNER = "owner"
"""The user attribute of a trial that says which process evaluates it, or has it evaluated."""
EXCESS = "over_budget"
"""The user attribute of a trial that says by which share of the limit it lies outside the budget, so never above 0."""


class ArchitectureStudy(StudyRecord):
    """A search's study: gives architectures inside the band to evaluate, and remembers what they scored.

    Args:
        storage: URL of an Optuna storage.
        name: of the study inside the storage; it is continued where it exists.
        band: what may be proposed.
        budget: what the user asked for; the band's latencies are limited more tightly, by what prediction may err.
        objectives: what a trial is told, accuracy among them.
        sampler: name of a sampler of `nas.samplers`.
        seed: of the sampler.
        lag: of the sampler, as `nas.samplers.in_band.InBandSampler` explains it.
        first: published networks in the band, to be evaluated before anything that the sampler proposes.
        judge: what gives the scores, in a word: those of different judges do not belong into one study.
        artifacts: folder for what the dashboard shows of every trial; without one it shows no more than numbers.
    """

    def __init__(
        self, storage: str, name: str, band: ArchitectureBand, budget: Budget, objectives: Sequence[Objective], sampler: str, seed: int,
        lag: int = 1, first: Sequence[Parent] = (), judge: str = "", artifacts: Path | None = None,
    ) -> None:  # fmt: skip
        self._url = storage
        opened = open_storage(storage)
        self._turn, self._optuna = opened.turn, opened.optuna
        with told(storage), self._turn():
            directions = [objective.direction for objective in objectives]
            study = optuna.create_study(storage=self._optuna, study_name=name, directions=directions, load_if_exists=True)
            facts = {
                "space": dump_space(band.space), "budget": str(budget), "band": str(band.budget), "sampler": sampler, "seed": seed,
                "lag": lag, "judge": judge, "objectives": [asdict(objective) for objective in objectives],
            }  # fmt: skip
            found = study.user_attrs
            for key, value in facts.items():
                if key not in found:
                    study.set_user_attr(key, value)
                elif found[key] != value:
                    where = without_password(storage)
                    raise StudyError(f"{where}: study {name!r} is of another search (its {key} differs); choose another --out or --storage")
            study.set_user_attr("version", __version__)
            with warnings.catch_warnings():
                # Experimental in Optuna, and what makes the dashboard name them.
                warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
                study.set_metric_names([objective.name for objective in objectives])
        super().__init__(study)
        self.band = band
        self._first = tuple(first)
        self._schedule = Schedule(lag)
        self._read = Reader()
        self._artifacts = None if artifacts is None else Artifacts(artifacts, name, self._optuna)
        self._proposer = make_sampler(sampler, band, seed, lag)
        self._study_id = self._optuna.get_study_id_from_name(name)
        self._heartbeat = Heartbeat(self._optuna, self._study_id)
        self._distributions: dict[str, BaseDistribution] = {
            name: CategoricalDistribution(options) for name, options in band.space.slots.items()
        }
        # Numbers of the trials that this process evaluates.
        self._open: set[int] = set()
        self._num_results = super().num_results

    @property
    def num_results(self) -> int:
        """Number of architectures evaluated, those of other processes up to the last question for a proposal."""
        return self._num_results

    def tally(self) -> Tally:
        """How the study stands, whoever evaluates; quick, also where there are thousands of trials. StorageError where that fails."""
        with told(self._url):
            return tally_of(self._trials())

    @contextmanager
    def used(self) -> Iterator[None]:
        """While a search uses the study: gives signs of life; trials that are left under way at the end count as interrupted."""
        with told(self._url), self._heartbeat.beating():
            self._restore_artifacts()
            try:
                yield
            finally:
                for number in self._open:
                    self._end(number, {FAILURE: INTERRUPTED}, TrialState.FAIL)
                self._open.clear()

    def ask(self, num_results: int) -> Proposal | None:
        """The next architecture to evaluate: inside the band, and none that a trial has had already but one that was interrupted.

        Args:
            num_results: no more than are needed for so many results are given out.

        Returns:
            None where an evaluation under way has to end first, here or in another process.

        Raises:
            SpaceExhausted: every member of the band is in the study.
        """
        with self._turn():
            trials = self._settled(self._trials())
            turn = self._schedule.next_turn(trials, num_results)
            self._num_results = self._schedule.num_complete
            return None if turn is None else self._begin(turn, trials)

    def tell(self, proposal: Proposal, score: Score, seconds: float) -> Result | None:
        """Record what a proposal scored, and how long that took; None where this process was taken for dead and another evaluates it."""
        self._open.remove(proposal.number)
        values = [objective.value(score, proposal.amounts) for objective in self.objectives]
        attributes = {SCORE: asdict(score), SECONDS: round(seconds, 3)}
        if not self._end(proposal.number, attributes, TrialState.COMPLETE, values):
            return None
        self._num_results += 1
        return Result(proposal.number, proposal.architecture, proposal.amounts, proposal.place, score, seconds)

    def fail(self, proposal: Proposal, reason: str) -> None:
        """A proposal's evaluation has failed for good: its trial failed, and its place in the sequence is given up."""
        self._open.remove(proposal.number)
        self._end(proposal.number, {FAILURE: reason}, TrialState.FAIL)

    def _begin(self, turn: Turn, trials: Sequence[FrozenTrial]) -> Proposal:
        passed_over = 0
        if turn.repeated is not None:
            row, origin = self.band.rows.row(turn.repeated.params), turn.repeated.user_attrs["proposal"]
        elif turn.place < len(self._first):
            parent = self._first[turn.place].architecture
            row, origin = self.band.row_of(parent), parent.name
        else:
            chosen = self._proposer.choose(self._study, trials, turn.place)
            row, origin, passed_over = chosen.row, chosen.origin, chosen.passed_over
        architecture = self.band.architecture(row)
        # Counted part by part, beside the tables that the sampler went by.
        cost = cost_of(architecture)
        amounts = self.band.costs_of(row) | {"macs": cost.macs, "params": cost.params}
        if not self.band.budget.admits(amounts):
            raise AssertionError(f"trial {len(trials)}: {amounts} lies outside the band of {self.band.budget}")
        attributes = {
            "fingerprint": architecture.fingerprint, "proposal": origin, PLACE: turn.place, OWNER: asdict(this_process_id()),
            EXCESS: round(self.band.budget.excess(amounts), 6), PASSED_OVER: passed_over,
        }  # fmt: skip
        trial = create_trial(
            state=TrialState.RUNNING, params=self.band.rows.parameters(row), distributions=self._distributions,
            user_attrs=amounts | attributes,
        )  # fmt: skip
        trial_id = self._optuna.create_new_trial(self._study_id, trial)
        # The next one, unless somebody else has enqueued a trial meanwhile, who takes no turns.
        number = next(number for number in count(len(trials)) if self._id_of(number) == trial_id)
        self._open.add(number)
        if self._artifacts is not None:
            self._artifacts.upload(trial_id, number, architecture, self._origin(number, amounts | attributes))
        return Proposal(number, architecture, amounts, turn.place)

    def _restore_artifacts(self) -> None:
        """Write those that were deleted, or that another host has kept to itself."""
        if self._artifacts is None:
            return
        for trial in self._trials():
            if lost := self._artifacts.lost(trial):
                origin = self._origin(trial.number, trial.user_attrs)
                self._artifacts.restore(lost, trial.number, self.space.replay(trial.params), origin)

    def _settled(self, trials: list[FrozenTrial]) -> list[FrozenTrial]:
        """The trials, where those that a dead process has left under way have failed."""
        left = [trial for trial in self._read(trials)[1] if trial.state is TrialState.RUNNING and self._is_left(trial)]
        for trial in left:
            self._end(trial.number, {FAILURE: INTERRUPTED}, TrialState.FAIL)
        return self._trials() if left else trials

    def _is_left(self, trial: FrozenTrial) -> bool:
        owner = ProcessId(**trial.user_attrs[OWNER]) if OWNER in trial.user_attrs else None
        if owner is None or owner == this_process_id():
            # Nobody's, or of an earlier search of this very process.
            return trial.number not in self._open
        return self._heartbeat.is_dead(owner)

    def _end(self, number: int, attributes: Mapping[str, Any], state: TrialState, values: Sequence[float] | None = None) -> bool:
        """Give a trial its last user attributes, its values and its state; False where it has ended already."""
        trial_id = self._id_of(number)
        try:
            for key, value in attributes.items():
                self._optuna.set_trial_user_attr(trial_id, key, value)
            return self._optuna.set_trial_state_values(trial_id, state, values)
        except UpdateFinishedTrialError:
            return False

    def _id_of(self, number: int) -> int:
        return self._optuna.get_trial_id_from_study_id_trial_number(self._study_id, number)

    def _trials(self) -> list[FrozenTrial]:
        return self._study.get_trials(deepcopy=False)
