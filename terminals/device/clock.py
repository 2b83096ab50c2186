"""The device's clock, as a value.

The rule: it moves by its own ticking, by the battery-backed clock of its host while it was off, and by time statements of
the platform key over the device's own nonce; never by times in vouchers or grants. DESIGN 7, ADR-0003.
"""

from typing import NewType

from msgspec import Struct

from energyshare.errors import Reason, Rejected
from energyshare.records import replace
from energyshare.values import DAY_S, ClockQuality, Instant

MonotonicUs = NewType("MonotonicUs", int)
"""Microseconds since some moment of this run; never falls."""

WRITE_EVERY_US = 600 * 1_000_000
AHEAD_US_MAX = 7 * DAY_S * 1_000_000
BACK_US_MAX = WRITE_EVERY_US  # as far as an honest host clock may lie behind what was last written
QUARTER_US = 900 * 1_000_000


class Clock(Struct, frozen=True):
    """A time, how far to believe it, and the monotonic count at which it held."""

    time: Instant
    quality: ClockQuality
    monotonic_us: MonotonicUs


def ticked(clock: Clock, monotonic_us: MonotonicUs) -> Clock:
    """Move the clock on by its own ticking; a count that fell moves nothing."""
    passed_us = max(0, monotonic_us - clock.monotonic_us)
    return Clock(Instant(clock.time + passed_us), clock.quality, monotonic_us)


def revived(clock: Clock, host_time: Instant, monotonic_us: MonotonicUs, *, in_session: bool) -> Clock:
    """Go on after a restart: the later of the host's clock and the last one written; RELATIVE when the host lost its own.

    With a session open, a jump of more than 7 days is no time that passed: no session is that long.
    """
    leapt = in_session and host_time > clock.time + AHEAD_US_MAX
    lost = leapt or host_time < clock.time - BACK_US_MAX
    quality = ClockQuality.RELATIVE if lost else clock.quality
    return Clock(clock.time if leapt else max(host_time, clock.time), quality, monotonic_us)


def stated(clock: Clock, platform_time: Instant) -> Clock:
    """Set the clock by a time statement.

    Raises: Rejected with CLOCK_JUMP for more than 7 days ahead or 10 minutes back.
    """
    if not -BACK_US_MAX <= platform_time - clock.time <= AHEAD_US_MAX:
        raise Rejected(Reason.CLOCK_JUMP)
    return replace(clock, time=platform_time, quality=ClockQuality.SYNCHRONIZED)


def quarter_of(time: Instant) -> int:
    """Give the number of the UTC quarter hour that an instant lies in."""
    return time // QUARTER_US
