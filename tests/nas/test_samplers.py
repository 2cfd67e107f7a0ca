"""Samplers propose members of the band alone, each once, and depend on the seed and the study alone."""

import itertools
from collections.abc import Callable
from functools import cache
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from nas.samplers import SamplerError, SpaceExhausted, make_sampler, sampler_names
from nas.samplers.evolution import AgingEvolutionSampler
from proxies.band import Band
from proxies.cost import Budget, parse_budget
from proxies.macs import cost_of
from space.architecture import Architecture
from space.files import load_space
from space.kinds import FFNS, MIXERS
from space.search_space import SearchSpace, StageChoices

optuna.logging.set_verbosity(optuna.logging.WARNING)
every_sampler = pytest.mark.parametrize("name", sampler_names())


@cache
def large_band() -> Band:
    return Band(load_space("hybrid-32"), parse_budget("60MFLOPs"))


@cache
def small_band() -> Band:
    """Some dozens of architectures."""
    mixers = (MIXERS("local_mhra", kernel_size=3), MIXERS("channel_group", head_dim=8), MIXERS("global_mhra", head_dim=8))
    stage = StageChoices(widths=(16, 24), depths=(1, 2), mixers=mixers, ffns=(FFNS("mlp", ratio=2), FFNS("mlp", ratio=4)))
    space = SearchSpace(name="small", image_size=32, num_classes=10, stages=(stage,))
    answers = (dict(zip(space.slots, options, strict=True)) for options in itertools.product(*space.slots.values()))
    costs = sorted(cost_of(space.replay(every)).macs for every in answers)
    return Band(space, Budget({"macs": costs[-5]}, floor=0.6))


def score_of(architecture: Architecture) -> float:
    """A stand-in for accuracy: how many blocks attend."""
    return sum(block.mixer.type != "local_mhra" for stage in architecture.stages for block in stage.blocks) / architecture.depth


def search(study: optuna.Study, band: Band, trials: int, score: Callable[[Architecture], float] = score_of) -> list[Architecture]:
    found = []
    for _ in range(trials):
        trial = study.ask()
        found.append(band.space.decide(trial.suggest_categorical))
        study.tell(trial, score(found[-1]))
    return found


def new_study(name: str, band: Band, seed: int = 0, **options: object) -> optuna.Study:
    options.setdefault("direction", "maximize")
    return optuna.create_study(sampler=make_sampler(name, band, seed), **options)  # type: ignore[arg-type]


@every_sampler
def test_every_trial_is_a_new_member_of_the_band(name: str) -> None:
    band = large_band()
    found = search(new_study(name, band), band, 60)
    assert all(band.budget.admits(cost_of(architecture)) for architecture in found)
    assert len({architecture.fingerprint for architecture in found}) == len(found)


@every_sampler
def test_a_seed_decides_everything(name: str) -> None:
    band = large_band()
    first, again, other = (search(new_study(name, band, seed), band, 40) for seed in (0, 0, 1))
    assert first == again
    assert first != other


@every_sampler
def test_a_continued_study_goes_on_as_if_it_had_never_stopped(name: str, tmp_path: Path) -> None:
    band = small_band()
    whole = search(new_study(name, band), band, 38)
    options = {"storage": f"sqlite:///{tmp_path / 'study.db'}", "study_name": "search", "load_if_exists": True}
    parts = [architecture for trials in (34, 4) for architecture in search(new_study(name, band, **options), band, trials)]
    assert parts == whole


@every_sampler
def test_a_band_is_searched_to_its_last_member_and_then_ends(name: str) -> None:
    band = small_band()
    assert 50 < band.count < 200
    study = new_study(name, band)
    found = search(study, band, band.count)
    assert {architecture.fingerprint for architecture in found} == {member.fingerprint for member in band.members(10**6)}
    with pytest.raises(SpaceExhausted, match="small") as error:
        study.ask()
    assert "\n" not in str(error.value)
    assert not study.get_trials(states=(TrialState.RUNNING, TrialState.WAITING))


