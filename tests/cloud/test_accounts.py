"""Several terminals of one account, and accounts that the operator has suspended."""

from functools import partial

import pytest

from cloud.acts import Act, resume, suspend
from energyshare.messages import ConfirmEnd, DemandNotice, Exclusion, Screened, Settled, SettlementRequest, Started
from energyshare.values import AccountId, EndCause, OrderId, OrderState, PartKind
from tests.cloud.actors import Cloud, key, parts_of, refusals, second_terminal
from tests.cloud.saying import TYRE
from tests.cloud.story import Story

SECOND = OrderId(b"\x02" * 16)
ACT = Act("root", "account suspend", "ann")


@pytest.fixture
def story(cloud: Cloud) -> Story:
    second_terminal(cloud)
    return Story(cloud)


def set_suspended(cloud: Cloud, name: str, suspended: bool = True) -> None:
    account = AccountId(cloud.roster[name].owner)
    cloud.run(partial(suspend if suspended else resume, account=account, act=ACT))


# A second phone


@pytest.mark.parametrize("device", ["sun-outlet", "sun-battery"])
def test_a_second_phone_asks_to_end_what_a_lost_one_began(cloud: Cloud, story: Story, device: str) -> None:
    story.device = device
    story.until_active()
    asking = story.asking_from_afar()
    cloud.say("ann2", story.order, asking)
    asked = cloud.told("sun", ConfirmEnd)[-1]
    assert (asked.end_request, asked.requester_key) == (asking.end_request, cloud.roster["ann2"].key.public)
    assert (asked.end_receipt, story.state) == (None, OrderState.ACTIVE)
    story.end(600, 400, cause=EndCause.OWNER, releaser=key("sun"))
    story.by_provider(story.reporting_end())
    story.by_provider(story.confirming())
    assert story.bill("ann2") == story.bill("ann") == story.bill("sun")
    assert PartKind.END_REQUEST not in [kind for kind, _ in parts_of(cloud, story.order)]
    assert cloud.audit().fault == ""


def test_its_word_alone_bills_nothing(cloud: Cloud, story: Story) -> None:
    story.until_active()
    cloud.say("ann2", story.order, story.asking_from_afar())
    confirmed = refusals(cloud, story.by_provider(story.confirming(end_receipt_hash=None)), "sun")
    assert (confirmed, story.state) == (["WRONG_STATE"], OrderState.ACTIVE)


def test_the_holder_s_own_request_names_no_other_key(cloud: Cloud, story: Story) -> None:
    story.until_ending()
    assert cloud.told("sun", ConfirmEnd)[-1].requester_key is None


@pytest.mark.parametrize(
    ("far", "reason"),
    [
        ("until_offered", "WRONG_STATE"),
        ("until_selected", "WRONG_STATE"),
        ("until_authorized", "WRONG_STATE"),
    ],
)
def test_there_is_nothing_to_end_before_the_start(cloud: Cloud, story: Story, far: str, reason: str) -> None:
    getattr(story, far)()
    assert refusals(cloud, cloud.say("ann2", story.order, story.asking_from_afar()), "ann2") == [reason]


def test_a_second_phone_asks_about_this_order_only(cloud: Cloud, story: Story) -> None:
    story.until_active()
    asking = story.asking_from_afar(order_id=SECOND)
    assert refusals(cloud, cloud.say("ann2", story.order, asking), "ann2") == ["RECEIPT_FOREIGN"]


def test_a_second_phone_does_not_end_with_the_first_one_s_receipt(cloud: Cloud, story: Story) -> None:
    story.until_active().end(600, 400)
    asking = story.asking_to_end(signer=key("ann2"))
    assert refusals(cloud, cloud.say("ann2", story.order, asking), "ann2") == ["PRESENTATION_MISSING"]


def test_a_phone_of_another_account_is_a_stranger(cloud: Cloud, story: Story) -> None:
    story.until_active()
    asking = story.asking_from_afar("ben")
    assert refusals(cloud, cloud.say("ben", story.order, asking), "ben") == ["UNKNOWN_ORDER"]
    assert cloud.told("sun", ConfirmEnd) == []


def test_a_second_phone_that_joined_is_told_of_what_follows(cloud: Cloud, story: Story) -> None:
    worker = Story(cloud, device="sun-worker").until_authorized()
    cloud.say("ann2", worker.order, worker.cancelling())
    started = worker.starting()
    worker.by_user(started)
    worker.by_provider(worker.proposing(TYRE))
    worker.by_user(worker.answering())
    worker.by_provider(worker.requesting())
    worker.by_user(worker.settling())
    assert cloud.told("ann2", Started) == [started]
    assert len(cloud.told("ann2", SettlementRequest)) == 1
    assert cloud.told("ann2", Settled) == cloud.told("ann", Settled)


# Suspended


def test_a_suspended_user_neither_demands_nor_selects(cloud: Cloud) -> None:
    story, new = Story(cloud).until_offered(), Story(cloud, order=SECOND)
    set_suspended(cloud, "ann")
    assert refusals(cloud, story.by_user(story.selecting()), "ann") == ["ACCOUNT_SUSPENDED"]
    assert refusals(cloud, new.by_user(new.demand()), "ann") == ["ACCOUNT_SUSPENDED"]
    set_suspended(cloud, "ann", suspended=False)
    story.by_user(story.selecting())
    assert story.state == OrderState.SELECTED


@pytest.mark.parametrize("name", ["ann", "sun"])
@pytest.mark.parametrize("device", ["sun-outlet", "sun-battery", "sun-worker"])
def test_what_runs_goes_on_when_a_side_is_suspended(cloud: Cloud, device: str, name: str) -> None:
    story = Story(cloud, device=device).until_active()
    set_suspended(cloud, name)
    if story.is_service:
        story.by_provider(story.requesting())
        story.by_user(story.settling())
    else:
        story.end(600, 400)
        story.by_user(story.asking_to_end())
        story.by_provider(story.confirming())
    assert story.state == OrderState.SETTLED
    assert refusals(cloud, story.by_user(story.disputing(1)), "ann") == []


def test_the_standing_offer_of_a_provider_that_was_suspended_since_can_not_be_selected(cloud: Cloud) -> None:
    story = Story(cloud).until_offered()
    set_suspended(cloud, "sun")
    assert refusals(cloud, story.by_user(story.selecting()), "ann") == ["ASSET_TAKEN"]
    assert (story.state, cloud.balance("ann").held_minor) == (OrderState.DEMANDED, 0)
    set_suspended(cloud, "sun", suspended=False)
    story.by_user(story.selecting())
    assert story.state == OrderState.SELECTED


def test_a_suspended_provider_is_not_asked_and_offers_nothing(cloud: Cloud) -> None:
    asked = Story(cloud).until_demanded()
    set_suspended(cloud, "sun")
    assert refusals(cloud, asked.by_provider(asked.offering()), "sun") == ["ACCOUNT_SUSPENDED"]
    Story(cloud, order=SECOND).until_demanded()
    assert len(cloud.told("sun", DemandNotice)) == 1
    assert Exclusion("OFFLINE", 3) in cloud.told("ann", Screened)[-1].exclusions
