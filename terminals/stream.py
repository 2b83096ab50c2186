"""One stream to the cloud: frames of a link over gRPC, with its journal.

`Terminal` is what both programs build on: it gives every received message to a handler inside one journal transaction,
together with the answers, and acknowledges only then. A message that the handler fails on is kept aside, so that one bad
message never stops the rest. When the cloud says that one of them has lost what it knew, all conversations begin anew
(ADR-0007).
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Protocol

import grpc

from energyshare import __version__
from energyshare.errors import Reason, Rejected, Unavailable
from energyshare.frames import ACKS_WITHIN_S
from energyshare.messages import Message, Snapshot
from energyshare.snapshots import pages
from energyshare.v1 import stream_pb2, stream_pb2_grpc
from energyshare.values import Incarnation, Instant, Number, OrderId
from energyshare.wire import Envelope, encode_envelope, split_envelope
from terminals.identity import Identity, channel_credentials, needs_renewal, renew, utc_now
from terminals.journal import Journal
from terminals.link import Conversation, Frame, Link, Opened, Refusal, Unreadable
from terminals.recovery import is_answer_to_repeat, known_orders, renumber
from terminals.timeline import note_heard, note_said

logger = logging.getLogger(__name__)

CONNECT_WITHIN_S = 5
LEAVE_WITHIN_S = 1
KEPT = "everything is kept, and goes out when it is back"
CHANNEL_OPTIONS = (
    ("grpc.max_receive_message_length", 4 * 1024 * 1024),
    ("grpc.http2.bdp_probe", 0),
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.enable_retries", 0),
    ("grpc.initial_reconnect_backoff_ms", 200),
)


class Closed(Unavailable):
    """The cloud closed the stream and said why."""

    def __init__(self, reason: str, hint: str = "try again in a moment") -> None:
        super().__init__(f"the cloud closed the stream: {reason}", hint)
        self.reason = reason


class Handler(Protocol):
    """What a program does with messages; called inside a journal transaction."""

    def handle(self, order_id: OrderId | None, message: Message) -> None:
        """Take a message; answers are said through the terminal."""

    def refused(self, refusal: Refusal) -> None:
        """Take note that the cloud has no such conversation."""


class Terminal:
    """A journal, a link, and the stream between them and the cloud."""

    def __init__(self, identity: Identity, journal: Journal, clock: Callable[[], Instant] = utc_now) -> None:
        self.identity = identity
        self.journal = journal
        self._clock = clock
        self._link = Link(journal, _encode, _decode)
        self._changed = asyncio.Event()
        self._something_to_send = asyncio.Event()
        self._writing: asyncio.Task[None] | None = None
        self._leaving = False
        self.is_connected = False

    def say(self, order_id: OrderId | None, message: Message) -> Number:
        """Say a message, inside a journal transaction; it leaves when that is committed and a stream is open."""
        number = self._link.say(order_id, message)
        note_said(self.journal, order_id, self._clock(), message)
        self._something_to_send.set()
        return number

    async def renew_if_needed(self, *, at_once: bool = False) -> None:
        """Renew the certificate when its last third has begun; a renewal that fails matters only once it has expired."""
        if not at_once and not needs_renewal(self.identity, utc_now()):
            return
        try:
            self.identity = await renew(self.identity)
        except (Unavailable, Rejected) as error:
            if at_once or utc_now() >= self.identity.certificate_not_after:
                raise
            logger.info("the certificate could not be renewed yet: %s", error)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Make what is said and stored inside durable as one, or neither say nor store it."""
        said = self._link.said
        try:
            with self.journal.transaction():
                yield
        except BaseException:
            self._link.undo(said)
            raise

    async def changed(self) -> None:
        """Wait until a frame was taken."""
        await self._changed.wait()
        self._changed.clear()

    @property
    def is_quiet(self) -> bool:
        """Whether the cloud has acknowledged everything that was said."""
        return not self.journal.waiting()

    @asynccontextmanager
    async def connected(self, handler: Handler) -> AsyncIterator[asyncio.Task[None]]:
        """Open a stream and serve it in the background while the body runs; the task given ends when the stream does.

        Raises: Unavailable when no address answers, Closed when the cloud refuses, Rejected{INCARNATION_CHANGED}.
        """
        failure: Exception = Unavailable("this terminal knows no address of its cloud", "enroll it again")
        for address in self.identity.stream_addresses:
            async with grpc.aio.secure_channel(address, channel_credentials(self.identity), CHANNEL_OPTIONS) as channel:
                call = stream_pb2_grpc.TerminalServiceStub(channel).Connect()
                try:
                    await self._greet(call)
                except (Unavailable, grpc.aio.AioRpcError, TimeoutError, asyncio.InvalidStateError) as error:
                    call.cancel()
                    failure = _why(error, address)
                    if isinstance(failure, Closed):
                        break
                    continue
                serving = asyncio.create_task(self._serve(call, handler))
                self.is_connected = True
                try:
                    yield serving
                finally:
                    self.is_connected = False
                    await self._leave(call, serving)
                return
        raise failure

    async def _greet(self, call: "Call") -> None:
        async with asyncio.timeout(CONNECT_WITHIN_S):
            await call.write(stream_pb2.ConnectRequest(hello=self._hello()))
            answer = await call.read()
        if not isinstance(answer, stream_pb2.ConnectResponse):
            raise Unavailable("the cloud ended the stream")
        if answer.WhichOneof("message") == "goodbye":
            raise _closed(answer.goodbye)
        self._agree(Incarnation(answer.welcome.incarnation), restarted=answer.welcome.restarted)

    def _hello(self) -> stream_pb2.Hello:
        with self.journal.transaction():
            incarnation = self.journal.incarnation()
        known = self.journal.meta("cloud") or b""
        return stream_pb2.Hello(incarnation=incarnation, known_incarnation=known, program=f"energyshare/{__version__}")

    def _agree(self, cloud: Incarnation, *, restarted: bool) -> None:
        """Go on with the numbers that there are, or begin them anew, as the cloud decided.

        Raises: Rejected{INCARNATION_CHANGED} by a cloud that is another than was known, and does not say so.
        """
        known = self.journal.meta("cloud")
        if restarted:
            self._begin_anew(cloud)
        elif known is None:
            with self.journal.transaction():
                self.journal.set_meta("cloud", cloud)
        elif known != cloud:
            raise Rejected(Reason.INCARNATION_CHANGED)

    def _begin_anew(self, cloud: Incarnation) -> None:
        """Say first what is known of the orders, then once more what the cloud never acknowledged; all in one transaction."""
        with self.journal.transaction():
            unheard = self._link.begin_anew()
            self.journal.set_meta("cloud", cloud)
            for page in pages(known_orders(self.journal, self.identity, self._clock())):
                self._link.say(None, page)
            again: dict[Conversation, dict[int, Number]] = {}
            for old in unheard:
                if not isinstance(old.message, Unreadable | Snapshot):
                    again.setdefault(old.conversation, {})[old.number] = self._link.say(old.conversation, old.message)
            renumber(self.journal, again)
        logger.info("all conversations with the cloud begin anew")

    async def _serve(self, call: "Call", handler: Handler) -> None:
        self._link.reconnected()
        self._something_to_send.set()
        self._leaving = False
        self._writing = writing = asyncio.create_task(self._write(call))
        try:
            while isinstance(response := await call.read(), stream_pb2.ConnectResponse):
                if response.WhichOneof("message") == "goodbye":
                    raise _closed(response.goodbye)
                self._take(_frame_of(response.frame), handler)
        finally:
            writing.cancel()
            await asyncio.gather(writing, return_exceptions=True)

    def _take(self, frame: Frame, handler: Handler) -> None:
        """Take a frame in one transaction: messages, their effects, the answers to them."""
        with self.transaction():
            self._link.take(frame, lambda order_id, message: self._deliver(order_id, message, handler), handler.refused)
        if self._link.has_news:
            self._something_to_send.set()
        else:
            asyncio.get_running_loop().call_later(ACKS_WITHIN_S, self._something_to_send.set)
        self._changed.set()

    def _deliver(self, order_id: OrderId | None, message: Message | Unreadable, handler: Handler) -> None:
        said = self._link.said
        try:
            with self.journal.attempt():
                if isinstance(message, Unreadable):
                    raise Rejected(Reason.MALFORMED, problem=message.problem)
                if is_answer_to_repeat(self.journal, order_id, message):
                    return
                note_heard(self.journal, order_id, self._clock(), message)
                handler.handle(order_id, message)
        except Exception as error:
            logger.exception("a message could not be handled and is kept aside")
            self._link.undo(said)
            key = (order_id or b"") + self.journal.head(order_id).last_in.to_bytes(8, "big")
            self.journal.put_document("failed", key, f"{type(message).__name__}: {error!r}".encode())

    async def _write(self, call: "Call") -> None:
        while True:
            await self._something_to_send.wait()
            self._something_to_send.clear()
            while (frame := self._link.next_frame()) is not None:
                await call.write(stream_pb2.ConnectRequest(frame=_proto_of(frame)))
            if self._leaving:
                await call.write(stream_pb2.ConnectRequest(goodbye=stream_pb2.Goodbye(reason="DONE")))
                return

    async def _leave(self, call: "Call", serving: asyncio.Task[None]) -> None:
        """Let the last acknowledgements and a Goodbye leave, while the stream is still read; to stop reading cancels it."""
        self._leaving = True
        self._something_to_send.set()
        if self._writing is not None and not serving.done():
            await asyncio.wait([self._writing], timeout=LEAVE_WITHIN_S)
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)
        call.cancel()


