"""A provider's home with a worker's beside it, as enrolling leaves them; the cloud is only the far end of a link."""

import dataclasses
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from energyshare.bodies import Asset, VoucherBody
from energyshare.messages import DemandNotice, Message, Offer, Voucher
from energyshare.records import replace
from energyshare.signing import Label, SigningKey, derive_id
from energyshare.values import DeviceId, Instant, Kind, OrderId, Role, later
from energyshare.wire import decode_presentable, peek
from terminals.device.home import furnish
from terminals.device.settings import WORKER as WORKER_SETTINGS
from terminals.provider.terminal import ProviderTerminal, opened
from tests.cluster import free_port
from tests.device.world import ISSUER, OWNER, grant
from tests.journals import enrolled_home
from tests.provider_world import CALLOUT, HELP
from tests.terminals_world import DEMAND, NOW, PROVIDER, TARIFF, Wire, award, of
from tests.terminals_world import identity as enrolled_identity

WORKER_KEY = SigningKey(b"w" * 32)
WORKER_ID = DeviceId(derive_id(Label.DEVICE_ID, OWNER, "worker-1"))
CONFIG = """
[[tariffs]]
name = "day"
file = "day.json"
[[tariffs]]
name = "callout"
file = "callout.json"
[offers]
poll_s = 0.05
[[sites]]
station = "Depot"
latitude = "22.5431"
longitude = "114.0579"
time_zone = "Asia/Shanghai"
[[sites.assets]]
name = "outlet-1"
kind = "outlet"
tariff = "day"
power_w = 1000
connector = "GBT_AC"
[[sites.assets]]
name = "worker-1"
kind = "service"
tariff = "callout"
device_home = "worker-1"
listen = "127.0.0.1:7460"
"""


@dataclass
class Place:
    """A provider's home, its configuration, and what its terminal has said so far."""

    folder: Path
    now: Instant = NOW
    wire: Wire | None = None
    orders: int = 0
    port: int = field(default_factory=free_port)
    clock: Callable[[], Instant] = field(init=False)

    def __post_init__(self) -> None:
        self.clock = lambda: self.now
        (self.folder / "day.json").write_bytes(TARIFF)
        (self.folder / "callout.json").write_bytes(CALLOUT)
        self.configure(CONFIG)
        enrolled_home(self.home, NOW, dataclasses.replace(PROVIDER, name="depot"), ISSUER)
        make_worker(self.folder / "worker-1")

    @property
    def home(self) -> Path:
        """The provider's home."""
        return self.folder / "home"

    @property
    def config(self) -> Path:
        """The provider's configuration."""
        return self.folder / "depot.toml"

    def configure(self, text: str) -> None:
        """Write the configuration; its worker listens on a port that was free a moment ago."""
        self.config.write_text(text.replace(":7460", f":{self.port}"))

    @contextmanager
    def opened(self) -> Iterator[ProviderTerminal]:
        """Open the terminal, and join the cloud's end of its link to it."""
        with opened(self.home, self.config, self.clock) as terminal:
            before = self.wire
            self.wire = Wire(terminal._terminal, terminal._orders)
            if before is not None:
                self.wire.far, self.wire.numbers = before.far, before.numbers
            yield terminal

    def tell(self, order_id: OrderId | None, *messages: Message) -> list[Message]:
        """Have messages delivered; gives what is said then."""
        assert self.wire is not None
        return self.wire.tell(order_id, *messages)

    def offered(self, terminal: ProviderTerminal, kind: Kind = Kind.SERVICE) -> tuple[OrderId, bytes]:
        """Have an order demanded; gives it and the signed offer."""
        self.orders += 1
        order_id = OrderId(self.orders.to_bytes(16, "big"))
        demand = replace(HELP if kind is Kind.SERVICE else DEMAND, needed_by_time=later(self.now, 3_600))
        asset_id = asset_of(terminal, kind).asset_id
        [offer] = of(Offer, self.tell(order_id, DemandNotice(demand, (asset_id,), later(self.now, 60))))
        return order_id, offer.offer

    def authorized(self, terminal: ProviderTerminal, kind: Kind = Kind.SERVICE) -> tuple[OrderId, bytes]:
        """Take an order as far as its voucher; gives it and the presentable."""
        order_id, offer = self.offered(terminal, kind)
        [voucher] = of(Voucher, self.tell(order_id, award(offer)))
        assert peek(VoucherBody, decode_presentable(voucher.presentable).voucher).order_id == order_id
        return order_id, voucher.presentable


def asset_of(terminal: ProviderTerminal, kind: Kind) -> Asset:
    """Give the asset of a kind."""
    return next(asset for asset in terminal.assets() if asset.kind is kind)


def make_worker(home: Path, device: DeviceId = WORKER_ID) -> None:
    """Make a worker's home as enrolling leaves it."""
    signed = grant(device, Role.DEVICE, WORKER_KEY, OWNER)
    enrolled_home(
        home,
        NOW,
        dataclasses.replace(enrolled_identity("device", device, OWNER, WORKER_KEY, signed), name=home.name),
        WORKER_KEY,
    )
    furnish(home, WORKER_SETTINGS, NOW)
