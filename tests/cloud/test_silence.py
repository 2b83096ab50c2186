"""The table of silence: what each wait means when it runs out, to the second, and which setting moves it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from cloud.domain.order import Wait
from cloud.domain.settings import Settings
from energyshare.bodies import SilenceDecisionBody
from energyshare.messages import Message
from energyshare.records import replace
from energyshare.values import ChargeBasis, Instant, OrderState, PartKind, later
from energyshare.wire import open_signed
from tests.cloud.actors import PLATFORM, Cloud
from tests.cloud.conftest import OpenCloud
from tests.cloud.story import Story

DAY_S, S = 86_400, OrderState


def with_offers(s: Story) -> None:
    s.until_offered().cloud.pass_s(60)


def overdue(s: Story) -> None:
    s.until_active().cloud.pass_s(7_200 + 3_600)


def acknowledged(s: Story) -> None:
    s.until_ending().cloud.acknowledge("ann", s.order)


@dataclass(frozen=True)
class Row:
    """A wait: how an order comes to it, how long it is, where it leads, and which setting makes it how short."""

    wait: Wait
    device: str
    before: Callable[[Story], Any]
    seconds: int
    to: OrderState
    setting: str = ""
    shorter: int = 0
    basis: ChargeBasis | None = None
    then: Wait | None = None


ROWS = [
    Row(Wait.OFFERS, "sun-outlet", Story.until_demanded, 60, S.EXPIRED),
    Row(Wait.OFFER_EXPIRY, "sun-outlet", with_offers, 240, S.EXPIRED),
    Row(Wait.VOUCHER, "sun-outlet", Story.until_selected, 30, S.EXPIRED, "wait_voucher_s", 7),
    Row(Wait.START, "sun-battery", Story.until_authorized, 3_600 + DAY_S, S.EXPIRED, "start_report_grace_s", 3_610),
    Row(
        *(Wait.END_OF_SUPPLY, "sun-outlet", Story.until_active, 7_200 + DAY_S),
        *(S.SETTLED, "end_grace_s", 7_210, ChargeBasis.FLAT),
    ),
    Row(
        Wait.RETURN, "sun-battery", Story.until_active, 7_200 + 3_600, S.SETTLED, basis=ChargeBasis.CAP, then=Wait.NOT_RETURNED
    ),
    Row(Wait.NOT_RETURNED, "sun-battery", overdue, 7 * DAY_S, S.SETTLED, "wait_not_returned_s", 11),
    Row(
        *(Wait.CONFIRMATION, "sun-outlet", Story.until_ending, 600),
        *(S.SETTLED, "wait_confirmation_s", 12, ChargeBasis.END_RECEIPT),
    ),
    Row(
        *(Wait.SETTLEMENT_REQUEST, "sun-worker", Story.until_active, 7_200 + 7 * DAY_S),
        *(S.CANCELLED, "wait_settlement_request_s", 7_213),
    ),
    Row(
        *(Wait.SERVICE_ACKNOWLEDGEMENT, "sun-worker", Story.until_ending, 14 * DAY_S),
        *(S.SETTLED, "wait_service_acknowledgement_s", 14, ChargeBasis.QUOTE),
    ),
    Row(
        *(Wait.SERVICE_CONFIRMATION, "sun-worker", acknowledged, 2 * DAY_S),
        *(S.SETTLED, "wait_service_confirmation_s", 15, ChargeBasis.QUOTE),
    ),
    Row(
        *(Wait.RULING, "sun-outlet", Story.until_disputed, 14 * DAY_S),
        *(S.SETTLED, "wait_ruling_s", 16, ChargeBasis.RULING),
    ),
]
IDS = [row.wait.value for row in ROWS]
ADDED = {"start_report_grace_s": 3_600, "end_grace_s": 7_200, "wait_settlement_request_s": 7_200}
"""What a setting is added to."""


def test_every_wait_has_its_row() -> None:
    assert {row.wait for row in ROWS} == set(Wait)


@pytest.mark.parametrize("row", ROWS, ids=IDS)
def test_silence_means_what_the_table_says_and_not_a_second_sooner(cloud: Cloud, row: Row) -> None:
    require_row(Story(cloud, device=row.device), row, row.seconds)


@pytest.mark.parametrize("row", [row for row in ROWS if row.setting], ids=[row.setting for row in ROWS if row.setting])
def test_the_operator_s_setting_is_how_long_it_is(open_cloud: OpenCloud, row: Row) -> None:
    setting: dict[str, Any] = {row.setting: row.shorter - ADDED.get(row.setting, 0)}
    settings = replace(Settings(), **setting)
    require_row(Story(open_cloud(settings=settings), device=row.device), row, row.shorter)


def require_row(story: Story, row: Row, seconds: int) -> None:
    row.before(story)
    due, was = later(story.cloud.now, seconds), story.state
    assert story.wait == row.wait
    story.cloud.pass_s(seconds - 1)
    assert (story.state, story.wait) == (was, row.wait)
    story.cloud.pass_s(1)
    assert story.state == row.to
    assert story.wait == row.then
    assert story.cloud.audit().fault == ""
    if row.basis is not None:
        assert story.bill().basis is row.basis
        assert decisions(story)[-1] == SilenceDecisionBody(story.order, row.wait, due, due)


def decisions(story: Story) -> list[SilenceDecisionBody]:
    """What the platform signed about silence, as the user was told last."""
    told = (part.signed for part in story.bills()[-1].parts if part.kind is PartKind.SILENCE_DECISION)
    return [open_signed(SilenceDecisionBody, signed, PLATFORM.public).body for signed in told]


def test_a_decision_that_is_taken_late_says_so(cloud: Cloud) -> None:
    story = Story(cloud).until_ending()
    due = later(cloud.now, 600)
    cloud.pass_s(10_000)
    assert decisions(story) == [SilenceDecisionBody(story.order, "CONFIRMATION", due, cloud.now)]


@pytest.mark.parametrize(
    ("device", "before", "seconds", "name", "message"),
    [
        ("sun-outlet", Story.until_active, 7_200 + DAY_S, "sun", lambda s: s.reporting_end()),
        ("sun-battery", Story.until_active, 7_200 + 3_600, "sun", lambda s: s.reporting_end()),
        ("sun-outlet", Story.until_ending, 600, "sun", lambda s: s.confirming()),
        ("sun-worker", Story.until_ending, 14 * DAY_S, "ann", lambda s: s.settling()),
        ("sun-worker", acknowledged, 2 * DAY_S, "ann", lambda s: s.settling()),
        ("sun-worker", Story.until_active, 7_200 + 7 * DAY_S, "sun", lambda s: s.requesting()),
    ],
)
def test_what_is_said_in_the_batch_of_its_timer_comes_first(
    cloud: Cloud, device: str, before: Callable[[Story], Any], seconds: int, name: str, message: Callable[[Story], Message]
) -> None:
    story = Story(cloud, device=device)
    before(story)
    if story.state == S.ACTIVE:
        story.end(600, 400)
    cloud.now = later(cloud.now, seconds)
    cloud.process(cloud.inbound(name, story.order, message(story)), fire_timers=True)
    assert story.state in (S.ENDING, S.SETTLED)
    assert not story.bills() or decisions(story) == []
    assert cloud.audit().fault == ""


def test_a_start_is_reported_at_the_last_moment(cloud: Cloud) -> None:
    story, begun = Story(cloud).until_authorized(), cloud.now
    cloud.now = later(begun, 3_600 + DAY_S)
    cloud.process(cloud.inbound("ann", story.order, story.starting(at=Instant(begun))), fire_timers=True)
    assert (story.state, story.wait) == (S.ACTIVE, "END_OF_SUPPLY")
    assert cloud.balance("ann").held_minor == 814