Call = grpc.aio.StreamStreamCall[stream_pb2.ConnectRequest, stream_pb2.ConnectResponse]


def raised_by(serving: asyncio.Task[None]) -> Exception:
    """Say why a stream ended."""
    error = serving.exception() if serving.done() and not serving.cancelled() else None
    if isinstance(error, grpc.aio.AioRpcError):
        return _why(error, "the cloud")
    if isinstance(error, Exception):
        return error
    return Unavailable("the stream to the cloud broke off")


def _encode(conversation: Conversation, number: Number, message: Message) -> bytes:
    return encode_envelope(Envelope(conversation, number, message))


def _decode(raw: bytes) -> Opened:
    header, body = split_envelope(raw)
    try:
        message = body() if body else Unreadable("it is newer than this program")
    except Rejected as refusal:
        message = Unreadable(str(refusal))
    return Opened(header.order_id, header.number, message)


def _frame_of(proto: stream_pb2.Frame) -> Frame:
    return Frame(
        list(proto.envelopes),
        {_conversation(ack.order_id): ack.number for ack in proto.acks},
        [Refusal(_conversation(r.order_id), r.number, r.reason, dict(r.metadata)) for r in proto.refusals],
    )


def _proto_of(frame: Frame) -> stream_pb2.Frame:
    proto = stream_pb2.Frame(envelopes=frame.envelopes)
    for conversation, number in frame.acks.items():
        proto.acks.add(order_id=conversation or b"", number=number)
    return proto


def _conversation(order_id: bytes) -> Conversation:
    return OrderId(order_id) if order_id else None


def _closed(goodbye: stream_pb2.Goodbye) -> Exception:
    if goodbye.reason in Reason.__members__:
        return Rejected(Reason(goodbye.reason), **dict(goodbye.metadata))
    return Closed(goodbye.reason)


def _why(error: BaseException, address: str) -> Exception:
    if isinstance(error, Unavailable):
        return error
    if isinstance(error, grpc.aio.AioRpcError) and "CERTIFICATE" in (error.details() or ""):
        return Unavailable(f"{address} is not the cloud of this home's certificates", "enroll again")
    if isinstance(error, grpc.aio.AioRpcError) and error.code() is not grpc.StatusCode.UNAVAILABLE:
        return Unavailable(f"the stream to {address} failed: {error.code().name} {error.details()}", KEPT)
    return Unavailable(f"the cloud does not answer at {address}", KEPT)
