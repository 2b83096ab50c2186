"""How far a running order is within what was agreed: energy, time and cost, each against its most."""

from msgspec import Struct

from energyshare.charging import Evidence
from energyshare.records import replace
from energyshare.values import Currency, Instant, Kind
from terminals.units import clock_text, energy_text, money, span_text
from terminals.user import payment
from terminals.user.seen import Seen
from terminals.user.services import Agreed, so_far


class Gauge(Struct, frozen=True):
    """How much of what is allowed is used, and how it is written; `part` and `whole` in one unit."""

    name: str
    part: int
    whole: int
    text: str


def gauges_of(seen: Seen) -> tuple[Gauge, ...]:
    """Give the gauges of an order under way; none before it has started."""
    agreed, start = seen.agreed, seen.start
    if seen.order.state not in ("ACTIVE", "ENDING") or agreed is None or start is None:
        return ()
    if agreed.offer.asset.kind is Kind.SERVICE:
        elapsed, cost = _of_service(seen, agreed, start)
        return _time(elapsed, agreed.duration_s), _cost(cost, agreed, seen.currency)
    running = payment.running(seen.journal, seen.order_id)
    if running is None:
        return (_time(_elapsed(seen, start), agreed.duration_s),)
    evidence, cost = running
    elapsed = evidence.end.elapsed_s if evidence.end else _elapsed(seen, start)
    read = "" if evidence.end else f", as read at {clock_text(evidence.readings[-1].reading_time, seen.now)}"
    cost_so_far = _cost(cost, agreed, seen.currency)
    return _energy(evidence, read), _time(elapsed, agreed.duration_s), replace(cost_so_far, text=cost_so_far.text + read)


def _of_service(seen: Seen, agreed: Agreed, start: Instant) -> tuple[int, int]:
    """Give seconds and cost so far; those asked for once settlement is."""
    asked = seen.order.settlement
    if asked is not None:
        return asked.duration_s, asked.total_minor
    done = so_far(agreed, start, seen.now)
    return done.elapsed_s, done.cost_minor


def _elapsed(seen: Seen, start: Instant) -> int:
    return max(0, seen.now - start) // 1_000_000


def _energy(evidence: Evidence, read: str) -> Gauge:
    assert evidence.start is not None
    last, most = evidence.readings[-1], evidence.offer.energy_wh_max
    used = last.register_wh - evidence.start.register_wh
    off = "" if last.supplying else ", supply is off"
    return Gauge("energy", used, most, f"{energy_text(used)} of {energy_text(most)}{off}{read}")


def _time(elapsed_s: int, most_s: int) -> Gauge:
    used = min(elapsed_s, most_s)
    return Gauge("time", used, most_s, f"{span_text(used)} of {span_text(most_s)}")


def _cost(cost: int, agreed: Agreed, currency: Currency) -> Gauge:
    most = agreed.bound_minor
    return Gauge("cost", cost, most, f"{money(cost, currency)} of at most {money(most, currency)}")
