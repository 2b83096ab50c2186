"""Whole orders of a service: quoted items, extra work that the user approves, and the settlement that both sides sign."""

from collections.abc import Callable
from typing import Any

import pytest

from cloud.domain.settings import Settings
from energyshare.bodies import OfferBody, ServiceItem, SilenceDecisionBody
from energyshare.errors import Reason
from energyshare.messages import Amendment, AmendmentAnswer, Message, Settled, SettlementRequest, Started
from energyshare.tariff import tariff_of
from energyshare.values import (
    ChargeBasis,
    Digest,
    Dimension,
    EndCause,
    EnergyWh,
    Minor,
    Number,
    OrderId,
    OrderState,
    PartKind,
)
from energyshare.wire import open_signed
from tests.cloud.actors import CALLOUT_TARIFF, FUNDS, PLATFORM, Cloud, key, refusals, second_terminal
from tests.cloud.conftest import OpenCloud
from tests.cloud.saying import JUMP_START, TOW, TYRE
from tests.cloud.story import Story

HELD, QUOTE = 26_500, 20_140
"""50 flat, 60 an hour for two hours or one, and 80 for the jump start, with 6 % VAT."""
PAID = [("HOLD", HELD), ("CHARGE", QUOTE), ("EARNING", 18_050), ("COMMISSION", 950), ("VAT", 1_140)]
EXTRA = 12_720
"""A tyre at 120 with VAT."""
OTHER = OrderId(b"\x09" * 16)
UNKNOWN = ServiceItem("paint", 1)
Saying = Callable[[Story], Message]


@pytest.fixture
def story(cloud: Cloud) -> Story:
    return Story(cloud, device="sun-worker")


def refused(story: Story, message: Message, name: str = "") -> list[str]:
    """Why an order refuses its provider, or whoever is named, something; nothing changes then."""
    cloud, who = story.cloud, name or story.provider
    before = (cloud.money(story.order), cloud.order(story.order).work, story.state)
    reasons = refusals(cloud, cloud.say(who, story.order, message), who)
    assert (cloud.money(story.order), cloud.order(story.order).work, story.state) == before
    return reasons


# From the quote to the money


def test_a_service_is_quoted_checked_in_settled_and_paid(cloud: Cloud, story: Story) -> None:
    story.until_selected()
    assert cloud.balance("ann").held_minor == HELD
    story.by_provider(story.issuing())
    started = story.starting()
    story.by_user(started)
    assert cloud.told("sun", Started) == [started]
    assert story.wait == "SETTLEMENT_REQUEST"
    request = story.requesting()
    story.by_provider(request)
    assert (story.state, story.wait) == (OrderState.ENDING, "SERVICE_ACKNOWLEDGEMENT")
    assert cloud.told("ann", SettlementRequest) == [request]
    story.by_user(story.settling())
    assert story.state == OrderState.SETTLED
    assert story.wait is None
    assert cloud.money(story.order) == PAID
    bill = story.bill()
    assert bill == story.bill("sun")
    assert (bill.basis, bill.incl_vat_minor, bill.energy_wh, bill.duration_s) == (ChargeBasis.QUOTE, QUOTE, 0, 3_600)
    assert [(line.dimension, line.item) for line in bill.lines] == [
        (Dimension.FLAT, ""),
        (Dimension.TIME, ""),
        (Dimension.ITEM, "jump-start"),
    ]
    assert (cloud.balance("ann").available_minor, cloud.balance("ann").held_minor) == (FUNDS - QUOTE, 0)
    assert cloud.asset("sun-worker").held_by is None
    assert cloud.audit().fault == ""


