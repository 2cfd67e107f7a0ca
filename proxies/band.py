"""The architectures of a space that a budget admits: how many there are, even draws, and neighbours among them.

Membership is exact: whatever leaves this module has been checked against the integer cost tables, which equal
`cost_of`. How draws stay even is told in `proxies.grid` and `proxies.draws`.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterator
from functools import cached_property

from proxies.cost import Budget, BudgetError, format_amount
from proxies.counting import count_bounds
from proxies.draws import Draws, Macro
from proxies.grid import Grid, axes_of
from proxies.reach import extreme, nearest
from proxies.space_costs import Choice, SpaceCosts, StageChoice
from space.architecture import Architecture
from space.errors import SpaceError
from space.search_space import SearchSpace

MAX_CELLS = {1: (16384,), 2: (320, 96)}
"""The grid's resolution, by number of limits: fine enough that few draws miss the band, small enough to fill in a second or two."""
MAX_DRAWS = 10_000
"""A draw on the grid misses the true band seldom; only a very narrow band needs more than a few."""
MAX_PROBES = 40
"""Draws by which a macro shape must show a member. One with very few, at the band's edge, may fail: `sample` then leaves
it out, `sample_uniform` does not."""
MAX_EDITS = 64
MAX_LISTED = 20_000
"""Bands of at most so many members are counted one by one."""


