"""The chain over the ledger's rows, and what checkpoints say of it.

Each commit that writes rows of the ledger adds one batch: its number, the hash of its chain's batch before, and a hash over
both and the canonical bytes of its rows, which are JSON arrays of their columns, bytes as base64. The rows of a batch are
consecutive, as one program writes a database. A mark of four bytes a row tells which row of a batch was touched. Who can
write the database can write a new chain too; a checkpoint outside of it, signed by the platform key, names the chains' heads
at its time. The truth is in ADR-0011.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

import msgspec
from msgspec import Struct

from energyshare.bodies import CheckpointBody, LedgerHead
from energyshare.signing import Label, digest
from energyshare.values import Digest, Incarnation, Instant, Number, datetime_of

TRANSFER_COLUMNS = (
    *("id", "order_id", "at", "debit", "credit", "amount_minor"),
    *("flag", "reason", "hold_id", "hold_minor"),
)
RECORD_COLUMNS = (
    *("order_id", "digest", "basis", "excl_vat_minor", "incl_vat_minor"),
    *("deposit_claimed_minor", "corrects", "at"),
)
MARK_BYTES, DIGEST_BYTES = 4, 32
START = Digest(bytes(DIGEST_BYTES))


class Batch(Struct, frozen=True):
    """The rows of one commit: those from `first_row` to `last_row`, and the charge records named by `records`.

    `marks` holds four bytes for each of them, `records` 32 bytes for each charge record.
    """

    chain: Incarnation
    number: int
    previous: Digest
    hash: Digest
    first_row: int
    last_row: int
    marks: bytes
    records: bytes

    @property
    def record_digests(self) -> list[bytes]:
        """Name its charge records."""
        return [self.records[at : at + DIGEST_BYTES] for at in range(0, len(self.records), DIGEST_BYTES)]


class LedgerRow(Struct, frozen=True):
    """A row as it is read for the check: its number, its id and its canonical bytes."""

    row: int
    id: str
    line: bytes


class Verdict(Struct, frozen=True):
    """What a check of the chains found; `fault` is empty when nothing was touched."""

    fault: str
    batches: int


@dataclass(slots=True)
class _Walk:
    """How far a check has come: the heads so far, hashes of the batches that checkpoints name, and charge records seen."""

    heads: dict[bytes, tuple[int, Digest]] = field(default_factory=dict)
    hashes: dict[tuple[bytes, int], Digest] = field(default_factory=dict)
    seen: set[bytes] = field(default_factory=set)
    batches: int = 0


def line_of(values: Iterable[Any]) -> bytes:
    """Give the canonical bytes of a row."""
    return msgspec.json.encode(list(values))


def next_batch(
    chain: Incarnation,
    before: tuple[int, Digest],
    last_row: int,
    transfers: Sequence[Mapping[str, Any]],
    records: Sequence[Mapping[str, Any]],
) -> Batch:
    """Link rows that were just written to their chain; `last_row` is the number of the last of them, or of the one before."""
    number, previous = before
    lines = [line_of([row[name] for name in TRANSFER_COLUMNS]) for row in transfers]
    lines += [line_of([row[name] for name in RECORD_COLUMNS]) for row in records]
    named = b"".join(row["digest"] for row in records)
    first_row = last_row - len(transfers) + 1
    hashed = _hash(chain, number + 1, previous, (first_row, last_row), named, lines)
    return Batch(chain, number + 1, previous, hashed, first_row, last_row, b"".join(map(_mark, lines)), named)


def verify_chains(
    batches: Iterable[Batch],
    rows: Iterable[LedgerRow],
    records: Mapping[bytes, bytes],
    checkpoints: Sequence[CheckpointBody] = (),
) -> Verdict:
    """Compare rows with their batches, and the batches with checkpoints.

    Batches and rows come in the order of rows; `records` gives the canonical bytes of charge records by digest.
    """
    walk = _Walk()
    wanted: set[tuple[bytes, int]] = {(head.chain_id, head.number) for one in checkpoints for head in one.heads}
    fault = _rows_fault(walk, batches, iter(rows), records, wanted)
    if not fault:
        strange = sorted(records.keys() - walk.seen)
        fault = f"charge record {strange[0].hex()}: no batch holds it: it was added, or its batch removed" if strange else ""
    return Verdict(fault or _checkpoints_fault(walk, checkpoints), walk.batches)


def _rows_fault(
    walk: _Walk,
    batches: Iterable[Batch],
    rows: Iterator[LedgerRow],
    records: Mapping[bytes, bytes],
    wanted: Collection[tuple[bytes, int]],
) -> str:
    waiting = next(rows, None)
    for batch in batches:
        found: list[LedgerRow] = []
        while waiting is not None and waiting.row <= batch.last_row:
            found.append(waiting)
            waiting = next(rows, None)
        fault = _batch_fault(walk, batch, found, records)
        if fault:
            return fault
        walk.heads[batch.chain] = batch.number, batch.hash
        walk.seen.update(batch.record_digests)
        walk.batches += 1
        if (batch.chain, batch.number) in wanted:
            walk.hashes[batch.chain, batch.number] = batch.hash
    return _added(waiting) if waiting else ""


def _batch_fault(walk: _Walk, batch: Batch, found: Sequence[LedgerRow], records: Mapping[bytes, bytes]) -> str:
    before = walk.heads.get(batch.chain, (0, START))
    if batch.number != before[0] + 1:
        return f"batch {before[0] + 1} of chain {batch.chain.hex()[:8]}: it is missing, with its rows before {batch.first_row}"
    strange = next((row for row in found if row.row < batch.first_row), None)
    if strange:
        return _added(strange)
    digests = batch.record_digests
    lines = [row.line for row in found] + [records[name] for name in digests if name in records]
    span = (batch.first_row, batch.last_row)
    if batch.hash == _hash(batch.chain, batch.number, batch.previous, span, batch.records, lines):
        return "" if batch.previous == before[1] else f"{_named(batch)}: it does not follow on the batch before"
    return _touched(batch, found, records) or f"{_named(batch)}: it was altered, or one of its rows was"


def _touched(batch: Batch, found: Sequence[LedgerRow], records: Mapping[bytes, bytes]) -> str:
    """Name the first row that does not bear its mark."""
    marks = [batch.marks[at : at + MARK_BYTES] for at in range(0, len(batch.marks), MARK_BYTES)]
    there = {row.row: row for row in found}
    numbers = range(batch.first_row, batch.last_row + 1)
    for number, mark in zip(numbers, marks, strict=False):
        if number not in there:
            return f"row {number}: it is missing"
        if _mark(there[number].line) != mark:
            return f"row {number} ({there[number].id}): it was altered"
    for name, mark in zip(batch.record_digests, marks[len(numbers) :], strict=False):
        if name not in records:
            return f"charge record {name.hex()}: it is missing"
        if _mark(records[name]) != mark:
            return f"charge record {name.hex()}: it was altered"
    return ""


def _checkpoints_fault(walk: _Walk, checkpoints: Sequence[CheckpointBody]) -> str:
    """Compare with checkpoints, the oldest first, so that two of them bound what was touched between."""
    sound = 0
    for one in sorted(checkpoints, key=lambda body: body.checkpoint_time):
        for head in sorted(one.heads, key=lambda head: head.last_row):
            if walk.hashes.get((head.chain_id, head.number)) != head.hash:
                return _overtaken(walk, one.checkpoint_time, head, sound)
            sound = max(sound, head.last_row)
    return ""


def _overtaken(walk: _Walk, at: Instant, head: LedgerHead, sound: int) -> str:
    """Say what a checkpoint has seen that is so no more."""
    last = walk.heads.get(head.chain_id, (0, START))[0]
    rows = f"row {sound + 1}" if sound + 1 >= head.last_row else f"rows {sound + 1} to {head.last_row}"
    seen = f"the checkpoint of {datetime_of(at):%Y-%m-%d %H:%M:%S} UTC"
    if last < head.number:
        return f"{rows}: {seen} has batches after {last} of chain {head.chain_id.hex()[:8]}, which are missing with their rows"
    return f"{rows}: they are not those of {seen}: one was altered, added or removed, and the chain written anew"


def checkpoint_of(heads: Iterable[Batch], transfers: int, charge_records: int, now: Instant) -> CheckpointBody:
    """State the heads of all chains."""
    named = (LedgerHead(b.chain, Number(b.number), b.hash, Number(max(0, b.last_row))) for b in heads)
    ordered = tuple(sorted(named, key=lambda head: head.chain_id))
    return CheckpointBody(now, ordered, Number(transfers), Number(charge_records))


def _hash(
    chain: Incarnation, number: int, previous: Digest, span: tuple[int, int], records: bytes, lines: Sequence[bytes]
) -> Digest:
    header = line_of((chain, number, previous, *span, records))
    return digest(Label.LEDGER_BATCH, b"\n".join((header, *lines)))


def _mark(line: bytes) -> bytes:
    return sha256(line).digest()[:MARK_BYTES]


def _added(row: LedgerRow) -> str:
    return f"row {row.row} ({row.id}): no batch holds it: it was added, or its batch removed"


def _named(batch: Batch) -> str:
    return f"batch {batch.number} of chain {batch.chain.hex()[:8]}, rows {batch.first_row} to {batch.last_row}"
