"""Lint finds what may surprise in a tariff, each with its place and code, and nothing else in good ones."""

import json
from datetime import date, timedelta
from pathlib import Path
from random import Random
from typing import Any

import pytest

from energyshare.rating import rate
from energyshare.records import replace
from energyshare.tariff import parse_tariff
from energyshare.tariff_lint import Finding, lint_tariff
from energyshare.tariff_matching import Flow, Moment, holds
from energyshare.tariff_regions import Box, left_of, region_of
from tests.naive_pricer import random_restrictions, random_session, random_tariff
from tests.test_rating import charging, element, energy, flat, parking

EXAMPLES = Path(__file__).parent.parent / "examples"
ALL = element(energy("1"), charging("1"), parking("1"))
TOW = {"type": "ITEM", "item": "tow", "price": 30}
NIGHT = {"start_time": "22:00", "end_time": "06:00"}
C0, C1 = "elements[0].price_components[0]", "elements[1].price_components[0]"
R0, R1 = "elements[0].restrictions", "elements[1].restrictions"


def linted(*elements: dict[str, Any], **fields: Any) -> list[Finding]:
    source = {"currency": "EUR", "max_price": {"excl_vat": 50}, "elements": list(elements), **fields}
    return list(lint_tariff(json.dumps(source).encode()))


def codes(findings: list[Finding]) -> list[tuple[str, str, str]]:
    return [(finding.severity, finding.where, finding.code) for finding in findings]


FOUND: list[tuple[str, list[dict[str, Any]], dict[str, Any], tuple[str, str, str]]] = [
    ("energy is free", [element(charging("1"), parking("1"))], {}, ("note", "elements", "NEVER_PRICED")),
    ("all is free", [element(energy("0"), charging("0"), parking("0"))], {}, ("warning", "elements", "ALL_FREE")),
    ("energy between its borders", [element(energy("9"), min_kwh=5, max_kwh=5), ALL], {}, ("warning", R0, "NEVER_HOLDS")),
    ("power between its borders", [element(energy("9"), min_power=5, max_power=4), ALL], {}, ("warning", R0, "NEVER_HOLDS")),
    ("a duration of nothing", [element(energy("9"), max_duration=0), ALL], {}, ("warning", R0, "NEVER_HOLDS")),
    (
        "dates in the wrong order",
        [element(energy("9"), start_date="2026-02-01", end_date="2026-01-01"), ALL],
        {},
        ("warning", R0, "NEVER_HOLDS"),
    ),
    (
        "a Monday on a Sunday",
        [element(energy("9"), start_date="2026-11-22", end_date="2026-11-23", day_of_week=["MONDAY"]), ALL],
        {},
        ("warning", R0, "NEVER_HOLDS"),
    ),
    ("an item after its start", [ALL, element(TOW, min_duration=60), element(TOW)], {}, ("warning", C1, "NEVER_HOLDS")),
    ("an item by power", [ALL, element(TOW, max_power=60), element(TOW)], {}, ("warning", C1, "NEVER_HOLDS")),
    ("the rule before its exception", [ALL, element(energy("2"), **NIGHT)], {}, ("warning", C1, "NEVER_REACHED")),
    (
        "halves before the whole",
        [element(energy("2"), end_time="12:00"), element(energy("3"), start_time="12:00"), ALL],
        {},
        ("warning", "elements[2].price_components[0]", "NEVER_REACHED"),
    ),
    (
        "a part of what is before it",
        [element(energy("2"), max_kwh=9), element(energy("3"), max_kwh=5), ALL],
        {},
        ("warning", C1, "NEVER_REACHED"),
    ),
    (
        "two windows that cross",
        [element(energy("2"), **NIGHT), element(energy("3"), start_time="05:00", end_time="09:00"), ALL],
        {},
        ("warning", C1, "OVERLAP"),
    ),
    (
        "a window and a weekday",
        [element(energy("2"), start_time="05:00", end_time="09:00"), element(energy("3"), day_of_week=["SUNDAY"]), ALL],
        {},
        ("warning", C1, "OVERLAP"),
    ),
    (
        "energy at night alone",
        [element(energy("2"), **NIGHT), element(charging("1"), parking("1"))],
        {},
        ("warning", C0, "GAP"),
    ),
    (
        "a gap of one minute",
        [
            element(energy("2"), end_time="12:00"),
            element(energy("2"), start_time="12:01"),
            element(charging("1"), parking("1")),
        ],
        {},
        ("warning", C0, "GAP"),
    ),
    ("an item on one day", [ALL, element(TOW, day_of_week=["MONDAY"])], {}, ("warning", C1, "GAP")),
    (
        "parking by day alone",
        [element(energy("1"), charging("1")), element(parking("1"), end_time="20:00")],
        {},
        ("note", C1, "GAP"),
    ),
    ("a fee by day alone", [ALL, element(flat("1"), end_time="20:00")], {}, ("note", C1, "GAP")),
    (
        "a night of some weekdays",
        [element(energy("9"), **NIGHT, day_of_week=["FRIDAY"]), ALL],
        {},
        ("warning", R0, "WINDOW_WRAPS_WEEKDAY"),
    ),
    ("no maximum", [ALL], {"max_price": None}, ("note", "max_price", "COST_UNBOUNDED")),
    (
        "a kilowatt-hour at once",
        [element(energy("1", step=1_000), charging("1"), parking("1"))],
        {},
        ("warning", f"{C0}.step_size", "STEP_LARGE"),
    ),
    (
        "a day at once",
        [element(parking("1", step=86_400), energy("1"), charging("1"))],
        {},
        ("warning", f"{C0}.step_size", "STEP_LARGE"),
    ),
    (
        "steps that differ",
        [element(energy("1", step=10), max_kwh=5), element(energy("1"), charging("1"), parking("1"))],
        {},
        ("note", f"{C1}.step_size", "STEP_DIFFERS"),
    ),
    (
        "a step that parking undoes",
        [element(charging("1", step=60), energy("1"), parking("1"))],
        {},
        ("warning", f"{C0}.step_size", "STEP_IGNORED"),
    ),
    ("current", [element(energy("2"), max_current=16), ALL], {}, ("warning", R0, "CURRENT_UNKNOWN")),
    ("a reservation", [element(flat("2"), reservation="RESERVATION"), ALL], {}, ("note", R0, "RESERVATION_UNUSED")),
    ("a limit without VAT", [ALL, element(flat("1", "20"))], {}, ("note", "max_price.incl_vat", "LIMIT_WITHOUT_VAT")),
]


