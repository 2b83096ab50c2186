"""Opening a terminal's Snapshot: each part's signature is checked on its own, and what does not hold is left out.

Keys follow from the parts themselves, from the platform root down: the voucher's grant names
the issuing key, the voucher names the holder's; that the holder is enrolled is for the processor to look up. Source: ADR-0007.
"""

import logging
from collections.abc import Callable, Iterator
from typing import TypeVar

from cloud.domain.inbound import (
    AmendmentAnswered,
    AmendmentProposed,
    EndConfirmedBy,
    EndRefusedBy,
    EndReported,
    EndRequested,
    NotReturnedStated,
    OfferMade,
    ReadingsReported,
    SelectionMade,
    SerialClosedReported,
    SettlementAnswered,
    SettlementRequested,
    StartReported,
    TimerFired,
    VoucherIssued,
)
from cloud.domain.merging import Agreement, Happened, KnownOrder, SnapshotTaken
from cloud.domain.order import Side
from cloud.work import Peer
from energyshare.bodies import (
    AmendmentAnswerBody,
    AmendmentBody,
    ChargeRecordBody,
    EndConfirmationBody,
    EndRefusalBody,
    EndRequestBody,
    GrantBody,
    NotReturnedBody,
    OfferBody,
    OpenedVoucher,
    ReadingBody,
    SelectionBody,
    SettlementAnswerBody,
    SettlementRequestBody,
    SilenceDecisionBody,
    Verified,
    VoucherBody,
)
from energyshare.credentials import (
    open_end_receipt,
    open_grant,
    open_issued,
    open_readings,
    open_serial_closed,
    open_start_receipt,
)
from energyshare.errors import Rejected
from energyshare.messages import Snapshot, SnapshotOrder
from energyshare.values import Kind, PartKind, ProviderId, PublicKey, Role
from energyshare.wire import BodyT, Presentable, encode_presentable, open_signed

T = TypeVar("T")
K = PartKind
GRANTS = {Role.ISSUER: K.ISSUER_GRANT, Role.DEVICE: K.DEVICE_GRANT, Role.PLATFORM: K.PLATFORM_GRANT}
logger = logging.getLogger(__name__)


def open_snapshot(snapshot: Snapshot, peer: Peer, root: PublicKey) -> SnapshotTaken:
    """Open all that holds of a terminal's Snapshot."""
    return SnapshotTaken(tuple(_Opening(order, peer, root).opened() for order in snapshot.orders))


