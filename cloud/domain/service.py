"""Services: extra work that the user approves, and the settlement that the provider asks for and the user confirms."""

from cloud.domain import ledger
from cloud.domain.inbound import (
    AmendmentAnswered,
    AmendmentProposed,
    RequestAcknowledged,
    SettlementAnswered,
    SettlementRequested,
)
from cloud.domain.inventory import problem_of
from cloud.domain.ledger import Amounts
from cloud.domain.matching import require_funds
from cloud.domain.order import (
    Decision,
    Disputed,
    Facts,
    Order,
    Proposal,
    Send,
    Sender,
    SettlementAsked,
    Side,
    StoredPart,
    Timer,
    Wait,
    Work,
)
from cloud.domain.settling import Rest, settle
from energyshare.bodies import AmendmentBody, SilenceDecisionBody
from energyshare.charging import Charge, added, extra_hold, is_within, lowered, service_charge
from energyshare.errors import Reason, Rejected
from energyshare.messages import Amendment, AmendmentAnswer, SettlementRequest
from energyshare.records import replace
from energyshare.tariff import TariffError
from energyshare.values import DurationS, Instant, Minor, Money, Number, OrderState, PartKind, later


def propose(order: Order, message: AmendmentProposed, sender: Sender, facts: Facts, now: Instant) -> Decision:
    """Relay a proposal of extra work whose price follows from the offer's tariff."""
    work, body = _work_of(order), message.amendment.body
    if work.proposal is not None:
        raise Rejected(Reason.AMENDMENT_OPEN)
    if body.order_id != order.id or body.number != work.amendments + 1:
        raise Rejected(Reason.AMENDMENT_UNKNOWN, expected=str(work.amendments + 1))
    needed = _extra_hold(work, body, facts)
    if body.hold_minor != needed:
        raise Rejected(Reason.AMENDMENT_HOLD, needed=str(needed), given=str(body.hold_minor))
    proposal = Proposal(message.amendment.digest, body.items, body.duration_s, body.hold_minor)
    proposed = replace(order, work=replace(work, amendments=body.number, proposal=proposal))
    part = StoredPart(PartKind.AMENDMENT, message.amendment.digest, message.amendment.signed, body.number)
    told = Send(order.user, Amendment(message.amendment.signed))
    return Decision(
        proposed, f"amendment {body.number}, {Money(facts.settings.currency, body.hold_minor)} more", (told,), (part,)
    )


def answer(order: Order, message: AmendmentAnswered, sender: Sender, facts: Facts, now: Instant) -> Decision:
    """Take the user's answer to a proposal; approved, it raises the hold."""
    work, body = _work_of(order), message.answer.body
    proposal = work.proposal
    if proposal is None or body.order_id != order.id or body.amendment_hash != proposal.digest:
        raise Rejected(Reason.AMENDMENT_UNKNOWN)
    part = StoredPart(PartKind.AMENDMENT_ANSWER, message.answer.digest, message.answer.signed, work.amendments)
    told = (Send(order.provider, AmendmentAnswer(message.answer.signed)),)
    if not body.approved:
        return Decision(replace(order, work=replace(work, proposal=None)), "refused", told, (part,))
    raised = order.held + Amounts(Minor(0) if order.is_unsecured else proposal.hold_minor)
    transfers = _raised(order, raised, facts, now)
    widened = replace(order, work=_widened(work, proposal))
    approved = replace(widened, held=raised, attempts=order.attempts + bool(transfers))
    return Decision(approved, "approved", told, (part,), transfers)


def request_settlement(order: Order, message: SettlementRequested, sender: Sender, facts: Facts, now: Instant) -> Decision:
    """Put a provider's itemised request to the user: within quote and approved amendments, and no more than they cost."""
    work, request = _work_of(order), message.request.body
    if request.order_id != order.id:
        raise Rejected(Reason.SETTLEMENT_UNKNOWN)
    if not is_within(request.items, work.items) or request.duration_s > work.duration_s_max:
        raise Rejected(Reason.SETTLEMENT_ITEMS)
    charged = _charged(order, message, facts)
    if request.total_minor != charged.incl_vat_minor:
        raise Rejected(Reason.SETTLEMENT_TOTAL, most=str(charged.incl_vat_minor), given=str(request.total_minor))
    envelope = Number(order.participants[order.user].last_out + 1)
    asked = SettlementAsked(message.request.digest, request.total_minor, envelope)
    due = later(now, facts.settings.wait_service_acknowledgement_s)
    ending = order.to(OrderState.ENDING, Timer(Wait.SERVICE_ACKNOWLEDGEMENT, due))
    part = StoredPart(PartKind.SETTLEMENT_REQUEST, message.request.digest, message.request.signed)
    told = tuple(Send(terminal, SettlementRequest(message.request.signed)) for terminal in order.users)
    return Decision(
        replace(ending, work=replace(work, proposal=None, asked=asked)),
        f"{Money(facts.settings.currency, request.total_minor)} for {request.duration_s} s and {len(request.items)} items",
        told,
        (part,),
    )


