"""From a demand to a voucher: what is offered, and which voucher an award gets.

Serials are journalled before a voucher is signed, so that no two vouchers of a device ever bear the same one. One hold pays
for one opening: a second voucher is issued only when the cloud has turned the first one down, which is then burned.
"""

from collections.abc import Callable

from energyshare.bodies import Asset, OfferBody, SelectionBody, VoucherBody
from energyshare.charging import hold_of
from energyshare.errors import Reason, Rejected
from energyshare.messages import Award, Cancel, Declined, Demand, DemandNotice, Offer, Voucher, Withdrawn
from energyshare.places import place_name
from energyshare.values import (
    AssetId,
    DeviceId,
    Digest,
    DurationS,
    Epoch,
    Instant,
    OrderId,
    PartKind,
    ProviderId,
    PublicKey,
    Serial,
    UnixS,
    of_unix_s,
    unix_s,
)
from energyshare.wire import Presentable, encode, encode_presentable, open_signed, peek, seal
from terminals.provider.config import Offers
from terminals.provider.documents import UNDER_WAY, OfferLine, OrderBook, OrderDocument, documents, require_state
from terminals.provider.limits import too_many
from terminals.provider.quoting import Asked, answer
from terminals.provider.stock import Stock

CLOCK_SLACK_S = 300  # a voucher is valid from a little before, for devices whose clocks are behind

Decide = Callable[[Asset, Demand], str | None]
"""Gives in UPPER_SNAKE why an asset is not offered for a demand; None leaves it to configuration and price."""


def decide_nothing(asset: Asset, demand: Demand) -> None:
    """Leave every decision to configuration and price."""


def burn(document: OrderDocument) -> None:
    """Have the order's voucher made void at its device, if it was not used."""
    if document.started is None and document.voucher and document.voucher not in document.burn:
        document.burn = [*document.burn, document.voucher]


