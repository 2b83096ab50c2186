"""Tariffs are read exactly or refused with the place and the problem."""

import json
from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from energyshare.tariff import (
    PriceComponent,
    PriceLimit,
    Restrictions,
    Tariff,
    TariffElement,
    TariffError,
    parse_tariff,
    tariff_of,
)
from energyshare.values import Dimension, Instant

ENERGY = {"type": "ENERGY", "price": "0.25", "vat": "10.0", "step_size": 1}
FLAT = {"type": "FLAT", "price": 1, "step_size": 0}
ITEM = {"type": "ITEM", "item": "jump-start", "price": "80", "vat": "6"}


def tariff(**fields: Any) -> dict[str, Any]:
    return {"currency": "EUR", "elements": [{"price_components": [ENERGY]}], **fields}


def with_component(**fields: Any) -> dict[str, Any]:
    return tariff(elements=[{"price_components": [{**ENERGY, **fields}]}])


def with_restrictions(**fields: Any) -> dict[str, Any]:
    return tariff(elements=[{"price_components": [ENERGY], "restrictions": fields}])


def test_a_tariff_is_read_into_scaled_integers() -> None:
    read = parse_tariff(tariff(min_price={"excl_vat": 0.5, "incl_vat": "0.55"}, max_price={"excl_vat": Decimal(10)}))
    assert read == Tariff(
        "EUR",  # type: ignore[arg-type]
        (TariffElement((PriceComponent(Dimension.ENERGY, 250_000, 100_000, 1),), Restrictions()),),
        PriceLimit(500_000, 550_000),
        PriceLimit(10_000_000, None),
    )


def test_restrictions_are_read_into_minutes_days_and_watt_hours() -> None:
    read = parse_tariff(
        with_restrictions(
            start_time="22:30",
            end_time="00:00",
            start_date="2026-12-24",
            end_date="2027-01-01",
            day_of_week=["SUNDAY", "MONDAY"],
            min_kwh="1.5",
            max_kwh=20,
            min_duration=60,
            max_duration="3600",
            max_power=None,
            reservation=None,
        )
    )
    weekdays = frozenset({0, 6})
    assert read.elements[0].restrictions == Restrictions(
        1350, 1440, date(2026, 12, 24), date(2027, 1, 1), weekdays, 1_500, 20_000, 60, 3_600
    )


@pytest.mark.parametrize("price", ["0.1", "0.100000", "1e-1", "1E-1"])
@pytest.mark.parametrize("quoted", [True, False])
def test_numbers_are_read_exactly_as_numbers_or_texts(price: str, quoted: bool) -> None:
    text = json.dumps(with_component(price="PRICE")).replace('"PRICE"', f'"{price}"' if quoted else price)
    assert parse_tariff(text).elements[0].components[0].price == 100_000


def test_vat_left_out_counts_as_zero_and_a_flat_step_size_as_one() -> None:
    read = parse_tariff(tariff(elements=[{"price_components": [FLAT], "restrictions": None}]))
    assert read.elements[0].components == (PriceComponent(Dimension.FLAT, 1_000_000, 0, 1),)


@pytest.mark.parametrize("step", [{}, {"step_size": None}, {"step_size": 1}, {"step_size": "1"}])
def test_an_item_is_counted_one_by_one(step: dict[str, Any]) -> None:
    read = parse_tariff(tariff(elements=[{"price_components": [{**ITEM, **step}]}]))
    assert read.elements[0].components == (PriceComponent(Dimension.ITEM, 80_000_000, 60_000, 1, "jump-start"),)


def test_an_element_may_price_fifty_items_and_each_dimension_once() -> None:
    items = [{**ITEM, "item": f"搭电 {number}"} for number in range(50)]
    once = [ENERGY, FLAT, {**ENERGY, "type": "TIME"}, {**ENERGY, "type": "PARKING_TIME"}]
    assert len(parse_tariff(tariff(elements=[{"price_components": [*once, *items]}])).elements[0].components) == 54


def test_fields_that_decide_no_price_are_passed_over() -> None:
    others = {"id": 5, "country_code": "DE", "party_id": "ABC", "type": "REGULAR", "tariff_alt_text": []}
    more = {"tariff_alt_url": "x", "energy_mix": {}, "last_updated": "now"}
    assert parse_tariff(tariff(**others, **more)) == parse_tariff(tariff())


def test_the_same_bytes_are_read_once() -> None:
    data = json.dumps(tariff()).encode()
    assert tariff_of(data) is tariff_of(bytes(bytearray(data)))


def test_a_tariff_is_valid_from_its_start_until_before_its_end() -> None:
    read = parse_tariff(tariff(start_date_time="2026-01-01T00:00:00Z", end_date_time="2026-01-01T00:00:01.5"))
    start = 1_767_225_600_000_000
    assert [read.valid_at(Instant(start + after)) for after in (-1, 0, 1_499_999, 1_500_000)] == [*(False, True, True, False)]
    assert parse_tariff(tariff()).valid_at(Instant(0))


