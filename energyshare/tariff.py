"""Tariffs: OCPI 2.2.1 tariff objects as values, read strictly.

What decides a price is read exactly, what OCPI defines besides is ignored, anything else is refused: two programs that
take the same bytes price alike. Prices are integers in millionths of the currency's major unit, VAT rates in
ten-thousandths of a percent, energy in Wh, power in W, current in mA, times of day in minutes. One dimension is ours: ITEM,
the price of a piece of work that it names.
Source: OCPI 2.2.1-bugfixes, mod_tariffs; ADR-0004; ADR-0006 for ITEM; ADR-0010 for power, current and reservations.
"""

import re
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from enum import StrEnum
from functools import lru_cache
from typing import TypeVar

from msgspec import Struct

from energyshare.tariff_json import Node as Node
from energyshare.tariff_json import TariffError as TariffError
from energyshare.tariff_json import parsed
from energyshare.values import Currency, Dimension, Instant, instant_of

T = TypeVar("T")

ELEMENTS_MAX = 100
COMPONENTS_MAX = 54  # four dimensions, and as many items as an offer quotes
ITEM_NAME_MAX = 64
PRICE_DIGITS = 6
PRICE_MAX = 10**6 * 10**PRICE_DIGITS
LIMIT_MAX = 10**9 * 10**PRICE_DIGITS
VAT_DIGITS = 4
VAT_MAX = 100 * 10**VAT_DIGITS
STEP_MAX = 10**9
WH_MAX = 10**12
SECONDS_MAX = 10**9
W_MAX = 10**9
MA_MAX = 10**9
MINUTES_A_DAY = 1_440

DIMENSIONS = {dimension.name: dimension for dimension in Dimension}
STEPS = {Dimension.FLAT: (0, STEP_MAX), Dimension.ITEM: (1, 1)}  # of the others: 1 to STEP_MAX
WEEKDAYS = ("MONDAY", "TUESDAY", "WEDNESDAY", "THURSDAY", "FRIDAY", "SATURDAY", "SUNDAY")
PRICED_FIELDS = ("currency", "elements", "min_price", "max_price", "start_date_time", "end_date_time")
OTHER_FIELDS = (
    *("id", "country_code", "party_id", "type", "tariff_alt_text", "tariff_alt_url"),
    *("energy_mix", "last_updated"),
)
RESTRICTIONS = (
    *("start_time", "end_time", "start_date", "end_date", "day_of_week"),
    *("min_kwh", "max_kwh", "min_duration", "max_duration"),
    *("min_power", "max_power", "min_current", "max_current", "reservation"),
)
RESERVED = (Dimension.FLAT, Dimension.TIME)  # all that a reservation can cost

TIME_OF_DAY = re.compile(r"([01][0-9]|2[0-3]):[0-5][0-9]")
DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
DATE_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?Z?")
CURRENCY = re.compile(r"[A-Z]{3}")


class Reservation(StrEnum):
    """What an element for reservations prices: any of them, or one that expires without a session."""

    RESERVATION = "RESERVATION"
    RESERVATION_EXPIRES = "RESERVATION_EXPIRES"


class PriceComponent(Struct, frozen=True):
    """A price of one dimension: per kWh, per hour, once, or for one of the item that it names.

    `step_size` is in Wh or seconds, 1 for FLAT and ITEM; `item` is empty for all but ITEM.
    """

    dimension: Dimension
    price: int
    vat: int
    step_size: int
    item: str = ""


class FlowRestrictions(Struct, frozen=True):
    """How strongly energy has to flow all the time: at least each minimum, below each maximum."""

    min_power_w: int | None = None
    max_power_w: int | None = None
    min_current_ma: int | None = None
    max_current_ma: int | None = None


class Restrictions(Struct, frozen=True):
    """When an element holds: from each start or minimum on, up to each end or maximum, that one excluded.

    `start_time` and `end_time` are minutes of the local day, the end up to 1,440; `weekdays` are 0 for Monday to 6.
    An element with a `reservation` prices reservations only, one without it all but them.
    """

    start_time: int | None = None
    end_time: int | None = None
    start_date: date | None = None
    end_date: date | None = None
    weekdays: frozenset[int] | None = None
    min_energy_wh: int | None = None
    max_energy_wh: int | None = None
    min_duration_s: int | None = None
    max_duration_s: int | None = None
    flow: FlowRestrictions | None = None
    reservation: Reservation | None = None


