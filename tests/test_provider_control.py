"""Commands that reach a running daemon: real sockets, a worker's real server; what is refused comes back as it was."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from energyshare.config import ConfigError
from energyshare.errors import EnergyShareError, Reason, Rejected, Unavailable
from energyshare.home import WrongHome
from energyshare.messages import Cancel, SerialClosed, SettlementRequest, Started
from energyshare.tariff import TariffError
from energyshare.values import DeviceId, Kind, OrderId, later
from terminals.device.client import DeviceClient, start_session
from terminals.provider import ProviderTerminal, opened
from terminals.provider.acts import AskSettlement, CancelOrder, CheckIn, Facts, Item, OpenAsset, ProposeWork, Reload
from terminals.provider.control import SOCKET, SOCKET_PATH_MAX, Failed, NotRunning, call, serving
from terminals.provider.performing import perform
from terminals.provider.workers import near
from tests.device.world import HOLDER, ROOT, refused
from tests.provider_home import CONFIG, Place, make_worker
from tests.terminals_world import Wire, of

WITHIN_S = 20


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


@asynccontextmanager
async def running(place: Place, terminal: ProviderTerminal) -> AsyncIterator[Callable[..., Awaitable[Facts]]]:
    """Run a terminal whose cloud is away; gives how a command asks it."""
    stopped = asyncio.Event()
    async with serving(place.home, lambda act: perform(terminal, act)):
        serve = asyncio.create_task(terminal.run(stopped))
        await until(lambda: bool(terminal._workers.shown) or serve.done())
        try:
            yield lambda act: asyncio.to_thread(call, place.home, act)
        finally:
            stopped.set()
            await serve


async def until(holds: Callable[[], bool]) -> None:
    """Let the loop go on until something holds."""
    async with asyncio.timeout(WITHIN_S):
        while not holds():  # noqa: ASYNC110 - what is waited for has no event of its own
            await asyncio.sleep(0.01)


# A worker's check-in


def test_a_customer_checks_in_at_the_daemons_worker_and_the_settlement_frees_it(place: Place) -> None:
    with place.opened() as terminal:
        order_id, presentable = place.authorized(terminal)

        async def play() -> None:
            async with running(place, terminal) as ask:
                address = str((await ask(CheckIn(1)))["address"])
                await start_session(address, ROOT.public, presentable, HOLDER)
                await until(lambda: terminal.order(order_id).started is not None)
                facts = await ask(ProposeWork(1, [Item("cable", 2)]))
                assert (facts["amendment"], facts["hold_minor"]) == (1, 2_120)
                assert (await ask(AskSettlement(1, duration_s=0)))["total_minor"] == 10_600
                await until(lambda: terminal.order(order_id).ended)
                async with DeviceClient(address) as client:
                    assert (await client.evidence(order_id))[0][0].end_receipt is not None

        asyncio.run(play())
        assert place.wire is not None
        heard = place.wire.listen()
        assert len(of(Started, heard)) == len(of(SettlementRequest, heard)) == 1


def test_a_cancellation_burns_the_voucher_at_the_worker_at_once(place: Place) -> None:
    with place.opened() as terminal:
        order_id, presentable = place.authorized(terminal)

        async def play() -> None:
            async with running(place, terminal) as ask:
                await ask(CancelOrder(1, "NO_STAFF"))
                await until(lambda: terminal.order(order_id).looked_through)
                with refused("VOUCHER_USED"):
                    await start_session(terminal.check_in_address(order_id), ROOT.public, presentable, HOLDER)

        asyncio.run(play())
        assert place.wire is not None
        heard = place.wire.listen()
        assert of(Cancel, heard) == [Cancel("NO_STAFF")]
        assert len(of(SerialClosed, heard)) == 1


def test_without_a_daemon_nobody_checks_in_and_a_journalled_act_leaves_with_the_next_run(place: Place) -> None:
    with pytest.raises(NotRunning):
        call(place.home, CheckIn(1))
    with place.opened() as terminal:
        place.authorized(terminal)
        with pytest.raises(Unavailable):
            asyncio.run(perform(terminal, CheckIn(1)))
        asyncio.run(perform(terminal, CancelOrder(1, "NO_STAFF")))
    with place.opened() as terminal:
        assert terminal.has_unsent
        assert place.wire is not None
        place.wire.terminal._link.reconnected()
        assert place.wire.listen() == [Cancel("NO_STAFF")]


# What comes back


@pytest.mark.parametrize(
    "raised",
    [
        Rejected(Reason.WRONG_STATE, order="7", state="ACTIVE"),
        Rejected(Reason.ASSET_FOREIGN, asset="ü"),
        Unavailable("no worker", "start one"),
    ],
)
def test_what_an_act_was_refused_with_comes_back_as_it_was(place: Place, raised: EnergyShareError) -> None:
    with pytest.raises(type(raised)) as came:
        _ask_one_that_raises(place, raised)
    assert (str(came.value), getattr(came.value, "hint", None)) == (str(raised), getattr(raised, "hint", None))


@pytest.mark.parametrize(
    ("raised", "said"),
    [
        (ConfigError(Path("depot.toml"), "is not TOML"), "depot.toml: is not TOML"),
        (TariffError("items[tow]", "has no price in this tariff"), "items[tow]: has no price in this tariff"),
        (KeyError("secret"), "the daemon failed on this: KeyError('secret')"),
    ],
)
def test_other_failures_come_back_in_words(place: Place, raised: Exception, said: str) -> None:
    with pytest.raises(Failed) as came:
        _ask_one_that_raises(place, raised)
    assert str(came.value) == said


def _ask_one_that_raises(place: Place, raised: Exception) -> None:
    async def fail(act: object) -> Facts:
        raise raised

    async def play() -> None:
        async with serving(place.home, fail):
            await asyncio.to_thread(call, place.home, OpenAsset("outlet-1"))

    asyncio.run(play())


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"{}",
        b"[]",
        b"not json",
        b"\xff\xfe",
        b'{"type":"Sell"}',
        b'{"type":"CancelOrder","order":0,"reason":"X"}',
        b'{"type":"CancelOrder","order":"1","reason":"X"}',
        b'{"type":"CancelOrder","order":1}',
        b'{"type":"CancelOrder","order":1,"reason":"X","more":1}',
        b'{"type":"ProposeWork","order":1,"items":[{"name":"","quantity":1}]}',
        b'{"type":"ProposeWork","order":1,"items":[{"name":"a","quantity":0}]}',
        b'{"type":"RefuseEnd","order":1,"claimed_minor":1e30,"reason":"x"}',
        b"[" * 100_000,
    ],
    ids=lambda line: repr(line[:40]),
)
def test_a_line_that_is_no_act_changes_nothing_and_the_daemon_goes_on(place: Place, line: bytes) -> None:
    acts: list[object] = []

    async def note(act: object) -> Facts:
        acts.append(act)
        return {"order": 1}

    async def play() -> bytes:
        async with serving(place.home, note):
            answer = await asyncio.to_thread(_say, place.home, line)
            assert await asyncio.to_thread(call, place.home, CheckIn(1)) == {"order": 1}
            return answer

    answer = asyncio.run(play())
    assert acts == [CheckIn(1)]
    assert answer == b"" or json.loads(answer)["failure"]["reason"] == "MALFORMED"


def _say(home: Path, line: bytes) -> bytes:
    with socket.socket(socket.AF_UNIX) as one:
        one.settimeout(WITHIN_S)
        one.connect(str(home / SOCKET))
        try:
            one.sendall(line + b"\n")
            return one.makefile("rb").readline()
        except ConnectionError:
            return b""


def test_several_commands_are_answered_at_the_same_time(place: Place) -> None:
    with place.opened() as terminal:
        for _ in range(5):
            place.offered(terminal)

        async def play() -> list[Facts]:
            async with running(place, terminal) as ask:
                return list(await asyncio.gather(*(ask(CancelOrder(number, "NO_STAFF")) for number in range(1, 6))))

        assert [facts["order"] for facts in asyncio.run(play())] == [1, 2, 3, 4, 5]


def test_a_home_whose_path_is_too_long_for_a_socket_is_reached_all_the_same(tmp_path: Path) -> None:
    home = tmp_path / ("long-" * 20)
    home.mkdir(mode=0o700)
    assert len(str(home / SOCKET)) > SOCKET_PATH_MAX

    async def answer(act: object) -> Facts:
        return {"order": 1}

    async def play() -> None:
        async with serving(home, answer):
            assert await asyncio.to_thread(call, home, CheckIn(1)) == {"order": 1}

    asyncio.run(play())
    with pytest.raises(NotRunning):
        call(home, CheckIn(1))
    assert list(home.iterdir()) == []


def test_a_socket_that_a_killed_daemon_left_is_replaced(place: Place) -> None:
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(place.home / SOCKET))
    with pytest.raises(NotRunning):
        call(place.home, CheckIn(1))
    with pytest.raises(Failed):
        _ask_one_that_raises(place, KeyError())
    assert not (place.home / SOCKET).exists()


# Reloading


def test_a_reload_tells_what_changed_and_keeps_offers_at_their_price(place: Place) -> None:
    with place.opened() as terminal:
        order_id, offer = place.offered(terminal, Kind.ENERGY)

        async def play() -> Facts:
            async with running(place, terminal) as ask:
                before = terminal._workers.shown
                place.configure(CONFIG.replace("power_w = 1000", "power_w = 2000"))
                facts = await ask(Reload())
                assert terminal._workers.shown == before
                return facts

        assert asyncio.run(play())["changed"] == 1
        assert {asset.power_w for asset in terminal.assets()} == {2_000, 1}
        assert terminal.order(order_id).state == "OFFERED"
        assert offer


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("not toml [", Failed),
        (CONFIG.replace('"day.json"', '"gone.json"'), Failed),
        (CONFIG.replace('"worker-1"', '"worker-2"', 1), Failed),
        (CONFIG.replace('device_home = "worker-1"', 'device_home = "nobody"'), Failed),
        (CONFIG.replace("127.0.0.1:7460", "203.0.113.1:80"), Unavailable),
    ],
    ids=["no TOML", "a tariff is gone", "another device's home", "no home", "an address that is not ours"],
)
def test_a_configuration_that_cant_be_used_changes_nothing(place: Place, text: str, error: type[Exception]) -> None:
    with place.opened() as terminal:

        async def play() -> None:
            async with running(place, terminal) as ask:
                served = set(terminal._workers.shown)
                place.configure(text)
                with pytest.raises(error):
                    await ask(Reload())
                assert set(terminal._workers.shown) == served
                assert {asset.name for asset in terminal.assets()} == {"outlet-1", "worker-1"}

        asyncio.run(play())


def test_a_daemon_does_not_start_with_another_devices_home(place: Place) -> None:
    make_worker(place.folder / "other", device=DeviceId(b"o" * 16))
    place.configure(CONFIG.replace('device_home = "worker-1"', 'device_home = "other"'))
    with place.opened() as terminal, pytest.raises(WrongHome):
        asyncio.run(terminal.run(asyncio.Event()))


def test_a_worker_that_is_taken_out_of_the_configuration_is_served_no_more(place: Place) -> None:
    with place.opened() as terminal:

        async def play() -> None:
            async with running(place, terminal) as ask:
                address = next(iter(terminal._workers.addresses.values()))
                start = CONFIG.index('[[sites.assets]]\nname = "worker-1"')
                place.configure(CONFIG[:start])
                await ask(Reload())
                with pytest.raises(Unavailable):
                    async with DeviceClient(address) as client:
                        await client.challenge()

        asyncio.run(play())
        assert {asset.name for asset in terminal.assets()} == {"outlet-1"}


@pytest.mark.parametrize(
    ("listens", "reached"),
    [
        ("0.0.0.0:7460", "127.0.0.1:7460"),
        ("[::]:7460", "127.0.0.1:7460"),
        ("192.168.4.1:7460", "192.168.4.1:7460"),
        ("localhost:7460", "localhost:7460"),
    ],
)
def test_a_worker_is_read_over_loopback_where_it_listens_everywhere(listens: str, reached: str) -> None:
    assert near(listens) == reached


# The library


def test_a_program_reads_orders_and_jobs_and_old_ones_lose_their_parts(place: Place) -> None:
    with place.opened() as terminal:
        order_id, _ = place.authorized(terminal)
        assert [found for found, _ in terminal.jobs()] == [found for found, _ in terminal.orders()] == [order_id]
        assert terminal.numbered(1) == order_id
        with refused("UNKNOWN_ORDER"):
            terminal.numbered(2)
        with refused("UNKNOWN_ORDER"):
            terminal.order(OrderId(b"?" * 16))
        with terminal._orders.changing(order_id) as document:
            document.state, document.finished = "CLOSED", place.now
        place.now = later(place.now, 31 * 86_400)
        terminal._forget_old_orders()
        assert terminal.journal.parts(order_id) == []
        assert terminal.order(order_id).number == 1


def test_a_reason_to_cancel_is_written_as_the_contract_has_it(place: Place) -> None:
    with place.opened() as terminal:
        order_id, _ = place.authorized(terminal)
        for reason in ("", "no staff", "X" * 65, "1ST"):
            with refused("MALFORMED"):
                terminal.cancel(order_id, reason)
        for reason in ("", "x" * 65, "---"):
            with refused("MALFORMED"):
                terminal.close_asset("outlet-1", reason)
        assert place.wire is not None
        assert place.wire.listen() == []


def test_a_program_decides_on_demands_with_a_function_of_its_own(place: Place) -> None:
    decide = lambda asset, demand: None if asset.kind is Kind.SERVICE else "ONLY_AT_NIGHT"  # noqa: E731
    with opened(place.home, place.config, place.clock, decide=decide) as terminal:
        place.wire = Wire(terminal._terminal, terminal._orders)
        assert place.offered(terminal)
        with pytest.raises(ValueError, match="not enough values"):
            place.offered(terminal, Kind.ENERGY)
