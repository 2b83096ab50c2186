"""What a terminal's Snapshot adds to what the cloud knows: merged by evidence, as if it had been said when it happened.

A cloud restored from a backup has forgotten what came after it. Terminals keep the signed parts of their orders, and parts
count whoever brings them. First an order is brought to its voucher, out of offer, selection and voucher alone if it is not
known here at all: money and asset follow the voucher, which is out. What happened since is then decided by the life cycle like
any other message; what it knows already, or what does not fit, changes nothing. Source: ADR-0007.
"""

from msgspec import Struct

from cloud.domain import ledger
from cloud.domain.inbound import (
    EndConfirmedBy,
    EndRefusedBy,
    EndReported,
    EndRequested,
    OfferMade,
    OrderMessage,
    StartReported,
    TimerFired,
    VoucherIssued,
)
from cloud.domain.matching import reopen, require_funds
from cloud.domain.order import (
    AssetHold,
    Authorization,
    Decision,
    Facts,
    Order,
    Participant,
    Sender,
    Side,
    StandingOffer,
    StoredPart,
    Timer,
    Wait,
    Work,
)
from energyshare.agreement import require_agreed, terms_of
from energyshare.bodies import ChargeRecordBody, SelectionBody, Verified, VoucherBody
from energyshare.charging import hold_of
from energyshare.errors import Reason, Rejected
from energyshare.messages import Demand
from energyshare.records import replace
from energyshare.values import (
    AccountId,
    Digest,
    Instant,
    Kind,
    OrderId,
    OrderState,
    PartKind,
    PublicKey,
    TerminalId,
    later,
    of_unix_s,
)

ENDS = (EndRequested, EndReported, EndConfirmedBy, EndRefusedBy, TimerFired)
WITHOUT_VOUCHER = (OrderState.DEMANDED, OrderState.SELECTED, OrderState.CANCELLED, OrderState.EXPIRED)


class Agreement(Struct, frozen=True):
    """What binds both sides: an offer, its selection by the holder, and the voucher; each signature was checked."""

    offer: OfferMade
    selection: Verified[SelectionBody]
    voucher: VoucherIssued


class Happened(Struct, frozen=True):
    """Something that was signed, as the message that brings it; `side` is who signed it, or whose device did."""

    side: Side
    message: OrderMessage


class KnownOrder(Struct, frozen=True):
    """One order as a terminal knows it; parts that do not hold are left out. What happened is in its order.

    `record` is the first charge record, as the platform signed it before it forgot.
    """

    order_id: OrderId
    demand: Demand | None
    created: Instant | None
    agreement: Agreement | None
    happened: tuple[Happened, ...]
    record: ChargeRecordBody | None = None

    @property
    def holder_key(self) -> PublicKey | None:
        """The key that the voucher names, by which the user's terminal is found."""
        return self.agreement.voucher.opened.voucher.body.holder_key if self.agreement else None


class SnapshotTaken(Struct, frozen=True):
    """A page of a terminal's Snapshot, signatures checked."""

    orders: tuple[KnownOrder, ...]


class Holder(Struct, frozen=True):
    """The enrolled user's terminal whose key a voucher names."""

    terminal: TerminalId
    account_id: AccountId
    key: PublicKey


def catch_up(
    order: Order | None,
    known: KnownOrder,
    holder: Holder | None,
    sender: Sender,
    facts: Facts,
    kept: frozenset[Digest],
    now: Instant,
) -> Decision | None:
    """Give the next step that brings an order to its voucher; None when there is none to take, or none is proved.

    A voucher that its provider alone holds may be one that the cloud refused: it counts when its holder has it, or has
    presented it. `facts` hold the offer's asset and the holder's balances, `kept` the hashes of the order's stored parts.
    Raises: Rejected with NOT_A_PARTICIPANT, or naming what does not fit together.
    """
    agreement = known.agreement
    if order is not None and sender.terminal not in order.participants:
        raise Rejected(Reason.NOT_A_PARTICIPANT)
    if agreement is None or holder is None or not _is_behind(order, known):
        return None
    _require_whole(known.order_id, agreement, holder, facts)
    if sender.terminal != holder.terminal and not _was_presented(known):
        return None
    if order is not None and order.state is OrderState.SELECTED and order.selected != agreement.offer.offer.digest:
        return _counted(reopen(order, "RESTORED", now))
    return _counted(_authorized(order or _remade(known, holder, now), agreement, facts, kept, now))