@pytest.mark.parametrize(("name", "elements", "fields", "finding"), FOUND, ids=[row[0] for row in FOUND])
def test_what_may_surprise_is_found_alone(
    name: str, elements: list[dict[str, Any]], fields: dict[str, Any], finding: tuple[str, str, str]
) -> None:
    assert codes(linted(*elements, **fields)) == [finding]


GOOD: list[tuple[str, list[dict[str, Any]]]] = [
    ("one of each", [ALL]),
    ("an exception before its rule", [element(energy("2"), **NIGHT), ALL]),
    ("an exception within an exception", [element(energy("2"), max_kwh=1, **NIGHT), element(energy("3"), **NIGHT), ALL]),
    (
        "windows that meet",
        [
            element(energy("2"), end_time="12:00"),
            element(energy("3"), start_time="12:00"),
            element(charging("1"), parking("1")),
        ],
    ),
    (
        "windows that cross at the same price",
        [element(energy("2"), **NIGHT), element(energy("2"), start_time="05:00", end_time="09:00"), ALL],
    ),
    ("tiers of power", [element(energy("2"), max_power=11), element(energy("3"), max_power=22), ALL]),
    (
        "every weekday of a night",
        [
            element(
                energy("2"), **NIGHT, day_of_week=["MONDAY", "TUESDAY", "WEDNESDAY", "THURSDAY", "FRIDAY", "SATURDAY", "SUNDAY"]
            ),
            ALL,
        ],
    ),
    ("a step of parking", [element(energy("1"), charging("1"), parking("1", step=60))]),
    ("weekdays of a week", [element(energy("2"), start_date="2026-11-22", end_date="2026-11-29", day_of_week=["MONDAY"]), ALL]),
]


@pytest.mark.parametrize(("name", "elements"), GOOD, ids=[row[0] for row in GOOD])
def test_nothing_is_found_in_a_good_tariff(name: str, elements: list[dict[str, Any]]) -> None:
    assert linted(*elements) == []


def test_a_tariff_that_can_not_be_read_is_one_error_with_its_place() -> None:
    assert lint_tariff(b"{")[0].code == "UNREADABLE"
    assert linted() == [Finding("error", "elements", "UNREADABLE", "has 0 items; it takes 1 to 100")]


def test_a_reservation_that_asks_for_energy_prices_none() -> None:
    found = codes(linted(ALL, element(flat("1"), reservation="RESERVATION", min_kwh=1)))
    assert found == [("warning", C1, "NEVER_HOLDS"), ("note", C1, "GAP"), ("note", R1, "RESERVATION_UNUSED")]


