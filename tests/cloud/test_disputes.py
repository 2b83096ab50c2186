"""Disputes and rulings: only the disputed part is held, every row to the minor unit, and one ruling ends it."""

import pytest

from cloud.domain.inbound import RulingMade
from cloud.domain.settings import Settings
from energyshare.bodies import ChargeRecordBody, RulingBody, SilenceDecisionBody
from energyshare.messages import Dispute, Ruling
from energyshare.values import ChargeBasis, Digest, Minor, OrderId, OrderState, PartKind
from energyshare.wire import digest_of, open_signed
from tests.cloud.actors import FUNDS, PLATFORM, Cloud, refusals, second_terminal
from tests.cloud.conftest import OpenCloud
from tests.cloud.story import Story

PAID = [("HOLD", 814), ("CHARGE", 407), ("EARNING", 342), ("COMMISSION", 18), ("VAT", 47)]
"""2.5 kWh and an hour at the outlet."""
BATTERY = [
    ("HOLD", 565),
    ("DEPOSIT_HOLD", 5_000),
    ("CHARGE", 339),
    ("DEPOSIT_RELEASE", 0),
    ("EARNING", 285),
    ("COMMISSION", 15),
    ("VAT", 39),
]
"""An hour of a battery, whose deposit is 5,000."""
QUOTE = 20_140
WINDOW_S, RULED_S = 72 * 3_600, 14 * 86_400


def ruled(story: Story, charged: int) -> object:
    return story.cloud.instruct(story.order, RulingMade(Minor(charged), "the meter was read"))


def total(story: Story) -> int:
    return story.bill().incl_vat_minor + story.bill().deposit_claimed_minor


def require_lawful(story: Story) -> None:
    """All laws hold, and what the user paid is what the latest record says."""
    cloud = story.cloud
    assert cloud.audit().fault == ""
    assert cloud.balance("ann").available_minor == FUNDS - total(story) - cloud.balance("ann").held_minor


# A claim of the provider


@pytest.fixture
def battery(cloud: Cloud) -> Story:
    return Story(cloud, device="sun-battery").until_ending()


@pytest.mark.parametrize("claimed", [1, 5_000])
def test_a_claim_up_to_the_deposit_stays_held_and_the_bill_is_paid(cloud: Cloud, battery: Story, claimed: int) -> None:
    battery.by_provider(battery.refusing_end(claimed))
    assert (battery.state, battery.wait) == (OrderState.DISPUTED, "RULING")
    assert cloud.money(battery.order) == [*BATTERY, ("DEPOSIT_HOLD", claimed)]
    assert (battery.bill().incl_vat_minor, battery.bill().deposit_claimed_minor) == (339, 0)
    assert [settled.disputed_minor for settled in battery.bills()] == [claimed]
    assert PartKind.END_REFUSAL in {part.kind for part in battery.bills()[0].parts}
    assert cloud.asset("sun-battery").held_by is None
    require_lawful(battery)


def test_a_claim_above_the_deposit_is_refused(cloud: Cloud, battery: Story) -> None:
    assert refusals(cloud, battery.by_provider(battery.refusing_end(5_001)), "sun") == ["CLAIM_ABOVE_DEPOSIT"]
    assert battery.state == OrderState.ENDING


def test_an_outlet_without_a_deposit_has_nothing_to_claim(cloud: Cloud) -> None:
    story = Story(cloud).until_ending()
    assert refusals(cloud, story.by_provider(story.refusing_end(1)), "sun") == ["CLAIM_ABOVE_DEPOSIT"]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [({"order_id": OrderId(b"\x09" * 16)}, "CONFIRMATION_FOREIGN"), ({"end_receipt_hash": None}, "CONFIRMATION_FOREIGN")],
)
def test_a_refusal_answers_the_end_that_is_recorded(
    cloud: Cloud, battery: Story, changes: dict[str, object], reason: str
) -> None:
    assert refusals(cloud, battery.by_provider(battery.refusing_end(1, **changes)), "sun") == [reason]


