"""Whole orders of a battery: a deposit is held with the price, and a battery that does not come back costs its caps."""

from typing import Any

import pytest

from cloud.store import people
from energyshare.bodies import ChargeRecordBody, SilenceDecisionBody
from energyshare.errors import Rejected
from energyshare.messages import ConfirmEnd, Inventory, OrderClosed, Settled
from energyshare.values import AssetState, ChargeBasis, EndCause, Kind, Number, OrderId, OrderState, PartKind
from energyshare.wire import open_signed
from tests.cloud.actors import FUNDS, PLATFORM, Cloud, asset_of, refusals
from tests.cloud.story import Story

HELD = 5_000 + 565
"""The deposit, and two hours at 2.00 and 1.00 flat with 13 % VAT."""


@pytest.fixture
def story(cloud: Cloud) -> Story:
    return Story(cloud, device="sun-battery")


def record(cloud: Cloud) -> ChargeRecordBody:
    return open_signed(ChargeRecordBody, cloud.told("ann", Settled)[-1].charge_record, PLATFORM.public).body


def test_a_battery_is_borrowed_returned_and_paid_and_the_deposit_comes_back(cloud: Cloud, story: Story) -> None:
    story.until_selected()
    assert cloud.balance("ann").held_minor == HELD
    story.by_provider(story.issuing())
    story.by_user(story.starting())
    assert cloud.order(story.order).wait == "RETURN"
    cloud.pass_s(1_800)
    story.end(1_800, 600)
    story.by_user(story.asking_to_end())
    story.by_provider(story.confirming())
    assert story.state == OrderState.SETTLED
    assert cloud.money(story.order) == [
        ("HOLD", 565),
        ("DEPOSIT_HOLD", 5_000),
        ("CHARGE", 226),
        ("DEPOSIT_RELEASE", 0),
        ("EARNING", 190),
        ("COMMISSION", 10),
        ("VAT", 26),
    ]
    assert (cloud.balance("ann").available_minor, cloud.balance("ann").held_minor) == (FUNDS - 226, 0)
    assert record(cloud).kind is Kind.BATTERY
    assert cloud.audit().fault == ""


def test_a_battery_that_is_not_returned_is_charged_to_its_cap_and_its_asset_is_unknown(cloud: Cloud, story: Story) -> None:
    story.until_active()
    cloud.pass_s(7_200 + 3_599)
    assert story.state == OrderState.ACTIVE
    cloud.pass_s(1)
    assert story.state == OrderState.SETTLED
    assert (record(cloud).basis, record(cloud).duration_s, record(cloud).incl_vat_minor) == (ChargeBasis.CAP, 7_200, 565)
    assert (cloud.balance("ann").available_minor, cloud.balance("ann").held_minor) == (FUNDS - HELD, 5_000)
    silence = cloud.told("sun", Settled)[0].part(PartKind.SILENCE_DECISION)
    assert silence is not None
    assert open_signed(SilenceDecisionBody, silence, PLATFORM.public).body.waited_for == "RETURN"
    assert [a.unknown for a in cloud_assets(cloud) if a.name == "sun-battery"] == [True]
    assert cloud.audit().fault == ""


def test_readings_do_not_lower_what_a_lost_battery_costs(cloud: Cloud, story: Story) -> None:
    story.until_active()
    story.by_user(story.reporting(story.read(0, 0), story.read(60, 10)))
    cloud.pass_s(10_800)
    assert record(cloud).incl_vat_minor == 565


def test_a_return_within_the_grace_is_billed_by_the_receipt_and_never_past_the_cap(cloud: Cloud, story: Story) -> None:
    story.until_active()
    cloud.pass_s(10_000)
    story.end(10_000, 900, cause=EndCause.DURATION_CAP)
    story.by_provider(story.reporting_end())
    story.by_provider(story.confirming())
    assert (record(cloud).basis, record(cloud).duration_s) == (ChargeBasis.END_RECEIPT, 7_200)
    assert record(cloud).incl_vat_minor == 565


def test_a_request_to_end_without_the_lock_s_receipt_waits_for_the_return(cloud: Cloud, story: Story) -> None:
    story.until_active()
    story.by_user(story.asking_to_end(with_receipt=False))
    assert (story.state, cloud.order(story.order).wait) == (OrderState.ACTIVE, "RETURN")
    assert cloud.told("sun", ConfirmEnd)[-1].end_receipt is None
    cloud.pass_s(10_800)
    assert (record(cloud).basis, record(cloud).incl_vat_minor) == (ChargeBasis.CAP, 565)


def test_a_return_that_its_provider_confirms_without_a_receipt_costs_flat_and_minimum(cloud: Cloud, story: Story) -> None:
    """Its provider has it back and says so: no time and energy are proven, and no deposit is claimed."""
    story.until_active()
    story.by_user(story.asking_to_end(with_receipt=False))
    story.by_provider(story.confirming())
    assert (story.state, story.wait) == (OrderState.SETTLED, None)
    assert (record(cloud).basis, record(cloud).duration_s, record(cloud).incl_vat_minor) == (ChargeBasis.FLAT, 0, 113)
    assert (cloud.balance("ann").available_minor, cloud.balance("ann").held_minor) == (FUNDS - 113, 0)
    assert [a.unknown for a in cloud_assets(cloud) if a.name == "sun-battery"] == [False]
    assert cloud.audit().fault == ""


def test_an_unknown_battery_is_offered_again_once_its_provider_reports_it(cloud: Cloud, story: Story) -> None:
    story.until_active()
    cloud.pass_s(10_800)
    cloud.say("sun", None, Inventory((asset_of(cloud.roster, "sun-battery", version=Number(2)),), ()))
    again = Story(cloud, user="ben", device="sun-battery", order=OrderId(b"\x02" * 16)).until_selected()
    assert again.state == OrderState.SELECTED


def test_an_asset_stated_twice_in_one_batch_is_as_stated_last(cloud: Cloud) -> None:
    new = asset_of(cloud.roster, "sun-outlet", name="new")
    closed = asset_of(cloud.roster, "sun-outlet", name="new", version=Number(2), state=AssetState.OUT_OF_SERVICE)
    cloud.process(cloud.inbound("sun", None, Inventory((new,), ())), cloud.inbound("sun", None, Inventory((closed,), ())))
    assert [(a.version, a.state) for a in cloud_assets(cloud) if a.name == "new"] == [(2, AssetState.OUT_OF_SERVICE)]


def test_nobody_but_its_provider_states_an_asset(cloud: Cloud) -> None:
    outcome = cloud.say("moon", None, Inventory((asset_of(cloud.roster, "sun-battery", version=Number(9)),), ()))
    assert refusals(cloud, outcome, "moon") == ["ASSET_FOREIGN"]
    assert refusals(cloud, cloud.say("ann", None, Inventory((asset_of(cloud.roster, "sun-battery"),), ())), "ann") == [
        "WRONG_ROLE"
    ]


def test_a_cancelled_battery_is_told_to_everyone_and_looked_up_by_its_end(cloud: Cloud, story: Story) -> None:
    story.until_offered().by_user(story.cancelling())
    assert len(cloud.told("sun", OrderClosed)) == len(cloud.told("ann", OrderClosed)) == 1
    assert cloud.readers.order_id(story.order.hex()[-8:]) == story.order
    with pytest.raises(Rejected, match="UNKNOWN_ORDER"):
        cloud.readers.order_id("ffffffff")


def cloud_assets(cloud: Cloud) -> list[Any]:
    return list(people.assets(cloud.readers, 100))
