"""Double entry: accounts, immutable transfers, holds that are pending until posted or voided.

An account is named by its kind and owner (`user:…`, `provider:…`, `escrow:…`), the platform's own by kind alone. A hold is a
PENDING transfer from a user's account to its order's escrow; POST_PENDING moves what is due of it and frees the rest,
VOID_PENDING frees all. Laws, kept when writing and checked again when reading: debits equal credits; no user account below
its limit; pending equals the open holds; the escrow of a finished order is 0; each settled order has one original charge
record. User and provider accounts carry a balance; the platform's are summed from their rows.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import NewType

from energyshare.errors import Reason, Rejected
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


@dataclass(frozen=True, slots=True)
class Transfer:
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


@dataclass(frozen=True, slots=True)
class Balance:
    """The sums of one account, minor units."""

    account: LedgerAccount
    debits_minor: int = 0
    credits_minor: int = 0
    held_minor: int = 0

    @property
    def available_minor(self) -> int:
        """What can be spent or paid out."""
        return self.credits_minor - self.debits_minor - self.held_minor


def user_account(account: AccountId) -> LedgerAccount:
    """Name a user's account."""
    return LedgerAccount(f"user:{id_text(account)}")


def provider_account(provider: ProviderId) -> LedgerAccount:
    """Name a provider's account."""
    return LedgerAccount(f"provider:{id_text(provider)}")


def escrow_account(order: OrderId) -> LedgerAccount:
    """Name an order's escrow."""
    return LedgerAccount(f"escrow:{id_text(order)}")


def has_balance(account: LedgerAccount) -> bool:
    """Say whether an account's balance is kept when writing."""
    return account.startswith(("user:", "provider:"))


def apply(balances: Mapping[LedgerAccount, Balance], transfer: Transfer) -> dict[LedgerAccount, Balance]:
    """Give the balances that a transfer changes.

    Raises: Rejected{INSUFFICIENT_FUNDS} when a user's account would fall below 0, {AMOUNT_TOO_LARGE} past 10^15.
    """
    changed: dict[LedgerAccount, Balance] = {}
    if has_balance(transfer.debit):
        changed[transfer.debit] = _debited(balances.get(transfer.debit, Balance(transfer.debit)), transfer)
    if has_balance(transfer.credit) and transfer.flag in (Flag.POSTED, Flag.POST_PENDING):
        before = changed.get(transfer.credit) or balances.get(transfer.credit, Balance(transfer.credit))
        changed[transfer.credit] = replace(before, credits_minor=before.credits_minor + transfer.amount_minor)
    for balance in changed.values():
        _require_lawful(balance)
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


def _require_lawful(balance: Balance) -> None:
    if balance.available_minor < 0:
        raise Rejected(Reason.INSUFFICIENT_FUNDS)
    if max(balance.credits_minor, balance.debits_minor, balance.held_minor) > MINOR_MAX:
        raise Rejected(Reason.AMOUNT_TOO_LARGE)
    assert balance.held_minor >= 0, balance


def transfer_id(order: OrderId, step: str) -> TransferId:
    """Name a transfer of an order; a step moves money once."""
    return TransferId(f"{id_text(order)}/{step}")


def hold(order: OrderId, attempt: int, account: AccountId, amount: Minor, now: Instant) -> Transfer:
    """Hold an amount of a user's account for an order."""
    return Transfer(
        transfer_id(order, f"hold-{attempt}"),
        order,
        now,
        user_account(account),
        escrow_account(order),
        amount,
        Flag.PENDING,
        "HOLD",
    )


def void(order: OrderId, attempt: int, account: AccountId, amount: Minor, now: Instant) -> Transfer:
    """Free a hold."""
    return Transfer(
        transfer_id(order, f"void-{attempt}"),
        order,
        now,
        user_account(account),
        escrow_account(order),
        Minor(0),
        Flag.VOID_PENDING,
        "RELEASE",
        transfer_id(order, f"hold-{attempt}"),
        amount,
    )


@dataclass(frozen=True, slots=True)
class Shares:
    """How a settled amount is divided; deposits bear neither commission nor VAT."""

    provider_minor: Minor
    commission_minor: Minor
    vat_minor: Minor

    @property
    def total_minor(self) -> Minor:
        """What the user pays."""
        return Minor(self.provider_minor + self.commission_minor + self.vat_minor)


def divide(excl_vat_minor: Minor, incl_vat_minor: Minor, deposit_claimed_minor: Minor, commission_bp: int) -> Shares:
    """Divide a bill: commission half-up on the amount without VAT, the provider gets the rest."""
    commission = (excl_vat_minor * commission_bp * 2 + 10_000) // 20_000
    return Shares(
        Minor(excl_vat_minor - commission + deposit_claimed_minor),
        Minor(commission),
        Minor(incl_vat_minor - excl_vat_minor),
    )


def settle(
    order: OrderId, attempt: int, account: AccountId, provider: ProviderId, held: Minor, shares: Shares, now: Instant
) -> tuple[Transfer, ...]:
    """Post what is due of a hold and move it from escrow to where it belongs; escrow ends at 0. What was free moves nothing."""
    if held == 0:
        return ()
    if shares.total_minor == 0:
        return (void(order, attempt, account, held, now),)
    escrow = escrow_account(order)
    posted = Transfer(
        transfer_id(order, f"post-{attempt}"),
        order,
        now,
        user_account(account),
        escrow,
        shares.total_minor,
        Flag.POST_PENDING,
        "CHARGE",
        transfer_id(order, f"hold-{attempt}"),
        held,
    )
    targets = (
        ("provider", provider_account(provider), shares.provider_minor, "EARNING"),
        ("commission", COMMISSION, shares.commission_minor, "COMMISSION"),
        ("vat", VAT, shares.vat_minor, "VAT"),
    )
    return (
        posted,
        *(
            Transfer(transfer_id(order, step), order, now, escrow, target, amount, Flag.POSTED, reason)
            for step, target, amount, reason in targets
            if amount
        ),
    )
