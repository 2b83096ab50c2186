"""Rating: what a session costs by a tariff, exactly.

Per period, at its start, and per dimension the first element that holds and has the dimension decides; none means free.
All sums are integers, or fractions where a volume is one; with and without VAT are each rounded once, half-up. Terminal,
provider, cloud and auditor run this same code.
Source: OCPI 2.2.1-bugfixes, mod_tariffs; what it leaves open is decided in ADR-0004.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from fractions import Fraction
from functools import lru_cache
from zoneinfo import ZoneInfo

from energyshare.bodies import BillLine
from energyshare.tariff import (
    MINUTES_A_DAY,
    PRICE_DIGITS,
    VAT_DIGITS,
    PriceComponent,
    PriceLimit,
    Restrictions,
    Tariff,
    TariffError,
)
from energyshare.values import Currency, Dimension, Instant, Minor, currency_exponent

Exact = int | Fraction

COLUMNS = (Dimension.FLAT, Dimension.ENERGY, Dimension.TIME, Dimension.PARKING_TIME)
WEIGHTS = {Dimension.ENERGY: 18, Dimension.TIME: 5, Dimension.PARKING_TIME: 5, Dimension.FLAT: 18_000}
"""A unit's part of what a price is for (Wh of kWh, seconds of hours), times 18,000, so that sums stay whole."""
AMOUNT_SCALE: int = 18_000 * 10**PRICE_DIGITS
VAT_SCALE: int = 100 * 10**VAT_DIGITS


@dataclass(frozen=True, slots=True)
class Delivered:
    """What was delivered from an instant on."""

    start: Instant
    energy_wh: Exact = 0
    time_s: Exact = 0
    parking_time_s: Exact = 0


@dataclass(frozen=True, slots=True)
class ChargingPeriod:
    """A part of a session priced alike; `at_energy_wh` and `at_duration_s` count from the session's start to this one's."""

    start: Instant
    energy_wh: Exact
    time_s: Exact
    parking_time_s: Exact
    at_energy_wh: Exact
    at_duration_s: Exact


@dataclass(frozen=True, slots=True)
class Session:
    """A finished session at a place whose IANA time zone tells the hours of its tariff."""

    start: Instant
    time_zone: str
    periods: tuple[ChargingPeriod, ...]


@dataclass(frozen=True, slots=True)
class Bill:
    """What a session costs: rounded in minor units, and exactly in major units.

    Lines are what was metered; a minimum or maximum price shows in the totals only.
    """

    currency: Currency
    lines: tuple[BillLine, ...]
    excl_vat_minor: Minor
    incl_vat_minor: Minor
    excl_vat_exact: Fraction
    incl_vat_exact: Fraction


@dataclass(frozen=True, slots=True)
class Moment:
    """What restrictions look at."""

    energy_wh: Exact
    duration_s: Exact
    minute: int
    day: date


@dataclass(frozen=True, slots=True)
class Slot:
    """A price component at its place in the tariff."""

    position: int
    component: PriceComponent
    restrictions: Restrictions


Use = tuple[Slot, Exact]
"""A volume that a price component applies to."""


@dataclass(frozen=True, slots=True)
class Priced:
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

    Source: OCPI 2.2.1-bugfixes, mod_tariffs, step_size; ADR-0004.
    Raises: TariffError if the time zone is unknown.
    """
    zone = zone_of(session.time_zone)
    periods = [p for p in session.periods if p.energy_wh or p.time_s or p.parking_time_s]
    if not periods:
        return Bill(tariff.currency, (), Minor(0), Minor(0), Fraction(0), Fraction(0))
    slots = slots_of(tariff)
    uses = [use for period in periods for use in uses_of(volumes(period), slots, moment_of(period, zone))]
    return bill_of(stepped(uses), tariff)


def flat_and_minimum(tariff: Tariff, start: Instant, time_zone: str) -> Bill:
    """Price a session of which no reading is known: FLAT and the price limits only. Raises TariffError."""
    moment = moment_of(ChargingPeriod(start, 0, 0, 0, 0, 0), zone_of(time_zone))
    return bill_of(stepped(list(uses_of((1, 0, 0, 0), slots_of(tariff), moment))), tariff)


def session_of_deliveries(start: Instant, time_zone: str, deliveries: Iterable[Delivered]) -> Session:
    """Make a session, counting energy and duration from its start.

    Raises: TariffError if a delivery starts before the session or the one before it.
    """
    periods: list[ChargingPeriod] = []
    energy_wh: Exact = 0
    previous = start
    for part in deliveries:
        if part.start < previous:
            raise TariffError("charging_periods", "must be in the order of their start, none before the session's")
        at_duration_s = whole(Fraction(part.start - start, 10**6))
        periods.append(ChargingPeriod(part.start, part.energy_wh, part.time_s, part.parking_time_s, energy_wh, at_duration_s))
        energy_wh, previous = energy_wh + part.energy_wh, part.start
    return Session(start, time_zone, tuple(periods))


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


def slots_of(tariff: Tariff) -> list[list[Slot]]:
    """List the components of each of COLUMNS in the tariff's order."""
    pairs = [(component, element) for element in tariff.elements for component in element.components]
    slots = [Slot(position, component, element.restrictions) for position, (component, element) in enumerate(pairs)]
    return [[slot for slot in slots if slot.component.dimension is dimension] for dimension in COLUMNS]


