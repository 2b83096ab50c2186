"""What comes late or twice: starts after the order had run out, debts and how they are paid, and devices that contradict
themselves."""

import pytest

from energyshare.messages import Exclusion, Inventory, RejectedMessage, Screened, Started
from energyshare.values import (
    ChargeBasis,
    EndCause,
    EnergyWh,
    Number,
    OrderId,
    OrderState,
    PartKind,
    later,
)
from tests.cloud.actors import FUNDS, T0, Cloud, asset_of, parts_of, refusals
from tests.cloud.saying import JUMP_START, TYRE
from tests.cloud.story import Story

SECOND, THIRD = OrderId(b"\x02" * 16), OrderId(b"\x03" * 16)
BILL, HELD_FOR_BATTERY = 407, 5_565
"""2.5 kWh and an hour at the outlet; deposit and two hours of a battery."""
RAN_OUT = [("HOLD", 814), ("RELEASE", 0)]
OWED = [("RECEIVABLE", BILL), ("EARNING", 342), ("COMMISSION", 18), ("VAT", 47)]


def cancelled(s: Story) -> None:
    s.until_authorized().by_user(s.cancelling())
    s.cloud.pass_s(3_600 + 86_400)


def settled_late(story: Story) -> Story:
    story.until_late()
    story.end(3_600, 2_500)
    story.by_user(story.asking_to_end())
    story.by_provider(story.confirming())
    return story


# A start after the end


@pytest.mark.parametrize("name", ["ann", "sun"])
@pytest.mark.parametrize("device", ["sun-outlet", "sun-battery", "sun-worker"])
@pytest.mark.parametrize("ran_out", [Story.until_expired, cancelled], ids=["expired", "cancelled"])
def test_a_start_in_its_window_counts_whenever_it_is_told(cloud: Cloud, device: str, ran_out: object, name: str) -> None:
    story, begun = Story(cloud, device=device), cloud.now
    ran_out(story)  # type: ignore[operator]
    started = story.starting(at=begun)
    assert refusals(cloud, cloud.say(name, story.order, started), name) == []
    assert story.state == OrderState.ACTIVE
    assert cloud.told("sun" if name == "ann" else "ann", Started) == [started]
    assert cloud.asset(device).held_by == story.order
    assert cloud.balance("ann").held_minor == 0
    assert cloud.audit().fault == ""


def test_one_past_its_window_does_not(cloud: Cloud) -> None:
    story = Story(cloud).until_expired()
    reasons = refusals(cloud, story.by_user(story.starting(at=later(T0, 3_601))), "ann")
    assert (reasons, story.state) == (["VOUCHER_EXPIRED"], OrderState.EXPIRED)


def test_an_order_that_never_had_a_voucher_is_not_started(cloud: Cloud) -> None:
    story = Story(cloud).until_selected()
    story.issuing()
    story.by_user(story.cancelling())
    assert refusals(cloud, story.by_user(story.starting()), "ann") == ["ORDER_MOVED_ON"]


def test_its_bill_is_paid_from_the_wallet_at_once(cloud: Cloud) -> None:
    story = settled_late(Story(cloud))
    assert cloud.money(story.order) == [*RAN_OUT, *OWED, ("COLLECTION", BILL)]
    assert (cloud.balance("ann").available_minor, cloud.owed("ann")) == (FUNDS - BILL, 0)
    assert cloud.balance("sun").available_minor == 342
    assert story.bill().hold_minor == 814
    assert cloud.audit().fault == ""


def test_an_end_receipt_alone_proves_a_late_start(cloud: Cloud) -> None:
    story, begun = Story(cloud), cloud.now
    story.until_expired().starting(at=begun)
    story.end(3_600, 2_500)
    story.by_provider(story.reporting_end())
    assert story.state == OrderState.ENDING
    story.by_provider(story.confirming())
    assert cloud.money(story.order) == [*RAN_OUT, *OWED, ("COLLECTION", BILL)]
    assert cloud.audit().fault == ""


