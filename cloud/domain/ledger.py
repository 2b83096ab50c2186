"""Double entry: accounts, immutable transfers, holds that are pending until posted or voided.

An account is named by its kind and owner (`user:…`, `provider:…`, `receivable:…`, `escrow:…`, `deposit:…`), the platform's own
by kind alone. What is held for an order is PENDING from the user's account or, for a dispute of a settled bill, from the
provider's: the price's part to the order's escrow, the deposit's to an account of its own, as it is no revenue and bears
neither commission nor VAT. POST_PENDING moves what is due of a hold and frees the rest, VOID_PENDING frees all. What a user
owes without a hold is debited to its receivable account, and collected from its wallet as soon as something is in it. Laws,
kept when writing and checked again when reading: debits equal credits; no user account below its limit; pending equals the
open holds; escrows and deposit accounts are empty; each settled order has one original charge record. User, provider and
receivable accounts carry a balance; all others are summed from their rows.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from enum import StrEnum
from typing import NewType
from uuid import UUID

from msgspec import Struct

from energyshare.errors import Reason, Rejected
from energyshare.records import replace
from energyshare.values import MINOR_MAX, AccountId, Instant, Minor, OrderId, ProviderId, id_text

LedgerAccount = NewType("LedgerAccount", str)
TransferId = NewType("TransferId", str)

COMMISSION = LedgerAccount("commission")
VAT = LedgerAccount("vat")
FUNDING = LedgerAccount("funding")


class Flag(StrEnum):
    """How a transfer touches balances."""

    POSTED = "POSTED"
    PENDING = "PENDING"
    POST_PENDING = "POST_PENDING"
    VOID_PENDING = "VOID_PENDING"


class Transfer(Struct, frozen=True):
    """One immutable row. `hold_id` names the PENDING transfer that a POST_PENDING or VOID_PENDING ends."""

    id: TransferId
    order_id: OrderId | None
    at: Instant
    debit: LedgerAccount
    credit: LedgerAccount
    amount_minor: Minor
    flag: Flag
    reason: str
    hold_id: TransferId | None = None
    hold_minor: Minor = Minor(0)


class Balance(Struct, frozen=True):
    """The sums of one account, minor units."""

    account: LedgerAccount
    debits_minor: int = 0
    credits_minor: int = 0
    held_minor: int = 0

    @property
    def available_minor(self) -> int:
        """What can be spent or paid out."""
        return self.credits_minor - self.debits_minor - self.held_minor

    @property
    def owed_minor(self) -> Minor:
        """What is owed on a receivable account."""
        return Minor(self.debits_minor - self.credits_minor)


def user_account(account: AccountId) -> LedgerAccount:
    """Name a user's account."""
    return LedgerAccount(f"user:{id_text(account)}")


def provider_account(provider: ProviderId) -> LedgerAccount:
    """Name a provider's account."""
    return LedgerAccount(f"provider:{id_text(provider)}")


def receivable_account(account: AccountId) -> LedgerAccount:
    """Name the account of what a user owes."""
    return LedgerAccount(f"receivable:{id_text(account)}")


def owed_by(user: LedgerAccount) -> LedgerAccount:
    """Name the account of what the owner of a user's account owes."""
    return LedgerAccount(user.replace("user:", "receivable:", 1))


def escrow_account(order: OrderId) -> LedgerAccount:
    """Name an order's escrow."""
    return LedgerAccount(f"escrow:{id_text(order)}")


def deposit_account(order: OrderId) -> LedgerAccount:
    """Name the account of an order's deposit."""
    return LedgerAccount(f"deposit:{id_text(order)}")


def has_balance(account: LedgerAccount) -> bool:
    """Say whether an account's balance is kept when writing."""
    return account.startswith(("user:", "provider:", "receivable:"))


def apply(balances: Mapping[LedgerAccount, Balance], transfer: Transfer) -> dict[LedgerAccount, Balance]:
    """Give the balances that a transfer changes.

    A provider's account may fall below 0 by a correction, not by a hold.

    Raises: Rejected{INSUFFICIENT_FUNDS} when a user's account would fall below 0, {AMOUNT_TOO_LARGE} past 10^15.
    """
    changed: dict[LedgerAccount, Balance] = {}
    if has_balance(transfer.debit):
        changed[transfer.debit] = _debited(balances.get(transfer.debit, Balance(transfer.debit)), transfer)
    if has_balance(transfer.credit) and transfer.flag in (Flag.POSTED, Flag.POST_PENDING):
        before = changed.get(transfer.credit) or balances.get(transfer.credit, Balance(transfer.credit))
        changed[transfer.credit] = replace(before, credits_minor=before.credits_minor + transfer.amount_minor)
    for balance in changed.values():
        _require_lawful(balance, transfer.flag)
    return changed


def apply_all(balances: Mapping[LedgerAccount, Balance], transfers: Iterable[Transfer]) -> dict[LedgerAccount, Balance]:
    """Give the balances that transfers change, one after the other; raises as `apply`."""
    changed: dict[LedgerAccount, Balance] = {}
    for transfer in transfers:
        changed |= apply({**balances, **changed}, transfer)
    return changed


