"""People, and what goes wrong with them: dead phones, races, strangers, power cuts, empty wallets, wrong homes."""

from collections.abc import Iterator

import pytest

from cloud.operator_client import operator_name
from energyshare.bodies import ChallengeBody, ReadingBody, ReleaseBody
from energyshare.errors import Reason, Rejected
from energyshare.v1 import operator_pb2 as pb
from energyshare.values import Kind, OrderId, id_text, later
from energyshare.wire import peek, seal
from terminals.device.client import DeviceClient, start_session
from terminals.identity import load_identity
from terminals.user.terminal import opened
from tests.cluster import await_here, until
from tests.depot import Depot, depot, require_lawful, require_settled_once
from tests.person import Person, system_now


@pytest.fixture(scope="module")
def shop() -> Iterator[Depot]:
    waits = {"wait_confirmation_s": "5", "wait_not_returned_s": "2"}
    with depot(outlets=3, locks=2, offers="return_grace_s = 4", settings=waits) as made:
        yield made


@pytest.fixture(scope="module")
def alice(shop: Depot) -> Person:
    return shop.add_person("alice", 10_000_000)


@pytest.fixture(scope="module")
def bob(shop: Depot) -> Person:
    return shop.add_person("bob", 1_000)


def test_a_phone_that_died_after_the_start_leaves_the_end_to_outlet_and_provider(shop: Depot, alice: Person) -> None:
    order_id = _started(shop, alice, Kind.ENERGY, energy_wh=None, duration_s=2)
    until("the bill", lambda: _state(shop, order_id) == "SETTLED")
    shown = require_settled_once(shop.cluster, order_id)
    assert "EndReported" in [entry.event for entry in shown.timeline]

    orders = {order["id"]: order for order in shop.cluster.user("alice", "sync")}
    mine = orders[id_text(order_id)]
    assert (mine["state"], mine["proved"], mine["total_minor"]) == ("SETTLED", True, shown.order.total_minor)


def test_an_end_from_afar_has_the_provider_release_the_device(shop: Depot, alice: Person) -> None:
    order_id = _started(shop, alice, Kind.ENERGY)
    alice.send()
    number = str(alice.look(order_id).number)
    ended = shop.cluster.user("alice", "end", number)
    assert (ended["state"], ended["proved"]) == ("SETTLED", True)
    require_settled_once(shop.cluster, order_id)


def test_of_two_users_who_race_for_one_asset_one_gets_it_and_the_other_is_told(shop: Depot, alice: Person, bob: Person) -> None:
    shop.wait_until_online()
    people = (alice, bob)
    orders = [person.demand_offers(Kind.ENERGY) for person in people]
    assert _offered(alice, orders[0]) == _offered(bob, orders[1])
    numbers = [str(person.look(order_id).number) for person, order_id in zip(people, orders, strict=True)]
    racing = [
        shop.cluster.spawn("energyshare", "select", number, "1", home=person.name)
        for person, number in zip(people, numbers, strict=True)
    ]
    said = [process.communicate(timeout=60)[0] for process in racing]
    assert sorted(process.returncode for process in racing) == [0, 1], said
    winner = next(n for n, process in enumerate(racing) if process.returncode == 0)
    assert people[winner].look(orders[winner]).state == "AUTHORIZED"
    assert "energyshare: error: someone else has just taken it" in said[1 - winner]
    assert "energyshare: hint: " in said[1 - winner]
    assert people[winner].carry_on(shop.address_of, orders[winner]) == "SETTLED"
    require_settled_once(shop.cluster, orders[winner])


def test_a_used_voucher_opens_nothing_after_a_power_cut_of_the_device(shop: Depot, alice: Person) -> None:
    order_id = _started(shop, alice, Kind.ENERGY)
    address = shop.address_of(alice, order_id)
    alice.end(order_id, address)
    alice.reach_state(order_id, "SETTLED")
    _cut_power(shop, alice, order_id)
    with pytest.raises(Rejected) as refused:
        _present(alice, order_id, address)
    assert refused.value.reason is Reason.VOUCHER_USED


def test_a_session_goes_on_after_a_power_cut_with_the_same_receipt(shop: Depot, alice: Person) -> None:
    order_id = _started(shop, alice, Kind.ENERGY)
    address = shop.address_of(alice, order_id)
    first = _present(alice, order_id, address)
    _cut_power(shop, alice, order_id)
    assert _present(alice, order_id, address) == first
    assert alice.carry_on(shop.address_of, order_id) == "SETTLED"
    assert alice.look(order_id).proved
    require_settled_once(shop.cluster, order_id)


