"""What in a tariff may surprise: what it never prices, never reaches, or counts otherwise than it seems to say.

An error is what can't be priced at all; a warning is hardly what its owner meant; a note is what its owner should know.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Literal

from msgspec import Struct

from energyshare.tariff import PriceComponent, Reservation, Tariff, TariffError, parse_tariff
from energyshare.tariff_explain import clock_text, condition_text, energy_text, span_text
from energyshare.tariff_matching import Slot, slots_of
from energyshare.tariff_regions import (
    ALL,
    AT_THE_START,
    NO_ENERGY,
    UNKNOWN,
    Box,
    is_empty,
    is_within,
    left_of,
    overlap,
    region_of,
    restrictions_of,
)
from energyshare.values import Dimension

STEP_LARGE = {Dimension.ENERGY: 1_000, Dimension.TIME: 3_600, Dimension.PARKING_TIME: 3_600}
METERED = tuple(STEP_LARGE)
NAMES = {
    Dimension.ENERGY: "energy",
    Dimension.TIME: "time with supply",
    Dimension.PARKING_TIME: "time without supply",
    Dimension.FLAT: "a session as such",
}
FREE_BY_MISTAKE = (Dimension.ENERGY, Dimension.TIME, Dimension.ITEM)  # parking and fees often have free hours


class Finding(Struct, frozen=True):
    """Something found in a tariff: at which field, and under which UPPER_SNAKE code."""

    severity: Literal["error", "warning", "note"]
    where: str
    code: str
    text: str


def lint_tariff(tariff: bytes) -> tuple[Finding, ...]:
    """Look through a tariff as it travels in offers; what matters most comes first."""
    try:
        return findings_of(parse_tariff(tariff))
    except TariffError as error:
        return (Finding("error", error.path, "UNREADABLE", error.problem),)


def findings_of(tariff: Tariff) -> tuple[Finding, ...]:
    """Look through a tariff that could be read; warnings come before notes."""
    slots = slots_of(tariff)
    found = [finding for check in CHECKS for finding in check(tariff, slots)]
    return tuple(sorted(found, key=lambda finding: finding.severity == "note"))


# What is never used


def never_holding(tariff: Tariff, slots: Sequence[Slot]) -> Iterator[Finding]:
    """Find elements whose restrictions exclude one another, and components that can't be due when they hold."""
    for index, element in enumerate(tariff.elements):
        if is_empty(region_of(element.restrictions)):
            yield Finding("warning", f"elements[{index}].restrictions", "NEVER_HOLDS", "they can't all hold at the same time")
    for slot in slots:
        if is_empty(region(slot)) and not is_empty(region_of(slot.restrictions)):
            what = "an item is priced at the start" if slot.component.item else "a reservation is priced"
            yield Finding("warning", place(slot), "NEVER_HOLDS", f"{what}, when no energy has flowed")


def never_reached(tariff: Tariff, slots: Sequence[Slot]) -> Iterator[Finding]:
    """Find components before which others decide whenever they hold."""
    for slot, before in with_earlier(slots):
        if not is_empty(region(slot)) and left_of(region(slot), map(region, before)) == []:
            alone = next((other for other in before if is_within(region(slot), region(other))), None)
            by = place(alone) if alone else "one before it"
            yield Finding("warning", place(slot), "NEVER_REACHED", f"whenever it holds, {by} decides")


def overlapping(tariff: Tariff, slots: Sequence[Slot]) -> Iterator[Finding]:
    """Find prices of which neither is the rule and the other its exception, though both may hold."""
    for slot, before in with_earlier(slots):
        reached = left_of(region(slot), map(region, before)) != []
        rival = next((other for other in before if reached and is_rival(slot, other)), None)
        if rival is not None:
            text = f"it overlaps {place(rival)}, which decides where both hold"
            yield Finding("warning", place(slot), "OVERLAP", text)


