"""Terminals in one process: a real journal and real keys, a cloud that is only the frames of a link, a device that is real."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from energyshare.bodies import Asset, OfferBody, SelectionBody, VoucherBody
from energyshare.charging import hold_of
from energyshare.messages import Award, Demand, DemandNotice, Inventory, Message, Offer, Voucher
from energyshare.records import replace
from energyshare.signing import Label, SigningKey, digest
from energyshare.values import (
    AssetId,
    AssetState,
    Connector,
    Currency,
    DeviceId,
    Digest,
    DurationS,
    EnergyWh,
    Epoch,
    Instant,
    Kind,
    Metres,
    Minor,
    Number,
    OrderId,
    Percent,
    Place,
    PowerW,
    later,
)
from energyshare.wire import Envelope, decode_envelope, decode_presentable, encode_envelope, peek, seal
from terminals.device.hardware import Hardware, MeterFile, new_totals
from terminals.device.machine import Parts
from terminals.device.memory import Profile, fresh_memory
from terminals.device.memory_file import MemoryFile
from terminals.device.settings import Settings
from terminals.identity import Identity
from terminals.journal import Journal
from terminals.link import Conversation, Link, MemoryStore, Opened, Refusal, Unreadable
from terminals.provider.catalog import Catalog
from terminals.provider.config import Offers
from terminals.provider.devices import DeviceReader
from terminals.provider.inventory import tell_inventory
from terminals.provider.orders import OrderDocument, ProviderOrders
from terminals.stream import Handler, Terminal
from tests.device.test_server import serving
from tests.device.world import (
    DEVICE,
    DEVICE_GRANT,
    DEVICE_KEY,
    HOLDER,
    ISSUER,
    ISSUER_GRANT,
    OWNER,
    PLATFORM_GRANT,
    ROOT,
    T0,
    World,
)

M = TypeVar("M", bound=Message)
CNY = Currency("CNY")
NOW = Instant(T0 * 1_000_000)
ORDER, OTHER_ORDER = OrderId(b"\x01" * 16), OrderId(b"\x02" * 16)
NOWHERE = "127.0.0.1:1"  # nothing listens there
TARIFF = b'{"currency":"CNY","elements":[{"price_components":[{"type":"ENERGY","price":"1.20","vat":"13","step_size":1}]}]}'
OUTLET = Asset(
    asset_id=AssetId(b"A" * 16),
    device_id=DEVICE,
    station="Depot",
    name="outlet-1",
    kind=Kind.ENERGY,
    place=Place(225_431_000, 1_140_579_000),
    connector=Connector.GBT_AC,
    power_w=PowerW(1_000),
    capacity_wh=EnergyWh(0),
    soc_pct=None,
    soh_pct=None,
    time_zone="Asia/Shanghai",
    state=AssetState.AVAILABLE,
    version=Number(0),
    tariff_hash=digest(Label.TARIFF, TARIFF),
    deposit_minor=Minor(0),
)
BATTERY = replace(OUTLET, kind=Kind.BATTERY, name="lock-1", capacity_wh=EnergyWh(2_000), soc_pct=Percent(100))
DEMAND = Demand(
    kinds=(Kind.ENERGY, Kind.BATTERY),
    place=OUTLET.place,
    radius_m=Metres(1_000),
    energy_wh=EnergyWh(2_000),
    duration_s=DurationS(7_200),
    service_items=(),
    needed_by_time=later(NOW, 3_600),
    price_max_minor=None,
    time_to_live_s=DurationS(60),
    connector=None,
)


def identity(role: str, subject: bytes, owner: bytes, key: SigningKey, grant: bytes | None) -> Identity:
    """What a home holds after enrolling."""
    return Identity(
        role=role,
        subject_id=subject,
        owner_id=owner,
        name=role,
        key=key,
        root_key=ROOT.public,
        grant=grant,
        platform_grant=PLATFORM_GRANT,
        currency=CNY,
        stream_addresses=(NOWHERE,),
        enrollment_address=NOWHERE,
        certificate=b"-",
        tls_key=b"-",
        trust_bundle=b"-",
        home=Path("/nowhere"),
        certificate_not_before=NOW,
        certificate_not_after=Instant(NOW * 10),
    )


PROVIDER = identity("provider", OWNER, OWNER, ISSUER, ISSUER_GRANT)
USER = identity("user", b"u" * 16, b"a" * 16, HOLDER, None)


@dataclass
class Wire:
    """The cloud's end of a terminal's link; `numbers` are those of all envelopes that came."""

    terminal: Terminal
    handler: Handler
    numbers: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.far = Link(MemoryStore(), _encode, self._decode)

    def tell(self, order_id: OrderId | None, *messages: Message) -> list[Message]:
        """Have messages delivered; gives what the terminal says then."""
        for message in messages:
            self.far.say(order_id, message)
        asyncio.run(self._deliver())
        return self.listen()

    def listen(self) -> list[Message]:
        """Give what the terminal has said, and acknowledge it."""
        heard: list[Message] = []
        while (frame := self.terminal._link.next_frame()) is not None:
            self.far.take(frame, lambda _, message: _keep(heard, message), _no_refusal)
        asyncio.run(self._deliver())
        return heard

    @property
    def failures(self) -> str:
        """What the terminal could not handle, as it kept it aside."""
        return "\n".join(body.decode() for _, body in self.terminal.journal.documents("failed"))

    async def _deliver(self) -> None:
        while (frame := self.far.next_frame()) is not None:
            self.terminal._take(frame, self.handler)

    def _decode(self, raw: bytes) -> Opened:
        envelope = decode_envelope(raw)
        self.numbers.append(envelope.number)
        return Opened(envelope.order_id, envelope.number, envelope.message)


class Provider:
    """A provider's terminal over a journal file; `now` moves only when a test moves it."""

    def __init__(self, path: Path, asset: Asset = OUTLET, address: str | None = None, now: Instant = NOW) -> None:
        self.now, self.asset = now, asset
        self.journal = Journal(path)
        self.terminal = Terminal(PROVIDER, self.journal)
        catalog = Catalog({asset.asset_id: asset}, {asset.tariff_hash: TARIFF}, {DEVICE: address} if address else {})
        self.orders = ProviderOrders(self.terminal, catalog, Offers(), lambda: self.now)
        self.reader = DeviceReader(self.terminal, self.orders, lambda: self.now)
        self.wire = Wire(self.terminal, self.orders)
        with self.terminal.transaction():
            tell_inventory(self.terminal, catalog)

    def tell(self, *messages: Message, order_id: OrderId | None = ORDER) -> list[Message]:
        """Have messages of an order delivered; gives the answers."""
        return self.wire.tell(order_id, *messages)

    def document(self, order_id: OrderId = ORDER) -> OrderDocument:
        """Read what the provider knows of an order."""
        return self.orders.document(order_id)

    def offered(self, order_id: OrderId = ORDER) -> bytes:
        """Have an order demanded; gives the signed offer."""
        demand = replace(DEMAND, needed_by_time=later(self.now, 3_600))
        notice = DemandNotice(demand, (self.asset.asset_id,), later(self.now, 60))
        [offer] = of(Offer, self.tell(notice, order_id=order_id))
        return offer.offer

    def authorized(self, order_id: OrderId = ORDER) -> VoucherBody:
        """Take an order as far as its voucher."""
        [voucher] = of(Voucher, self.tell(award(self.offered(order_id)), order_id=order_id))
        return peek(VoucherBody, decode_presentable(voucher.presentable).voucher)

    def versions(self, heard: list[Message]) -> list[int]:
        """Give the versions of the asset in the inventories heard."""
        return [asset.version for told in of(Inventory, heard) for asset in told.assets]

    def visit(self, device: World | None = None) -> list[Message]:
        """Read the devices of orders under way; gives what is said then. Without a device nothing answers."""
        return self._at(device, self.reader.visit_all)

    def survey(self, device: World) -> list[Message]:
        """Ask a device for a challenge; gives what is said then."""
        return self._at(device, self.reader.survey)

    def _at(self, device: World | None, act: Callable[[], Awaitable[None]]) -> list[Message]:
        async def play() -> None:
            assert device is not None
            async with serving(device) as address:
                self.orders.catalog = replace(self.orders.catalog, addresses={DEVICE: address})
                await act()

        async def play_alone() -> None:
            await act()

        asyncio.run(play() if device else play_alone())
        return self.wire.listen()


