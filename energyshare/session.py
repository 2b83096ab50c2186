"""Sessions: from a device's meter values to charging periods.

A session is a path through time and energy. Between two meter values energy is linear in time; the path is cut at the
caps, then split where the tariff's restrictions begin or end and where supplying changes. Everything is counted in whole
microseconds and micro-watt-hours: an energy threshold is crossed at the first whole microsecond at or after it, energy at
any other border is rounded down. So volumes stay short and add up exactly, whoever computes them. Power is that of the meter
values around: constant between two of them, and never divided. Current is not known. A service has no meter: its session is
its duration and its items.
Source: DESIGN.md section 6; ADR-0004; ADR-0006 for services; ADR-0010 for power.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, time, timedelta
from fractions import Fraction
from itertools import pairwise
from zoneinfo import ZoneInfo

from msgspec import Struct

from energyshare.bodies import ServiceItem
from energyshare.errors import Reason, Rejected
from energyshare.rating import Bill, Delivered, Session, rate, session_of_deliveries, whole, zone_of
from energyshare.records import replace
from energyshare.tariff import MINUTES_A_DAY, Restrictions, Tariff
from energyshare.tariff_matching import UNKNOWN, Flow, Level
from energyshare.values import Instant

MICRO = 10**6
HOUR_S = 3_600
NO_POWER: Level = (0, 1)


class MeterPoint(Struct, frozen=True):
    """A meter value since the session's start; `supplying` holds from this point to the next."""

    elapsed_s: int
    energy_wh: int
    supplying: bool


class Knot(Struct, frozen=True, order=True):
    """A point of the path: microseconds and micro-watt-hours since the session's start."""

    elapsed_us: int
    energy_uwh: int


class Path(Struct, frozen=True):
    """Knots in order, never falling; energy is linear between two. `supplying[i]` and `power[i]` hold from knot i on.

    Power is (0, 0) between equal meter values and over 0 where energy jumps; a cut leaves it as it was metered.
    """

    knots: tuple[Knot, ...]
    supplying: tuple[bool, ...]
    power: tuple[Level, ...]

    @property
    def end(self) -> Knot:
        """Give the last knot."""
        return self.knots[-1]


def bill(
    start: Instant,
    time_zone: str,
    points: Sequence[MeterPoint],
    end_elapsed_s: int,
    end_energy_wh: int,
    energy_wh_max: int,
    duration_s_max: int,
    tariff: Tariff,
) -> Bill:
    """Price what a device metered; see `metered_session` and `rate`."""
    session = metered_session(start, time_zone, points, end_elapsed_s, end_energy_wh, energy_wh_max, duration_s_max, tariff)
    return rate(session, tariff)


def service_bill(start: Instant, time_zone: str, duration_s: int, items: Sequence[ServiceItem], tariff: Tariff) -> Bill:
    """Price a service: its duration as TIME, its items, and FLAT once; neither duration nor items cost nothing.

    Raises: TariffError if the tariff does not name an item, or the time zone is unknown.
    Source: ADR-0006.
    """
    session = metered_session(start, time_zone, (), duration_s, 0, 0, duration_s, tariff)
    return rate(replace(session, items=tuple(items)), tariff)


def metered_session(
    start: Instant,
    time_zone: str,
    points: Sequence[MeterPoint],
    end_elapsed_s: int,
    end_energy_wh: int,
    energy_wh_max: int,
    duration_s_max: int,
    tariff: Tariff,
) -> Session:
    """Make the session that meter values tell of, within the caps and split at the tariff's borders.

    Before the first point the device supplies. Energy past its cap is left out, time goes on.
    Raises: Rejected READING_IMPLAUSIBLE if time or energy fall; TariffError if the time zone is unknown.
    """
    zone = zone_of(time_zone)
    path = cut_at_energy(cut_at_time(path_of(points, end_elapsed_s, end_energy_wh), duration_s_max), energy_wh_max)
    restrictions = [element.restrictions for element in tariff.elements]
    knots = {path.knots[0], path.end, *turns(path)}
    knots.update(at_energy(path, threshold) for threshold in energy_borders(restrictions, path.end))
    knots.update(at_time(path, elapsed) for elapsed in time_borders(restrictions, start, path.end, zone))
    with_power = any(r.flow for r in restrictions)
    if with_power:
        knots.update(path.knots)
    return session_of_deliveries(start, time_zone, deliveries(start, path, sorted(knots), with_power))