def _debited(balance: Balance, transfer: Transfer) -> Balance:
    match transfer.flag:
        case Flag.POSTED:
            return replace(balance, debits_minor=balance.debits_minor + transfer.amount_minor)
        case Flag.PENDING:
            return replace(balance, held_minor=balance.held_minor + transfer.amount_minor)
        case Flag.POST_PENDING:
            return replace(
                balance,
                debits_minor=balance.debits_minor + transfer.amount_minor,
                held_minor=balance.held_minor - transfer.hold_minor,
            )
        case Flag.VOID_PENDING:
            return replace(balance, held_minor=balance.held_minor - transfer.hold_minor)


def _require_lawful(balance: Balance, flag: Flag) -> None:
    is_limited = balance.account.startswith("user:") or flag is Flag.PENDING
    if is_limited and balance.available_minor < 0:
        raise Rejected(Reason.INSUFFICIENT_FUNDS)
    if max(balance.credits_minor, balance.debits_minor, balance.held_minor) > MINOR_MAX:
        raise Rejected(Reason.AMOUNT_TOO_LARGE)
    assert balance.held_minor >= 0, balance


def transfer_id(order: OrderId, step: str) -> TransferId:
    """Name a transfer of an order; a step moves money once."""
    return TransferId(f"{id_text(order)}/{step}")


class Amounts(Struct, frozen=True):
    """What is held for an order, or due of that: for its price, and of its deposit."""

    price_minor: Minor = Minor(0)
    deposit_minor: Minor = Minor(0)

    @property
    def total_minor(self) -> Minor:
        """Both."""
        return Minor(self.price_minor + self.deposit_minor)

    def __add__(self, other: "Amounts") -> "Amounts":
        return Amounts(Minor(self.price_minor + other.price_minor), Minor(self.deposit_minor + other.deposit_minor))


NONE = Amounts()


class _Kind(Struct, frozen=True):
    """What is held of one kind: to which account, under which ids, and for which reasons."""

    step: str
    account: Callable[[OrderId], LedgerAccount]
    held: str
    released: str
    charged: str
    given_back: str


_PRICE = _Kind("", escrow_account, "HOLD", "RELEASE", "CHARGE", "EARNING_BACK")
_DEPOSIT = _Kind("deposit-", deposit_account, "DEPOSIT_HOLD", "DEPOSIT_RELEASE", "DEPOSIT_CHARGE", "CLAIM_BACK")


def hold(order: OrderId, number: int, account: LedgerAccount, held: Amounts, now: Instant) -> tuple[Transfer, ...]:
    """Hold amounts for an order; `number` counts its holds, and of nothing there is none."""
    return tuple(
        Transfer(
            transfer_id(order, f"{kind.step}hold-{number}"),
            order,
            now,
            account,
            kind.account(order),
            amount,
            Flag.PENDING,
            kind.held,
        )
        for kind, amount, _ in _kinds(held, NONE)
    )


def void(order: OrderId, number: int, account: LedgerAccount, held: Amounts, now: Instant) -> tuple[Transfer, ...]:
    """Free what is held."""
    return post(order, number, account, held, NONE, now)


def post(
    order: OrderId, number: int, account: LedgerAccount, held: Amounts, due: Amounts, now: Instant
) -> tuple[Transfer, ...]:
    """Move what is due of a hold to the order's accounts and free the rest."""
    return tuple(_ended(order, number, account, kind, amount, part, now) for kind, amount, part in _kinds(held, due))


def _kinds(held: Amounts, due: Amounts) -> Iterator[tuple[_Kind, Minor, Minor]]:
    """Give each kind of which something is held, how much, and what of it is due."""
    for kind, amount, part in (
        (_PRICE, held.price_minor, due.price_minor),
        (_DEPOSIT, held.deposit_minor, due.deposit_minor),
    ):
        assert 0 <= part <= amount, (held, due)
        if amount:
            yield kind, amount, part


def _ended(order: OrderId, number: int, account: LedgerAccount, kind: _Kind, held: Minor, due: Minor, now: Instant) -> Transfer:
    charged = kind.charged if account.startswith("user:") else kind.given_back
    step, flag, reason = ("post", Flag.POST_PENDING, charged) if due else ("void", Flag.VOID_PENDING, kind.released)
    return Transfer(
        transfer_id(order, f"{kind.step}{step}-{number}"),
        order,
        now,
        account,
        kind.account(order),
        due,
        flag,
        reason,
        transfer_id(order, f"{kind.step}hold-{number}"),
        held,
    )


