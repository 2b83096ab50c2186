"""Sessions are priced by the standard: worked by hand, by its own examples, and by a second pricer."""

import json
from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from energyshare.bodies import BillLine, ServiceItem
from energyshare.ocpi import price_case, price_line, session_of
from energyshare.rating import Delivered, Session, flat_and_minimum, rate, session_of_deliveries
from energyshare.tariff import TariffError, parse_tariff
from energyshare.values import Dimension, Instant

VECTORS = Path(__file__).parents[2] / "shared" / "vectors" / "ocpi-worked-examples.jsonl"
FRIDAY_NOON = 1_768_561_200_000_000
"""2026-01-16 11:00 UTC, 12:00 in Berlin."""
H = 3_600


def part(kind: str, price: str, vat: str = "0", step: int = 1) -> dict[str, Any]:
    return {"type": kind, "price": price, "vat": vat, "step_size": step}


def element(*components: dict[str, Any], **restrictions: Any) -> dict[str, Any]:
    return {"price_components": list(components), "restrictions": restrictions}


def energy(price: str, vat: str = "0", step: int = 1) -> dict[str, Any]:
    return part("ENERGY", price, vat, step)


def charging(price: str, vat: str = "0", step: int = 1) -> dict[str, Any]:
    return part("TIME", price, vat, step)


def parking(price: str, vat: str = "0", step: int = 1) -> dict[str, Any]:
    return part("PARKING_TIME", price, vat, step)


def flat(price: str, vat: str = "0") -> dict[str, Any]:
    return part("FLAT", price, vat)


def session(*parts: tuple[Any, ...], zone: str = "Europe/Berlin", start: int = FRIDAY_NOON) -> Session:
    """Make a session of (seconds after the start, Wh, charging seconds, parking seconds)."""
    deliveries = [Delivered(Instant(start + after * 10**6), *volumes) for after, *volumes in parts]
    return session_of_deliveries(Instant(start), zone, deliveries)


