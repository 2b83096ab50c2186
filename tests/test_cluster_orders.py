"""The ways that an order can go, by the programs that people type: mixed demands, extra work, cancellations, disputes."""

from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest

from energyshare.v1 import operator_pb2 as pb
from energyshare.values import Kind, OrderId, id_text
from tests.cluster import until
from tests.depot import Depot, depot, escrow_of, require_lawful, require_settled_once
from tests.person import Person

AT = ("--at", "22.5431,114.0579")


@pytest.fixture(scope="module")
def shop() -> Iterator[Depot]:
    with depot(outlets=1, locks=1, workers=1) as made:
        made.wait_until_online()
        yield made


@pytest.fixture(scope="module")
def alice(shop: Depot) -> Person:
    return shop.add_person("alice", 10_000_000)


def test_a_mixed_demand_ends_as_a_service_with_extra_work_and_a_ruling(shop: Depot, alice: Person) -> None:
    cluster, worker = shop.cluster, shop.address("worker-1")
    wanted = ("battery", "energy", "service", *AT, "--energy-wh", "1000", "--duration", "1h", "--item", "jump-start")
    demanded = cluster.user("alice", "demand", *wanted)
    assert sorted(offer["kind"] for offer in demanded["offers"]) == ["BATTERY", "ENERGY", "SERVICE"]
    order_id, number = named(demanded), str(demanded["order"])
    helper = next(offer for offer in demanded["offers"] if offer["kind"] == "SERVICE")
    selected = cluster.user("alice", "select", number, str(helper["offer"]))
    assert (selected["state"], selected["kind"]) == ("AUTHORIZED", "SERVICE")
    assert cluster.user("alice", "start", number, "--device", worker)["state"] == "ACTIVE"

    job = job_of(shop, order_id)
    until("the check-in", lambda: shop.types("job", "show", job)["state"] == "ACTIVE")
    shop.types("job", "add-item", job, "tyre", "--quantity", "4")
    alice.reach("extra work", order_id, lambda order: order.waiting_amendment is not None)
    assert cluster.user("alice", "amendment", "refuse", number)["amendment_waits"] is None
    until("the refusal", lambda: shop.document(order_id).amendments[0].approved is False)
    shop.types("job", "add-item", job, "tyre", "--duration", "30m")
    alice.reach("other extra work", order_id, lambda order: order.waiting_amendment is not None)
    cluster.user("alice", "amendment", "approve", number)
    until("the approval", lambda: shop.document(order_id).amendments[1].approved)

    asked = shop.types("job", "settle", job, "--duration", "20m")["settlement"]
    assert asked["items"] == [{"name": "jump-start", "quantity": 1}, {"name": "tyre", "quantity": 1}]
    alice.reach("a request", order_id, lambda order: order.waiting_settlement is not None)
    refused = cluster.user("alice", "confirm", number, "--dispute", "25.00")
    assert (refused["state"], refused["disputed_minor"], refused["proved"]) == ("DISPUTED", 2_500, True)
    assert refused["total_minor"] == asked["total_minor"] - 2_500
    assert held_by(alice) == 2_500

    assert resolved(shop, order_id, "10.00") == "SETTLED"
    alice.reach_state(order_id, "SETTLED")
    receipt = cluster.user("alice", "receipt", number)
    assert (receipt["proved"], receipt["basis"]) == (True, "RULING")
    assert receipt["incl_vat_minor"] == asked["total_minor"] - 1_500
    until("the ruling at the provider", lambda: shop.types("job", "show", job)["basis"] == "RULING")
    assert shop.document(order_id).total_minor == receipt["incl_vat_minor"]
    require_nothing_left(shop, alice, order_id)


def test_a_voucher_that_its_user_burns_at_the_device_cancels_the_order_with_the_cloud_dead(shop: Depot, alice: Person) -> None:
    order_id = authorized(shop, alice, Kind.ENERGY)
    shop.kill_cloud()
    number, device = str(alice.look(order_id).number), shop.address("outlet-1")
    assert shop.cluster.user("alice", "cancel", number, "--device", device)["state"] == "CANCELLED"
    said = shop.cluster.text("energyshare", "start", number, "--device", device, home="alice", status=1)
    assert "energyshare: error: " in said
    shop.restart_cloud()
    alice.send()
    require_cancelled(shop, alice, order_id)


