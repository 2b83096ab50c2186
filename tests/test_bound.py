"""No session within its caps is billed more than the bound that is held for it."""

from math import ceil
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from energyshare.bodies import ServiceItem
from energyshare.bound import price_bound
from energyshare.rating import flat_and_minimum, rate
from energyshare.session import MeterPoint, bill
from energyshare.tariff import TariffError, parse_tariff
from energyshare.values import Instant
from tests.naive_pricer import random_items, random_session, random_tariff, tariffs

AUTUMN = 1_792_879_200_000_000
"""2026-10-25 00:00 in Berlin; at 03:00 it becomes 02:00."""


def part(kind: str, price: str, vat: str = "0", step: int = 1) -> dict[str, Any]:
    return {"type": kind, "price": price, "vat": vat, "step_size": step}


def item(name: str, price: str, vat: str = "0") -> dict[str, Any]:
    return {"type": "ITEM", "item": name, "price": price, "vat": vat}


def tariff(*elements: list[dict[str, Any]], **limits: Any) -> dict[str, Any]:
    return {"currency": "EUR", "elements": [{"price_components": parts} for parts in elements], **limits}


BOUNDS: list[tuple[str, dict[str, Any], int, int, int]] = [
    ("energy at the cap", tariff([part("ENERGY", "0.25", "10")]), 20_000, 3_600, 550),
    ("the highest price with its VAT", tariff([part("ENERGY", "1", "20")], [part("ENERGY", "1.1")]), 1_000, 60, 120),
    ("rounded up to a whole minor unit", tariff([part("ENERGY", "0.001")]), 1, 60, 1),
    ("rounded up by the step", tariff([part("ENERGY", "1", step=700)]), 1_000, 60, 140),
    (
        "a small step may round up more than the largest",
        tariff([part("ENERGY", "1", step=1_000)], [part("ENERGY", "1", step=600)]),
        *(1_000, 60, 120),
    ),
    ("every flat", tariff([part("FLAT", "1", "20")], [part("FLAT", "2")]), 1_000, 60, 320),
    ("time at the cap", tariff([part("TIME", "36", step=600)]), 1_000, 601, 1_200),
    ("parking at the cap", tariff([part("PARKING_TIME", "36", step=600)]), 1_000, 601, 1_200),
    (
        "dear charging, and parking's one step",
        tariff([part("TIME", "72", step=600), part("PARKING_TIME", "36", step=600)]),
        *(1_000, 1_201, 3_600),
    ),
    (
        "charging, and dear parking's one step",
        tariff([part("TIME", "72", step=1), part("PARKING_TIME", "36", step=600)]),
        *(1_000, 1_201, 3_002),
    ),
    (
        "charging until parking's last step begins",
        tariff([part("TIME", "36"), part("PARKING_TIME", "72", step=600)]),
        *(1_000, 1_201, 1 + 3_600),
    ),
    ("the maximum with VAT", tariff([part("ENERGY", "9")], max_price={"excl_vat": 1, "incl_vat": 2}), 1_000, 60, 200),
    ("a maximum without VAT bears the highest", tariff([part("ENERGY", "9", "20")], max_price={"excl_vat": 1}), 1_000, 60, 120),
    ("the minimum with VAT", tariff([part("ENERGY", "0")], min_price={"excl_vat": 1, "incl_vat": 2}), 1_000, 60, 200),
    ("a minimum without VAT bears the highest", tariff([part("ENERGY", "0", "20")], min_price={"excl_vat": 1}), 1_000, 60, 120),
    ("free", tariff([part("ENERGY", "0")]), 1_000, 60, 0),
    ("no minor unit", {**tariff([part("ENERGY", "25.5")]), "currency": "JPY"}, 1_000, 60, 26),
]


@pytest.mark.parametrize(("name", "source", "wh", "seconds", "bound"), BOUNDS, ids=[row[0] for row in BOUNDS])
def test_the_bound_is_what_was_worked_out_by_hand(name: str, source: dict[str, Any], wh: int, seconds: int, bound: int) -> None:
    assert price_bound(parse_tariff(source), wh, seconds) == bound


