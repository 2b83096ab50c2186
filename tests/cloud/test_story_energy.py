"""Whole orders at an outlet, from the demand to the money."""

import pytest

from cloud.domain.settings import Settings
from energyshare.bodies import ChargeRecordBody, EndReceiptBody, SilenceDecisionBody
from energyshare.credentials import open_grant
from energyshare.messages import (
    Award,
    Cancel,
    ConfirmEnd,
    Declined,
    DemandNotice,
    Exclusion,
    NotSelected,
    Offer,
    OrderClosed,
    Reading,
    Reopened,
    Screened,
    Settled,
    Started,
    Voucher,
    VoucherRejected,
    Withdrawn,
)
from energyshare.values import AssetId, ChargeBasis, Connector, EndCause, Kind, OrderId, OrderState, PartKind, Role, later
from energyshare.wire import open_signed, peek
from tests.cloud.actors import FUNDS, PLATFORM, ROOT, Cloud, key, parts_of, refusals
from tests.cloud.conftest import OpenCloud
from tests.cloud.story import Story

PAID = [("HOLD", 814), ("CHARGE", 407), ("EARNING", 342), ("COMMISSION", 18), ("VAT", 47)]
"""2.5 kWh at 1.20 and one hour at 0.60 are 3.60; 13 % VAT; 5 % commission on 3.60."""
RELEASED = [("HOLD", 814), ("RELEASE", 0)]


def record(cloud: Cloud, name: str = "ann") -> ChargeRecordBody:
    """The charge record that a terminal was told, checked under the platform key."""
    settled = cloud.told(name, Settled)[-1]
    platform = open_grant(settled.platform_grant, ROOT.public, Role.PLATFORM)
    assert platform.body.public_key == PLATFORM.public
    return open_signed(ChargeRecordBody, settled.charge_record, platform.body.public_key).body


def test_an_outlet_is_demanded_started_ended_billed_and_paid(cloud: Cloud) -> None:
    story = Story(cloud)
    story.by_user(story.demand())
    assert [len(n.asset_ids) for n in cloud.told("sun", DemandNotice)] == [3]

    story.by_provider(story.offering())
    assert cloud.told("ann", Offer) == [Offer(story.offer.signed, cloud.roster["sun"].grant.signed)]

    story.by_user(story.selecting())
    assert cloud.told("sun", Award)[0].holder_key == cloud.roster["ann"].key.public
    assert cloud.balance("ann").held_minor == 814

    voucher = story.issuing()
    story.by_provider(voucher)
    assert cloud.told("ann", Voucher) == [voucher]
    assert len(cloud.told("moon", NotSelected)) == 1

    started = story.starting()
    story.by_user(started)
    assert cloud.told("sun", Started) == [started]

    cloud.pass_s(1_800)
    reading = story.reporting(story.read(0, 0), story.read(1_800, 1_250))
    story.by_user(reading)
    assert cloud.told("sun", Reading) == [reading]

    cloud.pass_s(1_800)
    story.end(3_600, 2_500)
    story.by_user(story.asking_to_end())
    assert cloud.told("sun", ConfirmEnd)[0].end_receipt == story.ended.signed

    story.by_provider(story.confirming())
    assert story.state == OrderState.SETTLED
    assert cloud.money(story.order) == PAID
    charged = record(cloud)
    assert charged == record(cloud, "sun")
    assert (charged.basis, charged.energy_wh, charged.duration_s) == (ChargeBasis.END_RECEIPT, 2_500, 3_600)
    assert (charged.excl_vat_minor, charged.incl_vat_minor, charged.hold_minor) == (360, 407, 814)
    assert cloud.balance("ann").available_minor == FUNDS - 407
    assert cloud.balance("sun").available_minor == 342
    assert cloud.audit().fault == ""


