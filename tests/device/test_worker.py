"""A worker's identity: sessions without a meter, and a home that the provider's daemon opens."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from energyshare.bodies import EndReceiptBody, ReadingBody, StartReceiptBody
from energyshare.errors import Corrupt, EnergyShareError, Unavailable
from energyshare.home import WrongHome, lock_home
from energyshare.records import replace
from energyshare.signing import SigningKey
from energyshare.values import DurationS, EndCause, EnergyWh, Instant, Kind, Number
from energyshare.wire import peek
from terminals.device.client import close_voucher, end_session, start_session
from terminals.device.clock import MonotonicUs
from terminals.device.server import open_server
from terminals.device.settings import WORKER
from terminals.device.worker import worker

from .test_cli import OUTLET, enrolled
from .world import HOLDER, ISSUER, ISSUER_GRANT, ROOT, T0, VOUCHER, World, presentable, refused, voucher

SHORT = replace(VOUCHER, duration_s_max=DurationS(600), energy_wh_max=EnergyWh(1))


def now() -> Instant:
    return Instant(T0 * 1_000_000)


def still() -> MonotonicUs:
    return MonotonicUs(0)


@pytest.fixture
def device(tmp_path: Path) -> World:
    return World(tmp_path, Kind.SERVICE)


def readings(device: World) -> list[ReadingBody]:
    return [peek(ReadingBody, one) for one in device.machine.evidence(VOUCHER.order_id, Number(0))[0].readings]


# Sessions


@pytest.mark.parametrize(
    ("by", "grant", "cause"), [(HOLDER, b"", EndCause.HOLDER), (ISSUER, ISSUER_GRANT, EndCause.OWNER)], ids=["holder", "owner"]
)
def test_a_session_lasts_past_every_cap_until_holder_or_owner_releases_it(
    device: World, by: SigningKey, grant: bytes, cause: EndCause
) -> None:
    receipt = device.start(SHORT)
    device.pass_s(599)
    device.pass_s(7 * 86_400)
    device.restart(off_s=3_600)
    assert device.start(SHORT) == receipt
    end = peek(EndReceiptBody, device.release(SHORT, by, grant))
    assert (end.cause, end.elapsed_s, end.register_wh) == (cause, 599 + 7 * 86_400 + 3_600, 0)


def test_a_session_has_a_reading_at_its_start_and_its_end_and_none_between(device: World) -> None:
    device.start(SHORT)
    for _ in range(10):
        device.pass_s(900)
    device.release(SHORT)
    assert [(one.elapsed_s, one.register_wh, one.supplying) for one in readings(device)] == [(0, 0, True), (9_000, 0, False)]


def test_a_start_receipt_says_nothing_of_energy_or_charge(device: World) -> None:
    receipt = peek(StartReceiptBody, device.start())
    assert (receipt.register_wh, receipt.soc_pct, receipt.soh_pct) == (0, None, None)


def test_a_worker_serves_one_order_at_a_time(device: World) -> None:
    device.start(voucher(1))
    with refused("BUSY"):
        device.start(voucher(2))
    device.close(voucher(2))
    device.release(voucher(1))
    with refused("VOUCHER_USED"):
        device.start(voucher(2))


# The home


@asynccontextmanager
async def served(home: Path) -> AsyncIterator[str]:
    """Serve a worker as a daemon does."""
    with worker(home, now, still) as machine:
        server, port = await open_server(machine, still, "127.0.0.1:0")
        try:
            yield f"127.0.0.1:{port}"
        finally:
            await server.stop(grace=None)


def test_a_daemon_serves_a_worker_and_finds_its_session_again(tmp_path: Path) -> None:
    home = enrolled(tmp_path / "home", settings=WORKER, host=now())

    async def check_in() -> bytes:
        async with served(home) as address:
            started = await start_session(address, ROOT.public, presentable(), HOLDER)
            await close_voucher(address, ROOT.public, presentable(voucher(2)), HOLDER)
            return started.start_receipt

    async def check_out() -> bytes:
        async with served(home) as address:
            return (await end_session(address, ROOT.public, VOUCHER.order_id, HOLDER)).start_receipt

    assert asyncio.run(check_in()) == asyncio.run(check_out())


def test_a_workers_home_is_held_while_it_is_served(tmp_path: Path) -> None:
    home = enrolled(tmp_path / "home", settings=WORKER)
    with worker(home, now, still), pytest.raises(Unavailable), lock_home(home):
        pass
    with lock_home(home):
        pass


def without_memory(home: Path) -> Path:
    (enrolled(home, settings=WORKER) / "memory.db").unlink()
    return home


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda home: home, WrongHome, "home"),
        (lambda home: enrolled(home, settings=OUTLET), WrongHome, "not a worker's home"),
        (lambda home: enrolled(home, granted=False, settings=WORKER), Unavailable, "not been signed yet"),
        (without_memory, Corrupt, "missing"),
    ],
    ids=["not enrolled", "an outlet", "no grant yet", "no memory"],
)
def test_a_home_that_holds_no_worker_ready_to_serve_is_refused(
    tmp_path: Path, make: Callable[[Path], Path], error: type[EnergyShareError], words: str
) -> None:
    home = make(tmp_path / "home")
    before = home.exists()
    with pytest.raises(error, match=words), worker(home, now, still):
        pass
    assert home.exists() is before