ITEM_BOUNDS: list[tuple[str, dict[str, Any], list[ServiceItem], int]] = [
    ("no item", tariff([item("tow", "5")]), [], 0),
    ("each of an item", tariff([item("tow", "5")]), [ServiceItem("tow", 3)], 1_500),
    ("the highest price with its VAT", tariff([item("tow", "5", "20")], [item("tow", "5.5")]), [ServiceItem("tow", 1)], 600),
    ("another item's price is its own", tariff([item("tow", "5"), item("tyre", "9")]), [ServiceItem("tow", 1)], 500),
    ("an item named twice", tariff([item("tow", "5")]), [ServiceItem("tow", 1), ServiceItem("tow", 2)], 1_500),
    (
        "flat and time as without items",
        tariff([item("tow", "5"), part("FLAT", "1"), part("TIME", "36")]),
        [ServiceItem("tow", 1)],
        660,
    ),
    ("the maximum holds items too", tariff([item("tow", "5")], max_price={"excl_vat": 4}), [ServiceItem("tow", 1)], 400),
    ("the minimum is reached by items", tariff([item("tow", "5")], min_price={"excl_vat": 7}), [ServiceItem("tow", 1)], 700),
]


@pytest.mark.parametrize(("name", "source", "items", "bound"), ITEM_BOUNDS, ids=[row[0] for row in ITEM_BOUNDS])
def test_items_add_to_the_bound_what_was_worked_out_by_hand(
    name: str, source: dict[str, Any], items: list[ServiceItem], bound: int
) -> None:
    assert price_bound(parse_tariff(source), 1, 60, items) == bound


def test_an_item_that_the_tariff_does_not_name_has_no_bound() -> None:
    with pytest.raises(TariffError, match="has no price in this tariff") as refused:
        price_bound(parse_tariff(tariff([item("tow", "5")])), 1, 60, [ServiceItem("tow\n", 1)])
    assert refused.value.path == "items[tow\\n]"


def test_a_bound_that_no_wallet_holds_is_refused() -> None:
    dear = parse_tariff(tariff([part("ENERGY", "1000000", "100", 10**9)]))
    assert price_bound(dear, 10**9, 60) == 2 * 10**14
    with pytest.raises(TariffError, match="no hold can be that large"):
        price_bound(parse_tariff({**tariff([part("ENERGY", "1000000", "100")]), "currency": "KWD"}), 10**9, 60)
    with pytest.raises(TariffError, match="no hold can be that large"):
        price_bound(parse_tariff(tariff([item("tow", "1000000")])), 1, 60, [ServiceItem("tow", 10_000)] * 1_001)


@settings(max_examples=400, deadline=None)
@given(
    tariffs(),
    st.lists(st.tuples(st.integers(0, 9_000), st.integers(0, 3_000), st.booleans()), min_size=1, max_size=6),
    st.integers(1, 12_000),
    st.integers(1, 30_000),
    st.integers(0, 90_000),
)
def test_no_session_within_its_caps_is_billed_more_than_the_bound(
    source: dict[str, Any], steps: list[tuple[int, int, bool]], wh: int, seconds: int, after: int
) -> None:
    points = [MeterPoint(0, 0, True)]
    for lasts_s, energy_wh, supplying in steps:
        points.append(MeterPoint(points[-1].elapsed_s + lasts_s, points[-1].energy_wh + energy_wh, supplying))
    end, start, rates = points[-1], Instant(AUTUMN + after * 10**6), parse_tariff(source)
    bound = price_bound(rates, wh, seconds)
    metered = bill(start, "Europe/Berlin", points[:-1], end.elapsed_s, end.energy_wh, wh, seconds, rates)
    assert metered.incl_vat_minor <= bound
    assert flat_and_minimum(rates, start, "Europe/Berlin").incl_vat_minor <= bound


@pytest.mark.parametrize("charged_s", [1, 599, 600, 1_199, 1_200])
@pytest.mark.parametrize("prices", [("72", "36"), ("36", "72"), ("50", "50")])
def test_the_bound_holds_where_steps_begin(charged_s: int, prices: tuple[str, str]) -> None:
    rates = parse_tariff(tariff([part("TIME", prices[0], step=60), part("PARKING_TIME", prices[1], step=600)]))
    points = [MeterPoint(0, 0, True), MeterPoint(charged_s, 0, False)]
    assert bill(Instant(AUTUMN), "UTC", points, 1_201, 0, 1, 1_201, rates).incl_vat_minor <= price_bound(rates, 1, 1_201)


@pytest.mark.parametrize("first", range(0, 600, 200))
def test_no_record_within_its_caps_is_billed_more_than_the_bound(first: int) -> None:
    """Records of any power and current, with items, and with a reservation before them or one that expired."""
    for seed in range(first, first + 200):
        random = Random(seed)
        source = random_tariff(random)
        rates, items = parse_tariff(source), random_items(random, source)
        session = random_session(random, items)
        wh = ceil(sum(period.energy_wh for period in session.periods))
        seconds = ceil(sum(period.time_s + period.parking_time_s for period in session.periods))
        reserved_s = ceil(sum(period.reservation_time_s for period in session.periods))
        assert rate(session, rates).incl_vat_minor <= price_bound(rates, wh, seconds, items, reserved_s), seed
