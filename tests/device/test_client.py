"""Burning over real gRPC, and what a terminal checks before it asks and before it believes."""

from pathlib import Path

import pytest

from energyshare.bodies import OpenedVoucher, SerialClosedBody
from energyshare.credentials import open_grant, open_presentable, open_serial_closed
from energyshare.records import replace
from energyshare.signing import SigningKey
from energyshare.values import DeviceId, Epoch, Instant, Number, OrderId, Role, Serial
from energyshare.wire import decode_presentable, peek, seal
from terminals.device.client import (
    DeviceClient,
    close_voucher,
    close_voucher_as_owner,
    end_session,
    end_session_as_owner,
    start_session,
)
from terminals.device.evidence import require_closed
from terminals.device.machine import Machine

from . import world
from .test_server import run
from .world import (
    DEVICE,
    DEVICE_KEY,
    HOLDER,
    ISSUER,
    ISSUER_GRANT,
    ROOT,
    STRANGER,
    T0,
    VOUCHER,
    World,
    presentable,
    refused,
    voucher,
)

GRANT = open_grant(world.DEVICE_GRANT, ROOT.public, Role.DEVICE)
CLOSED = SerialClosedBody(DEVICE, VOUCHER.order_id, VOUCHER.serial, Epoch(1), Number(1), Instant(T0 * 1_000_000))


def opened(shown: bytes = presentable()) -> OpenedVoucher:
    return open_presentable(shown, ROOT.public)


def test_holder_and_owner_get_the_same_checked_statement_and_nobody_can_start_after_it(tmp_path: Path) -> None:
    device = World(tmp_path)

    async def story(address: str) -> None:
        closed = await close_voucher(address, ROOT.public, presentable(), HOLDER)
        assert await close_voucher_as_owner(address, ROOT.public, presentable(), ISSUER, ISSUER_GRANT) == closed
        assert await close_voucher_as_owner(address, ROOT.public, presentable(), ISSUER, b"") == closed
        assert open_serial_closed(closed.statement, GRANT).body.order_id == VOUCHER.order_id
        assert closed.device_grant == world.DEVICE_GRANT
        with refused("VOUCHER_USED"):
            await start_session(address, ROOT.public, presentable(), HOLDER)
        with refused("NOT_IN_USE"):
            await end_session(address, ROOT.public, VOUCHER.order_id, HOLDER)

    run(device, story)


def test_a_started_voucher_is_not_burned_and_its_session_can_be_ended_instead(tmp_path: Path) -> None:
    device = World(tmp_path)

    async def story(address: str) -> None:
        await start_session(address, ROOT.public, presentable(), HOLDER)
        with refused("VOUCHER_USED"):
            await close_voucher(address, ROOT.public, presentable(), HOLDER)
        with refused("VOUCHER_USED"):
            await close_voucher_as_owner(address, ROOT.public, presentable(), ISSUER, ISSUER_GRANT)
        await end_session_as_owner(address, ROOT.public, VOUCHER.order_id, ISSUER, ISSUER_GRANT, HOLDER.public)

    run(device, story)


def test_a_device_that_lost_its_clock_burns_all_the_same(tmp_path: Path) -> None:
    device = World(tmp_path)
    device.restart(host_s=-86_400)

    async def story(address: str) -> None:
        await close_voucher(address, ROOT.public, presentable(), HOLDER)

    run(device, story)


@pytest.mark.parametrize(
    ("reason", "shown", "holder", "root"),
    [
        ("VOUCHER_HOLDER", presentable(), STRANGER, ROOT),
        ("GRANT_INVALID", presentable(), HOLDER, STRANGER),
        ("GRANT_OWNER", presentable(VOUCHER, STRANGER, world.OTHER_GRANT), HOLDER, ROOT),
        ("VOUCHER_DEVICE", presentable(replace(VOUCHER, device_id=DeviceId(b"E" * 16))), HOLDER, ROOT),
        ("MALFORMED", b"\x00", HOLDER, ROOT),
    ],
)
def test_a_terminal_asks_no_device_that_is_not_the_vouchers(
    tmp_path: Path, reason: str, shown: bytes, holder: SigningKey, root: SigningKey
) -> None:
    device = World(tmp_path)

    async def story(address: str) -> None:
        with refused(reason):
            await close_voucher(address, root.public, shown, holder)

    run(device, story)
    assert device.machine.closed_serials(None, Number(0)) == ()


