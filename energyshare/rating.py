"""Rating: what a session costs by a tariff, exactly.

Per period, at its start, and per dimension the first element that holds and has the dimension decides; none means free.
A service's items are priced at the session's start, each by its name; a reservation before it by elements of its own.
All sums are integers, or fractions where a volume is one; with and without VAT are each rounded once, half-up. Terminal,
provider, cloud and auditor run this same code.
Source: OCPI 2.2.1-bugfixes, mod_tariffs; what it leaves open is decided in ADR-0004 and ADR-0010; items in ADR-0006.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from fractions import Fraction
from functools import lru_cache
from math import gcd
from zoneinfo import ZoneInfo

from msgspec import Struct

from energyshare.bodies import BillLine, ServiceItem
from energyshare.tariff import PRICE_DIGITS, VAT_DIGITS, PriceComponent, PriceLimit, Tariff, TariffError
from energyshare.tariff_matching import (
    UNKNOWN,
    Exact,
    Flow,
    Moment,
    Row,
    Slot,
    Use,
    first_holding,
    reservation_rows,
    session_rows,
    slots_of,
    slots_of_item,
    uses_of,
)
from energyshare.values import Currency, Dimension, Instant, Minor, currency_exponent

Volumes = dict[Dimension, Exact]

ENERGY, TIME, PARKING_TIME = Dimension.ENERGY, Dimension.TIME, Dimension.PARKING_TIME
WEIGHTS = {
    Dimension.ENERGY: 18,
    Dimension.TIME: 5,
    Dimension.PARKING_TIME: 5,
    Dimension.FLAT: 18_000,
    Dimension.ITEM: 18_000,
}
"""A unit's part of what a price is for (Wh of kWh, seconds of hours), times 18,000, so that sums stay whole."""
AMOUNT_SCALE: int = 18_000 * 10**PRICE_DIGITS
VAT_SCALE: int = 100 * 10**VAT_DIGITS


class Delivered(Struct, frozen=True):
    """What was delivered from an instant on."""

    start: Instant
    energy_wh: Exact = 0
    time_s: Exact = 0
    parking_time_s: Exact = 0
    reservation_time_s: Exact = 0
    flow: Flow = UNKNOWN


class ChargingPeriod(Struct, frozen=True):
    """A part of a session priced alike; `at_energy_wh` and `at_duration_s` count from the session's start to this one's.

    With a reservation before it, the duration of the session itself counts from the end of that.
    """

    start: Instant
    energy_wh: Exact
    time_s: Exact
    parking_time_s: Exact
    at_energy_wh: Exact
    at_duration_s: Exact
    reservation_time_s: Exact = 0
    flow: Flow = UNKNOWN


class Session(Struct, frozen=True):
    """A finished session at a place whose IANA time zone tells the hours of its tariff, and the items that it delivered."""

    start: Instant
    time_zone: str
    periods: tuple[ChargingPeriod, ...]
    items: tuple[ServiceItem, ...] = ()
    reservation_expired: bool = False


class Rounding(StrEnum):
    """How exact totals become minor units."""

    HALF_UP_TOTALS = "half up, once each on the exact total without and with VAT"


class Bill(Struct, frozen=True):
    """What a session costs: rounded in minor units, and exactly in major units.

    Lines are what was metered, exactly; a minimum or maximum price shows in the totals only. VAT is the difference.
    """

    currency: Currency
    lines: tuple[BillLine, ...]
    excl_vat_minor: Minor
    incl_vat_minor: Minor
    excl_vat_exact: Fraction
    incl_vat_exact: Fraction
    rounding: Rounding = Rounding.HALF_UP_TOTALS


class Priced(Struct, frozen=True):
    """All that a price component applies to, as metered and as billed.

    `excl_vat` is in 1 / AMOUNT_SCALE of the major unit, `incl_vat` in 1 / (AMOUNT_SCALE * VAT_SCALE).
    """

    component: PriceComponent
    volume: Exact
    billed_volume: Exact

    @property
    def excl_vat(self) -> Exact:
        """Give the cost without VAT."""
        return self.billed_volume * (self.component.price * WEIGHTS[self.component.dimension])

    @property
    def incl_vat(self) -> Exact:
        """Give the cost with VAT."""
        return self.excl_vat * (VAT_SCALE + self.component.vat)


