"""Connecting to the cloud for as long as something is waited for."""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable

from terminals.stream import Handler, Terminal, raised_by


async def exchange(
    terminal: Terminal, handler: Handler, until: Callable[[], bool], within_s: float, each: Callable[[], None] | None
) -> bool:
    """Exchange messages until a condition holds; says whether it did within the time. `each` is called after every frame.

    Raises: Unavailable when the cloud can't be reached or the line breaks, Rejected when it refuses.
    """
    await terminal.renew_if_needed()
    deadline = time.monotonic() + within_s
    async with terminal.connected(handler) as serving:
        while not until():
            left = deadline - time.monotonic()
            came = await _next_frame(terminal, serving, max(0.0, left))
            if each is not None:
                each()
            if serving.done() and not until():
                raise raised_by(serving)
            if not came and left <= 0:
                return until()
    return True


async def frames(terminal: Terminal, handler: Handler) -> AsyncGenerator[None, None]:
    """Come back once when connected, then after every frame.

    Raises: Unavailable when the cloud can't be reached or the line breaks, Rejected when it refuses.
    """
    await terminal.renew_if_needed()
    async with terminal.connected(handler) as serving:
        while not serving.done():
            yield
            await _next_frame(terminal, serving, None)
        raise raised_by(serving)


async def _next_frame(terminal: Terminal, serving: "asyncio.Task[None]", within_s: float | None) -> bool:
    """Wait until a frame was taken, the stream has ended or the time is over; says whether a frame was taken."""
    changed = asyncio.ensure_future(terminal.changed())
    await asyncio.wait([changed, serving], timeout=within_s, return_when=asyncio.FIRST_COMPLETED)
    came = changed.done()
    changed.cancel()
    return came
