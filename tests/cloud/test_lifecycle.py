"""The life cycle's table, walked: every state, every message, every kind, from everyone who could send it."""

import logging
from collections.abc import Callable
from typing import Any, get_args

import pytest

from cloud.domain.inbound import OrderMessage, RulingMade
from cloud.domain.lifecycle import SIDES, STALE, TABLE, Effect, decide
from cloud.domain.order import Facts, Sender, Side
from cloud.domain.settings import Settings
from cloud.store.unit import Unit
from energyshare.errors import Reason, Rejected
from energyshare.messages import Declined, Dispute, Message, VoucherRejected, Withdrawn
from energyshare.values import AssetId, Digest, EndCause, Minor, OrderId, OrderState
from tests.cloud.actors import Cloud, refusals, second_terminal
from tests.cloud.saying import TYRE
from tests.cloud.story import Story

Builder = Callable[[Story], Any]


def cancelled(s: Story) -> None:
    s.until_offered().by_user(s.cancelling())


def burned(s: Story) -> None:
    s.until_authorized().by_user(s.cancelling())
    s.by_provider(s.closing())


def unselected(s: Story) -> None:
    s.until_selected()
    s.cloud.pass_s(30)


def unpaid(s: Story) -> None:
    s.until_active()
    s.cloud.pass_s(40 * 86_400)


STATES: dict[str, tuple[OrderState, Builder]] = {
    "demanded": (OrderState.DEMANDED, Story.until_offered),
    "selected": (OrderState.SELECTED, Story.until_selected),
    "authorized": (OrderState.AUTHORIZED, Story.until_authorized),
    "active": (OrderState.ACTIVE, Story.until_active),
    "late": (OrderState.ACTIVE, Story.until_late),
    "ending": (OrderState.ENDING, Story.until_ending),
    "settled": (OrderState.SETTLED, Story.until_settled),
    "disputed": (OrderState.DISPUTED, Story.until_disputed),
    "cancelled": (OrderState.CANCELLED, cancelled),
    "burned": (OrderState.CANCELLED, burned),
    "unselected": (OrderState.EXPIRED, unselected),
    "expired": (OrderState.EXPIRED, Story.until_expired),
}
"""Where an order stands, and how it came there: some states are reached in ways that matter later."""
DEVICES = ("sun-battery", "sun-outlet", "sun-worker")


def read(s: Story) -> Message:
    s.readings.clear()
    return s.reporting(s.read(600, 400))


def proposed(s: Story) -> Message:
    s.amendments.clear()
    return s.proposing(TYRE)


def disputing(s: Story) -> Message:
    return s.disputing(50) if s.bills() else Dispute(Digest(b"h" * 32), Minor(1), "x")


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
    "EndRefusedBy": lambda s: s.refusing_end(100),
    "NotReturnedStated": lambda s: s.not_returning(),
    "SerialClosedReported": lambda s: s.closing(),
    "AmendmentProposed": proposed,
    "AmendmentAnswered": lambda s: s.answering(),
    "SettlementRequested": lambda s: s.requesting(),
    "SettlementAnswered": lambda s: s.settling(50),
    "Cancel": lambda s: s.cancelling(),
    "Dispute": disputing,
}
FROM_THE_CLOUD = {"TimerFired", "RequestAcknowledged", "RulingMade"}
"""What no terminal sends: the clock's, the processor's own, and the operator's."""
SENDERS = ("ann", "ann2", "sun", "moon", "rain", "ben")
"""The user and its second phone, the selected provider, another that may have been asked, one that was not, a stranger."""
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
    if not s.is_service:
        s.amendments.append(worker(s).amendments[-1])
        s.asked = worker(s).asked
        return
    if not s.amendments:
        s.proposing(TYRE)
    if not hasattr(s, "asked"):
        s.requesting()


def worker(s: Story) -> Story:
    """A service's words for an order that is none."""
    other = Story(s.cloud, device="sun-worker", order=s.order)
    other.offering()
    other.started = s.started
    other.proposing(TYRE)
    other.requesting()
    return other


def saying(s: Story, name: str) -> Message:
    """A message in a story of any kind."""
    of_services = name in ("AmendmentProposed", "SettlementRequested")
    return MESSAGES[name](worker(s) if of_services and not s.is_service else s)


def kind_named(name: str) -> type:
    return next(kind for kind in SIDES if kind.__name__ == name)


def require_sound(cloud: Cloud, caplog: pytest.LogCaptureFixture) -> None:
    """Nothing was parked, nothing failed, and the ledger's laws hold."""
    assert cloud.plain("SELECT * FROM parked") == []
    assert [r for r in caplog.records if r.levelno >= logging.ERROR] == []
    assert cloud.audit().fault == ""


def standing(cloud: Cloud) -> tuple[Any, ...]:
    """All that a refused message may not change."""
    tables = ("transfers", "balances", "assets", "offers", "order_parts")
    orders = cloud.plain("SELECT state, wait, due, hold_minor, work, aftermath FROM orders ORDER BY id")
    return (*(cloud.plain(f"SELECT * FROM {table}") for table in tables), orders)


