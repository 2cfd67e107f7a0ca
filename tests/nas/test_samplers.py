"""Samplers propose members of the band only, each once, as a function of the seed and the study's trials."""

import copy
import itertools
import multiprocessing
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from experiments.benchmarks.cell_problems import cell_problem
from experiments.benchmarks.sampler_problems import GENTLE, all_rows, staged_problem
from nas.samplers.by_name import make_sampler, sampler_names
from nas.samplers.evolution import AgingEvolutionSampler
from nas.samplers.in_band import InBandSampler, SamplerError, SpaceExhausted
from nas.samplers.observed_trials import SourceTrials, TrialReader
from nas.samplers.surrogate import SurrogateSampler
from proxies.band.architecture_band import ArchitectureBand
from proxies.band.band import Band
from proxies.band.enumerated import band_of
from proxies.cost import Budget
from tests.proxies.bands import Row, distinct, mini, mini_band, size_of, small_band
from tests.proxies.test_architecture_band import TINY

optuna.logging.set_verbosity(optuna.logging.WARNING)
every_sampler = pytest.mark.parametrize("name", sampler_names())


def score_of(row: Row) -> float:
    return mini().score(row)


def few_choices(row: Row) -> float:
    return -float(row.sum())


def asked(trial: optuna.Trial, band: Band) -> Row:
    return band.rows.row({slot: trial.suggest_categorical(slot, options) for slot, options in band.space.slots.items()})


def search(study: optuna.Study, band: Band, trials: int, score: Callable[[Row], float | tuple[float, ...]] = few_choices) -> list[Row]:
    found = []
    for _ in range(trials):
        trial = study.ask()
        found.append(asked(trial, band))
        study.tell(trial, score(found[-1]))
    return found


def new_study(name: str, band: Band, seed: int = 0, **options: Any) -> optuna.Study:
    if "directions" not in options:
        options.setdefault("direction", "maximize")
    return optuna.create_study(sampler=make_sampler(name, band, seed), **options)


def journal(folder: Path) -> JournalStorage:
    """A study's storage on disk, opened anew."""
    return JournalStorage(JournalFileBackend(str(folder / "study.journal")))


def same(first: list[Row], second: list[Row]) -> bool:
    return np.array(first).tolist() == np.array(second).tolist()


@every_sampler
def test_every_trial_is_a_new_member_of_the_band(name: str) -> None:
    band = mini_band()
    found = search(new_study(name, band), band, 40, score_of)
    assert band.admits(np.array(found)).all()
    assert len(distinct(found)) == len(found)


@every_sampler
def test_a_seed_decides_everything(name: str) -> None:
    band = mini_band()
    first, again, other = (search(new_study(name, band, seed), band, 32, score_of) for seed in (0, 0, 1))
    assert same(first, again)
    assert not same(first, other)


@every_sampler
def test_a_sampler_is_made_of_space_cost_budget_and_seed(name: str) -> None:
    problem = mini()
    by_hand = type(make_sampler(name, mini_band(), 3))(band_of(problem.space, problem.cost, problem.budget), 3)
    study = optuna.create_study(sampler=by_hand, direction="maximize")
    assert same(search(study, by_hand.band, 12), search(new_study(name, mini_band(), 3), mini_band(), 12))


@every_sampler
def test_a_continued_study_equals_one_that_never_stopped(name: str, tmp_path: Path) -> None:
    band = mini_band()
    whole = search(new_study(name, band), band, 38, score_of)
    parts = []
    for trials in (34, 1, 1, 1, 1):
        study = new_study(name, band, storage=journal(tmp_path), study_name="search", load_if_exists=True)
        parts += search(study, band, trials, score_of)
    assert same(parts, whole)


