"""Which price component applies: what restrictions look at, and the choice between elements.

For each dimension the first element that holds and has it decides; none means free. Elements for reservations price
reservations only, all others all but them. What is not known meets no restriction.
Source: OCPI 2.2.1-bugfixes, mod_tariffs; ADR-0004; ADR-0010.
"""

from collections.abc import Iterable, Iterator, Sequence
from datetime import date
from fractions import Fraction
from functools import lru_cache
from typing import NamedTuple

from msgspec import Struct

from energyshare.tariff import (
    MINUTES_A_DAY,
    FlowRestrictions,
    PriceComponent,
    Reservation,
    Restrictions,
    Tariff,
    TariffError,
)
from energyshare.values import Dimension

Exact = int | Fraction
Level = tuple[int, int]
"""A power in W or a current in mA, as a fraction that is never divided; over 0 where energy came in no time."""


class Flow(Struct, frozen=True):
    """How strongly energy flowed in a period, at its lowest and highest; None where that is not known."""

    min_power: Level | None = None
    max_power: Level | None = None
    min_current: Level | None = None
    max_current: Level | None = None


UNKNOWN = Flow()


class Moment(NamedTuple):
    """What restrictions look at."""

    energy_wh: Exact
    duration_s: Exact
    minute: int
    day: date
    weekday: int
    flow: Flow


class Slot(NamedTuple):
    """A price component at its place in the tariff: which it is of all, of which element, and of that element's."""

    position: int
    element: int
    number: int
    component: PriceComponent
    restrictions: Restrictions


class Row(NamedTuple):
    """An element's components by dimension, but for its items, and when they hold."""

    restrictions: Restrictions
    slots: dict[Dimension, Slot]


Use = tuple[Slot, Exact]
"""A volume that a price component applies to."""


@lru_cache(maxsize=256)
def slots_of(tariff: Tariff) -> tuple[Slot, ...]:
    """List all components in the tariff's order."""
    elements = enumerate(tariff.elements)
    places = [(index, number, element) for index, element in elements for number in range(len(element.components))]
    return tuple(
        Slot(position, index, number, element.components[number], element.restrictions)
        for position, (index, number, element) in enumerate(places)
    )


def slots_of_item(name: str, slots: Iterable[Slot]) -> list[Slot]:
    """List the components of an item. Raises TariffError if there is none."""
    named = [slot for slot in slots if slot.component.dimension is Dimension.ITEM and slot.component.item == name]
    if not named:
        raise TariffError(f"items[{repr(name)[1:-1]}]", "has no price in this tariff")
    return named


def session_rows(tariff: Tariff) -> list[Row]:
    """Give the elements that price a session, in the tariff's order."""
    return [row for row in rows_of(tariff) if row.restrictions.reservation is None]


def reservation_rows(tariff: Tariff, expired: bool) -> list[Row]:
    """Give the elements that price a reservation; if it expired, those for that come first."""
    rows = rows_of(tariff)
    used = [row for row in rows if row.restrictions.reservation is Reservation.RESERVATION]
    return [row for row in rows if row.restrictions.reservation is Reservation.RESERVATION_EXPIRES and expired] + used


@lru_cache(maxsize=256)
def rows_of(tariff: Tariff) -> tuple[Row, ...]:
    """Group components by element."""
    rows = [Row(element.restrictions, {}) for element in tariff.elements]
    for slot in slots_of(tariff):
        if slot.component.dimension is not Dimension.ITEM:
            rows[slot.element].slots[slot.component.dimension] = slot
    return tuple(rows)


def uses_of(volumes: dict[Dimension, Exact], rows: Iterable[Row], moment: Moment) -> Iterator[Use]:
    """Choose the components that apply to volumes, of which none is 0; takes out of `volumes` what is priced."""
    for restrictions, slots in rows:
        if holds(restrictions, moment):
            for dimension in volumes.keys() & slots.keys():
                yield slots[dimension], volumes.pop(dimension)
            if not volumes:
                break


def first_holding(slots: Iterable[Slot], moment: Moment) -> Slot | None:
    """Give the first component whose restrictions hold."""
    return next((slot for slot in slots if holds(slot.restrictions, moment)), None)


def holds(restrictions: Restrictions, moment: Moment) -> bool:
    """Say whether all restrictions hold at a moment; whether of a reservation or not is for the caller."""
    r = restrictions
    return (
        in_window(r, moment.minute)
        and (r.min_energy_wh is None or moment.energy_wh >= r.min_energy_wh)
        and (r.max_energy_wh is None or moment.energy_wh < r.max_energy_wh)
        and (r.min_duration_s is None or moment.duration_s >= r.min_duration_s)
        and (r.max_duration_s is None or moment.duration_s < r.max_duration_s)
        and (r.start_date is None or moment.day >= r.start_date)
        and (r.end_date is None or moment.day < r.end_date)
        and (r.weekdays is None or moment.weekday in r.weekdays)
        and (r.flow is None or flows(r.flow, moment.flow))
    )


def in_window(restrictions: Restrictions, minute: int) -> bool:
    start, end = restrictions.start_time or 0, restrictions.end_time or MINUTES_A_DAY
    return start <= minute < end if start < end else minute >= start or minute < end


def flows(restrictions: FlowRestrictions, flow: Flow) -> bool:
    """Say whether energy flowed within the restrictions all the time."""
    return (
        is_at_least(flow.min_power, restrictions.min_power_w)
        and is_below(flow.max_power, restrictions.max_power_w)
        and is_at_least(flow.min_current, restrictions.min_current_ma)
        and is_below(flow.max_current, restrictions.max_current_ma)
    )


def is_at_least(level: Level | None, least: int | None) -> bool:
    return least is None or (level is not None and level[0] >= least * level[1])


def is_below(level: Level | None, most: int | None) -> bool:
    return most is None or (level is not None and level[0] < most * level[1])


def components_of(slots: Sequence[Slot], dimension: Dimension, *, reserved: bool = False) -> list[PriceComponent]:
    """List the components of a dimension that price a session, or a reservation."""
    chosen = (s for s in slots if s.component.dimension is dimension)
    return [slot.component for slot in chosen if (slot.restrictions.reservation is not None) == reserved]
