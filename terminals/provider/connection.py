"""Staying connected: the stream to the cloud is opened again whenever it ends, until nothing but a person can mend it."""

import asyncio
import logging
import time
from collections.abc import Callable

from energyshare.errors import Reason, Rejected, Unavailable
from energyshare.program import count_text
from terminals.provider.orders import ProviderOrders
from terminals.stream import Closed, Terminal, raised_by

logger = logging.getLogger(__name__)

STEADY_S = 5.0  # a stream that the cloud closed sooner counts as a failure; one that broke off does not
FINAL = (Reason.IDENTITY_REVOKED, Reason.IDENTITY_UNKNOWN, Reason.INCARNATION_CHANGED)
BACKOFF_S = (0.2, 0.5, 1.0, 1.0, 1.0, 2.0, 5.0, 10.0)

Announce = Callable[[str], None]


def say_nothing(what: str) -> None:
    """Announce to nobody."""


async def keep_connected(terminal: Terminal, orders: ProviderOrders, announce: Announce) -> None:
    """Stay connected; `announce` hears of every connection. Raises what no reconnect mends."""
    failures, renew_at_once = 0, False
    while True:
        was_connected = False
        try:
            await terminal.renew_if_needed(at_once=renew_at_once)
            async with terminal.connected(orders) as serving:
                was_connected, connected = True, time.monotonic()
                announce(f"connected, {count_text(len(orders.catalog.assets), 'asset')}")
                await asyncio.wait([serving])
                ending = raised_by(serving)
                if not isinstance(ending, Closed) or time.monotonic() - connected > STEADY_S:
                    failures = 0
                raise ending
        except (Unavailable, Rejected) as error:
            _require_not_final(error)
            renew_at_once = isinstance(error, Rejected) and error.reason is Reason.IDENTITY_EXPIRED
            logger.log(logging.WARNING if was_connected else logging.INFO, "not connected to the cloud: %s", error)
        await asyncio.sleep(BACKOFF_S[min(failures, len(BACKOFF_S) - 1)])
        failures += 1


def _require_not_final(error: Unavailable | Rejected) -> None:
    """Raise what no reconnect mends."""
    if isinstance(error, Rejected) and error.reason in FINAL:
        raise error
    if isinstance(error, Closed) and error.reason == "DISPLACED":
        raise Unavailable("another daemon of this provider has connected", "run one daemon for one provider")