class TariffElement(Struct, frozen=True):
    """Components that hold under the same restrictions."""

    components: tuple[PriceComponent, ...]
    restrictions: Restrictions


class PriceLimit(Struct, frozen=True):
    """A least or highest price of a session, in millionths of the major unit."""

    excl_vat: int
    incl_vat: int | None


class Tariff(Struct, frozen=True):
    """What a session costs; for each dimension the first element that holds and has it decides."""

    currency: Currency
    elements: tuple[TariffElement, ...]
    min_price: PriceLimit | None = None
    max_price: PriceLimit | None = None
    start_time: Instant | None = None
    end_time: Instant | None = None

    def __hash__(self) -> int:
        """Hash what differs between most tariffs: hashing all of one costs as much as pricing by it."""
        return hash((self.currency, len(self.elements), self.elements[0].components[0].price))

    def valid_at(self, instant: Instant) -> bool:
        """Say whether a session may start by this tariff then; the end is excluded."""
        return (self.start_time is None or self.start_time <= instant) and (self.end_time is None or instant < self.end_time)


@lru_cache(maxsize=256)
def tariff_of(data: bytes) -> Tariff:
    """Read a tariff as it travels in offers; the same bytes are read once. Raises TariffError."""
    return parse_tariff(data)


def parse_tariff(data: bytes | str | Mapping[str, object]) -> Tariff:
    """Read an OCPI 2.2.1 tariff object: JSON, or JSON parsed already; numbers may be strings. Raises TariffError."""
    return tariff_at(Node(data if isinstance(data, Mapping) else parsed(data)))


def tariff_at(root: "Node") -> Tariff:
    """Read a tariff that is a part of a document. Raises TariffError."""
    root.only(*PRICED_FIELDS, *OTHER_FIELDS)
    tariff = Tariff(
        Currency(root.need("currency").text(CURRENCY, "must be an ISO 4217 code such as EUR")),
        tuple(element(node) for node in root.need("elements").items(ELEMENTS_MAX)),
        optional(limit, root.get("min_price")),
        optional(limit, root.get("max_price")),
        optional(instant, root.get("start_date_time")),
        optional(instant, root.get("end_date_time")),
    )
    if contradictory(tariff.min_price, tariff.max_price):
        raise TariffError(root.at("max_price"), "is below min_price")
    if tariff.start_time is not None and tariff.end_time is not None and tariff.end_time <= tariff.start_time:
        raise TariffError(root.at("end_date_time"), "is not after start_date_time: it is never valid")
    return tariff


def element(node: Node) -> TariffElement:
    node.only("price_components", "restrictions")
    components = tuple(component(n) for n in node.need("price_components").items(COMPONENTS_MAX))
    if len({(c.dimension, c.item) for c in components}) != len(components):
        raise TariffError(node.at("price_components"), "has a dimension twice, or an item of one name")
    when = optional(restrictions, node.get("restrictions")) or Restrictions()
    if when.reservation and any(component.dimension not in RESERVED for component in components):
        raise TariffError(node.at("price_components"), "has more than FLAT and TIME, which is all that a reservation can cost")
    return TariffElement(components, when)


def component(node: Node) -> PriceComponent:
    node.only("type", "item", "price", "vat", "step_size")
    kind = node.need("type")
    dimension = DIMENSIONS.get(kind.value) if isinstance(kind.value, str) else None
    if dimension is None:
        raise kind.bad(f"must be one of {', '.join(DIMENSIONS)}")
    price = node.need("price").scaled(PRICE_DIGITS, PRICE_MAX)
    vat = scaled_or(node.get("vat"), VAT_DIGITS, VAT_MAX) or 0
    return PriceComponent(dimension, price, vat, step_size(node, dimension), item_of(node, dimension))


def step_size(node: Node, dimension: Dimension) -> int:
    """Give the step: 1 for FLAT, whatever it says, and for ITEM, which may leave it out."""
    if dimension is Dimension.ITEM and node.get("step_size") is None:
        return 1
    least, most = STEPS.get(dimension, (1, STEP_MAX))
    step = node.need("step_size").scaled(0, most, least)
    return 1 if dimension is Dimension.FLAT else step