def test_the_record_names_request_answer_and_every_amendment(cloud: Cloud, story: Story) -> None:
    story.until_active().by_provider(story.proposing(TYRE))
    story.by_user(story.answering(approved=False))
    story.by_provider(story.proposing(TYRE))
    story.by_user(story.answering())
    story.by_provider(story.requesting(JUMP_START, TYRE))
    story.by_user(story.settling())
    kinds = [part.kind for part in story.bill().parts]
    assert [kinds.count(kind) for kind in (PartKind.AMENDMENT, PartKind.AMENDMENT_ANSWER)] == [2, 2]
    assert {PartKind.SETTLEMENT_REQUEST, PartKind.SETTLEMENT_ANSWER} < set(kinds)
    brought = cloud.told("ann", Settled)[0].parts
    assert {PartKind.SETTLEMENT_REQUEST, PartKind.SETTLEMENT_ANSWER, PartKind.AMENDMENT} < {part.kind for part in brought}


def test_less_than_was_quoted_may_be_asked_for(cloud: Cloud, story: Story) -> None:
    story.until_active().by_provider(story.requesting(duration_s=0, total_minor=Minor(5_000)))
    story.by_user(story.settling())
    assert (story.bill().incl_vat_minor, story.bill().duration_s) == (5_000, 0)
    assert cloud.audit().fault == ""


def test_a_service_for_nothing_is_settled_without_money(cloud: Cloud, story: Story) -> None:
    story.until_active().by_provider(story.requesting(total_minor=Minor(0)))
    story.by_user(story.settling())
    assert cloud.money(story.order) == [("HOLD", HELD), ("RELEASE", 0)]
    assert (story.state, cloud.audit().fault) == (OrderState.SETTLED, "")


def test_a_demand_for_services_needs_an_item_or_a_time(cloud: Cloud, story: Story) -> None:
    assert refusals(cloud, story.by_user(story.demand(service_items=(), duration_s=None)), "ann") == ["DEMAND_UNBOUNDED"]
    twice = Story(cloud, device="sun-worker", order=OTHER)
    assert refusals(cloud, twice.by_user(twice.demand(service_items=(TYRE, TYRE))), "ann") == ["MALFORMED"]


def test_items_that_no_tariff_names_fit_nobody(cloud: Cloud, story: Story) -> None:
    story.by_user(story.demand(service_items=(UNKNOWN,)))
    assert story.state == OrderState.EXPIRED


def test_more_than_was_asked_for_may_be_quoted(cloud: Cloud, story: Story) -> None:
    story.until_demanded().by_provider(story.offering(items=(JUMP_START, TYRE)))
    assert refusals(cloud, story.by_user(story.selecting()), "ann") == []
    assert cloud.balance("ann").held_minor == HELD + EXTRA


@pytest.mark.parametrize(
    ("items", "reason"),
    [
        ((), Reason.OFFER_ITEMS),
        ((TYRE,), Reason.OFFER_ITEMS),
        ((ServiceItem("jump-start", 2),), Reason.OFFER_ITEMS),
        ((JUMP_START, JUMP_START), Reason.OFFER_ITEMS),
        ((JUMP_START, UNKNOWN), Reason.OFFER_TARIFF),
    ],
    ids=["nothing", "something else", "more of it", "it twice", "what the tariff does not name"],
)
def test_an_offer_quotes_what_was_asked_for(cloud: Cloud, story: Story, items: tuple[ServiceItem, ...], reason: Reason) -> None:
    story.until_demanded()
    assert refused(story, story.offering(items=items)) == [reason]


def test_an_outlet_quotes_no_items(cloud: Cloud) -> None:
    outlet = Story(cloud).until_demanded()
    assert refused(outlet, outlet.offering(items=(JUMP_START,))) == [Reason.OFFER_ITEMS]


def test_a_service_offers_no_energy(cloud: Cloud, story: Story) -> None:
    story.until_demanded()
    assert refused(story, story.offering(energy_wh_max=EnergyWh(2))) == [Reason.OFFER_CAPS]
    body: OfferBody = story.offer_body()
    assert tariff_of(body.tariff) == tariff_of(CALLOUT_TARIFF)


