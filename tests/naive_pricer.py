"""A second pricer, written from the standard with fractions alone and no thought of speed, and random cases for it.

It reads the tariff's JSON by itself and shares no code with energyshare.rating but the session's values. Powers are kW and
currents A here, as the standard writes them.
"""

from datetime import UTC, date, datetime, time
from decimal import Decimal
from fractions import Fraction
from random import Random
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from energyshare.bodies import ServiceItem
from energyshare.rating import ChargingPeriod, Delivered, Session, session_of_deliveries
from energyshare.records import replace
from energyshare.tariff_matching import Flow, Level
from energyshare.values import Instant

Json = dict[str, Any]
DAYS = ("MONDAY", "TUESDAY", "WEDNESDAY", "THURSDAY", "FRIDAY", "SATURDAY", "SUNDAY")
UNITS = {"ENERGY": 1000, "TIME": 3600, "PARKING_TIME": 3600, "FLAT": 1, "ITEM": 1}
ITEMS = ("jump-start", "tyre", "搭电")


class Now(NamedTuple):
    """What restrictions are compared with; a power in kW or a current in A is None when unknown."""

    local: datetime
    kwh: Fraction
    seconds: Fraction
    levels: dict[str, Fraction | float | None]


class Entry(NamedTuple):
    """A volume that a component prices, of a session or of the reservation before it."""

    component: Json
    volume: Fraction
    reserved: bool = False


def naive_price(tariff: Json, session: Session) -> tuple[Fraction, Fraction]:
    """Give the exact price without and with VAT, in major units."""
    if not session.items and not any(p.reservation_time_s or is_charged(p) for p in session.periods):
        return Fraction(0), Fraction(0)
    excl_vat, incl_vat = Fraction(0), Fraction(0)
    for component, volume, _ in with_steps(naive_entries(tariff, session)):
        cost = volume / UNITS[component["type"]] * Fraction(component["price"])
        excl_vat += cost
        incl_vat += cost * (1 + Fraction(component.get("vat", "0")) / 100)
    rate = incl_vat / excl_vat if excl_vat else Fraction(1)
    for name, choose in (("min_price", max), ("max_price", min)):
        if name in tariff:
            excl_limit = Fraction(tariff[name]["excl_vat"])
            incl_limit = Fraction(tariff[name]["incl_vat"]) if "incl_vat" in tariff[name] else excl_limit * rate
            excl_vat, incl_vat = choose(excl_vat, excl_limit), choose(incl_vat, incl_limit)
    return excl_vat, incl_vat


def is_charged(period: ChargingPeriod) -> bool:
    return bool(period.energy_wh or period.time_s or period.parking_time_s)


def naive_entries(tariff: Json, session: Session) -> list[Entry]:
    charging = [e for e in tariff["elements"] if "reservation" not in e.get("restrictions", {})]
    reserving = [e for e in tariff["elements"] if e.get("restrictions", {}).get("reservation") == "RESERVATION"]
    if session.reservation_expired:
        expiring = [e for e in tariff["elements"] if e.get("restrictions", {}).get("reservation") == "RESERVATION_EXPIRES"]
        reserving = expiring + reserving
    entries = naive_items(charging, session)
    for index, period in enumerate(session.periods):
        now = now_of(session, index)
        if period.reservation_time_s:
            volumes = {"TIME": Fraction(period.reservation_time_s), "FLAT": flat_due(entries, reserved=True)}
            entries += naive_choices(reserving, volumes, now, reserved=True)
        if is_charged(period):
            volumes = {
                "ENERGY": Fraction(period.energy_wh),
                "TIME": Fraction(period.time_s),
                "PARKING_TIME": Fraction(period.parking_time_s),
                "FLAT": flat_due(entries, reserved=False),
            }
            entries += naive_choices(charging, volumes, now, reserved=False)
    return entries


def naive_choices(elements: list[Json], volumes: dict[str, Fraction], now: Now, reserved: bool) -> list[Entry]:
    found = [(selected(elements, kind, now), volume) for kind, volume in volumes.items() if volume]
    return [Entry(component, volume, reserved) for component, volume in found if component is not None]


def flat_due(entries: list[Entry], reserved: bool) -> Fraction:
    return Fraction(not any(entry.component["type"] == "FLAT" and entry.reserved == reserved for entry in entries))


def naive_items(elements: list[Json], session: Session) -> list[Entry]:
    """Price items at the session's start, and FLAT with them when nothing else was delivered."""
    volumes = [("ITEM", item.name, Fraction(item.quantity)) for item in session.items]
    if session.items and not any(is_charged(p) for p in session.periods):
        volumes.append(("FLAT", "", Fraction(1)))
    start = Now(local_time(session.start, session), Fraction(0), Fraction(0), {})
    found = [(selected(elements, kind, start, name), volume) for kind, name, volume in volumes]
    return [Entry(component, volume) for component, volume in found if component is not None]


