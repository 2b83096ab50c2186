"""The streams of terminals: frames in, frames out.

Reading and writing are two tasks of one stream. What a frame brings is checked at once, or in a thread if it is long, and
handed to the processor in its order; nothing is acknowledged here. What is to be sent waits in the mailbox and leaves in frames
that carry all of it. A mailbox that its terminal does not empty is bounded: the stream is dropped, and the outbox keeps the
rest. From the Hello of a newer stream on, nothing of a terminal's older one is taken any more.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import grpc

from cloud.bus.local import LocalBus
from cloud.bus.mail import Outgoing, StatelessRefusal
from cloud.gateway.checks import Checks
from cloud.gateway.identity import Authenticated, Directory
from cloud.greeting import Greeting, begin_anew, greet
from cloud.items import Acknowledged, Presence
from cloud.processor import BATCH_MAX
from cloud.pump import WAITING_MAX, Pump, system_now
from cloud.store.readers import Readers
from cloud.work import Inbound
from energyshare.errors import Reason, Rejected
from energyshare.frames import ACKS_WITHIN_S, FRAME_ENVELOPES_MAX, fitting
from energyshare.v1 import stream_pb2, stream_pb2_grpc
from energyshare.values import Incarnation, Number, OrderId, ProviderId, TerminalId

logger = logging.getLogger(__name__)

MAILBOX_MAX = 20_000
INLINE_BYTES_MAX = 64 * 1024  # more is checked off the event loop: so much holds 200 signatures at most, some 15 ms
HELLO_WITHIN_S = 10
WRITE_WITHIN_S = 30
RECHECK_S = 15

Request = stream_pb2.ConnectRequest
Response = stream_pb2.ConnectResponse
Context = grpc.aio.ServicerContext[Request, Response]


class Fault(Exception):
    """The stream ends: its protocol or identity is at fault, or it was displaced."""

    def __init__(self, reason: str, metadata: dict[str, str] | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.metadata = metadata or {}


class StreamMailbox:
    """What waits to be sent on one stream. Until the outbox was read, live envelopes are held back behind it."""

    def __init__(self) -> None:
        self._envelopes: list[bytes] = []
        self._acks: dict[bytes, int] = {}
        self._refusals: list[StatelessRefusal] = []
        self._held_back: list[Outgoing] | None = []
        self._replayed: dict[bytes, int] = {}
        self._changed = asyncio.Event()
        self._left = asyncio.Event()
        self._acks_due: asyncio.TimerHandle | None = None
        self.writing_since: float | None = None
        self.fault: Fault | None = None

    def put_envelope(self, envelope: Outgoing) -> None:
        """Take a committed envelope."""
        if self._held_back is not None:
            self._held_back.append(envelope)
            if len(self._held_back) > MAILBOX_MAX:
                self.close(Fault("TOO_SLOW"))
            return
        self._envelopes.append(envelope.raw)
        if len(self._envelopes) > MAILBOX_MAX:
            self.fault = self.fault or Fault("TOO_SLOW")
        self._changed.set()

    def put_ack(self, order_id: bytes, number: int) -> None:
        """Take an acknowledgement; a later one of the conversation replaces it."""
        self._acks[order_id] = number
        if self._acks_due is None:
            self._acks_due = asyncio.get_running_loop().call_later(ACKS_WITHIN_S, self._send_acks)

    def _send_acks(self) -> None:
        self._acks_due = None
        if self._acks:
            self._changed.set()

    def put_refusal(self, refusal: StatelessRefusal) -> None:
        """Take a refusal."""
        self._refusals.append(refusal)
        self._changed.set()

    def displace(self) -> None:
        """Close: a newer stream of the terminal has come."""
        self.close(Fault("DISPLACED"))

    def close(self, fault: Fault) -> None:
        """End the stream with a Goodbye."""
        self.fault = self.fault or fault
        self._changed.set()

    def replay(self, order_id: bytes, number: int, raw: bytes) -> None:
        """Take an envelope from the outbox."""
        self._replayed[order_id] = number
        self._envelopes.append(raw)
        self._changed.set()

    async def drained(self) -> None:
        """Wait until what the outbox gave has left, so that a long one is never held here as a whole."""
        while self._envelopes and self.fault is None:
            self._left.clear()
            await self._left.wait()

    def go_live(self) -> None:
        """Let live envelopes through: first those held back that the outbox did not bring."""
        held_back, self._held_back = self._held_back or [], None
        for envelope in held_back:
            if envelope.number > self._replayed.get(envelope.order_id or b"", 0):
                self.put_envelope(envelope)
        self._replayed.clear()

    async def next_frame(self) -> stream_pb2.Frame:
        """Wait for something to send; raises the Fault that closed the mailbox."""
        await self._changed.wait()
        if self.fault is not None:
            raise self.fault
        self._left.set()
        count = fitting(self._envelopes)
        frame = stream_pb2.Frame(envelopes=self._envelopes[:count])
        del self._envelopes[:count]
        for order_id in list(self._acks)[:FRAME_ENVELOPES_MAX]:
            frame.acks.add(order_id=order_id, number=self._acks.pop(order_id))
        for refusal in self._refusals:
            frame.refusals.add(
                order_id=refusal.order_id or b"", number=refusal.number, reason=refusal.reason, metadata=refusal.metadata
            )
        self._refusals.clear()
        if not self._envelopes and not self._acks:
            self._changed.clear()
        return frame


class TerminalStreams(stream_pb2_grpc.TerminalServiceServicer):
    """TerminalService: one stream a terminal."""

    def __init__(
        self,
        directory: Directory,
        checks: Checks,
        pump: Pump,
        bus: LocalBus,
        readers: Readers,
        incarnation: Incarnation,
        pool: ThreadPoolExecutor,
    ) -> None:
        self._directory = directory
        self._checks = checks
        self._pump = pump
        self._bus = bus
        self._readers = readers
        self._incarnation = incarnation
        self._pool = pool
        self._open: set[StreamMailbox] = set()
        self._latest: dict[TerminalId, StreamMailbox] = {}

    async def Connect(  # type: ignore[override]  # written to through the context, not by yielding
        self, request_iterator: AsyncIterator[Request], context: Context
    ) -> None:
        """Serve a stream until its terminal says goodbye, breaks off, or is at fault."""
        try:
            first = await _first_of(request_iterator)  # before any Goodbye: one that crosses with the Hello would be lost
            caller = self._directory.authenticate(context, system_now())
            greeting = _hello(caller, first)
            with self._latest_of(greeting.terminal) as mailbox:
                welcome = await self._greet(caller, greeting, mailbox)
                await context.write(Response(welcome=welcome))
                await self._serve(caller, request_iterator, context, mailbox)
        except Rejected as refusal:
            await _say_goodbye(context, Fault(refusal.reason, dict(refusal.metadata)))
        except Fault as fault:
            await _say_goodbye(context, fault)
        except (grpc.RpcError, asyncio.InvalidStateError):
            logger.debug("a stream broke off")
        except Exception:
            logger.exception("a stream failed")
            await _say_goodbye(context, Fault("INTERNAL"))

    def close_all(self) -> None:
        """Tell every stream that the node stops."""
        for mailbox in self._open:
            mailbox.close(Fault("SHUTDOWN"))

    def revoke(self, terminal: TerminalId) -> None:
        """End the stream of a terminal whose identity no longer stands, at once."""
        self._directory.forget(terminal)
        if (mailbox := self._latest.get(terminal)) is not None:
            mailbox.close(Fault(Reason.IDENTITY_REVOKED))

    @contextmanager
    def _latest_of(self, terminal: TerminalId) -> Iterator[StreamMailbox]:
        """Make a terminal's mailbox, displacing its older stream from now on."""
        before, mailbox = self._latest.get(terminal), StreamMailbox()
        self._latest[terminal] = mailbox
        if before is not None:
            before.displace()
        try:
            yield mailbox
        finally:
            if self._latest.get(terminal) is mailbox:
                del self._latest[terminal]

    async def _greet(self, caller: Authenticated, greeting: Greeting, mailbox: StreamMailbox) -> stream_pb2.Welcome:
        """Let the numbers go on, or begin all conversations anew if one side has lost them."""
        goes_on = await self._pump.call(lambda work, now: greet(work, greeting, self._incarnation))
        if not goes_on:
            await self._acknowledgements_taken()
            self._require_latest(greeting.terminal, mailbox)
            await self._pump.call(lambda work, now: begin_anew(work, greeting, now))
            logger.info("all conversations of %s begin anew", caller.peer.name)
        return stream_pb2.Welcome(incarnation=self._incarnation, frame_envelopes_max=FRAME_ENVELOPES_MAX, restarted=not goes_on)

    def _require_latest(self, terminal: TerminalId, mailbox: StreamMailbox) -> None:
        if self._latest.get(terminal) is not mailbox:
            raise Fault("DISPLACED")

    async def _acknowledgements_taken(self) -> None:
        """Wait until no acknowledgement waits that speaks of the old numbers: each batch takes up to BATCH_MAX of them."""
        for _ in range(WAITING_MAX // BATCH_MAX + 1):
            await self._pump.call(lambda work, now: None)

    async def _serve(
        self, caller: Authenticated, requests: AsyncIterator[Request], context: Context, mailbox: StreamMailbox
    ) -> None:
        terminal = caller.peer.terminal
        self._require_latest(terminal, mailbox)
        self._bus.open(terminal, mailbox)
        self._open.add(mailbox)
        if caller.peer.role == "provider":
            self._pump.submit(Presence(ProviderId(terminal), online=True))
        tasks = [
            asyncio.ensure_future(coroutine)
            for coroutine in (
                self._read(caller, requests, mailbox),
                self._write(mailbox, context),
                self._replay(caller, mailbox),
                self._recheck(caller, mailbox),
            )
        ]
        try:
            await _first_to_end(tasks[:2], tasks)
        finally:
            self._open.discard(mailbox)
            if self._bus.close(terminal, mailbox) and caller.peer.role == "provider":
                self._pump.submit(Presence(ProviderId(terminal), online=False))

    async def _read(self, caller: Authenticated, requests: AsyncIterator[Request], mailbox: StreamMailbox) -> None:
        async for request in requests:
            kind = request.WhichOneof("message")
            if kind == "goodbye":
                return
            if kind != "frame" or max(len(request.frame.envelopes), len(request.frame.acks)) > FRAME_ENVELOPES_MAX:
                raise Fault("PROTOCOL", {"expected": f"a frame of at most {FRAME_ENVELOPES_MAX} envelopes and acks"})
            self._directory.require_current(caller, system_now())
            checked = await self._checked(caller, list(request.frame.envelopes))
            self._require_latest(caller.peer.terminal, mailbox)
            for ack in request.frame.acks:
                order_id = OrderId(ack.order_id) if ack.order_id else None
                self._pump.submit(Acknowledged(caller.peer.terminal, order_id, Number(ack.number)))
            for inbound in checked:
                self._pump.submit(inbound)
            await self._pump.room()

    async def _checked(self, caller: Authenticated, raws: list[bytes]) -> list[Inbound]:
        """Check a frame's envelopes; those of a long one beside the loop, for a hop costs more than a signature."""
        if sum(map(len, raws)) <= INLINE_BYTES_MAX:
            return self._checks.open_all(caller.peer, raws)
        return await asyncio.get_running_loop().run_in_executor(self._pool, self._checks.open_all, caller.peer, raws)

    async def _write(self, mailbox: StreamMailbox, context: Context) -> None:
        while True:
            frame = await mailbox.next_frame()
            mailbox.writing_since = time.monotonic()
            await context.write(Response(frame=frame))
            mailbox.writing_since = None

    async def _replay(self, caller: Authenticated, mailbox: StreamMailbox) -> None:
        """Send again what the terminal has not acknowledged, page by page, then go live."""
        after: tuple[bytes, int] = (b"", 0)
        loop = asyncio.get_running_loop()
        while True:
            page = await loop.run_in_executor(self._pool, self._readers.outbox, caller.peer.terminal, after)
            for envelope in page:
                mailbox.replay(envelope.order_id or b"", envelope.number, envelope.raw)
            await mailbox.drained()
            if not page:
                break
            after = (page[-1].order_id or b"", page[-1].number)
        mailbox.go_live()

    async def _recheck(self, caller: Authenticated, mailbox: StreamMailbox) -> None:
        """End a quiet stream too when its certificate no longer stands, and one whose terminal does not read."""
        while True:
            await asyncio.sleep(RECHECK_S)
            self._directory.require_current(caller, system_now())
            if mailbox.writing_since is not None and time.monotonic() - mailbox.writing_since > WRITE_WITHIN_S:
                raise Fault("TOO_SLOW")


async def _first_of(requests: AsyncIterator[Request]) -> Request:
    try:
        return await asyncio.wait_for(anext(requests), HELLO_WITHIN_S)
    except (TimeoutError, StopAsyncIteration):
        raise Fault("NO_HELLO") from None


def _hello(caller: Authenticated, first: Request) -> Greeting:
    hello = first.hello
    if first.WhichOneof("message") != "hello" or len(hello.incarnation) != 16 or len(hello.known_incarnation) not in (0, 16):
        raise Fault("NO_HELLO")
    known = Incarnation(hello.known_incarnation) if hello.known_incarnation else None
    return Greeting(caller.peer.terminal, Incarnation(hello.incarnation), known)


async def _first_to_end(watched: Sequence[asyncio.Future[None]], tasks: Sequence[asyncio.Future[None]]) -> None:
    """Wait until a watched task ends or any fails; ends them all, and raises what the first to fail raised."""
    pending = set(tasks)
    try:
        while True:
            done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
            if any(task in done for task in watched):
                return
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _say_goodbye(context: Context, fault: Fault) -> None:
    goodbye = stream_pb2.Goodbye(reason=fault.reason, metadata=fault.metadata)
    try:
        await asyncio.wait_for(context.write(Response(goodbye=goodbye)), 2)
    except (TimeoutError, grpc.RpcError, asyncio.InvalidStateError):
        logger.debug("a terminal was gone before its goodbye")
