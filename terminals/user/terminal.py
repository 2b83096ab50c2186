"""What a user can do, as a program: each act is journalled first, then sent when the cloud can be reached.

with opened(home, clock) as me:
    order = me.demand(Demand(...))
    await me.sync(until=lambda: bool(me.order(order).offers), within_s=10)
"""

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import grpc

from energyshare.bodies import EndRequestBody, OfferBody, SelectionBody
from energyshare.charging import Evidence
from energyshare.errors import Reason, Rejected, Unavailable
from energyshare.home import lock_home
from energyshare.messages import Demand, EndRequest, Reading, Selection, Started
from energyshare.rpc_errors import error_of
from energyshare.v1 import account_pb2, account_pb2_grpc
from energyshare.values import DeviceId, Digest, Instant, Minor, Nonce, OrderId, PartKind, RequestId
from energyshare.wire import encode, seal
from terminals.identity import Identity, channel_credentials, load_identity
from terminals.journal import PARTS_KEPT_S, Journal
from terminals.stream import CHANNEL_OPTIONS, Terminal, raised_by
from terminals.user import payment
from terminals.user.orders import OPEN, UserOrder, UserOrders, all_orders

T = TypeVar("T")
CALL_WITHIN_S = 10
READINGS_PER_MESSAGE = 100


