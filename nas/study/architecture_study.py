"""The writing side of a study: it proposes architectures inside the band, and stores what they scored.

Any number of processes may use one study at a time. A lock lets one of them propose at a time, and a trial is stored with all of its
parameters in one step. So whenever a process dies, the study holds no incomplete proposal, and no value without the trial's files.
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
from nas.samplers.in_band import Chosen
from nas.samplers.observed_trials import PROPOSAL_INDEX, SourceTrials
from nas.study import trial_attributes as attr
from nas.study.artifacts import Artifacts
from nas.study.heartbeat import Heartbeat
from nas.study.objectives import Objective
from nas.study.record import Proposal, Result, StudyError, StudyRecord, StudySummary
from nas.study.schedule import Next, Schedule
from nas.study.source_trials import SOURCE, as_attribute, source_in
from nas.study.storage import open_storage, storage_errors
from proxies.band.architecture_band import ArchitectureBand
from proxies.cost import Budget
from proxies.memory.prediction import predicted_costs
from proxies.published import Parent
from space.files import dump_space
from supernet.score import Score


class ArchitectureStudy(StudyRecord):
    """A search's study: gives out architectures of the band to evaluate, and stores their scores.

    Args:
        storage: URL of an Optuna storage.
        name: of the study inside the storage; if it exists, it is continued.
        band: what may be proposed.
        budget: what the user asked for; the band's latency limits are lower, by the error of predictions.
        objectives: accuracy and, perhaps, costs.
        sampler: name of a sampler of `nas.samplers`.
        seed: of the sampler.
        staleness: of the sampler, see `nas.samplers.in_band.InBandSampler`.
        published: networks in the band to evaluate before anything that the sampler proposes.
        judge: name of what gives the scores. Scores of different judges do not belong into one study.
        artifacts: folder for the files that the dashboard shows of every trial; without it there are none.
        source: what the sampler of a new study learns from besides; a study that exists keeps its own.

    Raises:
        StudyError: the study was made with other settings.
        StorageError: the storage cannot be used.
    """

    def __init__(
        self, storage: str, name: str, band: ArchitectureBand, budget: Budget, objectives: Sequence[Objective], sampler: str, seed: int,
        staleness: int = 1, published: Sequence[Parent] = (), judge: str = "", artifacts: Path | None = None,
        source: SourceTrials | None = None,
    ) -> None:  # fmt: skip
        self._url = storage
        opened = open_storage(storage)
        self._lock, self._optuna = opened.lock, opened.optuna
        settings = {
            "space": dump_space(band.space), "budget": str(budget), "band": str(band.budget), "sampler": sampler, "seed": seed,
            "staleness": staleness, "judge": judge, "objectives": [asdict(objective) for objective in objectives],
        }  # fmt: skip
        with storage_errors(storage), self._lock():
            super().__init__(_create_or_continue(self._optuna, name, objectives, settings, source, without_password(storage)))
            self._sampler = make_sampler(sampler, band, seed, staleness, source_in(self.study.user_attrs))
        self.band = band
        self._published = tuple(published)
        self._schedule = Schedule(staleness)
        self._artifacts = None if artifacts is None else Artifacts(artifacts, name, self._optuna)
        self._study_id = self._optuna.get_study_id_from_name(name)
        self._heartbeat = Heartbeat(self._optuna, self._study_id)
        # Numbers of the trials that this process evaluates.
        self._own: set[int] = set()
        self._num_results = super().num_results

    @property
    def num_results(self) -> int:
        """Number of architectures evaluated. Those of other processes are counted whenever `ask` is called."""
        return self._num_results

    def summary(self) -> StudySummary:
        with storage_errors(self._url):
            return super().summary()

    @contextmanager
    def session(self) -> Iterator[None]:
        """For the time that a search uses the study: sends heartbeats; trials still running at the end become interrupted ones."""
        with storage_errors(self._url), self._heartbeat.beating():
            self._restore_artifacts()
            try:
                yield
            finally:
                for number in self._own:
                    self._end(number, {attr.FAILURE: attr.INTERRUPTED}, TrialState.FAIL)
                self._own.clear()

    def ask(self, num_results: int) -> Proposal | None:
        """The next architecture to evaluate, inside the band. No other trial has it, except interrupted ones that this one repeats.

        Args:
            num_results: results wanted in all; no more proposals are given out than they need.

        Returns:
            None if a running evaluation has to finish first, here or in another process.

        Raises:
            SpaceExhausted: the study has every member of the band.
        """
        with self._lock():
            trials = self._read()
            following = self._schedule.next(num_results)
            return None if following is None else self._begin(following, trials)

    def tell(self, proposal: Proposal, score: Score, seconds: float) -> Result | None:
        """Store what a proposal scored, and how long that took.

        Returns:
            None if others had given this process up for dead: then another trial repeats the proposal.
        """
        self._own.remove(proposal.number)
        values = [objective.value(score, proposal.costs) for objective in self.objectives]
        attributes = {attr.SCORE: asdict(score), attr.SECONDS: round(seconds, 3)}
        if not self._end(proposal.number, attributes, TrialState.COMPLETE, values):
            return None
        self._num_results += 1
        return Result(**vars(proposal), score=score, seconds=seconds)

    def fail(self, proposal: Proposal, reason: str) -> None:
        """Store that a proposal's evaluation has failed for good: its trial fails, and is not repeated."""
        self._own.remove(proposal.number)
        self._end(proposal.number, {attr.FAILURE: reason}, TrialState.FAIL)

    def _begin(self, following: Next, trials: Sequence[FrozenTrial]) -> Proposal:
        chosen = self._choose(following, trials)
        architecture = self.band.architecture(chosen.member)
        # Counted layer by layer, independently of the tables that the sampler uses.
        counted = dict.fromkeys(("macs", "params", *self.band.budget.predicted))
        costs = self.band.costs_of(chosen.member) | predicted_costs(architecture, counted)
        if not self.band.budget.admits(costs):
            raise AssertionError(f"trial {len(trials)}: {costs} lies outside the band of {self.band.budget}")
        attributes = costs | {
            "fingerprint": architecture.fingerprint, attr.PROPOSED_BY: chosen.proposed_by, PROPOSAL_INDEX: following.index,
            attr.PROCESS: asdict(this_process_id()), attr.EXCESS: round(self.band.budget.excess(costs), 6),
            attr.DUPLICATES: chosen.num_duplicates,
        }  # fmt: skip
        options, active = self.band.rows.parameters(chosen.member), self.band.rows.active(chosen.member[None])[0]
        # Inactive slots are no choice that was made, and a database writes every slot as a row.
        params = {slot: options[slot] for slot, is_active in zip(options, active, strict=True) if is_active}
        distributions: dict[str, BaseDistribution] = {slot: CategoricalDistribution(self.band.space.slots[slot]) for slot in params}
        trial = create_trial(state=TrialState.RUNNING, params=params, distributions=distributions, user_attrs=attributes)
        trial_id = self._optuna.create_new_trial(self._study_id, trial)
        # The next number, unless somebody has enqueued a trial meanwhile without the lock.
        number = next(number for number in count(len(trials)) if self._id_of(number) == trial_id)
        proposal = Proposal(number, following.index, params, architecture, costs, chosen.proposed_by)
        self._own.add(number)
        if self._artifacts is not None:
            self._artifacts.upload(trial_id, proposal, self.provenance(proposal))
        return proposal

    def _choose(self, following: Next, trials: Sequence[FrozenTrial]) -> Chosen:
        if following.repeated is not None:
            repeated = self._proposal(following.repeated)
            architecture, proposed_by = repeated.architecture, repeated.proposed_by
        elif following.index < len(self._published):
            architecture = self._published[following.index].architecture
            proposed_by = architecture.name
        else:
            return self._sampler.choose(self.study, trials, following.index)
        return Chosen(self.band.row_of(architecture), proposed_by, num_duplicates=0)

    def _restore_artifacts(self) -> None:
        """Write the files that were deleted, or that another host has kept to itself."""
        for trial in self._trials() if self._artifacts is not None else ():
            if self._artifacts is not None and (missing := self._artifacts.missing(trial)):
                proposal = self._proposal(trial)
                self._artifacts.restore(missing, proposal, self.provenance(proposal))

    def _read(self) -> list[FrozenTrial]:
        """All trials, as the schedule knows them, after those that a dead process was evaluating have become interrupted ones."""
        trials = self._trials()
        self._schedule.read(trials)
        abandoned = [trial for trial in self._schedule.running if self._is_abandoned(trial)]
        for trial in abandoned:
            self._end(trial.number, {attr.FAILURE: attr.INTERRUPTED}, TrialState.FAIL)
        if abandoned:
            trials = self._trials()
            self._schedule.read(trials)
        self._num_results = self._schedule.num_complete
        return trials

    def _is_abandoned(self, trial: FrozenTrial) -> bool:
        process = ProcessId(**trial.user_attrs[attr.PROCESS]) if attr.PROCESS in trial.user_attrs else None
        if process is None or process == this_process_id():
            # No process's, or of an earlier search of this very process.
            return trial.number not in self._own
        return self._heartbeat.is_dead(process)

    def _end(self, number: int, attributes: Mapping[str, Any], state: TrialState, values: Sequence[float] | None = None) -> bool:
        """Give a trial its last user attributes, its values and its state; False if it has ended already."""
        trial_id = self._id_of(number)
        try:
            for key, value in attributes.items():
                self._optuna.set_trial_user_attr(trial_id, key, value)
            return self._optuna.set_trial_state_values(trial_id, state, values)
        except UpdateFinishedTrialError:
            return False

    def _id_of(self, number: int) -> int:
        return self._optuna.get_trial_id_from_study_id_trial_number(self._study_id, number)


def _create_or_continue(
    storage: optuna.storages.BaseStorage, name: str, objectives: Sequence[Objective], settings: Mapping[str, Any],
    source: SourceTrials | None, where: str,
) -> optuna.Study:  # fmt: skip
    """A study with these settings as user attributes, and with a source if it is new; StudyError if it exists with other settings."""
    directions = [objective.direction for objective in objectives]
    study = optuna.create_study(storage=storage, study_name=name, directions=directions, load_if_exists=True)
    found = study.user_attrs
    # The attribute "version" comes last: a study without it is new, or its process was killed here.
    new = {} if "version" in found or SOURCE in found else as_attribute(source)
    for key, value in {**settings, **new}.items():
        if key not in found:
            study.set_user_attr(key, value)
        elif found[key] != value:
            raise StudyError(f"{where}: study {name!r} is of another search (its {key} differs); choose another --out or --storage")
    with warnings.catch_warnings():
        # Experimental in Optuna; the dashboard shows these names.
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        study.set_metric_names([objective.name for objective in objectives])
    # `open_study` takes a study without it for unfinished.
    study.set_user_attr("version", __version__)
    return study
