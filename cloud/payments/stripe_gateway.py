"""Stripe: top-ups are payment intents, money out is refunds of them, payouts are transfers to providers' connected accounts.

What Stripe gives back by itself are disputes, and refunds that someone made on its dashboard. A dispute has taken its amount
until it is won; an inquiry before one takes nothing.

The payment's id is the idempotency key of its creation and stands in the object's metadata. Stripe keeps a key for at least
24 hours (API reference, Idempotent requests); within that time a creation whose answer was lost is made again under the same
key, later the object is looked for in Stripe's list. Amounts go as they are: Stripe counts in the currency's smallest unit, as
the ledger does.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, TypeVar

import stripe

from cloud.domain.funds import Outcome, Payment, PaymentId, Purpose
from cloud.payments.gateway import Receipt
from cloud.payments.stripe_settings import StripeSettings
from energyshare.errors import Unavailable
from energyshare.values import DAY_S, Currency, Instant, Minor

T = TypeVar("T")
METADATA = "energyshare_payment"
ANSWER_WITHIN_S = 20.0
RETRIES_MAX = 3
KEY_KEPT_US = 23 * 3_600 * 1_000_000
REFUSALS = (400, 402, 404)  # a 409 is another call with the same key, still under way
OUTCOMES = {
    "succeeded": Outcome.SUCCEEDED,
    "canceled": Outcome.FAILED,
    "failed": Outcome.FAILED,
}
"""Of payment intents and refunds; any other status is not the last word. A declined card is none: the user tries another."""


DISPUTES = {"won": Outcome.FAILED, "prevented": Outcome.FAILED} | dict.fromkeys(
    ("warning_needs_response", "warning_under_review", "warning_closed", "charge_refunded"), Outcome.PENDING
)
"""What a dispute's status says of its amount: it is back, or was never taken (by it); with any other it is gone."""


