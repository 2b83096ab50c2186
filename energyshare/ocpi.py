"""OCPI sessions and worked examples as JSON: read, priced, and answered as JSON.

A session here is what a charge detail record tells of its periods: kWh, hours that are meant to the second, power, current
and reserved time. Beside its periods a session may list the items of a service. What a record says of its own cost is passed
over; what contradicts itself or the tariff is refused.
Source: OCPI 2.2.1-bugfixes, mod_cdrs, ChargingPeriod and CdrDimension; ADR-0006 for items; ADR-0010.
"""

import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from fractions import Fraction

from energyshare.bodies import ServiceItem
from energyshare.rating import Delivered, Session, rate, session_of_deliveries, whole, zone_of
from energyshare.records import replace
from energyshare.tariff import Tariff, instant, item_name, tariff_at
from energyshare.tariff_json import Node, TariffError, parsed
from energyshare.tariff_matching import Exact, Flow, Level
from energyshare.values import Currency, Instant, Minor, currency_exponent

LINE_BYTES_MAX = 2**20
HOUR_S = 3_600
KILO = 1_000
PERIODS_MAX = 10_000
DIMENSIONS_MAX = 20
ITEMS_MAX = 50
TARIFFS_MAX = 100
QUANTITY_MAX = 10_000
VOLUME_MAX = 10**9
SLACK_S = 18  # of each volume of time: hours with two decimals are so far off
TIMES = ("TIME", "PARKING_TIME", "RESERVATION_TIME")
LEVELS = ("POWER", "MIN_POWER", "MAX_POWER", "CURRENT", "MIN_CURRENT", "MAX_CURRENT")
PASSED_OVER = ("STATE_OF_CHARGE", "ENERGY_EXPORT", "ENERGY_IMPORT")
DIMENSIONS = ("ENERGY", *TIMES, *LEVELS, *PASSED_OVER)
SESSION_FIELDS = (
    *("start_date_time", "end_date_time", "time_zone", "charging_periods", "items", "reservation_expired", "currency"),
    *("country_code", "party_id", "id", "session_id", "cdr_token", "auth_method", "authorization_reference", "cdr_location"),
    *("location_id", "evse_uid", "connector_id", "meter_id", "signed_data", "remark", "invoice_reference_id", "status", "kwh"),
    *("total_cost", "total_fixed_cost", "total_energy", "total_energy_cost", "total_time", "total_time_cost"),
    *("total_parking_time", "total_parking_cost", "total_reservation_cost", "home_charging_compensation", "last_updated"),
)
FIRST, LAST = Instant(0), Instant(32_503_680_000_000_000)  # 1970 to 2999: in every zone a day of the calendar
ZONE = re.compile(r"[A-Za-z0-9_+/-]{1,64}")
TARIFF_ID = re.compile(r"[ -~]{1,36}")


def price_line(text: str | bytes) -> dict[str, object]:
    """Price one case given as a line of JSON; a bad one gives its id, if it has one, and the error."""
    case: object = None
    try:
        case = parsed(text, LINE_BYTES_MAX)
        return price_case(Node(case).fields())
    except TariffError as error:
        return {"id": case.get("id") if isinstance(case, Mapping) else None, "error": str(error)}


def price_case(case: Mapping[str, object]) -> dict[str, object]:
    """Price a case of `id`, `session`, and `tariff` or `tariffs`; amounts are texts with the currency's decimals.

    Raises: TariffError.
    """
    root = Node(case)
    tariffs = [(node, tariff_at(node)) for node in tariff_nodes(root)]
    node = root.need("session")
    session = session_at(node)
    tariff = tariff_in_force(tariffs, session.start, tariff_ids(node))
    require_currency(node, tariff)
    bill = rate(session, tariff)
    return {
        "id": case.get("id"),
        "currency": bill.currency,
        "excl_vat": major_text(bill.excl_vat_minor, bill.currency),
        "incl_vat": major_text(bill.incl_vat_minor, bill.currency),
    }


def tariff_nodes(root: Node) -> list[Node]:
    """Give the tariff, or each of several. Raises TariffError unless it is one or the other."""
    several = root.get("tariffs")
    if several is None:
        return [root.need("tariff")]
    if root.get("tariff"):
        raise several.bad("is there beside tariff; give one of them")
    return several.items(TARIFFS_MAX)


def tariff_in_force(tariffs: Sequence[tuple[Node, Tariff]], start: Instant, ids: frozenset[str]) -> Tariff:
    """Give the one tariff that is valid when a session starts, and that its periods name if they name any.

    Raises: TariffError, also if none is or if several are: which was meant is not for us to say.
    """
    named = [(node, tariff) for node, tariff in tariffs if not ids or tariff_id(node.get("id")) in {None, *ids}]
    if len(ids) > 1 or not named:
        raise TariffError("session.charging_periods", f"name {', '.join(sorted(ids))}, not one tariff of those given")
    valid = [(node, tariff) for node, tariff in named if tariff.valid_at(start)]
    if not valid:
        raise named[0][0].bad("is not valid when the session starts")
    if len(valid) > 1:
        raise valid[1][0].bad(f"is valid when the session starts, and so is {valid[0][0].path}")
    return valid[0][1]


def tariff_ids(session: Node) -> frozenset[str]:
    """Name the tariffs that a session's periods refer to."""
    found = (tariff_id(period.get("tariff_id")) for period in session.need("charging_periods").items(PERIODS_MAX, least=0))
    return frozenset(name for name in found if name is not None)


def tariff_id(node: Node | None) -> str | None:
    """Read an id as OCPI compares it, without regard to case; None if there is none. Raises TariffError."""
    return None if node is None else node.text(TARIFF_ID, "must be a text of 1 to 36 printable ASCII characters").lower()


