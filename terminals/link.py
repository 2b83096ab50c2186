"""The link's logic, without I/O: numbers, acknowledgements, repeats.

A `Link` is one side of all conversations with the other side. It turns frames that come in into messages to deliver, each
exactly once and in the order of its conversation, and what is to be said into frames. What it knows is durable in its store:
a received message, its effect and the answers to it go into one transaction, and only then is it acknowledged. After a
reconnect everything that was not acknowledged is sent again. When one side has lost what it knew, all numbers begin anew on
both (ADR-0007). Two of them joined make a test.
"""

from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from typing import Protocol

from msgspec import Struct, field

from energyshare.errors import Reason
from energyshare.frames import FRAME_ENVELOPES_MAX, fitting
from energyshare.messages import Message
from energyshare.values import Number, OrderId

Conversation = OrderId | None
"""An order's, or None for the conversation with the terminal itself."""


class Head(Struct, frozen=True):
    """How far a conversation has come in both directions."""

    last_in: int = 0
    last_in_hash: bytes = b""
    last_out: int = 0


class Waiting(Struct, frozen=True):
    """An envelope that the other side has not acknowledged."""

    conversation: Conversation
    number: int
    raw: bytes


class Refusal(Struct, frozen=True):
    """The other side has no such conversation; takes the place of an acknowledgement."""

    conversation: Conversation
    number: int
    reason: str
    metadata: Mapping[str, str]


class Frame(Struct, frozen=True):
    """A batch of envelopes and acknowledgements."""

    envelopes: Sequence[bytes] = ()
    acks: Mapping[Conversation, int] = field(default_factory=dict)
    refusals: Sequence[Refusal] = ()


class Unreadable(Struct, frozen=True):
    """A message that does not hold to the contract, or is newer than this program; its number counts all the same."""

    problem: str


class Opened(Struct, frozen=True):
    """An envelope taken apart."""

    conversation: Conversation
    number: int
    message: Message | Unreadable


class LinkStore(Protocol):
    """What a link keeps; in a journal, or in memory where losing it is meant."""

    def head(self, conversation: Conversation) -> Head:
        """Say how far a conversation has come."""

    def received(self, conversation: Conversation, number: int, envelope_hash: bytes) -> None:
        """Count an envelope in."""

    def append(self, conversation: Conversation, number: int, raw: bytes) -> None:
        """Keep an envelope until it is acknowledged."""

    def acknowledged(self, conversation: Conversation, number: int) -> None:
        """Forget the envelopes of a conversation up to a number."""

    def waiting(self) -> Sequence[Waiting]:
        """List what is not acknowledged, each conversation in its order."""

    def forget(self, conversation: Conversation) -> None:
        """Forget the numbers of a conversation of which nothing waits."""

    def begin_anew(self) -> None:
        """Forget all numbers and all envelopes."""


Deliver = Callable[[Conversation, Message | Unreadable], None]
Refused = Callable[[Refusal], None]
Encode = Callable[[Conversation, Number, Message], bytes]
Decode = Callable[[bytes], Opened]


