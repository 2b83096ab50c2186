"""The chains over the ledger's rows as the database holds them."""

from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import func, select

from cloud.domain.checkpoint import (
    RECORD_COLUMNS,
    TRANSFER_COLUMNS,
    LedgerRow,
    Verdict,
    checkpoint_of,
    line_of,
    verify_chains,
)
from cloud.store import tables as t
from cloud.store.ledger_rows import batch_of
from cloud.store.readers import Readers
from energyshare.bodies import CheckpointBody
from energyshare.values import Instant

Read = Callable[[Any], Any]


def check_chains(read: Read, checkpoints: Sequence[CheckpointBody] = ()) -> Verdict:
    """Compare all rows with the chains over them, and the chains with checkpoints."""
    b, x, c = t.ledger_batches.c, t.transfers.c, t.charge_records.c
    batches = map(batch_of, read(select(t.ledger_batches).order_by(b.first_row, b.last_row, b.number)))
    found = read(select(x.row, *(x[name] for name in TRANSFER_COLUMNS)).order_by(x.row))
    rows = (LedgerRow(row[0], row.id, line_of(row[1:])) for row in found)
    records = {row.digest: line_of(row) for row in read(select(*(c[name] for name in RECORD_COLUMNS)))}
    return verify_chains(batches, rows, records, checkpoints)


def state_heads(readers: Readers, now: Instant) -> CheckpointBody:
    """State what a checkpoint is to say, as of one instant."""
    b = t.ledger_batches.c
    last = select(b.chain_id, func.max(b.number).label("number")).group_by(b.chain_id).subquery()
    heads = select(t.ledger_batches).join(last, (last.c.chain_id == b.chain_id) & (last.c.number == b.number))
    with readers.snapshot() as read:
        transfers = read(select(func.count()).select_from(t.transfers)).scalar_one()
        records = read(select(func.count()).select_from(t.charge_records)).scalar_one()
        return checkpoint_of(map(batch_of, read(heads).all()), transfers, records, now)
