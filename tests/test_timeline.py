"""An order's history: each message as a sentence, kept in order and small, undone with what it tells of."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from energyshare.bodies import (
    AmendmentAnswerBody,
    AmendmentBody,
    EndConfirmationBody,
    EndRefusalBody,
    EndRequestBody,
    NotReturnedBody,
    Part,
    ReadingBody,
    RulingBody,
    SerialClosedBody,
    ServiceItem,
    SettlementAnswerBody,
    SettlementRequestBody,
)
from energyshare.messages import (
    Amendment,
    AmendmentAnswer,
    Award,
    Cancel,
    ConfirmEnd,
    Declined,
    Demand,
    DemandNotice,
    Dispute,
    EndConfirmed,
    Ended,
    EndRefused,
    EndRequest,
    Exclusion,
    Inventory,
    Message,
    NotReturned,
    NotSelected,
    Offer,
    OrderClosed,
    Reading,
    RejectedMessage,
    Reopened,
    Ruling,
    Screened,
    Selection,
    SerialClosed,
    Settled,
    SettlementConfirmed,
    SettlementRefused,
    SettlementRequest,
    Snapshot,
    Started,
    Voucher,
    VoucherRejected,
    Withdrawn,
)
from energyshare.records import replace
from energyshare.values import (
    AssetId,
    Currency,
    Digest,
    DurationS,
    EnergyWh,
    Epoch,
    Instant,
    Kind,
    Minor,
    Number,
    OrderId,
    OrderState,
    PartKind,
    Serial,
    later,
)
from energyshare.wire import peek, seal
from terminals.journal import Journal
from terminals.telling import Background, describe
from terminals.timeline import ENTRIES_MAX, Entry, forget, note, note_heard, note_said, timeline
from tests.device.world import DEVICE, DEVICE_GRANT, DEVICE_KEY, HOLDER, ISSUER, ISSUER_GRANT, PLATFORM, PLATFORM_GRANT
from tests.journals import JUMP_START, LOCK, Customer
from tests.terminals_world import CNY, DEMAND, NOW, ORDER, OTHER_ORDER, OUTLET, TARIFF

HASH = Digest(b"#" * 32)
KNOWN = Background(CNY, EnergyWh(0))
GARBAGE = b"\x0a\x01?"
SIGNED = {"offer", "selection", "presentable", "start_receipt", "end_receipt", "end_request", "confirmation", "refusal"} | {
    "statement",
    "amendment",
    "answer",
    "settlement_request",
    "ruling",
    "charge_record",
}


@pytest.fixture(scope="module")
def messages(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[type, Message]]:
    """One message of every type, as it would be said of a battery."""
    customer = Customer(tmp_path_factory.mktemp("messages") / "home")
    order_id = customer.settled(LOCK)
    yield {type(message): message for message in _one_of_each(customer, order_id)}
    customer.close()


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    made = Journal(tmp_path / "journal.db")
    yield made
    made.close()


@pytest.mark.parametrize("kind", get_args(Message), ids=lambda kind: kind.__name__)
def test_every_message_is_a_plain_sentence_without_hashes(messages: dict[type, Message], kind: type) -> None:
    what, detail = describe(messages[kind], KNOWN)
    assert what[0].isupper() or what[0].isdigit(), what
    assert not what.endswith("."), what
    told = f"{what}, {detail}"
    assert "can't be read" not in told
    assert "minor units" not in told
    assert not re.search(r"[0-9a-f]{16}|_|\bNone\b|b'", told), told


@pytest.mark.parametrize("kind", get_args(Message), ids=lambda kind: kind.__name__)
def test_a_message_that_carries_garbage_is_told_all_the_same(messages: dict[type, Message], kind: type) -> None:
    assert describe(_garbled(messages[kind]), KNOWN)[0]


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (
            Demand,
            ("a battery or an outlet or a service", "jump-start", "2.000 kWh", "2 h", "within 1.0 km", "for at most 9.99 CNY"),
        ),
        (Screened, ("2 assets", "12 too far away")),
        (Offer, ("Corner-Shop/lock-1", "2.71 CNY", "deposit 200.00 CNY")),
        (Declined, ("it needs more notice",)),
        (Selection, ("202.72 CNY",)),
        (Voucher, ("2.000 kWh and 2 h",)),
        (Started, ("100 % charged",)),
        (Reading, ("4 readings", "500 Wh after 30 min", "supply is off", "75 % charged")),
        (Ended, ("500 Wh in 30 min",)),
        (EndConfirmed, ("for at most 0.50 CNY",)),
        (EndRefused, ("50.00 CNY of the deposit", "the handle is broken")),
        (Amendment, ("amendment 1", "2 × spare fuse and 30 min", "52.57 CNY")),
        (SettlementRequest, ("127.20 CNY", "jump-start in 30 min")),
        (SettlementRefused, ("20.00 CNY",)),
        (Cancel, ("not needed any more",)),
        (Dispute, ("0.10 CNY", "too much")),
        (Ruling, ("30.00 CNY", "half of it was old")),
        (OrderClosed, ("expired", "the voucher ran out unused")),
        (Settled, ("0.68 CNY", "the end receipt that the device signed", "0.10 CNY disputed")),
        (RejectedMessage, ("the wallet does not hold enough (needed 5)",)),
    ],
    ids=lambda one: one.__name__ if isinstance(one, type) else "",
)
def test_amounts_energies_and_reasons_are_told(messages: dict[type, Message], kind: type, words: tuple[str, ...]) -> None:
    told = ", ".join(describe(messages[kind], KNOWN))
    for word in words:
        assert word in told


def test_an_amount_whose_currency_is_not_known_is_told_in_minor_units(messages: dict[type, Message]) -> None:
    assert describe(messages[SettlementRequest])[0] == "Settlement was asked for: 12,720 minor units"


def test_a_history_is_in_the_order_in_which_it_was_noted(journal: Journal) -> None:
    with journal.transaction():
        note_said(journal, ORDER, NOW, DEMAND)
        note_heard(journal, ORDER, later(NOW, 1), NotSelected())
        note(journal, ORDER, later(NOW, 2), "device", "opened the lock", "127.0.0.1:7450")
    said, heard, done = timeline(journal, ORDER)
    assert (said.at, said.who, said.message) == (NOW, "you", "Demand")
    assert (heard.who, heard.what) == ("cloud", "Another offer was selected")
    assert done == Entry(later(NOW, 2), "device", "opened the lock", "127.0.0.1:7450")


@pytest.mark.parametrize("kind", [Started, Reading, Ended, SerialClosed])
def test_what_a_device_signed_is_its_word_when_it_is_heard(journal: Journal, messages: dict[type, Message], kind: type) -> None:
    with journal.transaction():
        note_heard(journal, ORDER, NOW, messages[kind])
        note_said(journal, ORDER, NOW, NotSelected())
        note_said(journal, ORDER, NOW, messages[kind])
    assert [entry.who for entry in timeline(journal, ORDER)] == ["device", "you", "you"]


def test_readings_that_follow_each_other_are_one_entry_the_latest(journal: Journal, messages: dict[type, Message]) -> None:
    reading = messages[Reading]
    assert isinstance(reading, Reading)
    for last in (1, 3, 4):
        with journal.transaction():
            note_heard(journal, ORDER, later(NOW, last), replace(reading, readings=reading.readings[:last]))
    [entry] = timeline(journal, ORDER)
    assert (entry.at, entry.what) == (later(NOW, 4), "4 readings")


def test_a_reading_after_something_else_begins_a_new_entry(journal: Journal, messages: dict[type, Message]) -> None:
    for message in (messages[Reading], messages[EndRequest], messages[Reading]):
        with journal.transaction():
            note_heard(journal, ORDER, NOW, message)
    assert [entry.message for entry in timeline(journal, ORDER)] == ["Reading", "EndRequest", "Reading"]


def test_the_amounts_of_an_order_are_in_the_currency_of_its_offers(tmp_path: Path) -> None:
    customer = Customer(tmp_path / "home")
    order_id = customer.asked()
    assert timeline(customer.me.journal, order_id)[-1].what == "Settlement was asked for: 127.20 CNY"
    customer.close()


def test_what_belongs_to_no_order_is_not_kept(journal: Journal) -> None:
    with journal.transaction():
        note_said(journal, None, NOW, Inventory((OUTLET,), (TARIFF,)))
    assert journal.documents("event") == []


def test_a_transaction_that_fails_leaves_no_entry(journal: Journal) -> None:
    def fail() -> None:
        with journal.transaction():
            note_said(journal, ORDER, NOW, DEMAND)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert timeline(journal, ORDER) == []


def test_a_history_is_forgotten_alone_and_whole(journal: Journal) -> None:
    with journal.transaction():
        for order_id in (ORDER, OTHER_ORDER, ORDER):
            note_said(journal, order_id, NOW, DEMAND)
        forget(journal, ORDER)
    assert (len(timeline(journal, ORDER)), len(timeline(journal, OTHER_ORDER))) == (0, 1)
    assert (len(journal.documents("event")), len(journal.documents("events"))) == (1, 1)
    with journal.transaction():
        note_said(journal, ORDER, NOW, DEMAND)
    assert len(timeline(journal, ORDER)) == 1


def test_a_history_does_not_grow_without_end(journal: Journal) -> None:
    with journal.transaction():
        for _ in range(ENTRIES_MAX + 2):
            note_heard(journal, ORDER, NOW, NotSelected())
    assert len(timeline(journal, ORDER)) == ENTRIES_MAX


def test_what_others_wrote_can_not_steer_a_terminal(journal: Journal) -> None:
    with journal.transaction():
        note_heard(journal, ORDER, NOW, Dispute(HASH, Minor(1), "\x1b[2Jgone\r\n"))
    assert timeline(journal, ORDER)[0].detail == "�[2Jgone��"


@pytest.mark.parametrize("far", [0, 2**62, -(2**62)])
def test_a_time_that_no_calendar_has_is_told_as_the_nearest(journal: Journal, far: int) -> None:
    with journal.transaction():
        note_heard(journal, ORDER, NOW, Screened(1, (), NOW))
        note_heard(journal, ORDER, NOW, replace(DEMAND, needed_by_time=Instant(far)))
    assert len(timeline(journal, ORDER)) == 2


@examples(max_examples=20, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from([ORDER, OTHER_ORDER]), st.sampled_from(["you", "cloud", "device"]), st.text(max_size=9)))
)
def test_orders_keep_their_own_histories(noted: list[tuple[OrderId, Any, str]]) -> None:
    journal = Journal(Path(":memory:"))
    with journal.transaction():
        for order_id, who, what in noted:
            note(journal, order_id, NOW, who, what)
    for order_id in (ORDER, OTHER_ORDER):
        kept = [(entry.who, entry.what) for entry in timeline(journal, order_id)]
        assert kept == [(who, what) for of, who, what in noted if of == order_id]
    journal.close()


def _one_of_each(customer: Customer, order_id: OrderId) -> Iterator[Message]:
    kept = {part.kind: part.signed for part in customer.me.journal.parts(order_id)}
    readings = tuple(part.signed for part in customer.me.journal.parts(order_id, PartKind.READING))
    presentable = customer.order(order_id).presentable
    assert presentable is not None
    demand = replace(DEMAND, kinds=tuple(Kind), service_items=JUMP_START, price_max_minor=Minor(999))
    end = kept[PartKind.END_RECEIPT]
    assert peek(ReadingBody, readings[-1]).number == 4
    yield Inventory((OUTLET,), (TARIFF,))
    yield demand
    yield Screened(2, (Exclusion("DISTANCE", 12),), NOW)
    yield DemandNotice(demand, (OUTLET.asset_id,), NOW)
    yield Offer(kept[PartKind.OFFER], ISSUER_GRANT)
    yield Declined(AssetId(b"A" * 16), "SHORT_NOTICE")
    yield Withdrawn(HASH)
    yield Selection(kept[PartKind.SELECTION])
    yield Award(kept[PartKind.SELECTION], HOLDER.public)
    yield NotSelected()
    yield Voucher(presentable)
    yield VoucherRejected("VOUCHER_HOLDER")
    yield Started(kept[PartKind.START_RECEIPT], DEVICE_GRANT)
    yield Reading(readings, DEVICE_GRANT)
    yield EndRequest(seal(EndRequestBody(order_id, None, NOW), HOLDER).signed, end, DEVICE_GRANT)
    yield Ended(end, DEVICE_GRANT)
    yield ConfirmEnd(None, end, NOW, DEVICE_GRANT)
    yield EndConfirmed(seal(EndConfirmationBody(order_id, HASH, Minor(50)), ISSUER).signed)
    yield EndRefused(seal(EndRefusalBody(order_id, HASH, Minor(5_000), "the handle is broken"), ISSUER).signed)
    yield NotReturned(seal(NotReturnedBody(order_id, NOW), ISSUER).signed)
    closed = SerialClosedBody(DEVICE, order_id, Serial(1), Epoch(1), Number(1), NOW)
    yield SerialClosed(seal(closed, DEVICE_KEY).signed, DEVICE_GRANT)
    extra = AmendmentBody(order_id, Number(1), (ServiceItem("spare fuse", 2),), DurationS(1_800), Minor(5_257))
    yield Amendment(seal(extra, ISSUER).signed)
    yield AmendmentAnswer(seal(AmendmentAnswerBody(order_id, HASH, True), HOLDER).signed)
    asked = SettlementRequestBody(order_id, JUMP_START, DurationS(1_800), Minor(12_720))
    yield SettlementRequest(seal(asked, ISSUER).signed)
    yield SettlementConfirmed(seal(SettlementAnswerBody(order_id, HASH, Minor(0)), HOLDER).signed)
    yield SettlementRefused(seal(SettlementAnswerBody(order_id, HASH, Minor(2_000)), HOLDER).signed)
    yield Cancel("CHANGED_MY_MIND")
    yield Dispute(HASH, Minor(10), "too much")
    yield Ruling(seal(RulingBody(order_id, Minor(3_000), "half of it was old", NOW), PLATFORM).signed)
    yield OrderClosed(OrderState.EXPIRED, "NOT_STARTED")
    yield Reopened("NO_VOUCHER")
    parts = (Part(PartKind.END_RECEIPT, end),)
    yield Settled(kept[PartKind.CHARGE_RECORD], PLATFORM_GRANT, parts, Minor(10))
    yield RejectedMessage(Number(1), "INSUFFICIENT_FUNDS", {"needed": "5"})
    yield Snapshot(())


def _garbled(message: Message) -> Message:
    changes: dict[str, Any] = {name: GARBAGE for name in message.__struct_fields__ if name in SIGNED}
    if isinstance(message, Reading):
        changes["readings"] = (GARBAGE,)
    return replace(message, **changes)


def test_the_currency_is_that_of_the_cloud_and_no_other() -> None:
    assert Background(Currency("JPY")).amount(Minor(1_234)) == "1,234 JPY"