def test_the_charge_record_names_every_part_that_is_kept(cloud: Cloud) -> None:
    story = Story(cloud).until_active()
    story.by_user(story.reporting(story.read(0, 0), story.read(600, 400)))
    story.end(1_200, 800)
    story.by_user(story.asking_to_end())
    story.by_provider(story.confirming())
    kept = [PartKind(kind) for kind, _ in parts_of(cloud, story.order)]
    assert [part.kind for part in record(cloud).parts] == [
        PartKind.OFFER,
        PartKind.SELECTION,
        PartKind.VOUCHER,
        PartKind.ISSUER_GRANT,
        PartKind.DEVICE_GRANT,
        PartKind.START_RECEIPT,
        PartKind.READING,
        PartKind.END_RECEIPT,
        PartKind.END_REQUEST,
        PartKind.END_CONFIRMATION,
    ]
    assert sorted(kept) == sorted([*(p.kind for p in record(cloud).parts), PartKind.READING, PartKind.CHARGE_RECORD])


def test_the_provider_reports_start_and_end_when_the_phone_is_dead(cloud: Cloud) -> None:
    story = Story(cloud).until_authorized()
    story.starting()
    cloud.pass_s(7_200)
    story.end(7_200, 2_500, cause=EndCause.DURATION_CAP)
    story.by_provider(story.reporting_end())
    assert story.state == OrderState.ENDING
    story.by_provider(story.confirming())
    assert story.state == OrderState.SETTLED
    assert record(cloud).duration_s == 7_200
    assert cloud.audit().fault == ""


def test_the_owner_may_release_for_a_holder_who_does_not_come_back(cloud: Cloud) -> None:
    story = Story(cloud).until_active()
    story.end(3_600, 2_500, cause=EndCause.OWNER, releaser=key("sun"))
    story.by_provider(story.reporting_end())
    story.by_provider(story.confirming())
    assert cloud.money(story.order) == PAID


@pytest.mark.parametrize(
    ("most", "total", "rows"),
    [
        (1_000, 407, PAID),
        (407, 407, PAID),
        (406, 406, [("HOLD", 814), ("CHARGE", 406), ("EARNING", 341), ("COMMISSION", 18), ("VAT", 47)]),
        (1, 1, [("HOLD", 814), ("CHARGE", 1), ("EARNING", 1)]),
        (0, 0, RELEASED),
    ],
)
def test_a_provider_may_only_lower_the_bill(cloud: Cloud, most: int, total: int, rows: list[tuple[str, int]]) -> None:
    story = Story(cloud).until_ending()
    story.by_provider(story.confirming(most))
    assert record(cloud).incl_vat_minor == total
    assert cloud.money(story.order) == rows
    assert cloud.audit().fault == ""


def test_an_end_without_a_receipt_is_billed_on_the_last_reading_before_it(cloud: Cloud) -> None:
    story = Story(cloud).until_active()
    cloud.pass_s(3_600)
    story.by_user(story.reporting(story.read(0, 0), story.read(3_600, 2_500)))
    story.by_user(story.asking_to_end(with_receipt=False))
    cloud.pass_s(60)
    story.by_provider(story.reporting(story.read(3_660, 2_600)))
    story.by_provider(story.confirming())
    assert record(cloud).basis is ChargeBasis.LAST_READING
    assert cloud.money(story.order) == PAID


def test_without_receipt_and_readings_only_flat_and_minimum_are_billed(cloud: Cloud) -> None:
    story = Story(cloud).until_active()
    story.by_user(story.asking_to_end(with_receipt=False))
    story.by_provider(story.confirming())
    assert (record(cloud).basis, record(cloud).incl_vat_minor) == (ChargeBasis.FLAT, 0)
    assert cloud.money(story.order) == RELEASED


def test_a_receipt_that_comes_while_an_end_is_being_confirmed_is_billed(cloud: Cloud) -> None:
    story = Story(cloud).until_active()
    cloud.pass_s(3_600)
    story.by_user(story.asking_to_end(with_receipt=False))
    story.end(3_600, 2_500)
    story.by_provider(story.reporting_end())
    story.by_provider(story.confirming())
    assert record(cloud).basis is ChargeBasis.END_RECEIPT
    assert cloud.money(story.order) == PAID


def test_of_two_requests_to_end_the_record_names_the_later(cloud: Cloud) -> None:
    story = Story(cloud).until_active()
    cloud.pass_s(3_600)
    story.by_user(story.asking_to_end(with_receipt=False))
    story.end(3_600, 2_500)
    story.by_user(story.asking_to_end())
    story.by_provider(story.confirming())
    assert [part.kind for part in record(cloud).parts].count(PartKind.END_REQUEST) == 1


