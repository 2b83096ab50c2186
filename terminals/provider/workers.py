"""The workers' machines that a daemon serves: at each of them a user's terminal checks in, exactly as at a lock.

What a worker's machine signs is read over loopback, like any device's.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager

from msgspec import Struct

from energyshare.credentials import open_grant
from energyshare.home import WrongHome
from energyshare.values import DeviceId, Instant, PublicKey, Role
from terminals.device.home import monotonic_us
from terminals.device.machine import Machine
from terminals.device.server import open_server, tick_until
from terminals.device.worker import worker
from terminals.provider.entries import Worker

logger = logging.getLogger(__name__)

STOP_WITHIN_S = 1
EVERYWHERE = ("0.0.0.0", "[::]")  # noqa: S104 - compared with, never listened on by ourselves


class Served(Struct, frozen=True):
    """A worker that is served, where, and what ends it."""

    worker: Worker
    address: str
    resources: AsyncExitStack


class Workers:
    """Serves workers; use it on one event loop."""

    def __init__(self, root_key: PublicKey, clock: Callable[[], Instant]) -> None:
        self._root_key = root_key
        self._clock = clock
        self._served: dict[DeviceId, Served] = {}
        self._failed = asyncio.Event()
        self._failure: BaseException | None = None

    @property
    def addresses(self) -> dict[DeviceId, str]:
        """Where each worker can be reached from here, HOST:PORT."""
        return {device: near(served.address) for device, served in self._served.items()}

    @property
    def shown(self) -> dict[DeviceId, str]:
        """Where each worker listens, HOST:PORT."""
        return {device: served.address for device, served in self._served.items()}

    async def serve(self, wanted: Mapping[DeviceId, Worker]) -> None:
        """Serve these workers and no others; one that stays as it was is not interrupted.

        Raises: WrongHome, Unavailable, Corrupt when one of them can't be served; then all go on as before.
        """
        changed = {device: served for device, served in self._served.items() if wanted.get(device) != served.worker}
        async with AsyncExitStack() as undo:
            for device, served in changed.items():  # homes and addresses must be free before they are served anew
                await self._stop(device)
                undo.push_async_callback(self._start, device, served.worker)
            for device, one in wanted.items():
                if device not in self._served:
                    await self._start(device, one)
                    undo.push_async_callback(self._stop, device)
            undo.pop_all()

    async def close(self) -> None:
        """Serve nobody any more."""
        for device in list(self._served):
            await self._stop(device)

    async def failed(self) -> None:
        """Wait until a worker's machine fails, and raise what it failed on."""
        await self._failed.wait()
        assert self._failure is not None
        raise self._failure

    async def _start(self, device: DeviceId, one: Worker) -> None:
        async with AsyncExitStack() as resources:
            machine = resources.enter_context(worker(one.home, self._clock))
            self._require_device(device, one, machine)
            port = await resources.enter_async_context(self._running(machine, one.listen))
            address = f"{one.listen.rpartition(':')[0]}:{port}"
            self._served[device] = Served(one, address, resources.pop_all())

    async def _stop(self, device: DeviceId) -> None:
        await self._served.pop(device).resources.aclose()

    @asynccontextmanager
    async def _running(self, machine: Machine, listen: str) -> AsyncIterator[int]:
        """Serve a machine and let it do what is due; gives its port."""
        stopped = asyncio.Event()
        server, port = await open_server(machine, monotonic_us, listen)
        ticking = asyncio.create_task(tick_until(machine, stopped))
        ticking.add_done_callback(self._note_failure)
        try:
            yield port
        finally:
            stopped.set()
            await server.stop(STOP_WITHIN_S)
            await asyncio.gather(ticking, return_exceptions=True)

    def _note_failure(self, ticking: "asyncio.Task[None]") -> None:
        failure = None if ticking.cancelled() else ticking.exception()
        if failure is not None:
            logger.error("a worker's machine failed: %s", failure)
            self._failure = failure
            self._failed.set()

    def _require_device(self, device: DeviceId, one: Worker, machine: Machine) -> None:
        found = open_grant(machine.grant, self._root_key, Role.DEVICE).body.subject_id
        if bytes(found) != bytes(device):
            raise WrongHome(
                f"{one.home} is another device's home than the asset's", "name the asset as its device was enrolled"
            )


def near(address: str) -> str:
    """Give how an address that is listened on is reached from this machine."""
    host, _, port = address.rpartition(":")
    return f"127.0.0.1:{port}" if host in EVERYWHERE else address
