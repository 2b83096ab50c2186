"""What a user can do, as a program: each act is journalled first, then sent when the cloud can be reached.

with opened(home, clock) as me:
    order = me.demand(Demand(...))
    await me.sync(until=lambda: bool(me.order(order).offers), within_s=10)
    me.select(order, 1)
    await me.start(order, "192.168.4.1:7450")
    async for order_id, now in me.follow():
        ...
"""

from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import aclosing, contextmanager
from pathlib import Path

from google.protobuf.timestamp_pb2 import Timestamp

from energyshare.errors import Reason, Rejected
from energyshare.home import borrow_home
from energyshare.v1 import account_pb2
from energyshare.values import Instant, Minor, OrderId
from terminals.identity import Identity, load_identity
from terminals.journal import Journal
from terminals.user import keeping
from terminals.user.acts import REASON, OrdersDesk
from terminals.user.exchange import exchange, frames
from terminals.user.order import UserOrder, require_state
from terminals.user.wallet import Wallet

OWN_ORDERS_WITHIN_S = 2.0
BORROW_WITHIN_S = 3.0  # a watch steps aside as soon as its stream is closed; any other command is told of after that


class UserTerminal(OrdersDesk):
    """A user's terminal: one home, one journal. Open it with `opened`, which holds the home's lock."""

    def __init__(self, identity: Identity, journal: Journal, clock: Callable[[], Instant]) -> None:
        super().__init__(identity, journal, clock)
        self._wallet = Wallet(self._terminal)

    async def cancel(self, order_id: OrderId, reason: str, address: str | None = None) -> None:
        """Call an order off that has not started; `reason` is UPPER_SNAKE, at most 64 characters.

        Once the voucher is here this is a request: the provider burns the voucher when it reaches its device, and else it runs
        out. With an address it is burned at the device at once, with nobody online.
        Raises: Unavailable when the device does not answer, Rejected with WRONG_STATE, or as the device refused.
        """
        if REASON.fullmatch(reason) is None:
            raise Rejected(Reason.MALFORMED, field="reason")
        order = self.order(order_id)
        require_state(order, "DEMANDED", "SELECTED", "AUTHORIZED")
        if address is None:
            with self._terminal.transaction():
                self._say_cancel(order_id, order, reason)
            return
        from terminals.device.client import close_voucher

        closed = await close_voucher(address, self.identity.root_key, _presentable(order), self.identity.key)
        with self._terminal.transaction():
            order = self.order(order_id)
            self._say_cancel(order_id, order, reason)
            self._tell_closed(order_id, order, closed.statement, closed.device_grant)
            self._note(order_id, "burned the voucher at the device", address)

    async def start(self, order_id: OrderId, address: str) -> None:
        """Open the device with the voucher, or check in with a worker; needs no cloud unless the device has lost its clock.

        Raises: Unavailable when the device does not answer, Rejected as it refused.
        """
        from terminals.device.client import start_session

        voucher, fetch_time = _presentable(self.order(order_id)), self._wallet.fetch_time
        outcome = await start_session(address, self.identity.root_key, voucher, self.identity.key, fetch_time)
        with self._terminal.transaction():
            self._tell_start(order_id, self.order(order_id), outcome.start_receipt, outcome.device_grant)
            self._note(order_id, "presented the voucher", address)

    async def end(self, order_id: OrderId, address: str | None) -> None:
        """End a session at its device and ask the cloud to bill it; without an address the provider reads the device.

        A battery that was charged to its caps can still be brought back: what its lock signs may lower the bill.
        Raises: Unavailable when the device does not answer, Rejected as it refused, or with ENDED_BY_PROVIDER for a service.
        """
        order = self.order(order_id)
        if order.kind == "SERVICE":
            raise Rejected(Reason.ENDED_BY_PROVIDER)
        if address is None or not self._may_come_back(order_id, order):
            require_state(order, "AUTHORIZED", "ACTIVE", "ENDING")
        if address is None:
            with self._terminal.transaction():
                self._ask_to_end(order_id, order, None, None)
            return
        from terminals.device.client import end_session

        owner = keeping.issuer_key(self.journal, order_id, self.identity.root_key)
        outcome = await end_session(address, self.identity.root_key, order_id, self.identity.key, owner)
        with self._terminal.transaction():
            order = self.order(order_id)
            self._tell_start(order_id, order, outcome.start_receipt, outcome.device_grant)
            self._tell_readings(order_id, outcome.readings, outcome.device_grant)
            self._note(order_id, "ended at the device", address)
            self._ask_to_end(order_id, order, outcome.end_receipt, outcome.device_grant)

    async def sync(self, until: Callable[[], bool], within_s: float, each: Callable[[], None] | None = None) -> bool:
        """Connect and exchange messages until a condition holds; says whether it did within the time.

        `each` is called after every frame. Raises: Unavailable when the cloud can't be reached, Rejected when it refuses.
        """
        return await exchange(self._terminal, self._orders, until, within_s, each)

    async def send_all(self, within_s: float) -> bool:
        """Connect until the cloud has acknowledged all that waits."""
        return await self.sync(lambda: not self.has_unsent, within_s)

    async def follow(self) -> AsyncGenerator[tuple[OrderId, UserOrder], None]:
        """Connect and give every order once, then each again whenever it has changed; for a screen, or for a program.

        What is done meanwhile through this terminal is sent at once. It never ends by itself: leave the loop.
        Raises: Unavailable when the cloud can't be reached or the line breaks, Rejected when it refuses. Follow again then.
        """
        seen: dict[OrderId, UserOrder] = {}
        async with aclosing(frames(self._terminal, self._orders)) as came:
            async for _ in came:
                for order_id, order in self.orders():
                    if seen.get(order_id) != order:
                        seen[order_id] = order
                        yield order_id, order

    async def adopt_orders(self) -> list[OrderId]:
        """Get the orders of the account's other terminals, to end, cancel or dispute them here; gives those that are new.

        Raises: Unavailable when the cloud can't be reached, Rejected when it refuses.
        """
        from terminals.user.account import adopt, fetch_orders

        if not self.orders():  # a lost journal gets its own orders back first, or they would pass for another terminal's
            await self.sync(lambda: bool(self.orders()), OWN_ORDERS_WITHIN_S)
        return adopt(self._terminal, await fetch_orders(self.identity))

    async def wallet(self) -> account_pb2.GetWalletResponse:
        """Ask for the balance and the latest movements."""
        return await self._wallet.show()

    async def statement(self, start: Timestamp, end: Timestamp) -> account_pb2.Statement:
        """Ask for what moved on the account within a period; raises Unavailable."""
        return await self._wallet.statement(start, end)

    async def top_up(self, amount: Minor) -> account_pb2.TopUpResponse:
        """Pay in. A call whose answer was lost is repeated, and moves the money once."""
        return await self._wallet.top_up(amount)

    async def withdraw(self, amount: Minor) -> account_pb2.WithdrawResponse:
        """Take money out, to where it came from. A call whose answer was lost is repeated, and moves the money once."""
        return await self._wallet.withdraw(amount)


@contextmanager
def opened(home: Path, clock: Callable[[], Instant], *, read_only: bool = False) -> Iterator[UserTerminal]:
    """Open a user's home; holds its lock unless it is only read. A `watch` of the same home steps aside meanwhile."""
    identity = load_identity(home, "user")
    if read_only:
        journal = Journal(home / "journal.db", read_only=True)
        yield UserTerminal(identity, journal, clock)
        journal.close()
        return
    with borrow_home(home, BORROW_WITHIN_S):
        journal = Journal(home / "journal.db")
        try:
            yield UserTerminal(identity, journal, clock)
        finally:
            journal.close()


def _presentable(order: UserOrder) -> bytes:
    """Give the voucher that this terminal may present; raises Rejected{HOLDER_PROOF} for one of another terminal's key."""
    if order.holder_key is not None:
        raise Rejected(Reason.HOLDER_PROOF)
    if order.presentable is None:
        raise Rejected(Reason.WRONG_STATE, state=order.state)
    return order.presentable
