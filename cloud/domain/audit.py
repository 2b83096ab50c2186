"""The ledger's laws, checked over its whole history.

Replays every transfer from nothing, in the order of its row, and names the first row that breaks a law; at the end compares
with the balances that were kept, the open holds, the escrows of finished orders and the charge records.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from cloud.domain import ledger
from cloud.domain.ledger import Balance, Flag, LedgerAccount, Transfer, TransferId
from energyshare.errors import Rejected
from energyshare.values import OrderState, id_text

USER, PROVIDER, ESCROW = "user:", "provider:", "escrow:"
ROUTES = {
    "TOP_UP": (Flag.POSTED, ledger.FUNDING, USER),
    "HOLD": (Flag.PENDING, USER, ESCROW),
    "RELEASE": (Flag.VOID_PENDING, USER, ESCROW),
    "CHARGE": (Flag.POST_PENDING, USER, ESCROW),
    "EARNING": (Flag.POSTED, ESCROW, PROVIDER),
    "COMMISSION": (Flag.POSTED, ESCROW, ledger.COMMISSION),
    "VAT": (Flag.POSTED, ESCROW, ledger.VAT),
}
"""How each reason moves money: its flag, and what debit and credit begin with."""

FINISHED = (OrderState.SETTLED, OrderState.CANCELLED, OrderState.EXPIRED)


@dataclass(frozen=True, slots=True)
class Audit:
    """What a check found; `fault` is empty when all laws hold."""

    fault: str
    transfers: int
    accounts: int
    charge_records: int
    debits_minor: int
    credits_minor: int
    held_minor: int


@dataclass(slots=True)
class _Books:
    balances: dict[LedgerAccount, Balance] = field(default_factory=dict)
    sums: dict[LedgerAccount, int] = field(default_factory=dict)
    holds: dict[TransferId, Transfer] = field(default_factory=dict)
    posted: dict[bytes, int] = field(default_factory=dict)
    debits: int = 0
    credits: int = 0
    count: int = 0


def audit(
    transfers: Iterable[tuple[int, Transfer]],
    kept: Mapping[LedgerAccount, Balance],
    orders: Mapping[bytes, OrderState],
    charges: Mapping[tuple[bytes, bytes | None], int],
) -> Audit:
    """Check all laws; `charges` holds each charge record's total by order and what it corrects."""
    books = _Books()
    fault = ""
    for row, transfer in transfers:
        books.count += 1
        fault = _replay(books, transfer)
        if fault:
            fault = f"row {row} ({transfer.id}): {fault}"
            break
    fault = fault or _compare(books, kept, orders, charges)
    held = sum(hold.amount_minor for hold in books.holds.values())
    return Audit(fault, books.count, len(books.sums), len(charges), books.debits, books.credits, held)


def _replay(books: _Books, transfer: Transfer) -> str:
    fault = _shape_fault(books, transfer)
    if fault:
        return fault
    try:
        books.balances |= ledger.apply(books.balances, transfer)
    except (Rejected, AssertionError) as error:
        return f"the account's limit is broken: {error}"
    if transfer.flag is Flag.PENDING:
        books.holds[transfer.id] = transfer
        return ""
    if transfer.flag in (Flag.POST_PENDING, Flag.VOID_PENDING) and transfer.hold_id is not None:
        del books.holds[transfer.hold_id]
    books.sums[transfer.debit] = books.sums.get(transfer.debit, 0) - transfer.amount_minor
    books.sums[transfer.credit] = books.sums.get(transfer.credit, 0) + transfer.amount_minor
    books.debits += transfer.amount_minor
    books.credits += transfer.amount_minor
    if transfer.flag is Flag.POST_PENDING and transfer.order_id is not None:
        books.posted[transfer.order_id] = books.posted.get(transfer.order_id, 0) + transfer.amount_minor
    return ""


def _shape_fault(books: _Books, transfer: Transfer) -> str:
    if (transfer.amount_minor == 0) is not (transfer.flag is Flag.VOID_PENDING) or transfer.amount_minor < 0:
        return "its amount is not above zero"
    if not _is_routed(transfer):
        return "it moves money as its reason never does"
    if transfer.flag not in (Flag.POST_PENDING, Flag.VOID_PENDING):
        return "it ends no hold and names one" if transfer.hold_id or transfer.hold_minor else ""
    hold = books.holds.get(transfer.hold_id) if transfer.hold_id else None
    if hold is None:
        return "it ends a hold that is not open"
    ended = (hold.order_id, hold.debit, hold.credit, hold.amount_minor)
    if ended != (transfer.order_id, transfer.debit, transfer.credit, transfer.hold_minor):
        return "it does not fit the hold that it ends"
    return "it posts more than was held" if transfer.amount_minor > hold.amount_minor else ""


def _is_routed(transfer: Transfer) -> bool:
    """Say whether a transfer's flag, accounts and order go with its reason."""
    flag, debit, credit = ROUTES.get(transfer.reason, (None, "", ""))
    escrows = {account for account in (transfer.debit, transfer.credit) if account.startswith(ESCROW)}
    own = set() if transfer.order_id is None else {ledger.escrow_account(transfer.order_id)}
    return (
        transfer.flag is flag
        and transfer.debit.startswith(debit)
        and transfer.credit.startswith(credit)
        and escrows == own
        and transfer.id.startswith("top-up/" if transfer.order_id is None else f"{id_text(transfer.order_id)}/")
    )


def _compare(
    books: _Books,
    kept: Mapping[LedgerAccount, Balance],
    orders: Mapping[bytes, OrderState],
    charges: Mapping[tuple[bytes, bytes | None], int],
) -> str:
    for account in sorted(books.balances.keys() | kept.keys()):
        if books.balances.get(account, Balance(account)) != kept.get(account, Balance(account)):
            return f"account {account}: the balance kept is not what its rows give"
    for hold in books.holds.values():
        if hold.order_id is None or orders.get(hold.order_id) in FINISHED:
            return f"row of {hold.id}: the hold of a finished order is open"
    for account, total in books.sums.items():
        if account.startswith(ESCROW) and total != 0:
            return f"account {account}: the escrow is not empty"
    for order_id, state in orders.items():
        fault = _order_fault(books.posted.get(order_id, 0), state, charges.get((order_id, None)))
        if fault:
            return f"order {id_text(order_id)}: {fault}"
    return ""


def _order_fault(posted_minor: int, state: OrderState, charged_minor: int | None) -> str:
    if (state is OrderState.SETTLED) != (charged_minor is not None):
        return "it is settled without a charge record" if charged_minor is None else "it has a charge record and is not settled"
    if posted_minor != (charged_minor or 0):
        return "what was paid is not what its charge record says"
    return ""