def item_of(node: Node, dimension: Dimension) -> str:
    """Give the item that an ITEM must name and nothing else may."""
    if dimension is Dimension.ITEM:
        return item_name(node.need("item"))
    if node.get("item"):
        raise TariffError(node.at("item"), "is for ITEM only")
    return ""


def item_name(node: Node) -> str:
    """Read the name of an item. Raises TariffError."""
    name = node.value
    if not isinstance(name, str) or not name.isprintable() or not 1 <= len(name) <= ITEM_NAME_MAX:
        raise node.bad(f"must be a name of 1 to {ITEM_NAME_MAX} printable characters")
    return name


def restrictions(node: Node) -> Restrictions:
    node.only(*RESTRICTIONS)
    start, end = optional(minute, node.get("start_time")), optional(minute, node.get("end_time"))
    if start and start == end:
        raise TariffError(node.at("end_time"), "is the start_time; leave both out for the whole day")
    return Restrictions(
        start,
        MINUTES_A_DAY if end == 0 else end,
        optional(day, node.get("start_date")),
        optional(day, node.get("end_date")),
        optional(weekdays, node.get("day_of_week")),
        scaled_or(node.get("min_kwh"), 3, WH_MAX),
        scaled_or(node.get("max_kwh"), 3, WH_MAX),
        scaled_or(node.get("min_duration"), 0, SECONDS_MAX),
        scaled_or(node.get("max_duration"), 0, SECONDS_MAX),
        flow_restrictions(node),
        optional(reservation, node.get("reservation")),
    )


def flow_restrictions(node: Node) -> FlowRestrictions | None:
    read = FlowRestrictions(
        scaled_or(node.get("min_power"), 3, W_MAX),
        scaled_or(node.get("max_power"), 3, W_MAX),
        scaled_or(node.get("min_current"), 3, MA_MAX),
        scaled_or(node.get("max_current"), 3, MA_MAX),
    )
    return None if read == FlowRestrictions() else read


def reservation(node: Node) -> Reservation:
    if not isinstance(node.value, str) or node.value not in Reservation.__members__:
        raise node.bad(f"must be one of {', '.join(Reservation)}")
    return Reservation(node.value)


def limit(node: Node) -> PriceLimit:
    node.only("excl_vat", "incl_vat")
    excl_vat = node.need("excl_vat").scaled(PRICE_DIGITS, LIMIT_MAX)
    incl_vat = scaled_or(node.get("incl_vat"), PRICE_DIGITS, LIMIT_MAX)
    if incl_vat is not None and incl_vat < excl_vat:
        raise TariffError(node.at("incl_vat"), "is below excl_vat")
    return PriceLimit(excl_vat, incl_vat)


def contradictory(least: PriceLimit | None, most: PriceLimit | None) -> bool:
    if least is None or most is None:
        return False
    with_vat = least.incl_vat is not None and most.incl_vat is not None and least.incl_vat > most.incl_vat
    return with_vat or least.excl_vat > most.excl_vat


def optional(read: Callable[[Node], T], node: Node | None) -> T | None:
    return None if node is None else read(node)


def scaled_or(node: Node | None, digits: int, most: int) -> int | None:
    return None if node is None else node.scaled(digits, most)


def minute(node: Node) -> int:
    hours, minutes = node.text(TIME_OF_DAY, "must be a time of day from 00:00 to 23:59").split(":")
    return int(hours) * 60 + int(minutes)


def day(node: Node) -> date:
    try:
        return date.fromisoformat(node.text(DATE, "must be a date such as 2026-12-24"))
    except ValueError:
        raise node.bad("is not a day of the calendar") from None


def weekdays(node: Node) -> frozenset[int] | None:
    days = node.items(most=len(WEEKDAYS), least=0)
    for item in days:
        if item.value not in WEEKDAYS:
            raise item.bad("must be a day of the week such as MONDAY")
    return frozenset(WEEKDAYS.index(str(item.value)) for item in days) or None


def instant(node: Node) -> Instant:
    """Read an OCPI DateTime, always UTC. Raises TariffError."""
    try:
        time = datetime.fromisoformat(node.text(DATE_TIME, "must be a UTC time such as 2026-12-24T18:00:00Z"))
    except ValueError:
        raise node.bad("is not a time of the calendar") from None
    return instant_of(time.replace(tzinfo=UTC))
