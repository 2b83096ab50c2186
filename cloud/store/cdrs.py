"""Charge records for an export, with all the evidence that each of them names; and the tariffs that assets have."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from msgspec import Struct
from sqlalchemy import and_, select

from cloud.store import tables as t
from energyshare.bodies import ChargeRecordBody, Part
from energyshare.bundle import in_order
from energyshare.values import AssetState, Digest, Instant, Kind, OrderId, PartKind
from energyshare.wire import Bundle, peek

Read = Callable[[Any], Any]


class Asked(Struct, frozen=True):
    """Which charge records: made from `since` on and before `until`; what is None or empty is not looked at."""

    since: Instant | None = None
    until: Instant | None = None
    provider_name: str = ""
    kind: Kind | None = None


def is_provider(read: Read, name: str) -> bool:
    """Say whether a provider bears a name."""
    a = t.accounts.c
    return read(select(a.id).where(a.role == "provider", a.name == name)).first() is not None


def charge_records(read: Read, asked: Asked) -> Sequence[Any]:
    """List charge records, oldest first, each with its order's account and kind."""
    c, o, f = t.charge_records.c, t.orders.c, t.offers.c
    statement = (
        select(c.order_id, c.digest, c.corrects, c.at, o.account_id, f.kind)
        .join_from(t.charge_records, t.orders, o.id == c.order_id)
        .join(t.offers, and_(f.order_id == o.id, f.digest == o.selected))
        .join(t.accounts, t.accounts.c.id == f.provider_id)
    )
    return _each_after_what_it_corrects(read(statement.where(*_wanted(asked))).all())


def bundle_at(read: Read, order_id: OrderId, record: Digest, platform_grant: bytes) -> Bundle:
    """Collect the evidence of a charge record as it stood then: what it names, and the records that it corrects."""
    rows = read(select(t.order_parts).where(t.order_parts.c.order_id == order_id)).all()
    chain = _chain(rows, record)
    named = {(part.kind, part.hash) for part in chain[0].parts}
    last = max((row.number for row in rows if (row.kind, row.digest) in named and row.kind == PartKind.READING), default=0)
    records = {record, *(one.corrects_hash for one in chain)}
    kept = [
        Part(PartKind(row.kind), row.signed)
        for row in rows
        if (row.kind, row.digest) in named
        or (row.kind == PartKind.READING and row.number <= last)
        or (row.kind == PartKind.CHARGE_RECORD and row.digest in records)
    ]
    return Bundle(order_id, in_order((*kept, Part(PartKind.PLATFORM_GRANT, platform_grant))))


def tariffs_of_assets(read: Read, provider_name: str) -> Sequence[Any]:
    """List the tariffs that assets have now, with the kinds of these."""
    a = t.assets.c
    statement = (
        select(t.tariffs.c.hash, t.tariffs.c.body, a.kind)
        .join_from(t.tariffs, t.assets, a.tariff_hash == t.tariffs.c.hash)
        .join(t.accounts, t.accounts.c.id == a.provider_id)
        .where(a.state != int(AssetState.REMOVED))
        .distinct()
        .order_by(t.tariffs.c.hash, a.kind)
    )
    wanted = statement.where(t.accounts.c.name == provider_name) if provider_name else statement
    found: Sequence[Any] = read(wanted).all()
    return found


def _wanted(asked: Asked) -> Iterator[Any]:
    if asked.since is not None:
        yield t.charge_records.c.at >= asked.since
    if asked.until is not None:
        yield t.charge_records.c.at < asked.until
    if asked.provider_name:
        yield t.accounts.c.name == asked.provider_name
    if asked.kind is not None:
        yield t.offers.c.kind == int(asked.kind)


def _each_after_what_it_corrects(rows: Sequence[Any]) -> Sequence[Any]:
    """Sort by time; a bill may be corrected at the very instant at which it was made."""
    corrects = {row.digest: row.corrects for row in rows}

    def corrections(record: bytes) -> int:
        before = corrects.get(record)
        return 0 if before is None else 1 + corrections(before)

    return sorted(rows, key=lambda row: (row.at, row.order_id, corrections(row.digest)))


def _chain(rows: Sequence[Any], record: Digest) -> list[ChargeRecordBody]:
    """Open a charge record and those before it, the latest first."""
    records = {row.digest: row.signed for row in rows if row.kind == PartKind.CHARGE_RECORD}
    chain = [peek(ChargeRecordBody, records[record])]
    while (before := chain[-1].corrects_hash) is not None:
        chain.append(peek(ChargeRecordBody, records[before]))
    return chain
