"""Payments inside the processor: begun and ended, each in the transaction of the money that it moves.

Between the two the gateway is asked, outside of the processor (cloud.payments). Every function can be run again: a request
begins its payments once, and a payment ends once.
"""

from sqlalchemy import delete, insert, select, update

from cloud.domain import ledger
from cloud.domain.funds import (
    GONE,
    Outcome,
    Payment,
    PaymentId,
    Purpose,
    chargeback_id,
    concluded,
    opening,
    payment_id,
    split,
)
from cloud.domain.ledger import LedgerAccount
from cloud.store.payment_tables import payments, payout_accounts
from cloud.store.payments import one_payment, payment_of, payment_row, refundable, top_up_named
from cloud.store.statements import payable_minor
from cloud.store.tables import alerts, transfers
from cloud.work import WorkingSet
from energyshare.errors import Reason, Rejected
from energyshare.records import replace
from energyshare.values import AccountId, Instant, Minor, Money, ProviderId, RequestId


def begin_top_up(
    work: WorkingSet, now: Instant, *, account: AccountId, request: RequestId, paid: Money, gateway: str
) -> Payment:
    """Write a top-up down before the gateway is asked; once per request id.

    Raises: Rejected with AMOUNT_NOT_POSITIVE, AMOUNT_TOO_LARGE or CURRENCY_MISMATCH.
    """
    _require_payable(work, paid)
    name = payment_id(Purpose.TOP_UP, account, request)
    user = ledger.user_account(account)
    return _begun(work, name) or _begin(work, Payment(name, Purpose.TOP_UP, user, paid.amount_minor, now, gateway))


def begin_withdrawal(
    work: WorkingSet, now: Instant, *, account: AccountId, request: RequestId, paid: Money, gateway: str
) -> list[Payment]:
    """Debit a withdrawal, divided over the top-ups that it gives back, newest first; once per request id.

    Raises: Rejected with AMOUNT_NOT_POSITIVE, AMOUNT_TOO_LARGE, CURRENCY_MISMATCH, INSUFFICIENT_FUNDS or
    WITHDRAWAL_NOT_COVERED.
    """
    _require_payable(work, paid)
    begun = _begun_parts(work, account, request)
    if begun:
        return begun
    user = ledger.user_account(account)
    if work.balance(user).available_minor < paid.amount_minor:
        raise Rejected(Reason.INSUFFICIENT_FUNDS)
    found = work.unit.rows(refundable(user, gateway))
    sources = {PaymentId(row.id): row.gateway_id for row in found}
    parts = split(paid.amount_minor, [(PaymentId(row.id), Minor(row.rest)) for row in found])
    names = (payment_id(Purpose.WITHDRAWAL, account, request, number) for number in range(1, len(parts) + 1))
    return _begin_all(
        work,
        [
            Payment(name, Purpose.WITHDRAWAL, user, part, now, gateway, refunds=top_up, destination=sources[top_up])
            for name, (top_up, part) in zip(names, parts, strict=True)
        ],
    )


def begin_payout(
    work: WorkingSet, now: Instant, *, provider: ProviderId, request: RequestId, paid: Money, gateway: str
) -> Payment:
    """Debit what a provider is paid, of what is payable by now; once per request id.

    Raises: Rejected with AMOUNT_NOT_POSITIVE, AMOUNT_TOO_LARGE, CURRENCY_MISMATCH, PAYOUT_TOO_LARGE or PAYOUT_ACCOUNT.
    """
    _require_payable(work, paid)
    name = payment_id(Purpose.PAYOUT, provider, request)
    begun = _begun(work, name)
    if begun is not None:
        return begun
    account = ledger.provider_account(provider)
    payable = payable_minor(work.unit.rows, provider, now, work.settings) - _debited_in_batch(work, account)
    payable = min(payable, work.balance(account).available_minor)
    if paid.amount_minor > payable:
        raise Rejected(Reason.PAYOUT_TOO_LARGE, most=str(max(0, payable)))
    known = work.unit.scalar(select(payout_accounts.c.destination).where(payout_accounts.c.provider_id == provider))
    if known is None and gateway != "sandbox":
        raise Rejected(Reason.PAYOUT_ACCOUNT)
    return _begin(work, Payment(name, Purpose.PAYOUT, account, paid.amount_minor, now, gateway, destination=known or ""))