class Shares(Struct, frozen=True):
    """How a bill is divided: its price, and what the provider claims of the deposit. A correction's may be below zero."""

    provider_minor: int
    commission_minor: int
    vat_minor: int
    deposit_minor: int

    @property
    def price_minor(self) -> Minor:
        """What the user pays without the deposit."""
        return Minor(self.provider_minor + self.commission_minor + self.vat_minor)

    @property
    def total_minor(self) -> Minor:
        """What the user pays."""
        return Minor(self.price_minor + self.deposit_minor)

    def __add__(self, other: "Shares") -> "Shares":
        return Shares(
            self.provider_minor + other.provider_minor,
            self.commission_minor + other.commission_minor,
            self.vat_minor + other.vat_minor,
            self.deposit_minor + other.deposit_minor,
        )

    def __sub__(self, other: "Shares") -> "Shares":
        return Shares(
            self.provider_minor - other.provider_minor,
            self.commission_minor - other.commission_minor,
            self.vat_minor - other.vat_minor,
            self.deposit_minor - other.deposit_minor,
        )


def divide(excl_vat_minor: Minor, incl_vat_minor: Minor, deposit_claimed_minor: Minor, commission_bp: int) -> Shares:
    """Divide a bill: commission half-up on the amount without VAT, the provider gets the rest."""
    commission = (excl_vat_minor * commission_bp * 2 + 10_000) // 20_000
    return Shares(
        excl_vat_minor - commission,
        commission,
        incl_vat_minor - excl_vat_minor,
        deposit_claimed_minor,
    )


def pay_out(order: OrderId, bill: int, provider: ProviderId, shares: Shares, now: Instant) -> tuple[Transfer, ...]:
    """Move an order's shares from its accounts to where they belong; shares below zero come back. `bill` counts its records."""
    escrow, to = escrow_account(order), provider_account(provider)
    routes = (
        ("provider", escrow, to, shares.provider_minor, "EARNING"),
        ("commission", escrow, COMMISSION, shares.commission_minor, "COMMISSION"),
        ("vat", escrow, VAT, shares.vat_minor, "VAT"),
        ("claim", deposit_account(order), to, shares.deposit_minor, "CLAIM"),
    )
    gone, back = [], []
    for step, source, target, amount, reason in routes:
        step_id = transfer_id(order, step if bill == 1 else f"{step}-{bill}")
        if amount > 0:
            gone.append(Transfer(step_id, order, now, source, target, Minor(amount), Flag.POSTED, reason))
        elif amount < 0:
            back.append(Transfer(step_id, order, now, target, source, Minor(-amount), Flag.POSTED, f"{reason}_BACK"))
    return (*back, *gone)  # what comes back arrives first


def refund(order: OrderId, bill: int, account: AccountId, back: Amounts, now: Instant) -> tuple[Transfer, ...]:
    """Give amounts back from an order's accounts to its user."""
    routes = (
        ("refund", escrow_account(order), back.price_minor, "REFUND"),
        ("deposit-refund", deposit_account(order), back.deposit_minor, "DEPOSIT_REFUND"),
    )
    return tuple(
        Transfer(transfer_id(order, f"{step}-{bill}"), order, now, source, user_account(account), amount, Flag.POSTED, reason)
        for step, source, amount, reason in routes
        if amount
    )


def owe(order: OrderId, bill: int, account: AccountId, amount: Minor, now: Instant) -> Transfer:
    """Book an amount that no hold covers as owed."""
    step = transfer_id(order, f"owed-{bill}")
    return Transfer(step, order, now, receivable_account(account), escrow_account(order), amount, Flag.POSTED, "RECEIVABLE")


def wallets_of(moved: Iterable[Transfer]) -> dict[AccountId, Transfer]:
    """Name the users whose wallets or debts were touched, each with the last transfer that did."""
    touched = ((account.partition(":"), transfer) for transfer in moved for account in (transfer.debit, transfer.credit))
    return {AccountId(UUID(owner).bytes): by for (kind, _, owner), by in touched if kind in ("user", "receivable")}


def collections(balances: Mapping[LedgerAccount, Balance], moved: Iterable[Transfer]) -> Iterator[Transfer]:
    """Pay what users owe from what transfers have left in their wallets."""
    for account, by in wallets_of(moved).items():
        owed = balances[receivable_account(account)].owed_minor
        amount = Minor(min(owed, balances[user_account(account)].available_minor))
        if amount > 0:
            yield collect(TransferId(f"{by.id}/collected"), by.order_id, account, amount, by.at)


def collect(step: TransferId, order: OrderId | None, account: AccountId, amount: Minor, now: Instant) -> Transfer:
    """Pay what a user owes from its wallet."""
    user, owed = user_account(account), receivable_account(account)
    return Transfer(step, order, now, user, owed, amount, Flag.POSTED, "COLLECTION")


class Earned(Struct, frozen=True):
    """What a provider has of one order, minor units: earned long enough ago, earned in all less what went back, and held."""

    matured_minor: int
    net_minor: int
    held_minor: int


def payable(orders: Iterable[Earned], elsewhere_minor: int) -> Minor:
    """Give what a provider can be paid: of each order no more than has matured and is neither taken back nor held.

    `elsewhere_minor` is what moved without an order, as payouts, above zero for money in.
    """
    due = sum(min(order.matured_minor, order.net_minor - order.held_minor) for order in orders)
    return Minor(max(0, due + elsewhere_minor))