def test_an_owner_without_the_right_key_burns_nothing(tmp_path: Path) -> None:
    device = World(tmp_path)

    async def story(address: str) -> None:
        for issuing, grant in ((STRANGER, ISSUER_GRANT), (STRANGER, world.OTHER_GRANT), (STRANGER, b"")):
            with refused("STRANGER"):
                await close_voucher_as_owner(address, ROOT.public, presentable(), issuing, grant)
        await start_session(address, ROOT.public, presentable(), HOLDER)

    run(device, story)


@pytest.mark.parametrize(
    ("reason", "closed", "signer"),
    [
        (None, CLOSED, DEVICE_KEY),
        ("GRANT_SUBJECT", replace(CLOSED, device_id=DeviceId(b"E" * 16)), DEVICE_KEY),
        ("RECEIPT_FOREIGN", replace(CLOSED, order_id=OrderId(b"9" * 16)), DEVICE_KEY),
        ("RECEIPT_FOREIGN", replace(CLOSED, serial=Serial(CLOSED.serial + 1)), DEVICE_KEY),
        ("RECEIPT_FOREIGN", replace(CLOSED, epoch=Epoch(2)), DEVICE_KEY),
        ("GRANT_EXPIRED", replace(CLOSED, closed_time=Instant((T0 + 366 * 86_400) * 1_000_000)), DEVICE_KEY),
        ("GRANT_EXPIRED", replace(CLOSED, closed_time=Instant((T0 - 86_401) * 1_000_000)), DEVICE_KEY),
        ("SIGNATURE_INVALID", CLOSED, STRANGER),
    ],
)
def test_a_statement_is_believed_only_of_this_voucher_by_its_device(
    reason: str | None, closed: SerialClosedBody, signer: SigningKey
) -> None:
    statement = seal(closed, signer).signed
    if reason is None:
        require_closed(statement, GRANT, opened())
    else:
        with refused(reason):
            require_closed(statement, GRANT, opened())


class Lying(Machine):
    """Answers every burning with the statement of another voucher."""

    def close_serial(self, presentable: bytes, release: bytes, grant: bytes) -> bytes:
        return seal(replace(CLOSED, serial=Serial(CLOSED.serial + 1)), DEVICE_KEY).signed


def test_an_answer_about_another_voucher_is_not_believed(tmp_path: Path) -> None:
    device = World(tmp_path)
    device.machine.__class__ = Lying

    async def story(address: str) -> None:
        with refused("RECEIPT_FOREIGN"):
            await close_voucher(address, ROOT.public, presentable(), HOLDER)
        with refused("RECEIPT_FOREIGN"):
            await close_voucher_as_owner(address, ROOT.public, presentable(), ISSUER, ISSUER_GRANT)

    run(device, story)


def test_a_statement_of_another_device_of_the_owner_is_not_this_vouchers() -> None:
    elsewhere = open_grant(world.grant(b"E" * 16, Role.DEVICE, DEVICE_KEY, world.OWNER), ROOT.public, Role.DEVICE)
    statement = seal(replace(CLOSED, device_id=DeviceId(b"E" * 16)), DEVICE_KEY).signed
    with refused("RECEIPT_FOREIGN"):
        require_closed(statement, elsewhere, opened())


def test_statements_are_listed_over_the_wire_beside_the_sessions(tmp_path: Path) -> None:
    device = World(tmp_path)
    device.start(voucher(1))
    first, second = device.close(voucher(2)), device.close(voucher(3))

    async def story(address: str) -> None:
        async with DeviceClient(address) as client:
            assert await client.closed_serials() == (first, second)
            assert await client.closed_serials(voucher(3).order_id) == (second,)
            assert await client.closed_serials(voucher(1).order_id) == ()
            assert await client.closed_serials(after=peek(SerialClosedBody, first).receipt_number) == (second,)
            assert len((await client.evidence())[0]) == 1
            with refused("MALFORMED"):
                await client.closed_serials(OrderId(b"short"))

    run(device, story)


def test_burning_is_rate_limited_with_the_other_calls(tmp_path: Path) -> None:
    device = World(tmp_path)

    async def story(address: str) -> None:
        async with DeviceClient(address) as client:
            for _ in range(40):
                await client.evidence()
            with refused("RATE_LIMITED"):
                await client.close_serial(decode_presentable(presentable()), b"")

    run(device, story)
