"""Meter values of orders by tariffs of power, and rentals by the hour and by the day, worked by hand to the cent."""

from typing import Any

import pytest

from energyshare.bound import price_bound
from energyshare.rating import flat_and_minimum
from energyshare.session import MeterPoint, bill, metered_session, service_bill
from energyshare.tariff import parse_tariff
from energyshare.tariff_matching import Flow
from energyshare.values import Instant
from tests.test_rating import charging, element, energy, flat
from tests.test_tariff_whole import AMPERES, FAST, RESERVED, TIERS, tariff

H = 3_600
DAY = 24 * H
NOON = Instant(1_768_561_200_000_000)
"""Friday 2026-01-16, 12:00 in Berlin."""


def metered(
    source: dict[str, Any], points: list[tuple[int, int, bool]], end: tuple[int, int], wh: int = 10**9, seconds: int = 10**7
) -> tuple[int, int]:
    """Price meter values of (seconds, Wh, supplying) and an end, within caps."""
    meter = [MeterPoint(*point) for point in points]
    priced = bill(NOON, "Europe/Berlin", meter, *end, wh, seconds, parse_tariff(source))
    return priced.excl_vat_minor, priced.incl_vat_minor


METERED: list[tuple[str, dict[str, Any], list[tuple[int, int, bool]], tuple[int, int], tuple[int, ...], int]] = [
    ("power between two values", TIERS, [(0, 0, True)], (H, 6_000), (), 120),
    ("exactly at a border", TIERS, [(0, 0, True)], (H, 11_000), (), 330),
    ("just below a border", TIERS, [(0, 0, True)], (H, 10_999), (), 220),
    (
        "each piece by its own power",
        TIERS,
        [(0, 0, True), (900, 2_000, True), (1_800, 22_000, True)],
        (2_700, 24_000),
        (),
        40 + 1_200 + 40,
    ),
    (
        "split by a duration, the power stays",
        tariff(element(energy("1"), min_power=11, max_duration=7), element(energy("2"), min_power=11)),
        [(0, 0, True)],
        (H, 11_000),
        (),
        2_198,
    ),
    ("cut by seconds, the power stays", FAST, [(0, 0, True)], (7, 350_000), (10**9, 3), 15_000),
    (
        "cut by energy, no power is left",
        tariff(element(charging("6"), min_power=1), element(charging("60"))),
        [(0, 0, True)],
        (2 * H, 4_000),
        (2_000, 10**6),
        600 + 6_000,
    ),
    (
        "no energy is no power",
        tariff(element(charging("6"), max_power="0.001"), element(charging("60"))),
        [(0, 0, True)],
        (H, 0),
        (),
        600,
    ),
    ("energy in no time is above all maxima", TIERS, [(0, 0, True), (0, 1_000, True)], (H, 1_000), (), 60),
    ("current is not known", AMPERES, [(0, 0, True)], (H, 11_000), (), 110),
    ("an order has no reservation", RESERVED, [(0, 0, True)], (H, 10_000), (), 100 + 500 + 300),
]


@pytest.mark.parametrize(("name", "source", "points", "end", "caps", "excl_vat"), METERED, ids=[row[0] for row in METERED])
def test_meter_values_tell_their_power(
    name: str,
    source: dict[str, Any],
    points: list[tuple[int, int, bool]],
    end: tuple[int, int],
    caps: tuple[int, ...],
    excl_vat: int,
) -> None:
    assert metered(source, points, end, *caps)[0] == excl_vat


def test_periods_tell_the_power_of_the_values_around_them_where_it_matters() -> None:
    points = [MeterPoint(0, 0, True), MeterPoint(7, 10, True)]
    told = metered_session(NOON, "UTC", points, 10, 10, 10**6, 9, parse_tariff(TIERS))
    assert [period.flow for period in told.periods] == [Flow((36_000, 7), (36_000, 7)), Flow((0, 3), (0, 3))]
    silent = metered_session(NOON, "UTC", points, 10, 10, 10**6, 9, parse_tariff(RESERVED))
    assert [(period.flow, period.time_s) for period in silent.periods] == [(Flow(), 9)]


def test_items_and_flat_without_readings_meet_no_restriction_on_power() -> None:
    free = tariff(element({"type": "ITEM", "item": "tow", "price": 5}, flat("1"), max_power=100))
    assert flat_and_minimum(parse_tariff(free), NOON, "UTC").excl_vat_minor == 0
    assert service_bill(NOON, "UTC", 60, [], parse_tariff(free)).excl_vat_minor == 100


RENTAL = tariff(
    element(charging("0.25", "13", H), max_duration=DAY),
    element(charging("0.125", "13", DAY)),
    element(energy("1.2", "13")),
    max_price={"excl_vat": "30"},
)
"""0.25 an hour on the first day, then 3 a day, and what is taken from the battery by the kWh."""
RENTALS: list[tuple[str, int, int, int, int]] = [
    ("not an hour", 1_800, 0, 25, 28),
    ("three hours, and energy", 3 * H, 1_500, 75 + 180, 288),
    ("all of the first day", DAY, 0, 600, 678),
    ("a moment of the second day rounds up to two days", DAY + 1, 0, 600 + 300, 1_017),
    ("two days", 2 * DAY, 0, 900, 1_017),
    ("nothing above the maximum", 30 * DAY, 9_000, 3_000, 3_390),
    ("late: the seconds cap ends what is billed", 60 * DAY, 0, 3_000, 3_390),
]


@pytest.mark.parametrize(("name", "seconds", "wh", "excl_vat", "incl_vat"), RENTALS, ids=[row[0] for row in RENTALS])
def test_a_rental_costs_hours_days_and_energy(name: str, seconds: int, wh: int, excl_vat: int, incl_vat: int) -> None:
    cap = 30 * DAY
    assert metered(RENTAL, [(0, 0, True)], (seconds, wh), 10_000, cap) == (excl_vat, incl_vat)
    assert incl_vat <= price_bound(parse_tariff(RENTAL), 10_000, cap)


def test_being_late_costs_no_more_than_the_caps_and_the_deposit_is_no_part_of_the_bill() -> None:
    by_the_hour = tariff(element(charging("1", step=H)))
    assert metered(by_the_hour, [(0, 0, True)], (100 * H, 0), 1, 5 * H) == (500, 500)
    assert price_bound(parse_tariff(by_the_hour), 1, 5 * H) == 500
