"""An order as one of its terminals may know it, and what it is still asked for. Source: ADR-0007.

A user's account sees all of an order. A provider sees its own offers, and the rest once its offer is the selected one.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from cloud.domain.order import Order, Participant, Side, StoredPart
from energyshare.bodies import Part
from energyshare.messages import Amendment, Award, Cancel, ConfirmEnd, Message, SettlementRequest, SnapshotOrder
from energyshare.snapshots import bounded
from energyshare.values import Digest, Kind, OrderState, PartKind, ProviderId, PublicKey

BEFORE_VOUCHER = (OrderState.DEMANDED, OrderState.SELECTED)
RUNNING = (OrderState.ACTIVE, OrderState.ENDING)

Grants = Mapping[ProviderId, bytes]
"""The serialized Signed grants of issuing keys, by provider."""


def known_to(participant: Participant, order: Order, parts: Sequence[StoredPart], grants: Grants) -> SnapshotOrder:
    """Give what a terminal may know of an order; `parts` are in the order of kind and number."""
    if participant.side is not Side.PROVIDER:
        return _told(order, order.state, (*_as_parts(parts), *_grants_of_offers(order, grants)))
    own = [part for part in parts if part.kind is not PartKind.OFFER or _is_by(participant, order, part.digest)]
    if order.selected is not None and order.provider == participant.terminal:
        return _told(order, order.state, _as_parts(own))
    if order.state in BEFORE_VOUCHER:
        return _told(order, OrderState.DEMANDED, _as_parts(part for part in own if part.kind is PartKind.OFFER))
    return _told(order, OrderState.CANCELLED, ())


def asked_of(participant: Participant, order: Order, parts: Sequence[StoredPart], requester: PublicKey) -> Iterator[Message]:
    """Give what an order waits for from a terminal, to be asked once more; `requester` signed the request to end."""
    by_digest = {part.digest: part.signed for part in parts}
    if order.state is OrderState.AUTHORIZED and order.cancel_reason:
        yield Cancel(order.cancel_reason)
    if participant.side is Side.USER and order.work is not None and order.work.proposal is not None:
        yield Amendment(by_digest[order.work.proposal.digest])
    if participant.side is Side.USER and order.work is not None and order.work.asked is not None:
        yield SettlementRequest(by_digest[order.work.asked.digest])
    if order.selected is None or order.provider != participant.terminal:
        return
    if order.state is OrderState.SELECTED and order.selection_hash is not None:
        yield Award(by_digest[order.selection_hash], order.holder_key)
    if order.state in RUNNING and order.offer.kind is not Kind.SERVICE:
        yield from _end_to_confirm(order, parts, by_digest, requester)


def _end_to_confirm(
    order: Order, parts: Sequence[StoredPart], by_digest: Mapping[Digest, bytes], requester: PublicKey
) -> Iterator[ConfirmEnd]:
    if order.timer is None or (order.end_hash is None and order.end_request_hash is None):
        return
    request = by_digest[order.end_request_hash] if order.end_request_hash else None
    receipt = by_digest[order.end_hash] if order.end_hash else None
    grant = next((part.signed for part in parts if part.kind is PartKind.DEVICE_GRANT), None) if receipt else None
    yield ConfirmEnd(request, receipt, order.timer.due, grant, requester if request else None)


def _told(order: Order, state: OrderState, parts: Sequence[Part]) -> SnapshotOrder:
    return SnapshotOrder(order.id, state, bounded(parts), order.demand, order.created)


def _as_parts(parts: Iterable[StoredPart]) -> tuple[Part, ...]:
    return tuple(Part(part.kind, part.signed) for part in parts)


def _is_by(participant: Participant, order: Order, offer: Digest) -> bool:
    return offer in order.offers and bytes(order.offers[offer].provider_id) == bytes(participant.terminal)


def _grants_of_offers(order: Order, grants: Grants) -> Iterator[Part]:
    """Give the grants by which offers are checked; once a voucher is out, its own is among the parts."""
    if order.state in BEFORE_VOUCHER:
        for provider in sorted({offer.provider_id for offer in order.offers.values()}):
            if provider in grants:
                yield Part(PartKind.ISSUER_GRANT, grants[provider])
