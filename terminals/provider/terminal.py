"""What a provider can do, as a program: answer demands, do jobs, end orders. The daemon and the commands are built on it.

def at_night_only(asset: Asset, demand: Demand) -> str | None:
    return None if is_night(demand.needed_by_time) else "ONLY_AT_NIGHT"

with opened(home, Path("depot.toml"), utc_now, decide=at_night_only) as me:
    await me.run(stopped)

Every act is journalled before it is told to anyone. What is said while no stream is open leaves with the next one.
"""

import asyncio
import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from energyshare.bodies import Asset, ServiceItem
from energyshare.errors import Reason, Rejected, Unavailable
from energyshare.home import lock_home
from energyshare.values import DeviceId, DurationS, Instant, Minor, OrderId, ProviderId, later
from terminals import timeline
from terminals.identity import Identity, load_identity
from terminals.journal import PARTS_KEPT_S, Journal
from terminals.provider.awards import Decide, decide_nothing
from terminals.provider.catalog import load
from terminals.provider.connection import Announce, keep_connected, say_nothing
from terminals.provider.devices import DeviceReader
from terminals.provider.documents import UNDER_WAY, AmendmentLine, OrderDocument, SettlementLine, documents, numbered
from terminals.provider.inventory import tell_inventory
from terminals.provider.jobs import jobs
from terminals.provider.orders import ProviderOrders
from terminals.provider.recovery import take_snapshot
from terminals.provider.workers import Workers
from terminals.stream import Terminal

ROLE = "provider"
SURVEY_S = 60.0
SWEEP_S = 86_400.0
NO_TIME = DurationS(0)
REASON_CODE = re.compile(r"[A-Z][A-Z0-9_]{0,63}")