def test_a_stranger_can_neither_end_a_session_nor_use_its_voucher(shop: Depot, alice: Person, bob: Person) -> None:
    order_id = _started(shop, alice, Kind.ENERGY)
    address = shop.address_of(alice, order_id)
    presentable = alice.look(order_id).presentable
    assert presentable is not None
    stranger = load_identity(bob.home, "user")
    with pytest.raises(Rejected) as refused:
        await_here(start_session(address, stranger.root_key, presentable, stranger.key))
    assert refused.value.reason is Reason.VOUCHER_HOLDER
    with pytest.raises(Rejected) as refused:
        await_here(_release_as(bob, order_id, address))
    assert refused.value.reason is Reason.STRANGER
    assert alice.carry_on(shop.address_of, order_id) == "SETTLED"
    require_settled_once(shop.cluster, order_id)


def test_a_battery_that_comes_back_past_its_cap_is_charged_to_the_cap(shop: Depot, alice: Person) -> None:
    order_id = _started(shop, alice, Kind.BATTERY, energy_wh=100_000, duration_s=2)
    alice.reach("the cut-off", order_id, lambda order: _is_cut_off(alice, order_id))
    alice.end(order_id, shop.address_of(alice, order_id))
    alice.reach_state(order_id, "SETTLED")
    receipt = shop.cluster.user("alice", "receipt", str(alice.look(order_id).number))
    assert (receipt["basis"], receipt["duration_s"], receipt["proved"]) == ("END_RECEIPT", 2, True)
    require_settled_once(shop.cluster, order_id)


def test_a_battery_that_never_comes_back_is_charged_to_the_cap_after_its_grace(shop: Depot, alice: Person) -> None:
    order_id = _started(shop, alice, Kind.BATTERY, energy_wh=100_000, duration_s=2)
    alice.send()
    alice.reach_state(order_id, "SETTLED")
    receipt = shop.cluster.user("alice", "receipt", str(alice.look(order_id).number))
    assert (receipt["basis"], receipt["duration_s"], receipt["deposit_claimed_minor"], receipt["proved"]) == ("CAP", 2, 0, True)
    until("the deposit given back", lambda: _shown(shop, order_id).money[-1].reason == "DEPOSIT_RELEASE")
    require_lawful(shop.cluster)


def test_a_wallet_that_holds_too_little_selects_nothing(shop: Depot, bob: Person) -> None:
    shop.wait_until_online()
    order_id = bob.demand_offers(Kind.ENERGY, energy_wh=20_000)
    number = str(bob.look(order_id).number)
    said = shop.cluster.text("energyshare", "select", number, "1", home="bob", status=1)
    assert "energyshare: error: the wallet does not hold enough" in said
    assert "energyshare: hint: pay in with: energyshare wallet top-up AMOUNT" in said
    assert bob.look(order_id).state == "DEMANDED"


def test_an_offer_that_has_expired_is_not_selected(shop: Depot, alice: Person) -> None:
    shop.wait_until_online()
    order_id = alice.demand_offers(Kind.ENERGY)
    with opened(alice.home, lambda: later(system_now(), 7_200)) as me, pytest.raises(Rejected) as refused:
        me.select(order_id, 1)
    assert refused.value.reason is Reason.OFFER_EXPIRED


@pytest.mark.parametrize(
    ("amount", "status", "words"),
    [
        ("0", 1, "the amount must be above zero"),
        ("-5", 1, "the amount must be above zero"),
        ("99999999999.99", 1, "the amount is past the limit"),
        ("12.345", 2, "12.345"),
        ("ten", 2, "'ten'"),
        ("nan", 2, "'nan'"),
    ],
)
def test_an_amount_that_can_not_be_paid_in_is_refused(shop: Depot, alice: Person, amount: str, status: int, words: str) -> None:
    assert words in shop.cluster.text("energyshare", "wallet", "top-up", amount, home="alice", status=status)


def test_a_suspended_user_can_end_what_runs_and_demand_nothing(shop: Depot) -> None:
    carl = shop.add_person("carl", 10_000_000)
    order_id = _started(shop, carl, Kind.ENERGY)
    said = shop.cluster.text("energyshare-cloud", "party", "suspend", "carl", "--role", "user", home="cloud")
    assert "The user carl is suspended; 1 running order may go on." in said
    assert carl.carry_on(shop.address_of, order_id) == "SETTLED"
    refused = carl.demand(Kind.ENERGY)
    carl.reach("a refusal", refused, lambda order: order.reason == Reason.ACCOUNT_SUSPENDED)


