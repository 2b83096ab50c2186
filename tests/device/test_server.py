"""The device service over real gRPC, and what a terminal checks before it signs and before it believes."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import pytest

from energyshare.bodies import EndReceiptBody, TimeStatementBody
from energyshare.credentials import open_grant
from energyshare.errors import Corrupt, EnergyShareError, Reason, Rejected, Unavailable
from energyshare.records import replace
from energyshare.rpc_errors import error_of, refusing
from energyshare.signing import SigningKey
from energyshare.v1 import device_pb2
from energyshare.v1.device_pb2_grpc import DeviceServiceStub
from energyshare.values import DeviceId, EndCause, Instant, Nonce, Number, OrderId, ProviderId, Role, SubjectId
from energyshare.wire import peek, seal
from terminals.device.client import DeviceClient, end_session, end_session_as_owner, start_session
from terminals.device.evidence import check_session
from terminals.device.server import open_server

from . import world
from .world import HOLDER, ISSUER, ISSUER_GRANT, ROOT, T0, VOUCHER, World, presentable, refused, voucher


@asynccontextmanager
async def serving(device: World) -> AsyncIterator[str]:
    server, port = await open_server(device.machine, device.monotonic, "127.0.0.1:0")
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await server.stop(grace=None)


def run(device: World, story: Callable[[str], Awaitable[None]]) -> None:
    async def play() -> None:
        async with serving(device) as address:
            await story(address)

    asyncio.run(play())


def test_a_session_over_the_wire_from_start_to_checked_evidence(tmp_path: Path) -> None:
    device = World(tmp_path)

    async def story(address: str) -> None:
        started = await start_session(address, ROOT.public, presentable(), HOLDER)
        assert await start_session(address, ROOT.public, presentable(), HOLDER) == started
        device.pass_s(1_000)
        ended = await end_session(address, ROOT.public, VOUCHER.order_id, HOLDER)
        assert ended.start_receipt == started.start_receipt
        assert (len(ended.readings), peek(EndReceiptBody, ended.end_receipt).elapsed_s) == (3, 1_000)
        assert await end_session(address, ROOT.public, VOUCHER.order_id, HOLDER) == ended

    run(device, story)


def test_the_owner_ends_and_the_holder_can_check_it(tmp_path: Path) -> None:
    device = World(tmp_path)

    async def story(address: str) -> None:
        await start_session(address, ROOT.public, presentable(), HOLDER)
        args = (address, ROOT.public, VOUCHER.order_id)
        ended = await end_session_as_owner(*args, ISSUER, ISSUER_GRANT, HOLDER.public)
        assert peek(EndReceiptBody, ended.end_receipt).cause is EndCause.OWNER
        assert await end_session(*args, HOLDER, ISSUER.public) == ended
        with refused("STRANGER"):
            await end_session(*args, HOLDER)

    run(device, story)


def test_a_device_that_lost_its_clock_is_given_the_time_on_the_way(tmp_path: Path) -> None:
    device = World(tmp_path)
    device.restart(host_s=-86_400)

    async def fetch_time(device_id: DeviceId, nonce: Nonce) -> tuple[bytes, bytes]:
        statement = TimeStatementBody(device_id, nonce, Instant((T0 + 60) * 1_000_000))
        return seal(statement, world.PLATFORM).signed, world.PLATFORM_GRANT

    async def story(address: str) -> None:
        with refused("CLOCK_LOST"):
            await start_session(address, ROOT.public, presentable(), HOLDER)
        await start_session(address, ROOT.public, presentable(), HOLDER, fetch_time)

    run(device, story)


@pytest.mark.parametrize(
    ("reason", "shown", "holder", "root"),
    [
        ("VOUCHER_HOLDER", presentable(), world.STRANGER, ROOT),
        ("GRANT_INVALID", presentable(), HOLDER, world.STRANGER),
        ("GRANT_OWNER", presentable(VOUCHER, world.STRANGER, world.OTHER_GRANT), HOLDER, ROOT),
        ("VOUCHER_DEVICE", presentable(replace(VOUCHER, device_id=DeviceId(b"E" * 16))), HOLDER, ROOT),
    ],
)
def test_a_terminal_signs_nothing_for_a_device_that_is_not_the_vouchers(
    tmp_path: Path, reason: str, shown: bytes, holder: SigningKey, root: SigningKey
) -> None:
    device = World(tmp_path)

    async def story(address: str) -> None:
        with refused(reason):
            await start_session(address, root.public, shown, holder)

    run(device, story)
    assert device.machine.memory.failures == ()


def test_a_chain_with_a_missing_reading_is_not_believed(tmp_path: Path) -> None:
    device = World(tmp_path)
    device.start()
    device.pass_s(1_000)
    device.release()
    (whole,) = device.machine.evidence(None, Number(0))
    grant = open_grant(world.DEVICE_GRANT, ROOT.public, Role.DEVICE)
    check_session(whole, grant, HOLDER.public, None)
    for readings in (whole.readings[1:], whole.readings[:-1], whole.readings[::2], ()):
        with refused("READING_GAP"):
            check_session(replace(whole, readings=readings), grant, HOLDER.public, None)
    with refused("PART_MISSING"):
        check_session(replace(whole, end_receipt=None), grant, HOLDER.public, None)


def test_questions_are_rate_limited(tmp_path: Path) -> None:
    device = World(tmp_path)

    async def story(address: str) -> None:
        async with DeviceClient(address) as client:
            for _ in range(40):
                await client.challenge()
            with refused("RATE_LIMITED"):
                await client.challenge()
            device.pass_s(0.05)
            await client.challenge()

    run(device, story)


def test_evidence_is_listed_over_the_wire(tmp_path: Path) -> None:
    device = World(tmp_path)
    device.start(voucher(1))
    device.release(voucher(1))
    device.start(voucher(2))

    async def story(address: str) -> None:
        async with DeviceClient(address) as client:
            sessions, grant = await client.evidence()
            assert grant == world.DEVICE_GRANT
            assert sessions == device.machine.evidence(None, Number(0))
            assert (await client.evidence(after=Number(2)))[0] == sessions[1:]
            with refused("MALFORMED"):
                await client.evidence(OrderId(b"short"))

    run(device, story)


def test_nobody_there_is_unavailable() -> None:
    async def story() -> None:
        async with DeviceClient("127.0.0.1:1") as client:
            with pytest.raises(Unavailable):
                await client.challenge()

    asyncio.run(story())


def test_a_taken_address_is_refused(tmp_path: Path) -> None:
    device = World(tmp_path)

    async def story(address: str) -> None:
        with pytest.raises(Unavailable, match="can't listen"):
            await open_server(device.machine, device.monotonic, address)

    run(device, story)


def test_messages_past_64_kib_are_not_read(tmp_path: Path) -> None:
    device = World(tmp_path)

    async def story(address: str) -> None:
        async with grpc.aio.insecure_channel(address) as channel:
            request = device_pb2.StartRequest(presentation=b"x" * 70_000)
            with pytest.raises(grpc.aio.AioRpcError) as refusal:
                await DeviceServiceStub(channel).Start(request, timeout=5)
            assert refusal.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED

    run(device, story)


# Errors on unary calls


class Context:
    """Notes what a handler's call ended with."""

    async def abort(self, code: grpc.StatusCode, details: str, trailer: tuple[tuple[str, str | bytes], ...] = ()) -> None:
        initial = grpc.aio.Metadata()
        raise grpc.aio.AioRpcError(code, initial, grpc.aio.Metadata(*trailer), details)