@pytest.mark.parametrize(
    ("charged", "rows"),
    [
        (0, [("DEPOSIT_RELEASE", 0)]),
        (600, [("DEPOSIT_CHARGE", 600), ("CLAIM", 600)]),
        (1_000, [("DEPOSIT_CHARGE", 1_000), ("CLAIM", 1_000)]),
    ],
)
def test_a_ruling_gives_the_provider_all_part_or_nothing_of_its_claim(
    cloud: Cloud, battery: Story, charged: int, rows: list[tuple[str, int]]
) -> None:
    battery.by_provider(battery.refusing_end(1_000))
    assert ruled(battery, charged) is None
    assert cloud.money(battery.order) == [*BATTERY, ("DEPOSIT_HOLD", 1_000), *rows]
    assert (battery.bill().incl_vat_minor, battery.bill().deposit_claimed_minor) == (339, charged)
    assert (battery.state, battery.wait) == (OrderState.SETTLED, None)
    require_lawful(battery)


# A refused settlement


@pytest.fixture
def service(cloud: Cloud) -> Story:
    story = Story(cloud, device="sun-worker").until_ending()
    story.by_user(story.settling(2_120))
    return story


@pytest.mark.parametrize(
    ("charged", "rows"),
    [
        (0, [("RELEASE", 0)]),
        (1_060, [("CHARGE", 1_060), ("EARNING", 950), ("COMMISSION", 50), ("VAT", 60)]),
        (2_120, [("CHARGE", 2_120), ("EARNING", 1_900), ("COMMISSION", 100), ("VAT", 120)]),
    ],
)
def test_a_ruling_charges_what_it_gives_of_a_refused_settlement(
    cloud: Cloud, service: Story, charged: int, rows: list[tuple[str, int]]
) -> None:
    first = cloud.money(service.order)
    assert first[-1] == ("HOLD", 2_120)
    assert ruled(service, charged) is None
    assert cloud.money(service.order) == [*first, *rows]
    assert service.bill().incl_vat_minor == QUOTE - 2_120 + charged
    require_lawful(service)


# A dispute of a settled bill


@pytest.fixture
def settled(cloud: Cloud) -> Story:
    return Story(cloud).until_settled()


def test_what_a_user_disputes_is_held_at_the_provider(cloud: Cloud, settled: Story) -> None:
    dispute = settled.disputing(100)
    settled.by_user(dispute)
    assert (settled.state, settled.wait) == (OrderState.DISPUTED, "RULING")
    assert cloud.told("sun", Dispute) == [dispute]
    assert cloud.money(settled.order) == [*PAID, ("HOLD", 84)]
    assert (cloud.balance("sun").available_minor, cloud.balance("sun").held_minor) == (342 - 84, 84)
    assert cloud.balance("ann").held_minor == 0
    require_lawful(settled)


@pytest.mark.parametrize(
    ("charged", "rows"),
    [
        (100, [("RELEASE", 0)]),
        (50, [("EARNING_BACK", 42), ("COMMISSION_BACK", 2), ("VAT_BACK", 6), ("REFUND", 50)]),
        (0, [("EARNING_BACK", 84), ("COMMISSION_BACK", 4), ("VAT_BACK", 12), ("REFUND", 100)]),
    ],
)
def test_a_ruling_gives_back_what_it_does_not_charge(
    cloud: Cloud, settled: Story, charged: int, rows: list[tuple[str, int]]
) -> None:
    settled.by_user(settled.disputing(100))
    assert ruled(settled, charged) is None
    assert cloud.money(settled.order) == [*PAID, ("HOLD", 84), *rows]
    assert total(settled) == 307 + charged
    require_lawful(settled)


def test_the_whole_bill_may_be_disputed_and_given_back(cloud: Cloud, settled: Story) -> None:
    settled.by_user(settled.disputing(407))
    assert cloud.balance("sun").available_minor == 0
    ruled(settled, 0)
    assert (total(settled), cloud.balance("ann").available_minor) == (0, FUNDS)
    require_lawful(settled)


def test_a_ruling_is_told_signed_and_corrects_the_record(cloud: Cloud, settled: Story) -> None:
    first = settled.bills()[0]
    settled.by_user(settled.disputing(100))
    ruled(settled, 50)
    told = [open_signed(RulingBody, ruling.ruling, PLATFORM.public) for ruling in cloud.told("ann", Ruling)]
    assert [(ruling.body.charged_minor, ruling.body.reason) for ruling in told] == [(50, "the meter was read")]
    assert cloud.told("sun", Ruling) == cloud.told("ann", Ruling)
    bill = settled.bill()
    assert bill == settled.bill("sun")
    assert (bill.basis, bill.corrects_hash) == (ChargeBasis.RULING, digest_of(ChargeRecordBody, first.charge_record))
    assert [part.hash for part in bill.parts if part.kind is PartKind.RULING] == [told[0].digest]
    assert settled.bills()[-1].disputed_minor == 0


