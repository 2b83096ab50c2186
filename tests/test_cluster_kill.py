"""SIGKILL at every step of an order, of whoever takes part in it: the order ends as it should, once."""

import random
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from threading import Timer

import pytest

from energyshare.v1 import operator_pb2 as pb
from energyshare.values import Kind, OrderId, PartKind
from terminals.user.orders import UserOrder
from terminals.user.terminal import opened
from tests.cluster import until
from tests.depot import Depot, Person, depot, require_lawful, require_settled_once, system_now

STEPS = (
    "demand sent",
    "offer there",
    "selection sent",
    "voucher there",
    "started at the device",
    "start told",
    "supplying",
    "ended at the device",
    "end told",
    "settled",
)
BEFORE_A_DEVICE = ("voucher there", "supplying")
"""What follows these steps happens at the device, with nobody online."""


@dataclass(frozen=True, slots=True)
class Walk:
    """An order that a person takes from its demand to its bill, step by step."""

    person: Person
    kind: Kind
    address: str

    def steps(self) -> Iterator[tuple[str, OrderId]]:
        """Take the next step each time; gives its name."""
        person, order_id = self.person, self.person.demand(self.kind)
        person.send()
        yield "demand sent", order_id
        person.reach("an offer", order_id, lambda order: bool(order.offers))
        yield "offer there", order_id
        person.select(order_id)
        person.send()
        yield "selection sent", order_id
        person.reach_state(order_id, "AUTHORIZED")
        yield "voucher there", order_id
        person.start(order_id, self.address)
        yield "started at the device", order_id
        person.send()
        yield "start told", order_id
        person.reach("a reading", order_id, lambda order: bool(person.readings(order_id)))
        yield "supplying", order_id
        person.end(order_id, self.address)
        yield "ended at the device", order_id
        person.send()
        yield "end told", order_id
        person.reach_state(order_id, "SETTLED")
        yield "settled", order_id


@pytest.fixture(scope="module")
def shop() -> Iterator[Depot]:
    with depot(outlets=1, locks=1) as made:
        yield made


@pytest.fixture(scope="module")
def alice(shop: Depot) -> Person:
    return shop.add_person("alice", 10_000_000)


@pytest.mark.xdist_group("kill-the-cloud")
@pytest.mark.parametrize("step", STEPS)
def test_an_energy_order_settles_once_when_the_cloud_is_killed(shop: Depot, alice: Person, step: str) -> None:
    walk = Walk(alice, Kind.ENERGY, shop.address("outlet-1"))
    order_id = _walk_with_kill(shop, walk, step, shop.kill_cloud, shop.restart_cloud)
    _require_one_proved_bill(shop, alice, order_id)


@pytest.mark.xdist_group("kill-the-cloud")
@pytest.mark.parametrize("step", STEPS)
def test_a_battery_order_settles_once_when_the_cloud_is_killed(shop: Depot, alice: Person, step: str) -> None:
    walk = Walk(alice, Kind.BATTERY, shop.address("lock-1"))
    order_id = _walk_with_kill(shop, walk, step, shop.kill_cloud, shop.restart_cloud)
    _require_one_proved_bill(shop, alice, order_id)


@pytest.mark.xdist_group("kill-the-terminals")
@pytest.mark.parametrize("step", STEPS)
def test_an_energy_order_settles_once_when_the_provider_is_killed(shop: Depot, alice: Person, step: str) -> None:
    walk = Walk(alice, Kind.ENERGY, shop.address("outlet-1"))
    order_id = _walk_with_kill(shop, walk, step, lambda: shop.provider.kill(), shop.restart_provider)
    _require_one_proved_bill(shop, alice, order_id)


@dataclass(frozen=True, slots=True)
class Moment:
    """A command of the user, and when it is killed: when its journal or its device shows something."""

    command: str
    name: str
    shows: Callable[[Depot, Person, OrderId], bool]


def _journal(holds: Callable[[UserOrder], bool]) -> Callable[[Depot, Person, OrderId], bool]:
    return lambda shop, person, order_id: holds(person.look(order_id))


def _has_part(kind: PartKind) -> Callable[[Depot, Person, OrderId], bool]:
    def has(shop: Depot, person: Person, order_id: OrderId) -> bool:
        with opened(person.home, system_now, read_only=True) as me:
            return me.journal.part(order_id, kind) is not None

    return has


MOMENTS = (
    Moment("demand", "the demand is journalled", lambda shop, person, order_id: True),
    Moment("demand", "an offer is journalled", _journal(lambda order: bool(order.offers))),
    Moment("select", "the selection is journalled", _journal(lambda order: order.state == "SELECTED")),
    Moment("select", "the voucher is journalled", _journal(lambda order: order.state == "AUTHORIZED")),
    Moment("start", "the device is open", lambda shop, person, order_id: bool(shop.evidence(person, order_id))),
    Moment("start", "the start receipt is journalled", _has_part(PartKind.START_RECEIPT)),
    Moment("end", "the device is closed", lambda shop, person, order_id: _is_over(shop, person, order_id)),
    Moment("end", "the end receipt is journalled", _has_part(PartKind.END_RECEIPT)),
    Moment("end", "the request to end is journalled", _has_part(PartKind.END_REQUEST)),
    Moment("end", "the bill is journalled", _journal(lambda order: order.state == "SETTLED")),
)


