"""Reads of payments, and how a payment becomes a row."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Select, func, select

from cloud.domain.funds import GONE, OPEN, Payment, PaymentId, PaymentState, Purpose
from cloud.domain.ledger import LedgerAccount
from cloud.store import tables as t
from cloud.store.payment_tables import payments
from cloud.store.readers import Readers
from energyshare.values import Instant, Minor

C = payments.c


def payment_row(payment: Payment) -> dict[str, Any]:
    """Give a payment as a row."""
    return {column.name: getattr(payment, column.name) for column in payments.columns}


def payment_of(row: Any) -> Payment:
    """Read a payment from its row."""
    return Payment(
        PaymentId(row.id),
        Purpose(row.purpose),
        LedgerAccount(row.account),
        Minor(row.amount_minor),
        Instant(row.at),
        row.gateway,
        PaymentState(row.state),
        row.gateway_id,
        PaymentId(row.refunds) if row.refunds else None,
        row.destination,
        row.problem,
    )


def one_payment(name: PaymentId) -> Select[Any]:
    """Build the read of one payment."""
    return select(payments).where(C.id == name)


def top_up_named(gateway_id: str, gateway: str) -> Select[Any]:
    """Build the read of a top-up by its gateway's id, if money may have come in by it."""
    is_in = C.state.in_((PaymentState.PENDING, PaymentState.SUCCEEDED))
    return select(payments).where(C.gateway_id == gateway_id, C.gateway == gateway, C.purpose == Purpose.TOP_UP, is_in)


def refundable(account: LedgerAccount, gateway: str) -> Select[Any]:
    """Build the read of an account's top-ups, newest first, with what withdrawals and chargebacks have left of each."""
    out = payments.alias("withdrawals")
    given = (
        select(out.c.refunds, func.sum(out.c.amount_minor).label("total"))
        .where(out.c.account == account, out.c.state.not_in(GONE))
        .group_by(out.c.refunds)
        .subquery()
    )
    rest = (C.amount_minor - func.coalesce(given.c.total, 0)).label("rest")
    return (
        select(C.id, C.gateway_id, rest)
        .join_from(payments, given, given.c.refunds == C.id, isouter=True)
        .where(C.account == account, C.purpose == Purpose.TOP_UP, C.state == PaymentState.SUCCEEDED, C.gateway == gateway)
        .order_by(C.at.desc(), C.id)
    )


def open_payments(readers: Readers, gateway: str) -> list[Payment]:
    """List the payments of a gateway that are not at their end, oldest first."""
    found = readers.rows(select(payments).where(C.state.in_(OPEN), C.gateway == gateway).order_by(C.at))
    return [payment_of(row) for row in found]


def find_payment(readers: Readers, name: PaymentId) -> Payment | None:
    """Give a payment, if there is one of that id."""
    return next((payment_of(row) for row in readers.rows(one_payment(name))), None)


def latest_payments(readers: Readers, most: int) -> Sequence[Any]:
    """List payments, newest first."""
    return readers.rows(select(payments).order_by(C.at.desc(), C.id).limit(most))


def books(readers: Readers) -> tuple[list[Payment], dict[str, int]]:
    """Give all payments, and what the ledger says has moved for payments, by the transfer's id; as of one instant."""
    x = t.transfers.c
    with readers.snapshot() as read:
        kept = [payment_of(row) for row in read(select(payments))]
        moved = select(x.id, x.amount_minor).where(x.order_id.is_(None), x.reason != "COLLECTION")
        return kept, {row.id: row.amount_minor for row in read(moved)}