def conclude(
    work: WorkingSet, now: Instant, *, name: PaymentId, outcome: Outcome, gateway_id: str = "", problem: str = ""
) -> Payment:
    """Let a payment be as the gateway says, and move what that moves; said again it changes nothing."""
    payment = _begun(work, name)
    assert payment is not None
    state, moved = concluded(payment, outcome, now)
    after = replace(payment, state=state, gateway_id=payment.gateway_id or gateway_id, problem=problem or payment.problem)
    if after == payment:
        return payment
    work.add_transfers(moved)
    changed = {"state": after.state, "gateway_id": after.gateway_id, "problem": after.problem}
    work.unit.execute(update(payments).where(payments.c.id == name).values(**changed))
    return after


def take_back(
    work: WorkingSet,
    now: Instant,
    *,
    top_up: str,
    gateway: str,
    gateway_id: str,
    amount_minor: Minor,
    outcome: Outcome,
    problem: str,
) -> Payment | None:
    """Book what a gateway has given back of a top-up, and tell the operator; None when that is none of ours.

    Said again it changes nothing. A chargeback that is won comes back to the wallet; one that is lost after all is another.
    """
    name = _last_chargeback(work, gateway_id, outcome)
    if _begun(work, name) is None:
        row = work.unit.row(top_up_named(top_up, gateway)) if top_up and outcome is not Outcome.PENDING else None
        if row is None:
            return None
        paid_in = payment_of(row)
        _begin(work, Payment(name, Purpose.CHARGEBACK, paid_in.account, amount_minor, now, gateway, refunds=paid_in.id))
        note = f"{Money(work.settings.currency, amount_minor)} of {paid_in.id}: {problem}"
        work.changes.insert(alerts, {"at": now, "kind": "CHARGEBACK", "order_id": b"", "note": note})
    return conclude(work, now, name=name, outcome=outcome, gateway_id=gateway_id, problem=problem)


def _last_chargeback(work: WorkingSet, gateway_id: str, outcome: Outcome) -> PaymentId:
    """Name the chargeback that a gateway speaks of: its last, or the next when that one was won and is lost now."""
    last, number = None, 1
    while (begun := _begun(work, chargeback_id(gateway_id, number))) is not None:
        last, number = begun, number + 1
    is_lost_again = last is not None and last.state in GONE and outcome is Outcome.SUCCEEDED
    return last.id if last is not None and not is_lost_again else chargeback_id(gateway_id, number)


def set_payout_account(work: WorkingSet, _now: Instant, *, provider: ProviderId, destination: str) -> None:
    """Say to which account at the gateway a provider is paid."""
    work.unit.execute(delete(payout_accounts).where(payout_accounts.c.provider_id == provider))
    work.unit.execute(insert(payout_accounts).values(provider_id=provider, destination=destination))


def _require_payable(work: WorkingSet, paid: Money) -> None:
    most, currency = work.settings.top_up_max_minor, work.settings.currency
    if paid.amount_minor <= 0:
        raise Rejected(Reason.AMOUNT_NOT_POSITIVE)
    if paid.amount_minor > most:
        raise Rejected(Reason.AMOUNT_TOO_LARGE, most=str(most))
    if paid.currency != currency:
        raise Rejected(Reason.CURRENCY_MISMATCH, needed=currency, given=paid.currency)


def _debited_in_batch(work: WorkingSet, account: LedgerAccount) -> int:
    """Sum what this batch has taken from an account or held there, which no read of rows sees yet."""
    rows = work.changes.inserts.get(transfers.name, ())
    return sum(row["amount_minor"] for row in rows if row["debit"] == account)


def _begin(work: WorkingSet, payment: Payment) -> Payment:
    return _begin_all(work, [payment])[0]


def _begin_all(work: WorkingSet, new: list[Payment]) -> list[Payment]:
    """Write payments down, all or none."""
    work.add_transfers([transfer for payment in new for transfer in opening(payment)])
    for payment in new:
        work.unit.execute(insert(payments).values(**payment_row(payment)))
    return new


def _begun(work: WorkingSet, name: PaymentId) -> Payment | None:
    row = work.unit.row(one_payment(name))
    return payment_of(row) if row is not None else None


def _begun_parts(work: WorkingSet, account: AccountId, request: RequestId) -> list[Payment]:
    """Give the parts of a withdrawal that was asked for before."""
    stem = payment_id(Purpose.WITHDRAWAL, account, request)
    rows = work.unit.rows(select(payments).where(payments.c.id.like(f"{stem}/%")).order_by(payments.c.at, payments.c.id))
    return [payment_of(row) for row in rows]
