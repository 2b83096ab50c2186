"""Records of power, current and reservations, and several tariffs, each worked by hand to the cent."""

import json
from typing import Any

import pytest

from energyshare.bound import price_bound
from energyshare.ocpi import price_case, price_line, session_of
from energyshare.rating import Rounding, rate
from energyshare.tariff import FlowRestrictions, Reservation, TariffError, parse_tariff
from tests.test_rating import charging, element, energy, flat, parking

Periods = list[tuple[str, dict[str, Any]]]


def tariff(*elements: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"currency": "EUR", "elements": list(elements), **fields}


def ocpi_session(periods: Periods, **fields: Any) -> dict[str, Any]:
    """Make a session of Friday 16 January in Berlin from (UTC time, volumes by dimension)."""
    told = [
        {"start_date_time": f"2026-01-16T{at}:00Z", "dimensions": [{"type": k, "volume": v} for k, v in volumes.items()]}
        for at, volumes in periods
    ]
    start = min(at for at, _ in periods)
    return {"start_date_time": f"2026-01-16T{start}:00Z", "time_zone": "Europe/Berlin", "charging_periods": told, **fields}


def priced(source: dict[str, Any], periods: Periods, **fields: Any) -> tuple[Any, Any]:
    answer = price_case({"id": 1, "tariff": source, "session": ocpi_session(periods, **fields)})
    return answer["excl_vat"], answer["incl_vat"]


def level(power: float, kwh: float = 10) -> dict[str, Any]:
    return {"ENERGY": kwh, "MIN_POWER": power, "MAX_POWER": power}


TIERS = tariff(element(energy("0.20"), max_power=11), element(energy("0.30"), max_power="22"), element(energy("0.60", "20")))
FAST = tariff(element(energy("1"), min_power="50"), element(energy("0.10")))
AMPERES = tariff(element(energy("1"), min_current=32), element(energy("0.5"), max_current="16.5"), element(energy("0.10")))
RESERVED = tariff(
    element(flat("1.50", "20"), charging("6", "20", 300), reservation="RESERVATION"),
    element(flat("1"), energy("0.50", "10"), charging("3", step=600)),
)
EXPIRING = tariff(
    element(flat("4", "20"), reservation="RESERVATION_EXPIRES"),
    element(charging("2", "20", 600), reservation="RESERVATION"),
    element(flat("0.50", "20"), energy("0.25", "10")),
)
DEARER = tariff(
    element(charging("3", "20", 600), reservation="RESERVATION"),
    element(charging("6", "20", 600), reservation="RESERVATION_EXPIRES"),
    element(flat("0.50", "20"), energy("0.25", "10")),
)
QUARTER = {"RESERVATION_TIME": "0.25"}
TEN = {"ENERGY": 10}

