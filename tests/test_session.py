"""Meter values become charging periods: cut at the caps, split at the tariff's borders, exact in sum."""

from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn

from energyshare.errors import Reason, Rejected
from energyshare.rating import ChargingPeriod, Session
from energyshare.session import MeterPoint, bill, metered_session
from energyshare.tariff import Tariff, TariffError, parse_tariff
from energyshare.values import Instant
from tests.naive_pricer import tariffs

H = 3_600
NOON = 1_768_561_200_000_000
"""Friday 2026-01-16, 12:00 in Berlin."""


def tariff(*restrictions: dict[str, Any]) -> Tariff:
    component = {"type": "ENERGY", "price": "1", "step_size": 1}
    elements = [{"price_components": [component], "restrictions": r} for r in restrictions or ({},)]
    return parse_tariff({"currency": "EUR", "elements": elements})


def split(
    points: list[tuple[int, int, bool]],
    end: tuple[int, int],
    *restrictions: dict[str, Any],
    caps: tuple[int, int] = (10**9, 10**6),
    start: int = NOON,
) -> Session:
    """Make a session of points and an end; the caps are Wh and seconds."""
    meter = [MeterPoint(*point) for point in points]
    return metered_session(Instant(start), "Europe/Berlin", meter, *end, *caps, tariff(*restrictions))


def told(session: Session) -> list[tuple[Any, Any, Any, Any]]:
    """Tell the periods as (seconds after the start, Wh, charging seconds, parking seconds)."""
    return [(Fraction(p.start - session.start, 10**6), p.energy_wh, p.time_s, p.parking_time_s) for p in session.periods]


CASES: list[tuple[str, Session, list[tuple[Any, Any, Any, Any]]]] = [
    ("no point at all", split([], (H, 500)), [(0, 500, H, 0)]),
    ("nothing happened", split([], (0, 0)), []),
    ("points that change nothing are joined", split([(0, 0, True), (900, 70, True)], (H, 500)), [(0, 500, H, 0)]),
    (
        "parking follows charging",
        split([(0, 0, True), (900, 70, True), (1_000, 80, False)], (H, 80)),
        [(0, 80, 1_000, 0), (1_000, 0, 0, 2_600)],
    ),
    ("parking from the start", split([(0, 0, False)], (H, 0)), [(0, 0, 0, H)]),
    ("a late first point was preceded by supply", split([(60, 5, False)], (H, 5)), [(0, 5, 60, 0), (60, 0, 0, 3_540)]),
    ("a jump at the start is kept", split([(0, 3, True)], (60, 4)), [(0, 4, 60, 0)]),
    ("cut by seconds, linear between", split([(0, 0, True)], (H, 900), caps=(10**9, 900)), [(0, 225, 900, 0)]),
    ("cut by energy, time goes on", split([(0, 0, True)], (H, 900), caps=(300, 10**6)), [(0, 300, H, 0)]),
    ("cut by seconds first", split([(0, 0, True)], (H, 900), caps=(300, 900)), [(0, 225, 900, 0)]),
    (
        "points past the cap don't count",
        split([(0, 0, True), (900, 90, True), (1_800, 180, False)], (H, 180), caps=(10**9, 1_000)),
        [(0, 100, 1_000, 0)],
    ),
    (
        "the cap is reached on the way",
        split([(0, 0, True)], (H, 3_600), {"start_time": "12:00", "end_time": "12:30"}, caps=(1_200, 10**6)),
        [(0, 1_200, 1_800, 0), (1_800, 0, 1_800, 0)],
    ),
    (
        "an energy cap of nothing leaves the time",
        split([(0, 0, True)], (H, 900), caps=(0, 10**6)),
        [(0, 0, H, 0)],
    ),
    (
        "a duration border",
        split([(0, 0, True)], (H, 900), {"max_duration": 900}),
        [(0, 225, 900, 0), (900, 675, 2_700, 0)],
    ),
    ("borders at the end split nothing", split([], (900, 90), {"max_duration": 900, "max_kwh": "0.09"}), [(0, 90, 900, 0)]),
    (
        "an energy border is where linear energy crosses it",
        split([(0, 0, True)], (1_000, 4_000), {"min_kwh": "1"}),
        [(0, 1_000, 250, 0), (250, 3_000, 750, 0)],
    ),
    (
        "a crossing is taken at the next whole microsecond",
        split([(0, 0, True)], (1, 3), {"min_kwh": "0.001"}),
        [(0, 1, Fraction(333_334, 10**6), 0), (Fraction(333_334, 10**6), 2, Fraction(666_666, 10**6), 0)],
    ),
    (
        "energy at a border in time is taken down to a millionth",
        split([(0, 0, True)], (3, 1), {"max_duration": 1}),
        [(0, Fraction(333_333, 10**6), 1, 0), (1, Fraction(666_667, 10**6), 2, 0)],
    ),
    (
        "energy that jumps is split in no time",
        split([(0, 0, True), (60, 0, True), (60, 3_000, True)], (90, 3_000), {"max_kwh": "1"}),
        [(0, 1_000, 60, 0), (60, 2_000, 30, 0)],
    ),
    (
        "a threshold that is only just reached",
        split([(0, 0, True), (60, 1_000, True)], (90, 1_000), {"max_kwh": "1"}),
        [(0, 1_000, 60, 0), (60, 0, 30, 0)],
    ),
    (
        "a border in time of day",
        split([(0, 0, True)], (2 * H, 200), {"end_time": "13:00"}),
        [(0, 100, H, 0), (H, 100, H, 0)],
    ),
    (
        "an open window begins at midnight",
        split([(0, 0, True)], (14 * H, 1_400), {"end_time": "12:00"}),
        [(0, 1_200, 12 * H, 0), (12 * H, 200, 2 * H, 0)],
    ),
    (
        "days and dates turn at midnight",
        split([(0, 0, True)], (14 * H, 1_400), {"day_of_week": ["FRIDAY"]}, {"start_date": "2026-01-17"}),
        [(0, 1_200, 12 * H, 0), (12 * H, 200, 2 * H, 0)],
    ),
    (
        "a start between seconds",
        split([(0, 0, True)], (2 * H, 2 * H), {"end_time": "13:00"}, start=NOON + 500_000),
        [
            (0, Fraction(7_199, 2), Fraction(7_199, 2), 0),
            (Fraction(7_199, 2), Fraction(7_201, 2), Fraction(7_201, 2), 0),
        ],
    ),
]