class ProviderTerminal:
    """A provider's terminal: one home, one journal, one configuration. Open it with `opened`, which holds the home's lock.

    `decide` is asked for every demand and asset before a price is made; a reason in UPPER_SNAKE declines.
    """

    def __init__(
        self,
        identity: Identity,
        journal: Journal,
        config_path: Path,
        clock: Callable[[], Instant],
        decide: Decide = decide_nothing,
    ) -> None:
        self.journal = journal
        self._config_path = config_path
        self._clock = clock
        self._config, catalog = load(config_path, ProviderId(identity.owner_id), identity.currency)
        self._terminal = Terminal(identity, journal, clock)
        self._orders = ProviderOrders(self._terminal, catalog, self._config.offers, clock, decide)
        self._orders.take_snapshot = partial(take_snapshot, self._orders)
        self._reader = DeviceReader(self._terminal, self._orders, clock)
        self._workers = Workers(identity.root_key, clock)
        self._running = False
        self._to_do = asyncio.Event()
        self._orders.wake = self._to_do.set

    @property
    def identity(self) -> Identity:
        """Who this terminal is."""
        return self._terminal.identity

    @property
    def has_unsent(self) -> bool:
        """Whether something waits for the cloud."""
        return not self._terminal.is_quiet

    # What there is

    def assets(self) -> list[Asset]:
        """List all assets as they are now."""
        return list(self._orders.catalog.assets.values())

    @property
    def is_connected(self) -> bool:
        """Whether the cloud is connected."""
        return self._terminal.is_connected

    def orders(self) -> list[tuple[OrderId, OrderDocument]]:
        """List all orders, oldest first."""
        return documents(self.journal)

    def jobs(self) -> list[tuple[OrderId, OrderDocument]]:
        """List the services that are to be done or paid, by number."""
        return jobs(self.journal)

    def order(self, order_id: OrderId) -> OrderDocument:
        """Give an order; raises Rejected{UNKNOWN_ORDER}."""
        return self._orders.book.find(order_id)

    def numbered(self, number: int) -> OrderId:
        """Find an order by its number; raises Rejected{UNKNOWN_ORDER}."""
        return numbered(self.journal, number)

    def check_in_address(self, order_id: OrderId) -> str:
        """Give the HOST:PORT that the terminal of a job's customer has to reach.

        Raises: Rejected{WRONG_STATE} for an order that is no job, Unavailable when its worker is not served now.
        """
        document = self.order(order_id)
        if order_id not in dict(self.jobs()):
            raise Rejected(Reason.WRONG_STATE, order=str(document.number), state=document.state)
        address = self._workers.shown.get(DeviceId(document.device_id))
        if address is None:
            raise Unavailable("this worker is not served now", "start the daemon: energyshare-provider run CONFIG.toml")
        return address

    # Services

    def propose_amendment(
        self, order_id: OrderId, items: Sequence[ServiceItem], duration_s: DurationS = NO_TIME
    ) -> AmendmentLine:
        """Propose extra work to a job's user; gives what it adds to the hold.

        Raises: Rejected with WRONG_STATE or AMENDMENT_OPEN, TariffError for an item without a price.
        """
        with self._changing(order_id) as document:
            return self._orders.jobs.propose(order_id, document, items, duration_s)

    def request_settlement(
        self,
        order_id: OrderId,
        items: Sequence[ServiceItem] | None = None,
        duration_s: DurationS | None = None,
        total: Minor | None = None,
    ) -> SettlementLine:
        """Ask a job's user for settlement; left out, all that was agreed in the time since the check-in.

        Raises: Rejected with WRONG_STATE, SETTLEMENT_ITEMS or SETTLEMENT_TOTAL.
        """
        with self._changing(order_id) as document:
            return self._orders.jobs.request_settlement(order_id, document, items, duration_s, total)

    # Orders

    def cancel(self, order_id: OrderId, reason: str = "BY_PROVIDER") -> None:
        """Call an order off before its start; a voucher that is out is burned as soon as its device can be reached.

        Raises: Rejected{WRONG_STATE} from the start on, MALFORMED for a reason that is not UPPER_SNAKE.
        """
        if REASON_CODE.fullmatch(reason) is None:
            raise Rejected(Reason.MALFORMED, field="reason", problem="write it as NO_STAFF")
        with self._changing(order_id) as document:
            self._orders.awards.cancel(order_id, document, reason)

    def withdraw(self, order_id: OrderId) -> None:
        """Take back the offers of an order; raises Rejected{WRONG_STATE} once one was selected."""
        with self._changing(order_id) as document:
            self._orders.awards.withdraw(order_id, document)

    def confirm_end(self, order_id: OrderId) -> None:
        """Confirm an end without waiting for the time to look at it; raises Rejected{WRONG_STATE}."""
        with self._changing(order_id) as document:
            self._orders.endings.confirm_now(order_id, document)

    def refuse_end(self, order_id: OrderId, claimed: Minor, reason: str) -> None:
        """Claim a part of the deposit at an end that waits for our confirmation.

        Raises: Rejected with WRONG_STATE, AMOUNT_NOT_POSITIVE, CLAIM_ABOVE_DEPOSIT or MALFORMED.
        """
        with self._changing(order_id) as document:
            self._orders.endings.claim(order_id, document, claimed, reason)

    def state_not_returned(self, order_id: OrderId) -> None:
        """Say that a battery has not come back, which claims its deposit; raises Rejected with WRONG_STATE or NOT_OVERDUE."""
        with self._changing(order_id) as document:
            self._orders.endings.state_not_returned(order_id, document)

    def release(self, order_id: OrderId) -> None:
        """Have the daemon end a session that stayed open at its device, as its owner: a battery that stands there again.

        Raises: Rejected{NOT_IN_USE} unless one was started and has not ended.
        """
        with self._changing(order_id) as document:
            if document.started is None or document.ended:
                raise Rejected(Reason.NOT_IN_USE)
            document.release_wanted = True

    # Assets and configuration

    def close_asset(self, name: str, reason: str = "OUT_OF_SERVICE") -> Asset:
        """Take an asset out of service until it is opened again; its offers that stand are withdrawn.

        Raises: Rejected{NO_SUCH_ASSET} unless there is exactly one of this name, MALFORMED for a reason past 64 characters.
        """
        if not 1 <= len(reason) <= 64 or not re.search(r"[^\W_]", reason):
            raise Rejected(Reason.MALFORMED, field="reason", problem="needs 1 to 64 characters, and a letter or digit")
        asset = self._orders.stock.named(name)
        with self._terminal.transaction():
            self._orders.stock.close(asset.asset_id, reason)
            self._orders.awards.withdraw_all(asset)
        return self._orders.catalog.assets[asset.asset_id]

    def open_asset(self, name: str) -> Asset:
        """Put an asset back into service.

        Raises: Rejected with NO_SUCH_ASSET, or WRONG_STATE when the configuration keeps it out.
        """
        asset = self._orders.stock.named(name)
        with self._terminal.transaction():
            self._orders.stock.open(asset.asset_id)
        return self._orders.catalog.assets[asset.asset_id]

    async def reload(self, config_path: Path | None = None) -> int:
        """Read the configuration anew and tell the cloud what changed; gives how many assets.

        Offers that were made keep their prices. Raises: ConfigError, or what keeps a worker from being served; then nothing
        changes.
        """
        path = config_path or self._config_path
        config, catalog = load(path, ProviderId(self.identity.owner_id), self.identity.currency)
        if self._running:
            await self._workers.serve(catalog.workers)
            self._orders.stock.workers = self._workers.addresses
        with self._terminal.transaction():
            self.journal.set_meta("config", str(path.absolute()).encode())
            changed = self._orders.stock.restate(catalog)
        self._config_path, self._config = path, config
        self._orders.use(config.offers)
        return changed

    @contextmanager
    def _changing(self, order_id: OrderId) -> Iterator[OrderDocument]:
        """Change an order in a transaction of its own, then have done at its device what it wants."""
        with self._orders.changing(order_id) as document:
            yield document
        self._orders.wake_for(document)

    # Running

    async def run(self, stopped: asyncio.Event, announce: Announce = say_nothing) -> None:
        """Stay connected, serve workers and read devices until stopped; `announce` hears of every connection.

        Raises: Unavailable, WrongHome or Corrupt when a worker can't be served; Rejected when the cloud refuses this identity.
        """
        await self._begin()
        doing = (keep_connected(self._terminal, self._orders, announce), self._read_devices(), self._workers.failed())
        tasks = [asyncio.create_task(one) for one in (*doing, _until(stopped))]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self._running = False
            await self._workers.close()

    async def _begin(self) -> None:
        await self._workers.serve(self._orders.catalog.workers)
        self._orders.stock.workers = self._workers.addresses
        self._running = True
        with self._terminal.transaction():
            self.journal.set_meta("config", str(self._config_path.absolute()).encode())
            tell_inventory(self._terminal, self._orders.catalog)

    async def _read_devices(self) -> None:
        """Visit the devices of orders under way often, at once when something is to be done there; all others now and then."""
        surveyed, swept = -SURVEY_S, -SWEEP_S
        while True:
            self._to_do.clear()
            if time.monotonic() - swept >= SWEEP_S:
                swept = time.monotonic()
                self._forget_old_orders()
            if time.monotonic() - surveyed >= SURVEY_S:
                surveyed = time.monotonic()
                await self._reader.survey()
            await self._reader.visit_all()
            await _wait(self._to_do, self._config.offers.poll_s)

    def _forget_old_orders(self) -> None:
        """Drop the signed parts and the history of orders that ended, or came to nothing, long ago."""
        limit = later(self._clock(), -PARTS_KEPT_S)
        over = [(i, order) for i, order in self.orders() if order.state not in (*UNDER_WAY, "DISPUTED")]
        for order_id, order in over:
            if (order.finished or order.created) < limit and self.journal.parts(order_id):
                with self._terminal.transaction():
                    self.journal.drop_parts(order_id)
                    timeline.forget(self.journal, order_id)


@contextmanager
def opened(
    home: Path, config_path: Path | None, clock: Callable[[], Instant], decide: Decide = decide_nothing
) -> Iterator[ProviderTerminal]:
    """Open a provider's home and hold its lock; without a configuration, the one that it last ran with counts.

    Raises: WrongHome, ConfigError; Unavailable without a signed grant, or when another program holds the home.
    """
    identity = load_identity(home, ROLE)
    if identity.grant is None:
        raise Unavailable("the operator has not signed this provider's grant yet", "run the enroll command again later")
    with lock_home(home):
        journal = Journal(home / "journal.db")
        try:
            yield ProviderTerminal(identity, journal, config_path or _last_config(journal), clock, decide)
        finally:
            journal.close()


def _last_config(journal: Journal) -> Path:
    path = journal.meta("config")
    if path is None:
        raise Unavailable("this provider has never run", "run it with: energyshare-provider run CONFIG.toml")
    return Path(path.decode())


async def _until(stopped: asyncio.Event) -> None:
    await stopped.wait()


async def _wait(event: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return
