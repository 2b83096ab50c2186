"""The ledger as rows and back: balances, transfers, batches of their chain, charge records."""

from collections.abc import Mapping
from typing import Any

from cloud.domain.checkpoint import Batch
from cloud.domain.ledger import Balance, Flag, LedgerAccount, Transfer, TransferId
from energyshare.bodies import ChargeRecordBody, Verified
from energyshare.values import (
    Digest,
    Incarnation,
    Instant,
    Minor,
)

Row = Mapping[str, Any]


def balance_row(balance: Balance) -> dict[str, Any]:
    """Give the row of a balance."""
    return {
        "account": balance.account,
        "debits_minor": balance.debits_minor,
        "credits_minor": balance.credits_minor,
        "held_minor": balance.held_minor,
    }


def balance_of(row: Any) -> Balance:
    """Build a balance from its row."""
    return Balance(LedgerAccount(row.account), row.debits_minor, row.credits_minor, row.held_minor)


def transfer_row(transfer: Transfer) -> dict[str, Any]:
    """Give the row of a transfer."""
    return {
        "id": transfer.id,
        "order_id": transfer.order_id,
        "at": transfer.at,
        "debit": transfer.debit,
        "credit": transfer.credit,
        "amount_minor": transfer.amount_minor,
        "flag": transfer.flag.value,
        "reason": transfer.reason,
        "hold_id": transfer.hold_id,
        "hold_minor": transfer.hold_minor,
    }


def transfer_of(row: Any) -> Transfer:
    """Build a transfer from its row."""
    return Transfer(
        TransferId(row.id),
        row.order_id,
        Instant(row.at),
        LedgerAccount(row.debit),
        LedgerAccount(row.credit),
        Minor(row.amount_minor),
        Flag(row.flag),
        row.reason,
        row.hold_id,
        Minor(row.hold_minor),
    )


def batch_row(batch: Batch) -> dict[str, Any]:
    """Give the row of a batch of the ledger."""
    return {
        "chain_id": batch.chain,
        "number": batch.number,
        "previous": batch.previous,
        "hash": batch.hash,
        "first_row": batch.first_row,
        "last_row": batch.last_row,
        "marks": batch.marks,
        "records": batch.records,
    }


def batch_of(row: Any) -> Batch:
    """Build a batch of the ledger from its row."""
    return Batch(
        Incarnation(row.chain_id),
        row.number,
        Digest(row.previous),
        Digest(row.hash),
        row.first_row,
        row.last_row,
        row.marks,
        row.records,
    )


def charge_row(charge: Verified[ChargeRecordBody]) -> dict[str, Any]:
    """Give the row of a charge record."""
    body = charge.body
    return {
        "order_id": body.order_id,
        "digest": charge.digest,
        "basis": int(body.basis),
        "excl_vat_minor": body.excl_vat_minor,
        "incl_vat_minor": body.incl_vat_minor,
        "deposit_claimed_minor": body.deposit_claimed_minor,
        "corrects": body.corrects_hash,
        "at": body.settled_time,
    }
