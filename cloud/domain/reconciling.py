"""Gateway against ledger: every payment is known to both, with the same amount and end, and has moved what it should.

Three books are compared: the gateway's list, the payments as the cloud keeps them, and the ledger's rows. A payment that is
still open is no difference.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Protocol

from msgspec import Struct

from cloud.domain.funds import GONE, Outcome, Payment, PaymentId, PaymentState, movements
from energyshare.values import Minor


class Listed(Protocol):
    """A payment as its gateway lists it."""

    @property
    def payment_id(self) -> PaymentId | None:
        """The payment that it was made for, if the cloud made it."""

    @property
    def gateway_id(self) -> str:
        """Its name there."""

    @property
    def outcome(self) -> Outcome:
        """How it stands there."""

    @property
    def amount_minor(self) -> Minor:
        """How much it is."""


class Difference(Struct, frozen=True):
    """What does not agree about a payment; either name may be empty."""

    payment_id: str
    gateway_id: str
    problem: str


def compare(kept: Sequence[Payment], moved: Mapping[str, int], listed: Iterable[Listed], gateway: str) -> Iterator[Difference]:
    """Name every difference between a gateway's list, the payments kept and the transfers moved (by id, with amounts)."""
    yield from _ledger_differences(kept, moved)
    known = {payment.id: payment for payment in kept if payment.gateway == gateway}
    seen: set[PaymentId] = set()
    for one in listed:
        problem = _problem(one, known, seen)
        if one.payment_id is not None:
            seen.add(one.payment_id)
        if problem:
            yield Difference(one.payment_id or "", one.gateway_id, problem)
    for payment in known.values():
        if payment.state is PaymentState.SUCCEEDED and payment.id not in seen:
            yield Difference(payment.id, payment.gateway_id, "the gateway does not know it")


def _ledger_differences(kept: Sequence[Payment], moved: Mapping[str, int]) -> Iterator[Difference]:
    due = {name: amount for payment in kept for name, amount in movements(payment).items()}
    for name in sorted(due.keys() | moved.keys()):
        if due.get(name) != moved.get(name):
            yield Difference(name, "", f"the ledger has moved {moved.get(name, 0)}, the payment says {due.get(name, 0)}")


def _problem(one: Listed, known: Mapping[PaymentId, Payment], seen: set[PaymentId]) -> str:
    if one.payment_id is None:
        return "it was made at the gateway, not by this cloud"
    payment = known.get(one.payment_id)
    if payment is None:
        return "the cloud does not know it"
    if one.payment_id in seen:
        return "the gateway has it twice"
    if one.amount_minor != payment.amount_minor:
        return f"the gateway says {one.amount_minor}, the cloud {payment.amount_minor}"
    return _state_problem(payment, one.outcome)


def _state_problem(payment: Payment, outcome: Outcome) -> str:
    if payment.is_open:
        return ""
    has_failed_here, has_failed_there = payment.state in GONE, outcome is Outcome.FAILED
    if has_failed_here is not has_failed_there or outcome is Outcome.PENDING:
        return f"the gateway says {outcome.lower()}, the cloud {payment.state.lower()}"
    return ""
