"""The load: users that do one order after another, and the one provider that serves them, in a process of their own.

Every order runs from the demand to `Settled`, through as many round trips as a real one: the end is asked for only when the
cloud has acknowledged the start. All signatures that the cloud checks are made here. Left out is what real terminals do
beside: checking the signatures of cloud and peers, pricing, and a durable journal.
"""

import asyncio
import os
import statistics
import time
from asyncio import gather
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

import uvloop

from benchmarks.line import Line, connected
from benchmarks.outlet import Outlet, Session
from benchmarks.processes import Rate, announce, rate, usage
from benchmarks.supplier import DURATION_S_MAX, ENERGY_WH_MAX, Supplier, now
from benchmarks.world import CURRENCY, TARIFF, Party, World, place_of, read_world
from energyshare.bodies import EndRequestBody, OfferBody, SelectionBody, VoucherBody
from energyshare.bound import price_bound
from energyshare.messages import (
    Demand,
    Message,
    Offer,
    OrderClosed,
    RejectedMessage,
    Reopened,
    Screened,
    Selection,
    Settled,
    Voucher,
)
from energyshare.signing import SigningKey
from energyshare.tariff import tariff_of
from energyshare.values import Digest, DurationS, Kind, Metres, Nonce, OrderId, Place, later
from energyshare.wire import decode_presentable, digest_of, peek, seal
from terminals.link import Conversation, Unreadable

HOLD_MINOR = price_bound(tariff_of(TARIFF), ENERGY_WH_MAX, DURATION_S_MAX)
ORDER_WITHIN_S = 30.0


@dataclass(frozen=True, slots=True)
class Load:
    """What the load measured: the rate, how long the first offer took (median, milliseconds), and all orders of the run."""

    rate: Rate
    first_offer_ms: float
    orders: int


def load(world: str, address: str, server_pid: int, seconds: float) -> None:
    """Be the load process."""
    announce(asdict(uvloop.run(_load(read_world(Path(world)), address, server_pid, seconds))))


async def _load(world: World, address: str, server_pid: int, seconds: float) -> Load:
    supplier = Supplier(world)
    users = [
        User(party, Outlet(outlet), place_of(n))
        for n, (party, outlet) in enumerate(zip(world.users, world.outlets, strict=True))
    ]
    async with AsyncExitStack() as stack:
        serving = [await stack.enter_async_context(connected(supplier.line, address, world.provider, world.ca))]
        supplier.show_inventory()
        for user, party in zip(users, world.users, strict=True):
            serving.append(await stack.enter_async_context(connected(user.line, address, party, world.ca)))
        running = asyncio.ensure_future(_measured(users, server_pid, seconds))
        await asyncio.wait({running, *serving}, return_when=asyncio.FIRST_COMPLETED)
        for broken in (task for task in serving if task.done()):
            broken.result()
        return await running


async def _measured(users: list["User"], server_pid: int, seconds: float) -> Load:
    await gather(*(user.order() for user in users))  # handshakes and first uses are not part of the measure
    for user in users:
        user.first_offers_ms.clear()
    before = usage(server_pid)
    counts = await gather(*(_orders(user, before.at_s + seconds) for user in users))
    measured = rate(sum(counts), before, usage(server_pid))
    waits = [wait for user in users for wait in user.first_offers_ms]
    return Load(measured, statistics.median(waits), sum(counts) + len(users))


async def _orders(user: "User", until_s: float) -> int:
    done = 0
    while time.monotonic() < until_s:
        await user.order()
        done += 1
    return done


class User:
    """A user with its outlet. Whatever the cloud refuses is a fault of the benchmark and raises."""

    def __init__(self, party: Party, outlet: Outlet, place: Place) -> None:
        self.line = Line(self._handle, self._acknowledged)
        self.first_offers_ms: list[float] = []
        self._key = SigningKey(party.seed)
        self._outlet = outlet
        self._place = place
        self._order_id = OrderId(bytes(16))
        self._demanded_s = 0.0
        self._session: Session | None = None
        self._started = 0
        self._settled: asyncio.Future[None] | None = None

    async def order(self) -> None:
        """Do one order, from the demand to its settling."""
        self._order_id = _new_order_id()
        self._settled = asyncio.get_running_loop().create_future()
        self._demanded_s = time.monotonic()
        self.line.say(self._order_id, self._demand())
        await asyncio.wait_for(self._settled, ORDER_WITHIN_S)

    def _handle(self, order_id: OrderId | None, message: Message | Unreadable) -> None:
        assert order_id == self._order_id, "an order that is over"
        match message:
            case RejectedMessage() | Unreadable() | OrderClosed() | Reopened():
                raise AssertionError(message)
            case Screened(candidates):
                assert candidates == 1, message
            case Offer(offer):
                self._select(order_id, offer)
            case Voucher(presentable):
                self._start(order_id, presentable)
            case Settled() if self._settled:
                self._settled.set_result(None)

    def _demand(self) -> Demand:
        return Demand(
            kinds=(Kind.ENERGY,),
            place=self._place,
            radius_m=Metres(1_000),
            energy_wh=ENERGY_WH_MAX,
            duration_s=DURATION_S_MAX,
            service_items=(),
            needed_by_time=later(now(), 600),
            price_max_minor=None,
            time_to_live_s=DurationS(60),
            connector=None,
        )

    def _select(self, order_id: OrderId, offer: bytes) -> None:
        self.first_offers_ms.append(1_000 * (time.monotonic() - self._demanded_s))
        selection = SelectionBody(order_id, Digest(digest_of(OfferBody, offer)), HOLD_MINOR, CURRENCY, now())
        self.line.say(order_id, Selection(seal(selection, self._key).signed))

    def _start(self, order_id: OrderId, presentable: bytes) -> None:
        voucher = decode_presentable(presentable).voucher
        hashed = Digest(digest_of(VoucherBody, voucher))
        self._session = self._outlet.session(peek(VoucherBody, voucher), hashed, Nonce(os.urandom(16)), self._key, now())
        self._started = self.line.say(order_id, self._session.started)

    def _acknowledged(self, conversation: Conversation, number: int) -> None:
        """Ask for the end once the start is on record."""
        session = self._session
        if session is None or conversation != self._order_id or number < self._started:
            return
        self._session = None
        request = EndRequestBody(self._order_id, session.end_receipt.digest, now())
        self.line.say(self._order_id, session.reading)
        self.line.say(self._order_id, session.end_request(seal(request, self._key).signed))


def _new_order_id() -> OrderId:
    """Make a UUIDv7. Source: RFC 9562, section 5.7."""
    drawn = int.from_bytes(os.urandom(10), "big")
    variant = drawn & ~(0xF << 76) & ~(0x3 << 62) | 0x7 << 76 | 0x2 << 62
    return OrderId((time.time_ns() // 1_000_000).to_bytes(6, "big") + variant.to_bytes(10, "big"))