class _Opening:
    """The parts of one order, opened kind by kind."""

    def __init__(self, order: SnapshotOrder, peer: Peer, root: PublicKey) -> None:
        self._order = order
        self._peer = peer
        self._root = root
        self._parts: dict[PartKind, list[bytes]] = {}
        for part in order.parts:
            self._parts.setdefault(part.kind, []).append(part.signed)

    def opened(self) -> KnownOrder:
        """Give what holds, in the order in which it came about."""
        agreements = [one for grant in self._grants(Role.ISSUER) for one in self._agreements(grant)]
        happened = tuple(self._since(agreements[0]) if agreements else self._before_a_voucher())
        agreement, order = agreements[0] if agreements else None, self._order
        return KnownOrder(order.order_id, order.demand, order.created_time, agreement, happened, self._first_record())

    def _all(self, kind: PartKind, open_one: Callable[[bytes], T]) -> list[T]:
        """Open the parts of a kind, leaving out what does not hold."""
        found = []
        for signed in self._parts.get(kind, ()):
            try:
                found.append(open_one(signed))
            except Rejected as refusal:
                logger.info("a %s of a Snapshot does not hold: %s", kind.name, refusal)
        return found

    def _by(self, key: PublicKey, kind: PartKind, cls: type[BodyT]) -> list[Verified[BodyT]]:
        """Open what a key signed about this order."""
        opened = self._all(kind, lambda signed: open_signed(cls, signed, key))
        return [one for one in opened if getattr(one.body, "order_id", None) == self._order.order_id]

    def _grants(self, role: Role) -> list[Verified[GrantBody]]:
        return self._all(GRANTS[role], lambda signed: open_grant(signed, self._root, role))

    def _by_platform(self, kind: PartKind, cls: type[BodyT]) -> list[Verified[BodyT]]:
        """Open what the platform signed about this order before it forgot."""
        keys = {grant.body.public_key for grant in self._grants(Role.PLATFORM)}
        return [one for key in sorted(keys) for one in self._by(key, kind, cls)]

    def _first_record(self) -> ChargeRecordBody | None:
        records = (record.body for record in self._by_platform(K.CHARGE_RECORD, ChargeRecordBody))
        return next((record for record in records if record.corrects_hash is None), None)

    def _agreements(self, grant: Verified[GrantBody]) -> Iterator[Agreement]:
        """Give the vouchers under a grant, each with its offer and the holder's selection of it."""
        provider, key = ProviderId(grant.body.subject_id), grant.body.public_key
        offers = self._all(K.OFFER, lambda signed: open_issued(OfferBody, signed, grant, provider))
        for voucher in self._by(key, K.VOUCHER, VoucherBody):
            for selection in self._by(voucher.body.holder_key, K.SELECTION, SelectionBody):
                for offer in offers:
                    if offer.digest == selection.body.offer_hash and offer.body.asset.device_id == voucher.body.device_id:
                        presentable = encode_presentable(Presentable(voucher.signed, grant.signed))
                        issued = VoucherIssued(OpenedVoucher(voucher, grant), presentable)
                        yield Agreement(OfferMade(offer, grant), selection, issued)

    def _before_a_voucher(self) -> Iterator[Happened]:
        """Give a provider's own offers, or a user's own selection."""
        if self._peer.role == Side.USER:
            for selection in self._by(self._peer.key, K.SELECTION, SelectionBody):
                yield Happened(Side.USER, SelectionMade(selection))
            return
        for grant in self._grants(Role.ISSUER):
            for offer in self._by(self._peer.key, K.OFFER, OfferBody):
                yield Happened(Side.PROVIDER, OfferMade(offer, grant))

    def _since(self, agreement: Agreement) -> Iterator[Happened]:
        """Give what happened after the voucher."""
        holder = agreement.voucher.opened.voucher.body.holder_key
        issuer = agreement.voucher.opened.grant.body.public_key
        for device in self._grants(Role.DEVICE):
            yield from self._start(device, holder)
        yield from self._service(holder, issuer)
        if agreement.offer.offer.body.asset.kind is not Kind.SERVICE:
            for device in self._grants(Role.DEVICE):
                yield from self._metered(device, holder, issuer)
        yield from self._closing(issuer)

    def _start(self, device: Verified[GrantBody], holder: PublicKey) -> Iterator[Happened]:
        for start in self._all(K.START_RECEIPT, lambda signed: open_start_receipt(signed, device, holder)):
            yield Happened(Side.USER, StartReported(start, device))

    def _metered(self, device: Verified[GrantBody], holder: PublicKey, issuer: PublicKey) -> Iterator[Happened]:
        """Give readings and ends; a request to end is brought with the receipt that it names."""
        for readings in self._readings(device):
            yield Happened(Side.PROVIDER, ReadingsReported(readings, device))
        ends = self._all(K.END_RECEIPT, lambda signed: open_end_receipt(signed, device, holder, issuer))
        by_digest = {end.receipt.digest: end for end in ends}
        for request in self._by(holder, K.END_REQUEST, EndRequestBody):
            named = request.body.end_receipt_hash
            if named is None or named in by_digest:
                end = by_digest.pop(named) if named is not None else None
                yield Happened(Side.USER, EndRequested(request, end, device if end else None))
        for end in by_digest.values():
            yield Happened(Side.PROVIDER, EndReported(end, device))

    def _readings(self, device: Verified[GrantBody]) -> Iterator[tuple[Verified[ReadingBody], ...]]:
        """Give the readings as one chain; a broken one proves nothing."""
        try:
            readings = open_readings(tuple(self._parts.get(K.READING, ())), device)
        except Rejected as refusal:
            logger.info("the readings of a Snapshot do not hold: %s", refusal)
            return
        if readings:
            yield readings

    def _service(self, holder: PublicKey, issuer: PublicKey) -> Iterator[Happened]:
        """Give amendments, each with its answer, and what was asked for the whole."""
        answers = self._by(holder, K.AMENDMENT_ANSWER, AmendmentAnswerBody)
        for amendment in sorted(self._by(issuer, K.AMENDMENT, AmendmentBody), key=lambda one: one.body.number):
            yield Happened(Side.PROVIDER, AmendmentProposed(amendment))
            for answer in answers:
                if answer.body.amendment_hash == amendment.digest:
                    yield Happened(Side.USER, AmendmentAnswered(answer))
        for request in self._by(issuer, K.SETTLEMENT_REQUEST, SettlementRequestBody):
            yield Happened(Side.PROVIDER, SettlementRequested(request))
        for settled in self._by(holder, K.SETTLEMENT_ANSWER, SettlementAnswerBody):
            yield Happened(Side.USER, SettlementAnswered(settled))

    def _closing(self, issuer: PublicKey) -> Iterator[Happened]:
        """Give who let the bill become final, and what a device signed about a voucher that was not used."""
        for confirmation in self._by(issuer, K.END_CONFIRMATION, EndConfirmationBody):
            yield Happened(Side.PROVIDER, EndConfirmedBy(confirmation))
        for refusal in self._by(issuer, K.END_REFUSAL, EndRefusalBody):
            yield Happened(Side.PROVIDER, EndRefusedBy(refusal))
        for statement in self._by(issuer, K.NOT_RETURNED, NotReturnedBody):
            yield Happened(Side.PROVIDER, NotReturnedStated(statement))
        for silence in self._by_platform(K.SILENCE_DECISION, SilenceDecisionBody):
            yield Happened(Side.OPERATOR, TimerFired(silence.body.waited_for, silence.body.due_time))
        for device in self._grants(Role.DEVICE):
            yield from self._burned(device)

    def _burned(self, device: Verified[GrantBody]) -> Iterator[Happened]:
        for closed in self._all(K.SERIAL_CLOSED, lambda signed: open_serial_closed(signed, device)):
            yield Happened(Side.PROVIDER, SerialClosedReported(closed, device))