class UserTerminal:
    """A user's terminal: one home, one journal. Open it with `opened`, which holds the home's lock."""

    def __init__(self, identity: Identity, journal: Journal, clock: Callable[[], Instant]) -> None:
        self.journal = journal
        self._clock = clock
        self._terminal = Terminal(identity, journal)
        self._orders = UserOrders(self._terminal)

    @property
    def identity(self) -> Identity:
        """Who this terminal is."""
        return self._terminal.identity

    def orders(self) -> list[tuple[OrderId, UserOrder]]:
        """List all orders by their number."""
        return all_orders(self.journal)

    def order(self, order_id: OrderId) -> UserOrder:
        """Give an order; raises Rejected{UNKNOWN_ORDER}."""
        order = self._orders.find(order_id)
        if order is None:
            raise Rejected(Reason.UNKNOWN_ORDER)
        return order

    def numbered(self, number: int | None) -> OrderId:
        """Find an order by its number, or the only open one.

        Raises: Rejected{UNKNOWN_ORDER} when there is none, or more than one to choose from.
        """
        found = self.orders()
        if number is None:
            candidates = [order_id for order_id, order in found if order.state in OPEN] or [i for i, _ in found[-1:]]
            if len(candidates) != 1:
                raise Rejected(Reason.UNKNOWN_ORDER, open=str(len(candidates)))
            return candidates[0]
        for order_id, order in found:
            if order.number == number:
                return order_id
        raise Rejected(Reason.UNKNOWN_ORDER, order=str(number))

    def offer(self, order_id: OrderId, offer_hash: bytes) -> OfferBody:
        """Give an offer in full."""
        return self._orders.offer(order_id, offer_hash)

    def demand(self, demand: Demand) -> OrderId:
        """Open an order with a demand; gives its id."""
        order_id = new_order_id(self._clock())
        with self._terminal.transaction():
            number = max((order.number for _, order in self.orders()), default=0) + 1
            self._orders.save(order_id, UserOrder(number, encode(demand), self._clock()))
            self._terminal.say(order_id, demand)
        return order_id

    def select(self, order_id: OrderId, index: int) -> None:
        """Select an offer by its number from 1; its hold is computed here.

        Raises: Rejected with OFFER_UNKNOWN, OFFER_EXPIRED or WRONG_STATE.
        """
        order = self.order(order_id)
        if order.state != "DEMANDED":
            raise Rejected(Reason.WRONG_STATE, state=order.state)
        if not 1 <= index <= len(order.offers) or order.offers[index - 1].withdrawn:
            raise Rejected(Reason.OFFER_UNKNOWN, offer=str(index))
        line = order.offers[index - 1]
        if self.offer(order_id, line.digest).expiry_time < self._clock():
            raise Rejected(Reason.OFFER_EXPIRED, offer=str(index))
        body = SelectionBody(order_id, Digest(line.digest), Minor(line.hold_minor), self.identity.currency, self._clock())
        selection = seal(body, self.identity.key)
        with self._terminal.transaction():
            self.journal.add_part(order_id, PartKind.SELECTION, selection.digest, selection.signed)
            self._terminal.say(order_id, Selection(selection.signed))
            order.state, order.selected, order.reason = "SELECTED", line.digest, ""
            self._orders.save(order_id, order)

    async def start(self, order_id: OrderId, address: str) -> None:
        """Open the device with the voucher; needs no cloud unless the device has lost its clock.

        Raises: Unavailable when the device does not answer, Rejected as it refused.
        """
        from terminals.device.client import start_session

        order = self.order(order_id)
        if order.presentable is None:
            raise Rejected(Reason.WRONG_STATE, state=order.state)
        outcome = await start_session(address, self.identity.root_key, order.presentable, self.identity.key, self.fetch_time)
        with self._terminal.transaction():
            if self._orders.keep_start(order_id, outcome.start_receipt, outcome.device_grant):
                self._terminal.say(order_id, Started(outcome.start_receipt, outcome.device_grant))
            if order.state == "AUTHORIZED":
                order.state = "ACTIVE"
            self._orders.save(order_id, order)

    async def end(self, order_id: OrderId, address: str | None) -> None:
        """End a session at its device and ask the cloud to bill it; without an address the provider reads the device.

        Raises: Unavailable when the device does not answer, Rejected as it refused.
        """
        order = self.order(order_id)
        if order.state not in ("AUTHORIZED", "ACTIVE", "ENDING"):
            raise Rejected(Reason.WRONG_STATE, state=order.state)
        if address is None:
            self._ask_to_end(order_id, order, None, None, None)
            return
        from terminals.device.client import end_session

        owner = payment.issuer_key(self.journal, order_id, self.identity.root_key)
        outcome = await end_session(address, self.identity.root_key, order_id, self.identity.key, owner)
        with self._terminal.transaction():
            if self._orders.keep_start(order_id, outcome.start_receipt, outcome.device_grant):
                self._terminal.say(order_id, Started(outcome.start_receipt, outcome.device_grant))
            new = self._orders.keep_readings(order_id, outcome.readings, outcome.device_grant)
            for first in range(0, len(new), READINGS_PER_MESSAGE):
                page = new[first : first + READINGS_PER_MESSAGE]
                self._terminal.say(order_id, Reading(page, outcome.device_grant))
        ended = payment.keep_end(self.journal, order_id, outcome.end_receipt)
        self._ask_to_end(order_id, order, ended, outcome.end_receipt, outcome.device_grant)

    def running(self, order_id: OrderId) -> tuple[Evidence, Minor] | None:
        """Give the latest reading's session and what an end there would cost."""
        return payment.running(self.journal, order_id)

    @property
    def has_unsent(self) -> bool:
        """Whether something waits for the cloud."""
        return not self._terminal.is_quiet

    async def sync(self, until: Callable[[], bool], within_s: float, each: Callable[[], None] | None = None) -> bool:
        """Connect and exchange messages until a condition holds; says whether it did within the time.

        `each` is called after every frame. Raises: Unavailable when the cloud can't be reached, Rejected when it refuses.
        """
        await self._terminal.renew_if_needed()
        deadline = time.monotonic() + within_s
        async with self._terminal.connected(self._orders) as serving:
            while not until():
                left = deadline - time.monotonic()
                changed = asyncio.ensure_future(self._terminal.changed())
                await asyncio.wait([changed, serving], timeout=max(0.0, left), return_when=asyncio.FIRST_COMPLETED)
                came = changed.done()
                changed.cancel()
                if each is not None:
                    each()
                if serving.done() and not until():
                    raise raised_by(serving)
                if not came and left <= 0:
                    return until()
        return True

    async def send_all(self, within_s: float) -> bool:
        """Connect until the cloud has acknowledged all that waits."""
        return await self.sync(lambda: not self.has_unsent, within_s)

    async def wallet(self) -> account_pb2.GetWalletResponse:
        """Ask for the balance and the latest movements."""
        await self._terminal.renew_if_needed()
        async with self._account() as stub:
            return await _answer(stub.GetWallet(account_pb2.GetWalletRequest(), timeout=CALL_WITHIN_S))

    async def top_up(self, amount: Minor) -> Minor:
        """Pay in; gives what is available then. A call whose answer was lost is repeated, and moves the money once."""
        await self._terminal.renew_if_needed()
        request = self._top_up_request(amount)
        paid = account_pb2.TopUpRequest(request_id=request, amount_minor=amount, currency=self.identity.currency)
        async with self._account() as stub:
            try:
                answer = await _answer(stub.TopUp(paid, timeout=CALL_WITHIN_S))
            except Rejected:
                self._forget_top_up(amount)
                raise
        self._forget_top_up(amount)
        return Minor(answer.available_minor)

    async def fetch_time(self, device: DeviceId, nonce: Nonce) -> tuple[bytes, bytes]:
        """Have the platform sign the time over a device's nonce."""
        async with self._account() as stub:
            asked = account_pb2.StateTimeRequest(device_id=device, nonce=nonce)
            answer = await _answer(stub.StateTime(asked, timeout=CALL_WITHIN_S))
        return answer.time_statement, answer.grant

    def forget_old_parts(self) -> None:
        """Drop the signed parts of orders that ended long ago."""
        limit = self._clock() - PARTS_KEPT_S * 1_000_000
        with self._terminal.transaction():
            for order_id, order in self.orders():
                if order.state not in OPEN and order.created < limit:
                    self.journal.drop_parts(order_id)

    def _ask_to_end(
        self, order_id: OrderId, order: UserOrder, ended: Digest | None, receipt: bytes | None, grant: bytes | None
    ) -> None:
        request = seal(EndRequestBody(order_id, ended, self._clock()), self.identity.key)
        with self._terminal.transaction():
            self.journal.add_part(order_id, PartKind.END_REQUEST, request.digest, request.signed)
            self._terminal.say(order_id, EndRequest(request.signed, receipt, grant))
            order.state, order.requested_end = "ENDING", True
            self._orders.save(order_id, order)

    def _top_up_request(self, amount: Minor) -> RequestId:
        """Give the id under which an amount is paid in; the one before when its answer never came."""
        key = str(amount).encode()
        with self.journal.transaction():
            known = self.journal.document("top-up", key) or os.urandom(16)
            self.journal.put_document("top-up", key, known)
        return RequestId(known)

    def _forget_top_up(self, amount: Minor) -> None:
        with self.journal.transaction():
            self.journal.drop_document("top-up", str(amount).encode())

    def _account(self) -> "_Account":
        return _Account(self.identity)


