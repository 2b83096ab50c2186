"""Money that enters or leaves: a payment's states, and which transfers each step makes.

A payment is one call to a gateway. A top-up moves money in the ledger when the gateway has it; money out is debited before the
gateway is asked, and comes back when it fails. A chargeback is the gateway's own: what it has given back of a top-up, to a
payer who disputed it with the bank, or by hand on the gateway's page. It is booked as owed by the user, and so collected from
the wallet at once, as far as there is something in it. Transfer ids follow from the payment's, so that no step moves money
twice.

    state      PENDING    SUCCEEDED  FAILED      what the gateway says
    CREATED    PENDING    SUCCEEDED  FAILED
    PENDING    PENDING    SUCCEEDED  FAILED
    SUCCEEDED  -          -          REVERSED    (money out that came back, a chargeback that was won)
"""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import NewType

from msgspec import Struct

from cloud.domain import ledger
from cloud.domain.ledger import Flag, LedgerAccount, Transfer, TransferId
from energyshare.errors import Reason, Rejected
from energyshare.values import Instant, Minor, RequestId, id_text

PaymentId = NewType("PaymentId", str)

PARTS_MAX = 99  # of one withdrawal; two digits of the payment's id


class Purpose(StrEnum):
    """What a payment is for."""

    TOP_UP = "TOP_UP"
    WITHDRAWAL = "WITHDRAWAL"
    PAYOUT = "PAYOUT"
    CHARGEBACK = "CHARGEBACK"


class PaymentState(StrEnum):
    """How far a payment is. CREATED: the gateway has not answered yet."""

    CREATED = "CREATED"
    PENDING = "PENDING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    REVERSED = "REVERSED"


class Outcome(StrEnum):
    """What a gateway says of a payment."""

    PENDING = "PENDING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"


OPEN = (PaymentState.CREATED, PaymentState.PENDING)
GONE = (PaymentState.FAILED, PaymentState.REVERSED)

NEXT: Mapping[tuple[PaymentState, Outcome], PaymentState] = {
    (PaymentState.CREATED, Outcome.PENDING): PaymentState.PENDING,
    (PaymentState.CREATED, Outcome.SUCCEEDED): PaymentState.SUCCEEDED,
    (PaymentState.CREATED, Outcome.FAILED): PaymentState.FAILED,
    (PaymentState.PENDING, Outcome.SUCCEEDED): PaymentState.SUCCEEDED,
    (PaymentState.PENDING, Outcome.FAILED): PaymentState.FAILED,
    (PaymentState.SUCCEEDED, Outcome.FAILED): PaymentState.REVERSED,
}


class Payment(Struct, frozen=True):
    """One payment.

    `refunds` names the top-up that a withdrawal or a chargeback gives back. `destination` is the gateway's id of the top-up
    that a withdrawal gives back, or of the provider's account for a payout.
    """

    id: PaymentId
    purpose: Purpose
    account: LedgerAccount
    amount_minor: Minor
    at: Instant
    gateway: str
    state: PaymentState = PaymentState.CREATED
    gateway_id: str = ""
    refunds: PaymentId | None = None
    destination: str = ""
    problem: str = ""

    @property
    def is_open(self) -> bool:
        """Whether the gateway may still say how it ends."""
        return self.state in OPEN


def payment_id(purpose: Purpose, owner: bytes, request: RequestId, part: int = 0) -> PaymentId:
    """Name a payment by who asked for it and under which request; a withdrawal's parts are numbered from 1."""
    kind = "top-up" if purpose is Purpose.TOP_UP else "out"
    return PaymentId(f"{kind}/{id_text(owner)}/{id_text(request)}" + (f"/{part}" if part else ""))


def chargeback_id(gateway_id: str, number: int = 1) -> PaymentId:
    """Name a chargeback by the gateway's own name for it, and how often that was lost."""
    return PaymentId(f"back/{gateway_id}" + (f"/{number}" if number > 1 else ""))


def opening(payment: Payment) -> tuple[Transfer, ...]:
    """Give the transfers with which a payment begins: money out is debited before the gateway is asked."""
    if payment.purpose is Purpose.TOP_UP:
        return ()
    debited = payment.account
    if payment.purpose is Purpose.CHARGEBACK:
        debited = ledger.owed_by(payment.account)
    return (_transfer(payment.id, payment, debited, ledger.FUNDING, payment.purpose.value, payment.at),)


def concluded(payment: Payment, outcome: Outcome, now: Instant) -> tuple[PaymentState, tuple[Transfer, ...]]:
    """Give the state that follows from what the gateway says, and the transfers that go with it."""
    state = NEXT.get((payment.state, outcome), payment.state)
    if state is payment.state:
        return state, ()
    if payment.purpose is Purpose.TOP_UP:
        return _top_up_concluded(payment, state, now)
    if state not in GONE:
        return state, ()
    reason = f"{payment.purpose}_BACK"
    return state, (_transfer(f"{payment.id}/back", payment, ledger.FUNDING, payment.account, reason, now),)


def movements(payment: Payment) -> dict[str, int]:
    """Give the ids of the transfers that a payment in its state has made, and their amounts."""
    if payment.purpose is Purpose.TOP_UP:
        return {payment.id: payment.amount_minor} if payment.state is PaymentState.SUCCEEDED else {}
    out: dict[str, int] = {payment.id: payment.amount_minor}
    return out | ({f"{payment.id}/back": payment.amount_minor} if payment.state in GONE else {})


def split(amount: Minor, refundable: Sequence[tuple[PaymentId, Minor]]) -> list[tuple[PaymentId, Minor]]:
    """Divide a withdrawal over the top-ups that it gives back, in their order; each with what is left of it.

    Raises: Rejected{WITHDRAWAL_NOT_COVERED} when they do not hold so much.
    """
    parts = []
    left = amount
    for top_up, rest in refundable:
        part = Minor(min(left, rest))
        if part > 0:
            parts.append((top_up, part))
            left = Minor(left - part)
    if left > 0 or len(parts) > PARTS_MAX:
        raise Rejected(Reason.WITHDRAWAL_NOT_COVERED, covered=str(amount - left))
    return parts


def _top_up_concluded(payment: Payment, state: PaymentState, now: Instant) -> tuple[PaymentState, tuple[Transfer, ...]]:
    """Move a top-up that succeeded; one that a gateway takes back later is left for people, who see it when reconciling."""
    if state is PaymentState.REVERSED:
        return payment.state, ()
    if state is not PaymentState.SUCCEEDED:
        return state, ()
    return state, (_transfer(payment.id, payment, ledger.FUNDING, payment.account, "TOP_UP", now),)


def _transfer(name: str, payment: Payment, debit: LedgerAccount, credit: LedgerAccount, reason: str, now: Instant) -> Transfer:
    return Transfer(TransferId(name), None, now, debit, credit, payment.amount_minor, Flag.POSTED, reason)
