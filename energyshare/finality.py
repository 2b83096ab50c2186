"""What made a bill final, and at which amount: one list of rules per basis.

A supply or rental becomes final by the provider's confirmation, by its refusal with a claim, or by silence; a service by the
user's answer to a settlement request, or by silence. A ruling changes the disputed part only. The first rule that does not
hold is raised with its reason.
Source: DESIGN.md sections 4 and 6; docs/evidence.md; docs/adr/0008-corrections.md.
"""

from msgspec import Struct

from energyshare.bodies import (
    ChargeRecordBody,
    EndConfirmationBody,
    EndReceiptBody,
    EndRefusalBody,
    EndRequestBody,
    RulingBody,
    SelectionBody,
    SettlementAnswerBody,
    SettlementRequestBody,
    SilenceDecisionBody,
    Verified,
)
from energyshare.charging import Charge, best_basis, charge, is_within, lowered, service_charge
from energyshare.deposits import require_deposit
from energyshare.errors import Reason, Rejected
from energyshare.question import Question
from energyshare.records import replace
from energyshare.values import ChargeBasis, Digest, Instant, Kind, Minor, later, of_unix_s

CLOCK_SLACK_S = 600  # how far the clocks of user, device and cloud may lie apart


class Outcome(Struct, frozen=True):
    """A bill as tariff and session give it, as it is billed, and what made the difference."""

    full: Charge
    charged: Charge
    because: tuple[str, ...]


def supplied(asked: Question) -> Outcome:
    """Derive the bill of a supply or a rental.

    Raises: Rejected with the reason of the first rule that does not hold.
    """
    confirmed = _confirmed_total(asked)
    _require_silence(asked)
    basis = _require_basis(asked)
    require_deposit(asked)
    _require_start_time(asked)
    full = charge(asked.evidence, basis, asked.record.start_time)
    because = ("the provider asked for no more",) if confirmed is not None else ()
    return _ruled(asked, Outcome(full, lowered(full, confirmed), because))


def served(asked: Question) -> Outcome:
    """Derive the bill of a service.

    Raises: Rejected with the reason of the first rule that does not hold.
    """
    record = asked.record
    if record.basis not in (ChargeBasis.QUOTE, ChargeBasis.RULING):
        raise Rejected(Reason.BILL_BASIS, basis=record.basis.name)
    if record.deposit_claimed_minor:
        raise Rejected(Reason.BILL_HOLD, problem="a service claims nothing of a deposit")
    request = asked.opened.one(SettlementRequestBody)
    if not is_within(request.body.items, asked.agreed.items) or request.body.duration_s > asked.agreed.duration_s:
        raise Rejected(Reason.SETTLEMENT_ITEMS)
    _require_start_time(asked)
    full = service_charge(asked.evidence.offer, request.body, record.start_time)
    if full.incl_vat_minor != request.body.total_minor:
        raise Rejected(Reason.SETTLEMENT_TOTAL, most=str(full.incl_vat_minor), given=str(request.body.total_minor))
    undisputed, why = _answered_total(asked, request)
    return _ruled(asked, Outcome(full, lowered(full, undisputed), why))


def _ruled(asked: Question, final: Outcome) -> Outcome:
    """Give the bill as a ruling left it: what was disputed from the start it may add, what was disputed later it may lower."""
    record = asked.record
    ruling = _ruling(asked)
    if ruling is None:
        return final
    if ruling.ruled_time > record.settled_time or record.corrects_hash is None:
        raise Rejected(Reason.BILL_BASIS, problem="the ruling was made later, or corrects nothing")
    if record.incl_vat_minor + record.deposit_claimed_minor < ruling.charged_minor:
        raise Rejected(Reason.BILL_BASIS, problem="less is billed than the ruling charges")
    total = _total_after(asked, ruling, final.charged)
    ruled = replace(lowered(final.full, total), basis=ChargeBasis.RULING)
    return Outcome(final.full, ruled, (*final.because, f"the operator ruled: {ruling.reason}"))


def _ruling(asked: Question) -> RulingBody | None:
    """Give the ruling, which is there exactly when the bill rests on one."""
    ruling = asked.opened.maybe(RulingBody)
    if (ruling is not None) is not (asked.record.basis is ChargeBasis.RULING):
        raise Rejected(Reason.BILL_BASIS, basis=asked.record.basis.name)
    return ruling.body if ruling else None


def _total_after(asked: Question, ruling: RulingBody, charged: Charge) -> Minor:
    """Give what the ruling allows with VAT; where only the cloud knows what was disputed, no more than before."""
    before, billed = asked.before, asked.record.incl_vat_minor
    if before is not None and asked.is_ruled_again:
        return min(billed, before.incl_vat_minor)
    answer = asked.opened.maybe(SettlementAnswerBody)
    disputed = answer.body.disputed_minor if answer else 0
    if disputed:
        if ruling.charged_minor > disputed:
            raise Rejected(Reason.DISPUTE_AMOUNT, most=str(disputed), given=str(ruling.charged_minor))
        return Minor(min(billed, charged.incl_vat_minor + ruling.charged_minor))
    if asked.opened.maybe(EndRefusalBody):
        return charged.incl_vat_minor
    return min(billed, charged.incl_vat_minor)


def _confirmed_total(asked: Question) -> Minor | None:
    """Check who let the bill become final, and give the most that the provider asked for."""
    confirmation, refusal = asked.opened.maybe(EndConfirmationBody), asked.opened.maybe(EndRefusalBody)
    if [confirmation, refusal, asked.opened.maybe(SilenceDecisionBody)].count(None) != 2:
        raise Rejected(Reason.PART_MISSING, part="END_ANSWER", problem="it takes one confirmation, refusal or silence")
    if confirmation is not None:
        _require_answer_to(asked, confirmation.body)
        return confirmation.body.total_minor_max
    if refusal is not None:
        _require_answer_to(asked, refusal.body)
    return None