CASES: list[tuple[str, dict[str, Any], list[tuple[int, Any, Any, Any]], int, int]] = [
    ("energy alone", {"elements": [element(energy("0.25", "10"))]}, [(0, 20_000, 0, 0)], 500, 550),
    ("half a cent goes up", {"elements": [element(energy("0.005"))]}, [(0, 1_000, 0, 0)], 1, 1),
    ("less than half a cent goes down", {"elements": [element(energy("0.004999"))]}, [(0, 1_000, 0, 0)], 0, 0),
    ("with VAT it is rounded apart", {"elements": [element(energy("0.05", "10"))]}, [(0, 900, 0, 0)], 5, 5),
    ("only the total is rounded", {"elements": [element(energy("0.014"), charging("0.014"))]}, [(0, 1_000, H, 0)], 3, 3),
    ("nothing priced is free", {"elements": [element(charging("9"))]}, [(0, 20_000, 0, 0)], 0, 0),
    ("flat once over periods", {"elements": [element(flat("1"))]}, [(0, 5, 0, 0), (9, 5, 0, 0)], 100, 100),
    (
        "the first of two flats to hold is the one",
        {"elements": [element(flat("1"), min_duration=60), element(flat("3"), max_duration=60)]},
        [(0, 5, 60, 0), (60, 5, 60, 0)],
        *(300, 300),
    ),
    (
        "flat waits for its restriction",
        {"elements": [element(flat("1", "20"), min_duration=60)]},
        [(0, 5, 60, 0), (60, 5, 60, 0)],
        *(100, 120),
    ),
    ("flat whose time never comes", {"elements": [element(flat("1"), min_duration=60)]}, [(0, 5, 50, 0)], 0, 0),
    ("energy steps round up", {"elements": [element(energy("0.30", step=500))]}, [(0, 1_001, 0, 0)], 45, 45),
    ("a full step is not rounded", {"elements": [element(energy("0.30", step=500))]}, [(0, 1_500, 0, 0)], 45, 45),
    ("the step is for the sum", {"elements": [element(charging("6", step=600))]}, [(0, 0, 301, 0), (301, 0, 299, 0)], 100, 100),
    ("charging steps without parking", {"elements": [element(charging("6", step=600))]}, [(0, 0, 601, 0)], 200, 200),
    (
        "with parking priced, charging is exact",
        {"elements": [element(charging("3.60", step=600), parking("36", step=60))]},
        [(0, 0, 100, 0), (100, 0, 0, 61)],
        *(10 + 120, 130),
    ),
    (
        "parking before charging counts as parking too",
        {"elements": [element(charging("3.60", step=600), parking("36", step=60))]},
        [(0, 0, 0, 61), (61, 0, 100, 0)],
        *(130, 130),
    ),
    (
        "parking that is not priced leaves charging its step",
        {"elements": [element(charging("3.60", step=600))]},
        [(0, 0, 100, 0), (100, 0, 0, 61)],
        *(60, 60),
    ),
    (
        "parking at price zero is priced",
        {"elements": [element(charging("3.60", step=600), parking("0"))]},
        [(0, 0, 100, 0), (100, 0, 0, 61)],
        *(10, 10),
    ),
    (
        "the surplus is the last one's",
        {"elements": [element(energy("1", step=100), max_kwh="1"), element(energy("2", step=1000))]},
        [(0, 1_000, 0, 0), (60, 500, 0, 0)],
        *(300, 300),
    ),
    (
        "a last period without energy bears no energy surplus",
        {"elements": [element(energy("1", step=1000), max_duration=60), element(energy("9", step=1), charging("36"))]},
        [(0, 500, 0, 0), (60, 0, 10, 0)],
        *(110, 110),
    ),
    (
        "the first element that has the dimension decides",
        {"elements": [element(charging("1")), element(energy("2"), charging("5")), element(energy("7"))]},
        [(0, 1_000, H, 0)],
        *(300, 300),
    ),
    (
        "an element that does not hold is passed over",
        {"elements": [element(energy("9"), day_of_week=["SUNDAY"]), element(energy("1"))]},
        [(0, 1_000, 0, 0)],
        *(100, 100),
    ),
    (
        "energy thresholds take the start and leave the end",
        {"elements": [element(energy("1"), max_kwh="1"), element(energy("10"), min_kwh="1", max_kwh="2")]},
        [(0, 1_000, 0, 0), (60, 1_000, 0, 0), (90, 5_000, 0, 0)],
        *(1_100, 1_100),
    ),
    (
        "a window takes its start and leaves its end",
        {"elements": [element(energy("1"), start_time="12:00", end_time="12:01")]},
        [(0, 1_000, 0, 0), (60, 1_000, 0, 0)],
        *(100, 100),
    ),
    (
        "a window until 00:00 lasts the day",
        {"elements": [element(energy("1"), start_time="12:00", end_time="00:00")]},
        [(0, 1_000, 0, 0), (12 * H - 1, 1_000, 0, 0), (12 * H, 1_000, 0, 0)],
        *(200, 200),
    ),
    (
        "a window over midnight holds on both sides",
        {"elements": [element(energy("1"), start_time="22:00", end_time="06:00")]},
        [(0, 1_000, 0, 0), (10 * H, 1_000, 0, 0), (13 * H, 1_000, 0, 0), (18 * H, 1_000, 0, 0)],
        *(200, 200),
    ),
    (
        "the weekday over midnight is the moment's own",
        {"elements": [element(energy("1"), start_time="22:00", end_time="06:00", day_of_week=["FRIDAY"])]},
        [(10 * H, 1_000, 0, 0), (13 * H, 1_000, 0, 0)],
        *(100, 100),
    ),
    (
        "dates take the start and leave the end",
        {"elements": [element(energy("1"), start_date="2026-01-16", end_date="2026-01-17")]},
        [(0, 1_000, 0, 0), (12 * H, 1_000, 0, 0)],
        *(100, 100),
    ),
    (
        "the minimum with and without VAT",
        {"elements": [element(energy("1", "10"))], "min_price": {"excl_vat": 2, "incl_vat": "2.05"}},
        [(0, 1_900, 0, 0)],
        *(200, 209),
    ),
    (
        "a maximum without VAT takes the bill's rate",
        {"elements": [element(energy("1", "10"), flat("1", "20"))], "max_price": {"excl_vat": 1}},
        [(0, 1_000, 0, 0)],
        *(100, 115),
    ),
    (
        "a minimum for a free session bears no VAT",
        {"elements": [element(charging("1", "10"))], "min_price": {"excl_vat": 1}},
        [(0, 1_000, 0, 0)],
        *(100, 100),
    ),
    (
        "the maximum has the last word",
        {
            "elements": [element(energy("1"))],
            "min_price": {"excl_vat": 1, "incl_vat": 5},
            "max_price": {"excl_vat": 2},
        },
        [(0, 1_000, 0, 0)],
        *(100, 200),
    ),
    ("nothing delivered costs nothing", {"elements": [element(flat("1"))], "min_price": {"excl_vat": 5}}, [], 0, 0),
    ("zero volumes are nothing", {"elements": [element(flat("1"))], "min_price": {"excl_vat": 5}}, [(0, 0, 0, 0)], 0, 0),
    ("fractions stay exact", {"elements": [element(energy("0.3"))]}, [(0, Fraction(50, 3), 0, 0)] * 3, 2, 2),
    ("no minor unit", {"currency": "JPY", "elements": [element(energy("25.5", "10"))]}, [(0, 1_000, 0, 0)], 26, 28),
    ("three decimals", {"currency": "KWD", "elements": [element(energy("0.0015"))]}, [(0, 1_000, 0, 0)], 2, 2),
]


