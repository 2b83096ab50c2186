"""The ledger's laws, checked over its whole history.

Replays every transfer from nothing, in the order of its row, and names the first row that breaks a law; at the end compares
with the balances that were kept, the open holds, the escrows and the charge records.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from msgspec import Struct

from cloud.domain import ledger
from cloud.domain.ledger import Balance, Flag, LedgerAccount, Transfer, TransferId
from energyshare.errors import Rejected
from energyshare.values import OrderState, id_text

USER, PROVIDER, OWED, ESCROW, DEPOSIT = "user:", "provider:", "receivable:", "escrow:", "deposit:"
POSTED, PENDING, POST_PENDING, VOID_PENDING = (Flag.POSTED,), (Flag.PENDING,), (Flag.POST_PENDING,), (Flag.VOID_PENDING,)
ROUTES: Mapping[str, tuple[tuple[Flag, ...], tuple[str, ...], str]] = {
    "TOP_UP": (POSTED, (ledger.FUNDING,), USER),
    "WITHDRAWAL": (POSTED, (USER,), ledger.FUNDING),
    "WITHDRAWAL_BACK": (POSTED, (ledger.FUNDING,), USER),
    "PAYOUT": (POSTED, (PROVIDER,), ledger.FUNDING),
    "PAYOUT_BACK": (POSTED, (ledger.FUNDING,), PROVIDER),
    "CHARGEBACK": (POSTED, (OWED,), ledger.FUNDING),
    "CHARGEBACK_BACK": (POSTED, (ledger.FUNDING,), USER),
    "HOLD": (PENDING, (USER, PROVIDER), ESCROW),
    "RELEASE": (VOID_PENDING, (USER, PROVIDER), ESCROW),
    "CHARGE": (POST_PENDING, (USER,), ESCROW),
    "DEPOSIT_HOLD": (PENDING, (USER, PROVIDER), DEPOSIT),
    "DEPOSIT_RELEASE": (VOID_PENDING, (USER, PROVIDER), DEPOSIT),
    "DEPOSIT_CHARGE": (POST_PENDING, (USER,), DEPOSIT),
    "RECEIVABLE": (POSTED, (OWED,), ESCROW),
    "COLLECTION": (POSTED, (USER,), OWED),
    "EARNING": (POSTED, (ESCROW,), PROVIDER),
    "COMMISSION": (POSTED, (ESCROW,), ledger.COMMISSION),
    "VAT": (POSTED, (ESCROW,), ledger.VAT),
    "EARNING_BACK": ((Flag.POSTED, Flag.POST_PENDING), (PROVIDER,), ESCROW),
    "COMMISSION_BACK": (POSTED, (ledger.COMMISSION,), ESCROW),
    "VAT_BACK": (POSTED, (ledger.VAT,), ESCROW),
    "REFUND": (POSTED, (ESCROW,), USER),
    "CLAIM": (POSTED, (DEPOSIT,), PROVIDER),
    "CLAIM_BACK": ((Flag.POSTED, Flag.POST_PENDING), (PROVIDER,), DEPOSIT),
    "DEPOSIT_REFUND": (POSTED, (DEPOSIT,), USER),
}
"""How each reason moves money: its flags, and what debit and credit begin with."""
PAYMENTS = ("top-up/", "out/", "back/")
"""What the ids of transfers of no order begin with."""
PAID = {"CHARGE": 1, "RECEIVABLE": 1, "REFUND": -1}
CLAIMED = {"DEPOSIT_CHARGE": 1, "DEPOSIT_REFUND": -1}
TAXED = {"VAT": 1, "VAT_BACK": -1}
"""What of these a user pays for an order, what of that is of its deposit, and what is VAT."""

BILLED = (OrderState.SETTLED, OrderState.DISPUTED)


class OrderFacts(Struct, frozen=True):
    """What the ledger is compared with: an order's state, and what it says is held, of that as a deposit."""

    state: OrderState
    held_minor: int
    deposit_held_minor: int = 0


class Charges(Struct, frozen=True):
    """An order's charge records: how many correct no other, what the one says that none corrects, and how many there are."""

    originals: int
    price_minor: int
    deposit_minor: int = 0
    vat_minor: int = 0
    count: int = 1


class Audit(Struct, frozen=True):
    """What a check found; `fault` is empty when all laws hold, `batches` counts those of the chains over the rows."""

    fault: str
    transfers: int
    accounts: int
    charge_records: int
    debits_minor: int
    credits_minor: int
    held_minor: int
    batches: int = 0


