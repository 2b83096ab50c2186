"""SIGKILL of the provider's daemon, the device and the user's commands at every step of an order: it ends well, once."""

import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from energyshare.v1 import operator_pb2 as pb
from energyshare.values import Kind, OrderId, PartKind
from terminals.device.memory_file import SessionEvidence, look_at
from terminals.device.settings import MEMORY, load_settings
from terminals.user.orders import UserOrder
from terminals.user.terminal import opened
from tests.cluster import until
from tests.depot import Depot, depot
from tests.person import Person, system_now
from tests.walk import STEPS, Walk, require_one_proved_bill, walk_with_kill

NO_DEVICE_NEEDED_AFTER = (
    "demand sent",
    "offer there",
    "selection sent",
    "started at the device",
    "ended at the device",
    "end told",
)
"""What follows these steps is between user, cloud and provider."""


@pytest.fixture(scope="module")
def shop() -> Iterator[Depot]:
    with depot(outlets=1) as made:
        yield made


@pytest.fixture(scope="module")
def alice(shop: Depot) -> Person:
    return shop.add_person("alice", 10_000_000)


@pytest.mark.parametrize("step", STEPS)
def test_an_energy_order_settles_once_when_the_provider_is_killed(shop: Depot, alice: Person, step: str) -> None:
    order_id = walk_with_kill(Walk(shop, alice, Kind.ENERGY), step, lambda: shop.provider.kill(), shop.restart_provider)
    require_one_proved_bill(shop, alice, order_id)


@pytest.mark.parametrize("step", STEPS)
def test_an_energy_order_settles_once_by_the_same_receipts_when_its_device_is_killed(
    shop: Depot, alice: Person, step: str
) -> None:
    signed: dict[OrderId, SessionEvidence] = {}

    def kill() -> None:
        signed.update(_signed(shop))
        shop.devices["outlet-1"].kill()

    def restart() -> None:
        shop.start_device("outlet-1")

    order_id = walk_with_kill(Walk(shop, alice, Kind.ENERGY), step, kill, restart, NO_DEVICE_NEEDED_AFTER)
    require_one_proved_bill(shop, alice, order_id)
    for session_id, before in signed.items():
        now = _signed(shop)[session_id]
        assert now.start_receipt == before.start_receipt
        assert now.readings[: len(before.readings)] == before.readings
        assert now.end_receipt == before.end_receipt or before.end_receipt is None


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
    Moment("start", "the device is open", lambda shop, person, order_id: _is_in_use(shop)),
    Moment("start", "the start receipt is journalled", _has_part(PartKind.START_RECEIPT)),
    Moment("end", "the device is closed", lambda shop, person, order_id: not _is_in_use(shop)),
    Moment("end", "the end receipt is journalled", _has_part(PartKind.END_RECEIPT)),
    Moment("end", "the request to end is journalled", _has_part(PartKind.END_REQUEST)),
    Moment("end", "the bill is journalled", _journal(lambda order: order.state == "SETTLED")),
)


@pytest.mark.parametrize("moment", MOMENTS, ids=lambda moment: f"{moment.command} when {moment.name}")
def test_an_energy_order_settles_once_when_the_users_command_is_killed(shop: Depot, alice: Person, moment: Moment) -> None:
    shop.wait_until_online()
    settled_before = _settled(shop)
    order_id = None if moment.command == "demand" else _order_before(shop, alice, moment.command)
    order_id = _killed_command(shop, alice, moment, order_id)
    assert alice.carry_on(shop.address_of, order_id) == "SETTLED"
    require_one_proved_bill(shop, alice, order_id)
    assert _settled(shop) == settled_before + 1


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


def _is_in_use(shop: Depot) -> bool:
    """Look into the device's memory, which no rate limit guards."""
    home = shop.cluster.home("outlet-1")
    return look_at(home / MEMORY, load_settings(home).epoch).session is not None


def _signed(shop: Depot) -> dict[OrderId, SessionEvidence]:
    """Ask the device what it has signed, by order."""
    return {session.order_id: session for session in shop.evidence("outlet-1")}


def _settled(shop: Depot) -> int:
    return len(shop.cluster.ask("ListOrders", pb.ListOrdersRequest(state="SETTLED", page_size=1_000)).orders)
