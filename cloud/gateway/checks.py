"""From envelope bytes to messages whose signatures were checked.

What is wrong with a message becomes `Refused`, which is answered under the message's number; only an envelope whose header
can't be read ends the stream. Used on any thread.
"""

from collections.abc import Callable, Sequence

from msgspec import Struct

from cloud.domain.inbound import (
    AmendmentAnswered,
    AmendmentProposed,
    EndConfirmedBy,
    EndRefusedBy,
    EndReported,
    EndRequested,
    InboundMessage,
    NotReturnedStated,
    OfferMade,
    OrderKeys,
    ReadingsReported,
    Refused,
    SelectionMade,
    SerialClosedReported,
    SettlementAnswered,
    SettlementRequested,
    StartReported,
    VoucherIssued,
)
from cloud.domain.merging import SnapshotTaken
from cloud.gateway.snapshots import open_snapshot
from cloud.work import Inbound, Peer
from energyshare.bodies import (
    AmendmentAnswerBody,
    AmendmentBody,
    EndConfirmationBody,
    EndRefusalBody,
    EndRequestBody,
    GrantBody,
    NotReturnedBody,
    OfferBody,
    OpenedEnd,
    SelectionBody,
    SettlementAnswerBody,
    SettlementRequestBody,
    Verified,
)
from energyshare.credentials import (
    open_end_receipt,
    open_grant,
    open_issued,
    open_presentable,
    open_readings,
    open_serial_closed,
    open_start_receipt,
)
from energyshare.errors import Reason, Rejected
from energyshare.messages import (
    Amendment,
    AmendmentAnswer,
    Cancel,
    Declined,
    Demand,
    Dispute,
    EndConfirmed,
    Ended,
    EndRefused,
    EndRequest,
    Inventory,
    Message,
    NotReturned,
    Offer,
    Reading,
    Selection,
    SerialClosed,
    SettlementConfirmed,
    SettlementRefused,
    SettlementRequest,
    Snapshot,
    Started,
    Voucher,
    VoucherRejected,
    Withdrawn,
)
from energyshare.values import OrderId, ProviderId, PublicKey, Role
from energyshare.wire import open_signed, split_envelope

KeyLookup = Callable[[OrderId], OrderKeys | None]


class Checks(Struct, frozen=True):
    """What signatures are checked against: the platform root, and the keys of orders."""

    root: PublicKey
    keys_of: KeyLookup

    def open_all(self, peer: Peer, raws: Sequence[bytes]) -> list[Inbound]:
        """Open a frame's envelopes, in their order; raises as `open`."""
        return [self.open(peer, raw) for raw in raws]

    def open(self, peer: Peer, raw: bytes) -> Inbound:
        """Open one envelope of a terminal.

        Raises: Rejected{MALFORMED} when not even its header can be read, which is a fault of the protocol.
        """
        header, body = split_envelope(raw)
        return Inbound(peer, header.order_id, header.number, self._message(peer, header.order_id, body), raw)

    def _message(
        self, peer: Peer, order_id: OrderId | None, body: Callable[[], Message] | None
    ) -> InboundMessage | SnapshotTaken:
        try:
            if body is None:
                raise Rejected(Reason.UNSUPPORTED)
            return self._opened(peer, order_id, body())
        except Rejected as refusal:
            return Refused(refusal.reason, refusal.metadata)

    def _opened(self, peer: Peer, order_id: OrderId | None, message: Message) -> InboundMessage | SnapshotTaken:
        match message:
            case Demand() | Declined() | Withdrawn() | VoucherRejected() | Cancel() | Dispute() | Inventory():
                return message
            case Snapshot():
                return open_snapshot(message, peer, self.root)
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
            case EndRefused(refusal):
                return EndRefusedBy(open_signed(EndRefusalBody, refusal, peer.key))
            case NotReturned(statement):
                return NotReturnedStated(open_signed(NotReturnedBody, statement, peer.key))
            case SerialClosed(statement, grant):
                device = open_grant(grant, self.root, Role.DEVICE)
                return SerialClosedReported(open_serial_closed(statement, device), device)
            case Amendment(amendment):
                return AmendmentProposed(open_signed(AmendmentBody, amendment, peer.key))
            case AmendmentAnswer(answer):
                return AmendmentAnswered(open_signed(AmendmentAnswerBody, answer, peer.key))
            case SettlementRequest(settlement_request):
                return SettlementRequested(open_signed(SettlementRequestBody, settlement_request, peer.key))
            case SettlementConfirmed(answer) | SettlementRefused(answer):
                return _settlement_answer(open_signed(SettlementAnswerBody, answer, peer.key), message)
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


def _settlement_answer(
    answer: Verified[SettlementAnswerBody], message: SettlementConfirmed | SettlementRefused
) -> SettlementAnswered:
    """Hold an answer to the message that it came in: only a refusal names an amount."""
    if (answer.body.disputed_minor == 0) is not isinstance(message, SettlementConfirmed):
        raise Rejected(Reason.MALFORMED, field="SettlementAnswerBody.disputed_minor", problem="does not fit its message")
    return SettlementAnswered(answer)