CASES: list[tuple[str, dict[str, Any], Periods, dict[str, Any], str, str]] = [
    # Power
    ("below the first maximum", TIERS, [("11:00", level(6))], {}, "2.00", "2.00"),
    ("a maximum is left at its value", TIERS, [("11:00", level(11))], {}, "3.00", "3.00"),
    ("between two maxima", TIERS, [("11:00", level(21.999))], {}, "3.00", "3.00"),
    ("above all maxima the rest holds", TIERS, [("11:00", level(48))], {}, "6.00", "7.20"),
    (
        "each period by its own power",
        TIERS,
        [("11:00", level(6)), ("12:00", level(48)), ("13:00", level(4))],
        {},
        "10.00",
        "11.20",
    ),
    ("a minimum is taken at its value", FAST, [("11:00", level(50))], {}, "10.00", "10.00"),
    ("just below a minimum", FAST, [("11:00", level(49.999))], {}, "1.00", "1.00"),
    ("a minimum asks for the lowest power", FAST, [("11:00", {**TEN, "MIN_POWER": 40, "MAX_POWER": 60})], {}, "1.00", "1.00"),
    ("a maximum asks for the highest power", TIERS, [("11:00", {**TEN, "MIN_POWER": 1, "MAX_POWER": 12})], {}, "3.00", "3.00"),
    ("a mean that is told stands for both", FAST, [("11:00", {**TEN, "POWER": 60})], {}, "10.00", "10.00"),
    ("the lowest before the mean", FAST, [("11:00", {**TEN, "POWER": 60, "MIN_POWER": 40})], {}, "1.00", "1.00"),
    ("else the mean of energy and time", FAST, [("11:00", {**TEN, "TIME": "0.2"})], {}, "10.00", "10.00"),
    ("a mean just below", FAST, [("11:00", {**TEN, "TIME": "0.2003"})], {}, "1.00", "1.00"),
    ("power that is not known meets no minimum", FAST, [("11:00", TEN)], {}, "1.00", "1.00"),
    ("power that is not known meets no maximum", TIERS, [("11:00", TEN)], {}, "6.00", "7.20"),
    (
        "parking has no power",
        tariff(element(parking("6"), max_power="0.001"), element(parking("60"))),
        [("11:00", {"PARKING_TIME": 1})],
        *({}, "6.00", "6.00"),
    ),
    (
        "a window of power",
        tariff(element(energy("1"), min_power="10", max_power="20"), element(energy("2"))),
        [("11:00", level(9)), ("12:00", level(10)), ("13:00", level(19)), ("14:00", level(20))],
        *({}, "60.00", "60.00"),
    ),
    (
        "power and hour together",
        tariff(element(energy("1"), min_power="10", start_time="13:00"), element(energy("2"))),
        [("11:00", level(10)), ("12:00", level(10)), ("13:00", level(9))],
        *({}, "50.00", "50.00"),
    ),
    ("no fast charging, no fee for it", tariff(element(flat("5"), min_power=50)), [("11:00", level(22))], {}, "0.00", "0.00"),
    (
        "flat waits for its power",
        tariff(element(flat("5"), min_power="50"), element(energy("0.1"))),
        [("11:00", level(22)), ("12:00", level(50)), ("13:00", level(60))],
        *({}, "8.00", "8.00"),
    ),
    # Current
    ("current at its minimum", AMPERES, [("11:00", {**TEN, "MIN_CURRENT": 32, "MAX_CURRENT": 48})], {}, "10.00", "10.00"),
    ("current below its maximum", AMPERES, [("11:00", {**TEN, "MIN_CURRENT": 6, "MAX_CURRENT": "16.499"})], {}, "5.00", "5.00"),
    ("current at its maximum", AMPERES, [("11:00", {**TEN, "MIN_CURRENT": 6, "MAX_CURRENT": "16.5"})], {}, "1.00", "1.00"),
    ("a current that is told once", AMPERES, [("11:00", {**TEN, "CURRENT": 40})], {}, "10.00", "10.00"),
    ("a current that is not known", AMPERES, [("11:00", {**TEN, "POWER": 40})], {}, "1.00", "1.00"),
    # Reservations
    ("a session without reservation", RESERVED, [("11:00", TEN)], {}, "6.00", "6.50"),
    ("a reservation and its session", RESERVED, [("11:00", QUARTER), ("11:15", TEN)], {}, "9.00", "10.10"),
    (
        "reserved time has its own step",
        RESERVED,
        [("11:00", {"RESERVATION_TIME": "0.26"}), ("11:16", TEN)],
        {},
        "9.50",
        "10.70",
    ),
    (
        "charging time has its own step",
        RESERVED,
        [("11:00", QUARTER), ("11:15", {"TIME": "0.01"})],
        *({}, "4.50", "5.10"),
    ),
    (
        "reserved time is stepped though parking leaves charging exact",
        tariff(element(charging("6", step=600), reservation="RESERVATION"), element(charging("6", step=600), parking("6"))),
        [("11:00", {"RESERVATION_TIME": "0.05"}), ("11:15", {"TIME": "0.05"}), ("12:00", {"PARKING_TIME": "0.05"})],
        *({}, "1.60", "1.60"),
    ),
    (
        "reserved in two parts, one fee",
        RESERVED,
        [("11:00", QUARTER), ("11:15", QUARTER), ("11:30", TEN)],
        {},
        "10.50",
        "11.90",
    ),
    ("a reservation alone brings no fee of a session", RESERVED, [("11:00", QUARTER)], {}, "3.00", "3.60"),
    (
        "a fee of expiry is not due when it is used",
        EXPIRING,
        [("11:00", {"RESERVATION_TIME": "0.37"}), ("11:30", TEN)],
        {},
        "4.00",
        "4.55",
    ),
    ("an expired reservation", EXPIRING, [("11:00", {"RESERVATION_TIME": 1})], {"reservation_expired": True}, "6.00", "7.20"),
    (
        "not expired, not used either",
        EXPIRING,
        [("11:00", {"RESERVATION_TIME": 1})],
        {"reservation_expired": False},
        "2.00",
        "2.40",
    ),
    ("used time by its own price", DEARER, [("11:00", {"RESERVATION_TIME": "0.37"}), ("11:30", TEN)], {}, "4.50", "5.15"),
    (
        "expired time by its own price",
        DEARER,
        [("11:00", {"RESERVATION_TIME": "1.5"})],
        {"reservation_expired": True},
        "9.00",
        "10.80",
    ),
    ("nothing priced for it", tariff(element(energy("1"))), [("11:00", QUARTER)], {}, "0.00", "0.00"),
    (
        "the minimum holds for it too",
        tariff(element(energy("1")), min_price={"excl_vat": 2}),
        [("11:00", QUARTER)],
        *({}, "2.00", "2.00"),
    ),
    (
        "reserved at night",
        tariff(
            element(charging("9"), reservation="RESERVATION", start_time="12:10"),
            element(charging("6"), reservation="RESERVATION"),
        ),
        [("11:00", QUARTER), ("11:15", QUARTER)],
        *({}, "3.75", "3.75"),
    ),
    (
        "a session's duration begins after its reservation",
        tariff(element(energy("1"), max_duration=1_800), element(energy("2"))),
        [("11:00", {"RESERVATION_TIME": 1}), ("12:00", TEN), ("12:30", TEN)],
        *({}, "30.00", "30.00"),
    ),
    (
        "a reservation's duration begins with it",
        tariff(
            element(charging("4"), reservation="RESERVATION", max_duration=1_800),
            element(charging("8"), reservation="RESERVATION"),
        ),
        [("11:00", {"RESERVATION_TIME": "0.5"}), ("11:30", {"RESERVATION_TIME": "0.5"}), ("12:00", TEN)],
        *({}, "6.00", "6.00"),
    ),
    # As it comes
    ("periods in any order", TIERS, [("13:00", level(4)), ("11:00", level(6)), ("12:00", level(48))], {}, "10.00", "11.20"),
    ("numbers as texts", TIERS, [("11:00", {"ENERGY": "10.0", "MIN_POWER": "6.0", "MAX_POWER": "6e0"})], {}, "2.00", "2.00"),
    ("other dimensions", FAST, [("11:00", {**TEN, "STATE_OF_CHARGE": 80, "ENERGY_IMPORT": 10})], {}, "1.00", "1.00"),
    (
        "what a record says of itself",
        FAST,
        [("11:00", TEN)],
        {"currency": "EUR", "id": "x", "total_energy": 10},
        "1.00",
        "1.00",
    ),
    ("an end that fits", FAST, [("11:00", {"TIME": "0.67"})], {"end_date_time": "2026-01-16T11:40:00Z"}, "0.00", "0.00"),
]