@pytest.mark.parametrize("kind", list(Kind))
def test_a_user_cancels_from_afar_and_the_provider_burns_the_voucher(shop: Depot, alice: Person, kind: Kind) -> None:
    order_id = authorized(shop, alice, kind)
    number = str(alice.look(order_id).number)
    assert shop.cluster.user("alice", "cancel", number, "--reason", "too far")["cancel_asked"] == "USER"
    require_cancelled(shop, alice, order_id, "TOO_FAR")


@pytest.mark.parametrize("kind", list(Kind))
def test_a_provider_cancels_and_burns_the_voucher_from_afar(shop: Depot, alice: Person, kind: Kind) -> None:
    order_id = authorized(shop, alice, kind)
    assert shop.types("order", "cancel", job_of(shop, order_id), "--reason", "NO_STAFF")["cancelled_by"] == "provider"
    require_cancelled(shop, alice, order_id, "NO_STAFF")


def test_neither_side_cancels_what_has_started(shop: Depot, alice: Person) -> None:
    order_id = started(shop, alice, Kind.ENERGY)
    number = str(alice.look(order_id).number)
    assert "energyshare: error: " in shop.cluster.text("energyshare", "cancel", number, home="alice", status=1)
    until("the start at the provider", lambda: shop.document(order_id).state == "ACTIVE")
    said = shop.cluster.text("energyshare-provider", "order", "cancel", job_of(shop, order_id), home="depot", status=1)
    assert "energyshare-provider: error: " in said
    assert alice.carry_on(shop.address_of, order_id) == "SETTLED"
    require_settled_once(shop.cluster, order_id)


def test_a_damaged_battery_is_claimed_at_its_return_and_ruled_on(shop: Depot, alice: Person) -> None:
    shop.configure("review_s = 400")
    shop.types("reload")
    order_id = started(shop, alice, Kind.BATTERY)
    number, job = str(alice.look(order_id).number), job_of(shop, order_id)
    ended = shop.cluster.user("alice", "end", number, "--device", shop.address("lock-1"), "--wait", "1s")
    assert ended["state"] == "ENDING"
    until("the end at the provider", lambda: "order confirm" in shop.types("order", "show", job)["next"])
    too_much = ("order", "refuse", job, "--claim", "200.01", "--reason", "gone")
    assert "the claim is above the deposit" in shop.cluster.text("energyshare-provider", *too_much, home="depot", status=1)
    shop.types("order", "refuse", job, "--claim", "50.00", "--reason", "the housing is broken")

    alice.reach_state(order_id, "DISPUTED")
    assert (alice.look(order_id).disputed_minor, alice.look(order_id).proved) == (5_000, True)
    assert held_by(alice) == 5_000
    total = alice.look(order_id).total_minor
    assert resolved(shop, order_id, "30.00") == "SETTLED"
    alice.reach_state(order_id, "SETTLED")
    receipt = shop.cluster.user("alice", "receipt", number)
    assert (receipt["proved"], receipt["basis"], receipt["deposit_claimed_minor"]) == (True, "RULING", 3_000)
    assert receipt["incl_vat_minor"] == total
    until("the ruling at the provider", lambda: shop.document(order_id).deposit_claimed_minor == 3_000)
    require_nothing_left(shop, alice, order_id)
    shop.configure()
    shop.types("reload")


def test_a_settled_bill_is_disputed_and_given_back_in_part(shop: Depot, alice: Person) -> None:
    order_id = started(shop, alice, Kind.ENERGY)
    assert alice.carry_on(shop.address_of, order_id) == "SETTLED"
    number, total = str(alice.look(order_id).number), alice.look(order_id).total_minor
    assert total is not None
    disputed = shop.cluster.user("alice", "dispute", number, "1.00", "--reason", "the plug was blocked")
    assert (disputed["state"], disputed["disputed_minor"]) == ("DISPUTED", 100)
    until("the dispute at the provider", lambda: shop.document(order_id).state == "DISPUTED")
    assert resolved(shop, order_id, "0") == "SETTLED"
    alice.reach_state(order_id, "SETTLED")
    receipt = shop.cluster.user("alice", "receipt", number)
    assert (receipt["proved"], receipt["basis"], receipt["incl_vat_minor"]) == (True, "RULING", total - 100)
    require_nothing_left(shop, alice, order_id)


