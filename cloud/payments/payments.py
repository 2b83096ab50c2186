"""Payments from end to end: begun in the ledger, made at the gateway, ended in the ledger; and the two compared.

The gateway is asked beside the event loop, never in the processor. Whatever breaks off leaves an open payment, which the next
call under its request id, a webhook, the node's start or a reconciliation brings to its end.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, TypeVar

from msgspec import Struct

from cloud import paying
from cloud.domain.funds import Outcome, Payment, PaymentId
from cloud.domain.reconciling import Difference, compare
from cloud.payments.gateway import Gateway, Receipt
from cloud.pump import Run
from cloud.store.payments import books, find_payment, open_payments
from cloud.store.readers import Readers
from energyshare.errors import Reason, Rejected, Unavailable
from energyshare.records import replace
from energyshare.values import AccountId, Instant, Money, ProviderId, RequestId

T = TypeVar("T")
START = Instant(0)
logger = logging.getLogger(__name__)


class Reconciliation(Struct, frozen=True):
    """What comparing gateway and ledger came to: payments brought to their end, those still open, and what does not agree."""

    concluded: tuple[Payment, ...]
    still_open: tuple[Payment, ...]
    compared: int
    differences: tuple[Difference, ...]


class Payments:
    """The payments of one cloud."""

    def __init__(self, gateway: Gateway | None, call: Callable[[Run], Awaitable[Any]], readers: Readers) -> None:
        self._known_gateway = gateway
        self._call = call
        self._readers = readers

    async def top_up(self, account: AccountId, request: RequestId, paid: Money) -> tuple[Payment, str]:
        """Pay in; gives the payment, and where a person finishes paying if it waits for that.

        Raises: Rejected as paying.begin_top_up, or PAYMENT_FAILED; Unavailable while the gateway does not answer.
        """
        begin = partial(paying.begin_top_up, account=account, request=request, paid=paid, gateway=self._gateway.name)
        payment: Payment = await self._call(begin)
        return await self._advance(payment)

    async def withdraw(self, account: AccountId, request: RequestId, paid: Money) -> list[Payment]:
        """Give money back to where it came from; what the gateway has not answered yet stays open.

        Raises: Rejected as paying.begin_withdrawal.
        """
        begin = partial(paying.begin_withdrawal, account=account, request=request, paid=paid, gateway=self._gateway.name)
        parts: list[Payment] = await self._call(begin)
        return [await self._advance_if_answered(part) for part in parts]

    async def pay_out(self, provider: ProviderId, request: RequestId, paid: Money) -> Payment:
        """Pay a provider; what the gateway has not answered yet stays open.

        Raises: Rejected as paying.begin_payout.
        """
        begin = partial(paying.begin_payout, provider=provider, request=request, paid=paid, gateway=self._gateway.name)
        payment: Payment = await self._call(begin)
        return await self._advance_if_answered(payment)

    async def look(self, name: PaymentId) -> Payment | None:
        """Ask the gateway about a payment that it says has changed; raises Unavailable."""
        payment = await _beside(lambda: find_payment(self._readers, name))
        if payment is None or payment.gateway != self._gateway.name:
            return None
        return (await self._ask(payment))[0]

    async def look_back(self, gateway_id: str) -> Payment | None:
        """Ask the gateway about a top-up that it says was given back; raises Unavailable.

        A top-up whose own answer was lost is asked about first.
        """
        receipt = await _beside(lambda: self._gateway.taken_back(gateway_id))
        taken = await self._take_back(receipt)
        if taken is None and await self.advance_open():
            taken = await self._take_back(receipt)
        return taken

    async def advance_open(self) -> list[Payment]:
        """Ask about every open payment; gives them as they stand then. Without a gateway there are none."""
        if self._known_gateway is None:
            return []
        found = await _beside(lambda: open_payments(self._readers, self._gateway.name))
        return [await self._advance_if_answered(payment) for payment in found]

    async def reconcile(self) -> Reconciliation:
        """Bring open payments to their end, book chargebacks, then compare all of the gateway's with the ledger.

        Raises: Unavailable.
        """
        asked = await self.advance_open()
        receipts = await _beside(lambda: list(self._gateway.since(START)))
        receipts = [await self._with_chargeback(receipt) for receipt in receipts]
        await self._note_reversed(receipts)
        kept, moved = await _beside(lambda: books(self._readers))
        return Reconciliation(
            tuple(payment for payment in asked if not payment.is_open),
            tuple(payment for payment in asked if payment.is_open),
            len(receipts),
            tuple(compare(kept, moved, receipts, self._gateway.name)),
        )

    @property
    def _gateway(self) -> Gateway:
        if self._known_gateway is None:
            raise Rejected(Reason.NO_PAYMENT_GATEWAY)
        return self._known_gateway

    async def _advance(self, payment: Payment) -> tuple[Payment, str]:
        """Bring a payment as far as the gateway does; one at its end is left alone."""
        return await self._ask(payment) if payment.is_open else (payment, "")

    async def _advance_if_answered(self, payment: Payment) -> Payment:
        try:
            return (await self._advance(payment))[0]
        except Unavailable as error:
            logger.warning("payment %s stays open: %s", payment.id, error)
            return payment

    async def _ask(self, payment: Payment) -> tuple[Payment, str]:
        ask = self._gateway.look if payment.gateway_id else self._gateway.start
        receipt = await _beside(lambda: ask(payment))
        return await self._conclude(payment.id, receipt), receipt.pay_url

    async def _note_reversed(self, receipts: list[Receipt]) -> None:
        """Take back what the gateway has returned after it had succeeded."""
        failed = {receipt.payment_id: receipt for receipt in receipts if receipt.outcome is Outcome.FAILED}
        for name, receipt in failed.items():
            if name is not None and await _beside(partial(find_payment, self._readers, name)) is not None:
                await self._conclude(name, receipt)

    async def _with_chargeback(self, receipt: Receipt) -> Receipt:
        """Book what was given back of a top-up; gives the receipt with the payment's id if it is one of ours."""
        if not receipt.takes_back:
            return receipt
        taken = await self._take_back(receipt)
        return replace(receipt, payment_id=taken.id) if taken else receipt

    async def _take_back(self, receipt: Receipt) -> Payment | None:
        taken: Payment | None = await self._call(
            partial(
                paying.take_back,
                top_up=receipt.takes_back,
                gateway=self._gateway.name,
                gateway_id=receipt.gateway_id,
                amount_minor=receipt.amount_minor,
                outcome=receipt.outcome,
                problem=receipt.problem,
            )
        )
        return taken

    async def _conclude(self, name: PaymentId, receipt: Receipt) -> Payment:
        conclude = partial(
            paying.conclude, name=name, outcome=receipt.outcome, gateway_id=receipt.gateway_id, problem=receipt.problem
        )
        payment: Payment = await self._call(conclude)
        return payment


async def _beside(run: Callable[[], T]) -> T:
    """Run something that blocks beside the event loop."""
    return await asyncio.get_running_loop().run_in_executor(None, run)