def test_the_table_is_total_and_leads_nowhere_else() -> None:
    assert set(TABLE) == set(OrderState) == {state for state, _ in STATES.values()}
    assert all(set(row) == set(get_args(OrderMessage)) for row in TABLE.values())
    entries = [entry for row in TABLE.values() for entry in row.values()]
    assert all(entry is STALE or isinstance(entry, Effect | Reason) for entry in entries)
    assert {kind.__name__ for kind in SIDES} == {*MESSAGES, *FROM_THE_CLOUD}


def test_what_was_billed_stays_billed_and_what_was_not_can_only_be_proved() -> None:
    billed = {OrderState.SETTLED, OrderState.DISPUTED}
    for state in billed:
        assert led_to(state) == billed
    for state in (OrderState.CANCELLED, OrderState.EXPIRED):
        assert led_to(state) == {state, OrderState.ACTIVE, OrderState.ENDING}


def led_to(state: OrderState) -> set[OrderState]:
    return {end for entry in TABLE[state].values() if isinstance(entry, Effect) for end in entry.to}


def heard(story: Story, name: str, message: Message) -> list[str]:
    """Why a terminal was refused what it said, if it was."""
    return refusals(story.cloud, story.cloud.say(name, story.order, message), name)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("way", STATES)
def test_what_has_no_effect_in_a_state_is_refused_or_late_from_everyone(
    cloud: Cloud, way: str, device: str, caplog: pytest.LogCaptureFixture
) -> None:
    second_terminal(cloud)
    story, (state, build) = Story(cloud, device=device), STATES[way]
    build(story)
    prepared(story)
    before = standing(cloud)
    for name in MESSAGES:
        entry = TABLE[state][kind_named(name)]
        for sender in STRANGERS if isinstance(entry, Effect) else SENDERS:
            reasons = heard(story, sender, saying(story, name))
            is_stranger = sender in STRANGERS or (sender == "moon" and story.is_service)
            assert (reasons == ["UNKNOWN_ORDER"]) if is_stranger else (reasons or entry is STALE), (name, sender)
            assert {*reasons} <= KNOWN
        assert (story.state, standing(cloud)) == (state, before), name
    require_sound(cloud, caplog)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("way", STATES)
def test_an_effect_leads_where_the_table_says_and_a_refusal_nowhere(
    cloud: Cloud, way: str, device: str, caplog: pytest.LogCaptureFixture
) -> None:
    second_terminal(cloud)
    first, (state, build) = Story(cloud, device=device), STATES[way]
    build(first)
    assert first.state == state
    prepared(first)
    there = cloud.mark()
    for name in (name for name in MESSAGES if isinstance(TABLE[state][kind_named(name)], Effect)):
        cloud.back_to(there)
        story = first.again()
        for sender in ("moon", "ann2", "sun", "ann"):
            require_as_the_table_says(story, name, sender)
        require_sound(cloud, caplog)


def require_as_the_table_says(story: Story, name: str, sender: str) -> None:
    was, before = OrderState(story.state), standing(story.cloud)
    reasons = heard(story, sender, saying(story, name))
    entry = TABLE[was][kind_named(name)]
    assert {*reasons} <= KNOWN
    if reasons:
        assert (story.state, standing(story.cloud)) == (was, before), (name, sender)
    elif isinstance(entry, Effect):
        assert story.state in entry.to, (name, sender)
    else:
        assert entry is STALE, (name, sender)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("way", STATES)
def test_an_operator_rules_disputes_and_nothing_else(
    cloud: Cloud, way: str, device: str, caplog: pytest.LogCaptureFixture
) -> None:
    story, (state, build) = Story(cloud, device=device), STATES[way]
    build(story)
    before = standing(cloud)
    for message in (RulingMade(Minor(10**9), "too much"), RulingMade(Minor(0), "it was less")):
        refused = cloud.instruct(story.order, message)
        assert (refused is None) is (state is OrderState.DISPUTED and message.charged_minor == 0)
    assert story.state == (OrderState.SETTLED if state is OrderState.DISPUTED else state)
    assert (standing(cloud) == before) is (state is not OrderState.DISPUTED)
    require_sound(cloud, caplog)


def test_only_the_sides_that_may_say_something_are_heard(cloud: Cloud) -> None:
    second_terminal(cloud)
    story = Story(cloud).until_offered()
    prepared(story)
    for name in MESSAGES:
        sides = SIDES[kind_named(name)]
        for sender, side in (("ann", Side.USER), ("ann2", Side.ACCOUNT), ("moon", Side.PROVIDER)):
            if side not in sides:
                reasons = heard(story, sender, saying(story, name))
                signed = ["SIGNATURE_INVALID"], ["GRANT_SUBJECT"], ["PRESENTATION_MISSING"]
                assert reasons in (["WRONG_ROLE"], *signed), (name, sender)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("way", [*STATES, "unpaid"])
def test_whatever_state_an_order_is_left_in_the_clock_ends_it_and_frees_all(cloud: Cloud, way: str, device: str) -> None:
    story = Story(cloud, device=device)
    (unpaid if way == "unpaid" else STATES[way][1])(story)
    for days in range(20):
        cloud.pass_s(days * 86_400)
    assert story.state in (OrderState.SETTLED, OrderState.EXPIRED, OrderState.CANCELLED)
    assert story.wait is None
    assert cloud.plain("SELECT * FROM order_events WHERE note = 'the timer failed'") == []
    assert cloud.audit().fault == ""
    assert [cloud.balance(name).held_minor for name in ("ann", "sun")] == [0, 0]
    assert cloud.asset(device).held_by is None


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