def note_acknowledged(order: Order, message: RequestAcknowledged, sender: None, facts: Facts, now: Instant) -> Decision:
    """Give the user from now on, as its terminal holds the request."""
    if order.timer is None or order.timer.wait is not Wait.SERVICE_ACKNOWLEDGEMENT:
        return Decision(order, "moved on")
    due = later(now, facts.settings.wait_service_confirmation_s)
    return Decision(replace(order, timer=Timer(Wait.SERVICE_CONFIRMATION, due)), "the user's terminal holds the request")


def answer_settlement(order: Order, message: SettlementAnswered, sender: Sender, facts: Facts, now: Instant) -> Decision:
    """Settle a service as its user confirmed; what it disputes stays held for a ruling."""
    work, body = _work_of(order), message.answer.body
    if work.asked is None or body.order_id != order.id or body.settlement_request_hash != work.asked.digest:
        raise Rejected(Reason.SETTLEMENT_UNKNOWN)
    total, disputed = work.asked.total_minor, body.disputed_minor
    if disputed > total:
        raise Rejected(Reason.DISPUTE_AMOUNT, most=str(total))
    part = StoredPart(PartKind.SETTLEMENT_ANSWER, message.answer.digest, message.answer.signed)
    charged = lowered(_requested(order, facts), Minor(total - disputed))
    due = Timer(Wait.RULING, later(now, facts.settings.wait_ruling_s))
    held = disputed and not order.is_unsecured
    claim = Disputed(Side.USER, disputed, is_settled=False, reason="the settlement was refused")
    rest = Rest(Amounts(disputed), OrderState.DISPUTED, due, claim) if held else None
    return settle(order, charged, facts, now, parts=(part,), rest=rest)


def settle_unanswered(order: Order, timer: Timer, silence: SilenceDecisionBody, facts: Facts, now: Instant) -> Decision:
    """Settle as requested; a request that never reached the user's terminal at most as quoted."""
    charged = _requested(order, facts)
    if timer.wait is Wait.SERVICE_ACKNOWLEDGEMENT:
        charged = lowered(charged, order.offer.quote_minor)
    return settle(order, charged, facts, now, silence=silence)


def _work_of(order: Order) -> Work:
    if order.work is None:
        raise Rejected(Reason.WRONG_STATE, kind=order.offer.kind.name)
    return order.work


def _extra_hold(work: Work, body: AmendmentBody, facts: Facts) -> Minor:
    assert facts.billing is not None
    offer = facts.billing.evidence.offer
    try:
        return extra_hold(offer, work.items, work.duration_s_max, body.items, body.duration_s)
    except TariffError as error:
        raise Rejected(Reason.AMENDMENT_HOLD, problem=problem_of(error)) from None


def _raised(order: Order, raised: Amounts, facts: Facts, now: Instant) -> tuple[ledger.Transfer, ...]:
    """Replace the hold by a higher one; raises Rejected{INSUFFICIENT_FUNDS}."""
    if raised == order.held:
        return ()
    user = ledger.user_account(order.account_id)
    freed = ledger.void(order.id, order.attempts, user, order.held, now)
    hold = ledger.hold(order.id, order.attempts + 1, user, raised, now)
    require_funds(hold, facts, freed)
    return (*freed, *hold)


def _widened(work: Work, proposal: Proposal) -> Work:
    return replace(
        work,
        items=added(work.items, proposal.items),
        duration_s_max=DurationS(work.duration_s_max + proposal.duration_s),
        extra_hold_minor=Minor(work.extra_hold_minor + proposal.hold_minor),
        proposal=None,
    )


def _charged(order: Order, message: SettlementRequested, facts: Facts) -> Charge:
    assert facts.billing is not None
    assert order.supply is not None
    try:
        return service_charge(facts.billing.evidence.offer, message.request.body, order.supply.started)
    except TariffError as error:
        raise Rejected(Reason.SETTLEMENT_ITEMS, problem=problem_of(error)) from None


def _requested(order: Order, facts: Facts) -> Charge:
    """Derive the bill of the settlement request that is stored."""
    assert facts.billing is not None
    assert facts.billing.request is not None
    assert order.supply is not None
    return service_charge(facts.billing.evidence.offer, facts.billing.request, order.supply.started)