@pytest.mark.parametrize(
    ("raised", "code", "arrives"),
    [
        (Rejected(Reason.BUSY, order="ü"), "FAILED_PRECONDITION", Rejected(Reason.BUSY, order="ü")),
        (Rejected(Reason.MALFORMED), "INVALID_ARGUMENT", Rejected(Reason.MALFORMED)),
        (Rejected(Reason.RATE_LIMITED), "RESOURCE_EXHAUSTED", Rejected(Reason.RATE_LIMITED)),
        (Unavailable("no disk"), "UNAVAILABLE", Unavailable("the other side does not answer")),
        (Corrupt("secret path"), "INTERNAL", Unavailable("the call failed: INTERNAL")),
        (KeyError("secret"), "INTERNAL", Unavailable("the call failed: INTERNAL")),
    ],
)
def test_an_error_arrives_as_it_was_raised_and_nothing_internal_leaves(
    raised: Exception, code: str, arrives: EnergyShareError
) -> None:
    @refusing
    async def handler(self: object, request: object, context: Context) -> None:
        raise raised

    with pytest.raises(grpc.aio.AioRpcError) as ended:
        asyncio.run(handler(None, None, Context()))  # type: ignore[arg-type]
    assert ended.value.code().name == code
    assert "secret" not in str(ended.value.details())
    assert str(error_of(ended.value)) == str(arrives)
    assert type(error_of(ended.value)) is type(arrives)


def test_a_reason_of_a_newer_server_and_broken_metadata_are_survived() -> None:
    def ended(*trailer: tuple[str, str | bytes]) -> EnergyShareError:
        metadata = grpc.aio.Metadata(*trailer)
        return error_of(grpc.aio.AioRpcError(grpc.StatusCode.INTERNAL, grpc.aio.Metadata(), metadata))

    assert str(ended(("energyshare-reason", "NEW_ONE"))) == "the call failed: NEW_ONE"
    broken = ended(("energyshare-reason", "BUSY"), ("energyshare-metadata-bin", b"{"))
    assert isinstance(broken, Rejected)


def test_a_device_of_another_owner_is_seen_by_its_grant(tmp_path: Path) -> None:
    device = World(tmp_path)
    foreign = world.grant(SubjectId(world.DEVICE), Role.DEVICE, world.DEVICE_KEY, ProviderId(world.OTHER))
    device.machine._parts = replace(device.machine._parts, grant=foreign)

    async def story(address: str) -> None:
        with refused("GRANT_OWNER"):
            await start_session(address, ROOT.public, presentable(), HOLDER)

    run(device, story)
