"""A tariff is told in sentences that say what is priced, and no more."""

import json
from pathlib import Path
from typing import Any

import pytest

from energyshare.tariff import parse_tariff
from energyshare.tariff_explain import explain
from tests.test_rating import charging, element, energy, flat, parking

EXAMPLES = Path(__file__).parent.parent / "examples"
ROUNDED = "Amounts are rounded half up, once each on the exact total without and with VAT."
TOW = {"type": "ITEM", "item": "tow", "price": 30, "vat": 6}


def told(*elements: dict[str, Any], **fields: Any) -> list[str]:
    return list(explain(parse_tariff({"currency": "EUR", "elements": list(elements), **fields})))


def of_energy(*elements: dict[str, Any]) -> str:
    """Give the sentence on energy."""
    return next(sentence for sentence in told(*elements) if sentence.startswith("Energy"))


def test_a_whole_tariff_is_told_in_order() -> None:
    assert told(
        element(charging("6", "20", 300), flat("1"), reservation="RESERVATION"),
        element(flat("4"), charging("8"), reservation="RESERVATION_EXPIRES"),
        element(flat("0.50", "20"), energy("0.25", "10", 500), charging("3", step=60), TOW, start_time="08:00"),
        element(parking("2", step=900)),
        min_price={"excl_vat": 1, "incl_vat": "1.2"},
        max_price={"excl_vat": 90},
        start_date_time="2026-01-01T00:00:00Z",
        end_date_time="2027-01-01T00:00:00Z",
    ) == [
        "It is for sessions that start from 2026-01-01 00:00 UTC and before 2027-01-01 00:00 UTC.",
        "Each session costs 0.5 EUR once plus 20 % VAT from 08:00 to 24:00; else nothing.",
        "Energy costs 0.25 EUR per kWh plus 10 % VAT, in steps of 500 Wh from 08:00 to 24:00; else nothing.",
        "Time with supply costs 3 EUR an hour, in steps of 1 minute from 08:00 to 24:00; else nothing.",
        "Time without supply costs 2 EUR an hour, in steps of 15 minutes.",
        "The item 'tow' costs 30 EUR each plus 6 % VAT from 08:00 to 24:00; else nothing.",
        "Each reservation costs 1 EUR once.",
        "Each reservation that expires costs 4 EUR once.",
        "Reserved time costs 6 EUR an hour plus 20 % VAT, in steps of 5 minutes.",
        "Reserved time that expires costs 8 EUR an hour.",
        "A session costs at least 1 EUR without VAT and 1.2 EUR with it.",
        "A session costs at most 90 EUR without VAT, and with VAT as much more as the rest of its bill.",
        "Of each kind the total is rounded up once, by the step of the price that was used last.",
        "Where time without supply has a price, only that is rounded up, and time with supply is exact.",
        "Hours, days and dates are those of the place; an hour that clocks repeat counts twice.",
        ROUNDED,
    ]


def test_what_has_no_price_is_free() -> None:
    free = ["Energy is free.", "Time with supply is free.", "Time without supply is free."]
    assert told(element(flat("0"))) == ["Each session costs nothing.", *free, ROUNDED]


CONDITIONS: list[tuple[dict[str, Any], str]] = [
    ({"start_time": "22:00", "end_time": "06:00"}, "from 22:00 to 06:00"),
    ({"end_time": "06:30"}, "from 00:00 to 06:30"),
    ({"day_of_week": ["SUNDAY"]}, "on Sunday"),
    ({"day_of_week": ["SUNDAY", "FRIDAY", "MONDAY"]}, "on Monday, Friday and Sunday"),
    ({"start_date": "2026-12-24", "end_date": "2026-12-27"}, "from 2026-12-24 and before 2026-12-27"),
    ({"min_kwh": "1.5", "max_kwh": 20}, "after the first 1.5 kWh and within the first 20 kWh"),
    ({"min_duration": 5_400}, "after the first 90 minutes"),
    ({"max_duration": 86_400}, "within the first 1 day"),
    ({"max_duration": 61}, "within the first 61 seconds"),
    ({"min_power": "11", "max_power": "22.5"}, "at 11 kW or more and below 22.5 kW"),
    ({"max_current": 16}, "below 16 A"),
    ({"min_current": 0, "day_of_week": ["MONDAY"]}, "on Monday and at 0 A or more"),
]


@pytest.mark.parametrize(("restrictions", "condition"), CONDITIONS, ids=[row[1] for row in CONDITIONS])
def test_a_condition_is_told_in_words(restrictions: dict[str, Any], condition: str) -> None:
    sentence = of_energy(element(energy("1"), **restrictions), element(energy("2")))
    assert sentence == f"Energy costs 1 EUR per kWh {condition}; else 2 EUR per kWh."


def test_nothing_is_told_of_prices_after_one_that_always_holds() -> None:
    assert of_energy(element(energy("1")), element(energy("2"))) == "Energy costs 1 EUR per kWh."


def test_examples_are_told_without_a_reservation_or_condition() -> None:
    sentences = explain(parse_tariff((EXAMPLES / "day.json").read_bytes()))
    assert json.loads((EXAMPLES / "day.json").read_bytes())["currency"] in sentences[0]
    assert not any("reserv" in sentence or "else" in sentence for sentence in sentences)


def test_an_expired_reservation_falls_back_to_what_every_one_costs() -> None:
    expiring = element(charging("8"), reservation="RESERVATION_EXPIRES", start_time="20:00")
    sentences = told(element(charging("6"), reservation="RESERVATION"), expiring)
    assert "Reserved time that expires costs 8 EUR an hour from 20:00 to 24:00; else 6 EUR an hour." in sentences
