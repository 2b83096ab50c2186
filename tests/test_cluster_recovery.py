"""Whole processes that lose their memory: a user's phone, a provider's journal, a cloud put back to an older backup."""

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from cloud.config import CloudHome
from energyshare.v1 import operator_pb2 as pb
from energyshare.values import Kind, OrderId, PartKind
from terminals.user.account import adopt, fetch_orders
from terminals.user.terminal import UserTerminal, opened
from tests.cluster import Cluster, until
from tests.depot import Depot, depot, require_lawful
from tests.person import Person, system_now
from tests.walk import require_one_proved_bill

JOURNAL_FILES = ("journal.db", "journal.db-wal", "journal.db-shm")


@pytest.fixture(scope="module")
def shop() -> Iterator[Depot]:
    with depot(outlets=1, locks=1) as made:
        yield made


@pytest.fixture(scope="module")
def alice(shop: Depot) -> Person:
    return shop.add_person("alice", 10_000_000)


@pytest.mark.parametrize("kind", [Kind.ENERGY, Kind.BATTERY])
@pytest.mark.parametrize("state", ["AUTHORIZED", "ACTIVE", "ENDING"])
def test_a_user_whose_journal_is_gone_ends_its_order(shop: Depot, alice: Person, kind: Kind, state: str) -> None:
    order_id = order_in(shop, alice, kind, state)
    lose_journal(shop.cluster, "alice")
    assert alice.orders() == []
    come_back(alice, order_id)
    assert alice.carry_on(shop.address_of, order_id) == "SETTLED"
    require_one_proved_bill(shop, alice, order_id)


@pytest.mark.parametrize("state", ["AUTHORIZED", "ACTIVE", "ENDING"])
def test_a_provider_whose_journal_is_gone_goes_on(shop: Depot, alice: Person, state: str) -> None:
    shop.wait_until_online()
    order_id = order_in(shop, alice, Kind.ENERGY, state)
    shop.provider.kill()
    lose_journal(shop.cluster, "depot")
    shop.restart_provider()
    assert alice.carry_on(shop.address_of, order_id) == "SETTLED"
    require_one_proved_bill(shop, alice, order_id)
    following = order_in(shop, alice, Kind.ENERGY, "ACTIVE")  # its assets are known again, and its serials go on
    assert alice.carry_on(shop.address_of, following) == "SETTLED"


@pytest.mark.parametrize(
    ("backup_at", "last"),
    [
        (None, "AUTHORIZED"),
        (None, "ACTIVE"),
        (None, "SETTLED"),
        ("DEMANDED", "ENDING"),
        ("AUTHORIZED", "ACTIVE"),
        ("AUTHORIZED", "SETTLED"),
        ("ACTIVE", "ENDING"),
        ("ACTIVE", "SETTLED"),
    ],
)
def test_a_cloud_put_back_to_a_backup_settles_what_happened_since(
    shop: Depot, alice: Person, tmp_path: Path, backup_at: str | None, last: str
) -> None:
    shop.wait_until_online()
    backup, order_id = tmp_path / "backup.db", None
    for state in (None, "DEMANDED", "AUTHORIZED", "ACTIVE", "ENDING", "SETTLED"):
        if state is not None:
            order_id = step_to(shop, alice, Kind.ENERGY, state, order_id)
        if state == backup_at:
            back_up(shop, backup)
        if state == last:
            break
    assert order_id is not None
    put_back(shop, backup)
    shop.wait_until_online()
    alice.send()
    assert alice.carry_on(shop.address_of, order_id) == "SETTLED"
    require_settled_in_cloud(shop, alice, order_id)


def test_another_phone_of_the_account_ends_the_order_of_a_lost_one_and_proves_its_bill(shop: Depot, alice: Person) -> None:
    order_id = order_in(shop, alice, Kind.ENERGY, "ACTIVE")
    token = shop.cluster.token("user", "alice")
    shop.cluster.run(
        "energyshare",
        *("enroll", "--cloud", f"127.0.0.1:{shop.cluster.enrollment_port}", "--ca", str(authority(shop.cluster))),
        *("--token-file", str(token)),
        home="alice-phone-2",
    )
    second = Person(shop.cluster, "alice-phone-2")
    second.send()
    second.act(adopt_all)
    assert second.look(order_id).state == "ACTIVE"
    second.end(order_id, None)
    second.send()
    until("a bill", lambda: state_in_cloud(shop, order_id) in ("SETTLED", "DISPUTED"))
    second.act(adopt_all)
    assert second.look(order_id).proved
    assert shop.cluster.ask("CheckLedger", pb.CheckLedgerRequest()).fault == ""