# Amendments


def test_extra_work_is_proposed_approved_and_raises_the_hold(cloud: Cloud, story: Story) -> None:
    story.until_active()
    amendment = story.proposing(TYRE)
    story.by_provider(amendment)
    assert cloud.told("ann", Amendment) == [amendment]
    assert cloud.balance("ann").held_minor == HELD
    answer = story.answering()
    story.by_user(answer)
    assert cloud.told("sun", AmendmentAnswer) == [answer]
    assert cloud.balance("ann").held_minor == HELD + EXTRA
    assert cloud.money(story.order) == [("HOLD", HELD), ("RELEASE", 0), ("HOLD", HELD + EXTRA)]
    story.by_provider(story.requesting(JUMP_START, TYRE))
    story.by_user(story.settling())
    assert (story.bill().incl_vat_minor, story.bill().hold_minor) == (QUOTE + EXTRA, HELD + EXTRA)
    assert cloud.audit().fault == ""


def test_a_second_amendment_builds_on_the_first(cloud: Cloud, story: Story) -> None:
    story.until_active()
    for _ in range(2):
        story.by_provider(story.proposing(TYRE))
        story.by_user(story.answering())
    assert cloud.balance("ann").held_minor == HELD + 2 * EXTRA
    assert refused(story, story.requesting(JUMP_START, ServiceItem("tyre", 3))) == [Reason.SETTLEMENT_ITEMS]
    story.by_provider(story.requesting(JUMP_START, ServiceItem("tyre", 2)))
    story.by_user(story.settling())
    assert (story.bill().incl_vat_minor, cloud.audit().fault) == (QUOTE + 2 * EXTRA, "")


def test_extra_time_comes_with_an_item(cloud: Cloud, story: Story) -> None:
    story.until_active().by_provider(story.proposing(TYRE, duration_s=1_800))
    story.by_user(story.answering())
    assert cloud.balance("ann").held_minor == HELD + EXTRA + 3_180
    story.by_provider(story.requesting(JUMP_START, TYRE, duration_s=9_000))
    story.by_user(story.settling())
    assert story.bill().duration_s == 9_000
    assert cloud.audit().fault == ""


def test_a_refused_amendment_changes_nothing_and_the_next_may_come(cloud: Cloud, story: Story) -> None:
    story.until_active().by_provider(story.proposing(TYRE))
    story.by_user(story.answering(approved=False))
    assert cloud.money(story.order) == [("HOLD", HELD)]
    assert refused(story, story.requesting(JUMP_START, TYRE)) == [Reason.SETTLEMENT_ITEMS]
    story.by_provider(story.proposing(TYRE))
    story.by_user(story.answering())
    assert cloud.balance("ann").held_minor == HELD + EXTRA


def test_work_may_be_amended_before_it_begins(cloud: Cloud, story: Story) -> None:
    story.until_authorized().by_provider(story.proposing(TYRE))
    story.by_user(story.answering())
    story.by_user(story.starting())
    assert (story.state, cloud.balance("ann").held_minor) == (OrderState.ACTIVE, HELD + EXTRA)


def test_an_amendment_dearer_than_the_wallet_stays_open_until_it_is_covered(cloud: Cloud, story: Story) -> None:
    story.until_active().by_provider(story.proposing(TOW))
    assert refused(story, story.answering(), "ann") == [Reason.INSUFFICIENT_FUNDS]
    cloud.top_up("ann", 50_000, b"t" * 16)
    cloud.say("ann", story.order, story.answering())
    assert cloud.balance("ann").held_minor == HELD + 95_400
    assert cloud.audit().fault == ""