def award(
    offer: bytes, order_id: OrderId | None = None, offer_hash: Digest | None = None, more: int = 0, by: SigningKey = HOLDER
) -> Award:
    """The holder's selection of an offer; `more` is added to its hold."""
    body = peek(OfferBody, offer)
    hashed = offer_hash or seal(body, ISSUER).digest
    selection = SelectionBody(order_id or body.order_id, hashed, Minor(hold_of(body) + more), CNY, NOW)
    return Award(seal(selection, by).signed, HOLDER.public)


@dataclass
class Equipment(World):
    """A device that may be another, another provider's, or have had its memory reset."""

    epoch: int = 1
    device: DeviceId = DEVICE
    grant: bytes = DEVICE_GRANT

    def __post_init__(self) -> None:
        MemoryFile.create(self.home / "memory.db", fresh_memory(Epoch(self.epoch), Instant(self.host_us))).close()
        MeterFile.create(self.home / "meter.json", new_totals(self.settings))
        self.restart()

    @property
    def settings(self) -> Settings:
        return replace(super().settings, epoch=Epoch(self.epoch))

    def file(self) -> MemoryFile:
        return MemoryFile.open(self.home / "memory.db", Epoch(self.epoch))

    def parts(self, hardware: Hardware) -> Parts:
        profile = Profile(self.device, OWNER, self.kind)
        return Parts(profile, DEVICE_KEY, ROOT.public, self.grant, hardware, self.monotonic, self.random)


def of(kind: type[M], heard: list[Message]) -> list[M]:
    """Give the messages of one kind."""
    return [message for message in heard if isinstance(message, kind)]


def _keep(heard: list[Message], message: Message | Unreadable) -> None:
    assert not isinstance(message, Unreadable)
    heard.append(message)


def _no_refusal(refusal: Refusal) -> None:
    raise AssertionError(refusal)


def _encode(conversation: Conversation, number: Number, message: Message) -> bytes:
    return encode_envelope(Envelope(conversation, number, message))
