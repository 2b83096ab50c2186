"""What an operator watches: parties, alerts, parked messages, the record of acts; and what people mean by a name."""

from collections.abc import Sequence
from typing import Any

from msgspec import Struct
from sqlalchemy import and_, func, or_, select

from cloud.domain.ledger import Balance, LedgerAccount, provider_account, user_account
from cloud.store import tables as t
from cloud.store.ledger_rows import balance_of
from cloud.store.readers import Readers
from cloud.store.unit import OPEN_STATES
from energyshare.errors import Reason, Rejected
from energyshare.values import AccountId, Instant, ProviderId

ID_DIGITS_MIN = 4


class Party(Struct, frozen=True):
    """A user or provider, with what it has running."""

    account_id: AccountId
    role: str
    name: str
    suspended: bool
    terminals: int
    open_orders: int
    balance: Balance


def parties(readers: Readers, role: str, most: int) -> list[Party]:
    """List users and providers by role and name."""
    a = t.accounts.c
    statement = select(t.accounts).order_by(a.role, a.name).limit(most)
    return _parties(readers, statement.where(a.role == role) if role else statement)


def party(readers: Readers, role: str, name: str) -> Party:
    """Give one user or provider.

    Raises: Rejected{PARTY_UNKNOWN}.
    """
    a = t.accounts.c
    found = _parties(readers, select(t.accounts).where(a.role == role, a.name == name))
    if not found:
        raise Rejected(Reason.PARTY_UNKNOWN, role=role, name=name)
    return found[0]


def find_terminal(readers: Readers, text: str) -> Any:
    """Find a terminal or device by a name that only it has, by its id, or by an end of it that is unique.

    Raises: Rejected{PARTY_UNKNOWN}.
    """
    c = t.terminals.c
    digits = text.replace("-", "").lower()
    is_id = len(digits) >= ID_DIGITS_MIN and all(digit in "0123456789abcdef" for digit in digits)
    ending = func.lower(func.hex(c.id)).like(f"%{digits}")
    found = readers.rows(select(t.terminals).where(or_(c.name == text, ending) if is_id else c.name == text).limit(2))
    if len(found) != 1:
        raise Rejected(Reason.PARTY_UNKNOWN, terminal=text, matches="several" if found else "none")
    return found[0]


def find_asset(readers: Readers, text: str, provider: str) -> Any:
    """Find an asset by its name, or by its station's and its own, of a provider or of the only one that has such an asset.

    Raises: Rejected{ASSET_UNKNOWN}.
    """
    a = t.assets.c
    named = or_(a.name == text, a.station + "/" + a.name == text)
    whose = [t.accounts.c.name == provider] if provider else []
    found = readers.rows(
        select(t.assets, t.accounts.c.name.label("provider_name"))
        .join_from(t.assets, t.accounts, t.accounts.c.id == a.provider_id)
        .where(named, *whose)
        .limit(2)
    )
    if len(found) != 1:
        raise Rejected(Reason.ASSET_UNKNOWN, asset=text, matches="several" if found else "none")
    return found[0]


def alerts(readers: Readers, since: Instant, most: int) -> Sequence[Any]:
    """List what the operator should look at, newest first."""
    c = t.alerts.c
    return readers.rows(select(t.alerts).where(c.at >= since).order_by(c.id.desc()).limit(most))


def acts(readers: Readers, since: Instant, most: int) -> Sequence[Any]:
    """List what operators did, newest first."""
    c = t.operator_acts.c
    return readers.rows(select(t.operator_acts).where(c.at >= since).order_by(c.id.desc()).limit(most))


def parked(readers: Readers, most: int) -> Sequence[Any]:
    """List parked messages with who sent them, newest first."""
    return readers.rows(_parked().order_by(t.parked.c.id.desc()).limit(most))


def parked_one(readers: Readers, parked_id: int) -> Any:
    """Give a parked message with who sent it.

    Raises: Rejected{PARKED_UNKNOWN}.
    """
    found = readers.rows(_parked().where(t.parked.c.id == parked_id))
    if not found:
        raise Rejected(Reason.PARKED_UNKNOWN, parked=str(parked_id))
    return found[0]


def _parked() -> Any:
    sender = t.terminals.c
    named = func.coalesce(sender.name, "").label("terminal_name")
    return select(t.parked, named).join_from(t.parked, t.terminals, sender.id == t.parked.c.terminal_id, isouter=True)


def _parties(readers: Readers, statement: Any) -> list[Party]:
    with readers.snapshot() as read:
        rows = read(statement).all()
        ids = [row.id for row in rows]
        terminals = _counts(read(_standing_terminals(ids)))
        orders = _counts(read(_open_orders_of_users(ids))) | _counts(read(_open_orders_of_providers(ids)))
        accounts = [_ledger_account(row) for row in rows]
        kept = read(select(t.balances).where(t.balances.c.account.in_(accounts)))
        balances = {row.account: balance_of(row) for row in kept}
    return [_party(row, terminals, orders, balances) for row in rows]


def _counts(rows: Any) -> dict[bytes, int]:
    return {row[0]: row[1] for row in rows}


def _standing_terminals(accounts: Sequence[bytes]) -> Any:
    c = t.terminals.c
    counted = select(c.account_id, func.count()).where(c.account_id.in_(accounts), c.role != "device")
    return counted.where(c.revoked.is_(False)).group_by(c.account_id)


def _open_orders_of_users(accounts: Sequence[bytes]) -> Any:
    o = t.orders.c
    counted = select(o.account_id, func.count()).where(o.account_id.in_(accounts))
    return counted.where(o.state.in_(OPEN_STATES)).group_by(o.account_id)


def _open_orders_of_providers(accounts: Sequence[bytes]) -> Any:
    o, f = t.orders.c, t.offers.c
    chosen = and_(f.order_id == o.id, f.digest == o.selected)
    counted = select(f.provider_id, func.count()).join_from(t.orders, t.offers, chosen)
    return counted.where(f.provider_id.in_(accounts), o.state.in_(OPEN_STATES)).group_by(f.provider_id)


def _ledger_account(row: Any) -> LedgerAccount:
    return provider_account(ProviderId(row.id)) if row.role == "provider" else user_account(AccountId(row.id))


def _party(row: Any, terminals: dict[bytes, int], orders: dict[bytes, int], balances: dict[str, Balance]) -> Party:
    account = _ledger_account(row)
    return Party(
        AccountId(row.id),
        row.role,
        row.name,
        bool(row.suspended),
        terminals.get(row.id, 0),
        orders.get(row.id, 0),
        balances.get(account, Balance(account)),
    )
