"""Calling an order off: free before a voucher, a request from then on, and never against a start."""

import pytest

from energyshare.messages import Cancel, OrderClosed, Reopened, Started
from energyshare.values import DeviceId, Epoch, Number, OrderId, OrderState, PartKind, Role, Serial
from tests.cloud.actors import Cloud, grant, key, parts_of, refusals, second_terminal
from tests.cloud.story import Story

DEVICES = ["sun-outlet", "sun-battery", "sun-worker"]
MIND, BROKEN = Cancel("CHANGED_MIND"), Cancel("BROKEN")
GRACE_S = 3_600 + 86_400
SECOND = OrderId(b"\x02" * 16)


@pytest.fixture(params=DEVICES)
def story(cloud: Cloud, request: pytest.FixtureRequest) -> Story:
    return Story(cloud, device=request.param)


def reasons(story: Story, name: str = "ann") -> list[str]:
    return [closed.reason for closed in story.cloud.told(name, OrderClosed)]


def is_free(story: Story) -> bool:
    """Whether nothing is held and the asset can be selected by the next."""
    cloud = story.cloud
    return (cloud.balance("ann").held_minor, cloud.asset(story.device).held_by, cloud.audit().fault) == (0, None, "")


# A request, once the voucher is out


@pytest.mark.parametrize(("name", "other"), [("ann", "sun"), ("sun", "ann")])
def test_a_cancellation_is_put_to_the_other_side_and_frees_nothing_yet(
    cloud: Cloud, story: Story, name: str, other: str
) -> None:
    story.until_authorized()
    held = cloud.balance("ann").held_minor
    cloud.say(name, story.order, MIND)
    assert (story.state, cloud.balance("ann").held_minor) == (OrderState.AUTHORIZED, held)
    assert (cloud.told(other, Cancel), cloud.told(name, Cancel)) == ([MIND], [])
    assert cloud.asset(story.device).held_by == story.order


@pytest.mark.parametrize("name", ["ann", "sun"])
def test_it_ends_when_the_device_has_burned_the_voucher(cloud: Cloud, story: Story, name: str) -> None:
    story.until_authorized().by_user(MIND)
    cloud.say(name, story.order, story.closing())
    assert story.state == OrderState.CANCELLED
    assert reasons(story) == reasons(story, "sun") == ["CHANGED_MIND"]
    assert is_free(story)
    assert PartKind.SERIAL_CLOSED in [kind for kind, _ in parts_of(cloud, story.order)]


def test_a_burned_voucher_ends_an_order_that_nobody_called_off(story: Story) -> None:
    story.until_authorized().by_provider(story.closing())
    assert reasons(story) == ["VOUCHER_CLOSED"]
    assert is_free(story)


def test_it_ends_when_the_voucher_has_run_out(cloud: Cloud, story: Story) -> None:
    story.until_authorized().by_provider(BROKEN)
    cloud.pass_s(GRACE_S - 1)
    assert story.state == OrderState.AUTHORIZED
    cloud.pass_s(1)
    assert story.state == OrderState.CANCELLED
    assert reasons(story) == ["BROKEN"]
    assert is_free(story)
    assert cloud.asset(story.device).unknown


def test_the_first_who_cancels_says_why(cloud: Cloud, story: Story) -> None:
    story.until_authorized().by_user(MIND)
    story.by_provider(BROKEN)
    story.by_user(MIND)
    cloud.pass_s(GRACE_S)
    assert reasons(story) == ["CHANGED_MIND"]


def test_a_start_wins(cloud: Cloud, story: Story) -> None:
    story.until_authorized().by_user(MIND)
    story.by_provider(BROKEN)
    started = story.starting()
    story.by_user(started)
    assert story.state == OrderState.ACTIVE
    assert cloud.told("sun", Started) == [started]


def test_a_burned_voucher_that_is_told_again_changes_nothing(cloud: Cloud, story: Story) -> None:
    closing = story.until_authorized().closing()
    story.by_provider(closing)
    before = parts_of(cloud, story.order)
    for name in ("sun", "ann", "sun"):
        assert refusals(cloud, cloud.say(name, story.order, closing), name) == []
    assert (story.state, parts_of(cloud, story.order), cloud.alerts()) == (OrderState.CANCELLED, before, [])


def test_a_burned_voucher_is_noted_when_the_order_has_expired(cloud: Cloud, story: Story) -> None:
    story.until_expired()
    closing = story.closing()
    for name in ("ann", "sun"):
        assert refusals(cloud, cloud.say(name, story.order, closing), name) == []
    assert (story.state, cloud.alerts()) == (OrderState.EXPIRED, [])
    assert [kind for kind, _ in parts_of(cloud, story.order)].count(PartKind.SERIAL_CLOSED) == 1


# Before it, and after the start


def test_before_the_voucher_the_user_s_word_is_enough(cloud: Cloud, story: Story) -> None:
    story.until_selected().by_user(MIND)
    assert story.state == OrderState.CANCELLED
    assert is_free(story)


def test_a_selected_provider_s_word_takes_the_user_back_to_the_other_offers(cloud: Cloud) -> None:
    story = Story(cloud).until_offered()
    other = Story(cloud, device="moon-outlet")
    other.by_provider(other.offering())
    story.by_user(story.selecting())
    story.by_provider(BROKEN)
    assert (story.state, [r.reason for r in cloud.told("ann", Reopened)]) == (OrderState.DEMANDED, ["BROKEN"])