def is_rival(slot: Slot, other: Slot) -> bool:
    a, b = region(slot), region(other)
    if price_of(slot.component) == price_of(other.component) or is_empty(overlap(a, b)):
        return False
    return not is_within(a, b) and not is_within(b, a)


# What has no price


def never_priced(tariff: Tariff, slots: Sequence[Slot]) -> Iterator[Finding]:
    """Find kinds of volume without any price."""
    priced = {slot.component.dimension for slot in slots if slot.restrictions.reservation is None}
    for dimension in METERED:
        if dimension not in priced:
            yield Finding("note", "elements", "NEVER_PRICED", f"{NAMES[dimension]} is free")
    if not any(slot.component.price for slot in slots) and tariff.min_price is None:
        yield Finding("warning", "elements", "ALL_FREE", "every price is zero: all is free")


def gaps(tariff: Tariff, slots: Sequence[Slot]) -> Iterator[Finding]:
    """Find times, amounts and powers at which what is priced else is free."""
    for group in groups(slots):
        first = group[0]
        left = left_of(start_of(first), map(region, group))
        if left and first.restrictions.reservation is not Reservation.RESERVATION_EXPIRES:
            serious = first.component.dimension in FREE_BY_MISTAKE and not reserved(first)
            text = f"no price of {name_of(first)} holds {when(left[0], first)}: it is free then"
            yield Finding("warning" if serious else "note", place(first), "GAP", text)


def when(box: Box, slot: Slot) -> str:
    """Say when a part of a box is, but for what is so for all components of the kind."""
    if box[-1] == (UNKNOWN,):
        return "while the current is not known, as in every order"
    shown = tuple(full if part == own else part for part, own, full in zip(box, start_of(slot), ALL, strict=True))
    return condition_text(restrictions_of(shown)) or "ever"


# What is counted otherwise than it seems


def wrapped_weekdays(tariff: Tariff, slots: Sequence[Slot]) -> Iterator[Finding]:
    """Find windows over midnight that hold on some weekdays only."""
    for index, element in enumerate(tariff.elements):
        r = element.restrictions
        if r.weekdays and len(r.weekdays) < 7 and (r.start_time or 0) >= (r.end_time or 1_440):
            morning, evening = clock_text(r.end_time or 0), clock_text(r.start_time or 0)
            text = f"it holds on these days before {morning} and from {evening} on, not in the morning after"
            yield Finding("warning", f"elements[{index}].restrictions", "WINDOW_WRAPS_WEEKDAY", text)


def large_steps(tariff: Tariff, slots: Sequence[Slot]) -> Iterator[Finding]:
    """Find steps that let a little cost as much as a lot."""
    for slot in slots:
        c = slot.component
        if c.price and c.step_size >= STEP_LARGE.get(c.dimension, c.step_size + 1):
            least = energy_text(c.step_size) if c.dimension is Dimension.ENERGY else span_text(c.step_size)
            yield Finding("warning", f"{place(slot)}.step_size", "STEP_LARGE", f"the least use costs as much as {least}")


def mixed_steps(tariff: Tariff, slots: Sequence[Slot]) -> Iterator[Finding]:
    """Find steps of one kind that differ: the price used last rounds up all of it."""
    for group in groups(slots):
        steps = sorted({slot.component.step_size for slot in group})
        if len(steps) > 1:
            text = (
                f"{name_of(group[0])} has steps of {steps[0]} and {steps[-1]}; that of the price used last rounds up all of it"
            )
            yield Finding("note", f"{place(group[-1])}.step_size", "STEP_DIFFERS", text)


def ignored_steps(tariff: Tariff, slots: Sequence[Slot]) -> Iterator[Finding]:
    """Find steps of TIME beside PARKING_TIME, which leaves it exact."""
    if any(slot.component.dimension is Dimension.PARKING_TIME for slot in slots):
        for slot in slots:
            if slot.component.dimension is Dimension.TIME and slot.component.step_size > 1 and not reserved(slot):
                text = "where time without supply has a price, time with supply is not rounded up"
                yield Finding("warning", f"{place(slot)}.step_size", "STEP_IGNORED", text)