def test_what_follows_a_start_that_came_very_late_is_waited_for(cloud: Cloud) -> None:
    story, begun = Story(cloud), cloud.now
    story.until_expired()
    cloud.pass_s(30 * 86_400)
    story.by_provider(story.starting(at=begun))
    cloud.pass_s(599)
    story.end(3_600, 2_500)
    story.by_provider(story.reporting_end())
    cloud.pass_s(600)
    assert story.bill().basis is ChargeBasis.END_RECEIPT
    assert cloud.money(story.order)[-1] == ("COLLECTION", BILL)


@pytest.mark.parametrize(
    ("device", "total"), [("sun-outlet", 0), ("sun-battery", 565), ("sun-free", 0)], ids=["outlet", "battery", "free"]
)
def test_without_an_end_silence_bills_it_as_any_other_and_claims_no_deposit(cloud: Cloud, device: str, total: int) -> None:
    story = Story(cloud, device=device).until_late()
    cloud.pass_s(86_400)
    assert (story.state, story.bill().incl_vat_minor, story.wait) == (OrderState.SETTLED, total, None)
    assert refusals(cloud, story.by_provider(story.not_returning()), "sun") == ["NOT_OVERDUE"]
    assert cloud.audit().fault == ""


def test_no_deposit_is_claimed_of_what_is_not_held(cloud: Cloud) -> None:
    story = Story(cloud, device="sun-battery").until_late()
    story.end(3_600, 500)
    story.by_user(story.asking_to_end())
    assert refusals(cloud, story.by_provider(story.refusing_end(1)), "sun") == ["CLAIM_ABOVE_DEPOSIT"]


def test_a_late_service_may_be_amended_and_is_settled_without_a_hold(cloud: Cloud) -> None:
    story = Story(cloud, device="sun-worker").until_late()
    story.by_provider(story.proposing(TYRE))
    story.by_user(story.answering())
    assert (cloud.balance("ann").held_minor, cloud.audit().fault) == (0, "")
    story.by_provider(story.requesting(JUMP_START, TYRE))
    story.by_user(story.settling(1_000))
    assert (story.state, story.bill().incl_vat_minor) == (OrderState.SETTLED, 31_860)
    assert cloud.balance("ann").available_minor == FUNDS - 31_860
    assert cloud.audit().fault == ""


def test_a_late_service_that_is_never_settled_leaves_the_next_order_s_worker_alone(cloud: Cloud) -> None:
    story, begun = Story(cloud, device="sun-worker"), cloud.now
    story.until_expired()
    reported_again(cloud, "sun-worker")
    other = Story(cloud, user="ben", device="sun-worker", order=SECOND).until_active()
    story.by_user(story.starting(at=begun))
    assert cloud.asset("sun-worker").held_by == other.order
    cloud.pass_s(7_200 + 7 * 86_400 - 86_400 - 3_600)
    assert (story.state, other.state) == (OrderState.CANCELLED, OrderState.ACTIVE)
    assert cloud.asset("sun-worker").held_by == other.order
    assert cloud.audit().fault == ""


def test_a_late_supply_leaves_the_next_order_s_outlet_alone(cloud: Cloud) -> None:
    story, begun = Story(cloud), cloud.now
    story.until_expired()
    reported_again(cloud)
    other = Story(cloud, user="ben", order=SECOND).until_active()
    story.by_user(story.starting(at=begun))
    story.end(3_600, 2_500)
    story.by_user(story.asking_to_end())
    story.by_provider(story.confirming())
    assert cloud.asset("sun-outlet").held_by == other.order


# Debts


def in_debt(cloud: Cloud) -> tuple[Story, Story]:
    """Eve's late order of 407, of which her wallet pays 86, as the rest is held for another order that runs."""
    cloud.top_up("eve", 900)
    story, begun = Story(cloud, user="eve"), cloud.now
    story.until_expired()
    running = Story(cloud, user="eve", device="moon-outlet", order=SECOND).until_active()
    story.by_user(story.starting(at=begun))
    story.end(3_600, 2_500)
    story.by_user(story.asking_to_end())
    story.by_provider(story.confirming())
    return story, running


