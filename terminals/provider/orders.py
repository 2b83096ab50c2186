"""What a provider does with each message of an order; runs inside the journal's transaction.

Serials are journalled before a voucher is signed, so that no two vouchers of a device ever bear the same one. A confirmation
is given only to an end that the provider's own device signed.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Literal

import msgspec

from energyshare.bodies import (
    Asset,
    ChargeRecordBody,
    EndConfirmationBody,
    EndReceiptBody,
    EndRequestBody,
    GrantBody,
    OfferBody,
    SelectionBody,
    StartReceiptBody,
    Verified,
    VoucherBody,
)
from energyshare.charging import hold_of
from energyshare.credentials import open_end_receipt, open_grant, open_readings, open_start_receipt
from energyshare.errors import Reason, Rejected
from energyshare.messages import (
    Award,
    ConfirmEnd,
    Declined,
    DemandNotice,
    EndConfirmed,
    Message,
    NotSelected,
    Offer,
    OrderClosed,
    Reading,
    RejectedMessage,
    Settled,
    Started,
    Voucher,
)
from energyshare.places import place_name
from energyshare.values import (
    AssetId,
    ChargeBasis,
    DeviceId,
    DurationS,
    Epoch,
    Instant,
    Kind,
    OrderId,
    PartKind,
    ProviderId,
    PublicKey,
    Role,
    Serial,
    UnixS,
    unix_s,
)
from energyshare.wire import Presentable, digest_of, encode_presentable, open_signed, peek, seal
from terminals.journal import Journal
from terminals.link import Refusal
from terminals.provider.catalog import Catalog
from terminals.provider.charge import note_charge
from terminals.provider.config import Offers
from terminals.provider.inventory import tell_again, tell_asset
from terminals.provider.quoting import Asked, quote
from terminals.stream import Terminal

State = Literal["ASKED", "OFFERED", "AUTHORIZED", "ACTIVE", "ENDING", "SETTLED", "CLOSED"]
UNDER_WAY = ("AUTHORIZED", "ACTIVE", "ENDING")
CLOCK_SLACK_S = 300  # a voucher is valid from a little before, for devices whose clocks are behind


class OrderDocument(msgspec.Struct):
    """What a provider knows of an order beside its signed parts."""

    state: State = "ASKED"
    asset: str = ""
    device_id: bytes = b""
    holder_key: bytes = b""
    reason: str = ""
    total_minor: int = 0
    readings: int = 0
    ended: bool = False
    release_wanted: bool = False
    confirm_until: int | None = None


def documents(journal: Journal) -> list[tuple[OrderId, OrderDocument]]:
    """List what is known of all orders, oldest first."""
    return [(OrderId(key), msgspec.json.decode(body, type=OrderDocument)) for key, body in journal.documents("order")]


class ProviderOrders:
    """The handler of a provider's messages."""

    def __init__(self, terminal: Terminal, catalog: Catalog, terms: Offers, clock: Callable[[], Instant]) -> None:
        assert terminal.identity.grant is not None
        self._terminal = terminal
        self._journal = terminal.journal
        self._identity = terminal.identity
        self._grant = terminal.identity.grant
        self._provider = ProviderId(terminal.identity.owner_id)
        self._terms = terms
        self._clock = clock
        self.catalog = catalog

    def handle(self, order_id: OrderId | None, message: Message) -> None:
        """Take a message; answers are said through the terminal."""
        if order_id is None:
            return
        document = self.document(order_id)
        match message:
            case DemandNotice() if document.state in ("ASKED", "OFFERED"):
                self._offer(order_id, message, document)
            case Award():
                self._issue(order_id, message, document)
            case NotSelected():
                document.state = "CLOSED"
                document.reason = "another offer was selected"
            case OrderClosed(state, reason):
                self._expect_back(document)
                document.state = "CLOSED"
                document.reason = f"{state.name}: {reason}"
            case Started(start_receipt, grant):
                self.keep_start(order_id, document, start_receipt, grant)
            case Reading(readings, grant):
                self.keep_readings(order_id, document, readings, grant)
            case ConfirmEnd():
                self._confirm(order_id, message, document)
            case Settled(charge_record):
                self._settle(order_id, charge_record, document)
            case RejectedMessage(_, reason, _):
                document.reason = reason
            case _:
                return
        self.save(order_id, document)

    def refused(self, refusal: Refusal) -> None:
        """Take note that the cloud has no such conversation."""
        if refusal.conversation is not None:
            document = self.document(refusal.conversation)
            document.reason = refusal.reason
            self.save(refusal.conversation, document)

    def document(self, order_id: OrderId) -> OrderDocument:
        """Read what is known of an order."""
        body = self._journal.document("order", order_id)
        return msgspec.json.decode(body, type=OrderDocument) if body else OrderDocument()

    def open_documents(self) -> list[tuple[OrderId, OrderDocument]]:
        """List the orders whose devices may have something new."""
        ids = [OrderId(key) for key, _ in self._journal.documents("under-way")]
        return [(order_id, self.document(order_id)) for order_id in ids]

    def note_charge(self, receipt: EndReceiptBody) -> None:
        """Keep a battery's state of charge as its lock signed it, and tell the cloud, for the offers to come."""
        asset = self._asset_of(receipt.device_id)
        if asset is not None and receipt.soc_pct is not None:
            now = note_charge(self._journal, asset, receipt)
            self.catalog = replace(self.catalog, assets={**self.catalog.assets, asset.asset_id: now})
            tell_asset(self._terminal, self.catalog, now)

    def save(self, order_id: OrderId, document: OrderDocument) -> None:
        """Store what is known of an order."""
        self._journal.put_document("order", order_id, msgspec.json.encode(document))
        if document.state in UNDER_WAY:
            self._journal.put_document("under-way", order_id, b"")
        else:
            self._journal.drop_document("under-way", order_id)

    def keep_start(self, order_id: OrderId, document: OrderDocument, start_receipt: bytes, grant: bytes) -> bool:
        """Keep a start receipt of our voucher by our device; says whether it was new. Raises Rejected when it does not hold."""
        kept = self._journal.part(order_id, PartKind.START_RECEIPT)
        if kept is not None and kept.digest != digest_of(StartReceiptBody, start_receipt):
            raise Rejected(Reason.RECEIPT_CONFLICT)
        if kept is not None:
            return False
        device = self.own_device(grant)
        start = open_start_receipt(start_receipt, device, PublicKey(document.holder_key))
        voucher = self._journal.part(order_id, PartKind.VOUCHER)
        found = (start.receipt.body.order_id, bytes(start.receipt.body.device_id), start.voucher_hash)
        if voucher is None or found != (order_id, document.device_id, voucher.digest):
            raise Rejected(Reason.RECEIPT_FOREIGN)
        self._journal.add_part(order_id, PartKind.START_RECEIPT, start.receipt.digest, start_receipt)
        self._journal.add_part(order_id, PartKind.DEVICE_GRANT, device.digest, grant)
        document.state = "ACTIVE"
        return True

    def keep_readings(
        self, order_id: OrderId, document: OrderDocument, readings: tuple[bytes, ...], grant: bytes
    ) -> tuple[bytes, ...]:
        """Keep readings that are new, and give them. Raises Rejected when they do not hold."""
        device = self.own_device(grant)
        new = [r for r in open_readings(readings, device) if r.body.number > document.readings and r.body.order_id == order_id]
        for reading in new:
            self._journal.add_part(order_id, PartKind.READING, reading.digest, reading.signed, reading.body.number)
        if new:
            document.readings = new[-1].body.number
        return tuple(reading.signed for reading in new)

    def _offer(self, order_id: OrderId, notice: DemandNotice, document: OrderDocument) -> None:
        """Answer a notice: an offer or a reason for each asset."""
        asked = Asked(order_id, notice.demand, notice.offers_until_time)
        for asset_id in notice.asset_ids:
            offer = self._quote(asset_id, asked)
            if isinstance(offer, str):
                self._terminal.say(order_id, Declined(asset_id, offer))
                continue
            sealed = seal(offer, self._identity.key)
            self._journal.add_part(order_id, PartKind.OFFER, sealed.digest, sealed.signed)
            self._terminal.say(order_id, Offer(sealed.signed, self._grant))
            document.state = "OFFERED"

    def _quote(self, asset_id: AssetId, asked: Asked) -> OfferBody | str:
        asset = self.catalog.assets.get(asset_id)
        if asset is None:
            return "NOT_OURS"
        tariff = self.catalog.tariffs[asset.tariff_hash]
        return quote(asset, tariff, asked, self._provider, self._identity.currency, self._terms, self._clock())

    def _issue(self, order_id: OrderId, award: Award, document: OrderDocument) -> None:
        """Issue the voucher for an offer that was selected."""
        selection = open_signed(SelectionBody, award.selection, award.holder_key)
        offers = {part.digest: part.signed for part in self._journal.parts(order_id, PartKind.OFFER)}
        if selection.body.order_id != order_id or selection.body.offer_hash not in offers:
            raise Rejected(Reason.OFFER_UNKNOWN)
        if self._journal.part(order_id, PartKind.VOUCHER) is not None:  # one hold pays for one opening
            raise Rejected(Reason.OFFER_EXISTS)
        offer = peek(OfferBody, offers[selection.body.offer_hash])
        if selection.body.hold_minor != hold_of(offer):
            raise Rejected(Reason.HOLD_MISMATCH)
        self._journal.add_part(order_id, PartKind.SELECTION, selection.digest, award.selection)
        voucher = seal(self._voucher(offer, award.holder_key), self._identity.key)
        self._journal.add_part(order_id, PartKind.VOUCHER, voucher.digest, voucher.signed)
        presentable = encode_presentable(Presentable(voucher.signed, self._grant))
        self._terminal.say(order_id, Voucher(presentable))
        document.state = "AUTHORIZED"
        document.asset = place_name(offer.asset.station, offer.asset.name)
        document.device_id = offer.asset.device_id
        document.holder_key = award.holder_key

    def _voucher(self, offer: OfferBody, holder_key: PublicKey) -> VoucherBody:
        now = self._clock()
        not_before = unix_s(now) - CLOCK_SLACK_S
        device = offer.asset.device_id
        return VoucherBody(
            order_id=offer.order_id,
            device_id=device,
            holder_key=holder_key,
            energy_wh_max=offer.energy_wh_max,
            duration_s_max=offer.duration_s_max,
            not_before_unix_s=UnixS(not_before),
            window_s=DurationS(unix_s(offer.voucher_not_after_time) - not_before),
            serial=self._next_serial(device, now),
            epoch=self._epoch(device),
            tariff_hash=offer.asset.tariff_hash,
        )

    def _next_serial(self, device: DeviceId, now: Instant) -> Serial:
        last = int(self._journal.document("serial", device) or b"0")
        serial = max(last + 1, now // 1_000)
        self._journal.put_document("serial", device, str(serial).encode())
        return Serial(serial)

    def _epoch(self, device: DeviceId) -> Epoch:
        return Epoch(int(self._journal.document("epoch", device) or b"1"))

    def learn_epoch(self, device: DeviceId, epoch: Epoch) -> None:
        """Keep the number of a device's replay memory, for the vouchers to come; inside a journal transaction."""
        if epoch != self._epoch(device):
            self._journal.put_document("epoch", device, str(epoch).encode())

    def found_free(self, device: DeviceId) -> None:
        """Tell the cloud that an asset is there, if it may think that it is not; inside a journal transaction."""
        asset = self._asset_of(device)
        if asset is not None and self._journal.document("expected", asset.asset_id) is not None:
            self._journal.drop_document("expected", asset.asset_id)
            tell_again(self._terminal, self.catalog, asset)

    def confirm(self, order_id: OrderId, document: OrderDocument) -> None:
        """Confirm the end that is kept; inside a journal transaction."""
        end = self._journal.part(order_id, PartKind.END_RECEIPT)
        assert end is not None
        confirmation = seal(EndConfirmationBody(order_id, end.digest, None), self._identity.key)
        self._journal.add_part(order_id, PartKind.END_CONFIRMATION, confirmation.digest, confirmation.signed)
        self._terminal.say(order_id, EndConfirmed(confirmation.signed))
        document.confirm_until = None

    def _confirm(self, order_id: OrderId, asked: ConfirmEnd, document: OrderDocument) -> None:
        """Confirm an end that our device signed, once we have all of its readings.

        One without a receipt has the device released and read first, if its holder asked.
        """
        document.state = "ENDING"
        if asked.end_receipt is None or asked.grant is None:
            document.release_wanted = self._is_asked_by_holder(order_id, asked, document)
            return
        device = self.own_device(asked.grant)
        end = open_end_receipt(asked.end_receipt, device, PublicKey(document.holder_key), self._identity.key.public)
        if bytes(end.receipt.body.device_id) != document.device_id or end.receipt.body.order_id != order_id:
            raise Rejected(Reason.RECEIPT_FOREIGN)
        self.keep_start(order_id, document, end.receipt.body.start_receipt, asked.grant)
        self._journal.add_part(order_id, PartKind.END_RECEIPT, end.receipt.digest, asked.end_receipt)
        self.note_charge(end.receipt.body)
        document.state, document.ended = "ENDING", True
        is_whole = document.readings >= end.receipt.body.readings_count
        if is_whole or DeviceId(document.device_id) not in self.catalog.addresses:
            self.confirm(order_id, document)
        else:
            document.confirm_until = asked.confirm_until_time

    def own_device(self, grant: bytes) -> Verified[GrantBody]:
        """Open the grant of a device of ours; raises Rejected{GRANT_OWNER} for another's."""
        device = open_grant(grant, self._identity.root_key, Role.DEVICE)
        if device.body.owner_id != self._provider:
            raise Rejected(Reason.GRANT_OWNER)
        return device

    def _asset_of(self, device: bytes) -> Asset | None:
        return next((asset for asset in self.catalog.assets.values() if asset.device_id == device), None)

    def _expect_back(self, document: OrderDocument) -> None:
        """Have an asset told again once its device is found free: the cloud may not know where it is.

        An outlet whose device we can't reach stands where it stood.
        """
        asset = self._asset_of(document.device_id) if document.state in UNDER_WAY else None
        if asset is None:
            return
        self._journal.put_document("expected", asset.asset_id, b"")
        if asset.kind is Kind.ENERGY and asset.device_id not in self.catalog.addresses:
            self.found_free(asset.device_id)

    def _is_asked_by_holder(self, order_id: OrderId, asked: ConfirmEnd, document: OrderDocument) -> bool:
        """Say whether the holder itself asked, so that the owner may release in its place."""
        if asked.end_request is None:
            return False
        return open_signed(EndRequestBody, asked.end_request, PublicKey(document.holder_key)).body.order_id == order_id

    def _settle(self, order_id: OrderId, charge_record: bytes, document: OrderDocument) -> None:
        platform = open_grant(self._identity.platform_grant, self._identity.root_key, Role.PLATFORM)
        record = open_signed(ChargeRecordBody, charge_record, platform.body.public_key)
        self._journal.add_part(order_id, PartKind.CHARGE_RECORD, record.digest, charge_record)
        if record.body.basis is ChargeBasis.CAP:
            self._expect_back(document)
        document.state = "SETTLED"
        document.total_minor = record.body.incl_vat_minor