@pytest.mark.parametrize(("name", "tariff", "parts", "excl_vat", "incl_vat"), CASES, ids=[case[0] for case in CASES])
def test_a_session_costs_what_was_worked_out_by_hand(
    name: str, tariff: dict[str, Any], parts: list[tuple[int, Any, Any, Any]], excl_vat: int, incl_vat: int
) -> None:
    bill = rate(session(*parts), parse_tariff({"currency": "EUR", **tariff}))
    assert (bill.excl_vat_minor, bill.incl_vat_minor) == (excl_vat, incl_vat)


def test_lines_are_exact_and_in_the_tariffs_order() -> None:
    tariff = parse_tariff(
        {"currency": "EUR", "elements": [element(charging("2.50", "5.2", 60), flat("1.00")), element(energy("0.25"))]}
    )
    bill = rate(session((0, Fraction(50, 3), 61, 0)), tariff)
    assert bill.lines == (
        BillLine(Dimension.TIME, "61", "120", "2.5", "5.2", "25/3"),
        BillLine(Dimension.FLAT, "1", "1", "1", "0", "100"),
        BillLine(Dimension.ENERGY, "50/3", "17", "0.25", "0", "17/40"),
    )
    assert bill.excl_vat_exact == Fraction(13051, 12000)


def test_without_readings_flat_and_the_limits_are_billed() -> None:
    tariff = parse_tariff(
        {"currency": "EUR", "elements": [element(flat("1", "20"), energy("9"))], "min_price": {"excl_vat": 3}}
    )
    bill = flat_and_minimum(tariff, Instant(FRIDAY_NOON), "Asia/Shanghai")
    assert (bill.excl_vat_minor, bill.incl_vat_minor) == (300, 360)
    assert [line.dimension for line in bill.lines] == [Dimension.FLAT]


@pytest.mark.parametrize("zone", ["Mars/Olympus", "", "../etc/passwd", "Europe", "/etc/localtime", "x" * 300, "\0"])
def test_an_unknown_time_zone_is_refused(zone: str) -> None:
    with pytest.raises(TariffError, match="is not an IANA time zone"):
        rate(session((0, 1, 1, 0), zone=zone), parse_tariff({"currency": "EUR", "elements": [element(flat("1"))]}))


def test_periods_out_of_order_are_refused() -> None:
    with pytest.raises(TariffError, match="must be in the order of their start"):
        session((60, 1, 1, 0), (0, 1, 1, 0))


def test_hours_that_clocks_repeat_are_both_in_the_window() -> None:
    tariff = parse_tariff({"currency": "EUR", "elements": [element(energy("1"), start_time="02:00", end_time="03:00")]})
    midnight = 1_792_879_200_000_000  # 2026-10-25 00:00 in Berlin; at 03:00 it becomes 02:00
    hourly = [(hour * H, 1_000, 0, 0) for hour in range(6)]
    assert rate(session(*hourly, start=midnight), tariff).excl_vat_minor == 200


def vectors() -> list[dict[str, Any]]:
    if not VECTORS.exists():
        pytest.skip(f"the standard's worked examples are not at {VECTORS}")
    return [json.loads(line) for line in VECTORS.read_text().splitlines()]


def two_decimals(text: str) -> str:
    return str(Decimal(text).quantize(Decimal("0.01"), ROUND_HALF_UP))


def test_the_standards_worked_examples_come_out() -> None:
    cases = vectors()
    assert len(cases) == 19
    for case in cases:
        answer = price_case(case)
        for name, amount in case["expected"].items():
            assert amount is None or answer[name] == two_decimals(amount), case["id"]


def ocpi_session(**fields: Any) -> dict[str, Any]:
    period = {"start_date_time": "2026-01-16T11:00:00Z", "dimensions": [{"type": "TIME", "volume": "1.973"}]}
    start = {"start_date_time": "2026-01-16T11:00:00Z", "time_zone": "Europe/Berlin"}
    return {**start, "charging_periods": [period], **fields}


def with_dimensions(*dimensions: Any) -> dict[str, Any]:
    return ocpi_session(charging_periods=[{"start_date_time": "2026-01-16T11:00:00Z", "dimensions": list(dimensions)}])


def test_hours_are_meant_to_the_second_and_kwh_exactly() -> None:
    dimensions = [{"type": "ENERGY", "volume": 0.1152}, {"type": "MAX_POWER", "volume": 7}, {"type": "TIME", "volume": 0.0001}]
    period = session_of(with_dimensions(*dimensions)).periods[0]
    assert (period.energy_wh, period.time_s, period.parking_time_s) == (Fraction(576, 5), 0, 0)
    assert session_of(ocpi_session(reservation_expired=False)).periods[0].time_s == 7_103


