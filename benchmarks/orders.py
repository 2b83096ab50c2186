"""Complete energy orders through a real cloud process, next to the floor and the peer of the same run.

One round measures the peer once and then, for each number of users, the floor and the cloud one after the other; a row gives
the medians of all rounds. Every run of the cloud begins with a home of its own, and ends with a check: each order settled, and
the ledger's laws hold.
"""

import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from benchmarks import floor, peer
from benchmarks.load import Load
from benchmarks.processes import HOST, Rate, free_port, function, result_of, running
from benchmarks.supplier import now
from benchmarks.world import make_world, write_world
from cloud.config import CloudHome
from cloud.store import people
from cloud.store.database import open_reader
from cloud.store.readers import Readers
from energyshare.values import OrderState

CHARGE_POINTS = 32
LIFETIME_MARGIN_S = 90  # for starting, connecting and the last orders


@dataclass(frozen=True, slots=True)
class Row:
    """What one number of users gave; field names are the keys of the JSON."""

    users: int
    orders_per_s: float
    floor_orders_per_s: float
    peer_transactions_per_s: float
    ratio_to_floor: float
    ratio_to_peer: float
    cloud_cpu_ms_per_order: float
    load_cpu_ms_per_order: float
    demand_to_first_offer_ms: float


@dataclass(frozen=True, slots=True)
class Round:
    """One round: the peer, and floor and cloud by number of users."""

    peer: Rate
    floors: dict[int, Rate]
    clouds: dict[int, Load]


def measure(users: Sequence[int], seconds: float, rounds: int) -> list[Row]:
    """Measure all, alternating; raises Unavailable if a process fails."""
    done = []
    for number in range(rounds):
        _say(f"round {number + 1} of {rounds}")
        done.append(_round(users, seconds))
    return [_row(count, done) for count in users]


def cloud(users: int, seconds: float) -> Load:
    """Measure the cloud with `users` users at once; raises Unavailable if a process fails."""
    lifetime_s = int(seconds) + LIFETIME_MARGIN_S
    with tempfile.TemporaryDirectory(prefix="es-") as folder:
        home, world = Path(folder) / "cloud", Path(folder) / "world.json"
        write_world(make_world(home, users, now()), world)
        with running(_serve(home), lifetime_s) as server:
            load = function("benchmarks.load:load", str(world), server.said["streams"], server.pid, seconds)
            said = dict(result_of(load, lifetime_s))
        measured = Load(**said | {"rate": Rate(**said["rate"])})
        _require_settled(home, measured.orders)
    return measured


def _round(users: Sequence[int], seconds: float) -> Round:
    beside, floors, clouds = peer.measure(CHARGE_POINTS, seconds), {}, {}
    for count in users:
        floors[count] = floor.measure(count, seconds)
        clouds[count] = cloud(count, seconds)
        _say(f"  {count} users: {clouds[count].rate.in_words('order')}")
    return Round(beside, floors, clouds)


def _row(users: int, rounds: Sequence[Round]) -> Row:
    clouds = [one.clouds[users] for one in rounds]
    orders = median(one.rate.per_s for one in clouds)
    bare = median(one.floors[users].per_s for one in rounds)
    beside = median(one.peer.per_s for one in rounds)
    return Row(
        users=users,
        orders_per_s=round(orders, 1),
        floor_orders_per_s=round(bare, 1),
        peer_transactions_per_s=round(beside, 1),
        ratio_to_floor=round(orders / bare, 2),
        ratio_to_peer=round(orders / beside, 2),
        cloud_cpu_ms_per_order=round(median(one.rate.server_cpu_ms for one in clouds), 2),
        load_cpu_ms_per_order=round(median(one.rate.load_cpu_ms for one in clouds), 2),
        demand_to_first_offer_ms=round(median(one.first_offer_ms for one in clouds), 2),
    )


def _serve(home: Path) -> tuple[str, ...]:
    listen, enroll = (f"{HOST}:{free_port()}" for _ in range(2))
    arguments = ["serve", "--home", str(home), "--listen", listen, "--enrollment-listen", enroll, "--json"]
    return function("cloud.cli:main", arguments)


def _require_settled(home: Path, orders: int) -> None:
    """Hold the cloud to its results: as many orders settled as the load saw, nothing parked, and a sound ledger."""
    readers = Readers(open_reader(CloudHome(home).database))
    counts, audit = people.counts(readers), people.check_ledger(readers)
    assert counts.orders == {OrderState.SETTLED: orders}, (counts, orders)
    assert counts.parked == 0, counts
    assert audit.fault == "", audit.fault
    assert audit.charge_records == orders, audit


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
