"""Rows are equal where members are, and cost tables are sums of terms."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from proxies.band.additive_cost import AdditiveCost, CostTable, Rows
from tests.proxies.spaces import Space, members_of, small_spaces

QUANTITIES = ("first", "second")


@given(small_spaces(QUANTITIES))
@settings(max_examples=60)
def test_distinct_members_have_distinct_rows_and_these_cost_what_their_terms_do(drawn: tuple[Space, AdditiveCost]) -> None:
    space, cost = drawn
    rows = Rows(space)
    expected = members_of(space, cost, QUANTITIES)
    by_row = {}
    for member, costs in expected.items():
        row = rows.row({slot: options[-1] for slot, options in space.slots.items()} | dict(member))
        assert np.array_equal(rows.row(rows.parameters(row)), row)
        by_row[tuple(row.tolist())] = costs
    assert len(by_row) == len(expected)
    found = np.array(list(by_row))
    assert np.array_equal(rows.canonical(found), found)
    assert CostTable(rows, cost, QUANTITIES)(found).tolist() == list(map(list, by_row.values()))


@given(small_spaces(QUANTITIES), st.data())
@settings(max_examples=40)
def test_a_row_holds_the_options_of_active_slots(drawn: tuple[Space, AdditiveCost], data: st.DataObject) -> None:
    space, cost = drawn
    rows = Rows(space)
    parameters = {slot: data.draw(st.sampled_from(options)) for slot, options in space.slots.items()}
    row = rows.row(parameters)
    counting = dict(zip(rows.names, rows.active(row[None])[0].tolist(), strict=True))
    member = tuple((slot, option) for slot, option in rows.parameters(row).items() if counting[slot])
    assert member == tuple((slot, option) for slot, option in parameters.items() if counting[slot])
    assert member in members_of(space, cost, QUANTITIES)