class _Account:
    """The account service of the first address that answers."""

    def __init__(self, identity: Identity) -> None:
        self._identity = identity

    async def __aenter__(self) -> account_pb2_grpc.AccountServiceStub:
        for address in self._identity.stream_addresses:
            self._channel = grpc.aio.secure_channel(address, channel_credentials(self._identity), CHANNEL_OPTIONS)
            try:
                async with asyncio.timeout(3):
                    await self._channel.channel_ready()
            except TimeoutError:
                await self._channel.close()
                continue
            return account_pb2_grpc.AccountServiceStub(self._channel)
        raise Unavailable("the cloud does not answer", "try again when it is back")

    async def __aexit__(self, *_: object) -> None:
        await self._channel.close()


@contextmanager
def opened(home: Path, clock: Callable[[], Instant], *, read_only: bool = False) -> Iterator[UserTerminal]:
    """Open a user's home; holds its lock unless it is only read."""
    identity = load_identity(home, "user")
    if read_only:
        journal = Journal(home / "journal.db", read_only=True)
        yield UserTerminal(identity, journal, clock)
        journal.close()
        return
    with lock_home(home):
        journal = Journal(home / "journal.db")
        try:
            yield UserTerminal(identity, journal, clock)
        finally:
            journal.close()


def new_order_id(now: Instant) -> OrderId:
    """Make an order id: a UUID of version 7, whose first 48 bits are milliseconds. Source: RFC 9562, 5.7."""
    value = bytearray((now // 1_000).to_bytes(6, "big") + os.urandom(10))
    value[6] = value[6] & 0x0F | 0x70
    value[8] = value[8] & 0x3F | 0x80
    return OrderId(bytes(value))


async def _answer(call: Awaitable[T]) -> T:
    try:
        return await call
    except grpc.aio.AioRpcError as error:
        raise error_of(error) from None
