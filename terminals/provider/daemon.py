"""The provider's daemon: keeps a stream to the cloud, and reads its devices.

It holds no state outside its journal: killed at any point and started again, it says again what was not acknowledged and goes
on where it was.
"""

import asyncio
import logging
import signal
import time
from collections.abc import Callable
from pathlib import Path

from energyshare.errors import Reason, Rejected, Unavailable
from energyshare.values import Instant, ProviderId
from terminals.identity import Identity
from terminals.journal import Journal
from terminals.provider.catalog import Catalog, build_catalog
from terminals.provider.charge import recharged
from terminals.provider.config import ProviderConfig, load_provider_config
from terminals.provider.devices import DeviceReader
from terminals.provider.inventory import tell_inventory
from terminals.provider.orders import ProviderOrders
from terminals.stream import Closed, Terminal, raised_by

logger = logging.getLogger(__name__)

STEADY_S = 5.0  # a stream that the cloud closed sooner counts as a failure; one that broke off does not
SURVEY_S = 60.0
FINAL = (Reason.IDENTITY_REVOKED, Reason.IDENTITY_UNKNOWN, Reason.INCARNATION_CHANGED)
BACKOFF_S = (0.2, 0.5, 1.0, 1.0, 1.0, 2.0, 5.0, 10.0)


def system_now() -> Instant:
    """Read this machine's clock."""
    return Instant(time.time_ns() // 1_000)


async def run_daemon(identity: Identity, config_path: Path, announce: Callable[[str], None]) -> None:
    """Serve until SIGINT or SIGTERM; the caller holds the home's lock.

    Raises: ConfigError, Unavailable without a signed grant, Rejected when the cloud refuses this identity.
    """
    if identity.grant is None:
        raise Unavailable("the operator has not signed this provider's grant yet", "run the enroll command again later")
    config = load_provider_config(config_path)
    provider = ProviderId(identity.owner_id)
    journal = Journal(identity.home / "journal.db")
    catalog = recharged(journal, build_catalog(config, config_path, provider, identity.currency))
    stopped = _stop_signal()
    try:
        await Daemon(identity, journal, config, catalog).run(stopped, announce)
    finally:
        journal.close()


class Daemon:
    """One provider's daemon."""

    def __init__(self, identity: Identity, journal: Journal, config: ProviderConfig, catalog: Catalog) -> None:
        self._config = config
        self._terminal = Terminal(identity, journal)
        self._orders = ProviderOrders(self._terminal, catalog, config.offers, system_now)
        self._reader = DeviceReader(self._terminal, self._orders, system_now)
        with self._terminal.transaction():
            tell_inventory(self._terminal, catalog)

    async def run(self, stopped: asyncio.Event, announce: Callable[[str], None]) -> None:
        """Keep connected and read devices until stopped."""
        tasks = [asyncio.create_task(self._keep_connected(announce)), asyncio.create_task(self._read_devices())]
        stopping = asyncio.create_task(stopped.wait())
        try:
            done, _ = await asyncio.wait([*tasks, stopping], return_when=asyncio.FIRST_COMPLETED)
            for task in done - {stopping}:
                task.result()
        finally:
            for task in (*tasks, stopping):
                task.cancel()
            await asyncio.gather(*tasks, stopping, return_exceptions=True)

    async def _keep_connected(self, announce: Callable[[str], None]) -> None:
        """Stay connected; nothing ends this but what no reconnect mends."""
        failures, renew_at_once = 0, False
        while True:
            try:
                await self._terminal.renew_if_needed(at_once=renew_at_once)
                async with self._terminal.connected(self._orders) as serving:
                    connected = time.monotonic()
                    announce(f"connected, {len(self._orders.catalog.assets)} assets")
                    await asyncio.wait([serving])
                    ending = raised_by(serving)
                    if not isinstance(ending, Closed) or time.monotonic() - connected > STEADY_S:
                        failures = 0
                    raise ending
            except (Unavailable, Rejected) as error:
                _require_not_final(error)
                renew_at_once = isinstance(error, Rejected) and error.reason is Reason.IDENTITY_EXPIRED
                logger.info("%s", error)
            await asyncio.sleep(BACKOFF_S[min(failures, len(BACKOFF_S) - 1)])
            failures += 1

    async def _read_devices(self) -> None:
        """Visit the devices of orders under way often, and all others now and then."""
        surveyed = -SURVEY_S
        while True:
            if time.monotonic() - surveyed >= SURVEY_S:
                surveyed = time.monotonic()
                await self._reader.survey()
            await self._reader.visit_all()
            await asyncio.sleep(self._config.offers.poll_s)


def _require_not_final(error: Unavailable | Rejected) -> None:
    """Raise what no reconnect mends."""
    if isinstance(error, Rejected) and error.reason in FINAL:
        raise error
    if isinstance(error, Closed) and error.reason == "DISPLACED":
        raise Unavailable("another daemon of this provider has connected", "run one daemon for one provider")


def _stop_signal() -> asyncio.Event:
    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    return stopped
