"""What comes late, by the programs that people type: starts after the voucher ran out, batteries that stay away.

Vouchers bind for a minute, which a late start has to wait for; what a provider and the operator change while offers are open is
tried meanwhile.
"""

from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest

from energyshare.tariff import WEEKDAYS
from energyshare.v1 import operator_pb2 as pb
from energyshare.values import Kind, OrderId, id_text
from tests.cluster import DAY_TARIFF, until
from tests.depot import TARIFFS, Depot, depot, escrow_of, require_lawful, require_settled_once
from tests.person import Person

AT = ("--at", "22.5431,114.0579")
TERMS = "voucher_s = 60\nreturn_grace_s = 4\nclaim_after_s = 10"
SETTINGS = {"wait_confirmation_s": "2", "start_report_grace_s": "1"}
DEPOSIT_MINOR = 20_000
A_MINUTE_AND_MORE_S = 100.0


@dataclass(frozen=True, slots=True)
class Silent:
    """A person who has begun something and says no more of it."""

    person: Person
    order_id: OrderId


@pytest.fixture(scope="module")
def shop() -> Iterator[Depot]:
    with depot(outlets=3, locks=2, offers=TERMS, settings=SETTINGS, cellar=("outlet-3", "lock-2")) as made:
        made.wait_until_online()
        yield made


@pytest.fixture(scope="module")
def alice(shop: Depot) -> Person:
    return shop.add_person("alice", 10_000_000)


@pytest.fixture(scope="module")
def starter(shop: Depot) -> Silent:
    """Somebody with as much money as one order holds, who started it and told nobody."""
    shop.cluster.add_user("erin")
    erin = Person(shop.cluster, "erin")
    made = shop.cluster.user("erin", "demand", "energy", *AT, "--energy-wh", "200", "--needed-in", "1s", "--wait", "5s")
    hold = next(offer["hold_minor"] for offer in made["offers"] if offer["asset"] == "outlet-3")
    shop.cluster.user("erin", "wallet", "top-up", f"{hold // 100}.{hold % 100:02}")
    order_id = OrderId(UUID(made["id"]).bytes)
    erin.select_asset(order_id, "outlet-3")
    erin.start(order_id, shop.address("outlet-3"))
    return Silent(erin, order_id)


@pytest.fixture(scope="module")
def keeper(shop: Depot) -> Silent:
    """Somebody who keeps a battery whose lock the provider's daemon reads."""
    return rented(shop, "frank", "lock-1")


@pytest.fixture(scope="module", autouse=True)
def begun(starter: Silent, keeper: Silent) -> None:
    """What takes more than a minute begins before everything else."""


def test_a_return_that_comes_to_light_late_reverses_cap_and_deposit_when_it_is_dated_before(shop: Depot) -> None:
    gina = rented(shop, "gina", "lock-2")
    number = str(shop.document(gina.order_id).number)
    said = shop.cluster.text("energyshare-provider", "order", "not-returned", number, home="depot", status=1)
    assert "[NOT_OVERDUE]" in said
    gina.person.end(gina.order_id, shop.address("lock-2"))  # nobody hears of it
    until("the charge to the cap", lambda: state_of(shop, gina.order_id) == "SETTLED")
    until("the bill at the provider", lambda: shop.document(gina.order_id).basis == "CAP")
    shop.types("order", "not-returned", number)
    until("the claim", lambda: deposit_claimed(shop, gina.order_id) == DEPOSIT_MINOR)

    gina.person.send()
    until("the reversal", lambda: deposit_claimed(shop, gina.order_id) == 0)
    gina.person.reach("the last bill", gina.order_id, lambda order: order.state == "SETTLED" and order.proved)
    receipt = shop.cluster.user("gina", "receipt", "1")
    assert (receipt["basis"], receipt["deposit_claimed_minor"], receipt["proved"]) == ("END_RECEIPT", 0, True)
    assert [row.basis for row in shown(shop, gina.order_id).charge_records] == ["CAP", "CAP", "END_RECEIPT"]
    require_nothing_left(shop, gina)


