"""What a session would cost while it runs: its bill at even steps, and the most that an order of it can come to.

What it costs so far is the bill of the same session cut there, by the code that makes every bill; nothing else is counted.
"""

from collections.abc import Sequence

from msgspec import Struct

from energyshare.bodies import ServiceItem
from energyshare.bound import price_bound
from energyshare.rating import Bill, rate
from energyshare.records import replace
from energyshare.session import MeterPoint, metered_session
from energyshare.tariff import Tariff, TariffError
from energyshare.values import Instant, Minor

BLOCKS = " ▁▂▃▄▅▆▇█"


class Plan(Struct, frozen=True):
    """A session to try a tariff on: energy comes evenly while it supplies, then it parks; items are those of a service."""

    start: Instant
    time_zone: str
    energy_wh: int
    duration_s: int
    parking_s: int = 0
    items: tuple[ServiceItem, ...] = ()

    @property
    def end_s(self) -> int:
        """Give how long it takes, parking included."""
        return self.duration_s + self.parking_s


class Standing(Struct, frozen=True):
    """What a session costs so far."""

    elapsed_s: int
    energy_wh: int
    excl_vat_minor: Minor
    incl_vat_minor: Minor


class Simulation(Struct, frozen=True):
    """How a session's cost rises, its bill, and the bound for its own energy and time as caps."""

    standings: tuple[Standing, ...]
    bill: Bill
    bound_minor: Minor


def simulate(plan: Plan, tariff: Tariff, steps: int) -> Simulation:
    """Price a plan at its start, its end, and at even steps between.

    Raises: TariffError if the tariff is not valid at the start, has no price for an item, or the time zone is unknown.
    """
    if not tariff.valid_at(plan.start):
        raise TariffError("", "the tariff is not valid when the session starts")
    instants = sorted({plan.end_s * step // steps for step in range(steps + 1)})
    standings = tuple(standing(plan, tariff, elapsed_s) for elapsed_s in instants)
    bound_minor = price_bound(tariff, plan.energy_wh, plan.end_s, plan.items)
    return Simulation(standings, bill_until(plan, tariff, plan.end_s), bound_minor)


def standing(plan: Plan, tariff: Tariff, elapsed_s: int) -> Standing:
    """Say what a plan has cost by then."""
    bill = bill_until(plan, tariff, elapsed_s)
    energy_wh = plan.energy_wh * min(elapsed_s, plan.duration_s) // plan.duration_s if plan.duration_s else plan.energy_wh
    return Standing(elapsed_s, energy_wh, bill.excl_vat_minor, bill.incl_vat_minor)


def bill_until(plan: Plan, tariff: Tariff, elapsed_s: int) -> Bill:
    """Price a plan that is cut at a time since its start."""
    points = (MeterPoint(0, 0, True), MeterPoint(plan.duration_s, plan.energy_wh, False))
    totals, caps = (plan.end_s, plan.energy_wh), (plan.energy_wh, elapsed_s)
    session = metered_session(plan.start, plan.time_zone, points, *totals, *caps, tariff)
    return rate(replace(session, items=plan.items), tariff)


def plot(values: Sequence[int], height: int) -> tuple[str, ...]:
    """Draw values as columns of blocks, the highest line first; the largest value fills its column."""
    top = max(values, default=0)
    eighths = [value * height * 8 // top if top else 0 for value in values]
    return tuple("".join(block(filled - line * 8) for filled in eighths) for line in reversed(range(height)))


def block(eighths: int) -> str:
    """Draw one character of a column that is so many eighths above its foot."""
    return BLOCKS[min(max(eighths, 0), 8)]
