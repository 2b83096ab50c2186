"""How a terminal speaks to a device: start a session, end it, burn a voucher, fetch evidence.

Before it signs anything a terminal knows that the device is the voucher's and belongs to the voucher's provider; before it
believes a receipt it has checked every signature and the chain of readings. DESIGN 7.
"""

from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Self, TypeVar

import grpc
from msgspec import Struct

from energyshare.bodies import ChallengeBody, GrantBody, OpenedVoucher, PresentationBody, ReleaseBody, Verified
from energyshare.credentials import open_device_body, open_grant, open_presentable, require_valid_at
from energyshare.errors import Reason, Rejected
from energyshare.rpc_errors import error_of
from energyshare.signing import SigningKey
from energyshare.v1 import device_pb2
from energyshare.v1.device_pb2_grpc import DeviceServiceStub
from energyshare.values import ClockQuality, DeviceId, Instant, Nonce, Number, OrderId, PublicKey, Role
from energyshare.wire import Presentable, decode_presentable, presentable_proto, seal
from terminals.device.evidence import check_session, require_closed, require_receipt_of
from terminals.device.memory_file import SessionEvidence

ANSWER_WITHIN_S = 5
ANSWER_OPTIONS = (("grpc.max_receive_message_length", 16 * 1024 * 1024),)  # all readings of the longest session
FROM_THE_FIRST = Number(0)

T = TypeVar("T")
FetchTime = Callable[[DeviceId, Nonce], Awaitable[tuple[bytes, bytes]]]
"""Gets a signed time statement over a device's nonce from the platform, with the platform key's grant."""


class StartOutcome(Struct, frozen=True):
    """A checked start receipt, and the grant of the device that signed it."""

    start_receipt: bytes
    device_grant: bytes


class EndOutcome(Struct, frozen=True):
    """A whole session, checked: every reading is there."""

    end_receipt: bytes
    readings: tuple[bytes, ...]
    start_receipt: bytes
    device_grant: bytes


class ClosedOutcome(Struct, frozen=True):
    """A checked statement that a voucher was burned, and the grant of the device that signed it."""

    statement: bytes
    device_grant: bytes


class Question(Struct, frozen=True):
    """A device's checked challenge and grant."""

    challenge: ChallengeBody
    grant: Verified[GrantBody]


class DeviceClient:
    """The six calls, each with a deadline of 5 s; every error comes as one of ours. Use it as an async context."""

    def __init__(self, address: str) -> None:
        self._channel = grpc.aio.insecure_channel(address, ANSWER_OPTIONS)
        self._stub = DeviceServiceStub(self._channel)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._channel.close()

    async def challenge(self) -> tuple[bytes, bytes]:
        """Get a signed challenge and the device's grant."""
        response = await _answer(self._stub.Challenge(device_pb2.ChallengeRequest(), timeout=ANSWER_WITHIN_S))
        return response.challenge, response.grant

    async def start(self, presentable: Presentable, presentation: bytes) -> bytes:
        """Present a voucher; gives the start receipt."""
        request = device_pb2.StartRequest(presentable=presentable_proto(presentable), presentation=presentation)
        return (await _answer(self._stub.Start(request, timeout=ANSWER_WITHIN_S))).start_receipt

    async def release(self, release: bytes, grant: bytes = b"") -> bytes:
        """End a session; gives the end receipt. `grant` is the issuing key's when the owner releases."""
        request = device_pb2.ReleaseRequest(release=release, grant=grant)
        return (await _answer(self._stub.Release(request, timeout=ANSWER_WITHIN_S))).end_receipt

    async def close_serial(self, presentable: Presentable, release: bytes, grant: bytes = b"") -> bytes:
        """Burn a voucher; gives the statement. `grant` is the issuing key's when the owner asks."""
        shown = presentable_proto(presentable)
        request = device_pb2.CloseSerialRequest(presentable=shown, release=release, grant=grant)
        return (await _answer(self._stub.CloseSerial(request, timeout=ANSWER_WITHIN_S))).statement

    async def evidence(
        self, order_id: OrderId | None = None, after: Number = FROM_THE_FIRST
    ) -> tuple[tuple[SessionEvidence, ...], bytes]:
        """Get a page of what the device signed about sessions, unchecked, and the device's grant."""
        response = await self._list(order_id, after)
        return tuple(_session(session) for session in response.sessions), response.grant

    async def closed_serials(self, order_id: OrderId | None = None, after: Number = FROM_THE_FIRST) -> tuple[bytes, ...]:
        """Get a page of the device's statements of burned vouchers, unchecked."""
        return tuple((await self._list(order_id, after)).closed_serials)

    async def set_time(self, statement: bytes, grant: bytes) -> Instant:
        """Give the device a time statement; gives its clock after that."""
        request = device_pb2.SetTimeRequest(time_statement=statement, grant=grant)
        response = await _answer(self._stub.SetTime(request, timeout=ANSWER_WITHIN_S))
        return Instant(response.clock_time.ToMicroseconds())

    async def _list(self, order_id: OrderId | None, after: Number) -> device_pb2.ListEvidenceResponse:
        request = device_pb2.ListEvidenceRequest(order_id=order_id or b"", after_receipt_number=after)
        return await _answer(self._stub.ListEvidence(request, timeout=ANSWER_WITHIN_S))


