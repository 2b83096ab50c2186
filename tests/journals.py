"""Homes as enrolling leaves them, and a customer whose journal has orders of every kind in every state.

The cloud is the far end of a link; device and signatures are real. Used by tests of what people see.
"""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from certs.authority import Authority
from certs.requests import new_key_and_request
from energyshare.bodies import (
    AmendmentBody,
    Asset,
    ChargeRecordBody,
    EndConfirmationBody,
    EndReceiptBody,
    EndRefusalBody,
    OfferBody,
    Part,
    PartHash,
    ReadingBody,
    RulingBody,
    ServiceItem,
    SettlementRequestBody,
    StartReceiptBody,
    VoucherBody,
)
from energyshare.bound import price_bound
from energyshare.charging import Evidence, charge, hold_of
from energyshare.home import open_home
from energyshare.messages import (
    Amendment,
    Declined,
    Exclusion,
    Message,
    Offer,
    OrderClosed,
    Reading,
    Ruling,
    Screened,
    Selection,
    Settled,
    SettlementRequest,
    Started,
    Voucher,
)
from energyshare.records import replace
from energyshare.session import service_bill
from energyshare.signing import Label, SigningKey, digest
from energyshare.tariff import tariff_of
from energyshare.values import (
    AssetId,
    ChargeBasis,
    Connector,
    Digest,
    DurationS,
    EnergyWh,
    Epoch,
    Instant,
    Kind,
    Minor,
    Number,
    OrderId,
    OrderState,
    PartKind,
    Percent,
    PowerW,
    Serial,
    UnixS,
    later,
    unix_s,
)
from energyshare.wire import Presentable, encode, encode_presentable, peek, seal
from terminals import identity
from terminals.journal import Journal
from terminals.provider.documents import AmendmentLine as ProviderAmendment
from terminals.provider.documents import ClaimLine, OrderDocument, SettlementLine
from terminals.timeline import note_said
from terminals.user.keeping import part_digest
from terminals.user.order import UserOrder
from terminals.user.terminal import UserTerminal
from tests.device.world import (
    DEVICE,
    DEVICE_GRANT,
    HOLDER,
    ISSUER,
    ISSUER_GRANT,
    OWNER,
    PLATFORM,
    PLATFORM_GRANT,
    World,
)
from tests.terminals_world import BATTERY, CNY, DEMAND, NOW, OUTLET, TARIFF, USER, Wire, of

CALLOUT = b"""{"currency":"CNY","elements":[{"price_components":[
{"type":"FLAT","price":"30.00","vat":"6","step_size":1},
{"type":"TIME","price":"80.00","vat":"6","step_size":60},
{"type":"ITEM","item":"jump-start","price":"50.00","vat":"6","step_size":1},
{"type":"ITEM","item":"spare fuse","price":"4.50","vat":"13","step_size":1}]}]}"""
WORKER = replace(
    OUTLET,
    asset_id=AssetId(b"W" * 16),
    station="Helpers",
    name="worker-1",
    kind=Kind.SERVICE,
    connector=Connector.NONE,
    power_w=PowerW(1),
    tariff_hash=digest(Label.TARIFF, CALLOUT),
)
LOCK = replace(BATTERY, soh_pct=Percent(97), deposit_minor=Minor(20_000), station="Corner-Shop")
JUMP_START = (ServiceItem("jump-start", 1),)
TARIFFS = {OUTLET.tariff_hash: TARIFF, WORKER.tariff_hash: CALLOUT}