MALFORMED: list[tuple[str, bytes | str, str]] = [
    ("no JSON", b"{", "this is not JSON that can be read"),
    ("no UTF-8", b'{"currency": "\xff"}', "this is not JSON that can be read"),
    ("UTF-16", json.dumps(tariff()).encode("utf-16"), "this is not JSON that can be read"),
    ("a lone surrogate", '"\ud800"', "this is not JSON that can be read"),
    ("very deep", "[" * 60_000, "this is not JSON that can be read"),
    ("not a number", '{"currency": NaN}', "NaN is not a number"),
    ("a field twice", '{"currency": "EUR", "currency": "CNY"}', "a field is there twice"),
    ("more than 64 KiB", " " * 65_537, "the JSON is 65537 bytes long; 65536 are allowed"),
    ("no object", b"[]", "must be an object"),
    ("a number of 10,000 digits", '{"currency": "EUR", "elements": ' + "9" * 10_000 + "}", "elements: must be a list"),
]


@pytest.mark.parametrize(("what", "data", "problem"), MALFORMED, ids=[row[0] for row in MALFORMED])
def test_bytes_that_are_no_tariff_are_refused(what: str, data: bytes | str, problem: str) -> None:
    with pytest.raises(TariffError) as refused:
        parse_tariff(data)
    assert problem in str(refused.value)
    assert "0004-rating" in refused.value.hint


