"""A depot in a cluster: a provider with outlets and locks as processes, and what an order must have come to."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from energyshare.v1 import operator_pb2 as pb
from energyshare.values import (
    Minor,
    OrderId,
    id_text,
)
from terminals.device.client import DeviceClient
from terminals.device.memory_file import SessionEvidence
from terminals.user.terminal import opened
from tests.cluster import DAY_TARIFF, RENTAL_TARIFF, Cluster, Daemon, await_here, cluster, free_port, until
from tests.person import Person, system_now

POWER_W, CAPACITY_WH = 600_000, 200_000
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

    def address_of(self, person: Person, order_id: OrderId) -> str:
        """Give where the device of a person's selected offer answers."""
        return self.address(self.device_of(person, order_id))

    def device_of(self, person: Person, order_id: OrderId) -> str:
        """Give the name of the device of a person's selected offer."""
        order = person.look(order_id)
        assert order.selected is not None
        with opened(person.home, system_now, read_only=True) as me:
            return me.offer(order_id, order.selected).asset.name

    def evidence(self, device: str) -> tuple[SessionEvidence, ...]:
        """Ask a device what it has signed."""

        async def asked() -> tuple[SessionEvidence, ...]:
            async with DeviceClient(self.address(device)) as client:
                return (await client.evidence())[0]

        return await_here(asked())

    def add_person(self, name: str, top_up_minor: int) -> Person:
        """Enroll a user and pay in for it."""
        self.cluster.add_user(name)
        person = Person(self.cluster, name)
        if top_up_minor:
            person.act(lambda me: me.top_up(Minor(top_up_minor)))
        return person

    def wait_until_online(self) -> None:
        """Wait until the provider is connected; only then is it asked for offers."""
        until("the provider's stream", self._is_online)

    def _is_online(self) -> bool:
        terminals = self.cluster.ask("ListTerminals", pb.ListTerminalsRequest()).terminals
        return any(terminal.online for terminal in terminals if terminal.role == "provider")


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
            power_w=POWER_W,
            capacity_wh=CAPACITY_WH,
        )
        for name, kind in names.items()
    )
    with cluster(settings) as one:
        config = SITE.format(offers=offers) + "".join(assets)
        provider = one.add_provider("depot", config, {"day.json": DAY_TARIFF, "rent.json": RENTAL_TARIFF})
        made = Depot(one, provider, ports)
        for name, kind in names.items():
            power = ["--power-w", str(POWER_W)]
            capacity = ["--capacity-wh", str(CAPACITY_WH)] if kind == "battery" else []
            one.enroll_device(name, "depot", kind, *power, *capacity)
            made.start_device(name)
        yield made
