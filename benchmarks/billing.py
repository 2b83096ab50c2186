"""How long it takes to price: a session of 20 periods by a tariff of 8 elements, next to a bare loop over as many of both.

The bare loop does what no pricer can leave out: for each period and dimension it looks for the first window that holds, then
multiplies and adds integers. It has no time zone, weekday, step, VAT, limit, line or text.
"""

import json
from collections.abc import Callable
from statistics import median
from time import perf_counter
from typing import Any

import click

from benchmarks.settling import settled_per_s
from energyshare.bound import price_bound
from energyshare.rating import Delivered, Session, rate, session_of_deliveries
from energyshare.session import MeterPoint, bill
from energyshare.tariff import Tariff, parse_tariff
from energyshare.values import Instant

PERIODS, ELEMENTS = 20, 8
PERIOD_S = 2_700
MONDAY_MIDNIGHT = Instant(1_768_172_400_000_000)
"""2026-01-12, 00:00 in Berlin: the session takes 15 hours, and meets a new element every three."""
RATE_US_MAX = 300
ROUNDS, REPEATS = 200, 5
DIMENSIONS = ("ENERGY", "TIME", "PARKING_TIME")


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def main(as_json: bool) -> None:
    """Measure how long pricing takes, and how many charge records a second are settled: some seconds."""
    found = measure() | settled_per_s()
    if as_json:
        click.echo(json.dumps(found))
        return
    line = "a session of {periods} periods by a tariff of {elements} elements takes {rate_us} us, {ratio} times a bare loop"
    click.echo(line.format(**found) + " ({bare_loop_us} us); at most {rate_us_max} us are aimed at".format(**found))
    settled = "{settled_per_s} charge records settled a second, {settled_ratio} of a floor of signatures and commits"
    click.echo(settled.format(**found))


def measure() -> dict[str, Any]:
    """Give the least times in microseconds, and the ratio of pricing to the bare loop.

    All are measured in turn, round by round; the least is nearest to what the work itself takes. The median of pricing stands
    beside it, to tell how busy the machine was.
    """
    tariff, session, points = example_tariff(), example_session(), meter_points()
    text, end_s = json.dumps(tariff_json()), PERIODS * PERIOD_S
    measured: dict[str, Callable[[], object]] = {
        "bare_loop_us": lambda: bare_loop(*bare_inputs(session)),
        "rate_us": lambda: rate(session, tariff),
        "metered_us": lambda: bill(MONDAY_MIDNIGHT, "Europe/Berlin", points, end_s, 30_000, 10**6, end_s, tariff),
        "bound_us": lambda: price_bound(tariff, 30_000, end_s),
        "read_us": lambda: parse_tariff(text),
    }
    times: dict[str, list[float]] = {name: [] for name in measured}
    for _ in range(ROUNDS):
        for name, work in measured.items():
            times[name].append(microseconds(work))
    least = {name: round(min(taken), 1) for name, taken in times.items()}
    ratio = round(least["rate_us"] / least["bare_loop_us"], 2)
    usual = round(median(times["rate_us"]), 1)
    return {
        "periods": PERIODS,
        "elements": ELEMENTS,
        **least,
        "rate_median_us": usual,
        "ratio": ratio,
        "rate_us_max": RATE_US_MAX,
    }


def microseconds(work: Callable[[], object]) -> float:
    began = perf_counter()
    for _ in range(REPEATS):
        work()
    return (perf_counter() - began) / REPEATS * 10**6


def tariff_json() -> dict[str, Any]:
    """Give seven elements of three hours of working days each, and one that always holds."""
    days = ["MONDAY", "TUESDAY", "WEDNESDAY", "THURSDAY", "FRIDAY"]
    windows = [
        {"start_time": f"{3 * n:02}:00", "end_time": f"{3 * n + 3:02}:00", "day_of_week": days} for n in range(ELEMENTS - 1)
    ]
    elements = [{"price_components": components(n), "restrictions": window} for n, window in enumerate(windows)]
    flat = {"type": "FLAT", "price": "1", "vat": "19", "step_size": 1}
    return {"currency": "EUR", "elements": [*elements, {"price_components": [flat, *components(ELEMENTS)]}]}


def components(number: int) -> list[dict[str, Any]]:
    return [{"type": kind, "price": f"0.{20 + number}", "vat": "19", "step_size": 60} for kind in DIMENSIONS]


def example_tariff() -> Tariff:
    return parse_tariff(tariff_json())


def example_session() -> Session:
    """Give periods of 45 minutes, the last five without supply."""
    parts = [(number, 0 if number < PERIODS - 5 else PERIOD_S) for number in range(PERIODS)]
    starts = [Instant(MONDAY_MIDNIGHT + number * PERIOD_S * 10**6) for number, _ in parts]
    delivered = [Delivered(s, 1_500 + n, PERIOD_S - parked, parked) for s, (n, parked) in zip(starts, parts, strict=True)]
    return session_of_deliveries(MONDAY_MIDNIGHT, "Europe/Berlin", delivered)


def meter_points() -> list[MeterPoint]:
    return [MeterPoint(number * PERIOD_S, number * 1_500, number < PERIODS - 5) for number in range(PERIODS)]


Inputs = tuple[list[tuple[int, tuple[int, int, int]]], list[tuple[int, int, tuple[int, int, int]]]]


def bare_inputs(session: Session) -> Inputs:
    """Give (minute of the day, volumes) of each period, and (first minute, last minute, prices) of each element."""
    periods = [(n * PERIOD_S // 60, (1_500 + n, PERIOD_S, PERIOD_S)) for n in range(len(session.periods))]
    return periods, [*((180 * n, 180 * n + 180, (20, 21, 22)) for n in range(ELEMENTS - 1)), (0, 1_440, (30, 31, 32))]


def bare_loop(periods: list[tuple[int, tuple[int, int, int]]], elements: list[tuple[int, int, tuple[int, int, int]]]) -> int:
    """Sum volume × price over periods and dimensions, by the first element whose window holds."""
    total = 0
    for minute, volumes in periods:
        for dimension in range(len(DIMENSIONS)):
            for first, last, prices in elements:
                if first <= minute < last:
                    total += volumes[dimension] * prices[dimension]
                    break
    return total


if __name__ == "__main__":
    main()
