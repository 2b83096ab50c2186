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
    if transfer.amount_minor < 0 or (transfer.amount_minor == 0 and transfer.flag is not Flag.VOID_PENDING):
        return "its amount is not above zero"
    if transfer.flag not in (Flag.POST_PENDING, Flag.VOID_PENDING):
        return ""
    hold = books.holds.get(transfer.hold_id) if transfer.hold_id else None
    if hold is None:
        return "it ends a hold that is not open"
    if (hold.debit, hold.credit, hold.amount_minor) != (transfer.debit, transfer.credit, transfer.hold_minor):
        return "it does not fit the hold that it ends"
    return "it posts more than was held" if transfer.amount_minor > hold.amount_minor else ""


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
    for order_id, state in orders.items():
        fault = _order_fault(books, order_id, state, charges)
        if fault:
            return f"order {id_text(order_id)}: {fault}"
    return ""


def _order_fault(books: _Books, order_id: bytes, state: OrderState, charges: Mapping[tuple[bytes, bytes | None], int]) -> str:
    escrow = LedgerAccount(f"escrow:{id_text(order_id)}")
    if state in FINISHED and books.sums.get(escrow, 0) != 0:
        return "its escrow is not empty"
    charged = charges.get((order_id, None))
    if (state is OrderState.SETTLED) != (charged is not None):
        return "it is settled without a charge record" if charged is None else "it has a charge record and is not settled"
    if charged is not None and charged != books.posted.get(order_id, 0):
        return "what was paid is not what its charge record says"
    return ""