@pytest.mark.parametrize(("name", "source", "periods", "fields", "excl_vat", "incl_vat"), CASES, ids=[row[0] for row in CASES])
def test_a_record_costs_what_was_worked_out_by_hand(
    name: str, source: dict[str, Any], periods: Periods, fields: dict[str, Any], excl_vat: str, incl_vat: str
) -> None:
    assert priced(source, periods, **fields) == (excl_vat, incl_vat)


def test_restrictions_are_read_into_watts_and_milliamperes() -> None:
    read = parse_tariff(tariff(element(energy("1"), min_power="1.5", max_power=11, min_current="6.001", max_current="16")))
    assert read.elements[0].restrictions.flow == FlowRestrictions(1_500, 11_000, 6_001, 16_000)
    assert parse_tariff(RESERVED).elements[0].restrictions.reservation is Reservation.RESERVATION
    assert parse_tariff(TIERS).elements[2].restrictions.flow is None


COMPONENTS = "tariff.elements[0].price_components"
PERIOD = "session.charging_periods"
SPRING = {"start_date_time": "2026-03-01T00:00:00Z"}
REFUSED: list[tuple[str, dict[str, Any], dict[str, Any], str, str]] = [
    ("reserved energy", tariff(element(energy("1"), reservation="RESERVATION")), {}, COMPONENTS, "has more than FLAT and TIME"),
    (
        "a third kind of reservation",
        tariff(element(flat("1"), reservation="MAYBE")),
        {},
        "tariff.elements[0].restrictions.reservation",
        "must be one of RESERVATION, ",
    ),
    ("a tariff of 2.3.0", {**FAST, "tax_included": "YES"}, {}, "tariff.tax_included", "is a field of OCPI 2.3.0"),
    (
        "a limit of 2.3.0",
        {**FAST, "min_price": {"before_taxes": 1}},
        {},
        "tariff.min_price.before_taxes",
        "is a field of OCPI 2.3.0",
    ),
    ("a session of 2.1.1", FAST, {"stop_date_time": "x"}, "session.stop_date_time", "is a field of OCPI 2.1.1"),
    (
        "a tariff that is never valid",
        {**FAST, **SPRING, "end_date_time": "2026-03-01T00:00:00Z"},
        {},
        "tariff.end_date_time",
        "is not after",
    ),
    ("a tariff that is not valid yet", {**FAST, **SPRING}, {}, "tariff", "is not valid when the session starts"),
    ("a tariff that has ended", {**FAST, "end_date_time": "2026-01-16T11:00:00Z"}, {}, "tariff", "is not valid when"),
    ("another currency", FAST, {"currency": "CNY"}, "session.currency", "is not EUR, the tariff's"),
    ("half an answer", FAST, {"reservation_expired": "yes"}, "session.reservation_expired", "must be true or false"),
    (
        "expired, but never reserved",
        FAST,
        {"reservation_expired": True},
        "session.reservation_expired",
        "no period has RESERVATION_TIME",
    ),
    (
        "times beyond the end",
        FAST,
        {
            "end_date_time": "2026-01-16T11:59:00Z",
            "charging_periods": [{"start_date_time": "2026-01-16T11:00:00Z", "dimensions": [{"type": "TIME", "volume": 1}]}],
        },
        "session.end_date_time",
        "is earlier than the times",
    ),
]