@pytest.mark.xdist_group("kill-the-terminals")
@pytest.mark.parametrize("moment", MOMENTS, ids=lambda moment: f"{moment.command} when {moment.name}")
def test_an_energy_order_settles_once_when_the_users_command_is_killed(shop: Depot, alice: Person, moment: Moment) -> None:
    shop.wait_until_online()
    settled_before = _settled(shop)
    order_id = None if moment.command == "demand" else _order_before(shop, alice, moment.command)
    order_id = _killed_command(shop, alice, moment, order_id)
    assert alice.carry_on(shop, order_id) == "SETTLED"
    _require_one_proved_bill(shop, alice, order_id)
    assert _settled(shop) == settled_before + 1


@pytest.mark.xdist_group("kill-the-cloud")
def test_orders_end_as_they_should_when_cloud_or_provider_are_killed_at_any_moment(shop: Depot, alice: Person) -> None:
    chance = random.Random(20261122)
    ends = [_order_with_kill_after(shop, alice, chance.uniform(0.0, 0.6), chance.choice(("cloud", "provider"))) for _ in range(8)]
    assert set(ends) <= {"SETTLED", "EXPIRED"}
    assert "SETTLED" in ends


def _walk_with_kill(shop: Depot, walk: Walk, at: str, kill: Callable[[], None], restart: Callable[[], None]) -> OrderId:
    """Take an order to its end, killing something at a step and starting it again when its help is needed next."""
    shop.wait_until_online()
    is_down = False
    for step, order_id in walk.steps():
        if step == at:
            kill()
            is_down = True
        if is_down and step not in BEFORE_A_DEVICE:
            restart()
            is_down = False
    return order_id


def _require_one_proved_bill(shop: Depot, person: Person, order_id: OrderId) -> None:
    require_settled_once(shop.cluster, order_id)
    assert person.look(order_id).proved


def _order_before(shop: Depot, person: Person, command: str) -> OrderId:
    """Take an order as far as a command needs it."""
    order_id = person.demand_offers(Kind.ENERGY)
    if command in ("start", "end"):
        person.select(order_id)
        person.reach_state(order_id, "AUTHORIZED")
    if command == "end":
        person.start(order_id, shop.address_of(person, order_id))
        person.send()
    return order_id


def _killed_command(shop: Depot, person: Person, moment: Moment, order_id: OrderId | None) -> OrderId:
    """Start a command and kill it at a moment; gives the order that it was about."""
    known = len(person.orders())
    number = str(person.look(order_id).number) if order_id else ""
    device = ["--device", shop.address("outlet-1")]
    arguments = {
        "demand": ["energy", "--at", "22.5431,114.0579", "--energy-wh", "200"],
        "select": [number, "1"],
        "start": [number, *device],
        "end": [number, *device],
    }[moment.command]
    command = shop.cluster.spawn("energyshare", moment.command, *arguments, home=person.name)

    def has_come() -> bool:
        try:
            orders = person.orders()
            latest = order_id or (orders[-1][0] if len(orders) > known else None)
            return latest is not None and moment.shows(shop, person, latest)
        except sqlite3.OperationalError:
            return False

    until(moment.name, has_come, every_s=0.001)
    command.kill()
    command.communicate()
    return order_id or person.orders()[-1][0]


def _is_over(shop: Depot, person: Person, order_id: OrderId) -> bool:
    return any(session.end_receipt for session in shop.evidence(person, order_id))


def _settled(shop: Depot) -> int:
    return len(shop.cluster.ask("ListOrders", pb.ListOrdersRequest(state="SETTLED", page_size=1_000)).orders)


def _order_with_kill_after(shop: Depot, person: Person, delay_s: float, victim: str) -> str:
    """Take an order to its end while something is killed and started again; gives the state in which it ended."""
    shop.wait_until_online()
    kill, restart = {
        "cloud": (shop.kill_cloud, shop.restart_cloud),
        "provider": (lambda: shop.provider.kill(), shop.restart_provider),
    }[victim]

    def kill_and_restart() -> None:
        kill()
        restart()

    killer = Timer(delay_s, kill_and_restart)
    killer.start()
    order_id = person.demand(Kind.ENERGY)
    state = person.carry_on(shop, order_id)
    killer.join()
    if state == "SETTLED":
        _require_one_proved_bill(shop, person, order_id)
    require_lawful(shop.cluster)
    return state