def rate(session: Session, tariff: Tariff) -> Bill:
    """Price a finished session; one that delivered nothing costs nothing.

    Source: OCPI 2.2.1-bugfixes, mod_tariffs, step_size; ADR-0004, ADR-0006, ADR-0010.
    Raises: TariffError if the time zone is unknown, or the tariff does not name an item.
    """
    zone, slots, start = zone_of(session.time_zone), slots_of(tariff), beginning(session.start)
    charged = [(period, metered) for period in session.periods if (metered := volumes(period))]
    reserved = [
        (period, {Dimension.TIME: period.reservation_time_s}) for period in session.periods if period.reservation_time_s
    ]
    if not charged and session.items:
        charged.append((start, {}))
    uses = [
        *item_uses(session.items, slots, start, zone),
        *period_uses(reserved, reservation_rows(tariff, session.reservation_expired), zone),
        *period_uses(charged, session_rows(tariff), zone),
    ]
    if not charged and not reserved:
        return Bill(tariff.currency, (), Minor(0), Minor(0), Fraction(0), Fraction(0))
    return bill_of(stepped(uses), tariff)


def flat_and_minimum(tariff: Tariff, start: Instant, time_zone: str) -> Bill:
    """Price a session of which no reading is known: FLAT and the price limits only. Raises TariffError."""
    uses = period_uses([(beginning(start), {})], session_rows(tariff), zone_of(time_zone))
    return bill_of(stepped(list(uses)), tariff)


def session_of_deliveries(start: Instant, time_zone: str, deliveries: Iterable[Delivered]) -> Session:
    """Make a session, counting energy and duration from its start.

    Raises: TariffError if a delivery starts before the session or the one before it.
    """
    parts = tuple(deliveries)
    begun = charging_from(parts, start)
    periods: list[ChargingPeriod] = []
    energy_wh: Exact = 0
    previous = start
    for part in parts:
        if part.start < previous:
            raise TariffError("charging_periods", "must be in the order of their start, none before the session's")
        periods.append(period_of(part, energy_wh, start if part.reservation_time_s else begun))
        energy_wh, previous = energy_wh + part.energy_wh, part.start
    return Session(start, time_zone, tuple(periods))


def charging_from(parts: Sequence[Delivered], start: Instant) -> Instant:
    """Give when the session itself began: at its start, or after the reservation that it opens with."""
    if not parts or not parts[0].reservation_time_s:
        return start
    return next((part.start for part in parts if not part.reservation_time_s), start)


def period_of(part: Delivered, at_energy_wh: Exact, since: Instant) -> ChargingPeriod:
    return ChargingPeriod(
        part.start,
        part.energy_wh,
        part.time_s,
        part.parking_time_s,
        at_energy_wh,
        whole(Fraction(part.start - since, 10**6)),
        part.reservation_time_s,
        part.flow,
    )


@lru_cache(maxsize=256)
def zone_of(name: str) -> ZoneInfo:
    """Give an IANA time zone; raises TariffError when there is none of that name."""
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise TariffError("time_zone", f"{name!r} is not an IANA time zone such as Europe/Berlin") from None


def whole(value: Fraction) -> Exact:
    """Give an integer where the fraction is one; integers are faster."""
    return value.numerator if value.denominator == 1 else value


def beginning(start: Instant) -> ChargingPeriod:
    """Give the period of nothing with which a session starts."""
    return ChargingPeriod(start, 0, 0, 0, 0, 0)


def volumes(period: ChargingPeriod) -> Volumes:
    """Give what was metered in a period, but for reserved time and where it is 0."""
    metered = (ENERGY, period.energy_wh), (TIME, period.time_s), (PARKING_TIME, period.parking_time_s)
    return {dimension: volume for dimension, volume in metered if volume}


