"""Two links joined: whatever is lost, repeated or crashes, every message is delivered exactly once, in its order."""

import copy
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from energyshare.errors import Reason, Rejected
from energyshare.frames import FRAME_ENVELOPES_MAX
from energyshare.messages import Declined, Message, NotSelected
from energyshare.values import AssetId, Number, OrderId
from energyshare.wire import Envelope, encode_envelope, split_envelope
from terminals.link import Conversation, Frame, Link, MemoryStore, Opened, Refusal, Unreadable

ORDERS: tuple[Conversation, ...] = (None, OrderId(b"\x01" * 16), OrderId(b"\x02" * 16))
Delivered = list[tuple[Conversation, str]]


def encode(conversation: Conversation, number: Number, message: Message) -> bytes:
    return encode_envelope(Envelope(conversation, number, message))


def decode(raw: bytes) -> Opened:
    header, body = split_envelope(raw)
    assert body is not None
    return Opened(header.order_id, header.number, body())


def word(text: str) -> Message:
    return Declined(AssetId(b"\x00" * 16), text)


@dataclass
class Party:
    """One side: its link, what is durable, and what was delivered to it, which is durable too.

    A crash loses the link and all that was not committed.
    """

    store: MemoryStore = field(default_factory=MemoryStore)
    delivered: Delivered = field(default_factory=list)
    answers: bool = False

    def __post_init__(self) -> None:
        self.link = Link(self.store, encode, decode)

    def say(self, conversation: Conversation, text: str) -> None:
        self.link.say(conversation, word(text))

    def take(self, frame: Frame) -> None:
        self.link.take(frame, self._deliver, _no_refusal)

    def take_and_crash(self, frame: Frame) -> None:
        """Take a frame, and lose power before the transaction is committed."""
        store, delivered = copy.deepcopy(self.store), list(self.delivered)
        self.take(frame)
        self.store, self.delivered = store, delivered
        self.__post_init__()

    def crash(self) -> None:
        """Lose power between two transactions."""
        self.__post_init__()

    def _deliver(self, conversation: Conversation, message: Message | Unreadable) -> None:
        assert isinstance(message, Declined)
        self.delivered.append((conversation, message.reason))
        if self.answers:
            self.say(conversation, f"answer to {message.reason}")


def _no_refusal(refusal: Refusal) -> None:
    raise AssertionError(refusal)


@dataclass
class Joined:
    """Two parties and the streams between them."""

    one: Party = field(default_factory=Party)
    other: Party = field(default_factory=lambda: Party(answers=True))

    def reconnect(self) -> None:
        self.one.link.reconnected()
        self.other.link.reconnected()

    def exchange(self) -> None:
        """Let frames pass until both are quiet."""
        while self.pass_frame(self.one, self.other) or self.pass_frame(self.other, self.one):
            pass

    def pass_frame(self, sender: Party, receiver: Party) -> bool:
        frame = sender.link.next_frame()
        if frame is not None:
            receiver.take(frame)
        return frame is not None


@dataclass(frozen=True)
class Say:
    """The first party says something in a conversation."""

    conversation: Conversation


@dataclass(frozen=True)
class Pass:
    """A frame passes, or is lost with its stream, or the receiver crashes on it before or after its commit."""

    forth: bool
    fate: str


@dataclass(frozen=True)
class Crash:
    """A party starts again."""

    is_one: bool


@dataclass(frozen=True)
class Loss:
    """A party loses all that it stored, and both begin anew."""

    is_one: bool


def _acts() -> st.SearchStrategy[Say | Pass | Crash]:
    fates = st.sampled_from(("arrives", "arrives", "arrives", "is lost", "crashes before commit", "crashes after commit"))
    return st.one_of(
        st.builds(Say, st.sampled_from(ORDERS)),
        st.builds(Pass, st.booleans(), fates),
        st.builds(Crash, st.booleans()),
    )


@given(st.lists(_acts(), max_size=40))
@settings(max_examples=150, deadline=None)
def test_every_message_and_every_answer_is_delivered_once_and_in_order(acts: list[Say | Pass | Crash]) -> None:
    joined, said = Joined(), dict.fromkeys(ORDERS, 0)
    for act in acts:
        match act:
            case Say(conversation):
                said[conversation] += 1
                joined.one.say(conversation, f"word {said[conversation]}")
            case Pass(forth, fate):
                _pass(joined, forth, fate)
            case Crash(is_one):
                (joined.one if is_one else joined.other).crash()
                joined.reconnect()
    joined.reconnect()
    joined.exchange()
    for conversation, count in said.items():
        words = [f"word {n}" for n in range(1, count + 1)]
        assert _heard(joined.other, conversation) == words
        assert _heard(joined.one, conversation) == [f"answer to {text}" for text in words]
    assert not joined.one.store.waiting()
    assert not joined.other.store.waiting()


def _pass(joined: Joined, forth: bool, fate: str) -> None:
    sender, receiver = (joined.one, joined.other) if forth else (joined.other, joined.one)
    frame = sender.link.next_frame()
    if frame is None:
        return
    match fate:
        case "arrives":
            receiver.take(frame)
            return
        case "crashes before commit":
            receiver.take_and_crash(frame)
        case "crashes after commit":
            receiver.take(frame)
            receiver.crash()
    joined.reconnect()