def path_of(points: Sequence[MeterPoint], end_elapsed_s: int, end_energy_wh: int) -> Path:
    """Join start, points and end. Raises Rejected READING_IMPLAUSIBLE."""
    all_points = [MeterPoint(0, 0, True), *points, MeterPoint(end_elapsed_s, end_energy_wh, False)]
    for earlier, later in pairwise(all_points):
        if later.elapsed_s < earlier.elapsed_s or later.energy_wh < earlier.energy_wh:
            raise Rejected(Reason.READING_IMPLAUSIBLE, elapsed_s=str(later.elapsed_s), energy_wh=str(later.energy_wh))
    knots = tuple(Knot(p.elapsed_s * MICRO, p.energy_wh * MICRO) for p in all_points)
    powers = (power_between(earlier, later) for earlier, later in pairwise(all_points))
    return Path(knots, tuple(p.supplying for p in all_points), (*powers, NO_POWER))


def power_between(earlier: MeterPoint, later: MeterPoint) -> Level:
    """Give the power that takes a meter from one value to the next."""
    return (later.energy_wh - earlier.energy_wh) * HOUR_S, later.elapsed_s - earlier.elapsed_s


def cut_at_time(path: Path, duration_s_max: int) -> Path:
    """End the path at the seconds cap."""
    end_us = duration_s_max * MICRO
    if path.end.elapsed_us <= end_us:
        return path
    kept = bisect_right(path.knots, end_us, key=elapsed)
    return Path((*path.knots[:kept], at_time(path, end_us)), (*path.supplying[:kept], False), (*path.power[:kept], NO_POWER))


def cut_at_energy(path: Path, energy_wh_max: int) -> Path:
    """Hold the path to the energy cap from where it is reached; time goes on, at no power."""
    cap_uwh = energy_wh_max * MICRO
    if path.end.energy_uwh <= cap_uwh:
        return path
    kept = bisect_right(path.knots, cap_uwh, key=energy)
    reached = crossing(path.knots[kept - 1], path.knots[kept], cap_uwh)
    knots = (*path.knots[:kept], reached, *(Knot(k.elapsed_us, cap_uwh) for k in path.knots[kept:]))
    powers = (*path.power[:kept], *(NO_POWER for _ in knots[kept:]))
    return Path(knots, (*path.supplying[:kept], *path.supplying[kept - 1 :]), powers)


def at_time(path: Path, elapsed_us: int) -> Knot:
    """Give the knot at a time within the path; after the jump where energy jumps."""
    after = bisect_right(path.knots, elapsed_us, key=elapsed)
    if after == len(path.knots):
        return path.end
    a, b = path.knots[after - 1], path.knots[after]
    risen = (b.energy_uwh - a.energy_uwh) * (elapsed_us - a.elapsed_us) // (b.elapsed_us - a.elapsed_us)
    return Knot(elapsed_us, a.energy_uwh + risen)


def at_energy(path: Path, energy_uwh: int) -> Knot:
    """Give the knot where the path first reaches an energy above 0 that it does reach."""
    after = bisect_left(path.knots, energy_uwh, key=energy)
    return crossing(path.knots[after - 1], path.knots[after], energy_uwh)