def test_a_revoked_terminal_s_stream_ends_and_it_is_not_let_in_again(shop: Depot) -> None:
    dora = shop.add_person("dora", 0)
    dora.act(lambda me: me.wallet())
    shop.cluster.ask("RevokeTerminal", pb.RevokeTerminalRequest(terminal="dora", reason="stolen"))
    said = shop.cluster.text("energyshare", "sync", home="dora", status=1)
    assert "energyshare: error: this terminal's identity was revoked" in said


def test_a_provider_sees_whether_it_is_connected(shop: Depot) -> None:
    shop.wait_until_online()
    assert shop.types("status")["line"] == "connected"
    shop.kill_cloud()
    until("the loss", lambda: shop.types("watch", "--once")["line"] == "not connected to the cloud")
    shop.restart_cloud()
    until("the line", lambda: shop.types("status")["line"] == "connected")
    shop.wait_until_online()


def test_a_backup_of_a_running_cloud_is_made_and_not_put_back_under_it(shop: Depot, alice: Person) -> None:
    file = shop.cluster.folder / "cloud-backup.db"
    order_id = _started(shop, alice, Kind.ENERGY)
    made = shop.cluster.operator("backup", str(file))
    assert int(made["orders"]) >= 1
    said = shop.cluster.text("energyshare-cloud", "restore", str(file), home="cloud", status=1)
    assert "is in use by process" in said
    assert alice.carry_on(shop.address_of, order_id) == "SETTLED"
    acts = shop.cluster.ask("ListActs", pb.ListActsRequest()).acts
    assert acts[0].act == "backup"
    assert acts[0].operator == operator_name()


def test_a_home_of_another_role_is_refused(shop: Depot) -> None:
    said = shop.cluster.text("energyshare", "orders", home="depot", status=1)
    assert f"energyshare: error: {shop.cluster.home('depot')} is the home of a provider, not of a user" in said
    assert "energyshare: hint: name another directory with --home" in said


def test_a_home_in_use_is_refused_naming_the_process(shop: Depot) -> None:
    config = str(shop.cluster.folder / "depot.toml")
    said = shop.cluster.text("energyshare-provider", "run", config, home="depot", status=1)
    process = f"process {shop.provider.process.pid} (energyshare-provider)"
    assert f"energyshare-provider: error: {shop.cluster.home('depot')} is in use by {process}" in said


def _started(shop: Depot, person: Person, kind: Kind, energy_wh: int | None = 200, duration_s: int | None = None) -> OrderId:
    """Take an order to its start at the device; the cloud has not heard of it."""
    shop.wait_until_online()
    order_id = person.demand_offers(kind, energy_wh=energy_wh, duration_s=duration_s)
    person.select(order_id)
    person.reach_state(order_id, "AUTHORIZED")
    person.start(order_id, shop.address_of(person, order_id))
    return order_id


def _cut_power(shop: Depot, person: Person, order_id: OrderId) -> None:
    """Kill an order's device and start it again."""
    device = shop.device_of(person, order_id)
    shop.devices[device].kill()
    shop.start_device(device)


def _is_cut_off(person: Person, order_id: OrderId) -> bool:
    readings = [peek(ReadingBody, part.signed) for part in person.readings(order_id)]
    return bool(readings) and not readings[-1].supplying


def _state(shop: Depot, order_id: OrderId) -> str:
    return _shown(shop, order_id).order.state


def _shown(shop: Depot, order_id: OrderId) -> pb.GetOrderResponse:
    shown: pb.GetOrderResponse = shop.cluster.ask("GetOrder", pb.GetOrderRequest(order=id_text(order_id)))
    return shown


def _offered(person: Person, order_id: OrderId) -> str:
    with opened(person.home, system_now, read_only=True) as me:
        return me.offer(order_id, me.order(order_id).offers[0].digest).asset.name


def _present(person: Person, order_id: OrderId, address: str) -> bytes:
    """Present an order's voucher, whatever became of it; gives the start receipt."""
    presentable = person.look(order_id).presentable
    assert presentable is not None
    identity = load_identity(person.home, "user")
    return await_here(start_session(address, identity.root_key, presentable, identity.key)).start_receipt


async def _release_as(person: Person, order_id: OrderId, address: str) -> bytes:
    """Ask a device to end a session, signed by a person."""
    async with DeviceClient(address) as client:
        challenge, _ = await client.challenge()
        body = peek(ChallengeBody, challenge)
        release = seal(ReleaseBody(body.device_id, body.nonce, order_id), load_identity(person.home, "user").key)
        return await client.release(release.signed)
