"""SIGKILL at every step of an order: it ends as it should, once."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from energyshare.values import Kind, OrderId
from tests.depot import Depot, Person, depot, require_settled_once

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
        person.reach("a reading", order_id, lambda order: bool(self.running_wh(order_id)))
        yield "supplying", order_id
        person.end(order_id, self.address)
        yield "ended at the device", order_id
        person.send()
        yield "end told", order_id
        person.reach_state(order_id, "SETTLED")
        yield "settled", order_id

    def running_wh(self, order_id: OrderId) -> int:
        """Say how many readings the person has heard of."""
        return len(self.person.readings(order_id))


@pytest.fixture(scope="module")
def shop() -> Iterator[Depot]:
    with depot(outlets=1, locks=1) as made:
        yield made


@pytest.fixture(scope="module")
def alice(shop: Depot) -> Person:
    return shop.add_person("alice", 1_000_000)


def walk_with_kill(shop: Depot, walk: Walk, at: str, kill: Callable[[], None], restart: Callable[[], None]) -> OrderId:
    """Take an order to its end, killing something at a step and starting it again where its help is needed next."""
    shop.wait_until_online()
    is_down = False
    steps = walk.steps()
    for step, order_id in steps:
        if step == at:
            kill()
            is_down = True
        if is_down and not next_is_offline(step):
            restart()
            is_down = False
    return order_id


def next_is_offline(step: str) -> bool:
    """Say whether what follows a step is done at the device, with nobody online."""
    return step in ("voucher there", "supplying")


@pytest.mark.xdist_group("kill-energy")
@pytest.mark.parametrize("step", STEPS)
def test_an_energy_order_settles_once_when_the_cloud_is_killed(shop: Depot, alice: Person, step: str) -> None:
    walk = Walk(alice, Kind.ENERGY, shop.address("outlet-1"))
    order_id = walk_with_kill(shop, walk, step, shop.kill_cloud, shop.restart_cloud)
    require_settled_once(shop.cluster, order_id)
    assert alice.look(order_id).proved
