"""What people ask for: wallets, orders with their timeline, terminals, assets, and the check of the ledger."""

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from msgspec import Struct
from sqlalchemy import Table, and_, func, or_, select

from cloud.domain.audit import UNCHARGED, UNREAD, Audit, Charges, OrderFacts, audit
from cloud.domain.ledger import Balance, Flag, LedgerAccount
from cloud.store import tables as t
from cloud.store.chain import check_chains
from cloud.store.ledger_rows import balance_of, transfer_of
from cloud.store.readers import Readers
from energyshare.bodies import CheckpointBody
from energyshare.records import replace
from energyshare.values import Instant, OrderId, OrderState

MOVEMENTS_MAX = 20
ALWAYS = Instant(0)
USERS, PROVIDERS = t.accounts.alias("users"), t.accounts.alias("providers")


class Movement(Struct, frozen=True):
    """One line of a wallet; above zero is money in."""

    at: Instant
    amount_minor: int
    reason: str
    order_id: bytes | None


class Counts(Struct, frozen=True):
    """How much there is of what an operator watches."""

    orders: dict[OrderState, int]
    assets: int
    waiting_envelopes: int
    parked: int
    pending_grants: int
    alerts: int
    suspended_parties: int
    suspended_assets: int


class ExplainedScreening(Struct, frozen=True):
    """A screening as it was kept."""

    examined: int
    candidates: int
    exclusions: Sequence[tuple[str, int]]
    nearest: Sequence[tuple[str, str, str, int]]


def balance_of_account(readers: Readers, account: LedgerAccount) -> Balance:
    """Give an account's balance; all zero when it never moved."""
    found = readers.rows(select(t.balances).where(t.balances.c.account == account))
    return balance_of(found[0]) if found else Balance(account)


def movements(readers: Readers, account: LedgerAccount) -> list[Movement]:
    """Give an account's latest movements, newest first; holds move nothing until they are posted."""
    x = t.transfers.c
    rows = readers.rows(
        select(t.transfers)
        .where(or_(x.debit == account, x.credit == account), x.flag.in_([Flag.POSTED, Flag.POST_PENDING]))
        .order_by(x.row.desc())
        .limit(MOVEMENTS_MAX)
    )
    return [_movement(row, account) for row in rows]


def _movement(row: Any, account: LedgerAccount) -> Movement:
    amount = row.amount_minor if row.credit == account else -row.amount_minor
    return Movement(Instant(row.at), amount, row.reason, row.order_id)


class Wanted(Struct, frozen=True):
    """Which orders are listed; what is None or empty is not looked at."""

    state: OrderState | None = None
    user_name: str = ""
    provider_name: str = ""


def orders(readers: Readers, wanted: Wanted, most: int) -> Sequence[Any]:
    """List orders with the names of their sides, newest first."""
    statement = orders_with_names().order_by(t.orders.c.created.desc()).limit(most)
    if wanted.state is not None:
        statement = statement.where(t.orders.c.state == int(wanted.state))
    if wanted.user_name:
        statement = statement.where(USERS.c.name == wanted.user_name)
    if wanted.provider_name:
        statement = statement.where(PROVIDERS.c.name == wanted.provider_name)
    return readers.rows(statement)


def order(readers: Readers, order_id: OrderId) -> Any:
    """Give one order with the names of its sides."""
    return readers.rows(orders_with_names().where(t.orders.c.id == order_id))[0]


def timeline(readers: Readers, order_id: OrderId) -> Sequence[Any]:
    """Give what happened to an order, oldest first."""
    e = t.order_events.c
    return readers.rows(select(t.order_events).where(e.order_id == order_id).order_by(e.number))


def money(readers: Readers, order_id: OrderId) -> Sequence[Any]:
    """Give what moved for an order, oldest first."""
    x = t.transfers.c
    return readers.rows(select(t.transfers).where(x.order_id == order_id).order_by(x.row))


def screening(readers: Readers, order_id: OrderId) -> ExplainedScreening | None:
    """Give how an order's demand was screened."""
    found = readers.rows(select(t.screenings).where(t.screenings.c.order_id == order_id))
    if not found:
        return None
    row = found[0]
    counts = [(reason, count) for reason, count in json.loads(row.exclusions)]
    nearest = [(station, name, reason, distance) for station, name, reason, distance in json.loads(row.nearest)]
    return ExplainedScreening(row.examined, row.candidates, counts, nearest)