def moment_of(period: ChargingPeriod, zone: ZoneInfo) -> Moment:
    local = datetime.fromtimestamp(period.start // 10**6, zone)
    minute, day = local.hour * 60 + local.minute, local.date()
    return Moment(period.at_energy_wh, period.at_duration_s, minute, day, day.weekday(), period.flow)


def period_uses(parts: Iterable[tuple[ChargingPeriod, Volumes]], rows: Sequence[Row], zone: ZoneInfo) -> Iterator[Use]:
    """Choose what prices the volumes of each period, and FLAT with the first period in which one holds."""
    flat_due = True
    for period, wanted in parts:
        if flat_due:
            wanted[Dimension.FLAT] = 1
        yield from uses_of(wanted, rows, moment_of(period, zone))
        flat_due = Dimension.FLAT in wanted


def item_uses(items: Sequence[ServiceItem], slots: Iterable[Slot], start: ChargingPeriod, zone: ZoneInfo) -> Iterator[Use]:
    """Choose what prices each item at the session's start."""
    for item in items:
        slot = first_holding(slots_of_item(item.name, slots), moment_of(start, zone))
        if slot is not None:
            yield slot, item.quantity


def stepped(uses: Sequence[Use]) -> list[Priced]:
    """Sum the uses of each component, and add what step sizes round up; in the tariff's order."""
    slots = {slot.position: slot for slot, _ in uses}
    sums: dict[int, Exact] = {}
    for slot, volume in uses:
        sums[slot.position] = sums.get(slot.position, 0) + volume
    surplus = surpluses([slots[position] for position in last_use_first(uses)], sums)
    return [Priced(slots[p].component, sums[p], sums[p] + surplus.get(p, 0)) for p in sorted(sums)]


def last_use_first(uses: Sequence[Use]) -> list[int]:
    """Give the positions that were used, the one used last first."""
    return list(dict.fromkeys(slot.position for slot, _ in reversed(uses)))


def surpluses(slots: Sequence[Slot], sums: Mapping[int, Exact]) -> dict[int, Exact]:
    """Give what rounding up adds to the component priced last: of ENERGY, of PARKING_TIME or else TIME, of reserved TIME."""
    by_kind: dict[tuple[Dimension, bool], list[Slot]] = {}
    for slot in slots:
        by_kind.setdefault((slot.component.dimension, slot.restrictions.reservation is not None), []).append(slot)
    used = PARKING_TIME if (PARKING_TIME, False) in by_kind else TIME
    surplus: dict[int, Exact] = {}
    for kind in ((ENERGY, False), (used, False), (TIME, True)):
        priced = by_kind.get(kind)
        if priced:
            last = priced[0]
            surplus[last.position] = -sum(sums[slot.position] for slot in priced) % last.component.step_size
    return surplus


def bill_of(parts: Sequence[Priced], tariff: Tariff) -> Bill:
    exponent = currency_exponent(tariff.currency)
    excl_vat = Fraction(sum(part.excl_vat for part in parts), AMOUNT_SCALE)
    incl_vat = Fraction(sum(part.incl_vat for part in parts), AMOUNT_SCALE * VAT_SCALE)
    excl_vat, incl_vat = limited(excl_vat, incl_vat, tariff)
    return Bill(
        tariff.currency,
        tuple(line(part, exponent) for part in parts),
        half_up(excl_vat, exponent),
        half_up(incl_vat, exponent),
        excl_vat,
        incl_vat,
    )


def limited(excl_vat: Fraction, incl_vat: Fraction, tariff: Tariff) -> tuple[Fraction, Fraction]:
    """Hold a price to the tariff's minimum, then to its maximum, with and without VAT apart."""
    factor = incl_vat / excl_vat if excl_vat else Fraction(1)
    if tariff.min_price:
        least_excl, least_incl = amounts(tariff.min_price, factor)
        excl_vat, incl_vat = max(excl_vat, least_excl), max(incl_vat, least_incl)
    if tariff.max_price:
        most_excl, most_incl = amounts(tariff.max_price, factor)
        excl_vat, incl_vat = min(excl_vat, most_excl), min(incl_vat, most_incl)
    return excl_vat, incl_vat


def amounts(limit: PriceLimit, factor: Fraction) -> tuple[Fraction, Fraction]:
    """Give a limit in major units without and with VAT; `factor` gives the one with VAT where the tariff does not."""
    excl_vat = Fraction(limit.excl_vat, 10**PRICE_DIGITS)
    return excl_vat, excl_vat * factor if limit.incl_vat is None else Fraction(limit.incl_vat, 10**PRICE_DIGITS)


def half_up(amount: Fraction, exponent: int) -> Minor:
    """Round major units to minor units, halves up."""
    numerator, denominator = amount.as_integer_ratio()
    return Minor((2 * numerator * 10**exponent + denominator) // (2 * denominator))


def line(part: Priced, exponent: int) -> BillLine:
    component = part.component
    return BillLine(
        component.dimension,
        str(part.volume),
        str(part.billed_volume),
        decimal_text(component.price, PRICE_DIGITS),
        decimal_text(component.vat, VAT_DIGITS),
        fraction_text(part.excl_vat * 10**exponent, AMOUNT_SCALE),
        component.item,
    )


def fraction_text(amount: Exact, scale: int) -> str:
    """Write an amount divided by a scale as a whole number or a fraction in lowest terms."""
    numerator, denominator = amount.as_integer_ratio()
    common = gcd(numerator, denominator * scale)
    below = denominator * scale // common
    return str(numerator // common) if below == 1 else f"{numerator // common}/{below}"


@lru_cache(maxsize=1_024)
def decimal_text(scaled: int, digits: int) -> str:
    """Write an integer with that many decimals as the shortest decimal."""
    integer, fraction = divmod(scaled, 10**digits)
    return f"{integer}.{fraction:0{digits}}".rstrip("0").rstrip(".")
