"""An order step by step, and something that is killed on the way."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from energyshare.values import Kind, OrderId
from tests.depot import Depot, require_settled_once
from tests.person import Person

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


def walk_with_kill(shop: Depot, walk: Walk, at: str, kill: Callable[[], None], restart: Callable[[], None]) -> OrderId:
    """Take an order to its end, killing something at a step and starting it again when its help is needed next."""
    shop.wait_until_online()
    is_down, order_id = False, None
    for step, order_id in walk.steps():  # noqa: B007 - the last one is the result
        if step == at:
            kill()
            is_down = True
        if is_down and step not in BEFORE_A_DEVICE:
            restart()
            is_down = False
    assert order_id is not None
    return order_id


def require_one_proved_bill(shop: Depot, person: Person, order_id: OrderId) -> None:
    """Hold an order to one charge, in the cloud and as its user proves it."""
    require_settled_once(shop.cluster, order_id)
    assert person.look(order_id).proved
