"""A tariff in plain sentences: what each thing costs, when, and how it is counted.

What is said is what is priced: per dimension the elements in their order, since the first that holds decides.
"""

from collections.abc import Callable, Iterator, Sequence

from energyshare.rating import Rounding, decimal_text
from energyshare.tariff import (
    MINUTES_A_DAY,
    PRICE_DIGITS,
    RESERVED,
    VAT_DIGITS,
    WEEKDAYS,
    FlowRestrictions,
    PriceComponent,
    PriceLimit,
    Reservation,
    Restrictions,
    Tariff,
)
from energyshare.tariff_matching import Slot, slots_of
from energyshare.values import Dimension, Instant, datetime_of

SUBJECTS = {
    Dimension.FLAT: "Each session",
    Dimension.ENERGY: "Energy",
    Dimension.TIME: "Time with supply",
    Dimension.PARKING_TIME: "Time without supply",
}
UNITS = {
    Dimension.FLAT: "once",
    Dimension.ENERGY: "per kWh",
    Dimension.TIME: "an hour",
    Dimension.PARKING_TIME: "an hour",
    Dimension.ITEM: "each",
}
RESERVATIONS = {Dimension.FLAT: "Each reservation", Dimension.TIME: "Reserved time"}
SPANS = ((86_400, "day"), (3_600, "hour"), (60, "minute"), (1, "second"))


def explain(tariff: Tariff) -> tuple[str, ...]:
    """Say in sentences what a tariff means; amounts are without VAT unless a sentence says otherwise."""
    slots = slots_of(tariff)
    return (
        *validity_sentences(tariff),
        *session_sentences(slots, tariff),
        *item_sentences(slots, tariff),
        *reservation_sentences(slots, tariff),
        *limit_sentences(tariff),
        *rule_sentences(slots),
    )


def validity_sentences(tariff: Tariff) -> Iterator[str]:
    borders = [("from", tariff.start_time), ("before", tariff.end_time)]
    told = [f"{word} {utc_text(at)}" for word, at in borders if at is not None]
    if told:
        yield f"It is for sessions that start {' and '.join(told)}."


def session_sentences(slots: Sequence[Slot], tariff: Tariff) -> Iterator[str]:
    for dimension, subject in SUBJECTS.items():
        chosen = [s for s in slots if s.component.dimension is dimension and s.restrictions.reservation is None]
        if chosen:
            yield sentence(subject, chosen, tariff)
        elif dimension is not Dimension.FLAT:
            yield f"{subject} is free."


def item_sentences(slots: Sequence[Slot], tariff: Tariff) -> Iterator[str]:
    named = [slot for slot in slots if slot.component.dimension is Dimension.ITEM]
    for name in dict.fromkeys(slot.component.item for slot in named):
        yield sentence(f"The item {name!r}", [slot for slot in named if slot.component.item == name], tariff)


def reservation_sentences(slots: Sequence[Slot], tariff: Tariff) -> Iterator[str]:
    """Tell what a reservation costs, and one that expires where that differs: its own prices come first then."""
    for dimension in RESERVED:
        chosen = [slot for slot in slots if slot.component.dimension is dimension]
        used = [slot for slot in chosen if slot.restrictions.reservation is Reservation.RESERVATION]
        expired = [slot for slot in chosen if slot.restrictions.reservation is Reservation.RESERVATION_EXPIRES]
        if used:
            yield sentence(RESERVATIONS[dimension], used, tariff)
        if expired:
            yield sentence(f"{RESERVATIONS[dimension]} that expires", [*expired, *used], tariff)


def limit_sentences(tariff: Tariff) -> Iterator[str]:
    for word, limit in (("at least", tariff.min_price), ("at most", tariff.max_price)):
        if limit is not None:
            yield f"A session costs {word} {limit_text(limit, tariff)}."


def rule_sentences(slots: Sequence[Slot]) -> Iterator[str]:
    """Say how volumes and amounts are rounded, and where times of day are."""
    steps = {slot.component.dimension for slot in slots if slot.component.step_size > 1}
    if steps:
        yield "Of each kind the total is rounded up once, by the step of the price that was used last."
    if Dimension.TIME in steps and any(slot.component.dimension is Dimension.PARKING_TIME for slot in slots):
        yield "Where time without supply has a price, only that is rounded up, and time with supply is exact."
    if any(is_local(slot.restrictions) for slot in slots):
        yield "Hours, days and dates are those of the place; an hour that clocks repeat counts twice."
    yield f"Amounts are rounded {Rounding.HALF_UP_TOTALS}."


