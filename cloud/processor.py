"""Decide in memory, commit in batches.

`process(batch, now)` takes what has arrived, loads all that it names in a few set-wise reads, lets pure functions decide on
those values, writes all changes in a few set-wise writes and commits once; only its outcome is acknowledged and published.
It knows no thread and no clock: the event loop drives it (cloud.pump), and so does a test. A message that makes our own code
fail is parked and answered, so that it harms no other; a batch that fails in saving is halved until such a message stands
alone.
"""

import logging
from collections.abc import Iterable, Mapping, Sequence

from sqlalchemy import Engine

from cloud.domain.inbound import TimerFired
from cloud.domain.order import Order, Wait
from cloud.domain.settings import Settings
from cloud.items import Acknowledged, Command, Instruction, Item, Outcome
from cloud.sealing import PlatformKey
from cloud.step import RETRY_US, Step
from cloud.store.database import incarnation_of
from cloud.store.unit import Unit
from cloud.work import Inbound, WorkingSet
from energyshare.errors import Reason, Rejected
from energyshare.values import Digest, Instant, Kind, OrderId, ProviderId

logger = logging.getLogger(__name__)

BATCH_MAX = 256
DUE_MAX = 256
RECENT_MAX = 4_096
TARIFFS_MAX = 4_096


class Processor:
    """Turns batches of items into committed outcomes."""

    def __init__(self, engine: Engine, platform: PlatformKey, settings: Settings) -> None:
        self._engine = engine
        self._platform = platform
        self._settings = settings
        self._online: frozenset[ProviderId] = frozenset()
        self._tariffs: dict[Digest, bytes] = {}
        self._recent: dict[OrderId, Order] = {}
        self._chain = incarnation_of(engine)
        with engine.begin() as connection:
            unit = Unit(connection)
            self._suspended = unit.suspended_accounts()
            self._commissions: Mapping[tuple[bytes, Kind], int] = unit.commissions()
            self._unread = unit.waiting_for(Wait.SERVICE_ACKNOWLEDGEMENT)

    def process(self, batch: Sequence[Item], now: Instant, *, fire_timers: bool = False) -> Outcome:
        """Decide on a batch and commit it; timers fire after its messages."""
        try:
            return self._commit(batch, now, fire_timers)
        except Exception:
            self._tariffs, self._recent = {}, {}  # they may hold what was not saved
            if fire_timers and batch:
                outcome = self.process(batch, now)
                outcome.extend(self.process((), now, fire_timers=True))
                return outcome
            if not batch:
                return self._fire_one_by_one(now)
            if len(batch) < 2:
                return self._put_aside(batch, now)
            logger.exception("a batch of %d failed and is halved", len(batch))
            half = len(batch) // 2
            outcome = self.process(batch[:half], now)
            outcome.extend(self.process(batch[half:], now))
            return outcome

    def _fire_one_by_one(self, now: Instant) -> Outcome:
        """Let each due timer fire in a transaction of its own; one that can't be saved is tried again in an hour."""
        outcome = Outcome()
        with self._engine.begin() as connection:
            due = [OrderId(row.id) for row in Unit(connection).due(now, DUE_MAX)]
        for order_id in due:
            try:
                outcome.extend(self._commit((), now, fire_timers=True, only=order_id))
            except Exception:
                logger.exception("the timer of order %s can't be saved", order_id.hex())
                with self._engine.begin() as connection:
                    Unit(connection).postpone(order_id, Instant(now + RETRY_US))
        return outcome

    def _commit(self, batch: Sequence[Item], now: Instant, fire_timers: bool, only: OrderId | None = None) -> Outcome:
        online = self._online
        outcome = Outcome()
        with self._engine.begin() as connection:
            unit = Unit(connection)
            due = [row for row in unit.due(now, DUE_MAX) if only in (None, row.id)] if fire_timers else []
            work = WorkingSet(unit, self._settings, online, self._tariffs, self._suspended, self._commissions)
            messages = [item for item in batch if isinstance(item, Inbound)]
            also = [OrderId(row.id) for row in due] + self._named_without_message(batch)
            work.load(messages, also, self._recent)
            step = Step(work, outcome, self._platform, now)
            for item in batch:
                step.take(item)
            for row in due:
                step.fire(OrderId(row.id), TimerFired(row.wait, Instant(row.due)))
            unit.save(work.changes, self._chain)
        self._online, self._suspended, self._commissions = work.online, work.suspended, work.commissions
        if len(self._tariffs) > TARIFFS_MAX:
            self._tariffs = {}
        self._remember(work.changes.orders)
        return outcome

    def forget(self, orders: Iterable[OrderId]) -> None:
        """Read orders anew next time, as a command changed them in the database."""
        for order_id in orders:
            self._recent.pop(order_id, None)

    def _named_without_message(self, batch: Sequence[Item]) -> list[OrderId]:
        """Name the orders of instructions, and of acknowledgements that an order waits for."""
        instructed = [item.order_id for item in batch if isinstance(item, Instruction)]
        acknowledged = [item.order_id for item in batch if isinstance(item, Acknowledged) and item.order_id is not None]
        return [*instructed, *(order_id for order_id in acknowledged if order_id in self._unread)]

    def _remember(self, saved: Mapping[OrderId, Order]) -> None:
        """Keep orders as they were just saved, the latest ones: most messages are about them."""
        for order_id, order in saved.items():
            self._recent.pop(order_id, None)
            self._unread.discard(order_id)
            if order.timer is not None:
                self._recent[order_id] = order
                if order.timer.wait is Wait.SERVICE_ACKNOWLEDGEMENT:
                    self._unread.add(order_id)
        for order_id in list(self._recent)[: max(0, len(self._recent) - RECENT_MAX)]:
            del self._recent[order_id]

    def _put_aside(self, batch: Sequence[Item], now: Instant) -> Outcome:
        """Park the one message that can't be saved; anything else that fails alone is ours to stop for."""
        outcome = Outcome()
        match batch:
            case [Inbound() as inbound]:
                logger.exception("a message can't be processed and is parked")
                with self._engine.begin() as connection:
                    unit = Unit(connection)
                    work = WorkingSet(unit, self._settings, self._online, self._tariffs, self._suspended)
                    work.load([inbound], (), {})
                    Step(work, outcome, self._platform, now).park(inbound, "saving failed")
                    unit.save(work.changes, self._chain)
                return outcome
            case [Command(reply=reply) | Instruction(reply=reply)]:
                logger.exception("a command can't be processed")
                outcome.replies.append((reply, Rejected(Reason.INTERNAL)))
                return outcome
        raise
