"""When a site is open: windows of the local week, past midnight, over changes of the clocks, and days off."""

from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from energyshare.tariff import WEEKDAYS
from energyshare.values import Instant, instant_of, later
from terminals.provider.config import Closed, Hours
from terminals.provider.hours import Window, closure_at, closure_of, is_open, window_of

BERLIN, SHANGHAI = "Europe/Berlin", "Asia/Shanghai"
WORKDAYS = WEEKDAYS[:5]


def window(days: tuple[str, ...], start: str, end: str) -> Window:
    return window_of(Hours(list(days), start, end))  # type: ignore[arg-type]


def at(text: str, zone: str, fold: int = 0) -> Instant:
    """The instant of a wall-clock time; `fold` 1 for the second of two."""
    return instant_of(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone), fold=fold))


OFFICE = (window(WORKDAYS, "08:00", "20:00"),)
NIGHT = (window(("FRIDAY", "SATURDAY"), "22:00", "06:00"),)


@pytest.mark.parametrize(
    ("hours", "time", "is_so"),
    [
        ((), "2026-10-04T03:00", True),
        (OFFICE, "2026-10-02T07:59", False),
        (OFFICE, "2026-10-02T08:00", True),
        (OFFICE, "2026-10-02T19:59", True),
        (OFFICE, "2026-10-02T20:00", False),
        (OFFICE, "2026-10-03T12:00", False),
        (NIGHT, "2026-10-02T21:59", False),
        (NIGHT, "2026-10-02T22:00", True),
        (NIGHT, "2026-10-03T05:59", True),
        (NIGHT, "2026-10-03T06:00", False),
        (NIGHT, "2026-10-04T05:59", True),
        (NIGHT, "2026-10-04T22:00", False),
        (NIGHT, "2026-10-02T03:00", False),
        ((window(("SUNDAY",), "22:00", "06:00"),), "2026-10-05T01:00", True),
        ((window(("FRIDAY",), "20:00", "00:00"),), "2026-10-02T23:59", True),
        ((window(("FRIDAY",), "20:00", "00:00"),), "2026-10-03T00:00", False),
        ((window(("FRIDAY",), "00:00", "24:00"),), "2026-10-02T00:00", True),
        ((window(("FRIDAY",), "00:00", "24:00"),), "2026-10-02T23:59", True),
        ((window(("FRIDAY",), "00:00", "24:00"),), "2026-10-03T00:00", False),
        ((*OFFICE, *NIGHT), "2026-10-02T23:00", True),
    ],
)
def test_a_window_opens_at_its_first_minute_and_closes_at_its_last(hours: tuple[Window, ...], time: str, is_so: bool) -> None:
    assert is_open(hours, SHANGHAI, at(time, SHANGHAI)) is is_so


def test_hours_are_those_of_the_place_and_not_of_the_machine() -> None:
    morning_in_shanghai = at("2026-10-02T09:00", SHANGHAI)
    assert is_open(OFFICE, SHANGHAI, morning_in_shanghai)
    assert not is_open(OFFICE, BERLIN, morning_in_shanghai)


@pytest.mark.parametrize(
    ("hours", "time", "fold", "is_so"),
    [
        (window(("SUNDAY",), "08:00", "20:00"), "2026-03-29T08:00", 0, True),
        (window(("SUNDAY",), "08:00", "20:00"), "2026-03-29T07:59", 0, False),
        (window(("SATURDAY",), "22:00", "03:00"), "2026-03-29T01:59", 0, True),
        (window(("SATURDAY",), "22:00", "03:00"), "2026-03-29T03:00", 0, False),
        (window(("SUNDAY",), "08:00", "20:00"), "2026-10-25T08:00", 0, True),
        (window(("SUNDAY",), "08:00", "20:00"), "2026-10-25T07:59", 0, False),
        (window(("SUNDAY",), "02:00", "02:30"), "2026-10-25T02:15", 0, True),
        (window(("SUNDAY",), "02:00", "02:30"), "2026-10-25T02:15", 1, True),
        (window(("SUNDAY",), "02:00", "02:30"), "2026-10-25T02:45", 0, False),
        (window(("SATURDAY",), "22:00", "02:30"), "2026-10-25T02:29", 1, True),
        (window(("SATURDAY",), "22:00", "02:30"), "2026-10-25T02:30", 1, False),
    ],
)
def test_the_wall_clock_tells_the_hours_when_clocks_change(hours: Window, time: str, fold: int, is_so: bool) -> None:
    assert is_open((hours,), BERLIN, at(time, BERLIN, fold)) is is_so


def test_an_hour_that_clocks_skip_is_never_open() -> None:
    skipped = (window(("SUNDAY",), "02:00", "03:00"),)
    midnight = at("2026-03-29T00:00", BERLIN)
    assert not any(is_open(skipped, BERLIN, later(midnight, 60 * minute)) for minute in range(23 * 60))
    assert is_open(skipped, BERLIN, at("2026-04-05T02:00", BERLIN))


def test_a_window_is_an_hour_shorter_or_longer_on_the_nights_when_clocks_change() -> None:
    night = (window(("SATURDAY",), "22:00", "06:00"),)
    for evening, hours_open in (("2026-03-28", 7), ("2026-10-24", 9), ("2026-10-17", 8)):
        noon = at(f"{evening}T12:00", BERLIN)
        quarters = [is_open(night, BERLIN, later(noon, 900 * quarter)) for quarter in range(4 * 24)]
        assert sum(quarters) == 4 * hours_open


@given(
    days=st.sets(st.sampled_from(WEEKDAYS), min_size=1),
    start=st.integers(0, 1_439),
    length=st.integers(1, 1_439),
    minute=st.integers(0, 7 * 1_440 - 1),
)
@settings(max_examples=100, deadline=None)
def test_a_window_holds_for_its_length_from_each_of_its_days_on(days: set[str], start: int, length: int, minute: int) -> None:
    monday = datetime(2026, 10, 5, tzinfo=ZoneInfo(SHANGHAI))
    end = (start + length) % 1_440
    hours = (window(tuple(days), f"{start // 60:02}:{start % 60:02}", f"{end // 60:02}:{end % 60:02}"),)
    begins = [1_440 * (WEEKDAYS.index(day) - week) + start for day in days for week in (0, 7)]
    expected = any(begin <= minute < begin + length for begin in begins)
    assert is_open(hours, SHANGHAI, instant_of(monday + timedelta(minutes=minute))) is expected


@pytest.mark.parametrize(("start", "end"), [("08:00", "08:00"), ("00:00", "00:00"), ("24:00", "24:00")])
def test_a_window_that_ends_when_it_begins_is_refused(start: str, end: str) -> None:
    with pytest.raises(ValueError, match="whole day"):
        window(("MONDAY",), start, end)


@pytest.mark.parametrize(
    ("time", "is_so"),
    [
        ("2027-02-05T23:59", False),
        ("2027-02-06T00:00", True),
        ("2027-02-12T23:59", True),
        ("2027-02-13T00:00", False),
    ],
)
def test_a_closure_counts_whole_local_days_both_included(time: str, is_so: bool) -> None:
    festival = closure_of(Closed(date(2027, 2, 6), date(2027, 2, 12), "spring festival"))
    assert closure_at((festival,), SHANGHAI, at(time, SHANGHAI)) == (festival if is_so else None)


def test_a_closure_that_ends_before_it_begins_is_refused() -> None:
    with pytest.raises(ValueError, match="before"):
        closure_of(Closed(date(2027, 2, 12), date(2027, 2, 6)))