def to_decide(known: KnownOrder) -> tuple[Happened, ...]:
    """Give what can be decided on: an end that was billed by a request to end waits for the one who brings that request."""
    named = {part.hash for part in known.record.parts if part.kind is PartKind.END_REQUEST} if known.record else set()
    brought = {happened.message.request.digest for happened in known.happened if isinstance(happened.message, EndRequested)}
    if named <= brought:
        return known.happened
    return tuple(happened for happened in known.happened if not isinstance(happened.message, ENDS))


def is_billing(order: Order, decision: Decision) -> bool:
    """Say whether a decision bills an order for the first time."""
    return order.bill is None and decision.statements is not None and decision.statements.charge is not None


def require_same_bill(decision: Decision, record: ChargeRecordBody) -> None:
    """Raise Rejected{BILL_TOTAL} unless a decision gives the bill that the platform signed before; no user trusts two."""
    charge = decision.statements.charge if decision.statements else None
    without_silence = tuple(part for part in record.parts if part.kind is not PartKind.SILENCE_DECISION)
    if charge != replace(record, parts=without_silence):
        raise Rejected(Reason.BILL_TOTAL, problem="it is not the bill that was signed before")


def sender_of(order: Order, happened: Happened, sender: Sender) -> Sender:
    """Give who stands for what was signed when it is decided on, whoever brought it."""
    if happened.side is sender.side:
        return sender
    if happened.side is Side.PROVIDER:
        return Sender(order.provider, Side.PROVIDER)
    return Sender(order.user, Side.USER, order.account_id, order.holder_key)


def _is_behind(order: Order | None, known: KnownOrder) -> bool:
    """Say whether the cloud knows of no voucher for an order."""
    if order is None:
        return known.demand is not None and known.created is not None
    return order.authorization is None and order.state in WITHOUT_VOUCHER


def _counted(decision: Decision) -> Decision:
    return replace(decision, order=replace(decision.order, version=decision.order.version + 1))


def _was_presented(known: KnownOrder) -> bool:
    return any(isinstance(happened.message, StartReported) for happened in known.happened)


def _require_whole(order_id: OrderId, agreement: Agreement, holder: Holder, facts: Facts) -> None:
    """Raise unless offer, selection and voucher are of this order, of each other, and of this holder."""
    offer, selection, voucher = agreement.offer.offer, agreement.selection, agreement.voucher.opened
    if not order_id == offer.body.order_id == selection.body.order_id:
        raise Rejected(Reason.VOUCHER_ORDER)
    if selection.body.offer_hash != offer.digest or selection.key != holder.key:
        raise Rejected(Reason.OFFER_FOREIGN)
    if voucher.voucher.key != offer.key:
        raise Rejected(Reason.GRANT_SUBJECT)
    if not offer.body.currency == selection.body.currency == facts.settings.currency:
        raise Rejected(Reason.CURRENCY_MISMATCH, needed=facts.settings.currency, given=offer.body.currency)
    if selection.body.hold_minor != hold_of(offer.body):
        raise Rejected(Reason.HOLD_MISMATCH, needed=str(hold_of(offer.body)), given=str(selection.body.hold_minor))
    require_agreed(voucher.voucher.body, voucher.grant.body, terms_of(offer.body, holder.key))


def _remade(known: KnownOrder, holder: Holder, now: Instant) -> Order:
    """Make an order that is not known here; its demand is only what was shown to people."""
    assert known.demand is not None
    assert known.created is not None
    return Order(
        id=known.order_id,
        state=OrderState.DEMANDED,
        version=0,
        account_id=holder.account_id,
        holder_key=holder.key,
        demand=known.demand,
        created=min(known.created, now),
        timer=None,
        participants={holder.terminal: Participant(holder.terminal, Side.USER)},
        offers={},
    )