@pytest.mark.parametrize(
    "band_of_kind", [mini_band, lambda: ArchitectureBand(TINY, Budget({"macs": 1_500_000}, floor=0.5))], ids=["listed", "counted"]
)
@every_sampler
def test_copies_propose_the_same(name: str, band_of_kind: Callable[[], Band]) -> None:
    band = band_of_kind()
    study = new_study(name, band)
    search(study, band, 33)
    sampler = study.sampler
    study.ask()
    trial = study.trials[-1]
    proposals = []
    for other in (sampler, copy.deepcopy(sampler), pickle.loads(pickle.dumps(sampler))):
        other.reseed_rng()
        proposals.append(other.sample_relative(study, trial, other.infer_relative_search_space(study, trial)))
    assert proposals[0] == proposals[1] == proposals[2]


def _search_a_part(name: str, folder: Path) -> None:
    study = optuna.load_study(study_name="search", storage=journal(folder), sampler=make_sampler(name, small_band(), 0))
    search(study, small_band(), 10)


@every_sampler
def test_another_process_may_continue(name: str, tmp_path: Path) -> None:
    band = small_band()
    study = new_study(name, band, storage=journal(tmp_path), study_name="search")
    begun = search(study, band, 5)
    process = multiprocessing.get_context("fork").Process(target=_search_a_part, args=(name, tmp_path))
    process.start()
    process.join(60)
    assert process.exitcode == 0
    search(study, band, 5)
    found = [band.rows.row(trial.params) for trial in study.get_trials()]
    assert len(distinct(found)) == 20
    assert same(found[:5], begun)


def test_trials_are_observed_once_and_in_the_order_of_proposals_whenever_they_finish() -> None:
    band = small_band()
    study = new_study("random", band)
    reader = TrialReader(band.rows, study.directions, seed=0)
    members = [asked(trial, band) for trial in [study.ask() for _ in range(5)]]
    for number in (0, 2, 3, 1, 4):
        study.tell(number, float(number))
        observed = reader.observe(study.get_trials(), 5)
    assert same(list(observed.members), members)
    assert observed.values[:, 0].tolist() == [0, 1, 2, 3, 4]
    assert not len(observed.pending)


@given(st.permutations(range(8)), st.integers(1, 8))
def test_trials_read_one_by_one_or_all_at_once_are_the_same(order: list[int], staleness: int) -> None:
    band = small_band()
    study = new_study("random", band)
    for trial in [study.ask() for _ in order]:
        asked(trial, band)
    step_by_step = TrialReader(band.rows, study.directions, 0, staleness)
    for number in order:
        study.tell(number, float(number)) if number else study.tell(number, state=TrialState.FAIL)
        step_by_step.observe(study.trials, 8)
    one, other = (reader.observe(study.trials, 8) for reader in (step_by_step, TrialReader(band.rows, study.directions, 0, staleness)))
    for name in ("indices", "members", "values", "scores", "pending"):
        assert getattr(one, name).tolist() == getattr(other, name).tolist()
    assert one.indices.tolist() == list(range(1, 9 - staleness))
    assert one.finished == other.finished
    assert not one.unfinished


class Counted(list[optuna.trial.FrozenTrial]):
    """Trials that count how often one of them is read."""

    num_reads = 0

    def __getitem__(self, index: Any) -> Any:
        self.num_reads += 1
        return super().__getitem__(index)

    def __iter__(self) -> Iterator[optuna.trial.FrozenTrial]:
        for trial in super().__iter__():
            self.num_reads += 1
            yield trial


@every_sampler
def test_a_proposal_reads_no_finished_trial_again(name: str) -> None:
    """Neither if there are many, nor after one that never ends."""
    band = mini_band()
    study = new_study(name, band)
    sampler = make_sampler(name, band, 0)
    reads = []
    study.enqueue_trial({})
    asked(study.ask(), band)
    for _ in range(40):
        trials = Counted(study.get_trials(deepcopy=False))
        chosen = sampler.choose(study, trials, len(trials))
        reads.append(trials.num_reads)
        distributions = {slot: CategoricalDistribution(options) for slot, options in band.space.slots.items()}
        params = band.rows.parameters(chosen.member)
        study.add_trial(optuna.create_trial(params=params, distributions=distributions, value=score_of(chosen.member)))  # type: ignore[arg-type]
    # The one that never ends, and the one that has ended since.
    assert reads == [1] + [2] * 39