class Link:
    """One side of the conversations. The caller wraps `take` and `say` in a transaction of the store."""

    def __init__(self, store: LinkStore, encode: Encode, decode: Decode) -> None:
        self._store = store
        self._encode = encode
        self._decode = decode
        self._unsent: list[bytes] = []
        self._acks: dict[Conversation, int] = {}

    def reconnected(self) -> None:
        """Begin a new stream: everything that was not acknowledged is to be sent again."""
        self._unsent = [waiting.raw for waiting in self._store.waiting()]
        self._acks.clear()

    def begin_anew(self) -> Sequence[Opened]:
        """Forget all numbers; gives what the other side never acknowledged, each conversation in its order."""
        waiting = [self._decode(waiting.raw) for waiting in self._store.waiting()]
        self._store.begin_anew()
        self._unsent.clear()
        self._acks.clear()
        return waiting

    def say(self, conversation: Conversation, message: Message) -> Number:
        """Number a message, keep it, and have it sent."""
        number = Number(self._store.head(conversation).last_out + 1)
        raw = self._encode(conversation, number, message)
        self._store.append(conversation, number, raw)
        self._unsent.append(raw)
        return number

    @property
    def has_news(self) -> bool:
        """Whether more than acknowledgements is to be sent."""
        return bool(self._unsent)

    def undo(self, said: int) -> None:
        """Forget what was said after a point, when the store has undone it."""
        del self._unsent[said:]

    @property
    def said(self) -> int:
        """Mark the present point, for `undo`."""
        return len(self._unsent)

    def take(self, frame: Frame, deliver: Deliver, refused: Refused) -> None:
        """Take a frame: forget what it acknowledges, deliver what is next in its conversation."""
        for conversation, number in frame.acks.items():
            self._store.acknowledged(conversation, number)
        for refusal in frame.refusals:
            self._store.acknowledged(refusal.conversation, refusal.number)
            if refusal.reason == Reason.UNKNOWN_ORDER:  # the other side holds nothing of it, so it may begin there later
                self._store.forget(refusal.conversation)
            refused(refusal)
        for raw in frame.envelopes:
            self._take_envelope(raw, deliver)

    def next_frame(self) -> Frame | None:
        """Give what is to be sent; None when there is nothing."""
        if not self._unsent and not self._acks:
            return None
        count = fitting(self._unsent)
        envelopes, self._unsent = self._unsent[:count], self._unsent[count:]
        acks = {conversation: self._acks.pop(conversation) for conversation in list(self._acks)[:FRAME_ENVELOPES_MAX]}
        return Frame(tuple(envelopes), acks)

    def _take_envelope(self, raw: bytes, deliver: Deliver) -> None:
        opened = self._decode(raw)
        head = self._store.head(opened.conversation)
        if opened.number == head.last_in + 1:
            deliver(opened.conversation, opened.message)
            self._store.received(opened.conversation, opened.number, sha256(raw).digest())
            self._acks[opened.conversation] = opened.number
        else:  # came before, or left a gap: say how far we are
            self._acks[opened.conversation] = head.last_in


class MemoryStore:
    """A link store that lives as long as its process; for tests and load generators, which say so."""

    def __init__(self) -> None:
        self._heads: dict[Conversation, Head] = {}
        self._waiting: dict[Conversation, dict[int, bytes]] = {}

    def head(self, conversation: Conversation) -> Head:
        """Say how far a conversation has come."""
        return self._heads.get(conversation, Head())

    def received(self, conversation: Conversation, number: int, envelope_hash: bytes) -> None:
        """Count an envelope in."""
        self._heads[conversation] = Head(number, envelope_hash, self.head(conversation).last_out)

    def append(self, conversation: Conversation, number: int, raw: bytes) -> None:
        """Keep an envelope until it is acknowledged."""
        head = self.head(conversation)
        self._heads[conversation] = Head(head.last_in, head.last_in_hash, number)
        self._waiting.setdefault(conversation, {})[number] = raw

    def acknowledged(self, conversation: Conversation, number: int) -> None:
        """Forget the envelopes of a conversation up to a number."""
        waiting = self._waiting.get(conversation, {})
        for held in [n for n in waiting if n <= number]:
            del waiting[held]

    def waiting(self) -> Sequence[Waiting]:
        """List what is not acknowledged, each conversation in its order."""
        return [Waiting(c, n, raw) for c, held in self._waiting.items() for n, raw in sorted(held.items())]

    def forget(self, conversation: Conversation) -> None:
        """Forget the numbers of a conversation of which nothing waits."""
        if not self._waiting.get(conversation):
            self._heads.pop(conversation, None)

    def begin_anew(self) -> None:
        """Forget all numbers and all envelopes."""
        self._heads.clear()
        self._waiting.clear()
