"""The processor's turns on the event loop: each takes what has arrived, never waiting for more, and publishes its outcome.

A thread of its own gives the processor nothing: it and the loop need the same interpreter lock, which SQLite's driver gives up
at every statement, and handing it to and fro cost a third of the node's processor time. Acknowledgements only let the outbox
forget, so they cause no batch of their own: they ride on the next, or on the next period.
"""

import asyncio
import gc
import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from cloud.domain.inbound import OrderMessage
from cloud.items import Acknowledged, Command, Instruction, Item, Outcome
from cloud.processor import BATCH_MAX, Processor
from cloud.work import Peer, WorkingSet
from energyshare.errors import Unavailable
from energyshare.values import Instant, OrderId

ItemT = TypeVar("ItemT")
Run = Callable[[WorkingSet, Instant], Any]
logger = logging.getLogger(__name__)

WAITING_MAX = 4_096  # items in the queue before streams stop reading
TIMER_PERIOD_S = 0.5
GC_THRESHOLDS = (20_000, 20, 20)  # a batch makes thousands of values and no cycles; Python's 700 took a tenth of its time


def system_now() -> Instant:
    """Give the time of this machine's clock; every other module takes it as an argument."""
    return Instant(time.time_ns() // 1_000)


class Pump:
    """Feeds the processor; all of it is for the event loop's thread."""

    def __init__(
        self, processor: Processor, publish: Callable[[Outcome], None], *, timer_grace_s: int, fail: Callable[[], None]
    ) -> None:
        self._processor = processor
        self._publish = publish
        self._fail = fail
        self._loop = asyncio.get_running_loop()
        self._items: deque[Item] = deque()
        self._acknowledged: deque[Acknowledged] = deque()
        self._room = asyncio.Event()
        self._room.set()
        self._turn: asyncio.Handle | None = None
        self._period: asyncio.TimerHandle | None = None
        self._stopping = False
        self._timers_from = time.monotonic() + timer_grace_s

    def start(self) -> None:
        """Begin. What there is by now lives as long as the node, so the garbage collector passes it over."""
        gc.freeze()
        gc.set_threshold(*GC_THRESHOLDS)
        self._period = self._loop.call_later(TIMER_PERIOD_S, self._take_period)

    def stop(self) -> None:
        """Process what has arrived, then end."""
        self._stopping = True
        if self._period is not None:
            self._period.cancel()
        while self._period is not None and (self._items or self._acknowledged):
            self._process(with_acks_alone=True)

    def submit(self, item: Item) -> None:
        """Hand an item on."""
        if isinstance(item, Acknowledged) and len(self._acknowledged) < WAITING_MAX:
            self._acknowledged.append(item)
            return
        self._items.append(item)
        if len(self._items) > WAITING_MAX:
            self._room.clear()
        if self._turn is None and not self._stopping:
            self._turn = self._loop.call_soon(self._take_turn)

    async def room(self) -> None:
        """Wait until the queue is short enough to read on."""
        await self._room.wait()

    async def call(self, run: Run) -> Any:
        """Run a command in the next batch; raises the Rejected that it ended in."""
        return await self._answer_to(lambda reply: Command(run, reply))

    async def instruct(self, order_id: OrderId, message: OrderMessage, *, also: Run, peer: Peer | None = None) -> None:
        """Have the life cycle decide on the operator's word in the next batch; raises the Rejected that it ended in."""
        await self._answer_to(lambda reply: Instruction(order_id, message, reply, also, peer))

    async def _answer_to(self, item: Callable[[Callable[[Any], None]], Item]) -> Any:
        future: asyncio.Future[Any] = self._loop.create_future()

        def reply(result: Any) -> None:
            if future.done():
                return
            if isinstance(result, Exception):
                future.set_exception(result)
            else:
                future.set_result(result)

        if self._stopping:
            raise Unavailable("the cloud is stopping")
        self.submit(item(reply))
        return await future

    def _take_turn(self) -> None:
        """Process what arrived by now. What comes meanwhile gets a turn of its own, after the streams had theirs."""
        self._turn = None
        if self._stopping:  # the database may be closed by now
            return
        self._process(with_acks_alone=False)
        if self._items and self._turn is None:
            self._turn = self._loop.call_soon(self._take_turn)

    def _take_period(self) -> None:
        """Let the timers fire that are due, and take acknowledgements that no message came with."""
        self._period = self._loop.call_later(TIMER_PERIOD_S, self._take_period)
        self._process(with_acks_alone=True, fire_timers=time.monotonic() >= self._timers_from)

    def _process(self, *, with_acks_alone: bool, fire_timers: bool = False) -> None:
        batch = self._take(with_acks_alone=with_acks_alone)
        if not batch and not fire_timers:
            return
        try:
            outcome = self._processor.process(batch, system_now(), fire_timers=fire_timers)
        except Exception:
            logger.exception("the processor can't go on; the node stops")
            self._end([*batch, *self._items])
            return
        self._deliver(outcome)

    def _end(self, unanswered: Sequence[Item]) -> None:
        """Take nothing any more, and tell those who wait for an answer."""
        if self._period is not None:
            self._period.cancel()
            self._period = None
        self._items.clear()
        self._acknowledged.clear()
        self._stopping = True
        for item in unanswered:
            if isinstance(item, Command | Instruction):
                item.reply(Unavailable("the cloud can't go on"))
        self._room.set()
        self._fail()

    def _take(self, *, with_acks_alone: bool) -> list[Item]:
        batch = _taken(self._items)
        return [*batch, *_taken(self._acknowledged)] if batch or with_acks_alone else batch

    def _deliver(self, outcome: Outcome) -> None:
        for reply, result in outcome.replies:
            reply(result)
        self._publish(outcome)
        if len(self._items) <= WAITING_MAX // 2:
            self._room.set()


def _taken(waiting: deque[ItemT]) -> list[ItemT]:
    return [waiting.popleft() for _ in range(min(len(waiting), BATCH_MAX))]
