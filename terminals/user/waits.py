"""Until when what: the times that matter to a user in each state.

What a voucher, an offer or a device fixes is exact. How long the cloud waits is its operator's to set, and given here with the
default (docs/order-states.md).
"""

from collections.abc import Iterator, Sequence

from energyshare.bodies import ChargeRecordBody, EndRequestBody, VoucherBody
from energyshare.values import DAY_S, ChargeBasis, Kind, PartKind, later, of_unix_s
from energyshare.wire import reread
from terminals.showing import Wait
from terminals.user.seen import Seen

CONFIRMATION_S = 600
ANSWER_S = 2 * DAY_S
DISPUTE_S = 3 * DAY_S
RULING_S = 14 * DAY_S
NOT_RETURNED_S = 7 * DAY_S


def waits_of(seen: Seen) -> Iterator[Wait]:
    """Give the times that matter now."""
    match seen.order.state:
        case "DEMANDED":
            yield from _until_selected(seen)
        case "AUTHORIZED":
            yield from _until_started(seen)
        case "ACTIVE":
            yield from _until_ended(seen)
        case "ENDING":
            yield from _until_settled(seen)
        case "SETTLED" if seen.bills:
            yield from _until_final(seen)
        case "DISPUTED":
            disputed = seen.last_heard("Dispute", "SettlementRefused", "Settled")
            if disputed is not None:
                yield Wait("without a ruling it is decided at", later(disputed, RULING_S))


def _until_selected(seen: Seen) -> Iterator[Wait]:
    if seen.offers:
        yield Wait("the last offer binds until", max(offer.expiry_time for offer in seen.offers))


def _until_started(seen: Seen) -> Iterator[Wait]:
    voucher = seen.signed(PartKind.VOUCHER)
    if voucher is not None:
        yield Wait("the voucher opens until", of_unix_s(reread(VoucherBody, voucher).not_after_unix_s))


def _until_ended(seen: Seen) -> Iterator[Wait]:
    agreed, start = seen.agreed, seen.start
    if agreed is None or start is None:
        return
    cap = later(start, agreed.duration_s)
    match agreed.offer.asset.kind:
        case Kind.BATTERY:
            yield Wait("to be brought back by", cap)
            yield Wait("not brought back, charged to its caps at", later(cap, agreed.offer.return_grace_s))
        case Kind.ENERGY:
            yield Wait("the device closes at", cap)
        case Kind.SERVICE:
            yield Wait("the time agreed is over at", cap)


def _until_settled(seen: Seen) -> Iterator[Wait]:
    request, heard = seen.signed(PartKind.END_REQUEST), seen.last_heard("SettlementRequest")
    if seen.order.waiting_settlement is not None and heard is not None:
        yield Wait("without an answer it is settled as asked at", later(heard, ANSWER_S))
    elif request is not None:
        asked = reread(EndRequestBody, request).requested_time
        yield Wait("without the provider's word it is settled at", later(asked, CONFIRMATION_S))


def _until_final(seen: Seen) -> Iterator[Wait]:
    settled = seen.bills[-1].settled_time
    yield Wait("the bill can be disputed until", later(settled, DISPUTE_S))
    if is_deposit_held(seen.bills):
        yield Wait("not claimed by its provider, the deposit comes back at", later(settled, NOT_RETURNED_S))


def is_deposit_held(bills: Sequence[ChargeRecordBody]) -> bool:
    """Say whether a battery was charged to its caps, and its deposit waits for the provider's word."""
    return len(bills) == 1 and bills[0].kind is Kind.BATTERY and bills[0].basis is ChargeBasis.CAP


def deposit_word(bills: Sequence[ChargeRecordBody]) -> str:
    """Say what became of the deposit beside what was kept of it."""
    return "deposit held for 7 days, for the provider's word" if is_deposit_held(bills) else "deposit back"