UNCHARGED = Charges(0, 0, count=0)
UNREAD = Audit("", 0, 0, 0, 0, 0, 0)


@dataclass(slots=True)
class _Books:
    balances: dict[LedgerAccount, Balance] = field(default_factory=dict)
    sums: dict[LedgerAccount, int] = field(default_factory=dict)
    holds: dict[TransferId, Transfer] = field(default_factory=dict)
    paid: dict[bytes, int] = field(default_factory=dict)
    claimed: dict[bytes, int] = field(default_factory=dict)
    taxed: dict[bytes, int] = field(default_factory=dict)
    debits: int = 0
    credits: int = 0
    count: int = 0


def audit(
    transfers: Iterable[tuple[int, Transfer]],
    kept: Mapping[LedgerAccount, Balance],
    orders: Mapping[bytes, OrderFacts],
    charges: Mapping[bytes, Charges],
) -> Audit:
    """Check all laws."""
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
    return Audit(fault, books.count, len(books.sums), sum(c.count for c in charges.values()), books.debits, books.credits, held)


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
    if transfer.order_id is not None:
        for sums, signs in ((books.paid, PAID), (books.claimed, CLAIMED), (books.taxed, TAXED)):
            if transfer.reason in signs:
                amount = signs[transfer.reason] * transfer.amount_minor
                sums[transfer.order_id] = sums.get(transfer.order_id, 0) + amount
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
    flags, debits, credit = ROUTES.get(transfer.reason, ((), (), ""))
    passed = {account for account in (transfer.debit, transfer.credit) if account.startswith((ESCROW, DEPOSIT))}
    order_id = transfer.order_id
    is_of_order = order_id is not None and transfer.reason != "COLLECTION"
    own = {ledger.escrow_account(order_id), ledger.deposit_account(order_id)} if order_id is not None else set()
    return (
        transfer.flag in flags
        and transfer.debit.startswith(debits)
        and transfer.credit.startswith(credit)
        and passed <= own
        and bool(passed) is is_of_order
        and transfer.id.startswith(PAYMENTS if order_id is None else f"{id_text(order_id)}/")
    )


def _compare(
    books: _Books,
    kept: Mapping[LedgerAccount, Balance],
    orders: Mapping[bytes, OrderFacts],
    charges: Mapping[bytes, Charges],
) -> str:
    for account in sorted(books.balances.keys() | kept.keys()):
        if books.balances.get(account, Balance(account)) != kept.get(account, Balance(account)):
            return f"account {account}: the balance kept is not what its rows give"
    held: dict[bytes, int] = {}
    deposits: dict[bytes, int] = {}
    for hold in books.holds.values():
        if hold.order_id is None or hold.order_id not in orders:
            return f"row of {hold.id}: the hold of no order is open"
        held[hold.order_id] = held.get(hold.order_id, 0) + hold.amount_minor
        if hold.credit.startswith(DEPOSIT):
            deposits[hold.order_id] = deposits.get(hold.order_id, 0) + hold.amount_minor
    for account, total in books.sums.items():
        if account.startswith((ESCROW, DEPOSIT)) and total != 0:
            return f"account {account}: it is not empty"
    for order_id, order in orders.items():
        charged = charges.get(order_id, UNCHARGED)
        fault = (
            _hold_fault(order, held.get(order_id, 0), deposits.get(order_id, 0))
            or _charge_fault(order, charged)
            or _moved_fault(charged, *(sums.get(order_id, 0) for sums in (books.paid, books.claimed, books.taxed)))
        )
        if fault:
            return f"order {id_text(order_id)}: {fault}"
    return ""


def _hold_fault(order: OrderFacts, held_minor: int, deposit_minor: int) -> str:
    if held_minor != order.held_minor:
        return "what is held is not what it says"
    return "" if deposit_minor == order.deposit_held_minor else "what is held as its deposit is not what it says"


def _charge_fault(order: OrderFacts, charged: Charges) -> str:
    if (order.state in BILLED) != (charged.originals > 0):
        return "it has a charge record and is not settled" if charged.originals else "it is settled without a charge record"
    return "it has two original charge records" if charged.originals > 1 else ""


def _moved_fault(charged: Charges, paid_minor: int, claimed_minor: int, taxed_minor: int) -> str:
    if paid_minor != charged.price_minor:
        return "what was paid is not what its charge record says"
    if claimed_minor != charged.deposit_minor:
        return "what was taken of its deposit is not what its charge record says"
    return "" if taxed_minor == charged.vat_minor else "the VAT is not what its charge record says"
