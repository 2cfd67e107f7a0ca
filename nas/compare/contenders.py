"""Who takes part in a comparison."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from nas.cli.given_architecture import architecture_of, name_of, provenance_of
from nas.compare.comparison import Contender
from nas.compare.config import CompareConfig
from nas.compare.random_networks import drawn_evenly, drawn_from_band
from nas.compare.subject import Subject
from nas.runs.records.role import Role, role_of
from proxies.published import parents_within


def contenders_of(config: CompareConfig, subject: Subject, found: Sequence[Contender] = ()) -> list[Contender]:
    """The subject, what other searches found, others that are given, published networks, random members of the band.

    Every architecture comes once, in the first of its roles.

    Args:
        found: the winners of other searches.
    """
    own = subject.contender.architecture
    parents = [Contender(one.architecture.name, one.architecture, Role.PARENT) for one in parents_within(own, subject.budget)]
    given = [_given(one, subject) for one in config.architectures]
    contenders: dict[str, Contender] = {}
    for contender in (subject.contender, *found, *given, *parents):
        contenders.setdefault(contender.architecture.fingerprint, contender)
    if subject.band is not None:
        for draw, count in ((drawn_from_band, config.random), (drawn_evenly, config.even_random)):
            for contender in draw(subject.band, count, subject.seed, frozenset(contenders)):
                contenders[contender.architecture.fingerprint] = contender
    return _labelled_apart(list(contenders.values()))


def _given(value: Any, subject: Subject) -> Contender:
    """A contender that the user adds: a published network, or one without a role, whatever it was in its own search."""
    role = role_of(provenance_of(value))
    architecture = subject.alike(architecture_of(value))
    return Contender(Path(name_of(value)).stem, architecture, role if role is Role.PARENT else Role.OTHER)


def _labelled_apart(contenders: Sequence[Contender]) -> list[Contender]:
    """The same, with a number behind a label that an earlier one has."""
    times = Counter[str]()
    apart = []
    for one in contenders:
        times[one.label] += 1
        apart.append(one if times[one.label] == 1 else replace(one, label=f"{one.label} ({times[one.label]})"))
    return apart