@pytest.mark.parametrize(
    ("passed_s", "reasons"), [(0, []), (WINDOW_S, []), (WINDOW_S + 1, ["DISPUTE_LATE"]), (30 * 86_400, ["DISPUTE_LATE"])]
)
def test_a_bill_may_be_disputed_for_72_hours(cloud: Cloud, settled: Story, passed_s: int, reasons: list[str]) -> None:
    cloud.pass_s(passed_s)
    assert refusals(cloud, settled.by_user(settled.disputing(100)), "ann") == reasons


def test_no_more_than_was_charged_may_be_disputed(cloud: Cloud, settled: Story) -> None:
    assert refusals(cloud, settled.by_user(settled.disputing(408)), "ann") == ["DISPUTE_AMOUNT"]


def test_only_the_record_that_counts_may_be_disputed(cloud: Cloud, settled: Story) -> None:
    wrong = settled.disputing(100, charge_record_hash=Digest(b"h" * 32))
    assert refusals(cloud, settled.by_user(wrong), "ann") == ["DISPUTE_LATE"]
    old = settled.disputing(10)
    settled.by_user(settled.disputing(100))
    assert refusals(cloud, settled.by_user(old), "ann") == ["DISPUTE_LATE"]
    ruled(settled, 50)
    assert refusals(cloud, settled.by_user(old), "ann") == ["DISPUTE_LATE"]


def test_a_provider_disputes_no_bill(cloud: Cloud, settled: Story) -> None:
    assert refusals(cloud, settled.by_provider(settled.disputing(100)), "sun") == ["WRONG_ROLE"]


def test_a_ruling_gives_no_more_time_to_dispute(cloud: Cloud, settled: Story) -> None:
    cloud.pass_s(WINDOW_S - 10)
    settled.by_user(settled.disputing(100))
    ruled(settled, 50)
    again = settled.disputing(10)
    cloud.pass_s(11)
    assert refusals(cloud, settled.by_user(again), "ann") == ["DISPUTE_LATE"]


def test_a_ruled_bill_may_be_disputed_again_within_its_time(cloud: Cloud, settled: Story) -> None:
    for _ in range(3):
        cloud.pass_s(60)
        settled.by_user(settled.disputing(100))
        assert ruled(settled, 50) is None
    assert (total(settled), len(settled.bills())) == (257, 4)
    require_lawful(settled)


def test_a_second_phone_disputes_and_is_told_with_the_first(cloud: Cloud, settled: Story) -> None:
    second_terminal(cloud)
    cloud.say("ann2", settled.order, settled.disputing(100))
    assert settled.state == OrderState.DISPUTED
    ruled(settled, 0)
    assert len(cloud.told("ann2", Ruling)) == len(cloud.told("ann", Ruling)) == 1
    assert settled.bill("ann2") == settled.bill("ann")
    require_lawful(settled)


def test_a_free_bill_has_nothing_to_dispute(cloud: Cloud) -> None:
    free = Story(cloud, device="sun-free").until_settled()
    assert refusals(cloud, free.by_user(free.disputing(1)), "ann") == ["DISPUTE_AMOUNT"]


def test_a_lowered_bill_is_disputed_as_it_was_lowered(cloud: Cloud) -> None:
    story = Story(cloud).until_ending()
    story.by_provider(story.confirming(200))
    story.by_user(story.disputing(200))
    ruled(story, 1)
    assert total(story) == 1
    require_lawful(story)


def test_a_commission_of_everything_leaves_the_provider_nothing_to_hold(open_cloud: OpenCloud) -> None:
    cloud = open_cloud(settings=Settings(commission_bp=10_000))
    story = Story(cloud).until_disputed(407)
    assert (story.state, cloud.audit().fault) == (OrderState.DISPUTED, "")
    ruled(story, 7)
    assert total(story) == 7
    require_lawful(story)


# Rulings


@pytest.mark.parametrize("charged", [-1, 101])
def test_a_ruling_is_within_what_is_disputed(cloud: Cloud, settled: Story, charged: int) -> None:
    settled.by_user(settled.disputing(100))
    refused = ruled(settled, charged)
    assert getattr(refused, "reason", None) == "DISPUTE_AMOUNT"
    assert settled.state == OrderState.DISPUTED