def sentence(subject: str, slots: Sequence[Slot], tariff: Tariff) -> str:
    """Say what something costs: its prices in their order, up to the first that always holds."""
    told: list[str] = []
    for slot in slots:
        conditions = condition_text(slot.restrictions)
        told.append(" ".join(part for part in (price_text(slot.component, tariff), conditions) if part))
        if not conditions:
            return f"{subject} costs {'; else '.join(told)}."
    return f"{subject} costs {'; else '.join(told)}; else nothing."


def price_text(component: PriceComponent, tariff: Tariff) -> str:
    """Write a price: 0.25 EUR per kWh plus 10 % VAT, in steps of 500 Wh."""
    if component.price == 0:
        return "nothing"
    price = f"{decimal_text(component.price, PRICE_DIGITS)} {tariff.currency} {UNITS[component.dimension]}"
    vat = f" plus {decimal_text(component.vat, VAT_DIGITS)} % VAT" if component.vat else ""
    return price + vat + step_text(component)


def step_text(component: PriceComponent) -> str:
    if component.step_size == 1:
        return ""
    step = f"{component.step_size} Wh" if component.dimension is Dimension.ENERGY else span_text(component.step_size)
    return f", in steps of {step}"


def limit_text(limit: PriceLimit, tariff: Tariff) -> str:
    excl_vat = f"{decimal_text(limit.excl_vat, PRICE_DIGITS)} {tariff.currency} without VAT"
    if limit.incl_vat is None:
        return f"{excl_vat}, and with VAT as much more as the rest of its bill"
    return f"{excl_vat} and {decimal_text(limit.incl_vat, PRICE_DIGITS)} {tariff.currency} with it"


def condition_text(restrictions: Restrictions) -> str:
    """Say when an element holds; nothing if it always does. Whether for reservations is not said."""
    r = restrictions
    energy = span_of((r.min_energy_wh, r.max_energy_wh), energy_text)
    duration = span_of((r.min_duration_s, r.max_duration_s), span_text)
    parts = [window_text(r), weekday_text(r), date_text(r), energy, duration, *flow_texts(r.flow)]
    return " and ".join(part for part in parts if part)


def span_of(borders: tuple[int | None, int | None], write: Callable[[int], str]) -> str:
    """Say between which amounts of a session's energy or duration something holds."""
    words = zip(("after the first", "within the first"), borders, strict=True)
    return " and ".join(f"{word} {write(border)}" for word, border in words if border is not None)


def window_text(r: Restrictions) -> str:
    if r.start_time is None and r.end_time is None:
        return ""
    return f"from {clock_text(r.start_time or 0)} to {clock_text(r.end_time or MINUTES_A_DAY)}"


def weekday_text(r: Restrictions) -> str:
    if r.weekdays is None:
        return ""
    names = [WEEKDAYS[day].capitalize() for day in sorted(r.weekdays)]
    return "on " + (names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}")


def date_text(r: Restrictions) -> str:
    borders = [("from", r.start_date), ("before", r.end_date)]
    return " and ".join(f"{word} {day.isoformat()}" for word, day in borders if day is not None)


def flow_texts(flow: FlowRestrictions | None) -> Iterator[str]:
    if flow is not None:
        for least, most, unit in (
            (flow.min_power_w, flow.max_power_w, "kW"),
            (flow.min_current_ma, flow.max_current_ma, "A"),
        ):
            borders = [("at", least, " or more"), ("below", most, "")]
            yield " and ".join(f"{word} {decimal_text(at, 3)} {unit}{more}" for word, at, more in borders if at is not None)


def is_local(r: Restrictions) -> bool:
    return any(border is not None for border in (r.start_time, r.end_time, r.start_date, r.end_date, r.weekdays))


def clock_text(minute: int) -> str:
    """Write a minute of the day, up to 24:00."""
    return f"{minute // 60:02}:{minute % 60:02}"


def energy_text(energy_wh: int) -> str:
    """Write an energy exactly."""
    return f"{decimal_text(energy_wh, 3)} kWh"


def span_text(seconds: int) -> str:
    """Write a duration in the largest unit of which it is a whole number."""
    size, unit = next(((size, unit) for size, unit in SPANS if seconds and seconds % size == 0), SPANS[-1])
    return f"{seconds // size} {unit}{'' if seconds == size else 's'}"


def utc_text(instant: Instant) -> str:
    return f"{datetime_of(instant):%Y-%m-%d %H:%M} UTC"
