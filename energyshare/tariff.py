"""Tariffs: OCPI 2.2.1 tariff objects as values, read strictly.

What decides a price is read exactly, what OCPI defines besides is ignored, anything else is refused: two programs that
take the same bytes price alike. Prices are integers in millionths of the currency's major unit, VAT rates in
ten-thousandths of a percent, energy in Wh, times of day in minutes.
Source: OCPI 2.2.1-bugfixes, mod_tariffs; ADR-0004.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from fractions import Fraction
from functools import lru_cache
from typing import NoReturn, Self, TypeVar

from energyshare.errors import EnergyShareError
from energyshare.values import Currency, Dimension, Instant, instant_of

T = TypeVar("T")

BYTES_MAX = 65_536
ELEMENTS_MAX = 100
COMPONENTS_MAX = 4
PRICE_DIGITS = 6
PRICE_MAX = 10**6 * 10**PRICE_DIGITS
LIMIT_MAX = 10**9 * 10**PRICE_DIGITS
VAT_DIGITS = 4
VAT_MAX = 100 * 10**VAT_DIGITS
STEP_MAX = 10**9
WH_MAX = 10**12
SECONDS_MAX = 10**9
MINUTES_A_DAY = 1_440

DIMENSIONS = {d.name: d for d in (Dimension.ENERGY, Dimension.TIME, Dimension.PARKING_TIME, Dimension.FLAT)}
WEEKDAYS = ("MONDAY", "TUESDAY", "WEDNESDAY", "THURSDAY", "FRIDAY", "SATURDAY", "SUNDAY")
PRICED_FIELDS = ("currency", "elements", "min_price", "max_price", "start_date_time", "end_date_time")
OTHER_FIELDS = (
    *("id", "country_code", "party_id", "type", "tariff_alt_text", "tariff_alt_url"),
    *("energy_mix", "last_updated"),
)
RESTRICTIONS = (
    *("start_time", "end_time", "start_date", "end_date", "day_of_week"),
    *("min_kwh", "max_kwh", "min_duration", "max_duration"),
)
UNSUPPORTED = ("min_current", "max_current", "min_power", "max_power", "reservation")

NUMBER = re.compile(r"-?[0-9]{1,24}(\.[0-9]{1,24})?([eE][+-]?[0-9]{1,2})?")
TIME_OF_DAY = re.compile(r"([01][0-9]|2[0-3]):[0-5][0-9]")
DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
DATE_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?Z?")
CURRENCY = re.compile(r"[A-Z]{3}")


class TariffError(EnergyShareError):
    """A tariff, or a session to price by it, that can't be used; `path` says where."""

    hint = "correct it there; the OCPI 2.2.1 tariffs module and docs/adr/0004-rating.md say what can be priced"

    def __init__(self, path: str, problem: str) -> None:
        super().__init__(f"{path}: {problem}" if path else problem)
        self.path = path
        self.problem = problem


@dataclass(frozen=True, slots=True)
class PriceComponent:
    """A price of one dimension: per kWh, per hour, or once; `step_size` in Wh or seconds, 1 for FLAT."""

    dimension: Dimension
    price: int
    vat: int
    step_size: int