@pytest.mark.parametrize(("name", "session", "periods"), CASES, ids=[case[0] for case in CASES])
def test_meter_values_become_these_periods(name: str, session: Session, periods: list[tuple[Any, Any, Any, Any]]) -> None:
    assert told(session) == periods


SPRING = 1_774_738_800_000_000
"""2026-03-29 00:00 in Berlin; at 02:00 it becomes 03:00."""
AUTUMN = 1_792_879_200_000_000
"""2026-10-25 00:00 in Berlin; at 03:00 it becomes 02:00."""
CLOCKS: list[tuple[str, int, dict[str, Any], list[float]]] = [
    ("a start that is skipped is at the jump", SPRING, {"start_time": "02:30", "end_time": "04:00"}, [0, 2, 3, 25.5]),
    ("an end that is skipped is at the jump", SPRING, {"start_time": "01:00", "end_time": "02:30"}, [0, 1, 2, 24, 25.5]),
    ("an hour told twice makes a window longer", AUTUMN, {"start_time": "01:00", "end_time": "03:00"}, [0, 1, 3, 4]),
    ("an end told twice ends twice", AUTUMN, {"start_time": "01:00", "end_time": "02:30"}, [0, 1, 2.5, 3, 3.5]),
    ("midnight after a short day", SPRING, {"start_date": "2026-03-30"}, [0, 2, 23]),
    ("midnight after a long day", AUTUMN, {"day_of_week": ["MONDAY"]}, [0, 3, 25]),
]


@pytest.mark.parametrize(("name", "start", "restriction", "hours"), CLOCKS, ids=[case[0] for case in CLOCKS])
def test_borders_follow_the_clocks_of_the_place(name: str, start: int, restriction: dict[str, Any], hours: list[float]) -> None:
    session = split([], (26 * H, 0), restriction, start=start)
    assert [(period.start - start) / (H * 10**6) for period in session.periods] == hours


IMPLAUSIBLE: list[tuple[str, list[tuple[int, int, bool]], tuple[int, int]]] = [
    ("time falls", [(60, 1, True), (59, 2, True)], (90, 3)),
    ("energy falls", [(60, 2, True), (61, 1, True)], (90, 3)),
    ("the end is before the last point", [(60, 2, True)], (59, 3)),
    ("the end has less energy than the last point", [(60, 2, True)], (90, 1)),
    ("time below zero", [(-1, 0, True)], (90, 1)),
    ("energy below zero", [(0, -1, True)], (90, 1)),
]


@pytest.mark.parametrize(("name", "points", "end"), IMPLAUSIBLE, ids=[case[0] for case in IMPLAUSIBLE])
def test_meter_values_that_fall_are_refused(name: str, points: list[tuple[int, int, bool]], end: tuple[int, int]) -> None:
    with pytest.raises(Rejected) as refused:
        split(points, end)
    assert refused.value.reason is Reason.READING_IMPLAUSIBLE


def test_an_unknown_time_zone_is_refused() -> None:
    with pytest.raises(TariffError, match="is not an IANA time zone"):
        metered_session(Instant(NOON), "Mars/Olympus", [], H, 1, 1, H, tariff())


