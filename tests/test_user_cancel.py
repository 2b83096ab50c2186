"""Orders that are called off, closed or refused: what ends them, what does not, and to where they go back."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from energyshare.bodies import SerialClosedBody
from energyshare.errors import Rejected, Unavailable
from energyshare.messages import (
    Cancel,
    EndRequest,
    Offer,
    OrderClosed,
    RejectedMessage,
    Reopened,
    Selection,
    SerialClosed,
    Started,
)
from energyshare.records import replace
from energyshare.values import Instant, Kind, Minor, Number, OrderState, PartKind
from energyshare.wire import peek, seal
from terminals import timeline
from terminals.user.order import find_order, save_order
from tests.device.world import DEVICE_GRANT, ISSUER, ISSUER_GRANT, STRANGER, World
from tests.terminals_world import BATTERY, CNY, DEMAND, NOWHERE, OTHER_ORDER, of
from tests.user_world import User, voucher_message

CANCELLED = OrderClosed(OrderState.CANCELLED, "CANCELLED_BY_USER")
EXPIRED = OrderClosed(OrderState.EXPIRED, "NOT_STARTED")


@pytest.fixture
def user(tmp_path: Path) -> Iterator[User]:
    made = User(tmp_path / "journal.db")
    yield made
    made.me.journal.close()


@pytest.fixture
def device(tmp_path: Path) -> World:
    (tmp_path / "device").mkdir()
    return World(tmp_path / "device")


STAGES: dict[str, Callable[[User, World], object]] = {
    "DEMANDED": lambda user, device: user.offered(),
    "SELECTED": lambda user, device: user.selected(),
    "AUTHORIZED": lambda user, device: user.authorized(),
    "ACTIVE": lambda user, device: user.started(device),
    "ENDING": lambda user, device: (user.started(device), user.act(user.me.end(user.order_id, None))),
    "CANCELLED": lambda user, device: (user.authorized(), user.tell(CANCELLED)),
    "EXPIRED": lambda user, device: (user.authorized(), user.tell(EXPIRED)),
}


def reach(user: User, device: World, state: str) -> None:
    """Take an order as far as a state."""
    STAGES[state](user, device)
    assert user.order.state == state


# Called off by the user


@pytest.mark.parametrize("state", ["DEMANDED", "SELECTED", "AUTHORIZED"])
def test_an_order_that_has_not_started_is_asked_to_be_called_off(user: User, device: World, state: str) -> None:
    reach(user, device, state)
    assert user.cancelled() == [Cancel("TOO_FAR")]
    order = user.order
    assert (order.state, order.cancel_asked, order.cancel_reason) == (state, "USER", "TOO_FAR")
    user.tell(CANCELLED)
    assert (user.order.state, user.order.reason) == ("CANCELLED", "CANCELLED_BY_USER")


@pytest.mark.parametrize("state", ["ACTIVE", "ENDING", "CANCELLED", "EXPIRED"])
def test_an_order_that_has_started_or_ended_is_not_called_off(user: User, device: World, state: str) -> None:
    reach(user, device, state)
    with pytest.raises(Rejected, match="WRONG_STATE"):
        user.act(user.me.cancel(user.order_id, "TOO_FAR"))
    assert (user.order.state, user.order.cancel_asked) == (state, "")


def test_asking_twice_is_said_once(user: User) -> None:
    user.authorized()
    user.cancelled()
    assert user.cancelled() == []


@pytest.mark.parametrize("reason", ["", "too far", "TOO FAR", "9", "X" * 65, "é"])
def test_a_reason_is_upper_snake(user: User, reason: str) -> None:
    with pytest.raises(Rejected, match="MALFORMED"):
        user.act(user.me.cancel(user.order_id, reason))
    assert user.order.cancel_asked == ""


def test_at_the_device_the_voucher_is_burned_and_the_order_ends_at_once(user: User, device: World) -> None:
    user.authorized()
    cancel, closed = user.at(device, lambda address: user.me.cancel(user.order_id, "TOO_FAR", address))
    assert cancel == Cancel("TOO_FAR")
    assert isinstance(closed, SerialClosed)
    assert peek(SerialClosedBody, closed.statement).order_id == user.order_id
    assert user.order.state == "CANCELLED"
    assert user.parts(PartKind.SERIAL_CLOSED) == [closed.statement]
    with pytest.raises(Rejected, match="VOUCHER_USED"):
        user.at(device, lambda address: user.me.start(user.order_id, address))


def test_a_request_that_waits_is_not_repeated_at_the_device(user: User, device: World) -> None:
    user.authorized()
    user.cancelled()
    [closed] = user.at(device, lambda address: user.me.cancel(user.order_id, "TOO_FAR", address))
    assert isinstance(closed, SerialClosed)


def test_a_voucher_that_was_used_is_not_burned(user: User, device: World) -> None:
    device.start(user.authorized())
    with pytest.raises(Rejected, match="VOUCHER_USED"):
        user.at(device, lambda address: user.me.cancel(user.order_id, "TOO_FAR", address))
    assert (user.order.state, user.order.cancel_asked, user.wire.listen()) == ("AUTHORIZED", "", [])


def test_without_a_device_there_or_a_voucher_nothing_is_called_off(user: User) -> None:
    user.selected()
    with pytest.raises(Rejected, match="WRONG_STATE"):
        user.act(user.me.cancel(user.order_id, "TOO_FAR", NOWHERE))
    user.tell(voucher_message(user.voucher()))
    with pytest.raises(Unavailable):
        user.act(user.me.cancel(user.order_id, "TOO_FAR", NOWHERE))
    assert (user.order.state, user.order.cancel_asked, user.wire.listen()) == ("AUTHORIZED", "", [])


# Called off by the provider


def test_a_provider_that_cannot_come_says_so_and_the_order_waits_for_its_device(user: User) -> None:
    user.authorized()
    assert user.tell(Cancel("BROKEN_DOWN")) == []
    order = user.order
    assert (order.state, order.cancel_asked, order.cancel_reason) == ("AUTHORIZED", "PROVIDER", "BROKEN_DOWN")


@pytest.mark.parametrize("state", ["ACTIVE", "ENDING", "CANCELLED", "EXPIRED"])
def test_a_start_wins_over_the_providers_wish(user: User, device: World, state: str) -> None:
    reach(user, device, state)
    user.tell(Cancel("BROKEN_DOWN"))
    assert (user.order.state, user.order.cancel_asked) == (state, "")


# Closed by the cloud


@pytest.mark.parametrize("closed", [CANCELLED, EXPIRED])
@pytest.mark.parametrize("state", ["DEMANDED", "SELECTED", "AUTHORIZED"])
def test_what_was_not_started_is_closed(user: User, device: World, state: str, closed: OrderClosed) -> None:
    reach(user, device, state)
    user.tell(closed)
    assert (user.order.state, user.order.reason) == (closed.state.name, closed.reason)


@pytest.mark.parametrize("closed", [CANCELLED, EXPIRED])
@pytest.mark.parametrize("state", ["ACTIVE", "ENDING"])
def test_what_was_started_is_not_closed_by_a_cloud_that_has_not_heard_of_it(
    user: User, device: World, state: str, closed: OrderClosed
) -> None:
    reach(user, device, state)
    user.tell(closed)
    assert (user.order.state, user.order.reason) == (state, closed.reason)


def test_a_request_to_end_what_was_never_started_does_not_keep_it_open(user: User) -> None:
    user.authorized()
    user.act(user.me.end(user.order_id, None))
    user.tell(EXPIRED)
    assert user.order.state == "EXPIRED"


@pytest.mark.parametrize("state", ["CANCELLED", "EXPIRED"])
def test_a_start_that_comes_late_makes_an_order_active_again(user: User, device: World, state: str) -> None:
    voucher = user.authorized()
    start = device.start(voucher)
    user.tell(CANCELLED if state == "CANCELLED" else EXPIRED)
    assert user.order.state == state
    user.tell(Started(start, DEVICE_GRANT))
    assert (user.order.state, user.order.reason) == ("ACTIVE", "")


@pytest.mark.parametrize("state", ["CANCELLED", "EXPIRED"])
def test_a_voucher_that_outlived_its_order_still_opens_the_device(user: User, device: World, state: str) -> None:
    reach(user, device, state)
    said = user.at(device, lambda address: user.me.start(user.order_id, address))
    assert of(Started, said)
    assert user.order.state == "ACTIVE"


def test_a_start_receipt_of_another_voucher_does_not_open_a_closed_order(user: User, device: World) -> None:
    user.authorized()
    user.tell(EXPIRED)
    other = device.start(replace(user.voucher(), order_id=OTHER_ORDER))
    user.tell(Started(other, DEVICE_GRANT))
    assert user.order.state == "EXPIRED"
    assert "RECEIPT_FOREIGN" in user.wire.failures


# Refused by the cloud


def refused(user: User, reason: str, number: int | None = None) -> None:
    """Have the cloud refuse the last envelope, or one by its number."""
    number = user.wire.numbers[-1] if number is None else number
    user.tell(RejectedMessage(Number(number), reason, {"why": "so"}))


def test_a_selection_that_is_refused_leaves_the_offers_standing(user: User) -> None:
    user.selected()
    refused(user, "INSUFFICIENT_FUNDS")
    order = user.order
    assert (order.state, order.selected, order.kind) == ("DEMANDED", None, "")
    assert (order.reason, order.metadata, order.refused) == ("INSUFFICIENT_FUNDS", {"why": "so"}, "SELECTION")
    user.me.select(user.order_id, 1)
    assert (user.order.state, user.order.reason, user.order.refused) == ("SELECTED", "", "")


def test_a_selection_is_gone_back_on_also_when_all_numbers_began_anew(user: User) -> None:
    user.selected()
    refused(user, "INSUFFICIENT_FUNDS", number=77)
    assert (user.order.state, user.order.selected) == ("DEMANDED", None)


def test_a_cancellation_that_is_refused_leaves_the_selection_standing(user: User) -> None:
    user.selected()
    user.cancelled()
    refused(user, "ORDER_MOVED_ON")
    order = user.order
    assert (order.state, order.cancel_asked, order.refused) == ("SELECTED", "", "CANCEL")


@pytest.mark.parametrize("before", ["AUTHORIZED", "ACTIVE"])
def test_an_end_that_is_refused_leaves_the_order_where_it_was(user: User, device: World, before: str) -> None:
    reach(user, device, before)
    [said] = user.act(user.me.end(user.order_id, None))
    assert isinstance(said, EndRequest)
    refused(user, "WRONG_STATE")
    order = user.order
    assert (order.state, order.requested_end, order.refused) == (before, False, "END")


@pytest.mark.parametrize("state", ["DEMANDED", "AUTHORIZED", "ACTIVE", "ENDING", "CANCELLED", "EXPIRED"])
def test_a_refusal_of_what_is_not_remembered_changes_no_state(user: User, device: World, state: str) -> None:
    reach(user, device, state)
    refused(user, "ORDER_MOVED_ON", number=77)
    assert (user.order.state, user.order.reason, user.order.refused) == (state, "ORDER_MOVED_ON", "")


def test_a_refusal_that_comes_late_changes_no_state(user: User) -> None:
    user.selected()
    selection = user.wire.numbers[-1]
    user.tell(voucher_message(user.voucher()))
    refused(user, "OFFER_EXPIRED", number=selection)
    assert user.order.state == "AUTHORIZED"


def test_a_reopened_order_is_selected_anew_and_its_latest_selection_counts(user: User, device: World) -> None:
    user.selected()
    user.tell(Reopened("NO_VOUCHER"))
    assert (user.order.state, user.order.selected, user.order.kind) == ("DEMANDED", None, "")
    user.now = Instant(user.now + 1_000_000)
    user.me.select(user.order_id, 1)
    [again] = of(Selection, user.wire.listen())
    latest = user.me.journal.part(user.order_id, PartKind.SELECTION)
    assert latest is not None
    assert latest.signed == again.selection


# What is known of orders


def test_offers_of_all_kinds_are_numbered_together_and_each_has_its_maximum(user: User) -> None:
    battery = replace(BATTERY, deposit_minor=Minor(20_000))
    for offer in (user.offer(), user.offer(asset=battery), user.offer(asset=replace(BATTERY, name="lock-2"))):
        user.tell(Offer(seal(offer, ISSUER).signed, ISSUER_GRANT))
    most = user.me.maximum(user.order_id, 2)
    assert (most.charge.currency, most.deposit.amount_minor) == (CNY, 20_000)
    assert most.hold.amount_minor == user.order.offers[1].hold_minor == most.charge.amount_minor + 20_000
    assert user.me.maximum(user.order_id, 3).deposit.amount_minor == 0
    user.me.select(user.order_id, 2)
    assert user.order.kind == Kind.BATTERY.name
    for index in (0, 4, -1):
        with pytest.raises(Rejected, match="OFFER_UNKNOWN"):
            user.me.maximum(user.order_id, index)


def test_without_a_number_the_order_that_waits_is_meant(user: User) -> None:
    with pytest.raises(Rejected, match="open 2"):
        _second(user).me.numbered(None)
    assert user.me.numbered(None, waits=lambda order: order.number == 2) != user.order_id
    with pytest.raises(Rejected, match="open 2"):
        user.me.numbered(None, waits=lambda order: False)
    assert user.me.numbered(1) == user.order_id
    with pytest.raises(Rejected, match="order 3"):
        user.me.numbered(3)


def test_a_document_of_before_still_tells_of_its_order(user: User) -> None:
    old = b'{"number":1,"demand":"","created":1,"state":"SETTLED","total_minor":5,"proved":true}'
    with user.me.journal.transaction():
        user.me.journal.put_document("order", user.order_id, old)
    order = user.order
    assert (order.state, order.total_minor, order.kind, order.amendments, order.settlement) == ("SETTLED", 5, "", [], None)


def test_another_terminals_voucher_is_not_presented_here(user: User, device: World) -> None:
    user.authorized()
    _be_anothers(user)
    for deed in (
        lambda address: user.me.start(user.order_id, address),
        lambda address: user.me.cancel(user.order_id, "TOO_FAR", address),
    ):
        with pytest.raises(Rejected, match="HOLDER_PROOF"):
            user.at(device, deed)
    assert user.cancelled() == [Cancel("TOO_FAR")]


def test_what_is_done_at_the_device_is_in_the_orders_history(user: User, device: World) -> None:
    user.authorized()
    user.at(device, lambda address: user.me.start(user.order_id, address))
    user.at(device, lambda address: user.me.end(user.order_id, address))
    told = [entry.what for entry in timeline.timeline(user.me.journal, user.order_id) if not entry.message]
    assert told == ["presented the voucher", "ended at the device"]


def test_parts_and_history_are_kept_until_long_after_the_bill_and_never_dropped_in_a_dispute(user: User) -> None:
    user.offered()
    day_us = 86_400 * 1_000_000
    created = user.order.created
    for state, settled, days, kept in (
        ("DISPUTED", created, 60, True),
        ("DEMANDED", None, 60, True),
        ("SETTLED", created + 40 * day_us, 60, True),
        ("SETTLED", created, 29, True),
        ("SETTLED", created, 31, False),
    ):
        with user.me.journal.transaction():
            order = user.order
            order.state, order.settled = state, settled  # type: ignore[assignment]
            save_order(user.me.journal, user.order_id, order)
        user.now = Instant(created + days * day_us)
        user.me.forget_old_parts()
        assert bool(user.parts(PartKind.OFFER)) is kept, (state, days)
        assert bool(timeline.timeline(user.me.journal, user.order_id)) is kept


def _second(user: User) -> User:
    """Have a second order be demanded."""
    user.me.demand(DEMAND)
    return user


def _be_anothers(user: User) -> None:
    with user.me.journal.transaction():
        order = find_order(user.me.journal, user.order_id)
        assert order is not None
        order.holder_key = STRANGER.public
        save_order(user.me.journal, user.order_id, order)