def terminals(readers: Readers) -> Sequence[Any]:
    """List terminals and devices with how many envelopes wait for each."""
    waiting = select(t.envelopes.c.terminal_id, func.count().label("waiting")).group_by(t.envelopes.c.terminal_id).subquery()
    c = t.terminals.c
    return readers.rows(
        select(c.id, c.role, c.name, c.certificate_not_after, c.revoked, func.coalesce(waiting.c.waiting, 0).label("waiting"))
        .join_from(t.terminals, waiting, waiting.c.terminal_id == c.id, isouter=True)
        .order_by(c.role, c.name)
    )


def assets(readers: Readers, most: int) -> Sequence[Any]:
    """List assets with their providers' names."""
    a = t.assets.c
    return readers.rows(
        select(t.assets, t.accounts.c.name.label("provider_name"))
        .join_from(t.assets, t.accounts, t.accounts.c.id == a.provider_id)
        .order_by(t.accounts.c.name, a.station, a.name)
        .limit(most)
    )


def counts(readers: Readers, alerts_since: Instant = ALWAYS) -> Counts:
    """Count what there is; of alerts, those since a time."""
    by_state = readers.rows(select(t.orders.c.state, func.count()).group_by(t.orders.c.state))
    pending = and_(t.terminals.c.grant_body.is_not(None), t.terminals.c.grant_signed.is_(None))

    def count(table: Table, *where: Any) -> int:
        return int(readers.scalar(select(func.count()).select_from(table).where(*where)))

    return Counts(
        {OrderState(row[0]): row[1] for row in by_state},
        count(t.assets),
        count(t.envelopes),
        count(t.parked),
        count(t.terminals, pending),
        count(t.alerts, t.alerts.c.at >= alerts_since),
        count(t.accounts, t.accounts.c.suspended),
        count(t.assets, t.assets.c.suspended),
    )


def pending_grants(readers: Readers) -> Sequence[Any]:
    """List the grants that wait for the platform root's signature."""
    c = t.terminals.c
    return readers.rows(select(c.grant_body, c.name).where(c.grant_body.is_not(None), c.grant_signed.is_(None)))


def check_ledger(readers: Readers, checkpoints: Sequence[CheckpointBody] = ()) -> Audit:
    """Check that no row of the ledger was touched, then its laws, over its whole history, in one snapshot of the database."""
    with readers.snapshot() as read:
        verdict = check_chains(read, checkpoints)
        found = UNREAD if verdict.fault else _check_laws(read)
    return replace(found, fault=verdict.fault or found.fault, batches=verdict.batches)


def _check_laws(read: Any) -> Audit:
    o = t.orders.c
    facts = read(select(o.id, o.state, o.hold_minor, o.deposit_held_minor))
    orders = {row.id: OrderFacts(OrderState(row.state), row.hold_minor, row.deposit_held_minor) for row in facts}
    kept = {row.account: balance_of(row) for row in read(select(t.balances))}
    return audit(_transfers(read), kept, orders, _charges(read(select(t.charge_records))))


def _charges(rows: Iterable[Any]) -> dict[bytes, Charges]:
    """Sum up the charge records of each order."""
    records = list(rows)
    corrected = {row.corrects for row in records}
    charges: dict[bytes, Charges] = {}
    for row in records:
        known = charges.get(row.order_id, UNCHARGED)
        now = known
        if row.digest not in corrected:
            now = replace(
                known,
                price_minor=row.incl_vat_minor,
                deposit_minor=row.deposit_claimed_minor,
                vat_minor=row.incl_vat_minor - row.excl_vat_minor,
            )
        charges[row.order_id] = replace(now, originals=known.originals + (row.corrects is None), count=known.count + 1)
    return charges


def _transfers(read: Any) -> Iterator[Any]:
    for row in read(select(t.transfers).order_by(t.transfers.c.row)):
        yield row.row, transfer_of(row)


def orders_with_names() -> Any:
    """Build the read of orders with their sides' names, and those of what was selected."""
    o, f = t.orders.c, t.offers.c
    return (
        select(
            t.orders,
            USERS.c.name.label("user_name"),
            PROVIDERS.c.name.label("provider_name"),
            t.assets.c.name.label("asset_name"),
            t.assets.c.station.label("station"),
            f.kind.label("kind"),
        )
        .join_from(t.orders, USERS, USERS.c.id == o.account_id)
        .join(t.offers, and_(f.order_id == o.id, f.digest == o.selected), isouter=True)
        .join(PROVIDERS, PROVIDERS.c.id == f.provider_id, isouter=True)
        .join(t.assets, t.assets.c.id == f.asset_id, isouter=True)
    )