# What an order does not have, and what it may cost


def unknown_to_orders(tariff: Tariff, slots: Sequence[Slot]) -> Iterator[Finding]:
    """Find what no order of ours tells: current, and reservations."""
    for index, element in enumerate(tariff.elements):
        where, flow = f"elements[{index}].restrictions", element.restrictions.flow
        if flow and (flow.min_current_ma is not None or flow.max_current_ma is not None):
            yield Finding("warning", where, "CURRENT_UNKNOWN", "devices tell no current, so it holds in no order")
        if element.restrictions.reservation is not None:
            yield Finding("note", where, "RESERVATION_UNUSED", "orders have no reservations, so it prices none of them")


def unbounded(tariff: Tariff, slots: Sequence[Slot]) -> Iterator[Finding]:
    """Find that nothing but an order's caps bounds what a session costs."""
    if tariff.max_price is None and any(slot.component.price and slot.component.dimension in METERED for slot in slots):
        yield Finding("note", "max_price", "COST_UNBOUNDED", "there is none: only an order's caps bound what a session costs")


def limits_without_vat(tariff: Tariff, slots: Sequence[Slot]) -> Iterator[Finding]:
    """Find limits whose amount with VAT depends on the bill."""
    for name, limit in (("min_price", tariff.min_price), ("max_price", tariff.max_price)):
        if limit is not None and limit.incl_vat is None and any(slot.component.vat for slot in slots):
            text = "is missing: with VAT the limit is as much more as the rest of its bill"
            yield Finding("note", f"{name}.incl_vat", "LIMIT_WITHOUT_VAT", text)


CHECKS: tuple[Callable[[Tariff, Sequence[Slot]], Iterator[Finding]], ...] = (
    never_holding,
    never_reached,
    overlapping,
    never_priced,
    gaps,
    wrapped_weekdays,
    large_steps,
    mixed_steps,
    ignored_steps,
    unknown_to_orders,
    unbounded,
    limits_without_vat,
)


def region(slot: Slot) -> Box:
    """Give where a component may decide; power is not known at the start, so that no restriction on it holds for an item."""
    if slot.component.dimension is Dimension.ITEM and slot.restrictions.flow:
        return (*AT_THE_START[:5], (), ())
    return overlap(region_of(slot.restrictions), start_of(slot))


def start_of(slot: Slot) -> Box:
    """Give all that there is where a component may decide, whatever its restrictions."""
    if slot.component.dimension is Dimension.ITEM:
        return AT_THE_START
    return NO_ENERGY if reserved(slot) else ALL


def groups(slots: Sequence[Slot]) -> list[list[Slot]]:
    """Group components of which the first that holds decides."""
    found: dict[tuple[Dimension, str, Reservation | None], list[Slot]] = {}
    for slot in slots:
        key = (slot.component.dimension, slot.component.item, slot.restrictions.reservation)
        found.setdefault(key, []).append(slot)
    return list(found.values())


def with_earlier(slots: Sequence[Slot]) -> Iterator[tuple[Slot, list[Slot]]]:
    """Pair each component with those that are asked before it."""
    for group in groups(slots):
        for number, slot in enumerate(group):
            yield slot, group[:number]


def reserved(slot: Slot) -> bool:
    return slot.restrictions.reservation is not None


def price_of(component: PriceComponent) -> tuple[int, int, int]:
    return component.price, component.vat, component.step_size


def name_of(slot: Slot) -> str:
    """Name what a component prices."""
    name = slot.component.item or NAMES[slot.component.dimension]
    return "a reservation" if reserved(slot) else name


def place(slot: Slot) -> str:
    return f"elements[{slot.element}].price_components[{slot.number}]"
