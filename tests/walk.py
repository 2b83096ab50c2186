"""An order step by step, and something that is killed on the way."""

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass

from energyshare.values import DurationS, Kind, OrderId
from terminals.provider.acts import AskSettlement, Item, ProposeWork
from tests.cluster import until
from tests.depot import Depot, require_settled_once
from tests.person import Person

TO_THE_VOUCHER = ("demand sent", "offer there", "selection sent", "voucher there")
STEPS = (
    *TO_THE_VOUCHER,
    "started at the device",
    "start told",
    "supplying",
    "ended at the device",
    "end told",
    "settled",
)
SERVICE_STEPS = (
    *TO_THE_VOUCHER,
    "checked in",
    "start told",
    "amendment proposed",
    "approved",
    "settlement asked",
    "answered",
    "settled",
)
BEFORE_A_DEVICE = ("voucher there", "supplying")
"""What follows these steps happens at the device, with nobody online."""
WORKED_S = DurationS(1_200)


@dataclass(frozen=True, slots=True)
class Walk:
    """An order that a person takes from its demand to its bill, step by step."""

    shop: Depot
    person: Person
    kind: Kind

    def steps(self) -> Iterator[tuple[str, OrderId]]:
        """Take the next step each time; gives its name."""
        order_id = self._demand()
        rest = self._service(order_id) if self.kind is Kind.SERVICE else self._supply(order_id)
        for taken in (self._to_the_voucher(order_id), rest):
            for step in taken:
                yield step, order_id
        self.person.reach_state(order_id, "SETTLED")
        yield "settled", order_id

    def _demand(self) -> OrderId:
        if self.kind is Kind.SERVICE:
            return self.person.demand_kinds(self.kind, items={"jump-start": 1}, energy_wh=None)
        return self.person.demand(self.kind)

    def _to_the_voucher(self, order_id: OrderId) -> Iterator[str]:
        person = self.person
        person.send()
        yield "demand sent"
        person.reach("an offer", order_id, lambda order: bool(order.offers))
        yield "offer there"
        person.select(order_id)
        person.send()
        yield "selection sent"
        person.reach_state(order_id, "AUTHORIZED")
        yield "voucher there"

    def _supply(self, order_id: OrderId) -> Iterator[str]:
        person, address = self.person, self.shop.address_of(self.person, order_id)
        person.start(order_id, address)
        yield "started at the device"
        person.send()
        yield "start told"
        person.reach("a reading", order_id, lambda order: bool(person.readings(order_id)))
        yield "supplying"
        person.end(order_id, address)
        yield "ended at the device"
        person.send()
        yield "end told"

    def _service(self, order_id: OrderId) -> Iterator[str]:
        person, shop = self.person, self.shop
        person.start(order_id, shop.address_of(person, order_id))
        yield "checked in"
        person.send()
        yield "start told"
        until("the check-in", lambda: shop.document(order_id).state == "ACTIVE")
        number = shop.document(order_id).number
        shop.has_done(ProposeWork(number, [Item("tyre", 1)]))
        yield "amendment proposed"
        person.reach("extra work", order_id, lambda order: order.waiting_amendment is not None)
        person.answer_amendment(order_id)
        person.send()
        yield "approved"
        until("the approval", lambda: all(line.approved for line in shop.document(order_id).amendments))
        shop.has_done(AskSettlement(number, None, WORKED_S))
        yield "settlement asked"
        person.reach("a request", order_id, lambda order: order.waiting_settlement is not None)
        person.confirm(order_id)
        person.send()
        yield "answered"


def walk_with_kill(
    walk: Walk,
    at: str,
    kill: Callable[[], None],
    restart: Callable[[], None],
    not_needed_after: Collection[str] = BEFORE_A_DEVICE,
) -> OrderId:
    """Take an order to its end, killing something at a step and starting it again when its help is needed next."""
    walk.shop.wait_until_online()
    is_down, order_id = False, None
    for step, order_id in walk.steps():  # noqa: B007 - the last one is the result
        if step == at:
            kill()
            is_down = True
        if is_down and step not in not_needed_after:
            restart()
            is_down = False
    assert order_id is not None
    return order_id


def require_one_proved_bill(shop: Depot, person: Person, order_id: OrderId) -> None:
    """Hold an order to one charge, in the cloud and as its user proves it."""
    require_settled_once(shop.cluster, order_id)
    assert person.look(order_id).proved