def test_a_selected_provider_s_word_ends_an_order_without_another_offer(cloud: Cloud, story: Story) -> None:
    story.until_selected().by_provider(BROKEN)
    assert (story.state, reasons(story)) == (OrderState.EXPIRED, ["BROKEN"])
    assert is_free(story)


@pytest.mark.parametrize("name", ["ann", "sun"])
@pytest.mark.parametrize("far", ["until_active", "until_ending"])
def test_what_has_begun_is_ended_not_cancelled(cloud: Cloud, story: Story, far: str, name: str) -> None:
    getattr(story, far)()
    assert refusals(cloud, cloud.say(name, story.order, MIND), name) == ["WRONG_STATE"]


@pytest.mark.parametrize("name", ["ann", "sun"])
@pytest.mark.parametrize("far", ["until_settled", "until_disputed", "until_expired"])
def test_what_is_over_is_not_cancelled(cloud: Cloud, story: Story, far: str, name: str) -> None:
    getattr(story, far)()
    assert refusals(cloud, cloud.say(name, story.order, MIND), name) == ["ORDER_MOVED_ON"]


def test_a_provider_that_was_not_selected_cancels_nothing(cloud: Cloud) -> None:
    story = Story(cloud).until_offered()
    story.by_user(story.selecting())
    story.by_provider(story.issuing())
    assert refusals(cloud, cloud.say("moon", story.order, BROKEN), "moon") == ["ORDER_MOVED_ON"]
    assert refusals(cloud, cloud.say("moon", story.order, story.closing()), "moon") == ["ORDER_MOVED_ON"]
    assert cloud.told("ann", Cancel) == []
    cloud.pass_s(GRACE_S)
    assert story.state == OrderState.EXPIRED


# Whose word a burned voucher is


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"order_id": SECOND}, "RECEIPT_FOREIGN"),
        ({"serial": Serial(7)}, "RECEIPT_FOREIGN"),
        ({"epoch": Epoch(7)}, "RECEIPT_FOREIGN"),
        ({"device_id": DeviceId(b"x" * 16)}, "GRANT_SUBJECT"),
    ],
)
def test_another_voucher_s_end_is_not_this_one_s(cloud: Cloud, story: Story, changes: dict[str, object], reason: str) -> None:
    story.until_authorized()
    assert refusals(cloud, story.by_user(story.closing(**changes)), "ann") == [reason]
    assert story.state == OrderState.AUTHORIZED


def test_only_the_provider_s_own_device_burns_its_voucher(cloud: Cloud) -> None:
    story = Story(cloud).until_authorized()
    moon = Story(cloud, device="moon-outlet")
    assert refusals(cloud, story.by_user(moon.closing()), "ann") == ["GRANT_OWNER"]
    stolen = grant(story.who("sun-outlet").id, Role.DEVICE, key("moon-outlet"), story.who("sun").id)
    forged = story.closing(grant=stolen)
    assert refusals(cloud, story.by_user(forged), "ann") == ["SIGNATURE_INVALID"]


@pytest.mark.parametrize("far", ["until_demanded", "until_offered", "until_selected"])
def test_nothing_is_burned_before_a_voucher_is_out(cloud: Cloud, story: Story, far: str) -> None:
    getattr(story, far)()
    assert refusals(cloud, story.by_user(story.closing()), "ann") == ["WRONG_STATE"]


def test_an_order_cancelled_before_its_voucher_has_none_to_burn(cloud: Cloud, story: Story) -> None:
    story.until_selected().by_user(MIND)
    assert refusals(cloud, story.by_provider(story.closing()), "sun") == ["ORDER_MOVED_ON"]


# A device that says both


@pytest.mark.parametrize("name", ["ann", "sun"])
@pytest.mark.parametrize("far", ["until_active", "until_ending", "until_settled", "until_disputed"])
def test_a_used_voucher_that_is_said_to_be_burned_puts_the_device_aside(
    cloud: Cloud, story: Story, far: str, name: str
) -> None:
    getattr(story, far)()
    state, closing = story.state, story.closing(receipt_number=Number(9))
    for sender in (name, "ann", "sun"):
        assert refusals(cloud, cloud.say(sender, story.order, closing), sender) == []
    assert story.state == state
    assert cloud.asset(story.device).suspended
    assert cloud.alerts() == ["RECEIPT_CONFLICT"]
    assert [kind for kind, _ in parts_of(cloud, story.order)].count(PartKind.SERIAL_CLOSED) == 1
    assert cloud.audit().fault == ""


def test_a_burned_voucher_that_starts_something_puts_the_device_aside(cloud: Cloud, story: Story) -> None:
    story.until_authorized().by_provider(story.closing())
    started = story.starting()
    for name in ("ann", "sun"):
        assert refusals(cloud, cloud.say(name, story.order, started), name) == []
    assert story.state == OrderState.CANCELLED
    assert cloud.asset(story.device).suspended
    assert cloud.alerts() == ["RECEIPT_CONFLICT"]
    assert is_free(story)


def test_a_second_phone_cancels_for_a_lost_one_and_is_told_how_it_ends(cloud: Cloud, story: Story) -> None:
    second_terminal(cloud)
    story.until_authorized()
    cloud.say("ann2", story.order, MIND)
    assert cloud.told("sun", Cancel) == [MIND]
    story.by_provider(story.closing())
    assert reasons(story, "ann2") == reasons(story) == ["CHANGED_MIND"]
    early = Story(cloud, order=SECOND).until_selected()
    cloud.say("ann2", early.order, MIND)
    assert early.state == OrderState.CANCELLED
    assert reasons(story, "ann2") == ["CHANGED_MIND"] * 2