class Band:
    """The members of a space whose cost a budget admits. Building one takes a few seconds for a large space.

    Raises BudgetError where there is none, with the reachable range and the nearest reachable cost.
    """

    def __init__(self, space: SearchSpace, budget: Budget) -> None:
        self.space = space
        self.budget = budget
        self.costs = SpaceCosts(space)
        self.reachable = (extreme(self.costs, budget.primary, min), extreme(self.costs, budget.primary, max))
        self._check_within_reach()
        self._draws = Draws(Grid(self.costs, axes_of(self.costs, budget, MAX_CELLS[len(budget.limits)])))
        self._macros = self._inhabited()
        if not self._macros:
            self._refuse(nearest(self.costs, budget))

    @cached_property
    def count_bounds(self) -> tuple[int, int]:
        """A least and a greatest number of members; equal where they could be counted exactly. The first call takes some seconds."""
        if sum(self._draws.ways.values()) <= MAX_LISTED:
            listed = sum(1 for _ in self._choices())
            return listed, listed
        return count_bounds(self.costs, self.budget)

    @property
    def count(self) -> int:
        """Number of distinct members: exact where `count_bounds` meet, else their mean."""
        return sum(self.count_bounds) // 2

    def contains(self, architecture: Architecture) -> bool:
        """Whether an architecture belongs to the space and the budget admits it."""
        try:
            return self.budget.admits(self.costs.cost(self.costs.choice(architecture)))
        except SpaceError:
            return False

    def sample(self, rng: random.Random) -> Architecture:
        """Draw a macro shape (widths and depths) evenly among those with members, then a member of it evenly.

        Drawn evenly over all members, nearly all would be of the deepest shapes: these have the most combinations.
        """
        return self.costs.architecture(self._sample(rng))

    def sample_uniform(self, rng: random.Random) -> Architecture:
        """Draw evenly among all distinct members."""
        macros, ways = self._all_macros
        return self.costs.architecture(self._first_admitted(lambda: self._draws.draw(rng.choices(macros, cum_weights=ways)[0], rng)))

    def members(self, max_members: int) -> Iterator[Architecture]:
        """All members, macro shape by macro shape, or the first `max_members` of them."""
        return map(self.costs.architecture, itertools.islice(self._choices(), max_members))

    def mutate(self, architecture: Architecture, rng: random.Random) -> Architecture:
        """A member that differs from a member in one to three choices, or a fresh one where none is found nearby."""
        parent = self.costs.choice(architecture)
        for _ in range(MAX_EDITS):
            child = parent
            for _ in range(rng.randint(1, 3)):
                child = self._edited(child, rng)
            if child != parent and self._admits(child):
                return self.costs.architecture(child)
        return self.sample(rng)

    def crossover(self, first: Architecture, second: Architecture, rng: random.Random) -> Architecture:
        """A member that takes each stage's choices from one of two members, or a fresh one where no mixture is admitted."""
        parents = (self.costs.choice(first), self.costs.choice(second))
        for _ in range(MAX_EDITS):
            child = tuple(_mixed(*stages, rng) for stages in zip(*parents, strict=True))
            if child not in parents and self._admits(child):
                return self.costs.architecture(child)
        return self.sample(rng)

    def _choices(self) -> Iterator[Choice]:
        return filter(self._admits, itertools.chain.from_iterable(map(self._draws.members, self._draws.ways)))

    def _sample(self, rng: random.Random) -> Choice:
        macro = rng.choice(self._macros)
        return self._first_admitted(lambda: self._draws.draw(macro, rng))

    def _first_admitted(self, draw: Callable[[], Choice], max_draws: int = MAX_DRAWS) -> Choice:
        for _ in range(max_draws):
            choice = draw()
            if self._admits(choice):
                return choice
        raise BudgetError(f"budget: got a band of {self.budget} so narrow that {max_draws} draws missed it; expected a lower floor")

    def _admits(self, choice: Choice) -> bool:
        return self.budget.admits(self.costs.cost(choice))

    def _inhabited(self) -> list[Macro]:
        """The macro shapes with members."""
        if self._draws.is_exact:
            return list(self._draws.ways)
        rng = random.Random(0)
        return [macro for macro in self._draws.ways if self._finds_one(macro, rng)]

    def _finds_one(self, macro: Macro, rng: random.Random) -> bool:
        return any(self._admits(self._draws.draw(macro, rng)) for _ in range(MAX_PROBES))

    @cached_property
    def _all_macros(self) -> tuple[list[Macro], list[float]]:
        """Macro shapes, and the running sum of their numbers of members."""
        return list(self._draws.ways), list(itertools.accumulate(self._draws.ways.values()))

    def _check_within_reach(self) -> None:
        smallest, largest = (getattr(cost, self.budget.primary) for cost in self.reachable)
        if self.budget.limits[self.budget.primary] < smallest:
            self._refuse(format_amount(smallest, self.budget.primary))
        if self.budget.least > largest:
            self._refuse(format_amount(largest, self.budget.primary))

    def _refuse(self, nearest_cost: str) -> None:
        quantity = self.budget.primary
        smallest, largest = (format_amount(getattr(cost, quantity), quantity) for cost in self.reachable)
        raise BudgetError(
            f"budget: got {self.budget}, a band from {format_amount(self.budget.least, quantity)}; "
            f"expected something within {smallest} and {largest}, what {self.space.name} reaches; the nearest it has is {nearest_cost}")

    def _edited(self, choice: Choice, rng: random.Random) -> Choice:
        """Change one stage: a block's kind most often, else its width, its depth or its feed-forward network."""
        i = rng.randrange(len(choice))
        offered, stage = self.space.stages[i], choice[i]
        num_kinds = len(self.costs.kinds[i])
        edit = rng.choice(("kind", "kind", "kind", "ffn", "width", "depth"))
        if edit == "kind":
            place = rng.randrange(len(stage.kinds))
            stage = stage._replace(kinds=(*stage.kinds[:place], rng.randrange(num_kinds), *stage.kinds[place + 1:]))
        elif edit == "ffn":
            stage = stage._replace(ffn=rng.randrange(len(offered.ffns)))
        elif edit == "width":
            stage = stage._replace(width=rng.randrange(len(offered.widths)))
        else:
            kinds = list(stage.kinds)
            depth = rng.choice(offered.depths)
            while len(kinds) > depth:
                del kinds[rng.randrange(len(kinds))]
            while len(kinds) < depth:
                kinds.insert(rng.randrange(len(kinds) + 1), rng.randrange(num_kinds))
            stage = stage._replace(kinds=tuple(kinds))
        return (*choice[:i], stage, *choice[i + 1:])


def _mixed(a: StageChoice, b: StageChoice, rng: random.Random) -> StageChoice:
    """Width, depth and feed-forward network of one stage, each block's kind from either where both have it."""
    if rng.random() < 0.5:
        a, b = b, a
    kinds = [rng.choice((kind, b.kinds[j])) if j < len(b.kinds) else kind for j, kind in enumerate(a.kinds)]
    return a._replace(kinds=tuple(kinds))