def test_what_the_wallet_lacks_is_owed_and_nothing_more_is_selected(cloud: Cloud) -> None:
    story, _ = in_debt(cloud)
    assert cloud.money(story.order) == [*RAN_OUT, *OWED, ("COLLECTION", 86)]
    assert (cloud.owed("eve"), cloud.balance("eve").available_minor) == (321, 0)
    assert (cloud.balance("sun").available_minor, cloud.audit().fault) == (342, "")
    reported_again(cloud)
    next_one = Story(cloud, user="eve", order=THIRD).until_offered()
    assert refusals(cloud, next_one.by_user(next_one.selecting()), "eve") == ["RECEIVABLE_DUE"]
    answered = [e.message for _, e in cloud.letters if isinstance(e.message, RejectedMessage)][-1]
    assert answered.metadata == {"owed": "321"}


def test_paying_in_pays_what_is_owed_first_in_part_or_whole(cloud: Cloud) -> None:
    in_debt(cloud)
    reported_again(cloud)
    next_one = Story(cloud, user="eve", order=THIRD).until_offered()
    cloud.top_up("eve", 100, b"1" * 16)
    assert (cloud.owed("eve"), cloud.balance("eve").available_minor) == (221, 0)
    assert refusals(cloud, next_one.by_user(next_one.selecting()), "eve") == ["RECEIVABLE_DUE"]
    cloud.top_up("eve", 221 + 814, b"2" * 16)
    cloud.top_up("eve", 221 + 814, b"2" * 16)
    assert (cloud.owed("eve"), cloud.balance("eve").available_minor) == (0, 814)
    next_one.by_user(next_one.selecting())
    assert next_one.state == OrderState.SELECTED
    assert cloud.audit().fault == ""


def test_what_another_order_s_end_frees_pays_what_is_owed(cloud: Cloud) -> None:
    _, running = in_debt(cloud)
    running.end(0, 0)
    running.by_user(running.asking_to_end())
    running.by_provider(running.confirming())
    assert cloud.money(running.order) == [("HOLD", 814), ("RELEASE", 0), ("COLLECTION", 321)]
    assert (cloud.owed("eve"), cloud.balance("eve").available_minor) == (0, 493)
    assert cloud.audit().fault == ""


def test_what_a_cancellation_frees_pays_what_is_owed(cloud: Cloud) -> None:
    cloud.top_up("eve", 900)
    story, begun = Story(cloud, user="eve"), cloud.now
    story.until_expired()
    other = Story(cloud, user="eve", device="moon-outlet", order=SECOND).until_selected()
    story.by_user(story.starting(at=begun))
    story.end(3_600, 2_500)
    story.by_user(story.asking_to_end())
    story.by_provider(story.confirming())
    assert cloud.owed("eve") == 321
    other.by_user(other.cancelling())
    assert (cloud.owed("eve"), cloud.balance("eve").available_minor) == (0, 493)
    assert cloud.audit().fault == ""


def test_what_a_correction_gives_back_pays_what_is_owed_for_the_order(cloud: Cloud) -> None:
    cloud.top_up("eve", HELD_FOR_BATTERY)
    story, begun = Story(cloud, user="eve", device="sun-battery"), cloud.now
    story.until_expired()
    Story(cloud, user="eve", device="moon-outlet", order=SECOND, energy_wh=40_000).until_active()
    assert cloud.balance("eve").available_minor == 5
    story.by_user(story.starting(at=begun))
    cloud.pass_s(600)
    assert (story.bill().incl_vat_minor, cloud.owed("eve")) == (565, 560)
    story.end(1_800, 100)
    story.by_provider(story.reporting_end())
    assert (story.bill().basis, story.bill().incl_vat_minor) == (ChargeBasis.END_RECEIPT, 226)
    assert [row for row in cloud.money(story.order) if row[0] in ("COLLECTION", "REFUND")] == [
        ("COLLECTION", 5),
        ("REFUND", 339),
        ("COLLECTION", 339),
    ]
    assert (cloud.owed("eve"), cloud.balance("eve").available_minor) == (221, 0)
    assert cloud.audit().fault == ""


# Devices that contradict themselves


DEVICES = ["sun-outlet", "sun-battery", "sun-worker"]