def _authorized(order: Order, agreement: Agreement, facts: Facts, kept: frozenset[Digest], now: Instant) -> Decision:
    """Make an order AUTHORIZED: with its hold, or unsecured when the wallet no longer covers it."""
    standing = _standing(agreement.offer)
    provider = TerminalId(standing.provider_id)
    participants = {provider: Participant(provider, Side.PROVIDER), **order.participants}
    body = agreement.voucher.opened.voucher.body
    due = later(of_unix_s(body.not_after_unix_s), facts.settings.start_report_grace_s)
    restored = replace(
        order.with_offer(standing).to(OrderState.AUTHORIZED, Timer(Wait.START, due)),
        participants=participants,
        selected=standing.digest,
        selection_hash=agreement.selection.digest,
        authorization=_authorization(agreement.voucher.opened.voucher),
        work=Work(standing.items, standing.duration_s_max) if standing.kind is Kind.SERVICE else None,
    )
    secured, transfers = _secured(restored, facts, now)
    is_free = facts.asset is not None and facts.asset.held_by in (None, order.id)
    return Decision(
        secured,
        f"restored from a terminal's evidence, serial {body.serial}" + (", nothing is held" if secured.is_unsecured else ""),
        parts=tuple(part for part in _parts(agreement) if part.digest not in kept),
        transfers=transfers,
        asset=AssetHold(standing.asset_id, order.id) if is_free else None,
    )


def _secured(order: Order, facts: Facts, now: Instant) -> tuple[Order, tuple[ledger.Transfer, ...]]:
    """Hold what the offer may cost, unless it is held already; without the funds the bill will be owed."""
    needed, user = order.offer.to_hold, ledger.user_account(order.account_id)
    if order.held == needed:
        return order, ()
    freed = ledger.void(order.id, order.attempts, user, order.held, now)
    hold = ledger.hold(order.id, order.attempts + 1, user, needed, now)
    try:
        require_funds(hold, facts, freed)
    except Rejected:
        return replace(order, held=ledger.NONE, is_unsecured=True), freed
    return replace(order, held=needed, attempts=order.attempts + 1), (*freed, *hold)


def _standing(made: OfferMade) -> StandingOffer:
    offer = made.offer.body
    return StandingOffer(
        digest=made.offer.digest,
        provider_id=offer.provider_id,
        asset_id=offer.asset.asset_id,
        device_id=offer.asset.device_id,
        kind=offer.asset.kind,
        issuer_key=made.offer.key,
        tariff_hash=offer.asset.tariff_hash,
        energy_wh_max=offer.energy_wh_max,
        duration_s_max=offer.duration_s_max,
        return_grace_s=offer.return_grace_s,
        deposit_minor=offer.asset.deposit_minor,
        hold_minor=hold_of(offer),
        voucher_not_after=offer.voucher_not_after_time,
        expiry=offer.expiry_time,
        items=offer.items,
        quote_minor=offer.estimate_incl_vat_minor,
    )


def _authorization(voucher: Verified[VoucherBody]) -> Authorization:
    body = voucher.body
    return Authorization(voucher.digest, body.serial, body.epoch, body.not_before_unix_s, body.not_after_unix_s)


def _parts(agreement: Agreement) -> tuple[StoredPart, ...]:
    offer, selection, opened = agreement.offer.offer, agreement.selection, agreement.voucher.opened
    return (
        StoredPart(PartKind.OFFER, offer.digest, offer.signed),
        StoredPart(PartKind.SELECTION, selection.digest, selection.signed),
        StoredPart(PartKind.VOUCHER, opened.voucher.digest, opened.voucher.signed),
        StoredPart(PartKind.ISSUER_GRANT, opened.grant.digest, opened.grant.signed),
    )
