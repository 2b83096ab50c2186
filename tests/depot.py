"""A depot in a cluster: a provider with outlets, locks and workers, and what an order must have come to."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from energyshare.v1 import operator_pb2 as pb
from energyshare.values import (
    Minor,
    OrderId,
    id_text,
)
from terminals.device.client import DeviceClient
from terminals.device.memory_file import SessionEvidence
from terminals.provider.acts import Act, Facts
from terminals.provider.asking import looking
from terminals.provider.control import call
from terminals.provider.documents import OrderDocument, documents
from terminals.user.terminal import opened
from tests.cluster import (
    CALLOUT_TARIFF,
    DAY_TARIFF,
    RENTAL_TARIFF,
    Cluster,
    Daemon,
    await_here,
    cluster,
    free_port,
    until,
)
from tests.person import Person, system_now

NAME = "depot"
TARIFFS = {"day.json": DAY_TARIFF, "rent.json": RENTAL_TARIFF, "callout.json": CALLOUT_TARIFF}
POWER_W, CAPACITY_WH = 600_000, 200_000
HEAD = """
[[tariffs]]
name = "day"
file = "day.json"
[[tariffs]]
name = "rent"
file = "rent.json"
[[tariffs]]
name = "callout"
file = "callout.json"
[offers]
poll_s = 0.2
{offers}
"""
SITE = """
[[sites]]
station = "{station}"
latitude = "22.5431"
longitude = "114.0579"
time_zone = "Asia/Shanghai"
{hours}
"""
OUTLET = """
[[sites.assets]]
name = "{name}"
kind = "outlet"
tariff = "day"
power_w = {power_w}
{address}
"""
LOCK = """
[[sites.assets]]
name = "{name}"
kind = "battery"
tariff = "rent"
power_w = {power_w}
capacity_wh = {capacity_wh}
deposit = "200.00"
{address}
"""
WORKER = """
[[sites.assets]]
name = "{name}"
kind = "service"
tariff = "callout"
device_home = "{name}"
listen = "127.0.0.1:{port}"
"""
ENTRIES = {"outlet": OUTLET, "lock": LOCK, "worker": WORKER}
ENROLLED = {
    "outlet": ("outlet", "--power-w", str(POWER_W)),
    "lock": ("battery", "--power-w", str(POWER_W), "--capacity-wh", str(CAPACITY_WH)),
    "worker": ("service",),
}
"""What devices are enrolled with, by the kind in their names."""


@dataclass(slots=True)
class Depot:
    """A cluster with the provider `depot`, its devices, and whoever was added; workers are served by its daemon.

    Devices in the cellar are a station of their own, and the daemon can't reach them.
    """

    cluster: Cluster
    ports: dict[str, int]
    cellar: Sequence[str] = ()
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
        self.cluster.start_provider(NAME)

    @property
    def provider(self) -> Daemon:
        """The provider's daemon that was started last."""
        return next(daemon for daemon in reversed(self.cluster.daemons) if daemon.name == NAME)

    def types(self, *arguments: str) -> Any:
        """Run a command of the provider's; gives its JSON."""
        return self.cluster.run("energyshare-provider", *arguments, home=NAME)

    def configure(self, offers: str = "", hours: str = "", tariffs: Mapping[str, Any] = TARIFFS) -> None:
        """Write the provider's configuration; `offers` and `hours` are lines for these places in it."""
        depot = "".join(self._entry(name) for name in self.ports if name not in self.cellar)
        cellar = "".join(self._entry(name) for name in self.cellar)
        sites = [SITE.format(station="Depot", hours=hours) + depot]
        if cellar:
            sites.append(SITE.format(station="Cellar", hours=hours) + cellar)
        self.cluster.configure_provider(NAME, HEAD.format(offers=offers) + "".join(sites), tariffs)

    def _entry(self, name: str) -> str:
        port = self.ports[name]
        address = "" if name in self.cellar else f'address = "127.0.0.1:{port}"'
        entry = ENTRIES[_kind(name)]
        return entry.format(name=name, port=port, address=address, power_w=POWER_W, capacity_wh=CAPACITY_WH)

    def has_done(self, act: Act) -> Facts:
        """Have the provider's daemon do an act, as its commands do; gives the facts of it."""
        return call(self.cluster.home(NAME), act)

    def document(self, order_id: OrderId) -> OrderDocument:
        """Read what the provider knows of an order."""
        with looking(self.cluster.home(NAME)) as (_, journal):
            return dict(documents(journal)).get(order_id, OrderDocument())

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
    """Hold an order to one hold, one charge that is paid out whole, and the ledger to its laws; gives the order.

    Extra work that was approved replaces the hold by a higher one.
    """
    shown: pb.GetOrderResponse = cluster.ask("GetOrder", pb.GetOrderRequest(order=id_text(order_id)))
    assert shown.order.state == "SETTLED", shown
    moved = Counter((row.reason, row.flag) for row in shown.money)
    raised = sum(entry.event == "AmendmentAnswered" and entry.note == "approved" for entry in shown.timeline)
    assert (moved.pop(("HOLD", "PENDING")), moved.pop(("RELEASE", "VOID_PENDING"), 0)) == (1 + raised, raised), shown.money
    assert moved["CHARGE", "POST_PENDING"] == 1, shown.money
    assert max(moved.values()) == 1, shown.money
    assert escrow_of(shown) == 0
    assert len(shown.charge_records) == 1
    require_lawful(cluster)
    return shown


def escrow_of(shown: pb.GetOrderResponse) -> int:
    """Give what is left in an order's escrow, minor units; what only pends, or was given back of that, does not count."""
    posted = [row for row in shown.money if row.flag not in ("PENDING", "VOID_PENDING")]
    inward = sum(row.amount_minor for row in posted if row.credit_account.startswith("escrow:"))
    return inward - sum(row.amount_minor for row in posted if row.debit_account.startswith("escrow:"))


def require_lawful(cluster: Cluster) -> None:
    """Hold the ledger to its laws; one of them is that each billed order has one charge record which corrects no other."""
    assert cluster.ask("CheckLedger", pb.CheckLedgerRequest()).fault == ""


@contextmanager
def depot(
    outlets: int = 0,
    locks: int = 0,
    workers: int = 0,
    offers: str = "",
    settings: dict[str, str] | None = None,
    cellar: Sequence[str] = (),
) -> Iterator[Depot]:
    """Give a depot whose provider and devices run; `cellar` names those that the provider's daemon can't reach."""
    counts = {"outlet": outlets, "lock": locks, "worker": workers}
    names = [f"{kind}-{n}" for kind, count in counts.items() for n in range(1, count + 1)]
    with cluster(settings) as one:
        made = Depot(one, {name: free_port() for name in names}, cellar)
        one.enroll_provider(NAME)
        for name in names:
            one.enroll_device(name, NAME, *ENROLLED[_kind(name)])
        made.configure(offers)
        made.restart_provider()
        for name in names:
            if _kind(name) != "worker":
                made.start_device(name)
        yield made


def _kind(name: str) -> str:
    return name.partition("-")[0]