def now_of(session: Session, index: int) -> Now:
    """Give the moment at which a period begins; the session's own time begins after the reservation before it."""
    period, since = session.periods[index], session.start
    if session.periods[0].reservation_time_s and not period.reservation_time_s:
        since = next(p.start for p in session.periods if not p.reservation_time_s)
    before_wh = sum((Fraction(p.energy_wh) for p in session.periods[:index]), Fraction(0))
    flow = period.flow
    told = {
        "min_power": flow.min_power,
        "max_power": flow.max_power,
        "min_current": flow.min_current,
        "max_current": flow.max_current,
    }
    after_s = Fraction(period.start - since, 10**6)
    return Now(local_time(period.start, session), before_wh / 1000, after_s, {name: kilo(told[name]) for name in told})


def kilo(level: tuple[int, int] | None) -> Fraction | float | None:
    """Turn W into kW, or mA into A; energy that came in no time had no end of power."""
    if level is None:
        return None
    return Fraction(level[0], level[1]) / 1000 if level[1] else float("inf")


def local_time(instant: int, session: Session) -> datetime:
    return datetime.fromtimestamp(instant // 10**6, UTC).astimezone(ZoneInfo(session.time_zone))


def selected(elements: list[Json], kind: str, now: Now, item: str = "") -> Json | None:
    for element in elements:
        for component in element["price_components"]:
            named = component["type"] == kind and component.get("item", "") == item
            if named and naive_holds(element.get("restrictions", {}), now):
                assert isinstance(component, dict)
                return component
    return None


def naive_holds(r: Json, now: Now) -> bool:
    local, kwh, seconds, levels = now
    failed = [
        "min_kwh" in r and kwh < Fraction(r["min_kwh"]),
        "max_kwh" in r and kwh >= Fraction(r["max_kwh"]),
        "min_duration" in r and seconds < r["min_duration"],
        "max_duration" in r and seconds >= r["max_duration"],
        "start_date" in r and local.date() < date.fromisoformat(r["start_date"]),
        "end_date" in r and local.date() >= date.fromisoformat(r["end_date"]),
        "day_of_week" in r and DAYS[local.weekday()] not in r["day_of_week"],
        *(not is_more(levels.get(name), Fraction(r[name])) for name in ("min_power", "min_current") if name in r),
        *(not is_less(levels.get(name), Fraction(r[name])) for name in ("max_power", "max_current") if name in r),
    ]
    return not any(failed) and in_hours(r.get("start_time", "00:00"), r.get("end_time", "00:00"), local.time())


def is_more(level: Fraction | float | None, least: Fraction) -> bool:
    return level is not None and level >= least


def is_less(level: Fraction | float | None, most: Fraction) -> bool:
    return level is not None and level < most


def in_hours(start: str, end: str, now: time) -> bool:
    first, last = time.fromisoformat(start), time.fromisoformat(end)
    if last == time(0):
        return now >= first
    return first <= now < last if first < last else now >= first or now < last


def with_steps(entries: list[Entry]) -> list[Entry]:
    parked = any(entry.component["type"] == "PARKING_TIME" for entry in entries)
    extras: list[Entry] = []
    for kind, reserved in (("ENERGY", False), ("PARKING_TIME" if parked else "TIME", False), ("TIME", True)):
        of_kind = [entry for entry in entries if entry.component["type"] == kind and entry.reserved == reserved]
        if of_kind:
            total = sum((entry.volume for entry in of_kind), Fraction(0))
            last, step = of_kind[-1].component, of_kind[-1].component["step_size"]
            extras.append(Entry(last, -(-total // step) * step - total, reserved))
    return entries + extras


CLOCK = ("00:00", "01:30", "02:30", "06:00", "17:00", "23:45")
DATES = ("2026-10-24", "2026-10-25", "2026-10-26")


def tariffs() -> SearchStrategy[Json]:
    """Make tariffs that can be read; from a seed, which is ten times as fast as drawing each part."""
    return st.integers(0, 2**48).map(lambda seed: random_tariff(Random(seed)))


def random_tariff(random: Random) -> Json:
    tariff: Json = {"currency": "EUR", "elements": [random_element(random) for _ in range(random.randint(1, 5))]}
    for name, low in (("min_price", 0), ("max_price", 40)):
        if random.random() < 0.5:
            excl_vat = low + random.randint(0, 30)
            tariff[name] = {"excl_vat": str(excl_vat)}
            if random.random() < 0.5:
                tariff[name]["incl_vat"] = str(excl_vat + random.randint(0, 10))
    return tariff


def random_element(random: Random) -> Json:
    if random.random() < 0.15:
        return reservation_element(random)
    kinds = random.sample(list(UNITS), random.randint(1, 5))
    restricted = random.random() < 0.7
    return {
        "price_components": [component for kind in kinds for component in random_components(random, kind)],
        "restrictions": random_restrictions(random) if restricted else {},
    }


def reservation_element(random: Random) -> Json:
    kinds = random.sample(("FLAT", "TIME"), random.randint(1, 2))
    restrictions = random_restrictions(random) if random.random() < 0.3 else {}
    return {
        "price_components": [random_component(random, kind) for kind in kinds],
        "restrictions": {**restrictions, "reservation": random.choice(("RESERVATION", "RESERVATION_EXPIRES"))},
    }


def random_components(random: Random, kind: str) -> list[Json]:
    if kind != "ITEM":
        return [random_component(random, kind)]
    names = random.sample(ITEMS, random.randint(1, len(ITEMS)))
    return [{**random_component(random, kind), "item": name, "step_size": 1} for name in names]


def random_items(random: Random, tariff: Json) -> list[ServiceItem]:
    """Make items that the tariff names, some of them twice."""
    names = [part["item"] for element in tariff["elements"] for part in element["price_components"] if "item" in part]
    return [ServiceItem(random.choice(names), random.randint(1, 9)) for _ in range(random.randint(0, 4)) if names]


def random_component(random: Random, kind: str) -> Json:
    component: Json = {"type": kind, "price": decimal(random, 3_000, 3), "step_size": random.choice((1, 7, 25, 60, 500, 900))}
    return component | random.choice(({}, {"vat": "5.2"}, {"vat": "10"}, {"vat": "19.0"}))


def random_restrictions(random: Random) -> Json:
    r: Json = {
        "start_time": random.choice(CLOCK),
        "end_time": random.choice(CLOCK),
        "start_date": random.choice(DATES),
        "end_date": random.choice(DATES),
        "day_of_week": random.sample(DAYS, random.randint(1, 5)),
        "min_kwh": decimal(random, 50, 1),
        "max_kwh": decimal(random, 90, 1),
        "min_duration": random.randint(0, 20_000),
        "max_duration": random.randint(0, 90_000),
        "min_power": decimal(random, 60, 1),
        "max_power": decimal(random, 120, 1),
        "min_current": random.randint(0, 32),
        "max_current": random.randint(0, 64),
    }
    kept = {name: r[name] for name in random.sample(list(r), random.choice((1, 1, 2, 3)))}
    if kept.get("start_time") == kept.get("end_time"):
        kept.pop("end_time", None)
    return kept


def decimal(random: Random, most: int, digits: int) -> str:
    return str(Decimal(random.randint(0, most)).scaleb(-digits))


def random_session(random: Random, items: list[ServiceItem]) -> Session:
    """Make a session over the night in which Berlin's clocks go back; some have a reservation before them."""
    start, expired = Instant(1_792_872_000_000_000), random.random() < 0.1
    reserved = [random_reservation(random) for _ in range(random.choice((0, 0, 1, 2)))] if not expired else []
    charged = [random_delivery(random) for _ in range(random.randint(0, 6))] if not expired else []
    if expired:
        reserved = [random_reservation(random)]
    starts = sorted(random.randint(0, 40_000) for _ in (*reserved, *charged))
    parts = [replace(part, start=Instant(start + s * 10**6)) for part, s in zip((*reserved, *charged), starts, strict=True)]
    session = session_of_deliveries(start, "Europe/Berlin", parts)
    return replace(session, items=tuple(items), reservation_expired=expired)


def random_reservation(random: Random) -> Delivered:
    return Delivered(Instant(0), reservation_time_s=random.randint(1, 8_000))


def random_delivery(random: Random) -> Delivered:
    energy, time_s, parking_s = (random_volume(random) for _ in range(3))
    return Delivered(Instant(0), energy, time_s, parking_s, flow=Flow(*random_levels(random), *random_levels(random)))


def random_levels(random: Random) -> tuple[Level | None, Level | None]:
    """Make a lowest and a highest level."""
    lowest, highest = random_level(random), random_level(random)
    if lowest and highest and lowest[0] * highest[1] > highest[0] * lowest[1]:
        return highest, lowest
    return lowest, highest


def random_volume(random: Random) -> int | Fraction:
    return random.choice((0, random.randint(0, 4_000), Fraction(random.randint(0, 4_000_000), random.randint(1, 1_000))))


def random_level(random: Random) -> Level | None:
    """Make a power in W or a current in mA, round ones more often; some are not known, some without end."""
    return random.choice((None, (random.randint(0, 12) * 1_000, 1), (random.randint(0, 90_000), 7), (5, 0)))
