"""OCPI sessions and worked examples as JSON: read, priced, and answered as JSON.

A session here is what a charge detail record tells of its periods: kWh, and hours that are meant to the second. Dimensions
that no tariff of this version prices are passed over.
Source: OCPI 2.2.1-bugfixes, mod_cdrs, ChargingPeriod and CdrDimension.
"""

import re
from collections.abc import Mapping
from decimal import Decimal
from fractions import Fraction

from energyshare.rating import Delivered, Exact, Session, rate, session_of_deliveries, whole, zone_of
from energyshare.tariff import Node, TariffError, instant, parsed, tariff_at
from energyshare.values import Currency, Minor, currency_exponent

LINE_BYTES_MAX = 2**20
HOUR_S = 3_600
KWH_WH = 1_000
PERIODS_MAX = 10_000
DIMENSIONS_MAX = 20
VOLUME_MAX = 10**9
PRICED = ("ENERGY", "TIME", "PARKING_TIME")
PASSED_OVER = (
    *("CURRENT", "MIN_CURRENT", "MAX_CURRENT", "POWER", "MIN_POWER", "MAX_POWER"),
    *("STATE_OF_CHARGE", "ENERGY_EXPORT", "ENERGY_IMPORT"),
)
ZONE = re.compile(r"[A-Za-z0-9_+/-]{1,64}")


def price_line(text: str) -> dict[str, object]:
    """Price one case given as a line of JSON; a bad one gives its id, if it has one, and the error."""
    case: object = None
    try:
        case = parsed(text, LINE_BYTES_MAX)
        return price_case(Node(case).fields())
    except TariffError as error:
        return {"id": case.get("id") if isinstance(case, Mapping) else None, "error": str(error)}


def price_case(case: Mapping[str, object]) -> dict[str, object]:
    """Price a case of `id`, `tariff` and `session`; amounts are texts with the currency's decimals. Raises TariffError."""
    root = Node(case)
    tariff = tariff_at(root.need("tariff"))
    bill = rate(session_at(root.need("session")), tariff)
    return {
        "id": case.get("id"),
        "currency": bill.currency,
        "excl_vat": major_text(bill.excl_vat_minor, bill.currency),
        "incl_vat": major_text(bill.incl_vat_minor, bill.currency),
    }


def session_of(session: Mapping[str, object]) -> Session:
    """Read a session's start, time zone and charging periods. Raises TariffError."""
    return session_at(Node(session))


def session_at(node: Node) -> Session:
    """Read a session that is a part of a document. Raises TariffError."""
    node.only("start_date_time", "end_date_time", "time_zone", "charging_periods", "reservation_expired")
    expired = node.get("reservation_expired")
    if expired and expired.value is not False:
        raise expired.bad("reservations are not priced by this version")
    start, zone = instant(node.need("start_date_time")), time_zone(node.need("time_zone"))
    deliveries = tuple(delivered(n) for n in node.need("charging_periods").items(PERIODS_MAX, least=0))
    end = node.get("end_date_time")
    if end and instant(end) < max((start, *(part.start for part in deliveries))):
        raise end.bad("is before the session's last period")
    try:
        return session_of_deliveries(start, zone, deliveries)
    except TariffError as error:
        raise TariffError(node.at(error.path), error.problem) from None


def time_zone(node: Node) -> str:
    name = node.text(ZONE, "must be an IANA time zone such as Europe/Berlin")
    try:
        zone_of(name)
    except TariffError as error:
        raise node.bad(error.problem) from None
    return name


def delivered(node: Node) -> Delivered:
    """Read a charging period. Raises TariffError."""
    node.only("start_date_time", "dimensions", "tariff_id")
    volumes: dict[str, Fraction] = {}
    for dimension in node.need("dimensions").items(DIMENSIONS_MAX):
        name = dimension_name(dimension)
        if name in volumes:
            raise dimension.bad(f"has {name} a second time")
        volumes[name] = volume(dimension.need("volume")) if name in PRICED else Fraction(0)
    return Delivered(
        instant(node.need("start_date_time")),
        whole(volumes.get("ENERGY", Fraction(0)) * KWH_WH),
        seconds(volumes.get("TIME", Fraction(0))),
        seconds(volumes.get("PARKING_TIME", Fraction(0))),
    )


def dimension_name(node: Node) -> str:
    kind = node.only("type", "volume").need("type")
    if kind.value == "RESERVATION_TIME":
        raise kind.bad("reservations are not priced by this version")
    if not isinstance(kind.value, str) or kind.value not in (*PRICED, *PASSED_OVER):
        raise kind.bad(f"must be one of {', '.join(PRICED)}, or another dimension of OCPI 2.2.1")
    return kind.value


def volume(node: Node) -> Fraction:
    number = node.number()
    if not 0 <= number <= VOLUME_MAX:
        raise node.bad("is below zero" if number < 0 else "is too large")
    return number


def seconds(hours: Fraction) -> Exact:
    """Give hours to the nearest second, halves up."""
    return (hours * HOUR_S + Fraction(1, 2)).__floor__()


def major_text(amount_minor: Minor, currency: Currency) -> str:
    """Write an amount in major units with all of the currency's decimals."""
    digits = currency_exponent(currency)
    return f"{Decimal(amount_minor).scaleb(-digits):.{digits}f}"