def test_readings_that_the_device_signed_past_its_own_end_do_not_block_the_bill(cloud: Cloud) -> None:
    story = Story(cloud).until_ending()
    story.by_provider(story.reporting(story.read(0, 0), story.read(9_000, 9_000)))
    story.by_provider(story.confirming())
    assert cloud.money(story.order) == PAID


def test_an_end_confirmed_in_the_batch_that_reports_it_is_settled(cloud: Cloud) -> None:
    story = Story(cloud).until_authorized()
    story.starting()
    cloud.pass_s(3_600)
    story.end(3_600, 2_500)
    cloud.process(
        cloud.inbound("sun", story.order, story.reporting_end()), cloud.inbound("sun", story.order, story.confirming())
    )
    assert cloud.money(story.order) == PAID


def test_what_is_free_holds_and_moves_nothing(cloud: Cloud) -> None:
    story = Story(cloud, device="sun-free").until_settled()
    assert (story.state, cloud.money(story.order)) == (OrderState.SETTLED, [])
    assert cloud.audit().fault == ""


def test_what_is_free_can_be_cancelled(cloud: Cloud) -> None:
    story = Story(cloud, device="sun-free").until_selected()
    story.by_user(story.cancelling())
    assert (story.state, cloud.audit().fault) == (OrderState.CANCELLED, "")


# Silence


def test_no_offer_within_the_wait_expires_the_order(cloud: Cloud) -> None:
    story = Story(cloud).until_demanded()
    cloud.pass_s(59)
    assert story.state == OrderState.DEMANDED
    cloud.pass_s(1)
    assert story.state == OrderState.EXPIRED
    assert [c.reason for c in cloud.told("ann", OrderClosed)] == ["NO_OFFER"]
    assert [c.reason for c in cloud.told("moon", OrderClosed)] == ["NO_OFFER"]


def test_a_demand_that_fits_nobody_expires_at_once(cloud: Cloud) -> None:
    story = Story(cloud).until_demanded(kinds=(Kind.ENERGY,), connector=Connector.CHADEMO)
    assert story.state == OrderState.EXPIRED
    assert [c.reason for c in cloud.told("ann", OrderClosed)] == ["NO_PROVIDER"]


def test_offers_bind_until_the_last_one_expires(cloud: Cloud) -> None:
    story = Story(cloud).until_offered()
    cloud.pass_s(60)
    assert (story.state, cloud.order(story.order).wait) == (OrderState.DEMANDED, "OFFER_EXPIRY")
    cloud.pass_s(239)
    assert story.state == OrderState.DEMANDED
    cloud.pass_s(1)
    assert [c.reason for c in cloud.told("sun", OrderClosed)] == ["OFFERS_EXPIRED"]


def test_an_offer_can_be_selected_after_the_wait_for_offers(cloud: Cloud) -> None:
    story = Story(cloud).until_offered()
    cloud.pass_s(60)
    story.by_user(story.selecting())
    assert story.state == OrderState.SELECTED


def test_no_voucher_reopens_the_order_while_another_offer_binds(cloud: Cloud) -> None:
    first = Story(cloud).until_offered()
    other = Story(cloud, device="moon-outlet")
    other.by_provider(other.offering())
    first.by_user(first.selecting())
    cloud.pass_s(30)
    assert first.state == OrderState.DEMANDED
    assert [r.reason for r in cloud.told("ann", Reopened)] == ["NO_VOUCHER"]
    assert len(cloud.told("sun", NotSelected)) == 1
    assert cloud.balance("ann").held_minor == 0

    late = first.by_provider(first.issuing())
    assert refusals(cloud, late, "sun") == ["ORDER_MOVED_ON"]

    other.by_user(other.selecting())
    other.by_provider(other.issuing())
    other.by_user(other.starting())
    cloud.pass_s(3_600)
    other.end(3_600, 2_500)
    other.by_user(other.asking_to_end())
    other.by_provider(other.confirming())
    assert cloud.money(first.order) == [*RELEASED, *PAID]
    assert cloud.audit().fault == ""