@every_sampler
def test_threads_never_take_the_same_member(name: str) -> None:
    band = small_band()
    study = new_study(name, band)
    study.optimize(lambda trial: sum(trial.suggest_categorical(*slot) == slot[1][0] for slot in band.space.slots.items()), 24, n_jobs=4)
    assert len(distinct([band.rows.row(trial.params) for trial in study.get_trials()])) == 24


@every_sampler
def test_a_band_is_searched_to_its_last_member_and_then_ends(name: str) -> None:
    band = small_band()
    assert 50 < size_of(band) < 200
    study = new_study(name, band)
    assert distinct(search(study, band, size_of(band))) == distinct(list(band.members(10**6)))
    with pytest.raises(SpaceExhausted, match="staged") as error:
        asked(study.ask(), band)
    assert "\n" not in str(error.value)


@every_sampler
def test_optimize_ends_with_the_band(name: str) -> None:
    band = small_band()
    study = new_study(name, band)
    with pytest.raises(SpaceExhausted):
        study.optimize(lambda trial: few_choices(asked(trial, band)), size_of(band) + 10)
    states = [trial.state for trial in study.get_trials()]
    assert states == [TrialState.COMPLETE] * size_of(band) + [TrialState.FAIL]


@every_sampler
def test_running_and_failed_trials_are_not_proposed_again(name: str) -> None:
    band = small_band()
    study = new_study(name, band)
    failed = next(band.members(1))
    distributions: dict[str, BaseDistribution] = {slot: CategoricalDistribution(options) for slot, options in band.space.slots.items()}
    study.add_trial(optuna.create_trial(state=TrialState.FAIL, params=band.rows.parameters(failed), distributions=distributions))
    running = [study.ask() for _ in range(20)]
    first_slot = next(iter(band.space.slots.items()))
    for trial in running:
        # The others are not asked for yet.
        trial.suggest_categorical(*first_slot)
    found = search(study, band, size_of(band) - 21)
    with pytest.raises(SpaceExhausted):
        asked(study.ask(), band)
    begun = [asked(trial, band) for trial in running]
    taken = [failed, *found, *begun]
    assert len(taken) == size_of(band)
    assert distinct(taken) == distinct(list(band.members(10**6)))


def test_running_trials_are_pending() -> None:
    band = small_band()
    study = new_study("random", band)
    first, second, third = (study.ask() for _ in range(3))
    running, finished = asked(first, band), asked(second, band)
    study.tell(second, 1.0)
    for staleness, known, pending in ((1, [finished], [running]), (2, [], [running, finished])):
        observed = TrialReader(band.rows, study.directions, 0, staleness).observe(study.trials[: third.number], third.number)
        assert same(list(observed.members), known)
        assert same(list(observed.pending), pending)


@every_sampler
def test_an_enqueued_trial_is_taken_as_it_is(name: str) -> None:
    band = small_band()
    study = new_study(name, band)
    wanted = next(band.members(1))
    for _ in range(2):
        study.enqueue_trial(band.rows.parameters(wanted))
    assert same(search(study, band, 2), [wanted, wanted])


@every_sampler
def test_inactive_slots_may_be_left_out(name: str) -> None:
    band = small_band()
    study = new_study(name, band)
    shallow = next(row for row in band.members(10**6) if not band.rows.active(row[None]).all())
    is_active = dict(zip(band.rows.names, band.rows.active(shallow[None])[0], strict=True))
    study.enqueue_trial({slot: option for slot, option in band.rows.parameters(shallow).items() if is_active[slot]})
    assert same(search(study, band, 1), [shallow])


