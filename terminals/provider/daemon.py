"""The provider's daemon: a terminal that runs until it is told to stop, and takes commands meanwhile.

It holds no state outside its journal: killed at any point and started again, it says again what was not acknowledged and goes
on where it was. SIGHUP has it read its configuration anew.
"""

import asyncio
import logging
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from energyshare.errors import EnergyShareError
from energyshare.program import count_text
from terminals.identity import utc_now
from terminals.provider.connection import Announce
from terminals.provider.control import serving
from terminals.provider.performing import perform
from terminals.provider.terminal import ProviderTerminal, opened

logger = logging.getLogger(__name__)


async def run_daemon(home: Path, config_path: Path, announce: Announce) -> None:
    """Serve until SIGINT or SIGTERM; holds the home's lock.

    Raises: ConfigError, WrongHome, Unavailable without a signed grant, Rejected when the cloud refuses this identity.
    """
    with opened(home, config_path, utc_now) as terminal:
        stopped = asyncio.Event()
        async with serving(home, lambda act: perform(terminal, act)), _signals(terminal, stopped, announce):
            await terminal.run(stopped, announce)


@asynccontextmanager
async def _signals(terminal: ProviderTerminal, stopped: asyncio.Event, announce: Announce) -> AsyncIterator[None]:
    """Stop at SIGINT and SIGTERM, reload at SIGHUP."""
    loop = asyncio.get_running_loop()
    reloading: set[asyncio.Task[None]] = set()

    def reload() -> None:
        task = loop.create_task(_reload(terminal, announce))
        reloading.add(task)
        task.add_done_callback(reloading.discard)

    _handle(loop, stopped.set, signal.SIGINT, signal.SIGTERM)
    _handle(loop, reload, signal.SIGHUP)
    try:
        yield
    finally:
        await asyncio.gather(*reloading, return_exceptions=True)


def _handle(loop: asyncio.AbstractEventLoop, run: Callable[[], None], *numbers: signal.Signals) -> None:
    for number in numbers:
        loop.add_signal_handler(number, run)


async def _reload(terminal: ProviderTerminal, announce: Announce) -> None:
    """Reload, and say what came of it; a configuration that can't be used changes nothing."""
    try:
        changed = await terminal.reload()
    except EnergyShareError as error:
        logger.error("the configuration was not reloaded: %s", error)
        return
    announce(f"reloaded, {count_text(changed, 'asset')} changed")