@given(st.lists(st.one_of(_acts(), st.builds(Loss, st.booleans())), max_size=40))
@settings(max_examples=100, deadline=None)
def test_after_a_loss_only_what_its_speaker_forgot_is_missing_and_the_rest_was_heard_in_order(
    acts: list[Say | Pass | Crash | Loss],
) -> None:
    joined, said = Joined(other=Party()), dict.fromkeys(ORDERS, 0)
    lost: set[tuple[Conversation, str]] = set()
    for act in acts:
        match act:
            case Say(conversation):
                said[conversation] += 1
                joined.one.say(conversation, f"word {said[conversation]}")
            case Pass(forth, fate):
                _pass(joined, forth, fate)
            case Crash(is_one):
                (joined.one if is_one else joined.other).crash()
                joined.reconnect()
            case Loss(is_one):
                lost |= _lose(joined, is_one=is_one)
    joined.reconnect()
    joined.exchange()
    for conversation, count in said.items():
        heard = list(dict.fromkeys(_heard(joined.other, conversation)))
        words = {f"word {n}" for n in range(1, count + 1)}
        assert words - set(heard) <= {word for where, word in lost if where == conversation}
        assert heard == sorted(heard, key=lambda text: int(text.removeprefix("word ")))
    assert not joined.one.store.waiting()
    assert not joined.other.store.waiting()


def _lose(joined: Joined, *, is_one: bool) -> set[tuple[Conversation, str]]:
    """Have one side lose its memory and both begin anew; gives what nobody remembers to have said."""
    lost = {(waiting.conversation, _text(waiting.raw)) for waiting in joined.one.store.waiting()} if is_one else set()
    (joined.one if is_one else joined.other).store = MemoryStore()
    joined.one.crash()
    joined.other.crash()
    for party in (joined.one, joined.other):
        for opened in party.link.begin_anew():
            assert isinstance(opened.message, Declined)
            party.say(opened.conversation, opened.message.reason)
    return lost


def _text(raw: bytes) -> str:
    message = decode(raw).message
    assert isinstance(message, Declined)
    return message.reason


@pytest.mark.parametrize(("reason", "next_number"), [("UNKNOWN_ORDER", 1), ("TOO_MANY_OPEN_ORDERS", 2)])
def test_a_conversation_that_the_other_side_never_held_begins_at_one_again(reason: str, next_number: int) -> None:
    one = Party()
    one.say(ORDERS[1], "hello")
    one.link.take(Frame(refusals=[Refusal(ORDERS[1], 1, reason, {})]), one._deliver, lambda _: None)
    assert one.link.say(ORDERS[1], word("hello again")) == next_number


def _heard(party: Party, conversation: Conversation) -> list[str]:
    return [text for where, text in party.delivered if where == conversation]


def test_a_message_is_sent_again_until_it_is_acknowledged() -> None:
    one = Party()
    one.say(None, "hello")
    first = one.link.next_frame()
    one.link.reconnected()
    assert one.link.next_frame() == first
    one.take(Frame(acks={None: 1}))
    one.link.reconnected()
    assert one.link.next_frame() is None


def test_a_repeated_message_is_acknowledged_again_and_not_delivered_again() -> None:
    one, other = Party(), Party()
    one.say(ORDERS[1], "hello")
    frame = one.link.next_frame()
    assert frame is not None
    other.take(frame)
    assert other.link.next_frame() == Frame((), {ORDERS[1]: 1})
    other.take(frame)
    assert other.link.next_frame() == Frame((), {ORDERS[1]: 1})
    assert other.delivered == [(ORDERS[1], "hello")]


def test_a_gap_is_answered_with_the_last_number_held() -> None:
    other = Party()
    other.take(Frame([encode(None, Number(1), word("first"))]))
    other.link.next_frame()
    other.take(Frame([encode(None, Number(3), word("third"))]))
    assert other.link.next_frame() == Frame((), {None: 1})
    assert other.delivered == [(None, "first")]


def test_conversations_do_not_wait_for_each_other() -> None:
    other = Party()
    other.take(Frame([encode(ORDERS[1], Number(2), word("too early")), encode(ORDERS[2], Number(1), word("hello"))]))
    assert other.delivered == [(ORDERS[2], "hello")]


def test_a_long_queue_leaves_in_frames_of_bounded_size() -> None:
    one = Party()
    for n in range(FRAME_ENVELOPES_MAX + 1):
        one.say(None, f"word {n}")
    sizes = [len(frame.envelopes) for frame in iter(one.link.next_frame, None)]
    assert sizes == [FRAME_ENVELOPES_MAX, 1]


def test_a_refusal_takes_the_place_of_an_acknowledgement() -> None:
    one, heard = Party(), list[Refusal]()
    one.say(ORDERS[1], "hello")
    refusal = Refusal(ORDERS[1], 1, "TOO_MANY_OPEN_ORDERS", {})
    one.link.take(Frame(refusals=[refusal]), one._deliver, heard.append)
    assert heard == [refusal]
    assert not one.store.waiting()


@pytest.mark.parametrize("said_before", [0, 2])
def test_what_a_failed_handler_said_is_not_sent(said_before: int) -> None:
    one = Party()
    for _ in range(said_before):
        one.say(None, "kept")
    mark = one.link.said
    one.link.say(None, NotSelected())
    one.link.undo(mark)
    frame = one.link.next_frame()
    assert len(frame.envelopes if frame else ()) == said_before


def test_a_delivery_that_fails_is_not_counted_in() -> None:
    other = Party()

    def fails(conversation: Conversation, message: Message | Unreadable) -> None:
        raise Rejected(Reason.MALFORMED)

    deliver: Callable[[Conversation, Message | Unreadable], None] = fails
    with pytest.raises(Rejected):
        other.link.take(Frame([encode(None, Number(1), word("hello"))]), deliver, _no_refusal)
    assert other.store.head(None).last_in == 0
