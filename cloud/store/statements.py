"""What moved on a party's account within a period, what a provider can be paid, and which commissions differ."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from msgspec import Struct
from sqlalchemy import and_, case, func, or_, select

from cloud.domain import ledger
from cloud.domain.ledger import Earned, Flag, LedgerAccount
from cloud.domain.order import Wait
from cloud.domain.settings import Settings
from cloud.store import tables as t
from cloud.store.readers import Readers
from energyshare.errors import Reason, Rejected
from energyshare.values import AccountId, Instant, Minor, ProviderId, later

Read = Callable[[Any], Any]
Key = tuple[bytes | None, int]
MOVED = (Flag.POSTED, Flag.POST_PENDING)
ROWS_MAX = 20_000  # of one statement: an answer of some 3 MB


class StatementRow(Struct, frozen=True):
    """One movement, above zero for money in, and the balance afterwards; `record` is the charge record that it belongs to."""

    at: Instant
    reason: str
    amount_minor: int
    balance_minor: int
    order_id: bytes | None
    record: bytes | None
    corrects: bytes | None


class Statement(Struct, frozen=True):
    """A period of an account, oldest first; VAT and commission are those of the party's bills in the period."""

    opening_minor: int
    rows: tuple[StatementRow, ...]
    vat_minor: int
    commission_minor: int
    owed_minor: int

    @property
    def closing_minor(self) -> int:
        """The balance after the period."""
        return self.rows[-1].balance_minor if self.rows else self.opening_minor

    @property
    def totals(self) -> dict[str, int]:
        """What all movements of each reason come to."""
        sums: dict[str, int] = {}
        for row in self.rows:
            sums[row.reason] = sums.get(row.reason, 0) + row.amount_minor
        return sums


def statement(readers: Readers, role: str, account: AccountId, start: Instant, end: Instant) -> Statement:
    """Give what moved from one instant until before another; what is held counts as on the account.

    Raises: Rejected{PERIOD_TOO_LONG} for more than ROWS_MAX movements.
    """
    whose = ledger.provider_account(ProviderId(account)) if role == "provider" else ledger.user_account(account)
    at = t.transfers.c.at
    with readers.snapshot() as read:
        opening = _sum(read, whose, at < start)
        period = and_(at >= start, at < end)
        moved = read(_movements(whose).where(period).order_by(at, t.transfers.c.row).limit(ROWS_MAX + 1)).all()
        if len(moved) > ROWS_MAX:
            raise Rejected(Reason.PERIOD_TOO_LONG, most=str(ROWS_MAX))
        records = _records(read, whose, period)
        return Statement(
            opening,
            _running(moved, whose, opening, records),
            _billed(read, role, account, "VAT", period),
            _billed(read, role, account, "COMMISSION", period),
            -_sum(read, ledger.receivable_account(account), at < end) if role == "user" else 0,
        )


def payable_minor(rows: Callable[[Any], Sequence[Any]], provider: ProviderId, now: Instant, settings: Settings) -> Minor:
    """Give what a provider can be paid now: what nobody can dispute any more, less what was paid out or taken back.

    A bill can be disputed for a time from when it was settled, or from when a deposit that waited with it was decided on.
    """
    x, o = t.transfers.c, t.orders.c
    whose = ledger.provider_account(provider)
    is_in = and_(x.credit == whose, x.flag.in_(MOVED))
    is_old = and_(o.bill_settled <= later(now, -settings.dispute_within_s), func.coalesce(o.wait, "") != Wait.NOT_RETURNED)
    is_out = and_(x.debit == whose, x.flag.in_(MOVED))
    held = case((x.flag == Flag.PENDING, x.amount_minor), (x.flag != Flag.POSTED, -x.hold_minor), else_=0)

    def total(amount: Any, *where: Any) -> Any:
        return func.coalesce(func.sum(case((and_(*where), amount), else_=0)), 0)

    sums = (
        select(
            x.order_id,
            total(x.amount_minor, is_in, is_old).label("matured"),
            (total(x.amount_minor, is_in) - total(x.amount_minor, is_out)).label("net"),
            total(held, x.debit == whose).label("held"),
        )
        .join_from(t.transfers, t.orders, o.id == x.order_id, isouter=True)
        .where(or_(x.debit == whose, x.credit == whose))
    )
    found = rows(sums.group_by(x.order_id))
    earned = [Earned(row.matured, row.net, row.held) for row in found if row.order_id is not None]
    return ledger.payable(earned, sum(row.net for row in found if row.order_id is None))


def commissions(readers: Readers) -> Sequence[Any]:
    """List the commissions that differ from the cloud's, with their providers' names."""
    c = t.commissions.c
    named = select(t.commissions, t.accounts.c.name).join_from(t.commissions, t.accounts, t.accounts.c.id == c.account_id)
    return readers.rows(named.order_by(t.accounts.c.name, c.kind))


def _movements(account: LedgerAccount) -> Any:
    x = t.transfers.c
    return select(t.transfers).where(or_(x.debit == account, x.credit == account), x.flag.in_(MOVED))


def _sum(read: Read, account: LedgerAccount, when: Any) -> int:
    """Sum up an account, above zero for money in."""
    x = t.transfers.c
    amount = case((x.credit == account, x.amount_minor), else_=-x.amount_minor)
    found = _movements(account).where(when).with_only_columns(func.coalesce(func.sum(amount), 0))
    return int(read(found).scalar_one())


def _running(
    moved: Sequence[Any], account: LedgerAccount, opening: int, records: Mapping[Key, Any]
) -> tuple[StatementRow, ...]:
    rows = []
    balance = opening
    for row in moved:
        amount = row.amount_minor if row.credit == account else -row.amount_minor
        balance += amount
        record = None if row.reason == "COLLECTION" else records.get((row.order_id, row.at))
        named = (record.digest, record.corrects) if record else (None, None)
        rows.append(StatementRow(Instant(row.at), row.reason, amount, balance, row.order_id, *named))
    return tuple(rows)


def _records(read: Read, account: LedgerAccount, period: Any) -> dict[Key, Any]:
    """Give the charge records of a period's orders by order and time, which the transfers that they made share."""
    c = t.charge_records.c
    orders = _movements(account).where(period).with_only_columns(t.transfers.c.order_id)
    rows = read(select(t.charge_records).where(c.order_id.in_(orders)).order_by(c.corrects.is_not(None))).all()
    return {(row.order_id, row.at): row for row in rows}


def _billed(read: Read, role: str, account: AccountId, reason: str, period: Any) -> int:
    """Sum up what the bills of a party's orders moved to VAT or commission."""
    o, f, x = t.orders.c, t.offers.c, t.transfers.c
    orders = select(o.id).where(o.account_id == account)
    if role == "provider":
        selected = and_(f.order_id == o.id, f.digest == o.selected)
        orders = select(o.id).join_from(t.orders, t.offers, selected).where(f.provider_id == account)
    amount = case((x.reason == reason, x.amount_minor), else_=-x.amount_minor)
    moved = select(func.coalesce(func.sum(amount), 0)).where(
        x.reason.in_((reason, f"{reason}_BACK")), x.order_id.in_(orders), period
    )
    return int(read(moved).scalar_one())
