"""What an operator does: each a function on the batch's working set, as those of cloud.commands.

Every one leaves a line in the record of acts, in the transaction of its effect: who, what, on whom, and never a secret. What
was so already changes nothing and leaves none.
"""

from collections.abc import Callable
from typing import TypeVar

from msgspec import Struct
from sqlalchemy import delete, insert, select, update

from cloud.store import tables as t
from cloud.work import WorkingSet
from energyshare.values import AccountId, AssetId, Instant, Kind, TerminalId

T = TypeVar("T")
SUBJECT_MAX = 128


class Act(Struct, frozen=True):
    """A line of the record of acts."""

    operator: str
    name: str
    subject: str
    note: str = ""


def record(work: WorkingSet, now: Instant, *, act: Act) -> None:
    """Write a line into the record of acts."""
    subject = act.subject[:SUBJECT_MAX]
    row = {"at": now, "operator": act.operator, "act": act.name, "subject": subject, "note": act.note}
    work.unit.execute(insert(t.operator_acts).values(**row))


def recorded(run: Callable[[WorkingSet, Instant], T], act: Act) -> Callable[[WorkingSet, Instant], T]:
    """Give a command that is recorded when it is not refused."""

    def both(work: WorkingSet, now: Instant) -> T:
        done = run(work, now)
        record(work, now, act=act)
        return done

    return both


def suspend(work: WorkingSet, now: Instant, *, account: AccountId, act: Act) -> bool:
    """Keep a party from new orders; says whether it was not so before."""
    return _set_suspended(work, now, account, True, act)


def resume(work: WorkingSet, now: Instant, *, account: AccountId, act: Act) -> bool:
    """Lift a party's suspension; says whether there was one."""
    return _set_suspended(work, now, account, False, act)


def revoke(work: WorkingSet, now: Instant, *, terminal: TerminalId, act: Act) -> bool:
    """Revoke a terminal's identity for good; says whether it still stood."""
    if work.unit.scalar(select(t.terminals.c.revoked).where(t.terminals.c.id == terminal)):
        return False
    work.unit.execute(update(t.terminals).where(t.terminals.c.id == terminal).values(revoked=True))
    record(work, now, act=act)
    return True


def resume_asset(work: WorkingSet, now: Instant, *, asset: AssetId, act: Act) -> bool:
    """Lift an asset's suspension; says whether there was one."""
    if not work.unit.scalar(select(t.assets.c.suspended).where(t.assets.c.id == asset)):
        return False
    work.unit.execute(update(t.assets).where(t.assets.c.id == asset).values(suspended=False))
    record(work, now, act=act)
    return True


def set_commission(
    work: WorkingSet, now: Instant, *, provider: AccountId, kind: Kind, commission_bp: int | None, act: Act
) -> tuple[bool, int]:
    """Set a provider's commission for one kind, None for the cloud's own; says whether that changed it, and what it is now."""
    own, key = work.settings.commission_bp, (provider, kind)
    current = own if commission_bp is None else commission_bp
    if work.commissions.get(key) == commission_bp:
        return False, current
    c = t.commissions.c
    work.unit.execute(delete(t.commissions).where(c.account_id == provider, c.kind == int(kind)))
    work.commissions = {of: rate for of, rate in work.commissions.items() if of != key}
    if commission_bp is not None:
        work.unit.execute(insert(t.commissions).values(account_id=provider, kind=int(kind), commission_bp=commission_bp))
        work.commissions = {**work.commissions, key: commission_bp}
    record(work, now, act=act)
    return True, current


def forget_parked(work: WorkingSet, now: Instant, *, parked_id: int, act: Act) -> None:
    """Take a parked message away; it was dropped, or its order has taken it."""
    work.unit.execute(delete(t.parked).where(t.parked.c.id == parked_id))
    record(work, now, act=act)


def _set_suspended(work: WorkingSet, now: Instant, account: AccountId, suspended: bool, act: Act) -> bool:
    if bool(work.unit.scalar(select(t.accounts.c.suspended).where(t.accounts.c.id == account))) is suspended:
        return False
    work.unit.execute(update(t.accounts).where(t.accounts.c.id == account).values(suspended=suspended))
    work.suspended = work.suspended | {account} if suspended else work.suspended - {account}
    record(work, now, act=act)
    return True