def test_no_voucher_and_no_other_offer_expires_the_order(cloud: Cloud) -> None:
    story = Story(cloud).until_selected()
    cloud.pass_s(30)
    assert (story.state, cloud.money(story.order)) == (OrderState.EXPIRED, RELEASED)
    again = Story(cloud, user="ben", order=OrderId(b"\x02" * 16)).until_selected()
    assert again.state == OrderState.SELECTED


def test_a_voucher_that_is_not_used_frees_the_hold_a_day_after_its_window(cloud: Cloud) -> None:
    story = Story(cloud).until_authorized()
    cloud.pass_s(3_600 + 86_399)
    assert story.state == OrderState.AUTHORIZED
    cloud.pass_s(1)
    assert (story.state, cloud.money(story.order)) == (OrderState.EXPIRED, RELEASED)
    Story(cloud, user="ben", order=OrderId(b"\x02" * 16)).until_demanded()
    assert Exclusion("UNKNOWN", 1) in cloud.told("ben", Screened)[0].exclusions


def test_a_start_in_its_window_counts_until_the_wait_is_over(cloud: Cloud) -> None:
    story = Story(cloud).until_authorized()
    at = cloud.now
    cloud.pass_s(80_000)
    story.by_user(story.starting(at=at))
    assert story.state == OrderState.ACTIVE


@pytest.mark.parametrize("with_readings", [True, False])
def test_a_supply_that_never_ends_is_settled_on_its_last_reading(cloud: Cloud, with_readings: bool) -> None:
    story = Story(cloud).until_active()
    if with_readings:
        cloud.pass_s(3_600)
        story.by_user(story.reporting(story.read(3_600, 2_500)))
    cloud.pass_s(7_200 + 86_400)
    assert story.state == OrderState.SETTLED
    assert record(cloud).basis is (ChargeBasis.LAST_READING if with_readings else ChargeBasis.FLAT)
    assert cloud.money(story.order) == (PAID if with_readings else RELEASED)


def test_an_end_that_is_not_confirmed_is_settled_by_a_signed_decision_on_silence(cloud: Cloud) -> None:
    story = Story(cloud).until_ending()
    cloud.pass_s(599)
    assert story.state == OrderState.ENDING
    cloud.pass_s(1)
    settled = cloud.told("sun", Settled)[0]
    silence_decision, end_receipt = settled.part(PartKind.SILENCE_DECISION), settled.part(PartKind.END_RECEIPT)
    assert silence_decision is not None
    assert end_receipt is not None
    silence = open_signed(SilenceDecisionBody, silence_decision, PLATFORM.public)
    assert (silence.body.waited_for, silence.body.decided_time) == ("CONFIRMATION", cloud.now)
    assert silence.digest in {part.hash for part in record(cloud).parts}
    assert peek(EndReceiptBody, end_receipt) == story.ended.body
    assert cloud.money(story.order) == PAID


def test_a_message_that_comes_with_its_own_timer_wins(cloud: Cloud) -> None:
    story = Story(cloud).until_selected()
    cloud.now = later(cloud.now, 30)
    cloud.process(cloud.inbound("sun", story.order, story.issuing()), fire_timers=True)
    assert story.state == OrderState.AUTHORIZED
    cloud.pass_s(3_601)
    assert story.state == OrderState.AUTHORIZED


# Races and cancellations


@pytest.mark.parametrize("together", [True, False])
def test_two_users_race_for_one_outlet_and_one_gets_it(cloud: Cloud, together: bool) -> None:
    ann = Story(cloud).until_offered()
    ben = Story(cloud, user="ben", order=OrderId(b"\x02" * 16)).until_offered()
    messages = [cloud.inbound("ann", ann.order, ann.selecting()), cloud.inbound("ben", ben.order, ben.selecting())]
    outcomes = [cloud.process(*messages)] if together else [cloud.process(one) for one in messages]
    assert (ann.state, ben.state) == (OrderState.SELECTED, OrderState.DEMANDED)
    assert refusals(cloud, outcomes[-1], "ben") == ["ASSET_TAKEN"]
    assert cloud.money(ben.order) == []