AMENDMENTS: list[tuple[str, Saying, Reason]] = [
    ("number 2 first", lambda s: s.proposing(number=Number(2)), Reason.AMENDMENT_UNKNOWN),
    ("for another order", lambda s: s.proposing(order_id=OTHER), Reason.AMENDMENT_UNKNOWN),
    ("too dear", lambda s: s.proposing(hold_minor=Minor(EXTRA + 1)), Reason.AMENDMENT_HOLD),
    ("too cheap", lambda s: s.proposing(hold_minor=Minor(EXTRA - 1)), Reason.AMENDMENT_HOLD),
    ("of what has no price", lambda s: s.proposing(UNKNOWN), Reason.AMENDMENT_HOLD),
]


@pytest.mark.parametrize(("message", "reason"), [pytest.param(*row[1:], id=row[0]) for row in AMENDMENTS])
def test_such_amendments_are_refused(cloud: Cloud, story: Story, message: Saying, reason: Reason) -> None:
    story.until_active()
    assert refused(story, message(story)) == [reason]


def test_one_amendment_at_a_time_waits_for_its_answer(cloud: Cloud, story: Story) -> None:
    story.until_active().by_provider(story.proposing(TYRE))
    assert refused(story, story.proposing(TYRE)) == [Reason.AMENDMENT_OPEN]


def test_an_amendment_is_approved_once(cloud: Cloud, story: Story) -> None:
    story.until_active().by_provider(story.proposing(TYRE))
    story.by_user(story.answering())
    assert refused(story, story.answering(), "ann") == [Reason.AMENDMENT_UNKNOWN]
    assert refused(story, story.answering(approved=False), "ann") == [Reason.AMENDMENT_UNKNOWN]


ANSWERS: list[tuple[str, dict[str, Any], str, Reason]] = [
    ("of another order", {"order_id": OTHER}, "ann", Reason.AMENDMENT_UNKNOWN),
    ("to another amendment", {"amendment_hash": Digest(b"h" * 32)}, "ann", Reason.AMENDMENT_UNKNOWN),
    ("signed by another", {"signer": key("ben")}, "ann", Reason.SIGNATURE_INVALID),
    ("by the provider", {"signer": key("sun")}, "sun", Reason.WRONG_ROLE),
    ("by another phone of the account", {"signer": key("ann2")}, "ann2", Reason.WRONG_ROLE),
]


@pytest.mark.parametrize(("changes", "name", "reason"), [pytest.param(*row[1:], id=row[0]) for row in ANSWERS])
def test_such_answers_to_an_amendment_are_refused(
    cloud: Cloud, story: Story, changes: dict[str, Any], name: str, reason: Reason
) -> None:
    second_terminal(cloud)
    story.until_active().by_provider(story.proposing(TYRE))
    assert refused(story, story.answering(**changes), name) == [reason]


def test_a_settlement_request_ends_a_proposal(cloud: Cloud, story: Story) -> None:
    story.until_active().by_provider(story.proposing(TYRE))
    story.by_provider(story.requesting())
    assert refused(story, story.answering(), "ann") == [Reason.WRONG_STATE]
    story.by_user(story.settling())
    assert cloud.money(story.order) == PAID


@pytest.mark.parametrize("device", ["sun-outlet", "sun-battery"])
def test_only_a_service_is_amended_or_settled_on_request(cloud: Cloud, device: str) -> None:
    story = Story(cloud, device=device).until_active()
    worker = Story(cloud, device="sun-worker", order=story.order)
    worker.offering()
    worker.started = story.started
    assert refused(story, worker.proposing(TYRE)) == [Reason.WRONG_STATE]
    assert refused(story, worker.requesting()) == [Reason.WRONG_STATE]


# Settlement


REQUESTS: list[tuple[str, Saying, Reason]] = [
    ("an item that was not agreed", lambda s: s.requesting(JUMP_START, TYRE), Reason.SETTLEMENT_ITEMS),
    ("more of an item", lambda s: s.requesting(ServiceItem("jump-start", 2)), Reason.SETTLEMENT_ITEMS),
    ("an item twice", lambda s: s.requesting(JUMP_START, JUMP_START), Reason.SETTLEMENT_ITEMS),
    ("more time", lambda s: s.requesting(duration_s=7_201), Reason.SETTLEMENT_ITEMS),
    ("more money", lambda s: s.requesting(total_minor=Minor(QUOTE + 1)), Reason.SETTLEMENT_TOTAL),
    ("another order's", lambda s: s.requesting(order_id=OTHER), Reason.SETTLEMENT_UNKNOWN),
]