class StripeGateway:
    """A Stripe account."""

    name = "stripe"

    def __init__(self, settings: StripeSettings, currency: Currency, now: Callable[[], Instant]) -> None:
        self._pay_page = settings.pay_page
        self._currency = currency.lower()
        self._now = now
        client = stripe.StripeClient(
            settings.secret_key,
            max_network_retries=RETRIES_MAX,
            http_client=stripe.RequestsClient(timeout=ANSWER_WITHIN_S),
            base_addresses={"api": settings.api},
        )
        self._stripe = client.v1

    def start(self, payment: Payment) -> Receipt:
        """Make a payment at Stripe, or find the one that was made."""
        if self._now() - payment.at > KEY_KEPT_US:
            return self._made_before(payment)
        try:
            return self._create(payment)
        except stripe.StripeError as error:
            if error.http_status not in REFUSALS:
                raise _unavailable(error) from error
            problem = error.user_message or type(error).__name__
            return Receipt(payment.id, "", Outcome.FAILED, payment.amount_minor, problem=problem)

    def look(self, payment: Payment) -> Receipt:
        """Ask Stripe how a payment stands."""
        match payment.purpose:
            case Purpose.TOP_UP:
                return self._top_up(_asked(lambda: self._stripe.payment_intents.retrieve(payment.gateway_id)))
            case Purpose.WITHDRAWAL:
                return self._refund(_asked(lambda: self._stripe.refunds.retrieve(payment.gateway_id)))
            case Purpose.PAYOUT:
                return _payout(_asked(lambda: self._stripe.transfers.retrieve(payment.gateway_id)))
            case Purpose.CHARGEBACK:
                return self.taken_back(payment.gateway_id)

    def taken_back(self, gateway_id: str) -> Receipt:
        """Ask Stripe how a dispute or a refund stands that was not asked for here."""
        if gateway_id.startswith("re_"):
            return self._refund(_asked(lambda: self._stripe.refunds.retrieve(gateway_id)))
        return self._dispute(_asked(lambda: self._stripe.disputes.retrieve(gateway_id)))

    def since(self, start: Instant) -> Iterator[Receipt]:
        """List Stripe's payment intents, refunds, disputes that have taken something, and transfers."""
        page: Any = {"limit": 100, "created": {"gte": start // 1_000_000}}
        for read, listed in (
            (self._top_up, self._stripe.payment_intents),
            (self._refund, self._stripe.refunds),
            (self._dispute, self._stripe.disputes),
            (_payout, self._stripe.transfers),
        ):
            for receipt in _asked(partial(_all_of, listed, read, page)):
                if not (receipt.takes_back and receipt.outcome is Outcome.PENDING):
                    yield receipt

    def _create(self, payment: Payment) -> Receipt:
        options: Any = {"idempotency_key": payment.id}
        common: Any = {"amount": payment.amount_minor, "metadata": {METADATA: payment.id}}
        match payment.purpose:
            case Purpose.TOP_UP:
                asked = common | {"currency": self._currency}
                return self._top_up(self._stripe.payment_intents.create(asked, options))
            case Purpose.WITHDRAWAL:
                asked = common | {"payment_intent": payment.destination}
                return self._refund(self._stripe.refunds.create(asked, options))
            case Purpose.PAYOUT:
                asked = common | {"currency": self._currency, "destination": payment.destination}
                return _payout(self._stripe.transfers.create(asked, options))
            case Purpose.CHARGEBACK:
                raise AssertionError("only Stripe makes chargebacks")

    def _made_before(self, payment: Payment) -> Receipt:
        """Look for a payment in Stripe's list, as its key may be forgotten; what is not there was never made."""
        for receipt in self.since(Instant(payment.at - DAY_S * 1_000_000)):
            if receipt.payment_id == payment.id:
                return receipt
        return Receipt(payment.id, "", Outcome.FAILED, payment.amount_minor, problem="it never reached Stripe")

    def _top_up(self, intent: stripe.PaymentIntent) -> Receipt:
        outcome = OUTCOMES.get(intent.status, Outcome.PENDING)
        problem = intent.last_payment_error.message if intent.last_payment_error else None
        pay_url = f"{self._pay_page}#{intent.client_secret}" if outcome is Outcome.PENDING else ""
        return Receipt(_name(intent), intent.id, outcome, Minor(intent.amount), pay_url, problem or "")

    def _refund(self, refund: stripe.Refund) -> Receipt:
        name, outcome = _name(refund), OUTCOMES.get(refund.status or "", Outcome.PENDING)
        problem = getattr(refund, "failure_reason", "") or ""
        if name is not None:
            return Receipt(name, refund.id, outcome, Minor(refund.amount), problem=problem)
        return self._taken(refund, outcome, problem or "refunded at Stripe")

    def _dispute(self, dispute: stripe.Dispute) -> Receipt:
        outcome = DISPUTES.get(dispute.status, Outcome.SUCCEEDED)
        return self._taken(dispute, outcome, f"disputed with the bank: {dispute.reason}")

    def _taken(self, made: stripe.Refund | stripe.Dispute, outcome: Outcome, problem: str) -> Receipt:
        """Name what was given back; in another currency it is left to people, who see it when reconciling."""
        intent = made.payment_intent
        paid_by = intent if isinstance(intent, str) else intent.id if intent else ""
        takes_back = paid_by if made.currency == self._currency else ""
        return Receipt(None, made.id, outcome, Minor(made.amount), problem=problem, takes_back=takes_back)


def _payout(transfer: stripe.Transfer) -> Receipt:
    outcome = Outcome.FAILED if transfer.reversed else Outcome.SUCCEEDED
    return Receipt(_name(transfer), transfer.id, outcome, Minor(transfer.amount))


def _name(made: Any) -> PaymentId | None:
    name = made.metadata.to_dict().get(METADATA) if made.metadata else None
    return PaymentId(name) if name else None


def _all_of(listed: Any, read: Callable[[Any], Receipt], page: Any) -> list[Receipt]:
    return [read(made) for made in listed.list(page).auto_paging_iter()]


def _asked(ask: Callable[[], T]) -> T:
    try:
        return ask()
    except stripe.StripeError as error:
        raise _unavailable(error) from error


def _unavailable(error: stripe.StripeError) -> Unavailable:
    return Unavailable(f"Stripe gives no answer: {error.user_message or type(error).__name__}")
