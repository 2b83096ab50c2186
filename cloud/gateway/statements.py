"""Statements of account, as the operator's calls and the parties' own give them."""

from typing import Protocol

from google.protobuf.timestamp_pb2 import Timestamp

from cloud.domain.settings import Settings
from cloud.gateway.times import instant_of, time_of
from cloud.store.readers import Readers
from cloud.store.statements import payable_minor, statement
from energyshare.errors import Reason, Rejected
from energyshare.v1 import account_pb2 as pb
from energyshare.values import AccountId, Instant, ProviderId


class Asked(Protocol):
    """A request for a statement."""

    @property
    def from_time(self) -> Timestamp:
        """The first instant of the period."""

    @property
    def to_time(self) -> Timestamp:
        """The first instant after it."""


def period_of(asked: Asked) -> tuple[Instant, Instant]:
    """Read a period; raises Rejected{PERIOD_EMPTY}."""
    start, end = instant_of(asked.from_time), instant_of(asked.to_time)
    if start >= end:
        raise Rejected(Reason.PERIOD_EMPTY)
    return start, end


def statement_page(
    readers: Readers, role: str, account: AccountId, start: Instant, end: Instant, now: Instant, settings: Settings
) -> pb.Statement:
    """Give a statement as the contract has it."""
    found = statement(readers, role, account, start, end)
    payable = payable_minor(readers.rows, ProviderId(account), now, settings) if role == "provider" else 0
    return pb.Statement(
        account_id=account,
        role=role,
        opening_minor=found.opening_minor,
        rows=[
            pb.StatementRow(
                entry_time=time_of(row.at),
                reason=row.reason,
                amount_minor=row.amount_minor,
                balance_minor=row.balance_minor,
                order_id=row.order_id or b"",
                charge_record_hash=row.record or b"",
                corrects_hash=row.corrects or b"",
            )
            for row in found.rows
        ],
        closing_minor=found.closing_minor,
        totals=[pb.StatementTotal(reason=reason, amount_minor=amount) for reason, amount in sorted(found.totals.items())],
        vat_minor=found.vat_minor,
        commission_minor=found.commission_minor,
        owed_minor=found.owed_minor,
        payable_minor=payable,
        currency=settings.currency,
    )
