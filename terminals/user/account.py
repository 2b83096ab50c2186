"""The orders of an account's other terminals, for when one of them is lost: they can be ended, called off and disputed here.

A voucher names the key of the terminal that selected, which never leaves it; so an order of another terminal can't be started.
"""

from collections.abc import Sequence

from energyshare.messages import SnapshotOrder
from energyshare.v1 import account_pb2
from energyshare.values import OrderId
from energyshare.wire import from_proto
from terminals.account_service import CALL_WITHIN_S, account_service, answer_of
from terminals.identity import Identity
from terminals.journal import Journal
from terminals.recovery import ANOTHERS
from terminals.stream import Terminal
from terminals.user.order import find_order, save_order
from terminals.user.recovery import merge

UNKNOWN_HOLDER = b""


async def fetch_orders(identity: Identity) -> list[SnapshotOrder]:
    """Ask for the orders of all terminals of the account, oldest first.

    Raises: Unavailable when the cloud does not answer, Rejected when it refuses.
    """
    found: list[SnapshotOrder] = []
    token = b""
    async with account_service(identity) as stub:
        while True:
            asked = account_pb2.ListAccountOrdersRequest(page_token=token)
            page = await answer_of(stub.ListAccountOrders(asked, timeout=CALL_WITHIN_S))
            found += [from_proto(SnapshotOrder, order) for order in page.orders]
            token = page.next_page_token
            if not token:
                return found


def adopt(terminal: Terminal, orders: Sequence[SnapshotOrder]) -> list[OrderId]:
    """Keep the orders of the account's other terminals, or what is new about them; gives those that were not known here.

    Ours are left as they are, so exchange messages with the cloud first: a journal that was lost gets its own orders back
    that way. In a transaction of its own.
    """
    with terminal.transaction():
        new = [known.order_id for known in orders if find_order(terminal.journal, known.order_id) is None]
        for order_id in new:
            terminal.journal.put_document(ANOTHERS, order_id, b"")
        for known in orders:
            if is_anothers(terminal.journal, known.order_id):
                _merge(terminal, known)
    return new


def is_anothers(journal: Journal, order_id: OrderId) -> bool:
    """Say whether an order was made by another terminal of the account."""
    return journal.document(ANOTHERS, order_id) is not None


def _merge(terminal: Terminal, known: SnapshotOrder) -> None:
    """Merge an order; before there is a voucher, nothing names its holder, but it is not this terminal."""
    merge(terminal, known)
    order = find_order(terminal.journal, known.order_id)
    if order is not None and order.holder_key is None:
        order.holder_key = UNKNOWN_HOLDER
        save_order(terminal.journal, known.order_id, order)