def crossing(a: Knot, b: Knot, energy_uwh: int) -> Knot:
    """Give the first whole microsecond at which a rising piece has an energy that lies on it."""
    passed = -((a.energy_uwh - energy_uwh) * (b.elapsed_us - a.elapsed_us) // (b.energy_uwh - a.energy_uwh))
    return Knot(a.elapsed_us + passed, energy_uwh)


def elapsed(knot: Knot) -> int:
    return knot.elapsed_us


def energy(knot: Knot) -> int:
    return knot.energy_uwh


def turns(path: Path) -> Iterator[Knot]:
    """Give the knots where supplying changes."""
    for index, (before, after) in enumerate(pairwise(path.supplying), start=1):
        if before is not after:
            yield path.knots[index]


def deliveries(start: Instant, path: Path, knots: Sequence[Knot], with_power: bool) -> Iterator[Delivered]:
    """Give what was delivered between knots; `with_power` if each piece between meter values has knots of its own."""
    for a, b in pairwise(knots):
        time_s = whole(Fraction(b.elapsed_us - a.elapsed_us, MICRO))
        energy_wh = whole(Fraction(b.energy_uwh - a.energy_uwh, MICRO))
        piece = bisect_right(path.knots, a) - 1
        charging_s, parking_s = (time_s, 0) if path.supplying[piece] else (0, time_s)
        flow = Flow(path.power[piece], path.power[piece]) if with_power else UNKNOWN
        yield Delivered(Instant(start + a.elapsed_us), energy_wh, charging_s, parking_s, flow=flow)


def energy_borders(restrictions: Iterable[Restrictions], end: Knot) -> set[int]:
    """Give the energies, in micro-watt-hours, at which restrictions begin or end."""
    thresholds = {t * MICRO for r in restrictions for t in (r.min_energy_wh, r.max_energy_wh) if t}
    return {threshold for threshold in thresholds if threshold <= end.energy_uwh}


def time_borders(restrictions: Sequence[Restrictions], start: Instant, end: Knot, zone: ZoneInfo) -> set[int]:
    """Give the times, in microseconds since the start, at which restrictions begin or end."""
    borders = {t * MICRO for r in restrictions for t in (r.min_duration_s, r.max_duration_s) if t}
    minutes = {minute for r in restrictions for minute in minutes_of(r)}
    if minutes:
        last = Instant(start + end.elapsed_us)
        local = local_borders(start, last, zone, minutes)
        borders.update(instant - start for instant in (*local, *clock_changes(start, last, zone)))
    return {border for border in borders if 0 < border < end.elapsed_us}


def minutes_of(restrictions: Restrictions) -> Iterator[int]:
    """Give the minutes of the local day at which restrictions on time, day or date begin or end."""
    r = restrictions
    if r.start_time is not None or r.end_time is not None:
        yield r.start_time or 0
        yield (r.end_time or 0) % MINUTES_A_DAY
    if r.start_date or r.end_date or r.weekdays:
        yield 0


def local_borders(start: Instant, end: Instant, zone: ZoneInfo, minutes: set[int]) -> Iterator[int]:
    """Give the instants at which it is one of these minutes there: none where clocks skip it, two where they repeat it."""
    first, last = local_time(start, zone).date(), local_time(end, zone).date()
    for days in range((last - first).days + 1):
        for minute in minutes:
            for fold in (0, 1):
                wall = datetime.combine(first + timedelta(days), time(minute // 60, minute % 60, fold=fold), zone)
                instant = int(wall.timestamp()) * MICRO
                if local_time(instant, zone).replace(tzinfo=None) == wall.replace(tzinfo=None, fold=0):
                    yield instant


def clock_changes(start: Instant, end: Instant, zone: ZoneInfo) -> Iterator[int]:
    """Give the instants at which the clocks there are changed."""
    first, last = start // MICRO, -(-end // MICRO)
    for second in range(first, last, HOUR_S):
        if offset(second, zone) != offset(second + HOUR_S, zone):
            seconds = range(second, second + HOUR_S + 1)
            yield seconds[bisect_left(seconds, True, key=lambda s: offset(s, zone) != offset(seconds[0], zone))] * MICRO


def offset(second: int, zone: ZoneInfo) -> timedelta | None:
    return datetime.fromtimestamp(second, zone).utcoffset()


def local_time(instant: int, zone: ZoneInfo) -> datetime:
    return datetime.fromtimestamp(instant // MICRO, zone)