@every_sampler
def test_what_an_enqueued_trial_fixes_wins(name: str) -> None:
    """Also if it lies outside the band; the following trials lie inside."""
    band = small_band()
    study = new_study(name, band)
    every = np.array(list(itertools.product(*map(range, band.rows.sizes))))
    outside = band.rows.canonical(every[~band.admits(band.rows.canonical(every))])[0]
    half = dict(list(band.rows.parameters(next(band.members(1))).items())[::2])
    for fixed in (band.rows.parameters(outside), half):
        study.enqueue_trial(fixed)
    taken = search(study, band, 2)
    assert same(taken[:1], [outside])
    assert half.items() <= study.trials[1].params.items()
    found = search(study, band, 35)
    assert band.admits(np.array(found)).all()
    assert len(distinct([*taken, *found])) == 37


@every_sampler
def test_a_slot_with_other_options_is_refused(name: str) -> None:
    trial = new_study(name, small_band()).ask()
    with pytest.raises((SamplerError, ValueError), match=r"expected|compatible|dynamic"):
        trial.suggest_categorical("stage1.width", (1, 2, 3))


@every_sampler
def test_parameters_beside_the_space_are_drawn_and_seeded(name: str) -> None:
    band = small_band()
    values = [[study.ask().suggest_float("lr", 0, 1) for _ in range(3)] for study in (new_study(name, band) for _ in range(2))]
    assert values[0] == values[1]
    assert len(set(values[0])) == 3


@every_sampler
def test_several_objectives_are_served(name: str) -> None:
    band = mini_band()

    def two(row: Row) -> tuple[float, float]:
        return score_of(row), float(band.costs(row[None])[0, 0])

    study = new_study(name, band, directions=["maximize", "minimize"])
    found = search(study, band, 45, two)
    assert band.admits(np.array(found)).all()
    assert len(distinct(found)) == len(found)
    assert same(found, search(new_study(name, band, directions=["maximize", "minimize"]), band, 45, two))


@pytest.mark.parametrize("name", ["surrogate", "evolution"])
def test_several_objectives_spread_over_the_front(name: str) -> None:
    band = mini_band()

    def two(row: Row) -> tuple[float, float]:
        return score_of(row), float(band.costs(row[None])[0, 0])

    def volume(front: NDArray[np.float64]) -> float:
        """The hypervolume of a front, with (70, the budget) as reference point."""
        ordered = front[np.argsort(-front[:, 0])]
        covered, best = 0.0, float(band.budget.limits["macs"])
        for accuracy, macs in ordered:
            covered += max(accuracy - 70, 0) * max(best - macs, 0)
            best = min(best, macs)
        return covered

    found = {other: search(new_study(other, band, directions=["maximize", "minimize"]), band, 70, two) for other in (name, "random")}
    volumes = {other: volume(np.array([two(row) for row in rows])) for other, rows in found.items()}
    assert volumes[name] > volumes["random"]


@every_sampler
def test_optimize_proposes_what_ask_does(name: str) -> None:
    band = mini_band()
    study = new_study(name, band)
    study.optimize(lambda trial: score_of(asked(trial, band)), n_trials=36)
    found = [band.rows.row(trial.params) for trial in study.trials]
    assert same(found, search(new_study(name, band), band, 36, score_of))
    assert band.admits(np.array(found)).all()


@every_sampler
def test_a_proposal_says_what_proposed_it(name: str) -> None:
    band = mini_band()
    study = new_study(name, band)
    search(study, band, 36, score_of)
    proposed_by = [make_sampler(name, band, 0).choose(study, study.trials[:number], number).proposed_by for number in (0, 33, 34, 35)]
    assert proposed_by[0] == "random"
    assert name == "random" or set(proposed_by[1:]) <= {"mutation", "crossover", "tpe", "surrogate"}


@pytest.mark.parametrize("direction", ["maximize", "minimize"])
@pytest.mark.parametrize("sampler", [AgingEvolutionSampler, SurrogateSampler, "tpe"])
def test_learning_beats_random_draws(sampler: type[InBandSampler] | str, direction: Literal["maximize", "minimize"]) -> None:
    band, sign = mini_band(), 1 if direction == "maximize" else -1
    made = make_sampler(sampler, band, 0) if isinstance(sampler, str) else sampler(band, 0)
    learnt = search(optuna.create_study(sampler=made, direction=direction), band, 70, score_of)[-20:]
    drawn = search(new_study("random", band, direction=direction), band, 70, score_of)[-20:]
    assert np.mean([sign * score_of(row) for row in learnt]) > np.mean([sign * score_of(row) for row in drawn]) + 0.3


