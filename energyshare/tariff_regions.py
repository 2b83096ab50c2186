"""Where restrictions hold, as regions of all that they look at: what lint compares.

A region is a box: for each axis of AXES the ranges in which it lies, half-open, in order and apart. The axes are taken as
independent of one another, but for dates and weekdays: a few days are only the weekdays that they fall on. Power is one
value, as between two meter values; current may be UNKNOWN, as it is in every order.
"""

from collections.abc import Iterable, Sequence
from datetime import date

from energyshare.tariff import MINUTES_A_DAY, FlowRestrictions, Restrictions

Ranges = tuple[tuple[int, int], ...]
Box = tuple[Ranges, ...]

AXES = ("minute of the day", "weekday", "date", "Wh", "s", "W", "mA")
ENDLESS = 2**63
UNKNOWN = (-1, 0)
LAST_DAY = date.max.toordinal() + 1
WEEK: Ranges = tuple((day, day + 1) for day in range(7))
AMOUNT: Ranges = ((0, ENDLESS),)
ANY_CURRENT: Ranges = ((UNKNOWN[0], ENDLESS),)
ALL: Box = (((0, MINUTES_A_DAY),), WEEK, ((0, LAST_DAY),), AMOUNT, AMOUNT, AMOUNT, ANY_CURRENT)
AT_THE_START: Box = (*ALL[:3], ((0, 1),), ((0, 1),), *ALL[5:])
"""Where items are priced."""
NO_ENERGY: Box = (*ALL[:3], ((0, 1),), AMOUNT, ((0, 1),), ((UNKNOWN[0], 1),))
"""Where reservations are priced."""
PIECES_MAX = 200


def region_of(restrictions: Restrictions) -> Box:
    """Give where restrictions hold."""
    r, flow = restrictions, restrictions.flow or FlowRestrictions()
    days = between(
        None if r.start_date is None else r.start_date.toordinal(),
        LAST_DAY if r.end_date is None else r.end_date.toordinal(),
    )
    return (
        minutes_of(r),
        both(weekdays_of(r), weekdays_within(days)),
        days,
        between(r.min_energy_wh, r.max_energy_wh),
        between(r.min_duration_s, r.max_duration_s),
        between(flow.min_power_w, flow.max_power_w),
        ANY_CURRENT
        if flow.min_current_ma is flow.max_current_ma is None
        else between(flow.min_current_ma, flow.max_current_ma),
    )


def restrictions_of(box: Box) -> Restrictions:
    """Give restrictions that hold in a part of a box: in the first of its ranges on each axis but weekdays."""
    window, _, days, energy, duration, power, current = (ranges[0] for ranges in box)
    start_time, end_time = borders(window, MINUTES_A_DAY)
    first, last = borders(days, LAST_DAY)
    min_energy_wh, max_energy_wh = borders(energy)
    min_duration_s, max_duration_s = borders(duration)
    flow = FlowRestrictions(*borders(power), *borders((max(current[0], 0), current[1])))
    return Restrictions(
        start_time=start_time,
        end_time=end_time,
        start_date=None if first is None else date.fromordinal(first),
        end_date=None if last is None else date.fromordinal(last),
        weekdays=None if box[1] == WEEK else frozenset(day for day, _ in box[1]),
        min_energy_wh=min_energy_wh,
        max_energy_wh=max_energy_wh,
        min_duration_s=min_duration_s,
        max_duration_s=max_duration_s,
        flow=None if flow == FlowRestrictions() else flow,
    )


def borders(pair: tuple[int, int], end: int = ENDLESS) -> tuple[int | None, int | None]:
    """Give a range's borders, but for those that are the axis' own."""
    low, high = pair
    return low or None, None if high == end else high


def minutes_of(r: Restrictions) -> Ranges:
    start, end = r.start_time or 0, r.end_time or MINUTES_A_DAY
    return (
        ((start, end),)
        if start < end
        else tuple(window for window in ((0, end), (start, MINUTES_A_DAY)) if window[0] < window[1])
    )


def weekdays_of(r: Restrictions) -> Ranges:
    return tuple(WEEK[day] for day in range(7) if r.weekdays is None or day in r.weekdays)


def weekdays_within(days: Ranges) -> Ranges:
    """Give the weekdays that there are among some days."""
    if not days or days[0][1] - days[0][0] >= 7:
        return WEEK
    first = (days[0][0] - 1) % 7  # the first day of the calendar is a Monday
    return tuple(sorted(WEEK[(first + after) % 7] for after in range(days[0][1] - days[0][0])))


def between(least: int | None, most: int | None) -> Ranges:
    low, high = least or 0, ENDLESS if most is None else most
    return ((low, high),) if low < high else ()


def is_empty(box: Box) -> bool:
    """Say whether nothing lies in a box."""
    return not all(box)


def overlap(box: Box, other: Box) -> Box:
    """Give what lies in both boxes."""
    return tuple(both(a, b) for a, b in zip(box, other, strict=True))


def is_within(box: Box, other: Box) -> bool:
    """Say whether all of a box lies in another."""
    return not without(box, other)


def left_of(box: Box, others: Iterable[Box]) -> list[Box] | None:
    """Give what of a box lies in none of the others, in pieces; None where there are too many."""
    left = [] if is_empty(box) else [box]
    for other in others:
        left = [piece for part in left for piece in without(part, other)]
        if len(left) > PIECES_MAX:
            return None
    return left


def without(box: Box, other: Box) -> list[Box]:
    """Cut a box by another: the pieces of the first that lie outside the second."""
    if is_empty(overlap(box, other)):
        return [] if is_empty(box) else [box]
    pieces: list[Box] = []
    for axis in range(len(AXES)):
        outside = apart(box[axis], other[axis])
        if outside:
            pieces.append((*box[:axis], outside, *box[axis + 1 :]))
        box = (*box[:axis], both(box[axis], other[axis]), *box[axis + 1 :])
    return pieces


def both(ranges: Ranges, others: Ranges) -> Ranges:
    """Give what lies in both of some ranges."""
    pairs = ((max(a, c), min(b, d)) for a, b in ranges for c, d in others)
    return tuple(sorted(pair for pair in pairs if pair[0] < pair[1]))


def apart(ranges: Ranges, others: Ranges) -> Ranges:
    """Give what of some ranges lies in none of the others."""
    return both(ranges, gaps(others))


def gaps(ranges: Sequence[tuple[int, int]]) -> Ranges:
    """Give all that lies between ranges, before the first and after the last."""
    borders = [UNKNOWN[0], *(border for pair in ranges for border in pair), ENDLESS]
    return tuple((low, high) for low, high in zip(borders[::2], borders[1::2], strict=True) if low < high)