@every_sampler
def test_running_waiting_and_failed_trials_count_as_seen(name: str) -> None:
    band = small_band()
    study = new_study(name, band)
    members = list(band.members(10**6))
    waiting, failed, *rest = members
    running = [study.ask() for _ in range(3)]
    # Before they were asked for their slots.
    begun = study.sampler._past(study, study.ask()._cached_frozen_trial).seen  # type: ignore[attr-defined]
    assert begun == {band.space.decide(trial.suggest_categorical).fingerprint for trial in running}
    study.add_trial(optuna.create_trial(
        state=TrialState.FAIL, params=band.space.parameters_of(failed),
        distributions={key: optuna.distributions.CategoricalDistribution(options) for key, options in band.space.slots.items()}))
    study.enqueue_trial(band.space.parameters_of(waiting))
    assert band.space.decide(study.ask().suggest_categorical) == waiting
    study.enqueue_trial(band.space.parameters_of(rest[0]))
    past = study.sampler._past(study, study.get_trials()[-2])  # type: ignore[attr-defined]
    assert begun | {failed.fingerprint, rest[0].fingerprint} <= past.seen


@every_sampler
def test_an_enqueued_trial_is_taken_as_it_is(name: str) -> None:
    band = small_band()
    study = new_study(name, band)
    wanted = next(band.members(1))
    for _ in range(2):
        study.enqueue_trial(band.space.parameters_of(wanted))
    assert search(study, band, 2) == [wanted, wanted]


@every_sampler
def test_a_half_enqueued_trial_fails_with_the_missing_slot(name: str) -> None:
    band = small_band()
    study = new_study(name, band)
    study.enqueue_trial({"stage1.width": 16})
    with pytest.raises(SamplerError, match=r"stage1\.block1\.mixer: missing"):
        study.ask()
    assert [trial.state for trial in study.get_trials()] == [TrialState.FAIL]
    assert len(search(study, band, 1)) == 1


@every_sampler
@pytest.mark.parametrize("slot", ["stage9.width", "stage1.width"])
def test_a_slot_alone_is_refused(name: str, slot: str) -> None:
    trial = new_study(name, small_band()).ask()
    with pytest.raises((SamplerError, ValueError), match=r"expected|compatible|dynamic"):
        trial.suggest_categorical(slot, (1, 2, 3))


@every_sampler
def test_several_objectives_are_refused(name: str) -> None:
    with pytest.raises(SamplerError, match="2 objectives"):
        new_study(name, small_band(), direction=None, directions=["maximize", "minimize"]).ask()


@every_sampler
def test_optimize_works_too(name: str) -> None:
    band = small_band()
    study = new_study(name, band, direction="minimize")
    study.optimize(lambda trial: score_of(band.space.decide(trial.suggest_categorical)), n_trials=8)
    assert len({trial.user_attrs["proposal"] for trial in study.trials}) >= 1
    assert len({str(trial.params) for trial in study.trials}) == 8


@pytest.mark.parametrize("direction", ["maximize", "minimize"])
def test_evolution_beats_random_draws(direction: str) -> None:
    band = large_band()
    sign = 1 if direction == "maximize" else -1
    sampler = AgingEvolutionSampler(band, 0, population=12, tournament=5)
    bred = search(optuna.create_study(sampler=sampler, direction=direction), band, 70)[-20:]
    drawn = search(new_study("random", band, direction=direction), band, 20)
    assert sign * sum(map(score_of, bred)) > sign * sum(map(score_of, drawn)) + 1


def test_evolution_says_how_trials_came_about_and_starts_at_random() -> None:
    band = large_band()
    study = optuna.create_study(sampler=AgingEvolutionSampler(band, 0, population=10), direction="maximize")
    search(study, band, 40)
    origins = [trial.user_attrs["proposal"] for trial in study.trials]
    assert set(origins[:10]) == {"random"}
    assert {"mutation", "crossover"} <= set(origins[10:])


def test_an_unknown_sampler_is_refused_with_the_names_there_are() -> None:
    with pytest.raises(SamplerError, match=r"got 'annealing', expected one of random, evolution"):
        make_sampler("annealing", small_band(), 0)
