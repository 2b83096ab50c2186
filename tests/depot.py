"""A depot in a cluster: outlets and locks as processes, and people whose terminals run in the test's own process.

A `Person` opens its home anew for each act, as a command does, so that nothing outlives an act but the journal.
"""

import asyncio
import os
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from energyshare.errors import Unavailable
from energyshare.messages import Demand
from energyshare.v1 import operator_pb2 as pb
from energyshare.values import (
    DurationS,
    EnergyWh,
    Instant,
    Kind,
    Metres,
    Minor,
    OrderId,
    PartKind,
    Place,
    RequestId,
    id_text,
    later,
)
from terminals.device.client import DeviceClient
from terminals.device.memory_file import SessionEvidence
from terminals.journal import KeptPart
from terminals.user.orders import OPEN, UserOrder
from terminals.user.terminal import UserTerminal, opened
from tests.cluster import DAY_TARIFF, RENTAL_TARIFF, Cluster, Daemon, cluster, free_port, until

PLACE = Place.of_degrees("22.5431", "114.0579")
OUTLET_POWER_W, LOCK_POWER_W, CAPACITY_WH = 600_000, 36_000, 200_000
SITE = """
[[tariffs]]
name = "day"
file = "day.json"
[[tariffs]]
name = "rent"
file = "rent.json"
[offers]
poll_s = 0.2
{offers}
[[sites]]
station = "Depot"
latitude = "22.5431"
longitude = "114.0579"
time_zone = "Asia/Shanghai"
"""
OUTLET = """
[[sites.assets]]
name = "{name}"
kind = "outlet"
tariff = "day"
power_w = {power_w}
address = "127.0.0.1:{port}"
"""
LOCK = """
[[sites.assets]]
name = "{name}"
kind = "battery"
tariff = "rent"
power_w = {power_w}
capacity_wh = {capacity_wh}
deposit = "200.00"
address = "127.0.0.1:{port}"
"""


