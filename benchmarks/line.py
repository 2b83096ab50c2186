"""A terminal's stream in the load process: a link over mutual TLS, its journal in memory.

Frames carry all that waits, as those of the real terminals do. What comes in is numbered and acknowledged by the real link;
signatures are not checked, so that clients do not take the cloud's share of the cores.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import grpc
from grpc import aio

from benchmarks.floor import CHANNEL_OPTIONS
from benchmarks.world import Party
from energyshare.frames import ACKS_WITHIN_S
from energyshare.messages import Message
from energyshare.v1.stream_pb2 import ConnectRequest, ConnectResponse, Hello
from energyshare.v1.stream_pb2 import Frame as FrameProto
from energyshare.v1.stream_pb2_grpc import TerminalServiceStub
from energyshare.values import Number, OrderId
from energyshare.wire import Envelope, encode_envelope, split_envelope
from terminals.link import Conversation, Frame, Link, MemoryStore, Opened, Refusal, Unreadable

Stream = aio.StreamStreamCall[ConnectRequest, ConnectResponse]
Handle = Callable[[Conversation, Message | Unreadable], None]
Acknowledged = Callable[[Conversation, int], None]


class Line:
    """One terminal's link and what waits to be sent on it."""

    def __init__(self, handle: Handle, acknowledged: Acknowledged | None = None) -> None:
        self._handle = handle
        self._link = Link(_Store(acknowledged), _encode, _decode)
        self._something_to_send = asyncio.Event()

    def say(self, order_id: OrderId | None, message: Message) -> Number:
        """Number a message and have it sent."""
        self._something_to_send.set()
        return self._link.say(order_id, message)

    async def serve(self, stream: Stream) -> None:
        """Read and write until the stream ends, which is a fault; the caller cancels."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._write(stream))
            tasks.create_task(self._read(stream))

    async def _read(self, stream: Stream) -> None:
        while isinstance(response := await stream.read(), ConnectResponse):
            assert response.WhichOneof("message") == "frame", response
            self._link.take(_frame_of(response.frame), self._handle, _refused)
            if self._link.has_news:
                self._something_to_send.set()
            else:
                asyncio.get_running_loop().call_later(ACKS_WITHIN_S, self._something_to_send.set)
        raise ConnectionError("the cloud ended the stream")

    async def _write(self, stream: Stream) -> None:
        while True:
            await self._something_to_send.wait()
            self._something_to_send.clear()
            while (frame := self._link.next_frame()) is not None:
                await stream.write(ConnectRequest(frame=_proto_of(frame)))


@asynccontextmanager
async def connected(line: Line, address: str, party: Party, ca: bytes) -> AsyncIterator[asyncio.Task[None]]:
    """Open a stream for a terminal and serve it while the body runs; the task given ends only by a fault."""
    credentials = grpc.ssl_channel_credentials(ca, party.tls_key, party.certificate)
    async with aio.secure_channel(address, credentials, options=CHANNEL_OPTIONS) as channel:
        stream = TerminalServiceStub(channel).Connect()
        await stream.write(ConnectRequest(hello=Hello(incarnation=os.urandom(16), program="benchmarks")))
        welcome = await stream.read()
        assert isinstance(welcome, ConnectResponse), "the cloud ended the stream"
        assert welcome.WhichOneof("message") == "welcome", welcome
        serving = asyncio.create_task(line.serve(stream))
        try:
            yield serving
        finally:
            serving.cancel()
            await asyncio.gather(serving, return_exceptions=True)
            stream.cancel()
            await stream.code()  # a call that nobody awaits is never freed (grpc#43462)


class _Store(MemoryStore):
    """Tells of acknowledgements, which is what says that a step of an order is done."""

    def __init__(self, acknowledged: Acknowledged | None) -> None:
        super().__init__()
        self._tell = acknowledged

    def acknowledged(self, conversation: Conversation, number: int) -> None:
        super().acknowledged(conversation, number)
        if self._tell is not None:
            self._tell(conversation, number)


def _refused(refusal: Refusal) -> None:
    raise AssertionError(f"the cloud knows no such conversation: {refusal}")


def _encode(conversation: Conversation, number: Number, message: Message) -> bytes:
    return encode_envelope(Envelope(conversation, number, message))


def _decode(raw: bytes) -> Opened:
    header, body = split_envelope(raw)
    return Opened(header.order_id, header.number, body() if body else Unreadable("it is newer than this program"))


def _frame_of(proto: FrameProto) -> Frame:
    refusals = [Refusal(OrderId(r.order_id), r.number, r.reason, dict(r.metadata)) for r in proto.refusals]
    acks = {OrderId(ack.order_id) if ack.order_id else None: ack.number for ack in proto.acks}
    return Frame(list(proto.envelopes), acks, refusals)


def _proto_of(frame: Frame) -> FrameProto:
    proto = FrameProto(envelopes=frame.envelopes)
    for conversation, number in frame.acks.items():
        proto.acks.add(order_id=conversation or b"", number=number)
    return proto
