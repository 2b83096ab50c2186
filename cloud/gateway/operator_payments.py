"""The operator's calls about payments."""

from functools import partial
from typing import Any

from sqlalchemy import select

from cloud import acts, paying
from cloud.acts import Act
from cloud.domain.funds import Payment
from cloud.gateway.desk import Context, Desk, operator_of, page
from cloud.gateway.times import time_of
from cloud.payments.payments import Payments
from cloud.store import tables as t
from cloud.store import watch
from cloud.store.payments import latest_payments, payment_of
from energyshare.errors import Reason, Rejected
from energyshare.rpc_errors import refusing
from energyshare.v1 import operator_pb2 as pb
from energyshare.values import Minor, Money, ProviderId, RequestId, id_text

DESTINATION_MAX = 255


class OperatorPayments(Desk):
    """What an operator sees and does of payments."""

    @refusing
    async def ListPayments(self, request: pb.ListPaymentsRequest, context: Context) -> pb.ListPaymentsResponse:
        """List payments, newest first."""
        rows = await self._read(lambda: latest_payments(self._readers, page(request.page_size)))
        names = await self._read(self._names)
        listed = [_payment_row(payment_of(row), names) for row in rows]
        return pb.ListPaymentsResponse(payments=listed, currency=self._cloud.currency)

    @refusing
    async def ReconcilePayments(self, request: pb.ReconcilePaymentsRequest, context: Context) -> pb.ReconcilePaymentsResponse:
        """Compare the gateway with the ledger."""
        found = await self._payments().reconcile()
        await self._call(partial(acts.record, act=Act(operator_of(context), "payment reconcile", self._gateway_name())))
        return pb.ReconcilePaymentsResponse(
            concluded=len(found.concluded),
            still_open=len(found.still_open),
            compared=found.compared,
            differences=[
                pb.PaymentDifference(payment_id=one.payment_id, gateway_id=one.gateway_id, problem=one.problem)
                for one in found.differences
            ],
        )

    @refusing
    async def PayOut(self, request: pb.PayOutRequest, context: Context) -> pb.PayOutResponse:
        """Pay a provider."""
        if len(request.request_id) != 16:
            raise Rejected(Reason.MALFORMED, field="request_id", problem="must be 16 bytes")
        name = request.provider_name
        party = await self._read(lambda: watch.party(self._readers, "provider", name))
        paid = Money(self._cloud.currency, Minor(request.amount_minor))
        payments, act = self._payments(), Act(operator_of(context), "payment payout", name, str(paid))
        payment = await payments.pay_out(ProviderId(party.account_id), RequestId(request.request_id), paid)
        await self._call(partial(acts.record, act=act))
        row = _payment_row(payment, {id_text(party.account_id): name})
        return pb.PayOutResponse(payment=row, currency=self._cloud.currency)

    @refusing
    async def SetPayoutAccount(self, request: pb.SetPayoutAccountRequest, context: Context) -> pb.SetPayoutAccountResponse:
        """Say where a provider is paid."""
        name, destination = request.provider_name, request.destination
        if not 1 <= len(destination) <= DESTINATION_MAX or not destination.isprintable():
            raise Rejected(Reason.MALFORMED, field="destination", problem="has 1 to 255 printable characters")
        party = await self._read(lambda: watch.party(self._readers, "provider", name))
        provider = ProviderId(party.account_id)
        act = Act(operator_of(context), "payment account", name, destination)
        change = partial(paying.set_payout_account, provider=provider, destination=destination)
        await self._call(acts.recorded(change, act))
        return pb.SetPayoutAccountResponse()

    def _payments(self) -> Payments:
        return Payments(self._cloud.gateway, self._call, self._readers)

    def _gateway_name(self) -> str:
        return self._cloud.gateway.name if self._cloud.gateway else ""

    def _names(self) -> dict[str, str]:
        return {id_text(row.id): row.name for row in self._readers.rows(select(t.accounts.c.id, t.accounts.c.name))}


def _payment_row(payment: Payment, names: dict[str, Any]) -> pb.PaymentRow:
    return pb.PaymentRow(
        payment_time=time_of(payment.at),
        payment_id=payment.id,
        purpose=payment.purpose,
        state=payment.state,
        amount_minor=payment.amount_minor,
        party_name=names.get(payment.account.partition(":")[2], ""),
        gateway=payment.gateway,
        gateway_id=payment.gateway_id,
        problem=payment.problem,
    )