def _require_answer_to(asked: Question, answer: EndConfirmationBody | EndRefusalBody) -> None:
    """Raise unless an answer is to the end that is billed, or to a request whose receipt came later and corrects the bill."""
    end, request = asked.opened.maybe(EndReceiptBody), asked.opened.maybe(EndRequestBody)
    if end is None and request is None:
        raise Rejected(Reason.PART_MISSING, part="END_RECEIPT", problem="nor is there an END_REQUEST")
    answered: set[Digest | None] = {end.digest if end else None}
    if asked.record.corrects_hash is not None and request is not None:
        answered.add(None)
    if answer.end_receipt_hash not in answered:
        raise Rejected(Reason.CONFIRMATION_FOREIGN)


def _answered_total(asked: Question, request: Verified[SettlementRequestBody]) -> tuple[Minor | None, tuple[str, ...]]:
    """Check the user's answer to a settlement request, or its silence; give the most that is undisputed by it, and why."""
    answer, silence = asked.opened.maybe(SettlementAnswerBody), asked.opened.maybe(SilenceDecisionBody)
    if answer is not None and silence is None:
        return _undisputed(asked, request, answer.body)
    if answer is not None or silence is None:
        raise Rejected(Reason.PART_MISSING, part="SETTLEMENT_ANSWER", problem="it takes one answer or silence")
    _require_waited(asked.record, silence.body, later(asked.record.start_time, request.body.duration_s))
    match silence.body.waited_for:
        case "SERVICE_CONFIRMATION":
            return None, ()
        case "SERVICE_ACKNOWLEDGEMENT":
            return asked.evidence.offer.estimate_incl_vat_minor, ("the request never reached the user: at most the quote",)
        case other:
            raise Rejected(Reason.BILL_BASIS, waited_for=other)


def _undisputed(
    asked: Question, request: Verified[SettlementRequestBody], answer: SettlementAnswerBody
) -> tuple[Minor, tuple[str, ...]]:
    if answer.settlement_request_hash != request.digest:
        raise Rejected(Reason.SETTLEMENT_UNKNOWN)
    total = request.body.total_minor
    if answer.disputed_minor > total:
        raise Rejected(Reason.DISPUTE_AMOUNT, most=str(total), given=str(answer.disputed_minor))
    return Minor(total - answer.disputed_minor), ("the user refused the rest",) if answer.disputed_minor else ()


def _require_silence(asked: Question) -> None:
    """Raise unless a decision taken on silence waited for what its basis says, and long enough."""
    silence = asked.opened.maybe(SilenceDecisionBody)
    if silence is None:
        return
    earliest = _fitting_waits(asked).get(silence.body.waited_for)
    if earliest is None:
        raise Rejected(Reason.BILL_BASIS, waited_for=silence.body.waited_for)
    _require_waited(asked.record, silence.body, earliest)


def _fitting_waits(asked: Question) -> dict[str, Instant]:
    """Give what may have been waited for, and until when at least; a late end receipt reverses an earlier silence."""
    record, evidence = asked.record, asked.evidence
    used_up = later(record.start_time, evidence.voucher.duration_s_max)
    stayed_away = {
        Kind.BATTERY: {"RETURN": later(used_up, evidence.offer.return_grace_s)},
        Kind.ENERGY: {"END_OF_SUPPLY": used_up},
        Kind.SERVICE: {},
    }[record.kind]
    if evidence.end is None:
        return stayed_away
    ended = max(record.start_time, later(record.start_time, evidence.end.elapsed_s - CLOCK_SLACK_S))
    return {"CONFIRMATION": ended} | (stayed_away if record.corrects_hash is not None else {})


def _require_waited(record: ChargeRecordBody, silence: SilenceDecisionBody, earliest: Instant) -> None:
    is_in_order = earliest <= silence.due_time <= silence.decided_time <= record.settled_time
    is_of_record = record.corrects_hash is not None or silence.decided_time == record.settled_time
    if not is_in_order or not is_of_record:
        raise Rejected(Reason.BILL_BASIS, waited_for=silence.waited_for, problem="decided too soon, or not of this bill")


def _require_basis(asked: Question) -> ChargeBasis:
    """Give what the price rests on: the best evidence; a battery that silently stayed away is charged to its caps."""
    is_silent = asked.evidence.end is None and asked.opened.maybe(SilenceDecisionBody) is not None
    is_away = is_silent and asked.record.kind is Kind.BATTERY
    basis = ChargeBasis.CAP if is_away else best_basis(asked.evidence)
    if asked.record.basis not in (basis, ChargeBasis.RULING):
        raise Rejected(Reason.BILL_BASIS, basis=asked.record.basis.name, best=basis.name)
    return basis


def _require_start_time(asked: Question) -> None:
    """Raise unless billing began at the receipt's time, or, if that lay ahead, when the receipt arrived.

    When it arrived only the cloud knows; it can't have been before the holder selected.
    """
    record, evidence = asked.record, asked.evidence
    assert evidence.start is not None
    selected = asked.opened.one(SelectionBody).body.selected_time
    opens = of_unix_s(evidence.voucher.not_before_unix_s)
    earliest, latest = max(opens, later(selected, -CLOCK_SLACK_S)), max(opens, evidence.start.start_time)
    if not min(earliest, latest) <= record.start_time <= latest:
        raise Rejected(Reason.BILL_SESSION, problem="its start lies outside what selection and receipt allow")
