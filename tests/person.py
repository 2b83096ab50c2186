"""People whose terminals run in the test's own process.

A `Person` opens its home anew for each act, as a command does, so that nothing outlives an act but the journal.
"""

import time
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from energyshare.bodies import ServiceItem
from energyshare.errors import Unavailable
from energyshare.messages import Demand
from energyshare.values import DurationS, EnergyWh, Instant, Kind, Metres, Minor, OrderId, PartKind, Place, later
from terminals.journal import KeptPart
from terminals.user.orders import OPEN, UserOrder
from terminals.user.terminal import UserTerminal, opened
from tests.cluster import Cluster, await_here, until

PLACE = Place.of_degrees("22.5431", "114.0579")


def system_now() -> Instant:
    """Read this machine's clock, which the processes read too."""
    return Instant(time.time_ns() // 1_000)


@dataclass(frozen=True, slots=True)
class Person:
    """A user with a home of the cluster."""

    cluster: Cluster
    name: str

    @property
    def home(self) -> Path:
        """The user's home."""
        return self.cluster.home(self.name)

    def act(self, deed: Callable[[UserTerminal], Coroutine[Any, Any, Any]]) -> Any:
        """Open the home, do one thing, close it."""
        with opened(self.home, system_now) as me:
            return await_here(deed(me))

    def look(self, order_id: OrderId) -> UserOrder:
        """Read what the user knows of an order."""
        with opened(self.home, system_now, read_only=True) as me:
            return me.order(order_id)

    def readings(self, order_id: OrderId) -> list[KeptPart]:
        """Give the readings that the user has heard of."""
        with opened(self.home, system_now, read_only=True) as me:
            return me.journal.parts(order_id, PartKind.READING)

    def orders(self) -> list[tuple[OrderId, UserOrder]]:
        """Read all that the user knows."""
        with opened(self.home, system_now, read_only=True) as me:
            return me.orders()

    def demand(self, kind: Kind, energy_wh: int | None = 200, duration_s: int | None = None, wait_s: int = 20) -> OrderId:
        """Say what is needed; it waits in the journal until `reach`."""
        return self.demand_kinds(kind, energy_wh=energy_wh, duration_s=duration_s, wait_s=wait_s)

    def demand_kinds(
        self,
        *kinds: Kind,
        items: Mapping[str, int] | None = None,
        energy_wh: int | None = 200,
        duration_s: int | None = None,
        wait_s: int = 20,
    ) -> OrderId:
        """Say what is needed, of one kind or several; `items` are quantities by name, for a service."""
        demand = Demand(
            kinds=kinds,
            place=PLACE,
            radius_m=Metres(1_000),
            energy_wh=None if energy_wh is None else EnergyWh(energy_wh),
            duration_s=None if duration_s is None else DurationS(duration_s),
            service_items=tuple(ServiceItem(name, quantity) for name, quantity in (items or {}).items()),
            needed_by_time=later(system_now(), 600),
            price_max_minor=None,
            time_to_live_s=DurationS(wait_s),
            connector=None,
        )
        with opened(self.home, system_now) as me:
            return me.demand(demand)

    def demand_offers(self, *kinds: Kind, **wanted: Any) -> OrderId:
        """Make a demand and wait for an offer of each kind."""
        order_id = self.demand_kinds(*kinds, **wanted)
        self.reach("an offer", order_id, lambda order: set(kinds) <= self.offered_kinds(order_id).keys())
        return order_id

    def offered_kinds(self, order_id: OrderId) -> dict[Kind, int]:
        """Give the number of the first offer of each kind."""
        with opened(self.home, system_now, read_only=True) as me:
            lines = me.order(order_id).offers
            kinds = [me.offer(order_id, line.digest).asset.kind for line in lines]
        return {kind: kinds.index(kind) + 1 for kind in kinds}

    def offered_assets(self, order_id: OrderId) -> list[str]:
        """Give the names of the assets that are offered, in the order in which the offers came."""
        with opened(self.home, system_now, read_only=True) as me:
            return [me.offer(order_id, line.digest).asset.name for line in me.order(order_id).offers]

    def select_asset(self, order_id: OrderId, asset: str) -> None:
        """Wait until an asset is offered, select it, and wait for its voucher."""
        self.reach(f"an offer of {asset}", order_id, lambda order: asset in self.offered_assets(order_id))
        self.select(order_id, self.offered_assets(order_id).index(asset) + 1)
        self.reach_state(order_id, "AUTHORIZED")

    def select(self, order_id: OrderId, offer: int = 1) -> None:
        """Select an offer; it waits in the journal until `reach`."""
        with opened(self.home, system_now) as me:
            me.select(order_id, offer)

    def start(self, order_id: OrderId, address: str) -> None:
        """Open the device; the cloud hears of it with `reach`."""
        self.act(lambda me: me.start(order_id, address))

    def end(self, order_id: OrderId, address: str | None) -> None:
        """End at the device, or from afar; the cloud hears of it with `reach`."""
        self.act(lambda me: me.end(order_id, address))

    def cancel(self, order_id: OrderId, reason: str = "TOO_FAR", address: str | None = None) -> None:
        """Call an order off, at the device or from afar; the cloud hears of it with `reach`."""
        self.act(lambda me: me.cancel(order_id, reason, address))

    def answer_amendment(self, order_id: OrderId, number: int = 1, approve: bool = True) -> None:
        """Answer extra work; the cloud hears of it with `reach`."""
        with opened(self.home, system_now) as me:
            me.answer_amendment(order_id, number, approve)

    def confirm(self, order_id: OrderId) -> None:
        """Confirm what is asked for a service; the cloud hears of it with `reach`."""
        with opened(self.home, system_now) as me:
            me.confirm(order_id)

    def refuse(self, order_id: OrderId, disputed_minor: int) -> None:
        """Dispute an amount of what is asked for a service; the cloud hears of it with `reach`."""
        with opened(self.home, system_now) as me:
            me.refuse(order_id, Minor(disputed_minor))

    def dispute(self, order_id: OrderId, amount_minor: int, reason: str = "it stopped half way") -> None:
        """Dispute an amount of a bill; the cloud hears of it with `reach`."""
        with opened(self.home, system_now) as me:
            me.dispute(order_id, Minor(amount_minor), reason)

    def reach(self, what: str, order_id: OrderId, holds: Callable[[UserOrder], bool], within_s: float = 20) -> None:
        """Exchange messages until the order is as wanted."""
        self._exchange(what, lambda me: holds(me.order(order_id)), within_s)

    def reach_state(self, order_id: OrderId, *states: str) -> None:
        """Exchange messages until the order is in one of some states."""
        self.reach(" or ".join(states), order_id, lambda order: order.state in states)

    def send(self) -> None:
        """Exchange messages until the cloud has acknowledged all that waits."""
        self._exchange("an acknowledgement of all", lambda me: not me.has_unsent, 20)

    def carry_on(self, address_of: Callable[["Person", OrderId], str], order_id: OrderId) -> str:
        """Take an order from where it stands to its end, as one who types what `status` says; gives its last state.

        Extra work is approved, and what is asked for a service is confirmed.
        """
        while (order := self.look(order_id)).state in OPEN:
            match order.state:
                case "DEMANDED" if order.offers:
                    self.select(order_id)
                case "DEMANDED":
                    self.reach("an offer", order_id, lambda now: bool(now.offers) or now.state not in OPEN)
                case "SELECTED":
                    self.reach("an answer", order_id, lambda now: now.state != "SELECTED")
                case "AUTHORIZED":
                    self.start(order_id, address_of(self, order_id))
                case "ACTIVE" if order.waiting_amendment is not None:
                    self.answer_amendment(order_id, order.waiting_amendment.number)
                case "ACTIVE" if order.kind == "SERVICE":
                    self.reach("news of the work", order_id, lambda now: now.state != "ACTIVE" or _is_asked(now))
                case "ACTIVE":
                    self.end(order_id, address_of(self, order_id))
                case "ENDING" if order.waiting_settlement is not None:
                    self.confirm(order_id)
                case "ENDING":
                    self.reach("a bill", order_id, lambda now: now.state != "ENDING" or _is_asked(now))
        return order.state

    def _exchange(self, what: str, holds: Callable[[UserTerminal], bool], within_s: float) -> None:
        def held() -> bool:
            with opened(self.home, system_now) as me:
                try:
                    return await_here(me.sync(lambda: holds(me), 2.0))
                except Unavailable:
                    return False

        until(f"{self.name}: {what}", held, within_s)


def _is_asked(order: UserOrder) -> bool:
    return order.waiting_amendment is not None or order.waiting_settlement is not None
