"""A service costs its time, its items and FLAT, and never more than was held for what was quoted."""

import json
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from energyshare.bodies import BillLine, OfferBody, ServiceItem
from energyshare.bound import price_bound
from energyshare.charging import hold_of
from energyshare.errors import Reason, Rejected
from energyshare.records import replace
from energyshare.session import MeterPoint, bill, service_bill
from energyshare.tariff import TariffError, parse_tariff
from energyshare.values import Currency, Dimension, DurationS, EnergyWh, Instant, Minor, later
from tests.device.world import OWNER
from tests.naive_pricer import random_items, tariffs
from tests.terminals_world import NOW, ORDER, OUTLET

H = 3_600
FRIDAY_NOON = Instant(1_768_561_200_000_000)
"""2026-01-16 11:00 UTC, 12:00 in Berlin."""
AUTUMN = 1_792_879_200_000_000
"""2026-10-25 00:00 in Berlin; at 03:00 it becomes 02:00."""


def item(name: str, price: str, vat: str = "0") -> dict[str, Any]:
    return {"type": "ITEM", "item": name, "price": price, "vat": vat}


def hourly(price: str, vat: str = "0", step: int = 1) -> dict[str, Any]:
    return {"type": "TIME", "price": price, "vat": vat, "step_size": step}


def flat(price: str, vat: str = "0") -> dict[str, Any]:
    return {"type": "FLAT", "price": price, "vat": vat, "step_size": 1}


def metered(kind: str) -> dict[str, Any]:
    return {"type": kind, "price": "99", "step_size": 1}


def element(*components: dict[str, Any], **restrictions: Any) -> dict[str, Any]:
    return {"price_components": list(components), "restrictions": restrictions}


def tariff(*elements: dict[str, Any], **limits: Any) -> dict[str, Any]:
    return {"currency": "EUR", "elements": list(elements), **limits}


JUMP = ServiceItem("jump-start", 1)
TYRES = ServiceItem("tyre", 4)
WORK = element(hourly("60"), flat("25"), item("jump-start", "30", "20"), item("tyre", "10"))
UNTIL_ONE = element(item("jump-start", "30"), hourly("60"), end_time="13:00")