COMPONENT = "elements[0].price_components[0]"
RESTRICTION = "elements[0].restrictions"
REFUSED: list[tuple[dict[str, Any], str, str]] = [
    ({"elements": [{"price_components": [ENERGY]}]}, "currency", "is missing"),
    (tariff(currency="eur"), "currency", "ISO 4217"),
    (tariff(currency=978), "currency", "ISO 4217"),
    (tariff(colour="red"), "colour", "is not a field of OCPI 2.2.1"),
    (tariff(**{"\ud800" * 99: 1}), "\\ud800" * 6 + "\\ud8", "is not a field of OCPI 2.2.1"),
    (tariff(elements=None), "elements", "is missing"),
    (tariff(elements=[]), "elements", "has 0 items"),
    (tariff(elements="ENERGY"), "elements", "must be a list"),
    (tariff(elements=[{"price_components": [FLAT]}] * 101), "elements", "has 101 items; it takes 1 to 100"),
    (tariff(elements=["x"]), "elements[0]", "must be an object"),
    (tariff(elements=[{"price_components": []}]), "elements[0].price_components", "has 0 items"),
    (tariff(elements=[{"price_components": [FLAT] * 55}]), "elements[0].price_components", "has 55 items"),
    (tariff(elements=[{"price_components": [FLAT, FLAT]}]), "elements[0].price_components", "a dimension twice"),
    (tariff(elements=[{"price_components": [FLAT], "x": 1}]), "elements[0].x", "is not a field"),
    (tariff(elements=[{"price_components": [ITEM, ITEM]}]), "elements[0].price_components", "an item of one name"),
    (with_component(type="TOWING"), f"{COMPONENT}.type", "must be one of ENERGY, TIME, PARKING_TIME, FLAT, ITEM"),
    (with_component(type="ITEM"), f"{COMPONENT}.item", "is missing"),
    (with_component(type="ITEM", item=""), f"{COMPONENT}.item", "must be a name of 1 to 64 printable characters"),
    (with_component(type="ITEM", item="x" * 65), f"{COMPONENT}.item", "must be a name of 1 to 64"),
    (with_component(type="ITEM", item="a\nb"), f"{COMPONENT}.item", "printable characters"),
    (with_component(type="ITEM", item="\ud800"), f"{COMPONENT}.item", "printable characters"),
    (with_component(type="ITEM", item=["tow"]), f"{COMPONENT}.item", "must be a name"),
    (with_component(type="ITEM", item="tow", step_size=2), f"{COMPONENT}.step_size", "is too large"),
    (with_component(type="ITEM", item="tow", step_size=0), f"{COMPONENT}.step_size", "must be 1 at least"),
    (with_component(item="tow"), f"{COMPONENT}.item", "is for ITEM only"),
    (with_component(type="FLAT", item=""), f"{COMPONENT}.item", "is for ITEM only"),
    (with_component(type="FLAT", step_size=None), f"{COMPONENT}.step_size", "is missing"),
    (with_component(type=["ENERGY"]), f"{COMPONENT}.type", "must be one of"),
    (with_component(colour="red"), f"{COMPONENT}.colour", "is not a field"),
    (with_component(price=None), f"{COMPONENT}.price", "is missing"),
    (with_component(price="-0.01"), f"{COMPONENT}.price", "must be 0 at least"),
    (with_component(price="0.0000001"), f"{COMPONENT}.price", "has more than 6 decimals"),
    (with_component(price="1000000.01"), f"{COMPONENT}.price", "is too large"),
    (with_component(price="1e99"), f"{COMPONENT}.price", "is too large"),
    (with_component(price="1e999"), f"{COMPONENT}.price", "must be a number"),
    (with_component(price="free"), f"{COMPONENT}.price", "must be a number"),
    (with_component(price=" 1"), f"{COMPONENT}.price", "must be a number"),
    (with_component(price="1/2"), f"{COMPONENT}.price", "must be a number"),
    (with_component(price=float("inf")), f"{COMPONENT}.price", "must be a number"),
    (with_component(price=True), f"{COMPONENT}.price", "must be a number"),
    (with_component(price=10**5000), f"{COMPONENT}.price", "is too large"),
    (with_component(vat="100.1"), f"{COMPONENT}.vat", "is too large"),
    (with_component(vat="0.00001"), f"{COMPONENT}.vat", "has more than 4 decimals"),
    (with_component(step_size=0), f"{COMPONENT}.step_size", "must be 1 at least"),
    (with_component(step_size="1.5"), f"{COMPONENT}.step_size", "must be a whole number"),
    (with_component(step_size=None), f"{COMPONENT}.step_size", "is missing"),
    (with_component(step_size=10**9 + 1), f"{COMPONENT}.step_size", "is too large"),
    (with_restrictions(max_power="-16"), f"{RESTRICTION}.max_power", "must be 0 at least"),
    (with_restrictions(min_power="0.0001"), f"{RESTRICTION}.min_power", "has more than 3 decimals"),
    (with_restrictions(max_current="1e9"), f"{RESTRICTION}.max_current", "is too large"),
    (with_restrictions(min_current="much"), f"{RESTRICTION}.min_current", "must be a number"),
    (with_restrictions(reservation="RESERVATION"), "elements[0].price_components", "has more than FLAT and TIME"),
    (with_restrictions(reservation=True), f"{RESTRICTION}.reservation", "must be one of RESERVATION, RESERVATION_EXPIRES"),
    (with_restrictions(moon="full"), f"{RESTRICTION}.moon", "is not a field"),
    (with_restrictions(start_time="24:00"), f"{RESTRICTION}.start_time", "must be a time of day"),
    (with_restrictions(end_time="9:00"), f"{RESTRICTION}.end_time", "must be a time of day"),
    (with_restrictions(start_time="09:00", end_time="09:00"), f"{RESTRICTION}.end_time", "is the start_time"),
    (with_restrictions(start_date="2026-02-30"), f"{RESTRICTION}.start_date", "is not a day of the calendar"),
    (with_restrictions(end_date="20260228"), f"{RESTRICTION}.end_date", "must be a date"),
    (with_restrictions(day_of_week=["FUNDAY"]), f"{RESTRICTION}.day_of_week[0]", "must be a day of the week"),
    (with_restrictions(day_of_week=["MONDAY"] * 8), f"{RESTRICTION}.day_of_week", "has 8 items"),
    (with_restrictions(day_of_week="MONDAY"), f"{RESTRICTION}.day_of_week", "must be a list"),
    (with_restrictions(min_kwh="0.0001"), f"{RESTRICTION}.min_kwh", "has more than 3 decimals"),
    (with_restrictions(max_duration="-1"), f"{RESTRICTION}.max_duration", "must be 0 at least"),
    (tariff(min_price={}), "min_price.excl_vat", "is missing"),
    (tariff(min_price=5), "min_price", "must be an object"),
    (tariff(min_price={"excl_vat": 2, "incl_vat": 1}), "min_price.incl_vat", "is below excl_vat"),
    (tariff(min_price={"excl_vat": 2}, max_price={"excl_vat": 1}), "max_price", "is below min_price"),
    (
        tariff(min_price={"excl_vat": 1, "incl_vat": 4}, max_price={"excl_vat": 2, "incl_vat": 3}),
        "max_price",
        "is below min_price",
    ),
    (tariff(end_date_time="2026-13-01T00:00:00Z"), "end_date_time", "is not a time of the calendar"),
    (tariff(start_date_time="2026-01-01T00:00:00+01:00"), "start_date_time", "must be a UTC time"),
]


@pytest.mark.parametrize(("data", "path", "problem"), REFUSED, ids=[f"{row[1]}: {row[2]}"[-60:] for row in REFUSED])
def test_a_tariff_that_can_not_be_priced_is_refused_with_the_place(data: dict[str, Any], path: str, problem: str) -> None:
    with pytest.raises(TariffError) as refused:
        parse_tariff(data)
    assert refused.value.path == path
    assert problem in refused.value.problem


def test_an_empty_list_of_weekdays_restricts_nothing() -> None:
    assert parse_tariff(with_restrictions(day_of_week=[])) == parse_tariff(tariff())