def test_an_offer_keeps_its_price_when_the_provider_raises_it(shop: Depot, alice: Person) -> None:
    cheap = alice.demand_offers(Kind.ENERGY)
    dearer: Any = deepcopy(DAY_TARIFF)
    dearer["elements"][0]["price_components"][0]["price"] = 50.00
    shop.configure(TERMS, tariffs=TARIFFS | {"day.json": dearer})
    assert int(shop.types("reload")["changed"]) == 3

    dear = alice.demand_offers(Kind.ENERGY)
    assert alice.look(dear).offers[0].hold_minor > alice.look(cheap).offers[0].hold_minor + 4_000
    assert alice.carry_on(shop.address_of, cheap) == "SETTLED"
    require_settled_once(shop.cluster, cheap)
    total = alice.look(cheap).total_minor
    assert total is not None
    assert total < 5_000
    shop.configure(TERMS)
    shop.types("reload")


def test_a_provider_is_closed_on_all_days_but_those_that_it_names(shop: Depot, alice: Person) -> None:
    today = datetime.now(ZoneInfo("Asia/Shanghai")).weekday()
    in_three_days = WEEKDAYS[(today + 3) % 7]
    shop.configure(TERMS, hours=f'hours = [{{ days = ["{in_three_days}"], from = "00:00", to = "24:00" }}]')
    shop.types("reload")
    said = shop.cluster.text("energyshare", "demand", "energy", *AT, "--energy-wh", "200", "--wait", "5s", home="alice")
    assert "declined: it is closed at that time" in said
    shop.configure(TERMS)
    shop.types("reload")


def test_a_provider_gives_one_user_no_more_than_it_allows(shop: Depot, alice: Person) -> None:
    shop.configure(f"{TERMS}\n[limits]\nopen_orders_per_user = 1")
    shop.types("reload")
    first = alice.demand_offers(Kind.ENERGY)
    alice.select_asset(first, "outlet-1")
    second = alice.demand_offers(Kind.ENERGY)
    number = str(alice.look(second).number)
    said = shop.cluster.text("energyshare", "select", number, "1", home="alice", status=1)
    assert "energyshare: error: this user has as many orders there as the provider allows" in said
    alice.start(first, shop.address("outlet-1"))
    assert alice.carry_on(shop.address_of, first) == "SETTLED"
    third = alice.demand_offers(Kind.ENERGY)
    assert alice.carry_on(shop.address_of, third) == "SETTLED"
    shop.configure(TERMS)
    shop.types("reload")


def test_a_suspended_user_selects_nothing_until_it_is_resumed(shop: Depot, alice: Person) -> None:
    order_id = alice.demand_offers(Kind.ENERGY)
    number = str(alice.look(order_id).number)
    shop.cluster.operator("party", "suspend", "alice", "--role", "user", "--yes")
    said = shop.cluster.text("energyshare", "select", number, "1", home="alice", status=1)
    assert "[ACCOUNT_SUSPENDED]" in said
    shop.cluster.operator("party", "resume", "alice", "--role", "user")
    assert alice.carry_on(shop.address_of, order_id) == "SETTLED"
    require_settled_once(shop.cluster, order_id)


def test_a_suspended_provider_is_not_asked_and_what_runs_there_goes_on(shop: Depot, alice: Person) -> None:
    running = alice.demand_offers(Kind.ENERGY)
    alice.select_asset(running, "outlet-1")
    alice.start(running, shop.address("outlet-1"))
    shop.cluster.operator("party", "suspend", "depot", "--role", "provider", "--yes")
    asked = shop.cluster.user("alice", "demand", "energy", *AT, "--energy-wh", "200", "--wait", "2s", status=1)
    assert (asked["offers"], asked["candidates"], asked["reason"]) == ([], 0, "PROVIDERS_OFFLINE")
    assert alice.carry_on(shop.address_of, running) == "SETTLED"
    require_settled_once(shop.cluster, running)
    shop.cluster.operator("party", "resume", "depot", "--role", "provider")
    assert alice.carry_on(shop.address_of, alice.demand_offers(Kind.ENERGY)) == "SETTLED"