def test_the_surrogate_learns_from_enqueued_trials() -> None:
    """Ten good members are evaluated first: the first own proposal comes from the model, and is as good as they are."""
    band = mini_band()
    members = np.array(list(band.members(10**6)))
    truth = mini().truth(members)
    known = members[np.argsort(-truth)[500:2500:200]]
    study = new_study("surrogate", band)
    for row in known:
        study.enqueue_trial(band.rows.parameters(row))
    own = search(study, band, 20, score_of)[10:]
    assert make_sampler("surrogate", band, 0).choose(study, study.trials[:10], 10).proposed_by == "surrogate"
    assert np.mean([score_of(row) for row in own]) > np.quantile(truth, 0.9)


def source_of(limits: float) -> SourceTrials:
    """Members of the mini-space between the budget and some times as much, with their values."""
    band = mini_band()
    members = all_rows(band.rows)
    shares = (band.costs(members) / np.array(list(band.budget.limits.values()))).max(axis=1)
    members = members[(shares > 1) & (shares < limits)][::200]
    return SourceTrials(members, np.array([[score_of(row)] for row in members]))


@every_sampler
def test_source_trials_are_learnt_from_and_never_proposed(name: str) -> None:
    band, source = mini_band(), source_of(1.5)
    assert len(source.members) > 40
    assert not band.admits(source.members).any()
    found = {}
    for known in (None, source):
        study = optuna.create_study(sampler=make_sampler(name, band, 0, source=known), direction="maximize")
        found[known is None] = search(study, band, 20, score_of)
        assert len(study.trials) == 20
        assert band.admits(np.array(found[known is None])).all()
    drawn, learnt = found[True], found[False]
    assert same(drawn, learnt) == (name == "random")
    assert name == "random" or np.mean([score_of(row) for row in learnt]) > np.mean([score_of(row) for row in drawn]) + 0.5


def test_members_of_the_band_among_source_trials_may_be_proposed() -> None:
    """Their scores are known, but they are no trials of this study, which has to find the best of them, too."""
    band = mini_band()
    members = np.array(list(band.members(10**6)))
    best = members[np.argsort(-mini().truth(members))[:40]]
    source = SourceTrials(best, np.array([[score_of(row)] for row in best]))
    study = optuna.create_study(sampler=make_sampler("surrogate", band, 0, source=source), direction="maximize")
    assert distinct(search(study, band, 30, score_of)) & distinct(list(best))


def test_the_surrogate_draws_no_more_starts_than_the_space_has_slots() -> None:
    band = small_band()
    assert len(band.space.slots) == 6
    study = new_study("surrogate", band)
    search(study, band, 7)
    proposed_by = [make_sampler("surrogate", band, 0).choose(study, study.trials[:number], number).proposed_by for number in range(7)]
    assert proposed_by == ["random"] * 6 + ["surrogate"]


def test_the_surrogate_explores_more_where_there_are_more_slots() -> None:
    cell = cell_problem(0, ("macs",), "small")
    staged = staged_problem(0, 0.01, GENTLE)
    small = SurrogateSampler(band_of(cell.space, cell.cost, cell.budget), 0)
    large = SurrogateSampler(band_of(staged.space, staged.cost, staged.budget), 0)
    assert small.beta == pytest.approx(6 * 0.35)
    assert large.beta == large.max_beta == 4.5
    assert SurrogateSampler(small.band, 0, max_beta=1).beta == 1


def test_an_unknown_sampler_is_refused_with_all_names() -> None:
    with pytest.raises(SamplerError, match=r"got 'annealing', expected one of surrogate, evolution, tpe, random"):
        make_sampler("annealing", small_band(), 0)
