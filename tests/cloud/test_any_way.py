"""Orders that take any way at all: whatever is said and however long it takes, the money stays lawful."""

import logging
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cloud.domain.inbound import (
    AmendmentAnswered,
    AmendmentProposed,
    EndConfirmedBy,
    EndRefusedBy,
    EndReported,
    EndRequested,
    NotReturnedStated,
    ReadingsReported,
    RequestAcknowledged,
    RulingMade,
    SerialClosedReported,
    SettlementAnswered,
    SettlementRequested,
    StartReported,
)
from cloud.domain.lifecycle import TABLE, Effect
from energyshare.messages import Cancel, Dispute, Started
from energyshare.values import EndCause, EnergyWh, Minor, OrderState
from tests.cloud.actors import Cloud, Mark, key, second_terminal
from tests.cloud.conftest import OpenCloud
from tests.cloud.saying import JUMP_START, TYRE
from tests.cloud.story import Story

Step = Callable[[Story, int], object]


def end(s: Story, amount: int) -> None:
    """The device's end, as far as it has come."""
    s.end(min(s.cloud.now - s.started.body.start_time, 10**10) // 10**6, amount, cause=EndCause.OWNER, releaser=key("sun"))


def ended_by(s: Story, amount: int, name: str) -> None:
    end(s, amount)
    s.cloud.say(name, s.order, s.reporting_end() if name == "sun" else s.asking_to_end())


def read(s: Story, amount: int) -> None:
    elapsed_s = (s.cloud.now - s.started.body.start_time) // 10**6
    last = s.readings[-1].body.register_wh - s.started.body.register_wh if s.readings else 0
    s.by_user(s.reporting(s.read(elapsed_s, last + amount % 100)))


def answer(s: Story, amount: int) -> None:
    if s.amendments:
        s.by_user(s.answering(approved=amount % 3 > 0))


def settle(s: Story, amount: int) -> None:
    if hasattr(s, "asked"):
        s.by_user(s.settling(amount % 25_000 if amount % 2 else 0))


def dispute(s: Story, amount: int) -> None:
    if s.bills():
        s.cloud.say("ann2" if amount % 2 else "ann", s.order, s.disputing(amount + 1))


def told_again(s: Story) -> Started:
    return Started(s.started.signed, s.who(s.device).grant.signed)


def contradict(s: Story, amount: int) -> None:
    first = s.started
    s.by_provider(s.starting(register_wh=EnergyWh(amount), at=first.body.start_time))
    s.started = first


def propose(s: Story, amount: int) -> None:
    if s.is_service:
        s.by_provider(s.proposing(TYRE, duration_s=amount % 3_600))


def request(s: Story, amount: int) -> None:
    if not s.is_service:
        return
    items = (JUMP_START, TYRE) if amount % 2 else (JUMP_START,)
    s.by_provider(s.requesting(*items, duration_s=amount % 7_200))


STEPS: dict[str, tuple[type, Step]] = {
    "the start is told": (StartReported, lambda s, n: s.by_user(told_again(s))),
    "another start is told": (StartReported, contradict),
    "a reading": (ReadingsReported, read),
    "the user ends": (EndRequested, lambda s, n: ended_by(s, n, "ann")),
    "the provider ends": (EndReported, lambda s, n: ended_by(s, n, "sun")),
    "the user asks to end": (EndRequested, lambda s, n: s.by_user(s.asking_to_end(with_receipt=False))),
    "a second phone asks to end": (EndRequested, lambda s, n: s.cloud.say("ann2", s.order, s.asking_from_afar())),
    "the end is confirmed": (EndConfirmedBy, lambda s, n: s.by_provider(s.confirming(n if n % 2 else None))),
    "the end is refused": (EndRefusedBy, lambda s, n: s.by_provider(s.refusing_end(n + 1))),
    "not returned": (NotReturnedStated, lambda s, n: s.by_provider(s.not_returning())),
    "burned": (SerialClosedReported, lambda s, n: s.by_provider(s.closing())),
    "the user cancels": (Cancel, lambda s, n: s.by_user(s.cancelling())),
    "the provider cancels": (Cancel, lambda s, n: s.by_provider(s.cancelling())),
    "extra work": (AmendmentProposed, propose),
    "an answer to it": (AmendmentAnswered, answer),
    "a request to settle": (SettlementRequested, request),
    "the user's terminal holds it": (RequestAcknowledged, lambda s, n: s.cloud.acknowledge("ann", s.order)),
    "an answer to the request": (SettlementAnswered, settle),
    "a dispute": (Dispute, dispute),
    "a ruling": (RulingMade, lambda s, n: s.cloud.instruct(s.order, RulingMade(Minor(n), "so be it"))),
}
"""What may be said, as which message, and how; an amount makes it more or less."""
OF_SERVICES = {AmendmentProposed, AmendmentAnswered, SettlementRequested, SettlementAnswered, RequestAcknowledged}
OF_METERS = {ReadingsReported, EndRequested, EndReported, EndConfirmedBy, EndRefusedBy, NotReturnedStated}
AMOUNTS = st.one_of(st.integers(0, 300), st.integers(0, 6_000))
WAITS = st.sampled_from([0, 0, 0, 60, 700, 3_600, 10_800, 86_400, 2 * 86_400, 8 * 86_400])
ANYTHING = st.integers(0, 4).map(lambda drawn: drawn == 0)


def sensible(story: Story) -> list[str]:
    """Name what has an effect in the order's state, and goes with its kind."""
    row, others = TABLE[OrderState(story.state)], OF_METERS if story.is_service else OF_SERVICES
    return [name for name, (kind, _) in STEPS.items() if isinstance(row[kind], Effect) and kind not in others]


@pytest.fixture
def founded(open_cloud: OpenCloud) -> tuple[Cloud, Mark]:
    cloud = open_cloud()
    second_terminal(cloud)
    return cloud, cloud.mark()


def paid(story: Story) -> int:
    signs = {"CHARGE": 1, "DEPOSIT_CHARGE": 1, "RECEIVABLE": 1, "REFUND": -1, "DEPOSIT_REFUND": -1}
    return sum(signs.get(reason, 0) * amount for reason, amount in story.cloud.money(story.order))


def require_lawful(story: Story) -> None:
    """The ledger's laws hold, and the user pays what the latest record says, never more than was agreed to hold."""
    assert story.cloud.audit().fault == ""
    bill = story.bill() if story.bills() else None
    assert paid(story) == (bill.incl_vat_minor + bill.deposit_claimed_minor if bill else 0)
    assert bill is None or paid(story) <= bill.hold_minor
    assert story.cloud.plain("SELECT error FROM parked") == []


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(device=st.sampled_from(["sun-outlet", "sun-battery", "sun-worker"]), first=WAITS, data=st.data())
def test_whatever_is_said_the_money_stays_lawful(
    founded: tuple[Cloud, Mark], caplog: pytest.LogCaptureFixture, device: str, first: int, data: st.DataObject
) -> None:
    cloud, mark = founded
    cloud.back_to(mark)
    story = Story(cloud, device=device).until_authorized()
    story.starting()
    cloud.pass_s(first)
    for _ in range(data.draw(st.integers(3, 9))):
        names = sorted(STEPS) if data.draw(ANYTHING) else sensible(story) or sorted(STEPS)
        STEPS[data.draw(st.sampled_from(names))][1](story, data.draw(AMOUNTS))
        require_lawful(story)
        cloud.pass_s(data.draw(WAITS))
        require_lawful(story)
    for _ in range(6):
        cloud.pass_s(15 * 86_400)
    require_lawful(story)
    assert story.wait is None
    assert [cloud.balance(who).held_minor for who in ("ann", "sun")] == [0, 0]
    assert [r.getMessage() for r in caplog.records if r.levelno >= logging.ERROR] == []