class Awards:
    """Makes offers and issues vouchers; inside a journal transaction."""

    def __init__(self, book: OrderBook, stock: Stock, terms: Offers, decide: Decide) -> None:
        assert book.terminal.identity.grant is not None
        self._book = book
        self._stock = stock
        self._journal = book.journal
        self._identity = book.terminal.identity
        self._grant = book.terminal.identity.grant
        self._decide = decide
        self.terms = terms

    def offer(self, order_id: OrderId, notice: DemandNotice, document: OrderDocument) -> None:
        """Answer a notice: an offer or a reason for each asset."""
        document.demand = encode(notice.demand)
        asked = Asked(order_id, notice.demand, notice.offers_until_time)
        for asset_id in notice.asset_ids:
            offer = self._quote(asset_id, asked)
            if isinstance(offer, str):
                self._book.terminal.say(order_id, Declined(asset_id, offer))
                continue
            sealed = seal(offer, self._identity.key)
            self._journal.add_part(order_id, PartKind.OFFER, sealed.digest, sealed.signed)
            self._book.tell(order_id, document, Offer(sealed.signed, self._grant), "offer")
            asset = place_name(offer.asset.station, offer.asset.name)
            document.offers.append(OfferLine(sealed.digest, asset, hold_of(offer), offer.expiry_time))
            document.state = "OFFERED"

    def withdraw(self, order_id: OrderId, document: OrderDocument) -> None:
        """Take back an order's offers that stand; raises Rejected{WRONG_STATE} once one was selected."""
        require_state(document, "OFFERED")
        self._withdraw(order_id, document, None)

    def withdraw_all(self, asset: Asset) -> None:
        """Take back all offers that stand with an asset."""
        name, now = place_name(asset.station, asset.name), self._book.clock()
        for order_id, document in documents(self._journal):
            stands = any(line.asset == name and not line.withdrawn and line.expires > now for line in document.offers)
            if document.state == "OFFERED" and stands:
                self._withdraw(order_id, document, name)
                self._book.save(order_id, document)

    def issue(self, order_id: OrderId, award: Award, document: OrderDocument) -> None:
        """Issue the voucher for an offer that was selected; a user with too many open orders gets a cancellation instead."""
        if document.cancelled_by == "provider":  # our own cancellation is on its way, and the cloud goes on without us
            return
        selection = open_signed(SelectionBody, award.selection, award.holder_key)
        offer = self._offer_of(order_id, selection.body)
        if document.voucher and not self._may_issue_again(order_id, document, selection.digest):
            raise Rejected(Reason.OFFER_EXISTS)
        if selection.body.hold_minor != hold_of(offer):
            raise Rejected(Reason.HOLD_MISMATCH)
        if too_many(self._open_holders(), award.holder_key, self._stock.catalog.limits):
            self.cancel(order_id, document, "USER_LIMIT")
            return
        document.attempts += 1
        self._journal.add_part(order_id, PartKind.SELECTION, selection.digest, award.selection, document.attempts)
        document.selected = selection.body.offer_hash
        self._give_voucher(order_id, document, offer, award.holder_key)

    def cancel(self, order_id: OrderId, document: OrderDocument, reason: str) -> None:
        """Call an order off before it was started; a voucher that is out is burned as soon as its device can be reached.

        Raises: Rejected{WRONG_STATE} from the start on.
        """
        require_state(document, "ASKED", "OFFERED", "AUTHORIZED")
        if document.cancelled_by == "provider":
            return
        document.cancel_reason, document.cancelled_by = reason, "provider"
        self._book.tell(order_id, document, Cancel(reason), "cancellation")
        if document.state == "AUTHORIZED":
            burn(document)
        else:
            document.state, document.reason = "CLOSED", reason

    def learn_epoch(self, device: DeviceId, epoch: Epoch) -> None:
        """Keep the number of a device's replay memory, for the vouchers to come."""
        if epoch != self._epoch(device):
            self._journal.put_document("epoch", device, str(epoch).encode())

    def presentable(self, signed_voucher: bytes) -> bytes:
        """Give a voucher with its grant, as devices take it."""
        return encode_presentable(Presentable(signed_voucher, self._grant))

    def _withdraw(self, order_id: OrderId, document: OrderDocument, asset: str | None) -> None:
        for line in document.offers:
            if not line.withdrawn and asset in (None, line.asset):
                line.withdrawn = True
                self._book.tell(order_id, document, Withdrawn(Digest(line.digest)), "withdrawal")

    def _quote(self, asset_id: AssetId, asked: Asked) -> OfferBody | str:
        catalog = self._stock.catalog
        asset = catalog.assets.get(asset_id)
        declined = self._decide(asset, asked.demand) if asset else None
        if declined is not None:
            return declined
        provider, currency = ProviderId(self._identity.owner_id), self._identity.currency
        return answer(catalog, asset_id, asked, provider, currency, self.terms, self._book.clock())

    def _offer_of(self, order_id: OrderId, selection: SelectionBody) -> OfferBody:
        offers = {part.digest: part.signed for part in self._journal.parts(order_id, PartKind.OFFER)}
        if selection.order_id != order_id or selection.offer_hash not in offers:
            raise Rejected(Reason.OFFER_UNKNOWN)
        return peek(OfferBody, offers[selection.offer_hash])

    def _may_issue_again(self, order_id: OrderId, document: OrderDocument, selection: Digest) -> bool:
        """Say whether the first voucher was turned down, and this is another selection than the one that it was for."""
        known = {part.digest for part in self._journal.parts(order_id, PartKind.SELECTION)}
        return document.state == "CLOSED" and document.started is None and selection not in known

    def _open_holders(self) -> list[bytes]:
        return [other.holder_key for _, other in self._book.indexed("under-way") if other.state in UNDER_WAY]

    def _give_voucher(self, order_id: OrderId, document: OrderDocument, offer: OfferBody, holder_key: PublicKey) -> None:
        body = self._voucher(offer, holder_key)
        voucher = seal(body, self._identity.key)
        self._journal.add_part(order_id, PartKind.VOUCHER, voucher.digest, voucher.signed, document.attempts)
        self._book.tell(order_id, document, Voucher(self.presentable(voucher.signed)), "voucher")
        document.state, document.reason = "AUTHORIZED", ""
        document.kind = offer.asset.kind.name
        document.asset = place_name(offer.asset.station, offer.asset.name)
        document.device_id, document.holder_key = offer.asset.device_id, holder_key
        document.voucher, document.not_after = voucher.digest, of_unix_s(body.not_after_unix_s)
        document.deposit_minor, document.items = offer.asset.deposit_minor, list(offer.items)

    def _voucher(self, offer: OfferBody, holder_key: PublicKey) -> VoucherBody:
        now = self._book.clock()
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
