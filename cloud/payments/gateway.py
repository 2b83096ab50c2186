"""What a payment gateway does. Calls block, are made outside of the processor's thread, and may be repeated.

A gateway knows a payment by its id: asked to start one twice, it moves money once. An answer that never came is no answer: the
call raises Unavailable, the payment stays open, and is asked about again.
"""

from collections.abc import Iterator
from typing import Protocol

from msgspec import Struct

from cloud.domain.funds import Outcome, Payment, PaymentId
from energyshare.values import Instant, Minor


class Receipt(Struct, frozen=True):
    """How a payment stands at its gateway.

    `pay_url` is where a person finishes paying, `problem` what the gateway says went wrong; either may be empty. A payment that
    was made there by someone else has no id. `takes_back` is the gateway's id of a top-up that it has given back by itself.
    """

    payment_id: PaymentId | None
    gateway_id: str
    outcome: Outcome
    amount_minor: Minor
    pay_url: str = ""
    problem: str = ""
    takes_back: str = ""


class Gateway(Protocol):
    """A payment gateway."""

    @property
    def name(self) -> str:
        """Its name, as payments keep it."""

    def start(self, payment: Payment) -> Receipt:
        """Make a payment, or say how it stands when it was made before.

        Raises: Unavailable when nobody can say whether it was made.
        """

    def look(self, payment: Payment) -> Receipt:
        """Say how a payment stands that the gateway has taken; raises Unavailable."""

    def taken_back(self, gateway_id: str) -> Receipt:
        """Say how it stands with a top-up that was given back, by the gateway's id of that; raises Unavailable."""

    def since(self, start: Instant) -> Iterator[Receipt]:
        """List all payments that were made since, and what was given back of top-ups; raises Unavailable."""
