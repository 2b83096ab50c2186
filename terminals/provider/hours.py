"""When a site is open: windows of the local week, and days on which it is closed all the same.

Pure. Windows are told by the wall clock there: what clocks skip in spring is never open, what they repeat in autumn is open
twice. A window past midnight belongs to the day on which it begins.
"""

from collections.abc import Sequence
from datetime import date

from msgspec import Struct

from energyshare.rating import zone_of
from energyshare.session import local_time
from energyshare.tariff import WEEKDAYS
from energyshare.values import Instant
from terminals.provider.config import Closed, Hours


class Window(Struct, frozen=True):
    """Open from one minute of the local day to another, that one excluded; weekdays are 0 for Monday to 6."""

    weekdays: frozenset[int]
    start_minute: int
    end_minute: int


class Closure(Struct, frozen=True):
    """Closed from one local day to another, both included, and why."""

    first: date
    last: date
    reason: str


def is_open(hours: Sequence[Window], zone: str, instant: Instant) -> bool:
    """Say whether one of the windows is open at an instant; no windows mean always. Raises TariffError for no time zone."""
    if not hours:
        return True
    wall = local_time(instant, zone_of(zone))
    return any(_holds(window, wall.weekday(), wall.hour * 60 + wall.minute) for window in hours)


def closure_at(closures: Sequence[Closure], zone: str, instant: Instant) -> Closure | None:
    """Give the closure that an instant falls into, if there is one. Raises TariffError for no time zone."""
    day = local_time(instant, zone_of(zone)).date()
    return next((closure for closure in closures if closure.first <= day <= closure.last), None)


def window_of(entry: Hours) -> Window:
    """Take a window as the configuration has it; raises ValueError when it is empty."""
    start, end = _minute(entry.start), _minute(entry.end)
    if start == end:
        raise ValueError("it ends when it begins; write from 00:00 to 24:00 for the whole day")
    return Window(frozenset(WEEKDAYS.index(day) for day in entry.days), start, end)


def closure_of(entry: Closed) -> Closure:
    """Take a closure as the configuration has it; raises ValueError when it ends before it begins."""
    if entry.last < entry.first:
        raise ValueError("it ends before it begins")
    return Closure(entry.first, entry.last, entry.reason)


def _holds(window: Window, weekday: int, minute: int) -> bool:
    if window.start_minute < window.end_minute:
        return weekday in window.weekdays and window.start_minute <= minute < window.end_minute
    began_today = weekday in window.weekdays and minute >= window.start_minute
    began_yesterday = (weekday - 1) % 7 in window.weekdays and minute < window.end_minute
    return began_today or began_yesterday


def _minute(time_of_day: str) -> int:
    hours, minutes = time_of_day.split(":")
    return int(hours) * 60 + int(minutes)
