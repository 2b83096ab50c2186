"""The life cycle's table, walked: every state, every message, from everyone who could send it."""

import logging
from collections.abc import Callable
from typing import Any, get_args

import pytest
from sqlalchemy import func, select

from cloud.domain.inbound import OrderMessage
from cloud.domain.lifecycle import SIDES, STALE, TABLE, Effect, decide
from cloud.domain.order import Facts, Sender, Side
from cloud.domain.settings import Settings
from cloud.store import tables as t
from cloud.store.unit import Unit
from energyshare.errors import Reason, Rejected
from energyshare.messages import Declined, Message, VoucherRejected, Withdrawn
from energyshare.values import AssetId, Digest, EndCause, OrderId, OrderState
from tests.cloud.actors import Cloud, refusals
from tests.cloud.story import Story

Builder = Callable[[Story], Any]


def cancelled(s: Story) -> None:
    s.until_offered().by_user(s.cancelling())


def expired(s: Story) -> None:
    s.until_selected()
    s.cloud.pass_s(30)


STATES: dict[OrderState, Builder] = {
    OrderState.DEMANDED: Story.until_offered,
    OrderState.SELECTED: Story.until_selected,
    OrderState.AUTHORIZED: Story.until_authorized,
    OrderState.ACTIVE: Story.until_active,
    OrderState.ENDING: Story.until_ending,
    OrderState.SETTLED: Story.until_settled,
    OrderState.CANCELLED: cancelled,
    OrderState.EXPIRED: expired,
}


def read(s: Story) -> Message:
    s.readings.clear()
    return s.reporting(s.read(600, 400))


MESSAGES: dict[str, Callable[[Story], Message]] = {
    "Demand": lambda s: s.demand(),
    "OfferMade": lambda s: s.offering(),
    "Declined": lambda s: Declined(AssetId(b"a" * 16), "CLOSED"),
    "Withdrawn": lambda s: Withdrawn(s.offer.digest),
    "SelectionMade": lambda s: s.selecting(),
    "VoucherIssued": lambda s: s.issuing(),
    "VoucherRejected": lambda s: VoucherRejected("VOUCHER_CAPS"),
    "StartReported": lambda s: s.starting(),
    "ReadingsReported": read,
    "EndRequested": lambda s: s.asking_to_end(),
    "EndReported": lambda s: s.reporting_end(),
    "EndConfirmedBy": lambda s: s.confirming(),
    "Cancel": lambda s: s.cancelling(),
}
SENDERS = ("ann", "sun", "moon", "rain", "ben")
"""The user, the selected provider, another that was asked, one that was not, and a stranger."""
STRANGERS = ("rain", "ben")
KNOWN = {reason.value for reason in Reason} - {Reason.INTERNAL.value}


def prepared(s: Story) -> None:
    """Fill in what an order has not reached yet, so that each message can be made in each state."""
    if not hasattr(s, "voucher"):
        s.issuing()
    if not hasattr(s, "started"):
        s.starting()
    if not hasattr(s, "ended"):
        s.end(600, 400, cause=EndCause.DURATION_CAP)


def kind_named(name: str) -> type:
    return next(kind for kind in SIDES if kind.__name__ == name)


def require_sound(cloud: Cloud, caplog: pytest.LogCaptureFixture) -> None:
    """Nothing was parked, nothing failed, and the ledger's laws hold."""
    assert cloud.readers.scalar(select(func.count()).select_from(t.parked)) == 0
    assert [r for r in caplog.records if r.levelno >= logging.ERROR] == []
    assert cloud.audit().fault == ""


def money(cloud: Cloud) -> tuple[Any, ...]:
    """All that a refused message may not change."""
    rows = [cloud.readers.rows(select(table)) for table in (t.transfers, t.balances, t.assets, t.offers, t.order_parts)]
    return tuple(tuple(map(tuple, found)) for found in rows)


def test_the_table_is_total_and_leads_nowhere_else() -> None:
    assert set(TABLE) == set(OrderState)
    assert all(set(row) == set(get_args(OrderMessage)) for row in TABLE.values())
    entries = [entry for row in TABLE.values() for entry in row.values()]
    assert all(entry is STALE or isinstance(entry, Effect | Reason) for entry in entries)
    assert {kind.__name__ for kind in SIDES} == {*MESSAGES, "TimerFired"}