def test_one_wallet_can_not_be_held_twice_in_a_batch(cloud: Cloud) -> None:
    first = Story(cloud, duration_s=604_800, energy_wh=500_000).until_offered()
    second = Story(cloud, device="moon-outlet", order=OrderId(b"\x02" * 16), duration_s=604_800, energy_wh=500_000)
    second.until_offered()
    outcome = cloud.process(
        cloud.inbound("ann", first.order, first.selecting()), cloud.inbound("ann", second.order, second.selecting())
    )
    assert (first.state, second.state) == (OrderState.SELECTED, OrderState.DEMANDED)
    assert refusals(cloud, outcome, "ann") == ["INSUFFICIENT_FUNDS"]


def test_a_user_cancels_before_and_after_selecting(cloud: Cloud) -> None:
    demanded = Story(cloud).until_offered()
    demanded.by_user(demanded.cancelling())
    selected = Story(cloud, order=OrderId(b"\x02" * 16)).until_selected()
    selected.by_user(selected.cancelling())
    assert (demanded.state, selected.state) == (OrderState.CANCELLED, OrderState.CANCELLED)
    assert (cloud.money(demanded.order), cloud.money(selected.order)) == ([], RELEASED)
    assert len(cloud.told("sun", OrderClosed)) == 2
    third = Story(cloud, user="ben", order=OrderId(b"\x03" * 16)).until_selected()
    assert third.state == OrderState.SELECTED


def test_a_provider_that_cancels_takes_back_its_own_offers_only(cloud: Cloud) -> None:
    story = Story(cloud).until_offered()
    other = Story(cloud, device="moon-outlet")
    other.by_provider(other.offering())
    other.by_provider(Cancel("BROKEN"))
    other.by_provider(Cancel("BROKEN"))
    assert cloud.told("ann", Withdrawn) == [Withdrawn(other.offer.digest)]
    assert refusals(cloud, other.by_user(other.selecting()), "ann") == ["OFFER_UNKNOWN"]
    story.by_user(story.selecting())
    assert story.state == OrderState.SELECTED


def test_the_selected_provider_cancels_and_the_others_stand(cloud: Cloud) -> None:
    story = Story(cloud).until_offered()
    other = Story(cloud, device="moon-outlet")
    other.by_provider(other.offering())
    story.by_user(story.selecting())
    story.by_provider(Cancel("BROKEN"))
    assert (story.state, cloud.money(story.order)) == (OrderState.DEMANDED, RELEASED)
    other.by_user(other.selecting())
    assert story.state == OrderState.SELECTED


def test_another_provider_cancels_while_one_is_selected(cloud: Cloud) -> None:
    story = Story(cloud).until_selected()
    outcome = cloud.say("moon", story.order, Cancel("BROKEN"))
    assert (story.state, refusals(cloud, outcome, "moon")) == (OrderState.SELECTED, [])


def test_a_decline_reaches_the_user(cloud: Cloud) -> None:
    story = Story(cloud).until_demanded()
    declined = Declined(AssetId(b"a" * 16), "CLOSED")
    story.by_provider(declined)
    assert cloud.told("ann", Declined) == [declined]


def test_a_voucher_that_the_user_can_not_use_changes_nothing(cloud: Cloud) -> None:
    story = Story(cloud).until_authorized()
    story.by_user(VoucherRejected("VOUCHER_CAPS"))
    assert story.state == OrderState.AUTHORIZED


def test_settings_of_the_operator_are_what_decides(open_cloud: OpenCloud) -> None:
    cloud = open_cloud(settings=Settings(commission_bp=0, wait_voucher_s=5))
    story = Story(cloud).until_settled()
    assert cloud.money(story.order) == [("HOLD", 814), ("CHARGE", 407), ("EARNING", 360), ("VAT", 47)]


def test_a_reading_relayed_twice_is_taken_once(cloud: Cloud) -> None:
    story = Story(cloud).until_active()
    readings = story.reporting(story.read(0, 0), story.read(600, 400))
    story.by_user(readings)
    story.by_provider(readings)
    assert len(cloud.told("sun", Reading)) == 1
    assert cloud.told("ann", Reading) == []