def system_now() -> Instant:
    """Read this machine's clock, which the processes read too."""
    return Instant(time.time_ns() // 1_000)


@dataclass(slots=True)
class Depot:
    """A cluster with the provider `depot`, its devices, and whoever was added."""

    cluster: Cluster
    provider: Daemon
    ports: dict[str, int]
    devices: dict[str, Daemon] = field(default_factory=dict)

    def address(self, device: str) -> str:
        """Give where a device answers."""
        return f"127.0.0.1:{self.ports[device]}"

    def start_device(self, device: str) -> Daemon:
        """Start a device on its port."""
        self.devices[device] = self.cluster.start_device(device, self.ports[device])
        return self.devices[device]

    def restart_cloud(self) -> None:
        """Start the cloud again."""
        self.cluster.start_cloud()

    def kill_cloud(self) -> None:
        """End the cloud as a power cut would."""
        assert self.cluster.cloud is not None
        self.cluster.cloud.kill()

    def restart_provider(self) -> None:
        """Start the provider's daemon again."""
        self.provider = self.cluster.start_provider("depot")

    def address_of(self, person: "Person", order_id: OrderId) -> str:
        """Give where the device of a person's selected offer answers."""
        order = person.look(order_id)
        assert order.selected is not None
        with opened(person.home, system_now, read_only=True) as me:
            return self.address(me.offer(order_id, order.selected).asset.name)

    def evidence(self, person: "Person", order_id: OrderId) -> tuple[SessionEvidence, ...]:
        """Ask the device of a person's order what it has signed."""

        async def asked() -> tuple[SessionEvidence, ...]:
            async with DeviceClient(self.address_of(person, order_id)) as client:
                return (await client.evidence(order_id))[0]

        return asyncio.run(asked())

    def add_person(self, name: str, top_up_minor: int) -> "Person":
        """Enroll a user and pay in for it."""
        self.cluster.add_user(name)
        person = Person(self.cluster, name)
        if top_up_minor:
            person.act(lambda me: me.top_up(RequestId(os.urandom(16)), Minor(top_up_minor), me.identity.currency))
        return person

    def wait_until_online(self) -> None:
        """Wait until the provider is connected; only then is it asked for offers."""
        until("the provider's stream", self._is_online)

    def _is_online(self) -> bool:
        terminals = self.cluster.ask("ListTerminals", pb.ListTerminalsRequest()).terminals
        return any(terminal.online for terminal in terminals if terminal.role == "provider")


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
            return asyncio.run(deed(me))

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
        demand = Demand(
            kinds=(kind,),
            place=PLACE,
            radius_m=Metres(1_000),
            energy_wh=None if energy_wh is None else EnergyWh(energy_wh),
            duration_s=None if duration_s is None else DurationS(duration_s),
            service_items=(),
            needed_by_time=later(system_now(), 600),
            price_max_minor=None,
            time_to_live_s=DurationS(wait_s),
            connector=None,
        )
        with opened(self.home, system_now) as me:
            return me.demand(demand)

    def demand_offers(self, kind: Kind, **wanted: Any) -> OrderId:
        """Make a demand and wait for an offer."""
        order_id = self.demand(kind, **wanted)
        self.reach("an offer", order_id, lambda order: bool(order.offers))
        return order_id

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

    def reach(self, what: str, order_id: OrderId, holds: Callable[[UserOrder], bool], within_s: float = 20) -> None:
        """Exchange messages until the order is as wanted."""
        self._exchange(what, lambda me: holds(me.order(order_id)), within_s)

    def reach_state(self, order_id: OrderId, *states: str) -> None:
        """Exchange messages until the order is in one of some states."""
        self.reach(" or ".join(states), order_id, lambda order: order.state in states)

    def send(self) -> None:
        """Exchange messages until the cloud has acknowledged all that waits."""
        self._exchange("an acknowledgement of all", lambda me: not me.has_unsent, 20)

    def carry_on(self, shop: Depot, order_id: OrderId) -> str:
        """Take an order from where it stands to its end, as one who types what `status` says; gives its last state."""
        while (state := self.look(order_id).state) in OPEN:
            match state:
                case "DEMANDED":
                    self.reach("an offer", order_id, lambda order: bool(order.offers) or order.state not in OPEN)
                    if self.look(order_id).state == "DEMANDED":
                        self.select(order_id)
                case "SELECTED":
                    self.reach("an answer", order_id, lambda order: order.state != "SELECTED")
                case "AUTHORIZED":
                    self.start(order_id, shop.address_of(self, order_id))
                case "ACTIVE":
                    self.end(order_id, shop.address_of(self, order_id))
                case "ENDING":
                    self.reach("a bill", order_id, lambda order: order.state != "ENDING")
        return state

    def _exchange(self, what: str, holds: Callable[[UserTerminal], bool], within_s: float) -> None:
        def held() -> bool:
            with opened(self.home, system_now) as me:
                try:
                    return asyncio.run(me.sync(lambda: holds(me), 2.0))
                except Unavailable:
                    return False

        until(f"{self.name}: {what}", held, within_s)


def require_settled_once(cluster: Cluster, order_id: OrderId) -> pb.GetOrderResponse:
    """Hold an order to one hold, one charge that is paid out whole, and the ledger to its laws; gives the order."""
    shown: pb.GetOrderResponse = cluster.ask("GetOrder", pb.GetOrderRequest(order=id_text(order_id)))
    assert shown.order.state == "SETTLED", shown
    moved = Counter((row.reason, row.flag) for row in shown.money)
    assert moved["HOLD", "PENDING"] == 1, shown.money
    assert moved["CHARGE", "POST_PENDING"] == 1, shown.money
    assert max(moved.values()) == 1, shown.money
    assert escrow_of(shown) == 0
    require_lawful(cluster)
    return shown


def escrow_of(shown: pb.GetOrderResponse) -> int:
    """Give what is left in an order's escrow, minor units; what only pends does not count."""
    posted = [row for row in shown.money if row.flag != "PENDING"]
    inward = sum(row.amount_minor for row in posted if row.credit_account.startswith("escrow:"))
    return inward - sum(row.amount_minor for row in posted if row.debit_account.startswith("escrow:"))


def require_lawful(cluster: Cluster) -> None:
    """Hold the ledger to its laws, and each settled order to one charge record."""
    checked = cluster.ask("CheckLedger", pb.CheckLedgerRequest())
    assert checked.fault == ""
    settled = cluster.ask("ListOrders", pb.ListOrdersRequest(state="SETTLED", page_size=1_000)).orders
    assert checked.charge_records == len(settled)


@contextmanager
def depot(outlets: int = 0, locks: int = 0, offers: str = "", settings: dict[str, str] | None = None) -> Iterator[Depot]:
    """Give a depot whose provider and devices run."""
    names = {f"outlet-{n}": "outlet" for n in range(1, outlets + 1)} | {f"lock-{n}": "battery" for n in range(1, locks + 1)}
    ports = {name: free_port() for name in names}
    assets = (
        (OUTLET if kind == "outlet" else LOCK).format(
            name=name,
            port=ports[name],
            power_w=OUTLET_POWER_W if kind == "outlet" else LOCK_POWER_W,
            capacity_wh=CAPACITY_WH,
        )
        for name, kind in names.items()
    )
    with cluster(settings) as one:
        config = SITE.format(offers=offers) + "".join(assets)
        provider = one.add_provider("depot", config, {"day.json": DAY_TARIFF, "rent.json": RENTAL_TARIFF})
        made = Depot(one, provider, ports)
        for name, kind in names.items():
            power = ["--power-w", str(OUTLET_POWER_W if kind == "outlet" else LOCK_POWER_W)]
            capacity = ["--capacity-wh", str(CAPACITY_WH)] if kind == "battery" else []
            one.enroll_device(name, "depot", kind, *power, *capacity)
            made.start_device(name)
        yield made