async def adopt_all(me: UserTerminal) -> None:
    """Take over the account's orders, with all that is known of them by now."""
    adopt(me._terminal, await fetch_orders(me.identity))


def state_in_cloud(shop: Depot, order_id: OrderId) -> str:
    """Ask where an order stands."""
    shown: pb.GetOrderResponse = shop.cluster.ask("GetOrder", pb.GetOrderRequest(order=order_id.hex()))
    return shown.order.state


def authority(cluster: Cluster) -> Path:
    """Give the file of the cloud's authority."""
    return CloudHome(cluster.home("cloud")).path / "ca.pem"


def order_in(shop: Depot, person: Person, kind: Kind, state: str) -> OrderId:
    """Take a new order to a state."""
    order_id = None
    for step in ("DEMANDED", "AUTHORIZED", "ACTIVE", "ENDING"):
        order_id = step_to(shop, person, kind, step, order_id)
        if step == state:
            break
    assert order_id is not None
    return order_id


def step_to(shop: Depot, person: Person, kind: Kind, state: str, order_id: OrderId | None) -> OrderId:
    """Take an order one state on; the cloud knows of it then."""
    match state, order_id:
        case "DEMANDED", _:
            return person.demand_offers(kind)
        case "AUTHORIZED", bytes():
            person.select(order_id)
            person.reach_state(order_id, "AUTHORIZED")
        case "ACTIVE", bytes():
            person.start(order_id, shop.address_of(person, order_id))
            person.reach("a reading", order_id, lambda order: bool(person.readings(order_id)))
            person.send()
        case "ENDING", bytes():
            person.end(order_id, shop.address_of(person, order_id))
            person.send()
        case "SETTLED", bytes():
            person.reach_state(order_id, "SETTLED")
    assert order_id is not None
    return order_id


def lose_journal(cluster: Cluster, name: str) -> None:
    """Have a home lose its journal; its keys and certificates stay."""
    for file in JOURNAL_FILES:
        (cluster.home(name) / file).unlink(missing_ok=True)


def come_back(person: Person, order_id: OrderId) -> None:
    """Exchange messages until an order is known again."""
    person.act(lambda me: me.sync(lambda: any(known == order_id for known, _ in me.orders()), 20))


def back_up(shop: Depot, path: Path) -> None:
    """Copy the database of the cloud as it stands now."""
    source = CloudHome(shop.cluster.home("cloud")).database
    with closing(sqlite3.connect(source)) as database, closing(sqlite3.connect(path)) as copy:
        database.backup(copy)


def put_back(shop: Depot, path: Path) -> None:
    """Put a backup in the place of the cloud's database, under a new incarnation."""
    assert shop.cluster.cloud is not None
    shop.cluster.cloud.stop()
    database = CloudHome(shop.cluster.home("cloud")).database
    for suffix in ("-wal", "-shm"):
        database.with_name(database.name + suffix).unlink(missing_ok=True)
    shutil.copy(path, database)
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("DELETE FROM meta WHERE key = 'incarnation'")
    shop.restart_cloud()


def require_settled_in_cloud(shop: Depot, person: Person, order_id: OrderId) -> None:
    """Hold the cloud to one settled bill of an order, by the laws of its ledger, and the user to its proof."""
    shown: pb.GetOrderResponse = shop.cluster.ask("GetOrder", pb.GetOrderRequest(order=order_id.hex()))
    assert shown.order.state == "SETTLED", shown
    assert sum(row.reason == "CHARGE" for row in shown.money) == 1, shown.money
    require_lawful(shop.cluster)
    with opened(person.home, system_now, read_only=True) as me:
        assert me.journal.part(order_id, PartKind.VOUCHER) is not None
