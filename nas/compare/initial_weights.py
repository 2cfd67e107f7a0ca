"""What the networks of a comparison begin with, where they do not begin at random.

A published network has its own weights, any other member of the search's space those that it inherits in the search's supernet: what a
user would fine-tune.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from nas.compare.comparison import Contender, ContenderResult, EqualConditions
from nas.compare.config import CompareConfig
from nas.compare.searches import FoundElsewhere
from nas.compare.subject import Subject
from nas.evaluators.supernet import SupernetEvaluator, load_evaluator
from nas.retrain.origin import Origin
from nas.runs.directory import RunError, config_of_run
from nas.train.supernet_run import SupernetRun
from space.errors import SpaceError
from space.files import load_architecture
from space.network import build_network
from space.pretrained.fetching import NamedWeights, Say, find_weights
from space.pretrained.sources import SOURCES

FOLDER = "inherited"
"""Of inherited weights, in a comparison's directory."""


def begun_trained(
    config: CompareConfig, subject: Subject, conditions: EqualConditions, contenders: Sequence[Contender], say: Say
) -> list[Contender]:
    """The contenders with the weights that they begin with; inherited ones have yet to be written.

    Args:
        say: is told where published weights come from, how they fit, and what begins at random.

    Raises:
        UserError: the search has no supernet, or a contender has no weights and may not begin at random.
    """
    run = subject.supernet_run
    assert run is not None
    assert config.run is not None
    if not run.weights_file.exists():
        raise RunError(f"--from: got supernet, and {run.folder} has no {run.weights_file.name}; expected a search with a trained supernet")
    searched = config_of_run(config.run)
    folder = config.weights_folder or (Path(searched["weights_folder"]) if searched.get("weights_folder") else None)
    named = _published(subject, searched.get("warm_start", ()))
    begun = []
    for one in contenders:
        fingerprint = one.architecture.fingerprint
        try:
            if fingerprint in named:
                origin = _named_origin(one, named[fingerprint], folder, conditions, config, say)
            elif run.space.contains(one.architecture):
                origin = Origin(conditions.folder / FOLDER / f"{fingerprint}.safetensors")
            else:
                raise SpaceError(f"{one.label}: got no weights for it, expected a published network or a member of {run.space.name}")
        except SpaceError as error:
            if not config.allow_scratch:
                raise RunError(f"--from: {error}; or let it begin at random with --allow-scratch") from None
            say(f"{error}; it begins at random")
            origin = None
        begun.append(replace(one, origin=origin))
    return begun


def write_inherited(
    subject: Subject, conditions: EqualConditions, contenders: Sequence[Contender], elsewhere: Sequence[FoundElsewhere], seeds: int
) -> None:
    """Write the inherited weights of the contenders that have not finished.

    Args:
        elsewhere: the winners of other searches, which inherit from the supernets that judged them.
    """
    own = subject.supernet_run
    assert own is not None
    runs = {one.contender.architecture.fingerprint: one.supernet_run for one in elsewhere}
    runs[subject.contender.architecture.fingerprint] = own
    evaluators: dict[Path, SupernetEvaluator] = {}
    for one in contenders:
        file = one.origin.weights if one.origin else None
        if isinstance(file, Path) and not file.exists() and _is_left(conditions, one, seeds):
            run = runs.get(one.architecture.fingerprint, own)
            if run.folder not in evaluators:
                evaluators[run.folder] = load_evaluator(run)
            file.parent.mkdir(exist_ok=True)
            evaluators[run.folder].write_weights(one.architecture, file, run.metadata_of(one.architecture, one.role))


def head_start(run: SupernetRun, rows: Sequence[ContenderResult]) -> str | None:
    """How long the supernet has trained for those that begin with its weights, and who has not had that; None where all have."""
    others = [one.contender.label for one in rows if one.contender.origin is None or isinstance(one.contender.origin.weights, NamedWeights)]
    if not others:
        return None
    trained = config_of_run(run.folder)
    steps, batch_size = trained["steps"], trained["batch_size"]
    epochs = steps * batch_size / len(run.images()[1].train)
    return (
        f"Members of the space begin ahead: their supernet has trained on these images before, {steps} steps of {batch_size}, about "
        f"{epochs:.0f} epochs. Not so {', '.join(others)}: with few epochs this may decide."
    )


def _published(subject: Subject, warm_start: Sequence[str]) -> dict[str, NamedWeights]:
    """Weights of published networks and of those that the supernet began with, by fingerprint."""
    named: dict[str, NamedWeights] = {}
    for wanted in (*map(NamedWeights.parse, warm_start), *map(NamedWeights, SOURCES)):
        try:
            named.setdefault(subject.alike(load_architecture(wanted.name)).fingerprint, wanted)
        except SpaceError:
            # It cannot work at this image size, or its file is gone.
            continue
    return named


def _named_origin(
    contender: Contender, wanted: NamedWeights, folder: Path | None, conditions: EqualConditions, config: CompareConfig, say: Say
) -> Origin:
    if not _is_left(conditions, contender, config.seeds):
        return Origin(wanted, folder)
    file = find_weights(wanted, folder, say, fetches=not config.dry_run)
    origin = Origin(NamedWeights(wanted.name, file), folder)
    # Weights that do not fit are refused before anything trains.
    origin.fill(build_network(contender.architecture), say, fetches=not config.dry_run)
    return origin


def _is_left(conditions: EqualConditions, contender: Contender, seeds: int) -> bool:
    return not all(conditions.retraining(contender, seed).is_done for seed in range(seeds))