def test_what_has_ended_stays_ended() -> None:
    ended = (OrderState.SETTLED, OrderState.CANCELLED, OrderState.EXPIRED, OrderState.DISPUTED)
    assert not [entry for state in ended for entry in TABLE[state].values() if isinstance(entry, Effect)]


EFFECTS = [(state, name) for state in STATES for name in MESSAGES if isinstance(TABLE[state][kind_named(name)], Effect)]


@pytest.mark.parametrize("state", STATES, ids=lambda state: state.name)
def test_what_has_no_effect_in_a_state_is_refused_or_late_from_everyone(
    cloud: Cloud, state: OrderState, caplog: pytest.LogCaptureFixture
) -> None:
    story = Story(cloud)
    STATES[state](story)
    prepared(story)
    before = money(cloud)
    for name in MESSAGES:
        entry = TABLE[state][kind_named(name)]
        for sender in SENDERS if not isinstance(entry, Effect) else STRANGERS:
            reasons = refusals(cloud, cloud.say(sender, story.order, MESSAGES[name](story)), sender)
            assert (reasons == ["UNKNOWN_ORDER"]) if sender in STRANGERS else (reasons or entry is STALE)
            assert {*reasons} <= KNOWN
        assert (story.state, money(cloud)) == (state, before), name
    require_sound(cloud, caplog)


@pytest.mark.parametrize(("state", "name"), EFFECTS, ids=lambda value: getattr(value, "name", value))
def test_an_effect_leads_where_the_table_says(
    cloud: Cloud, state: OrderState, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    story = Story(cloud)
    STATES[state](story)
    assert story.state == state
    prepared(story)
    for sender in ("moon", "sun", "ann"):
        was, before = OrderState(story.state), money(cloud)
        reasons = refusals(cloud, cloud.say(sender, story.order, MESSAGES[name](story)), sender)
        entry = TABLE[was][kind_named(name)]
        assert {*reasons} <= KNOWN
        if reasons:
            assert (story.state, money(cloud)) == (was, before)
        elif isinstance(entry, Effect):
            assert story.state in entry.to
        else:
            assert entry is STALE
    require_sound(cloud, caplog)


def test_only_the_sides_that_may_say_something_are_heard(cloud: Cloud) -> None:
    story = Story(cloud).until_offered()
    prepared(story)
    for name, message in MESSAGES.items():
        if Side.USER not in SIDES[kind_named(name)]:
            reasons = refusals(cloud, cloud.say("ann", story.order, message(story)), "ann")
            assert reasons in (["WRONG_ROLE"], ["SIGNATURE_INVALID"], ["GRANT_SUBJECT"]), name
        if Side.PROVIDER not in SIDES[kind_named(name)]:
            reasons = refusals(cloud, cloud.say("moon", story.order, message(story)), "moon")
            assert reasons in (["WRONG_ROLE"], ["SIGNATURE_INVALID"]), name


@pytest.mark.parametrize("state", STATES, ids=lambda state: state.name)
def test_timers_come_only_from_the_clock_and_to_any_state(cloud: Cloud, state: OrderState) -> None:
    story = Story(cloud)
    STATES[state](story)
    for days in range(12):
        cloud.pass_s(days * 86_400)
    assert story.state in (OrderState.SETTLED, OrderState.EXPIRED, OrderState.CANCELLED)
    assert cloud.readers.rows(select(t.order_events).where(t.order_events.c.note == "the timer failed")) == []
    assert cloud.audit().fault == ""
    assert cloud.balance("ann").held_minor == 0


def test_a_decision_is_the_same_whenever_it_is_made_again(cloud: Cloud) -> None:
    story = Story(cloud, order=OrderId(b"\x05" * 16)).until_offered()
    with cloud.engine.begin() as connection:
        order = Unit(connection).orders([story.order], {})[story.order]
    cancel = story.cancelling()
    by = Sender(order.user, Side.USER)
    assert decide(order, cancel, by, Facts(Settings()), cloud.now) == decide(order, cancel, by, Facts(Settings()), cloud.now)
    with pytest.raises(Rejected, match="OFFER_UNKNOWN"):
        decide(order, Withdrawn(Digest(b"h" * 32)), sender(cloud), Facts(Settings()), cloud.now)


def sender(cloud: Cloud) -> Sender:
    return Sender(cloud.roster["sun"].peer.terminal, Side.PROVIDER)