@pytest.mark.parametrize(("message", "reason"), [pytest.param(*row[1:], id=row[0]) for row in REQUESTS])
def test_such_settlement_requests_are_refused(cloud: Cloud, story: Story, message: Saying, reason: Reason) -> None:
    story.until_active()
    assert refused(story, message(story)) == [reason]


def test_the_whole_agreed_time_may_be_settled(cloud: Cloud, story: Story) -> None:
    story.until_active().by_provider(story.requesting(duration_s=7_200))
    story.by_user(story.settling())
    assert story.bill().incl_vat_minor == HELD
    assert cloud.audit().fault == ""


@pytest.mark.parametrize("name", ["ann", "sun"])
def test_a_service_is_not_ended_by_a_receipt(cloud: Cloud, story: Story, name: str) -> None:
    story.until_active()
    story.end(600, 0, cause=EndCause.DURATION_CAP)
    end = story.asking_to_end(with_receipt=False) if name == "ann" else story.reporting_end()
    assert refused(story, end, name) == [Reason.WRONG_STATE]


def test_a_second_request_is_refused_while_one_waits(cloud: Cloud, story: Story) -> None:
    story.until_ending()
    assert refused(story, story.requesting(duration_s=60)) == [Reason.WRONG_STATE]


SETTLEMENTS: list[tuple[str, dict[str, Any], str, Reason]] = [
    ("of another order", {"order_id": OTHER}, "ann", Reason.SETTLEMENT_UNKNOWN),
    ("to another request", {"settlement_request_hash": Digest(b"h" * 32)}, "ann", Reason.SETTLEMENT_UNKNOWN),
    ("disputing more than all", {"disputed": QUOTE + 1}, "ann", Reason.DISPUTE_AMOUNT),
    ("a refusal that disputes nothing", {"disputed": 1, "disputed_minor": Minor(0)}, "ann", Reason.MALFORMED),
    ("a confirmation that disputes", {"disputed_minor": Minor(1)}, "ann", Reason.MALFORMED),
    ("signed by another", {"signer": key("ben")}, "ann", Reason.SIGNATURE_INVALID),
    ("by the provider", {"signer": key("sun")}, "sun", Reason.WRONG_ROLE),
    ("by another phone of the account", {"signer": key("ann2")}, "ann2", Reason.WRONG_ROLE),
]


@pytest.mark.parametrize(("changes", "name", "reason"), [pytest.param(*row[1:], id=row[0]) for row in SETTLEMENTS])
def test_such_answers_to_a_settlement_request_are_refused(
    cloud: Cloud, story: Story, changes: dict[str, Any], name: str, reason: Reason
) -> None:
    second_terminal(cloud)
    story.until_ending()
    assert refused(story, story.settling(**changes), name) == [reason]


@pytest.mark.parametrize("disputed", [1, 140, QUOTE])
def test_what_a_user_refuses_stays_held_and_the_rest_is_paid(cloud: Cloud, story: Story, disputed: int) -> None:
    story.until_ending().by_user(story.settling(disputed))
    assert (story.state, story.wait) == (OrderState.DISPUTED, "RULING")
    assert story.bill().incl_vat_minor == QUOTE - disputed
    assert [settled.disputed_minor for settled in story.bills("sun")] == [disputed]
    assert cloud.balance("ann").held_minor == disputed
    assert cloud.balance("ann").available_minor == FUNDS - QUOTE
    assert cloud.audit().fault == ""


# Silence