@dataclass
class Customer:
    """A user's home, enrolled, with a journal to be filled; `now` moves only when told."""

    home: Path
    now: Instant = NOW
    me: UserTerminal = field(init=False)
    wire: Wire = field(init=False)
    devices: int = 0

    def __post_init__(self) -> None:
        enrolled = enrolled_home(self.home, self.now, dataclasses.replace(USER, name="alice"), HOLDER)
        self.me = UserTerminal(enrolled, Journal(self.home / "journal.db"), lambda: self.now)
        self.wire = Wire(self.me._terminal, self.me._orders)

    def close(self) -> None:
        """Leave the home to others."""
        self.me.journal.close()

    def order(self, order_id: OrderId) -> UserOrder:
        """Give what is known of an order."""
        return self.me.order(order_id)

    def tell(self, order_id: OrderId, *messages: Message) -> list[Message]:
        """Have messages delivered."""
        return self.wire.tell(order_id, *messages)

    # As far as each state

    def demanded(self, *kinds: Kind, **changes: Any) -> OrderId:
        """Say what is needed."""
        items = JUMP_START if Kind.SERVICE in kinds else ()
        wanted = replace(DEMAND, kinds=kinds, service_items=items, needed_by_time=later(self.now, 3_600))
        order_id = self.me.demand(replace(wanted, **changes))
        self.wire.listen()
        self.tell(order_id, Screened(len(kinds), (Exclusion("DISTANCE", 12), Exclusion("HELD", 1)), later(self.now, 60)))
        return order_id

    def offered(self, *assets: Asset) -> OrderId:
        """Have offers of some assets come in."""
        order_id = self.demanded(*dict.fromkeys(asset.kind for asset in assets))
        for asset in assets:
            self.tell(order_id, Offer(seal(self.offer(order_id, asset), ISSUER).signed, ISSUER_GRANT))
        self.tell(order_id, Declined(AssetId(b"X" * 16), "TOO_FAR_AHEAD"))
        return order_id

    def selected(self, asset: Asset) -> OrderId:
        """Select the offer of an asset."""
        order_id = self.offered(asset)
        self.me.select(order_id, 1)
        assert of(Selection, self.wire.listen())
        return order_id

    def authorized(self, asset: Asset) -> OrderId:
        """Have the voucher come in."""
        order_id = self.selected(asset)
        voucher = seal(self.voucher(order_id), ISSUER)
        self.tell(order_id, Voucher(encode_presentable(Presentable(voucher.signed, ISSUER_GRANT))))
        assert self.order(order_id).state == "AUTHORIZED"
        return order_id

    def active(self, asset: Asset, quarters: int = 2) -> tuple[OrderId, World]:
        """Start at a device, and have some quarter hours pass."""
        order_id = self.authorized(asset)
        self.devices += 1
        folder = self.home / f"device-{self.devices}"
        folder.mkdir()
        device = World(folder, asset.kind, host_us=self.now, capacity_wh=asset.capacity_wh)
        start = device.start(self.voucher(order_id))
        self.tell(order_id, Started(start, DEVICE_GRANT))
        for _ in range(quarters):
            device.pass_s(900)
        self.now = Instant(device.host_us)
        if asset.kind is not Kind.SERVICE:
            self.tell(order_id, Reading(readings_of(device), DEVICE_GRANT))
        return order_id, device

    def settled(self, asset: Asset, **changes: Any) -> OrderId:
        """End at the device, and have the bill come in; `changes` are of its record."""
        order_id, device = self.active(asset)
        end = device.release(self.voucher(order_id))
        confirmation = Part(PartKind.END_CONFIRMATION, seal(EndConfirmationBody(order_id, _hash(end), None), ISSUER).signed)
        self.bill(order_id, device, end, (confirmation,), **changes)
        return order_id

    def claimed(self) -> OrderId:
        """Have the provider of a battery claim a part of its deposit, and the operator rule."""
        order_id, device = self.active(LOCK)
        end = device.release(self.voucher(order_id))
        refusal = seal(EndRefusalBody(order_id, _hash(end), Minor(5_000), "the <b>handle</b> is broken & gone"), ISSUER)
        parts = (Part(PartKind.END_REFUSAL, refusal.signed),)
        first = self.bill(order_id, device, end, parts, disputed=5_000)
        self.now = later(self.now, 86_400)
        ruling = seal(RulingBody(order_id, Minor(3_000), "half of it was old", self.now), PLATFORM)
        self.tell(order_id, Ruling(ruling.signed))
        changes = {"basis": ChargeBasis.RULING, "deposit_claimed_minor": Minor(3_000), "settled_time": self.now}
        ruled = (*parts, Part(PartKind.RULING, ruling.signed))
        self.bill(order_id, device, end, ruled, 0, **changes, corrects_hash=first)
        return order_id

    def proposed(self) -> OrderId:
        """Have extra work proposed for a service under way."""
        order_id, _ = self.active(WORKER)
        extra = (ServiceItem("spare fuse", 2),)
        added = price_bound(tariff_of(CALLOUT), 1, 9_000, (*JUMP_START, *extra)) - price_bound(
            tariff_of(CALLOUT), 1, 7_200, JUMP_START
        )
        body = AmendmentBody(order_id, Number(1), extra, DurationS(1_800), Minor(added))
        self.tell(order_id, Amendment(seal(body, ISSUER).signed))
        assert self.order(order_id).waiting_amendment is not None, self.wire.failures
        return order_id

    def asked(self) -> OrderId:
        """Have the settlement of a service asked for."""
        order_id, device = self.active(WORKER)
        start = Instant(device.host_us - 1_800_000_000)
        total = service_bill(start, OUTLET.time_zone, 1_800, JUMP_START, tariff_of(CALLOUT)).incl_vat_minor
        body = SettlementRequestBody(order_id, JUMP_START, DurationS(1_800), total)
        self.tell(order_id, SettlementRequest(seal(body, ISSUER).signed))
        assert self.order(order_id).waiting_settlement is not None, self.wire.failures
        return order_id

    def expired(self) -> OrderId:
        """Have nobody answer."""
        order_id = self.demanded(Kind.ENERGY)
        self.tell(order_id, OrderClosed(OrderState.EXPIRED, "NO_OFFER"))
        return order_id

    # What the provider and the platform sign

    def offer(self, order_id: OrderId, asset: Asset) -> OfferBody:
        """What the provider of an asset offers."""
        is_service = asset.kind is Kind.SERVICE
        return OfferBody(
            order_id=order_id,
            provider_id=OWNER,
            asset=asset,
            tariff=TARIFFS[asset.tariff_hash],
            currency=CNY,
            energy_wh_max=EnergyWh(1 if is_service else 2_000),
            duration_s_max=DurationS(7_200),
            return_grace_s=DurationS(3_600 if asset.kind is Kind.BATTERY else 0),
            estimate=(),
            estimate_excl_vat_minor=Minor(9_000 if is_service else 240),
            estimate_incl_vat_minor=Minor(9_540 if is_service else 271),
            voucher_not_after_time=later(self.now, 7_200),
            expiry_time=later(self.now, 600),
            items=JUMP_START if is_service else (),
        )

    def voucher(self, order_id: OrderId) -> VoucherBody:
        """What the provider issues for the offer that was selected."""
        selected = self.order(order_id).selected
        assert selected is not None
        offer = self.me.offer(order_id, selected)
        start = unix_s(offer.voucher_not_after_time) - 7_200
        return VoucherBody(
            order_id=order_id,
            device_id=DEVICE,
            holder_key=HOLDER.public,
            energy_wh_max=offer.energy_wh_max,
            duration_s_max=offer.duration_s_max,
            not_before_unix_s=UnixS(start),
            window_s=DurationS(7_200),
            serial=Serial(start * 1_000),
            epoch=Epoch(1),
            tariff_hash=offer.asset.tariff_hash,
        )

    def bill(
        self, order_id: OrderId, device: World, end: bytes, parts: Sequence[Part], disputed: int = 0, **changes: Any
    ) -> Digest:
        """Have the bill of an end come in; gives the hash of its record."""
        readings = readings_of(device)
        self.tell(order_id, Reading(readings, DEVICE_GRANT))
        record = self._record(order_id, end, readings, parts)
        sealed = seal(replace(record, **changes), PLATFORM)
        came = (*parts, Part(PartKind.END_RECEIPT, end), Part(PartKind.DEVICE_GRANT, DEVICE_GRANT))
        self.tell(order_id, Settled(sealed.signed, PLATFORM_GRANT, came, Minor(disputed)))
        assert self.order(order_id).state in ("SETTLED", "DISPUTED"), self.wire.failures
        return sealed.digest

    def _record(self, order_id: OrderId, end: bytes, readings: tuple[bytes, ...], parts: Sequence[Part]) -> ChargeRecordBody:
        kept = {part.kind: part.signed for part in self.me.journal.parts(order_id)}
        offer, over = peek(OfferBody, kept[PartKind.OFFER]), peek(EndReceiptBody, end)
        started = peek(StartReceiptBody, over.start_receipt)
        read = tuple(peek(ReadingBody, reading) for reading in readings)
        charged = charge(
            Evidence(offer, self.voucher(order_id), started, read, over), ChargeBasis.END_RECEIPT, started.start_time
        )
        named = (
            *(Part(kind, kept[kind]) for kind in (PartKind.OFFER, PartKind.SELECTION, PartKind.VOUCHER)),
            Part(PartKind.ISSUER_GRANT, ISSUER_GRANT),
            Part(PartKind.DEVICE_GRANT, DEVICE_GRANT),
            Part(PartKind.START_RECEIPT, over.start_receipt),
            Part(PartKind.READING, readings[-1]),
            Part(PartKind.END_RECEIPT, end),
            *parts,
        )
        return ChargeRecordBody(
            order_id=order_id,
            kind=offer.asset.kind,
            provider_id=OWNER,
            currency=CNY,
            basis=charged.basis,
            parts=tuple(PartHash(part.kind, part_digest(part)) for part in named),
            start_time=charged.start_time,
            duration_s=charged.duration_s,
            energy_wh=charged.energy_wh,
            lines=charged.lines,
            excl_vat_minor=charged.excl_vat_minor,
            incl_vat_minor=charged.incl_vat_minor,
            deposit_claimed_minor=Minor(0),
            hold_minor=hold_of(offer),
            settled_time=over.end_time,
            corrects_hash=None,
        )