def is_put_aside(cloud: Cloud, device: str) -> bool:
    return bool(cloud.asset(device).suspended) and cloud.alerts() == ["RECEIPT_CONFLICT"]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("far", ["until_active", "until_ending", "until_settled", "until_disputed", "until_late"])
def test_of_two_start_receipts_the_first_governs_and_both_are_kept(cloud: Cloud, device: str, far: str) -> None:
    story = Story(cloud, device=device)
    getattr(story, far)()
    state, first = story.state, story.started
    second = story.starting(register_wh=EnergyWh(1), at=first.body.start_time)
    for name in ("sun", "ann", "sun"):
        assert refusals(cloud, cloud.say(name, story.order, second), name) == []
    assert story.state == state
    assert is_put_aside(cloud, device)
    assert kept(cloud, story, PartKind.START_RECEIPT) == {first.signed, story.started.signed}
    assert cloud.audit().fault == ""


@pytest.mark.parametrize("far", ["until_ending", "until_settled", "until_disputed"])
@pytest.mark.parametrize("device", DEVICES[:2])
def test_of_two_end_receipts_the_first_governs_and_both_are_kept(cloud: Cloud, device: str, far: str) -> None:
    story = Story(cloud, device=device)
    getattr(story, far)()
    state, first = story.state, story.ended
    story.end(60, 1)
    for name in ("sun", "ann", "sun"):
        second = story.reporting_end() if name == "sun" else story.asking_to_end()
        assert refusals(cloud, cloud.say(name, story.order, second), name) == []
    assert story.state == state
    assert is_put_aside(cloud, device)
    assert kept(cloud, story, PartKind.END_RECEIPT) == {first.signed, story.ended.signed}
    assert cloud.audit().fault == ""


def test_the_first_end_receipt_is_what_is_billed(cloud: Cloud) -> None:
    story = Story(cloud).until_ending()
    first = story.ended
    story.end(60, 1)
    story.by_provider(story.reporting_end())
    story.ended = first
    story.by_provider(story.confirming())
    assert story.bill().incl_vat_minor == BILL


@pytest.mark.parametrize("name", ["ann", "sun"])
def test_an_end_receipt_that_repeats_another_start_contradicts_it(cloud: Cloud, name: str) -> None:
    story = Story(cloud).until_active()
    first = story.started
    story.starting(register_wh=EnergyWh(1))
    story.end(600, 400, cause=EndCause.DURATION_CAP)
    message = story.asking_to_end() if name == "ann" else story.reporting_end()
    assert refusals(cloud, cloud.say(name, story.order, message), name) == []
    assert story.state == OrderState.ACTIVE
    assert is_put_aside(cloud, "sun-outlet")
    story.started = first
    story.end(600, 400, cause=EndCause.DURATION_CAP)
    story.by_provider(story.reporting_end())
    assert story.state == OrderState.ENDING


def test_a_device_that_was_put_aside_is_offered_to_nobody(cloud: Cloud) -> None:
    story = Story(cloud).until_settled()
    demanded = Story(cloud, user="ben", order=SECOND).until_demanded()
    offered = Story(cloud, user="ben", order=THIRD).until_offered()
    story.by_provider(story.starting(register_wh=EnergyWh(1)))
    assert refusals(cloud, demanded.by_provider(demanded.offering()), "sun") == ["ASSET_TAKEN"]
    assert refusals(cloud, offered.by_user(offered.selecting()), "ben") == ["ASSET_TAKEN"]
    Story(cloud, user="ben", order=OrderId(b"\x04" * 16)).until_demanded()
    assert Exclusion("SUSPENDED", 1) in cloud.told("ben", Screened)[-1].exclusions


def kept(cloud: Cloud, story: Story, kind: PartKind) -> set[bytes]:
    found = [signed for part, signed in parts_of(cloud, story.order) if part == kind]
    assert len(found) == len(set(found))
    return set(found)


def reported_again(cloud: Cloud, device: str = "sun-outlet") -> None:
    """Its provider says where an asset is."""
    version = Number(cloud.asset(device).version + 1)
    cloud.say("sun", None, Inventory((asset_of(cloud.roster, device, version=version),), ()))