def test_another_terminal_of_the_account_ends_an_order_from_afar(shop: Depot, alice: Person) -> None:
    order_id = started(shop, alice, Kind.ENERGY)
    alice.send()
    shop.cluster.add_terminal("alice", "alice-tablet")
    found = shop.cluster.user("alice-tablet", "orders", "--account")
    number = next(str(order["order"]) for order in found if order["id"] == id_text(order_id))
    said = shop.cluster.text(
        "energyshare", "start", number, "--device", shop.address("outlet-1"), home="alice-tablet", status=1
    )
    assert "energyshare: error: " in said
    assert shop.cluster.user("alice-tablet", "end", number)["state"] == "SETTLED"
    alice.reach_state(order_id, "SETTLED")
    assert alice.look(order_id).proved
    require_settled_once(shop.cluster, order_id)


def authorized(shop: Depot, person: Person, kind: Kind) -> OrderId:
    """Take an order to its voucher."""
    if kind is Kind.SERVICE:
        order_id = person.demand_offers(kind, items={"jump-start": 1}, energy_wh=None)
    else:
        order_id = person.demand_offers(kind)
    person.select(order_id)
    person.reach_state(order_id, "AUTHORIZED")
    return order_id


def started(shop: Depot, person: Person, kind: Kind) -> OrderId:
    """Take an order to its start at the device."""
    order_id = authorized(shop, person, kind)
    person.start(order_id, shop.address_of(person, order_id))
    return order_id


def resolved(shop: Depot, order_id: OrderId, charge: str) -> str:
    """Have the operator rule on a dispute; gives the state of the order after it."""
    [dispute] = shop.cluster.ask("ListDisputes", pb.ListDisputesRequest(page_size=10)).disputes
    assert dispute.order.order_id == order_id
    ruling = ("dispute", "resolve", id_text(order_id), "--charge", charge, "--reason", "half of it was done", "--yes")
    state: str = shop.cluster.operator(*ruling)["state"]
    return state


def require_cancelled(shop: Depot, person: Person, order_id: OrderId, reason: str | None = None) -> None:
    """Hold an order to its cancellation, on all sides, with nothing held and its asset free for others."""
    person.reach_state(order_id, "CANCELLED")
    until("the cancellation at the provider", lambda: shop.document(order_id).state == "CLOSED")
    assert shown_by_operator(shop, order_id).order.state == "CANCELLED"
    if reason is not None:
        assert person.look(order_id).reason == reason
    require_nothing_left(shop, person, order_id)


def require_nothing_left(shop: Depot, person: Person, order_id: OrderId) -> None:
    """Hold an order that is over to an empty escrow and a wallet that holds nothing, and the ledger to its laws."""
    assert escrow_of(shown_by_operator(shop, order_id)) == 0
    assert held_by(person) == 0
    require_lawful(shop.cluster)


def shown_by_operator(shop: Depot, order_id: OrderId) -> pb.GetOrderResponse:
    """Ask the operator's side for an order."""
    shown: pb.GetOrderResponse = shop.cluster.ask("GetOrder", pb.GetOrderRequest(order=id_text(order_id)))
    return shown


def held_by(person: Person) -> int:
    """Give what is held in a person's wallet, minor units."""
    return int(person.act(lambda me: me.wallet()).held_minor)


def job_of(shop: Depot, order_id: OrderId) -> str:
    """Give the number that the provider knows an order by."""
    return str(shop.document(order_id).number)


def named(facts: dict[str, Any]) -> OrderId:
    """Read an order's id from what a command printed."""
    return OrderId(UUID(facts["id"]).bytes)