def volumes(period: ChargingPeriod) -> tuple[Exact, ...]:
    """Give a period's volumes in the order of COLUMNS."""
    return 1, period.energy_wh, period.time_s, period.parking_time_s


def moment_of(period: ChargingPeriod, zone: ZoneInfo) -> Moment:
    local = datetime.fromtimestamp(period.start // 10**6, zone)
    return Moment(period.at_energy_wh, period.at_duration_s, local.hour * 60 + local.minute, local.date())


def uses_of(volumes: Sequence[Exact], slots: Sequence[Sequence[Slot]], moment: Moment) -> Iterator[Use]:
    for volume, candidates in zip(volumes, slots, strict=True):
        if volume:
            for slot in candidates:
                if holds(slot.restrictions, moment):
                    yield slot, volume
                    break


def holds(restrictions: Restrictions, moment: Moment) -> bool:
    """Say whether all restrictions hold at a moment."""
    r = restrictions
    return (
        in_window(r.start_time, r.end_time, moment.minute)
        and (r.min_energy_wh is None or moment.energy_wh >= r.min_energy_wh)
        and (r.max_energy_wh is None or moment.energy_wh < r.max_energy_wh)
        and (r.min_duration_s is None or moment.duration_s >= r.min_duration_s)
        and (r.max_duration_s is None or moment.duration_s < r.max_duration_s)
        and (r.start_date is None or moment.day >= r.start_date)
        and (r.end_date is None or moment.day < r.end_date)
        and (r.weekdays is None or moment.day.weekday() in r.weekdays)
    )


def in_window(start: int | None, end: int | None, minute: int) -> bool:
    first = 0 if start is None else start
    last = MINUTES_A_DAY if end is None else end
    if first < last:
        return first <= minute < last
    return minute >= first or minute < last


def stepped(uses: Sequence[Use]) -> list[Priced]:
    """Sum the uses of each component, take FLAT once, and add what step sizes round up; in the tariff's order."""
    flat = [use for use in uses if use[0].component.dimension is Dimension.FLAT]
    metered = [*flat[:1], *(use for use in uses if use[0].component.dimension is not Dimension.FLAT)]
    slots = {slot.position: slot for slot, _ in metered}
    sums: dict[int, Exact] = {}
    for slot, volume in metered:
        sums[slot.position] = sums.get(slot.position, 0) + volume
    surplus = surpluses([slots[position] for position in last_use_first(metered)], sums)
    return [Priced(slots[p].component, sums[p], sums[p] + surplus.get(p, 0)) for p in sorted(sums)]


def last_use_first(uses: Sequence[Use]) -> list[int]:
    """Give the positions that were used, the one used last first."""
    return list(dict.fromkeys(slot.position for slot, _ in reversed(uses)))


def surpluses(slots: Sequence[Slot], sums: Mapping[int, Exact]) -> dict[int, Exact]:
    """Give what rounding up adds to the component priced last: of ENERGY, and of PARKING_TIME or else TIME."""
    parked = any(slot.component.dimension is Dimension.PARKING_TIME for slot in slots)
    surplus: dict[int, Exact] = {}
    for dimension in (Dimension.ENERGY, Dimension.PARKING_TIME if parked else Dimension.TIME):
        priced = [slot for slot in slots if slot.component.dimension is dimension]
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
        str(Fraction(part.excl_vat * 10**exponent, AMOUNT_SCALE)),
    )


def decimal_text(scaled: int, digits: int) -> str:
    """Write an integer with that many decimals as the shortest decimal."""
    integer, fraction = divmod(scaled, 10**digits)
    return f"{integer}.{fraction:0{digits}}".rstrip("0").rstrip(".")
