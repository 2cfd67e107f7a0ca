"""Budgets read what people write, print what reads back, and refuse the rest in one line."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxies.cost import Budget, BudgetError, Cost, latency_on, parse_budget
from proxies.target import IMPORTED, Target, TargetError, parse_target

LIMITS = st.integers(1, 10**17)
BUDGETS = st.one_of(
    st.builds(Budget, st.fixed_dictionaries({"macs": LIMITS})),
    st.builds(Budget, st.fixed_dictionaries({"params": LIMITS})),
    st.builds(Budget, st.fixed_dictionaries({latency_on(Target("cuda", batch=8)): LIMITS})),
    st.builds(Budget, st.fixed_dictionaries({"params": LIMITS, "memory@train:bs32": LIMITS, "memory@act": LIMITS})),
    st.builds(
        Budget, st.fixed_dictionaries({"macs": LIMITS, "params": LIMITS, latency_on(Target(threads=2)): LIMITS}),
        floor=st.floats(0, 1, exclude_max=True)),
)
COSTS = st.builds(Cost, st.integers(0, 10**17), st.integers(0, 10**17))


@pytest.mark.parametrize(
    ("text", "max_macs", "max_params"),
    [
        ("4.5GFLOPs", 4_500_000_000, None),
        ("450MFLOPs", 450_000_000, None),
        ("4.5GMACs", 4_500_000_000, None),
        ("25Mparams", None, 25_000_000),
        ("4.5GFLOPs 25Mparams", 4_500_000_000, 25_000_000),
        ("25Mparams,4.5GFLOPs", 4_500_000_000, 25_000_000),
        (" 4.5 gflops ,  25 MPARAMS ", 4_500_000_000, 25_000_000),
        ("1e3kflop", 1_000_000, None),
        ("7params", None, 7),
    ],
)
def test_a_budget_is_read(text: str, max_macs: int | None, max_params: int | None) -> None:
    assert parse_budget(text) == Budget({name: limit for name, limit in (("macs", max_macs), ("params", max_params)) if limit})


@given(BUDGETS)
def test_a_printed_budget_reads_back_as_itself(budget: Budget) -> None:
    assert parse_budget(str(budget), budget.floor) == budget
    assert parse_budget(str(budget).lower().replace(" ", ","), budget.floor) == budget


@pytest.mark.parametrize(
    "text",
    ["", " , ", "4.5", "GFLOPs", "4.5GB", "12kms@cpu", "@cpu", "-1GFLOPs", "0GFLOPs", "nanGFLOPs", "infGFLOPs",
     "4.5GFLOPs;25Mparams",
     "4.5GFLOPs 25", "0.1FLOPs", "1e999999999999GFLOPs", "1e-999999999999GFLOPs", "1e" + "9" * 40 + "GFLOPs",
     "9" * 5000 + "FLOPs", "4..5GFLOPs", "4.5GFLOPs25Mparams", "４.５GFLOP§"],
)
def test_what_is_no_budget_is_refused_with_the_units_there_are(text: str) -> None:
    with pytest.raises(BudgetError, match=r"^budget: got .*expected .*(params|FLOPs)") as error:
        parse_budget(text)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 1000


@pytest.mark.parametrize(
    ("text", "nanoseconds", "target"),
    [
        ("12ms@cpu", 12_000_000, Target()),
        ("12ms@cpu:1t:bs1", 12_000_000, Target()),
        ("1.5s@CUDA:BS8:bf16", 1_500_000_000, Target("cuda", batch=8, precision="bf16")),
        ("250us@ort:2t", 250_000, Target(backend="ort", threads=2)),
        ("6ms@ort-int8:1t:bs1", 6_000_000, Target(backend="ort-int8")),
        ("3ms@bs4:compile:cuda", 3_000_000, Target("cuda", "compile", batch=4)),
        ("20ms@Pixel8", 20_000_000, Target("pixel8", IMPORTED)),
        ("20ms@jetson-nano_2.1", 20_000_000, Target("jetson-nano_2.1", IMPORTED)),
    ],
)
def test_a_latency_names_its_target(text: str, nanoseconds: int, target: Target) -> None:
    budget = parse_budget(text)
    assert budget.limits == {latency_on(target): nanoseconds}
    assert budget.targets == {latency_on(target): target}
    assert parse_target(str(target)) == target


@pytest.mark.parametrize(
    "text", ["12ms", "1\nms", "1ms@" + "c" * 5000, "12ms@", "12ms@1t:bs1", "12ms@tpu:1t", "12ms@cpu:cuda", "12ms@cpu:0t", "12ms@cpu:bs0",
             "12ms@cpu:fp16", "12ms@cpu:1t:2t", "12ms@ort-int8:cuda", "12ms@ort-int8:bf16", "12ms@-", "12ms@a/b", "12ms@2t",
             "12ms@" + "a" * 41]
)
def test_a_latency_without_a_target_that_there_is_is_refused(text: str) -> None:
    with pytest.raises(BudgetError, match=r"^budget: got .*expected .*cpu") as error:
        parse_budget(text)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 1000


@pytest.mark.parametrize(
    ("text", "limits"),
    [
        ("64MiB@act 4.5GFLOPs", {"macs": 4_500_000_000, "memory@act": 2**26}),
        ("1Mparams, 100MB@ACT", {"params": 10**6, "memory@act": 10**8}),
        ("1.5gib@train:bs32", {"memory@train:bs32": 3 * 2**29}),
        ("1GFLOPs 2GB@train:BS8 5ms@cpu", {"macs": 10**9, "memory@train:bs8": 2 * 10**9, latency_on(Target()): 5 * 10**6}),
    ],
)
def test_memory_names_its_moment(text: str, limits: dict[str, int]) -> None:
    budget = parse_budget(text)
    assert budget.limits == limits
    assert parse_budget(str(budget)) == budget
    assert all(quantity.startswith("memory") for quantity in budget.memory)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("1GFLOPs 64MiB", "memory without a moment, expected one such as 64MiB@act"),
        ("1GFLOPs 64MiB@", "got '', expected act"),
        ("1GFLOPs 64MiB@train", "got 'train', expected act"),
        ("1GFLOPs 64MiB@train:bs0", "got 'train:bs0'"),
        ("64MiB@act", "alone, expected a limit beside it"),
        ("1GFLOPs 0.1B@act", "expected between 1 and"),
        ("1GFLOPs 64MiB@act 65MiB@act", "second limit"),
    ],
)
def test_memory_without_a_moment_or_alone_is_refused(text: str, complaint: str) -> None:
    with pytest.raises(BudgetError, match=f"^budget: got .*{complaint}") as error:
        parse_budget(text)
    assert "\n" not in str(error.value)


def test_multiply_adds_come_first_in_any_order_of_writing() -> None:
    assert list(parse_budget("12ms@cpu 25Mparams 4.5GFLOPs").limits) == ["macs", "params", latency_on(Target())]


@pytest.mark.parametrize("text", ["4.5GFLOPs 4GFLOPs", "1ms@cpu 2ms@cpu:1t", "4.5GFLOPs, 4GMACs", "1Mparams 1Mparams"])
def test_a_second_limit_on_one_quantity_is_refused(text: str) -> None:
    with pytest.raises(BudgetError, match="second limit"):
        parse_budget(text)


NUMBERS = st.from_regex(r"[-+]?[0-9]{0,4}[.,_ ']?[0-9]{0,4}(e[0-9]{1,4})?", fullmatch=True)
UNITS = st.sampled_from(["GFLOPs", "GMACs", "Mparams", "ms@cpu", "us@cuda:bs8", "ms", "ms@cpu:1t,bs1", "ms@tpu", "G FLOPs", "GB", ""])
LIMIT_TEXTS = st.lists(st.builds("{}{}".format, NUMBERS, UNITS))
BUDGET_TEXTS = st.builds(lambda separator, limits: separator.join(limits), st.sampled_from([" ", ",", ", ", ";"]), LIMIT_TEXTS)


@given(st.text(max_size=40) | BUDGET_TEXTS)
def test_any_text_is_a_budget_or_one_line_that_quotes_it(text: str) -> None:
    try:
        budget = parse_budget(text)
    except BudgetError as error:
        complaint = str(error)
    else:
        complaint = ""
        assert parse_budget(str(budget)) == budget
    assert not complaint or repr(text)[:100] in complaint
    assert len(complaint.splitlines()) <= 1


@pytest.mark.parametrize(
    ("text", "meant"),
    [("4,5GFLOPs", "'4.5GFLOPs'"), ("4,5 GFLOPs 25Mparams", "'4.5 GFLOPs 25Mparams'"), ("4GFLOPs 2,5ms@cpu", "'4GFLOPs 2.5ms@cpu'"),
     ("1,500MFLOPs", "'1.500MFLOPs'")],
)  # fmt: skip
def test_a_decimal_comma_is_answered_with_a_point(text: str, meant: str) -> None:
    with pytest.raises(BudgetError, match=f"^budget: got '{text}', expected .*; write decimals with a point: {meant}$"):
        parse_budget(text)


TARGET_WORDS = st.sampled_from(["cpu", "cuda", "ort", "ort-int8", "pixel8", "1t", "2,5t", "bs1", "bs", "fp16", ""])


@given(st.text(max_size=40) | st.lists(TARGET_WORDS).map(":".join))
def test_any_text_is_a_target_or_one_line_that_quotes_it(text: str) -> None:
    try:
        target = parse_target(text)
    except TargetError as error:
        complaint = str(error)
    else:
        complaint = ""
        assert parse_target(str(target)) == target
    assert not complaint or repr(text)[:60] in complaint
    assert len(complaint.splitlines()) <= 1


@pytest.mark.parametrize("floor", [-0.1, 1.0, 1.5, float("nan"), float("inf")])
def test_a_floor_outside_0_to_1_is_refused(floor: float) -> None:
    with pytest.raises(BudgetError, match="floor"):
        parse_budget("1GFLOPs", floor)


def test_bounds_are_inclusive_and_as_written() -> None:
    budget = parse_budget("100FLOPs 5params", floor=0.7)
    assert [macs for macs in range(120) if budget.admits(Cost(macs, 0))] == list(range(70, 101))
    assert [params for params in range(9) if budget.admits(Cost(80, params))] == list(range(6))


def test_parameters_have_the_lower_bound_where_they_are_limited_alone() -> None:
    budget = parse_budget("10params")
    assert [params for params in range(15) if budget.admits(Cost(10**12, params))] == [9, 10]


@given(BUDGETS, COSTS)
def test_excess_is_positive_exactly_outside(budget: Budget, cost: Cost) -> None:
    costs = {quantity: cost.params if quantity == "params" else cost.macs for quantity in budget.limits}
    assert (budget.excess(costs) <= 0) == budget.admits(costs)


@given(COSTS, COSTS)
def test_costs_add_up(a: Cost, b: Cost) -> None:
    assert a + b == Cost(a.macs + b.macs, a.params + b.params)


def test_costs_read_well() -> None:
    assert str(Cost(4_480_000_000, 21_500_000)) == "4.48 GFLOPs, 21.5 Mparams"
    assert str(Cost(60_340_000, 1_230_000)) == "60.3 MFLOPs, 1.23 Mparams"
