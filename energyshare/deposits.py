"""What may be claimed of a deposit: by the provider's statement that a battery stayed away, or by a ruling on its claim."""

from energyshare.bodies import EndRefusalBody, NotReturnedBody, RulingBody, SilenceDecisionBody
from energyshare.errors import Reason, Rejected
from energyshare.question import Question
from energyshare.values import ChargeBasis, Minor, later


def require_deposit(asked: Question) -> None:
    """Raise Rejected unless what is claimed of the deposit follows from a statement or a ruling."""
    claimed = asked.record.deposit_claimed_minor
    least, most = _claimable(asked)
    if not least <= claimed <= min(most, asked.evidence.offer.asset.deposit_minor):
        raise Rejected(Reason.BILL_HOLD, claimed=str(claimed), least=str(least), most=str(most))


def _claimable(asked: Question) -> tuple[Minor, Minor]:
    """Give the least and the most that may be claimed of the deposit."""
    statement, before = asked.opened.maybe(NotReturnedBody), asked.before
    if statement is not None and asked.evidence.end is None:
        _require_overdue(asked, statement.body)
        deposit = asked.evidence.offer.asset.deposit_minor
        return (Minor(0) if _may_be_given_back(asked) else deposit), deposit
    refusal, ruling = asked.opened.maybe(EndRefusalBody), asked.opened.maybe(RulingBody)
    if refusal is None or ruling is None:
        return Minor(0), Minor(0)
    if before is not None and asked.is_ruled_again:
        return Minor(0), before.deposit_claimed_minor
    return ruling.body.charged_minor, min(ruling.body.charged_minor, refusal.body.claimed_minor)


def _may_be_given_back(asked: Question) -> bool:
    """Say whether a claimed deposit may have gone back: by a ruling, or by a late receipt that would bill more."""
    if asked.record.corrects_hash is None:
        return False
    return asked.record.basis is ChargeBasis.RULING or asked.before is None or asked.before.deposit_claimed_minor > 0


def _require_overdue(asked: Question, statement: NotReturnedBody) -> None:
    """Raise unless the provider's statement is of a battery that silently stayed away past cap and grace."""
    record, evidence = asked.record, asked.evidence
    due = later(record.start_time, evidence.voucher.duration_s_max + evidence.offer.return_grace_s)
    is_silent = asked.opened.maybe(SilenceDecisionBody) is not None
    if statement.stated_time < due or not is_silent:
        raise Rejected(Reason.NOT_OVERDUE)