@pytest.mark.parametrize(("name", "source", "fields", "path", "problem"), REFUSED, ids=[row[0] for row in REFUSED])
def test_what_contradicts_itself_is_refused_with_the_place(
    name: str, source: dict[str, Any], fields: dict[str, Any], path: str, problem: str
) -> None:
    with pytest.raises(TariffError) as refused:
        priced(source, [("11:00", TEN)], **fields)
    assert (refused.value.path, problem in refused.value.problem) == (path, True), refused.value


BAD_PERIODS: list[tuple[str, Periods, dict[str, Any], str, str]] = [
    (
        "lowest above highest",
        [("11:00", {"MIN_POWER": 2, "MAX_POWER": 1})],
        {},
        f"{PERIOD}[0]",
        "has a lowest POWER above its highest",
    ),
    (
        "reserved while charging",
        [("11:00", {"RESERVATION_TIME": 1, "TIME": 1})],
        {},
        f"{PERIOD}[0]",
        "but the session has begun",
    ),
    ("reserved after charging", [("12:00", QUARTER), ("11:00", TEN)], {}, f"{PERIOD}[0]", "but the session has begun"),
    (
        "expired, but used",
        [("11:00", QUARTER), ("12:00", TEN)],
        {"reservation_expired": True},
        "session.reservation_expired",
        "but a session followed",
    ),
    (
        "before the session",
        [("11:00", TEN)],
        {"start_date_time": "2026-01-16T11:00:01Z"},
        f"{PERIOD}[0]",
        "begins before the session",
    ),
    ("negative power", [("11:00", {"POWER": -1})], {}, f"{PERIOD}[0].dimensions[0].volume", "is below zero"),
    ("a flat of 2.1.1", [("11:00", {"FLAT": 1})], {}, f"{PERIOD}[0].dimensions[0].type", "must be one of ENERGY"),
]


@pytest.mark.parametrize(("name", "periods", "fields", "path", "problem"), BAD_PERIODS, ids=[row[0] for row in BAD_PERIODS])
def test_a_period_that_can_not_be_is_refused_with_the_place(
    name: str, periods: Periods, fields: dict[str, Any], path: str, problem: str
) -> None:
    with pytest.raises(TariffError) as refused:
        priced(FAST, periods, **fields)
    assert (refused.value.path, problem in refused.value.problem) == (path, True), refused.value


OLD = {**tariff(element(energy("1")), id="Old"), "end_date_time": "2026-01-16T11:00:00Z"}
NEW = {**tariff(element(energy("2")), id="new"), "start_date_time": "2026-01-16T11:00:00Z"}