CASES: list[tuple[str, dict[str, Any], int, list[ServiceItem], int, int]] = [
    ("time, flat and items", tariff(WORK), H // 2, [JUMP, TYRES], 12_500, 13_100),
    ("time alone brings flat with it", tariff(WORK), H, [], 8_500, 8_500),
    ("items alone bring flat with them", tariff(WORK), 0, [JUMP], 5_500, 6_100),
    ("neither time nor items cost nothing", tariff(WORK, min_price={"excl_vat": 9}), 0, [], 0, 0),
    ("an item named twice adds up", tariff(WORK), 0, [TYRES, TYRES], 10_500, 10_500),
    ("its order does not matter", tariff(WORK), 0, [TYRES, JUMP, TYRES], 13_500, 14_100),
    ("time is rounded up by its step", tariff(element(hourly("6", step=600))), 601, [], 200, 200),
    ("items have no steps", tariff(element(hourly("6", step=600), item("tyre", "0.01"))), 600, [TYRES], 104, 104),
    (
        "energy and parking never occur",
        tariff(element(metered("ENERGY"), metered("PARKING_TIME"), hourly("1"))),
        H,
        [],
        100,
        100,
    ),
    ("time is split where prices change", tariff(UNTIL_ONE, element(hourly("90"))), 2 * H, [], 15_000, 15_000),
    ("an item is priced at the start", tariff(UNTIL_ONE, element(item("jump-start", "99"))), 2 * H, [JUMP], 9_000, 9_000),
    (
        "the first element that holds and names the item",
        tariff(element(item("tyre", "1")), element(item("jump-start", "2")), element(item("jump-start", "3"))),
        *(0, [JUMP], 200, 200),
    ),
    (
        "an element that does not hold is passed over",
        tariff(element(item("jump-start", "9"), day_of_week=["SUNDAY"]), element(item("jump-start", "2"))),
        *(0, [JUMP], 200, 200),
    ),
    ("named, but not at this time: free", tariff(element(item("jump-start", "9"), end_time="06:00")), 0, [JUMP], 0, 0),
    ("flat that does not hold at the start", tariff(element(flat("5"), min_duration=60), WORK), 0, [JUMP], 5_500, 6_100),
    ("flat waits for its time", tariff(element(flat("5"), min_duration=60), element(item("tyre", "1"))), 61, [TYRES], 900, 900),
    ("the minimum price", tariff(WORK, min_price={"excl_vat": 110, "incl_vat": 122}), 0, [JUMP], 11_000, 12_200),
    ("the maximum price", tariff(WORK, max_price={"excl_vat": 11}), 0, [JUMP], 1_100, 1_220),
    ("only the total is rounded", tariff(element(item("tyre", "0.001"), item("jump-start", "0.001"))), 0, [TYRES, JUMP], 1, 1),
]


@pytest.mark.parametrize(("name", "source", "seconds", "items", "excl_vat", "incl_vat"), CASES, ids=[row[0] for row in CASES])
def test_a_service_costs_what_was_worked_out_by_hand(
    name: str, source: dict[str, Any], seconds: int, items: list[ServiceItem], excl_vat: int, incl_vat: int
) -> None:
    priced = service_bill(FRIDAY_NOON, "Europe/Berlin", seconds, items, parse_tariff(source))
    assert (priced.excl_vat_minor, priced.incl_vat_minor) == (excl_vat, incl_vat)


def test_lines_name_the_items_in_the_tariffs_order() -> None:
    priced = service_bill(FRIDAY_NOON, "Europe/Berlin", 90, [TYRES, JUMP, TYRES], parse_tariff(tariff(WORK)))
    assert priced.lines == (
        BillLine(Dimension.TIME, "90", "90", "60", "0", "150"),
        BillLine(Dimension.FLAT, "1", "1", "25", "0", "2500"),
        BillLine(Dimension.ITEM, "1", "1", "30", "20", "3000", "jump-start"),
        BillLine(Dimension.ITEM, "8", "8", "10", "0", "8000", "tyre"),
    )


@pytest.mark.parametrize("name", ["tow", "Tyre", "tyre ", ""])
def test_an_item_that_the_tariff_does_not_name_is_refused(name: str) -> None:
    with pytest.raises(TariffError) as refused:
        service_bill(FRIDAY_NOON, "Europe/Berlin", 60, [JUMP, ServiceItem(name, 1)], parse_tariff(tariff(WORK)))
    assert (refused.value.path, refused.value.problem) == (f"items[{name}]", "has no price in this tariff")


def test_a_service_of_no_time_zone_or_of_less_than_no_time_is_refused() -> None:
    with pytest.raises(TariffError, match="is not an IANA time zone"):
        service_bill(FRIDAY_NOON, "Mars/Olympus", 60, [], parse_tariff(tariff(WORK)))
    with pytest.raises(Rejected) as refused:
        service_bill(FRIDAY_NOON, "Europe/Berlin", -1, [JUMP], parse_tariff(tariff(WORK)))
    assert refused.value.reason is Reason.READING_IMPLAUSIBLE


def quote(*items: ServiceItem) -> OfferBody:
    """Make an offer of up to half an hour of work."""
    return OfferBody(
        order_id=ORDER,
        provider_id=OWNER,
        asset=replace(OUTLET, deposit_minor=Minor(500)),
        tariff=json.dumps(tariff(WORK)).encode(),
        currency=Currency("EUR"),
        energy_wh_max=EnergyWh(1),
        duration_s_max=DurationS(H // 2),
        return_grace_s=DurationS(0),
        estimate=(),
        estimate_excl_vat_minor=Minor(0),
        estimate_incl_vat_minor=Minor(0),
        voucher_not_after_time=later(NOW, 7_200),
        expiry_time=later(NOW, 600),
        items=items,
    )


def test_the_hold_is_the_deposit_and_the_most_that_time_and_quoted_items_cost() -> None:
    assert hold_of(quote()) == 500 + 3_000 + 2_500
    assert hold_of(quote(JUMP, TYRES)) == 500 + 3_000 + 2_500 + 3_600 + 4_000
    with pytest.raises(TariffError, match="has no price in this tariff"):
        hold_of(quote(ServiceItem("tow", 1)))


seeds = st.integers(0, 2**48)


@settings(max_examples=200, deadline=None)
@given(tariffs(), seeds, st.integers(0, 90_000), st.integers(0, 30_000), st.integers(0, 30_000))
def test_no_service_within_its_quote_is_billed_more_than_the_bound(
    source: dict[str, Any], seed: int, after: int, seconds: int, spare: int
) -> None:
    rates, quoted = parse_tariff(source), random_items(Random(seed), source)
    delivered = [ServiceItem(i.name, Random(seed).randint(1, i.quantity)) for i in quoted[seed % 2 :]]
    priced = service_bill(Instant(AUTUMN + after * 10**6), "Europe/Berlin", seconds, delivered, rates)
    assert priced.incl_vat_minor <= price_bound(rates, 1, seconds + spare, quoted)


@settings(max_examples=100, deadline=None)
@given(tariffs(), seeds, st.integers(1, 9_000), st.integers(1, 30_000), st.integers(0, 30_000))
def test_more_items_and_more_time_never_lower_the_bound(
    source: dict[str, Any], seed: int, wh: int, seconds: int, spare: int
) -> None:
    rates, quoted, more = parse_tariff(source), random_items(Random(seed), source), random_items(Random(seed + 1), source)
    bound = price_bound(rates, wh, seconds, quoted)
    assert price_bound(rates, wh, seconds) <= bound <= price_bound(rates, wh, seconds + spare, [*quoted, *more])


@settings(max_examples=100, deadline=None)
@given(tariffs(), seeds, st.integers(0, 90_000), st.integers(0, 30_000))
def test_a_service_without_items_is_a_session_that_took_no_energy(
    source: dict[str, Any], seed: int, after: int, seconds: int
) -> None:
    start, rates, items = Instant(AUTUMN + after * 10**6), parse_tariff(source), random_items(Random(seed), source)
    session = bill(start, "Europe/Berlin", [MeterPoint(0, 0, True)], seconds, 0, 1, seconds, rates)
    assert service_bill(start, "Europe/Berlin", seconds, [], rates) == session
    reversed_items = service_bill(start, "Europe/Berlin", seconds, items[::-1], rates)
    assert reversed_items == service_bill(start, "Europe/Berlin", seconds, items, rates)
