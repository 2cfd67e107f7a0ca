"""The published networks as baselines: their costs under a search's conditions."""

from __future__ import annotations

from dataclasses import dataclass

from proxies.cost import Budget, Cost
from proxies.macs import cost_of
from proxies.memory.prediction import predicted_costs
from space.architecture import Architecture
from space.errors import SpaceError
from space.files import load_architecture, load_published, parent_names
from space.published import Published
from space.search_space import SearchSpace


@dataclass(frozen=True)
class Parent:
    """A published network with the classes and at the image size of a search space, and its authors' figures."""

    architecture: Architecture
    cost: Cost
    published: Published


def parents_within(like: SearchSpace | Architecture, budget: Budget) -> list[Parent]:
    """The published networks for a task that exceed no limit but those on latencies, best first; the floor does not matter.

    Args:
        like: has the task, and the classes, channels and image size that they are priced with.
    """
    parents = []
    for name in parent_names(like.task):
        published = load_published(name)
        assert published is not None, f"{name}: a catalogued parent has published figures"
        try:
            architecture = load_architecture(name).replace(
                image_size=like.image_size, num_classes=like.num_classes, in_chans=like.in_chans
            )
        except SpaceError:
            # Some work at 224 px only: small images leave their last stages no map to attend to.
            continue
        cost = cost_of(architecture)
        costs = predicted_costs(architecture, budget.predicted)
        if all(costs[quantity] <= limit for quantity, limit in budget.predicted.items()):
            parents.append(Parent(architecture, cost, published))
    return sorted(parents, key=lambda parent: parent.published.score or 0.0, reverse=True)