def require_currency(session: Node, tariff: Tariff) -> None:
    """Refuse a session in another currency than the tariff's. Raises TariffError."""
    currency = session.get("currency")
    if currency and currency.value != tariff.currency:
        raise currency.bad(f"is not {tariff.currency}, the tariff's")


def session_of(session: Mapping[str, object]) -> Session:
    """Read a session's start, time zone and charging periods, in any order. Raises TariffError."""
    return session_at(Node(session))


def session_at(node: Node) -> Session:
    """Read a session that is a part of a document. Raises TariffError."""
    node.only(*SESSION_FIELDS)
    start, zone = time_at(node.need("start_date_time")), time_zone(node.need("time_zone"))
    periods = [(delivered(n), n) for n in node.need("charging_periods").items(PERIODS_MAX, least=0)]
    periods.sort(key=lambda period: period[0].start)
    deliveries = tuple(part for part, _ in periods)
    listed = node.get("items")
    items = tuple(service_item(n) for n in listed.items(ITEMS_MAX, least=0)) if listed else ()
    require_within(node, start, periods)
    expired = is_expired(node, deliveries)
    require_reservation_first(periods)
    return replace(session_of_deliveries(start, zone, deliveries), items=items, reservation_expired=expired)


def require_within(node: Node, start: Instant, periods: Sequence[tuple[Delivered, Node]]) -> None:
    """Refuse periods that begin before the session, or last longer than it. Raises TariffError."""
    if periods and periods[0][0].start < start:
        raise periods[0][1].bad("begins before the session does")
    end = node.get("end_date_time")
    if end is None:
        return
    ended = time_at(end)
    if ended < max([start, *(part.start for part, _ in periods)]):
        raise end.bad("is before the session's last period")
    times = [t for part, _ in periods for t in (part.time_s, part.parking_time_s, part.reservation_time_s) if t]
    if sum(times) - SLACK_S * len(times) > Fraction(ended - start, 10**6):
        raise end.bad("is earlier than the times of the periods say, taken together")


def is_expired(node: Node, deliveries: Sequence[Delivered]) -> bool:
    """Say whether a reservation expired, which is one that no session followed. Raises TariffError."""
    expired = node.get("reservation_expired")
    if expired is None or expired.value is False:
        return False
    if expired.value is not True:
        raise expired.bad("must be true or false")
    if not any(part.reservation_time_s for part in deliveries):
        raise expired.bad("is true, but no period has RESERVATION_TIME")
    if any(part.energy_wh or part.time_s or part.parking_time_s for part in deliveries):
        raise expired.bad("is true, but a session followed the reservation")
    return True


def require_reservation_first(periods: Sequence[tuple[Delivered, Node]]) -> None:
    """Refuse reserved time together with, or after, what was delivered. Raises TariffError."""
    begun = False
    for part, node in periods:
        begun = begun or bool(part.energy_wh or part.time_s or part.parking_time_s)
        if begun and part.reservation_time_s:
            raise node.bad("has RESERVATION_TIME, but the session has begun")


def time_at(node: Node) -> Instant:
    """Read a time of a session. Raises TariffError."""
    at = instant(node)
    if not FIRST <= at < LAST:
        raise node.bad("is not in the years 1970 to 2999")
    return at


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
        volumes[name] = Fraction(0) if name in PASSED_OVER else volume(dimension.need("volume"))
    start, energy_wh = time_at(node.need("start_date_time")), whole(volumes.get("ENERGY", Fraction(0)) * KILO)
    time_s, parking_s, reserved_s = (seconds(volumes.get(name, Fraction(0))) for name in TIMES)
    return Delivered(start, energy_wh, time_s, parking_s, reserved_s, flow_of(node, volumes, energy_wh, time_s))


def flow_of(node: Node, volumes: Mapping[str, Fraction], energy_wh: Exact, time_s: Exact) -> Flow:
    """Give a period's power and current as it tells them; else its mean power, where energy and time are known.

    A period without energy has neither. Raises: TariffError if the lowest is above the highest.
    """
    power, current = levels(node, volumes, "POWER"), levels(node, volumes, "CURRENT")
    nothing = None if energy_wh else (0, 1)
    mean = (Fraction(energy_wh) * HOUR_S / Fraction(time_s)).as_integer_ratio() if time_s else nothing
    return Flow(power[0] or mean, power[1] or mean, current[0] or nothing, current[1] or nothing)


def levels(node: Node, volumes: Mapping[str, Fraction], name: str) -> tuple[Level | None, Level | None]:
    """Give the lowest and the highest power in W, or current in mA, as a period tells them. Raises TariffError."""
    lowest, highest = (volumes.get(f"{end}_{name}", volumes.get(name)) for end in ("MIN", "MAX"))
    if lowest is not None and highest is not None and lowest > highest:
        raise node.bad(f"has a lowest {name} above its highest")
    return level(lowest), level(highest)


def level(number: Fraction | None) -> Level | None:
    return None if number is None else (number * KILO).as_integer_ratio()


def service_item(node: Node) -> ServiceItem:
    """Read an item of a service and how many there were. Raises TariffError."""
    node.only("name", "quantity")
    return ServiceItem(item_name(node.need("name")), node.need("quantity").scaled(0, QUANTITY_MAX, least=1))


def dimension_name(node: Node) -> str:
    kind = node.only("type", "volume").need("type")
    if not isinstance(kind.value, str) or kind.value not in DIMENSIONS:
        raise kind.bad(f"must be one of {', '.join(DIMENSIONS)}")
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