def readings_of(device: World) -> tuple[bytes, ...]:
    """Give what a device has read."""
    [session] = device.machine.evidence(None, Number(0))
    return session.readings


def _hash(end: bytes) -> Digest:
    return part_digest(Part(PartKind.END_RECEIPT, end))


def enrolled_home(home: Path, now: Instant, who: identity.Identity, key: SigningKey) -> identity.Identity:
    """Make a home as enrolling leaves it, of a cloud that is not there, so that no date may call for a renewal."""
    authority = Authority.create("energyshare-test", now)
    tls_key, request = new_key_and_request()
    issued = authority.issue_terminal(request, who.role, who.subject_id, now)
    home.mkdir(mode=0o700)
    open_home(home, who.role)
    key.save(home / "key")
    (home / "tls.key").write_bytes(tls_key)
    enrolled = dataclasses.replace(
        who,
        certificate=issued.pem,
        tls_key=tls_key,
        trust_bundle=authority.certificate_pem,
        home=home,
        certificate_not_before=now,
        certificate_not_after=Instant(now * 10),
    )
    identity._save(enrolled)
    return enrolled


def fill_provider(journal: Journal, now: Instant) -> None:
    """Give a provider's journal assets, orders in every state, and a message that waits for the cloud."""
    worked = OrderDocument(
        state="ACTIVE",
        kind="SERVICE",
        asset="Helpers/worker-1",
        device_id=b"W" * 16,
        items=list(JUMP_START),
        amendments=[ProviderAmendment(1, b"a" * 32, [ServiceItem("spare fuse", 2)], 1_800, 5_257)],
        started=later(now, -1_800),
    )
    asked = SettlementLine(b"s" * 32, list(JUMP_START), 1_800, 12_720)
    orders = (
        OrderDocument(state="OFFERED", asset=""),
        OrderDocument(state="AUTHORIZED", kind="ENERGY", asset="Depot/outlet-1", device_id=DEVICE, not_after=later(now, 3_600)),
        OrderDocument(
            state="ACTIVE", kind="BATTERY", asset="Corner-Shop/lock-1", deposit_minor=20_000, due_back=later(now, 60)
        ),
        worked,
        OrderDocument(state="ENDING", kind="SERVICE", asset="Helpers/worker-1", settlement=asked),
        OrderDocument(state="ENDING", kind="ENERGY", asset="Depot/outlet-1", confirm_until=later(now, 500)),
        OrderDocument(
            state="DISPUTED",
            kind="BATTERY",
            asset="Corner-Shop/lock-1",
            total_minor=68,
            deposit_minor=20_000,
            disputed_minor=5_000,
            claim=ClaimLine(5_000, "the handle is broken", told=True),
            finished=later(now, -60),
        ),
        OrderDocument(state="SETTLED", kind="ENERGY", asset="Depot/outlet-1", total_minor=1_234, finished=later(now, -120)),
        OrderDocument(state="SETTLED", kind="ENERGY", asset="Depot/outlet-1", total_minor=999, finished=later(now, -90_000)),
        OrderDocument(state="CLOSED", reason="NO_VOUCHER"),
    )
    with journal.transaction():
        for asset in (OUTLET, LOCK, WORKER):
            journal.put_document("asset", asset.asset_id, encode(asset))
        for number, document in enumerate(orders, 1):
            document.number, order_id = number, OrderId(number.to_bytes(16, "big"))
            journal.put_document("order", order_id, msgspec.json.encode(document))
            journal.put_document("order-number", number.to_bytes(8, "big"), order_id)
            note_said(journal, order_id, later(now, number), Declined(OUTLET.asset_id, "SHORT_NOTICE"))
        journal.append(OrderId(b"\x01" * 16), 1, b"-")