def test_a_bill_prices_the_session_that_was_metered() -> None:
    points = [MeterPoint(0, 0, True)]
    assert bill(Instant(NOON), "UTC", points, H, 1_500, 1_200, H, tariff()).excl_vat_minor == 120


def test_texts_on_bills_stay_short_whatever_was_metered() -> None:
    primes = (7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83)
    points = [MeterPoint(1_000 * i + p, 999_983 * i + p, True) for i, p in enumerate(primes)]
    borders = [{"max_duration": 997 * i, "max_kwh": f"{i * 499.979:.3f}"} for i in range(1, 40)]
    dear = {"price_components": [{"type": k, "price": "999999.999999", "step_size": 1} for k in ("ENERGY", "TIME")]}
    rates = parse_tariff({"currency": "KWD", "elements": [*({**dear, "restrictions": b} for b in borders), dear]})
    priced = bill(Instant(NOON + 1), "UTC", points, 99_991, 10**8 + 7, 10**9, 10**6, rates)
    assert len(priced.lines) > 30
    assert max(len(text) for line in priced.lines for text in (line.volume, line.billed_volume, line.excl_vat_minor)) <= 64


@st.composite
def meterings(draw: DrawFn) -> tuple[list[MeterPoint], int, int]:
    """Make plausible points and an end."""
    steps = draw(st.lists(st.tuples(st.integers(0, 9_000), st.integers(0, 2_000), st.booleans()), max_size=8))
    points, elapsed_s, energy_wh = [], 0, 0
    for seconds, energy, supplying in steps:
        elapsed_s, energy_wh = elapsed_s + seconds, energy_wh + energy
        points.append(MeterPoint(elapsed_s, energy_wh, supplying))
    return points, elapsed_s + draw(st.integers(0, 9_000)), energy_wh + draw(st.integers(0, 2_000))


@settings(max_examples=150, deadline=None)
@given(tariffs(), meterings(), st.integers(1, 20_000), st.integers(1, 80_000), st.integers(0, 90_000))
def test_nothing_is_lost_or_added_by_splitting(
    source: dict[str, Any], metering: tuple[list[MeterPoint], int, int], wh: int, seconds: int, after: int
) -> None:
    points, end_s, end_wh = metering
    start = Instant(AUTUMN + after * 10**6)
    session = metered_session(start, "Europe/Berlin", points, end_s, end_wh, wh, seconds, parse_tariff(source))
    assert sum(p.time_s + p.parking_time_s for p in session.periods) == min(end_s, seconds)
    total = sum(p.energy_wh for p in session.periods)
    assert total <= min(end_wh, wh)
    assert total == min(end_wh, wh) or end_s > seconds
    assert all(min(p.energy_wh, p.time_s, p.parking_time_s) >= 0 for p in session.periods)
    assert all(contiguous(a, b) for a, b in zip(session.periods, session.periods[1:], strict=False))


def contiguous(a: ChargingPeriod, b: ChargingPeriod) -> bool:
    """Say whether one period takes over where the other ends."""
    return (b.at_duration_s, b.at_energy_wh) == (
        a.at_duration_s + a.time_s + a.parking_time_s,
        a.at_energy_wh + a.energy_wh,
    )


@settings(max_examples=100, deadline=None)
@given(tariffs(), meterings(), st.integers(0, 90_000), st.integers(1, 40_000))
def test_meter_values_told_twice_change_nothing(
    source: dict[str, Any], metering: tuple[list[MeterPoint], int, int], after: int, seconds: int
) -> None:
    points, end_s, end_wh = metering
    start, rates = Instant(AUTUMN + after * 10**6), parse_tariff(source)
    twice = [point for point in points for _ in range(2)]
    once = bill(start, "Europe/Berlin", points, end_s, end_wh, 10**6, seconds, rates)
    assert bill(start, "Europe/Berlin", twice, end_s, end_wh, 10**6, seconds, rates) == once


@settings(max_examples=100, deadline=None)
@given(tariffs(), meterings(), st.integers(0, 90_000), st.integers(0, 8))
def test_what_it_costs_so_far_is_the_bill_of_a_session_that_ends_there(
    source: dict[str, Any], metering: tuple[list[MeterPoint], int, int], after: int, index: int
) -> None:
    points, end_s, end_wh = metering
    start, rates = Instant(AUTUMN + after * 10**6), parse_tariff(source)
    now_s, now_wh = ([(p.elapsed_s, p.energy_wh) for p in points] + [(end_s, end_wh)])[min(index, len(points))]
    so_far = [point for point in points if point.elapsed_s <= now_s]
    now_wh = max([now_wh, *(point.energy_wh for point in so_far)])
    if now_s == end_s:
        now_wh = end_wh
    running = bill(start, "Europe/Berlin", points, end_s, end_wh, 10**6, now_s, rates)
    assert running == bill(start, "Europe/Berlin", so_far, now_s, now_wh, 10**6, 10**6, rates)