async def start_session(
    address: str, root_key: PublicKey, presentable: bytes, holder: SigningKey, fetch_time: FetchTime | None = None
) -> StartOutcome:
    """Open a device with a voucher, or resume; gives its checked start receipt.

    A device that lost its clock gets the time from `fetch_time` first.
    Raises: Unavailable; Rejected as the device refused, or with GRANT_*, VOUCHER_DEVICE, VOUCHER_HOLDER before anything was
    signed, or RECEIPT_FOREIGN for a receipt that is not this voucher's.
    """
    opened = open_presentable(presentable, root_key)
    if holder.public != opened.voucher.body.holder_key:
        raise Rejected(Reason.VOUCHER_HOLDER)
    async with DeviceClient(address) as client:
        question = await _ask_voucher_device(client, root_key, opened)
        if question.challenge.clock_quality is ClockQuality.RELATIVE and fetch_time is not None:
            await client.set_time(*await fetch_time(question.challenge.device_id, question.challenge.nonce))
            question = await _ask_voucher_device(client, root_key, opened)
        body = PresentationBody(opened.voucher.digest, question.challenge.device_id, question.challenge.nonce)
        receipt = await client.start(decode_presentable(presentable), seal(body, holder).signed)
    require_receipt_of(receipt, question.grant, opened)
    return StartOutcome(receipt, question.grant.signed)


async def end_session(
    address: str, root_key: PublicKey, order_id: OrderId, holder: SigningKey, owner_key: PublicKey | None = None
) -> EndOutcome:
    """End the holder's session; gives all of its checked evidence.

    `owner_key`, the issuing key of the voucher's grant, is needed to check a session that the owner has ended.
    Raises: Unavailable; Rejected as the device refused, or for evidence that does not hold.
    """
    return await _end(address, root_key, order_id, holder, b"", holder.public, owner_key)


async def end_session_as_owner(
    address: str, root_key: PublicKey, order_id: OrderId, issuing: SigningKey, grant: bytes, holder_key: PublicKey
) -> EndOutcome:
    """End a session with its device's owner's key; otherwise as end_session."""
    return await _end(address, root_key, order_id, issuing, grant, holder_key, issuing.public)


async def close_voucher(address: str, root_key: PublicKey, presentable: bytes, holder: SigningKey) -> ClosedOutcome:
    """Burn the holder's voucher, so that it never starts anything; gives the device's checked statement.

    Raises: Unavailable; Rejected as the device refused (VOUCHER_USED: it was started, so end the session), or with GRANT_*,
    VOUCHER_DEVICE, VOUCHER_HOLDER before anything was signed, or RECEIPT_FOREIGN for a statement of another voucher.
    """
    opened = open_presentable(presentable, root_key)
    if holder.public != opened.voucher.body.holder_key:
        raise Rejected(Reason.VOUCHER_HOLDER)
    return await _close(address, root_key, presentable, opened, holder, b"")


async def close_voucher_as_owner(
    address: str, root_key: PublicKey, presentable: bytes, issuing: SigningKey, grant: bytes
) -> ClosedOutcome:
    """Burn a voucher with its device's owner's key, whose grant this is; otherwise as close_voucher."""
    opened = open_presentable(presentable, root_key)
    return await _close(address, root_key, presentable, opened, issuing, grant)


async def _close(
    address: str, root_key: PublicKey, presentable: bytes, opened: OpenedVoucher, key: SigningKey, grant: bytes
) -> ClosedOutcome:
    async with DeviceClient(address) as client:
        question = await _ask_voucher_device(client, root_key, opened)
        body = ReleaseBody(question.challenge.device_id, question.challenge.nonce, opened.voucher.body.order_id)
        statement = await client.close_serial(decode_presentable(presentable), seal(body, key).signed, grant)
    require_closed(statement, question.grant, opened)
    return ClosedOutcome(statement, question.grant.signed)


async def _end(
    address: str,
    root_key: PublicKey,
    order_id: OrderId,
    key: SigningKey,
    grant: bytes,
    holder_key: PublicKey,
    owner_key: PublicKey | None,
) -> EndOutcome:
    async with DeviceClient(address) as client:
        question = await _ask(client, root_key)
        body = ReleaseBody(question.challenge.device_id, question.challenge.nonce, order_id)
        receipt = await client.release(seal(body, key).signed, grant)
        sessions, _ = await client.evidence(order_id)
    session = next((one for one in sessions if one.end_receipt == receipt), None)
    if session is None:
        raise Rejected(Reason.PART_MISSING)
    end = check_session(session, question.grant, holder_key, owner_key)
    if end.receipt.body.order_id != order_id:
        raise Rejected(Reason.RECEIPT_FOREIGN)
    return EndOutcome(receipt, session.readings, session.start_receipt, question.grant.signed)


async def _ask(client: DeviceClient, root_key: PublicKey) -> Question:
    challenge, signed_grant = await client.challenge()
    grant = open_grant(signed_grant, root_key, Role.DEVICE)
    body = open_device_body(ChallengeBody, challenge, grant).body
    if body.clock_quality is ClockQuality.SYNCHRONIZED:
        require_valid_at(grant, body.clock_time)
    return Question(body, grant)


async def _ask_voucher_device(client: DeviceClient, root_key: PublicKey, opened: OpenedVoucher) -> Question:
    question = await _ask(client, root_key)
    owner = question.grant.body.owner_id
    if owner is None or bytes(owner) != bytes(opened.grant.body.subject_id):
        raise Rejected(Reason.GRANT_OWNER)
    if question.challenge.device_id != opened.voucher.body.device_id:
        raise Rejected(Reason.VOUCHER_DEVICE)
    return question


def _session(proto: device_pb2.SessionEvidence) -> SessionEvidence:
    readings = tuple(proto.readings)
    return SessionEvidence(OrderId(proto.order_id), proto.start_receipt, readings, proto.end_receipt or None)


async def _answer(call: Awaitable[T]) -> T:
    try:
        return await call
    except grpc.aio.AioRpcError as call_error:
        raise error_of(call_error) from None