def test_a_price_by_current_alone_is_free_in_every_order() -> None:
    found = linted(
        element(energy("1"), max_current=16), element(energy("2"), min_current=16), element(charging("1"), parking("1"))
    )
    assert [finding.text for finding in found if finding.code == "GAP"] == [
        "no price of energy holds while the current is not known, as in every order: it is free then"
    ]


def test_a_gap_and_its_rival_are_told_in_words() -> None:
    gap = linted(element(energy("2"), **NIGHT), element(charging("1"), parking("1")))
    assert [finding.text for finding in gap] == ["no price of energy holds from 06:00 to 22:00: it is free then"]
    item = linted(ALL, element(TOW, day_of_week=["MONDAY"]))
    assert item[0].text.startswith("no price of tow holds on Tuesday, Wednesday")
    crossed = linted(element(energy("2"), **NIGHT), element(energy("3"), start_time="05:00", end_time="09:00"), ALL)
    assert [finding.text for finding in crossed] == [f"it overlaps {C0}, which decides where both hold"]


def test_warnings_come_before_notes_and_examples_have_none() -> None:
    severities = [finding.severity for finding in linted(element(charging("1", step=60), parking("1")))]
    assert severities == ["warning", "note"]
    for name in ("day", "callout"):
        assert {finding.severity for finding in lint_tariff((EXAMPLES / f"{name}.json").read_bytes())} == {"note"}


def random_moment(random: Random) -> tuple[Moment, tuple[int, ...]]:
    """Make a moment, and the same as a point on the axes; the current is sometimes not known."""
    day = date(2026, 10, 23) + timedelta(random.randint(0, 5))
    energy_wh, duration_s, minute = random.randint(0, 9_000), random.randint(0, 90_000), random.randint(0, 1_439)
    power, current = random.randint(0, 12_000), random.choice((-1, random.randint(0, 64_000)))
    flow = Flow((power, 1), (power, 1), *(((current, 1), (current, 1)) if current >= 0 else (None, None)))
    point = (minute, day.weekday(), day.toordinal(), energy_wh, duration_s, power, current)
    return Moment(energy_wh, duration_s, minute, day, day.weekday(), flow), point


def lies_in(point: tuple[int, ...], box: Box) -> bool:
    return all(any(low <= at < high for low, high in ranges) for at, ranges in zip(point, box, strict=True))


@pytest.mark.parametrize("seed", range(4))
def test_a_region_is_where_restrictions_hold(seed: int) -> None:
    random = Random(seed)
    for _ in range(300):
        source = {"price_components": [energy("1")], "restrictions": random_restrictions(random)}
        restrictions = parse_tariff({"currency": "EUR", "elements": [source]}).elements[0].restrictions
        moment, point = random_moment(random)
        assert lies_in(point, region_of(restrictions)) == holds(restrictions, moment), (source, point)


@pytest.mark.parametrize("seed", range(4))
def test_a_cut_leaves_just_what_lies_outside(seed: int) -> None:
    random = Random(seed)
    for _ in range(200):
        boxes = [region_of(parse_tariff(random_tariff(random)).elements[0].restrictions) for _ in range(3)]
        _, point = random_moment(random)
        left = left_of(boxes[0], boxes[1:])
        assert left is not None
        in_first, *in_others = (lies_in(point, box) for box in boxes)
        assert sum(lies_in(point, piece) for piece in left) == (in_first and not any(in_others))


def test_what_is_never_reached_is_never_billed() -> None:
    """No line of a bill is of a component that lint calls unreachable, over random tariffs and orders."""
    checked = 0
    for seed in range(400):
        random = Random(seed)
        source = random_tariff(random)
        kept = reached(source)
        if kept and kept != source["elements"]:
            checked += 1
            session = random_session(random, [])
            order = replace(session, periods=tuple(replace(p, flow=one_power(random)) for p in session.periods))
            assert rate(order, parse_tariff({**source, "elements": kept})) == rate(order, parse_tariff(source)), seed
    assert checked > 50


def reached(source: dict[str, Any]) -> list[dict[str, Any]]:
    """Give a tariff's elements without what lint calls useless."""
    codes = ("NEVER_HOLDS", "NEVER_REACHED")
    useless = {finding.where for finding in lint_tariff(json.dumps(source).encode()) if finding.code in codes}
    elements = [
        (element, [c for j, c in enumerate(element["price_components"]) if f"{where}.price_components[{j}]" not in useless])
        for where, element in ((f"elements[{i}]", element) for i, element in enumerate(source["elements"]))
        if f"{where}.restrictions" not in useless
    ]
    return [{**element, "price_components": components} for element, components in elements if components]


def one_power(random: Random) -> Flow:
    """Make a power as it is between two meter values; current is not known."""
    power = (random.randint(0, 12_000), 1)
    return Flow(power, power)
