"""What the figures of a comparison say: relative improvement, whether mixing pays, over whom the winner leads."""

from __future__ import annotations

from collections.abc import Iterator

from nas.compare.bootstrap import Estimate, estimated, lead, relative_improvement
from nas.compare.figures import DRAWN, Figures, group
from nas.runs.records.role import Role
from space.architecture import Architecture


def conclusions_of(figures: Figures) -> tuple[str, ...]:
    """All conclusions, a sentence each."""
    return (*_improvements(figures), *_mixing(figures), *_leads(figures), *_spread(figures))


def is_crippled(architecture: Architecture, image_size: int) -> bool:
    """Whether half of an architecture's mixers or more see one pixel, so that they have nothing to mix: the images are too small for it."""
    mixers = [part for part in architecture.parts_at(image_size, image_size) if part.path.endswith(".mixer")]
    lone = sum(1 for part in mixers if max(part.in_size) <= 1)
    return 2 * lone >= len(mixers) > 0


def _improvements(figures: Figures) -> Iterator[str]:
    for role, words in DRAWN.items():
        drawn = figures.of_role(role)
        if not drawn:
            continue
        groups = group(figures.winners), group(drawn)
        found = estimated(relative_improvement, groups)
        average = f"the average of {len(drawn)} {words}, {100 * groups[1].mean():.1f} %"
        yield f"Relative improvement of {figures.winners_in_words} over {average}: {_percent(found)}."


def _mixing(figures: Figures) -> Iterator[str]:
    mixers = {block.mixer.type for stage in figures.subject.contender.architecture.stages for block in stage.blocks}
    if len(mixers) == 1 and figures.is_searched:
        yield f"The winner itself holds one mixer, {mixers.pop()}: the search has found nothing that mixing improves."
    if not figures.homogeneous:
        return
    best = max(figures.homogeneous, key=lambda row: row.mean)
    found = estimated(lead, (group(figures.winners), group([best])))
    against = f"{best.contender.label}, the best network of one mixer"
    points, winners = found.in_points, figures.winners_in_words
    if found.interval is None:
        yield f"Whether mixing pays is unknown, since one seed shows no spread: {winners} against {against}: {points} points."
    elif found.sign > 0:
        yield f"Mixing pays here: {winners} leads {against} ({points} points)."
    elif found.sign < 0:
        yield f"Mixing does not pay here: {winners} is behind {against} ({points} points)."
    else:
        yield f"Mixing shows no gain here: {winners} and {against}, cannot be told apart ({points} points)."


def _leads(figures: Figures) -> Iterator[str]:
    """Which published networks the subject leads, not counting those that the image size cripples."""
    parents = figures.of_role(Role.PARENT)
    others = [row for row in parents if row is not figures.subject]
    whole = [row for row in others if row.contender.architecture.fingerprint not in figures.crippled]
    leads = {row.contender.label: row.lead_of(figures.subject) for row in whole}
    who = "the winner" if figures.is_searched else figures.label
    if unknown := [f"{label} {found.in_points}" for label, found in leads.items() if found.interval is None]:
        yield f"Whether {who} leads published networks is unknown, since one seed shows no spread: {', '.join(unknown)} points."
    for sign, verb in ((1, "leads"), (0, "cannot be told apart from"), (-1, "is behind")):
        if names := [label for label, found in leads.items() if found.interval is not None and found.sign == sign]:
            yield f"{'The winner' if figures.is_searched else who} {verb} {', '.join(names)}."
    if crippled := [row.contender.label for row in others if row not in whole]:
        yield f"Not counted: {', '.join(crippled)}, since at this image size half of their mixers or more see one pixel."


def _spread(figures: Figures) -> Iterator[str]:
    if len(figures.winners) == 1 and figures.is_searched and len(figures.subject.by_seed) > 1:
        yield "These intervals are over trainings of one search's winner. Another search may find another one: --search-seeds tells."


def _percent(found: Estimate) -> str:
    return f"{found.in_points} %"