def among(tariffs: list[dict[str, Any]], *periods: tuple[str, str | None]) -> dict[str, object]:
    """Price 1 kWh for each (UTC time, tariff_id), by the tariff in force."""
    session = ocpi_session([(at, {"ENERGY": 1}) for at, _ in periods])
    for period, (_, name) in zip(session["charging_periods"], periods, strict=True):
        period["tariff_id"] = name
    return price_line(json.dumps({"tariffs": tariffs, "session": session}))


def test_the_one_tariff_in_force_at_the_start_prices_all_of_a_session() -> None:
    assert among([OLD, NEW], ("10:59", None), ("11:30", None))["excl_vat"] == "2.00"
    assert among([OLD, NEW], ("11:00", None), ("11:30", None))["excl_vat"] == "4.00"
    assert among([NEW, OLD], ("10:59", "OLD"), ("11:30", None))["excl_vat"] == "2.00"
    assert among([{**NEW, "id": "x"}, NEW], ("11:00", "new"))["excl_vat"] == "2.00"
    assert among([tariff(element(energy("3")))], ("11:00", "any"))["excl_vat"] == "3.00"


def test_which_tariff_was_meant_is_never_guessed() -> None:
    answers = [
        (
            among([OLD, {**NEW, "start_date_time": None}], ("10:00", None)),
            "tariffs[1]: is valid when the session starts, and so is tariffs[0]",
        ),
        (among([OLD, NEW], ("10:00", "new")), "tariffs[1]: is not valid when the session starts"),
        (among([OLD], ("12:00", None)), "tariffs[0]: is not valid when the session starts"),
        (among([OLD, NEW], ("10:00", "third")), "session.charging_periods: name third, not one tariff of those given"),
        (
            among([OLD, NEW], ("10:00", "old"), ("11:00", "new")),
            "session.charging_periods: name new, old, not one tariff of those given",
        ),
        (among([], ("10:00", None)), "tariffs: has 0 items; it takes 1 to 100"),
        (
            price_line(json.dumps({"tariff": OLD, "tariffs": [NEW], "session": {}})),
            "tariffs: is there beside tariff; give one of them",
        ),
    ]
    assert [answer["error"] for answer, _ in answers] == [error for _, error in answers]


def test_the_bill_says_how_it_was_rounded() -> None:
    bill = rate(session_of(ocpi_session([("11:00", TEN)])), parse_tariff(FAST))
    assert bill.rounding is Rounding.HALF_UP_TOTALS
    assert bill.rounding == "half up, once each on the exact total without and with VAT"


HOURLY: Periods = [(f"{hour:02}:00", {"ENERGY": 1}) for hour in range(24)]
WEEKDAYS: list[tuple[str, dict[str, Any], int]] = [
    (
        "a night of one weekday holds on both of its sides",
        {"start_time": "22:00", "end_time": "06:00", "day_of_week": ["FRIDAY"]},
        7,
    ),
    ("a night without its weekday", {"start_time": "22:00", "end_time": "06:00", "day_of_week": ["THURSDAY"]}, 0),
    ("until midnight", {"start_time": "22:00", "day_of_week": ["FRIDAY"]}, 2),
    ("from midnight", {"end_time": "06:00", "day_of_week": ["SATURDAY"]}, 1),
]


@pytest.mark.parametrize(("name", "restriction", "hours"), WEEKDAYS, ids=[row[0] for row in WEEKDAYS])
def test_a_weekday_is_the_local_day_of_the_moment(name: str, restriction: dict[str, Any], hours: int) -> None:
    """The day of UTC's Friday is Berlin's from 01:00 on Friday to 01:00 on Saturday."""
    assert priced(tariff(element(energy("1"), **restriction)), HOURLY)[0] == f"{hours}.00"


def test_the_bound_counts_a_reservation_where_there_is_one() -> None:
    rates = parse_tariff(DEARER)
    assert price_bound(rates, 10_000, 3_600) == 60 + 275
    assert price_bound(rates, 10_000, 3_600, (), 5_400) == 60 + 275 + 1_080
    expired = session_of(ocpi_session([("11:00", {"RESERVATION_TIME": "1.5"})], reservation_expired=True))
    assert rate(expired, rates).incl_vat_minor == 1_080
