"""The device service over plain gRPC: all that matters in it is signed by both sides.

Calls for a signature are rate-limited together, so that a passer-by can make the device busy but neither full nor slow.
"""

# ruff: noqa: N802 - the calls are named by the contract

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
from google.protobuf.timestamp_pb2 import Timestamp

from energyshare.errors import Reason, Rejected, Unavailable
from energyshare.rpc_errors import refusing
from energyshare.v1 import device_pb2
from energyshare.v1.device_pb2_grpc import DeviceServiceServicer, add_DeviceServiceServicer_to_server
from energyshare.values import Instant, Number, OrderId
from energyshare.wire import Malformed
from terminals.device.challenges import drawn, full
from terminals.device.hardware import Monotonic
from terminals.device.machine import Machine
from terminals.device.memory_file import SessionEvidence

OPTIONS = (
    ("grpc.so_reuseport", 0),
    ("grpc.max_concurrent_streams", 8),
    ("grpc.max_receive_message_length", 65_536),
    ("grpc.max_metadata_size", 8_192),
    ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
)

Context = grpc.aio.ServicerContext[Any, Any]


class DeviceService(DeviceServiceServicer):
    """The six calls of a device."""

    def __init__(self, machine: Machine, monotonic: Monotonic) -> None:
        self._machine, self._monotonic = machine, monotonic
        self._questions = self._answers = full(monotonic())

    @refusing
    async def Challenge(self, request: device_pb2.ChallengeRequest, context: Context) -> device_pb2.ChallengeResponse:
        """Give a signed challenge."""
        bucket = drawn(self._questions, self._monotonic())
        if bucket is None:
            raise Rejected(Reason.RATE_LIMITED)
        self._questions = bucket
        return device_pb2.ChallengeResponse(challenge=self._machine.challenge(), grant=self._machine.grant)

    @refusing
    async def Start(self, request: device_pb2.StartRequest, context: Context) -> device_pb2.StartResponse:
        """Open, or resume."""
        self._draw()
        receipt = self._machine.start(request.presentable.SerializeToString(deterministic=True), request.presentation)
        return device_pb2.StartResponse(start_receipt=receipt)

    @refusing
    async def Release(self, request: device_pb2.ReleaseRequest, context: Context) -> device_pb2.ReleaseResponse:
        """End."""
        self._draw()
        return device_pb2.ReleaseResponse(end_receipt=self._machine.release(request.release, request.grant))

    @refusing
    async def CloseSerial(self, request: device_pb2.CloseSerialRequest, context: Context) -> device_pb2.CloseSerialResponse:
        """Burn a voucher."""
        self._draw()
        shown = request.presentable.SerializeToString(deterministic=True)
        statement = self._machine.close_serial(shown, request.release, request.grant)
        return device_pb2.CloseSerialResponse(statement=statement)

    @refusing
    async def ListEvidence(self, request: device_pb2.ListEvidenceRequest, context: Context) -> device_pb2.ListEvidenceResponse:
        """List receipts, readings and statements of burned vouchers."""
        self._draw()
        if len(request.order_id) not in (0, 16) or request.after_receipt_number < 0:
            raise Malformed("ListEvidenceRequest", "needs an order of 0 or 16 bytes and a number from 0")
        order_id = OrderId(request.order_id) if request.order_id else None
        after = Number(request.after_receipt_number)
        return device_pb2.ListEvidenceResponse(
            sessions=map(_evidence, self._machine.evidence(order_id, after)),
            grant=self._machine.grant,
            closed_serials=self._machine.closed_serials(order_id, after),
        )

    @refusing
    async def SetTime(self, request: device_pb2.SetTimeRequest, context: Context) -> device_pb2.SetTimeResponse:
        """Set the clock."""
        self._draw()
        time = self._machine.set_time(request.time_statement, request.grant)
        return device_pb2.SetTimeResponse(clock_time=_timestamp(time))

    def _draw(self) -> None:
        bucket = drawn(self._answers, self._monotonic())
        if bucket is None:
            raise Rejected(Reason.RATE_LIMITED)
        self._answers = bucket


async def open_server(machine: Machine, monotonic: Monotonic, listen: str) -> tuple[grpc.aio.Server, int]:
    """Start serving; gives the server and its port. Raises: Unavailable when the address is taken."""
    server = grpc.aio.server(options=OPTIONS)
    add_DeviceServiceServicer_to_server(DeviceService(machine, monotonic), server)
    try:
        port = server.add_insecure_port(listen)
    except RuntimeError:
        raise Unavailable(f"can't listen on {listen}", "choose a free address with --listen") from None
    await server.start()
    return server, port


async def tick_until(machine: Machine, stopped: asyncio.Event) -> None:
    """Let the machine do what is due, until it is stopped; an error that it raises ends the program."""
    while not stopped.is_set():
        machine.tick()
        await _wait(stopped.wait, machine.until_due_us() / 1_000_000)


async def _wait(event: Callable[[], Awaitable[object]], seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await event()
    except TimeoutError:
        return


def _timestamp(time: Instant) -> Timestamp:
    seconds, micros = divmod(time, 1_000_000)
    return Timestamp(seconds=seconds, nanos=micros * 1_000)


def _evidence(session: SessionEvidence) -> device_pb2.SessionEvidence:
    return device_pb2.SessionEvidence(
        order_id=session.order_id,
        start_receipt=session.start_receipt,
        readings=session.readings,
        end_receipt=session.end_receipt or b"",
    )