def test_a_dispute_is_ruled_once(cloud: Cloud, settled: Story) -> None:
    settled.by_user(settled.disputing(100))
    assert ruled(settled, 50) is None
    assert getattr(ruled(settled, 50), "reason", None) == "WRONG_STATE"


@pytest.mark.parametrize("far", ["until_offered", "until_authorized", "until_active", "until_ending", "until_settled"])
def test_there_is_nothing_to_rule_without_a_dispute(cloud: Cloud, far: str) -> None:
    story = Story(cloud)
    getattr(story, far)()
    assert getattr(ruled(story, 0), "reason", None) == "WRONG_STATE"
    assert getattr(cloud.instruct(OrderId(b"\x09" * 16), RulingMade(Minor(0), "x")), "reason", None) == "UNKNOWN_ORDER"


# Nobody rules


def on_receipt(cloud: Cloud) -> Story:
    return Story(cloud).until_disputed(100)


def on_reading(cloud: Cloud) -> Story:
    story = Story(cloud).until_active()
    story.by_user(story.reporting(story.read(3_600, 2_500)))
    cloud.pass_s(7_200 + 86_400)
    story.by_user(story.disputing(100))
    return story


def on_the_cap(cloud: Cloud) -> Story:
    story = Story(cloud, device="sun-battery").until_active()
    cloud.pass_s(7_200 + 3_600)
    cloud.pass_s(7 * 86_400)
    story.by_user(story.disputing(100))
    return story


def on_a_claim(cloud: Cloud) -> Story:
    story = Story(cloud, device="sun-battery").until_ending()
    story.by_provider(story.refusing_end(100))
    return story


def refused_within_the_quote(cloud: Cloud) -> Story:
    story = Story(cloud, device="sun-worker").until_ending()
    story.by_user(story.settling(100))
    return story


def refused_beyond_the_quote(cloud: Cloud) -> Story:
    story = Story(cloud, device="sun-worker").until_ending(elapsed_s=7_200)
    story.by_user(story.settling(QUOTE))
    return story


def service_disputed(cloud: Cloud) -> Story:
    return Story(cloud, device="sun-worker").until_disputed(100)


@pytest.mark.parametrize(
    ("disputed", "outcome"),
    [
        (on_receipt, 407),
        (on_reading, 307),
        (on_the_cap, 465),
        (on_a_claim, 339),
        (refused_within_the_quote, QUOTE),
        (refused_beyond_the_quote, QUOTE),
        (service_disputed, QUOTE),
    ],
)
def test_without_a_ruling_for_14_days_the_evidence_decides(cloud: Cloud, disputed: object, outcome: int) -> None:
    story: Story = disputed(cloud)  # type: ignore[operator]
    assert story.state == OrderState.DISPUTED
    cloud.pass_s(RULED_S - 1)
    assert story.state == OrderState.DISPUTED
    require_lawful(story)
    cloud.pass_s(1)
    assert (story.state, total(story)) == (OrderState.SETTLED, outcome)
    silence = story.bills()[-1].part(PartKind.SILENCE_DECISION)
    assert silence is not None
    waits = [part for part in story.bills()[-1].parts if part.kind is PartKind.SILENCE_DECISION]
    last = open_signed(SilenceDecisionBody, waits[-1].signed, PLATFORM.public).body
    assert (last.waited_for, last.decided_time) == ("RULING", cloud.now)
    assert len(cloud.told("ann", Ruling)) == len(cloud.told("sun", Ruling)) == 1
    require_lawful(story)


def test_the_waits_of_disputes_are_the_operator_s(open_cloud: OpenCloud) -> None:
    cloud = open_cloud(settings=Settings(wait_ruling_s=10, dispute_within_s=5))
    story = Story(cloud).until_settled()
    cloud.pass_s(5)
    story.by_user(story.disputing(100))
    cloud.pass_s(10)
    assert (story.state, total(story)) == (OrderState.SETTLED, 407)
    late = Story(cloud, order=OrderId(b"\x02" * 16)).until_settled()
    cloud.pass_s(6)
    assert refusals(cloud, late.by_user(late.disputing(100)), "ann") == ["DISPUTE_LATE"]
