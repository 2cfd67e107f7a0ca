"""Variation: children are members of the band near their parents, and a row outside is replaced by the nearest member."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from nas.samplers.variation import nearest_members, offspring
from tests.proxies.bands import Row, distinct, mini_band, size_of, small_band


def test_children_are_members_near_their_parents() -> None:
    band = mini_band()
    rng = np.random.default_rng(0)
    parents = np.array(list(band.members(10**6)))[rng.integers(size_of(band), size=400)]
    for num_mutants in (len(parents), 0):
        children = offspring(band, parents, parents[::-1], num_mutants, rng)
        assert len(children) > 200
        assert band.admits(children).all()
        assert (band.rows.canonical(children) == children).all()


def test_one_edit_reaches_every_neighbour() -> None:
    band = mini_band()
    rows, parent = band.rows, next(band.members(1))
    parents = np.repeat(parent[None], 5_000, axis=0)
    children = offspring(band, parents, parents, len(parents), np.random.default_rng(0), max_edits=1)
    neighbours = [
        rows.canonical(np.where(np.arange(len(parent)) == slot, option, parent)[None])[0]
        for slot in np.flatnonzero(rows.active(parent[None])[0])
        for option in range(rows.sizes[slot])
        if option != parent[slot]
    ]
    inside = band.admits(np.array(neighbours))
    assert inside.sum() > 3
    # The others have further active slots, which are random.
    same = (rows.active(np.array(neighbours)) == rows.active(parent[None])).all(axis=1)
    assert {row.tobytes() for row in np.array(neighbours)[inside & same]} <= {row.tobytes() for row in children}


@given(st.data())
def test_the_nearest_member_is_the_nearest(data: st.DataObject) -> None:
    """If it is one edit away; otherwise it is at most twice as far as the nearest."""
    band = small_band()
    row = np.array([data.draw(st.integers(0, int(size) - 1)) for size in band.rows.sizes])
    seen = {member.tobytes() for member in band.members(10**6) if data.draw(st.booleans())}

    def untaken(rows: Row) -> Row:
        return rows[[found.tobytes() not in seen for found in rows]]

    members = untaken(np.array(list(band.members(10**6))))
    found = nearest_members(band, row, untaken, np.random.default_rng(0))
    both = band.rows.active(members)
    least = ((members != row) & both).sum(axis=1).min(initial=len(row))
    if len(members) == 0:
        assert len(found) == 0
        return
    assert distinct(list(found)) <= distinct(list(members))
    distances = ((found != row) & band.rows.active(found)).sum(axis=1)
    assert (distances == least).all() if least <= 1 else (distances <= 2 * least).all()
