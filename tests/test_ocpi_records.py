"""Whole charge detail records priced again: whatever form their file has, and what keeps one from being priced."""

import json
from typing import Any

import pytest

from energyshare.ocpi_records import price_records, records_of
from energyshare.tariff_json import TariffError

TARIFF = {
    "currency": "EUR",
    "elements": [
        {
            "price_components": [{"type": "TIME", "price": "2.00", "vat": 10, "step_size": 60}],
            "restrictions": {"start_time": "08:00", "end_time": "20:00"},
        }
    ],
}
RECORD: dict[str, Any] = {
    "id": "1",
    "start_date_time": "2026-07-01T07:00:00Z",
    "end_date_time": "2026-07-01T08:00:00Z",
    "currency": "EUR",
    "tariffs": [TARIFF],
    "charging_periods": [{"start_date_time": "2026-07-01T07:00:00Z", "dimensions": [{"type": "TIME", "volume": 1}]}],
    "total_cost": {"excl_vat": 2, "incl_vat": 2.2},
    "total_energy": 0,
    "total_time": 1,
    "last_updated": "2026-07-01T08:00:01Z",
}
TOLD = RECORD | {"remark": "energy, billed on END_RECEIPT; times of day in the tariff are those of Europe/Berlin"}


def priced(data: object, time_zone: str | None = None) -> list[dict[str, Any]]:
    return list(price_records(records_of(json.dumps(data).encode()), time_zone))


@pytest.mark.parametrize("form", [TOLD, [TOLD], {"data": [TOLD], "status_code": 1000}], ids=["one", "a list", "an answer"])
def test_a_record_is_priced_in_whichever_form_it_comes(form: object) -> None:
    [answer] = priced(form)
    assert (answer["incl_vat"], answer["stated_incl_vat"], answer["agrees"]) == ("2.20", "2.20", True)


def test_records_may_stand_one_a_line() -> None:
    lines = "\n".join([json.dumps(TOLD), "", json.dumps(TOLD | {"id": "2"})])
    assert [answer["id"] for answer in price_records(records_of(lines.encode()), None)] == ["1", "2"]


@pytest.mark.parametrize(
    ("time_zone", "amount"), [("Europe/Berlin", "2.20"), ("America/New_York", "0.00")], ids=["within the window", "outside"]
)
def test_the_time_zone_that_is_given_counts_where_the_record_tells_none(time_zone: str, amount: str) -> None:
    [answer] = priced(RECORD, time_zone)
    assert (answer["incl_vat"], answer["agrees"]) == (amount, amount == "2.20")


@pytest.mark.parametrize(
    ("stated", "agrees"),
    [({"excl_vat": "2.00"}, True), ({"excl_vat": 2, "incl_vat": "2.21"}, False), ({"excl_vat": 1.99, "incl_vat": 2.2}, False)],
)
def test_what_is_stated_is_compared_to_the_minor_unit(stated: dict[str, Any], agrees: bool) -> None:
    assert priced(TOLD | {"total_cost": stated})[0]["agrees"] is agrees


def test_an_amount_of_more_decimals_than_there_are_differs_and_is_written_whole() -> None:
    [answer] = priced(TOLD | {"total_cost": {"excl_vat": "2.000000000000000000000001"}})
    assert (answer["stated_excl_vat"], answer["agrees"]) == ("2.000000000000000000000001", False)


def test_a_credit_is_passed_over_and_named() -> None:
    credit = TOLD | {"id": "1-C", "credit": True, "credit_reference_id": "1", "total_cost": {"excl_vat": -2}}
    assert priced([credit]) == [{"id": "1-C", "credit_reference_id": "1"}]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"remark": ""}, "give that of the place with --time-zone"),
        ({"tariffs": None}, "tariffs: has 0 items"),
        ({"total_cost": None}, "total_cost: is missing"),
        ({"total_cost": {"excl_vat": "1e99"}}, "total_cost.excl_vat: is too large"),
        ({"total_cost": {"excl_vat": "-1e99"}}, "total_cost.excl_vat: is too large"),
        ({"total_cost": {}}, "total_cost.excl_vat: is missing"),
        ({"total_cost": {"excl_vat": "two"}}, "total_cost.excl_vat: must be a number"),
        ({"total_cost": {"before_taxes": 2}}, "is a field of OCPI 2.3.0"),
        ({"currency": "CNY"}, "is not EUR"),
        ({"charging_periods": [{"start_date_time": "2026-07-01T06:00:00Z", "dimensions": []}]}, "has 0 items"),
        ({"auth_id": "x"}, "is a field of OCPI 2.1.1"),
    ],
)
def test_a_record_that_can_not_be_priced_says_why_and_stops_no_other(changes: dict[str, Any], words: str) -> None:
    bad, good = priced([TOLD | changes, TOLD])
    assert words in bad["error"]
    assert good["agrees"]


@pytest.mark.parametrize("record", [7, "x", None, [TOLD]])
def test_what_is_no_record_is_an_error(record: object) -> None:
    assert "must be an object" in priced([record])[0]["error"]


@pytest.mark.parametrize("data", [b"", b"price: 1", b"{\n}x\n", b"\xff"])
def test_what_is_not_json_is_refused_whole(data: bytes) -> None:
    with pytest.raises(TariffError):
        records_of(data)