TIME = {"type": "TIME", "volume": 1}
AT = "charging_periods[0].dimensions"
BAD_SESSIONS: list[tuple[dict[str, Any], str, str]] = [
    (ocpi_session(start_date_time=None), "start_date_time", "is missing"),
    (ocpi_session(start_date_time="today"), "start_date_time", "must be a UTC time"),
    (ocpi_session(start_date_time="9999-12-31T23:59:59Z"), "start_date_time", "is not in the years 1970 to 2999"),
    (ocpi_session(end_date_time="0001-01-01T00:00:00Z"), "end_date_time", "is not in the years 1970 to 2999"),
    (ocpi_session(time_zone="Mars/Olympus"), "time_zone", "is not an IANA time zone"),
    (ocpi_session(time_zone=1), "time_zone", "must be an IANA time zone"),
    (ocpi_session(weather="fine"), "weather", "is not a field"),
    (ocpi_session(reservation_expired=True), "reservation_expired", "is true, but no period has RESERVATION_TIME"),
    (ocpi_session(start_date_time="2026-01-16T11:00:01Z"), "charging_periods[0]", "begins before the session does"),
    (ocpi_session(end_date_time="2026-01-16T10:59:59Z"), "end_date_time", "is before the session's last period"),
    (ocpi_session(charging_periods=None), "charging_periods", "is missing"),
    (with_dimensions(), AT, "has 0 items"),
    (with_dimensions({"type": "LOVE", "volume": 1}), f"{AT}[0].type", "must be one of ENERGY, TIME, PARKING_TIME"),
    (with_dimensions({"type": "RESERVATION_TIME"}), f"{AT}[0].volume", "is missing"),
    (with_dimensions({"type": "TIME", "volume": -1}), f"{AT}[0].volume", "is below zero"),
    (with_dimensions({"type": "TIME", "volume": "1e10"}), f"{AT}[0].volume", "is too large"),
    (with_dimensions(TIME, TIME), f"{AT}[1]", "has TIME a second time"),
    (ocpi_session(items={}), "items", "must be a list"),
    (ocpi_session(items=[{"name": "tow"}]), "items[0].quantity", "is missing"),
    (ocpi_session(items=[{"name": "tow", "quantity": 0}]), "items[0].quantity", "must be 1 at least"),
    (ocpi_session(items=[{"name": "tow", "quantity": "1.5"}]), "items[0].quantity", "must be a whole number"),
    (ocpi_session(items=[{"name": "", "quantity": 1}]), "items[0].name", "must be a name of 1 to 64"),
    (ocpi_session(items=[{"name": "tow", "quantity": 1, "price": 1}]), "items[0].price", "is not a field"),
]


@pytest.mark.parametrize(("data", "path", "problem"), BAD_SESSIONS, ids=[f"{r[1]}: {r[2]}"[-60:] for r in BAD_SESSIONS])
def test_a_session_that_can_not_be_read_is_refused_with_the_place(data: dict[str, Any], path: str, problem: str) -> None:
    with pytest.raises(TariffError) as refused:
        session_of(data)
    assert (refused.value.path, problem in refused.value.problem) == (path, True)


def test_a_session_may_list_items_beside_its_periods() -> None:
    assert session_of(ocpi_session(items=[{"name": "tow", "quantity": "2"}])).items == (ServiceItem("tow", 2),)
    assert session_of(ocpi_session(items=[])).items == session_of(ocpi_session(items=None)).items == ()


def test_a_line_is_answered_with_amounts_or_with_its_error() -> None:
    tariff = {"currency": "JPY", "elements": [element(charging("1"))]}
    good = {"id": "a", "tariff": tariff, "session": ocpi_session()}
    amounts = {"id": "a", "currency": "JPY", "excl_vat": "2", "incl_vat": "2"}
    assert price_line(json.dumps(good)) == price_line(json.dumps(good).encode()) == amounts
    assert price_line('{"id": "b"}') == {"id": "b", "error": "tariff: is missing"}
    assert price_line("[]") == {"id": None, "error": "must be an object"}
    assert "this is not JSON" in str(price_line("{")["error"])
    towed = ocpi_session(charging_periods=[], items=[{"name": "tow", "quantity": 2}])
    assert price_line(json.dumps({**good, "session": towed}))["error"] == "items[tow]: has no price in this tariff"
    bad = {**good, "tariff": {**tariff, "elements": [element(charging("x"))]}}
    assert str(price_line(json.dumps(bad))["error"]).startswith("tariff.elements[0].price_components[0].price: ")
