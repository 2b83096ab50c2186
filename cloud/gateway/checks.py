"""From envelope bytes to messages whose signatures were checked.

Runs in the gateway's thread pool, one hop for all envelopes of a frame. What is wrong with a message becomes `Refused`, which
is answered under the message's number; only an envelope whose header can't be read ends the stream.
"""

from collections.abc import Callable
from dataclasses import dataclass

from cloud.domain.inbound import (
    EndConfirmedBy,
    EndReported,
    EndRequested,
    InboundMessage,
    OfferMade,
    OrderKeys,
    ReadingsReported,
    Refused,
    SelectionMade,
    StartReported,
    VoucherIssued,
)
from cloud.work import Inbound, Peer
from energyshare.bodies import (
    EndConfirmationBody,
    EndRequestBody,
    GrantBody,
    OfferBody,
    OpenedEnd,
    SelectionBody,
    Verified,
)
from energyshare.credentials import (
    open_end_receipt,
    open_grant,
    open_issued,
    open_presentable,
    open_readings,
    open_start_receipt,
)
from energyshare.errors import Reason, Rejected
from energyshare.messages import (
    Cancel,
    Declined,
    Demand,
    EndConfirmed,
    Ended,
    EndRequest,
    Inventory,
    Message,
    Offer,
    Reading,
    Selection,
    Started,
    Voucher,
    VoucherRejected,
    Withdrawn,
)
from energyshare.values import OrderId, ProviderId, PublicKey, Role
from energyshare.wire import open_signed, split_envelope

NEEDS_NO_CHECK = (Demand, Declined, Withdrawn, VoucherRejected, Cancel, Inventory)

KeyLookup = Callable[[OrderId], OrderKeys | None]


@dataclass(frozen=True, slots=True)
class Checks:
    """What signatures are checked against: the platform root, and the keys of orders."""

    root: PublicKey
    keys_of: KeyLookup

    def open(self, peer: Peer, raw: bytes) -> Inbound:
        """Open one envelope of a terminal.

        Raises: Rejected{MALFORMED} when not even its header can be read, which is a fault of the protocol.
        """
        header, body = split_envelope(raw)
        return Inbound(peer, header.order_id, header.number, self._message(peer, header.order_id, body), raw)

    def _message(self, peer: Peer, order_id: OrderId | None, body: Callable[[], Message] | None) -> InboundMessage:
        try:
            if body is None:
                raise Rejected(Reason.UNSUPPORTED)
            return self._opened(peer, order_id, body())
        except Rejected as refusal:
            return Refused(refusal.reason, refusal.metadata)

    def _opened(self, peer: Peer, order_id: OrderId | None, message: Message) -> InboundMessage:
        match message:
            case Demand() | Declined() | Withdrawn() | VoucherRejected() | Cancel() | Inventory():
                return message
            case Offer(offer, grant):
                issuer = open_grant(grant, self.root, Role.ISSUER)
                return OfferMade(open_issued(OfferBody, offer, issuer, ProviderId(peer.terminal)), issuer)
            case Selection(selection):
                return SelectionMade(open_signed(SelectionBody, selection, peer.key))
            case Voucher(presentable):
                return VoucherIssued(open_presentable(presentable, self.root), presentable)
            case Started(start_receipt, grant):
                device = open_grant(grant, self.root, Role.DEVICE)
                holder = self._keys(peer, order_id).holder_key
                return StartReported(open_start_receipt(start_receipt, device, holder), device)
            case Reading(readings, grant):
                device = open_grant(grant, self.root, Role.DEVICE)
                return ReadingsReported(open_readings(readings, device), device)
            case EndRequest():
                return self._end_request(peer, order_id, message)
            case Ended(end_receipt, grant):
                device = open_grant(grant, self.root, Role.DEVICE)
                keys = self._keys(peer, order_id)
                return EndReported(open_end_receipt(end_receipt, device, keys.holder_key, peer.key), device)
            case EndConfirmed(confirmation):
                return EndConfirmedBy(open_signed(EndConfirmationBody, confirmation, peer.key))
        raise Rejected(Reason.UNSUPPORTED, message=type(message).__name__)

    def _end_request(self, peer: Peer, order_id: OrderId | None, message: EndRequest) -> EndRequested:
        request = open_signed(EndRequestBody, message.end_request, peer.key)
        if message.end_receipt is None or message.grant is None:
            return EndRequested(request, None, None)
        device = open_grant(message.grant, self.root, Role.DEVICE)
        return EndRequested(request, self._end_of(peer, order_id, message.end_receipt, device), device)

    def _end_of(self, peer: Peer, order_id: OrderId | None, end_receipt: bytes, device: Verified[GrantBody]) -> OpenedEnd:
        """Open a user's end receipt; the owner's key is looked up only for a release that is not the holder's."""
        try:
            return open_end_receipt(end_receipt, device, peer.key, None)
        except Rejected as refusal:
            if refusal.reason is not Reason.STRANGER:
                raise
        return open_end_receipt(end_receipt, device, peer.key, self._looked_up(order_id).issuer_key)

    def _keys(self, peer: Peer, order_id: OrderId | None) -> OrderKeys:
        """Give the keys of an order; a user's own needs no look-up."""
        return OrderKeys(peer.key, None) if peer.role == "user" else self._looked_up(order_id)

    def _looked_up(self, order_id: OrderId | None) -> OrderKeys:
        keys = self.keys_of(order_id) if order_id else None
        if keys is None:
            raise Rejected(Reason.UNKNOWN_ORDER)
        return keys