def silence(story: Story) -> SilenceDecisionBody:
    signed = story.bills()[-1].part(PartKind.SILENCE_DECISION)
    assert signed is not None
    return open_signed(SilenceDecisionBody, signed, PLATFORM.public).body


def test_a_request_that_the_user_s_terminal_holds_is_settled_as_asked_after_48_hours(cloud: Cloud, story: Story) -> None:
    story.until_ending(elapsed_s=7_200)
    cloud.pass_s(86_400)
    cloud.acknowledge("ann", story.order)
    assert story.wait == "SERVICE_CONFIRMATION"
    cloud.pass_s(2 * 86_400 - 1)
    assert story.state == OrderState.ENDING
    cloud.pass_s(1)
    assert (story.state, story.bill().incl_vat_minor) == (OrderState.SETTLED, HELD)
    assert silence(story).waited_for == "SERVICE_CONFIRMATION"
    assert cloud.audit().fault == ""


@pytest.mark.parametrize(("elapsed_s", "total"), [(7_200, QUOTE), (3_600, QUOTE), (60, 13_886)])
def test_a_request_that_never_arrived_is_settled_after_14_days_at_most_as_quoted(
    cloud: Cloud, story: Story, elapsed_s: int, total: int
) -> None:
    story.until_ending(elapsed_s)
    cloud.pass_s(14 * 86_400 - 1)
    assert story.state == OrderState.ENDING
    cloud.pass_s(1)
    assert (story.state, story.bill().incl_vat_minor) == (OrderState.SETTLED, total)
    assert silence(story).waited_for == "SERVICE_ACKNOWLEDGEMENT"
    assert cloud.audit().fault == ""


def test_an_acknowledgement_of_what_came_before_the_request_counts_nothing(cloud: Cloud, story: Story) -> None:
    story.until_active()
    before = [e.number for to, e in cloud.letters if to == cloud.roster["ann"].id]
    story.by_provider(story.requesting())
    cloud.acknowledge("ann", story.order, upto=max(before))
    assert story.wait == "SERVICE_ACKNOWLEDGEMENT"
    cloud.acknowledge("sun", story.order)
    assert story.wait == "SERVICE_ACKNOWLEDGEMENT"
    cloud.acknowledge("ann", story.order)
    due = cloud.order(story.order).due
    cloud.pass_s(60)
    cloud.acknowledge("ann", story.order)
    assert (story.wait, cloud.order(story.order).due) == ("SERVICE_CONFIRMATION", due)


def test_no_request_within_the_quoted_time_and_seven_days_voids_the_hold(cloud: Cloud, story: Story) -> None:
    story.until_active()
    cloud.pass_s(7_200 + 7 * 86_400 - 1)
    assert story.state == OrderState.ACTIVE
    cloud.pass_s(1)
    assert story.state == OrderState.CANCELLED
    assert cloud.money(story.order) == [("HOLD", HELD), ("RELEASE", 0)]
    assert cloud.asset("sun-worker").held_by is None
    assert refused(story, story.requesting()) == [Reason.ORDER_MOVED_ON]


def test_the_waits_of_a_service_are_the_operator_s(open_cloud: OpenCloud) -> None:
    settings = Settings(wait_settlement_request_s=10, wait_service_acknowledgement_s=20, wait_service_confirmation_s=30)
    cloud = open_cloud(settings=settings)
    first = Story(cloud, device="sun-worker", duration_s=600).until_active()
    cloud.pass_s(610)
    assert first.state == OrderState.CANCELLED
    second = Story(cloud, device="sun-worker", order=OTHER).until_ending()
    cloud.acknowledge("ann", second.order)
    cloud.pass_s(30)
    assert second.state == OrderState.SETTLED
    third = Story(cloud, device="sun-worker", order=OrderId(b"\x0a" * 16)).until_ending()
    cloud.pass_s(20)
    assert third.state == OrderState.SETTLED