@dataclass(frozen=True, slots=True)
class Restrictions:
    """When an element holds: from each start or minimum on, up to each end or maximum, that one excluded.

    `start_time` and `end_time` are minutes of the local day, the end up to 1,440; `weekdays` are 0 for Monday to 6.
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


@dataclass(frozen=True, slots=True)
class TariffElement:
    """Components that hold under the same restrictions."""

    components: tuple[PriceComponent, ...]
    restrictions: Restrictions


@dataclass(frozen=True, slots=True)
class PriceLimit:
    """A least or highest price of a session, in millionths of the major unit."""

    excl_vat: int
    incl_vat: int | None


@dataclass(frozen=True, slots=True)
class Tariff:
    """What a session costs; for each dimension the first element that holds and has it decides."""

    currency: Currency
    elements: tuple[TariffElement, ...]
    min_price: PriceLimit | None = None
    max_price: PriceLimit | None = None
    start_time: Instant | None = None
    end_time: Instant | None = None

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
    return tariff


def parsed(data: bytes | str, bytes_max: int = BYTES_MAX) -> object:
    """Parse JSON with every number left as text, so that none is rounded. Raises TariffError."""
    raw = data.encode("utf-8", "surrogatepass") if isinstance(data, str) else data
    if len(raw) > bytes_max:
        raise TariffError("", f"the JSON is {len(raw)} bytes long; {bytes_max} are allowed")
    try:
        return json.loads(raw.decode(), parse_float=str, parse_int=str, parse_constant=no_constant, object_pairs_hook=unique)
    except (ValueError, RecursionError) as error:
        raise TariffError("", f"this is not JSON that can be read: {error}") from None


def no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number")


def unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise ValueError("a field is there twice")
    return fields


@dataclass(frozen=True, slots=True)
class Node:
    """A place in a JSON document, with the path that errors name."""

    value: object
    path: str = ""

    def at(self, name: object) -> str:
        """Give the path of a field."""
        return f"{self.path}.{name}" if self.path else str(name)

    def bad(self, problem: str) -> TariffError:
        """Make the error that says what is wrong here."""
        return TariffError(self.path, problem)

    def fields(self) -> Mapping[str, object]:
        """Take an object's fields."""
        if not isinstance(self.value, Mapping):
            raise self.bad("must be an object")
        return self.value

    def only(self, *names: str) -> Self:
        """Refuse fields other than these."""
        for name in self.fields():
            if name not in names:
                raise TariffError(self.at(ascii(name)[1:-1][:40]), "is not a field of OCPI 2.2.1")
        return self

    def get(self, name: str) -> "Node | None":
        """Give a field; null counts as absent."""
        value = self.fields().get(name)
        return None if value is None else Node(value, self.at(name))

    def need(self, name: str) -> "Node":
        """Give a field that must be there."""
        node = self.get(name)
        if node is None:
            raise TariffError(self.at(name), "is missing")
        return node

    def items(self, most: int, least: int = 1) -> "list[Node]":
        """Take a list of that many items."""
        if not isinstance(self.value, Sequence) or isinstance(self.value, str | bytes):
            raise self.bad("must be a list")
        if not least <= len(self.value) <= most:
            raise self.bad(f"has {len(self.value)} items; it takes {least} to {most}")
        return [Node(value, f"{self.path}[{index}]") for index, value in enumerate(self.value)]

    def text(self, pattern: re.Pattern[str], problem: str) -> str:
        """Take a text of that form."""
        if not isinstance(self.value, str) or not pattern.fullmatch(self.value):
            raise self.bad(problem)
        return self.value

    def number(self) -> Fraction:
        """Take a number exactly as it is written."""
        if isinstance(self.value, bool) or not isinstance(self.value, int | float | Decimal | str):
            raise self.bad("must be a number")
        if isinstance(self.value, int) and abs(self.value) > 10**24:
            raise self.bad("is too large")
        if not NUMBER.fullmatch(str(self.value)):
            raise self.bad("must be a number of at most 24 digits on each side of the point")
        return Fraction(str(self.value))

    def scaled(self, digits: int, most: int, least: int = 0) -> int:
        """Take a number with that many decimals as an integer, between the bounds."""
        scale: int = 10**digits
        scaled = self.number() * scale
        if scaled.denominator != 1:
            raise self.bad(f"has more than {digits} decimals" if digits else "must be a whole number")
        if not least <= scaled <= most:
            raise self.bad(f"must be {least} at least" if scaled < least else "is too large")
        return scaled.numerator


def element(node: Node) -> TariffElement:
    node.only("price_components", "restrictions")
    components = tuple(component(n) for n in node.need("price_components").items(COMPONENTS_MAX))
    if len({c.dimension for c in components}) != len(components):
        raise TariffError(node.at("price_components"), "has a dimension twice")
    return TariffElement(components, optional(restrictions, node.get("restrictions")) or Restrictions())


def component(node: Node) -> PriceComponent:
    node.only("type", "price", "vat", "step_size")
    kind = node.need("type")
    dimension = DIMENSIONS.get(kind.value) if isinstance(kind.value, str) else None
    if dimension is None:
        raise kind.bad(f"must be one of {', '.join(DIMENSIONS)}")
    flat = dimension is Dimension.FLAT
    step_size = node.need("step_size").scaled(0, STEP_MAX, least=0 if flat else 1)
    price = node.need("price").scaled(PRICE_DIGITS, PRICE_MAX)
    return PriceComponent(dimension, price, scaled_or(node.get("vat"), VAT_DIGITS, VAT_MAX) or 0, 1 if flat else step_size)


def restrictions(node: Node) -> Restrictions:
    for name in UNSUPPORTED:
        if node.get(name):
            raise TariffError(node.at(name), "is a restriction that this version does not price")
    node.only(*RESTRICTIONS, *UNSUPPORTED)
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
    )


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