def test_a_battery_that_stays_away_is_claimed_by_the_daemon_and_comes_back_too_late(shop: Depot, keeper: Silent) -> None:
    frank, order_id = keeper.person, keeper.order_id
    until("the daemon's claim", lambda: shop.document(order_id).not_returned, A_MINUTE_AND_MORE_S)
    until("the claim", lambda: deposit_claimed(shop, order_id) == DEPOSIT_MINOR)
    frank.reach("the bill with the deposit", order_id, lambda order: order.state == "SETTLED" and order.proved)
    receipt = shop.cluster.user("frank", "receipt", "1")
    assert (receipt["basis"], receipt["deposit_claimed_minor"], receipt["proved"]) == ("CAP", DEPOSIT_MINOR, True)

    assert shop.cluster.user("frank", "end", "1", "--device", shop.address("lock-1"))["state"] == "SETTLED"
    until("the late return", lambda: "dated after the bill" in shown(shop, order_id).timeline[-1].note)
    assert deposit_claimed(shop, order_id) == DEPOSIT_MINOR
    assert shop.cluster.user("frank", "receipt", "1")["proved"] is True
    require_nothing_left(shop, keeper)


def test_a_start_that_is_told_after_its_order_ran_out_is_owed_and_paid_by_the_next_top_up(shop: Depot, starter: Silent) -> None:
    erin, late = starter.person, starter.order_id
    until("the end of the voucher", lambda: state_of(shop, late) == "EXPIRED", A_MINUTE_AND_MORE_S)
    erin.send()
    erin.reach_state(late, "ACTIVE")
    until("the start in the cloud", lambda: state_of(shop, late) == "ACTIVE")
    other = erin.demand_offers(Kind.ENERGY)
    erin.select_asset(other, "outlet-1")  # which holds all that she has
    erin.end(late, shop.address("outlet-3"))
    erin.reach_state(late, "SETTLED")
    assert erin.look(late).proved
    assert [row.reason for row in shown(shop, late).money][-4:-3] == ["RECEIVABLE"]

    waiting = erin.demand_offers(Kind.ENERGY)
    number = str(erin.look(waiting).number)
    said = shop.cluster.text("energyshare", "select", number, "1", home="erin", status=1)
    assert "[RECEIVABLE_DUE]" in said
    shop.cluster.user("erin", "wallet", "top-up", "50")
    assert shop.cluster.user("erin", "select", number, "1")["state"] == "AUTHORIZED"
    for order_id in (other, waiting):
        assert erin.carry_on(shop.address_of, order_id) == "SETTLED"
        require_settled_once(shop.cluster, order_id)
    require_nothing_left(shop, starter)


def rented(shop: Depot, name: str, lock: str) -> Silent:
    """Have somebody new rent a battery for two seconds and four of grace, and tell of the start."""
    person = shop.add_person(name, 10_000_000)
    order_id = person.demand(Kind.BATTERY, energy_wh=100_000, duration_s=2)
    person.select_asset(order_id, lock)
    person.start(order_id, shop.address(lock))
    person.send()
    return Silent(person, order_id)


def shown(shop: Depot, order_id: OrderId) -> pb.GetOrderResponse:
    """Ask the operator's side for an order."""
    found: pb.GetOrderResponse = shop.cluster.ask("GetOrder", pb.GetOrderRequest(order=id_text(order_id)))
    return found


def state_of(shop: Depot, order_id: OrderId) -> str:
    """Give the state of an order in the cloud."""
    return shown(shop, order_id).order.state


def deposit_claimed(shop: Depot, order_id: OrderId) -> int:
    """Give what the latest bill of an order claims of the deposit, minor units."""
    return shown(shop, order_id).charge_records[-1].deposit_claimed_minor


def require_nothing_left(shop: Depot, silent: Silent) -> None:
    """Hold an order that is over to an empty escrow and a wallet that holds nothing, and the ledger to its laws."""
    wallet: Any = silent.person.act(lambda me: me.wallet())
    assert (escrow_of(shown(shop, silent.order_id)), wallet.held_minor) == (0, 0)
    require_lawful(shop.cluster)
