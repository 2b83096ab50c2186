"""Checks off the event loop: whatever frames wait, of all streams, go to the thread pool in one hop.

A hop costs about as much as a signature, so a busy node makes one for many frames and an idle one goes at once. A frame's
envelopes stay together and in their order; a frame that can't be read harms no other.
"""

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from cloud.gateway.checks import Checks
from cloud.work import Inbound, Peer

HOPS_MAX = 1  # at once; what comes meanwhile waits for the next. A second thread only fights for the interpreter

Frame = tuple[Peer, Sequence[bytes]]


class Hops:
    """Opens frames in the pool; used on the event loop's thread only."""

    def __init__(self, checks: Checks) -> None:
        self._checks = checks
        self._pool = ThreadPoolExecutor(HOPS_MAX, thread_name_prefix="checks")
        self._waiting: list[tuple[Frame, asyncio.Future[list[Inbound]]]] = []
        self._hops: set[asyncio.Task[None] | None] = set()

    async def open(self, peer: Peer, raws: Sequence[bytes]) -> list[Inbound]:
        """Open a frame's envelopes; raises as Checks.open."""
        future: asyncio.Future[list[Inbound]] = asyncio.get_running_loop().create_future()
        self._waiting.append(((peer, raws), future))
        if len(self._hops) < HOPS_MAX:
            self._hops.add(asyncio.create_task(self._hop()))
        return await future

    async def _hop(self) -> None:
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        try:
            while self._waiting:
                group, self._waiting = self._waiting, []
                opened = await loop.run_in_executor(self._pool, self._open_all, [frame for frame, _ in group])
                for (_, future), result in zip(group, opened, strict=True):
                    _answer(future, result)
        finally:
            self._hops.discard(task)  # at once: what comes from here on needs a new hop

    def _open_all(self, frames: Sequence[Frame]) -> list[list[Inbound] | Exception]:
        return [self._open(peer, raws) for peer, raws in frames]

    def _open(self, peer: Peer, raws: Sequence[bytes]) -> list[Inbound] | Exception:
        try:
            return [self._checks.open(peer, raw) for raw in raws]
        except Exception as error:
            return error


def _answer(future: asyncio.Future[list[Inbound]], result: list[Inbound] | Exception) -> None:
    if future.done():  # its stream has ended
        return
    if isinstance(result, Exception):
        future.set_exception(result)
    else:
        future.set_result(result)
