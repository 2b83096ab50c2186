"""Batteries that do not come back in time: the cap, the deposit, and what reverses them."""

import pytest

from cloud.domain.inbound import RulingMade
from cloud.domain.settings import Settings
from energyshare.bodies import ChargeRecordBody, SilenceDecisionBody
from energyshare.messages import Settled
from energyshare.signing import Label, digest
from energyshare.values import ChargeBasis, EndCause, Minor, OrderId, OrderState, PartKind, later
from energyshare.wire import digest_of, open_signed
from tests.cloud.actors import FUNDS, PLATFORM, Cloud, asset_of, parts_of, refusals, tariff_bytes
from tests.cloud.conftest import OpenCloud
from tests.cloud.story import Story

HELD, CAPPED, DEPOSIT = 5_565, 565, 5_000
SELECTED = [("HOLD", 565), ("DEPOSIT_HOLD", DEPOSIT)]
"""Two hours at 2.00 and 1.00 flat with 13 % VAT, and the deposit."""
OVERDUE_S, WEEK_S = 7_200 + 3_600, 7 * 86_400
CHARGED = [
    *SELECTED,
    ("CHARGE", CAPPED),
    ("DEPOSIT_RELEASE", 0),
    ("EARNING", 475),
    ("COMMISSION", 25),
    ("VAT", 65),
    ("DEPOSIT_HOLD", DEPOSIT),
]
CLAIMED = [("DEPOSIT_CHARGE", DEPOSIT), ("CLAIM", DEPOSIT)]
REVERSED = [("EARNING_BACK", 285), ("COMMISSION_BACK", 15), ("VAT_BACK", 39), ("REFUND", 339)]
"""Half an hour costs 226: 200 without VAT, of which the commission is 10."""


@pytest.fixture
def story(cloud: Cloud) -> Story:
    return Story(cloud, device="sun-battery").until_active()


def overdue(story: Story) -> Story:
    story.cloud.pass_s(OVERDUE_S)
    return story


def returned(story: Story, elapsed_s: int, name: str = "sun") -> list[str]:
    """Report an end receipt dated so long after the start."""
    story.end(elapsed_s, 600, cause=EndCause.DURATION_CAP)
    message = story.reporting_end() if name == "sun" else story.asking_to_end()
    return refusals(story.cloud, story.cloud.say(name, story.order, message), name)


def require_lawful(cloud: Cloud, story: Story) -> None:
    assert cloud.audit().fault == ""
    rows = cloud.money(story.order)
    sums = {reason: sum(amount for other, amount in rows if other == reason) for reason, _ in rows}
    assert sums["CHARGE"] - sums.get("REFUND", 0) == story.bill().incl_vat_minor
    assert sums.get("DEPOSIT_CHARGE", 0) - sums.get("DEPOSIT_REFUND", 0) == story.bill().deposit_claimed_minor


# The cap


def test_at_the_cap_and_grace_the_cap_is_charged_and_the_deposit_stays_held(cloud: Cloud, story: Story) -> None:
    cloud.pass_s(OVERDUE_S - 1)
    assert story.state == OrderState.ACTIVE
    cloud.pass_s(1)
    assert (story.state, story.wait) == (OrderState.SETTLED, "NOT_RETURNED")
    assert cloud.money(story.order) == CHARGED
    assert (cloud.balance("ann").available_minor, cloud.balance("ann").held_minor) == (FUNDS - HELD, DEPOSIT)
    assert (story.bill().basis, story.bill().deposit_claimed_minor) == (ChargeBasis.CAP, 0)
    assert cloud.asset("sun-battery").unknown
    require_lawful(cloud, story)


def test_a_provider_that_says_nothing_for_seven_days_lets_the_deposit_go(cloud: Cloud, story: Story) -> None:
    overdue(story)
    cloud.pass_s(WEEK_S - 1)
    assert cloud.balance("ann").held_minor == DEPOSIT
    cloud.pass_s(1)
    assert cloud.money(story.order) == [*CHARGED, ("DEPOSIT_RELEASE", 0)]
    assert (story.state, cloud.balance("ann").available_minor) == (OrderState.SETTLED, FUNDS - CAPPED)
    assert story.wait is None
    assert refusals(cloud, story.by_provider(story.not_returning()), "sun") == ["NOT_OVERDUE"]
    require_lawful(cloud, story)


def test_a_battery_without_a_deposit_is_charged_to_the_cap_and_done(cloud: Cloud) -> None:
    asset = asset_of(cloud.roster, "sun-battery", deposit_minor=Minor(0))
    story = Story(cloud, device="sun-battery").until_demanded()
    story.by_provider(story.offering(asset=asset))
    story.by_user(story.selecting())
    story.by_provider(story.issuing())
    story.by_user(story.starting())
    overdue(story)
    assert cloud.money(story.order) == [row for row in CHARGED if not row[0].startswith("DEPOSIT")]
    assert story.wait is None


def test_a_claimed_deposit_that_its_user_disputes_is_held_apart_from_the_price(cloud: Cloud, story: Story) -> None:
    overdue(story).by_provider(story.not_returning())
    story.by_user(story.disputing(DEPOSIT + 100))
    assert cloud.money(story.order)[-2:] == [("HOLD", 84), ("DEPOSIT_HOLD", DEPOSIT)]
    assert cloud.instruct(story.order, RulingMade(Minor(4_100), "it came back scratched")) is None
    assert cloud.money(story.order)[-3:] == [("RELEASE", 0), ("CLAIM_BACK", 1_000), ("DEPOSIT_REFUND", 1_000)]
    assert (story.bill().incl_vat_minor, story.bill().deposit_claimed_minor) == (CAPPED, DEPOSIT - 1_000)
    require_lawful(cloud, story)


def test_a_ruled_damage_stays_owed_when_a_dearer_receipt_comes_late(cloud: Cloud) -> None:
    story = Story(cloud, device="sun-battery").until_active()
    cloud.now = story.at(1_800)
    story.by_user(story.reporting(story.read(1_800, 600)))
    cloud.now = story.at(5_400)
    story.by_user(story.asking_to_end(with_receipt=False))
    story.by_provider(story.refusing_end(1_000))
    assert cloud.instruct(story.order, RulingMade(Minor(1_000), "scratched")) is None
    story.end(5_400, 600)
    story.by_user(story.asking_to_end())
    assert story.bill().deposit_claimed_minor == 1_000
    assert cloud.audit().fault == ""


# Not returned


@pytest.mark.parametrize("second", [0, 1, WEEK_S - 1])
def test_the_deposit_is_claimed_by_a_statement_within_seven_days(cloud: Cloud, story: Story, second: int) -> None:
    overdue(story)
    first = story.bills()[0]
    cloud.pass_s(second)
    assert refusals(cloud, story.by_provider(story.not_returning()), "sun") == []
    assert cloud.money(story.order) == [*CHARGED, *CLAIMED]
    bill = story.bill()
    assert (bill.basis, bill.incl_vat_minor, bill.deposit_claimed_minor) == (ChargeBasis.CAP, CAPPED, DEPOSIT)
    assert bill.corrects_hash == digest_of(ChargeRecordBody, first.charge_record)
    assert PartKind.NOT_RETURNED in {part.kind for part in bill.parts}
    assert bill == story.bill("sun")
    assert (cloud.balance("ann").available_minor, cloud.balance("ann").held_minor) == (FUNDS - HELD, 0)
    assert cloud.balance("sun").available_minor == 475 + DEPOSIT
    assert story.wait is None
    require_lawful(cloud, story)


def test_a_statement_at_the_very_moment_settles_and_claims_in_one(cloud: Cloud, story: Story) -> None:
    cloud.now = later(cloud.now, OVERDUE_S)
    story.by_provider(story.not_returning())
    assert (story.bill().incl_vat_minor, story.bill().deposit_claimed_minor) == (CAPPED, DEPOSIT)
    assert story.bill().corrects_hash is None
    silence = story.bills()[0].part(PartKind.SILENCE_DECISION)
    assert silence is not None
    assert open_signed(SilenceDecisionBody, silence, PLATFORM.public).body.waited_for == "RETURN"
    assert cloud.money(story.order) == [
        *SELECTED,
        ("CHARGE", CAPPED),
        ("DEPOSIT_CHARGE", DEPOSIT),
        ("EARNING", 475),
        ("COMMISSION", 25),
        ("VAT", 65),
        ("CLAIM", DEPOSIT),
    ]
    require_lawful(cloud, story)


def test_a_statement_made_too_early_is_refused_whenever_it_comes(cloud: Cloud, story: Story) -> None:
    cloud.now = later(cloud.now, OVERDUE_S - 1)
    early = story.not_returning()
    assert refusals(cloud, story.by_provider(early), "sun") == ["NOT_OVERDUE"]
    ahead = story.not_returning(later(cloud.now, 60))
    assert refusals(cloud, story.by_provider(ahead), "sun") == ["NOT_OVERDUE"]
    cloud.now = later(cloud.now, 1)
    assert refusals(cloud, story.by_provider(early), "sun") == ["NOT_OVERDUE"]
    assert story.state == OrderState.ACTIVE


def test_a_deposit_is_claimed_once(cloud: Cloud, story: Story) -> None:
    overdue(story).by_provider(story.not_returning())
    assert refusals(cloud, story.by_provider(story.not_returning()), "sun") == ["NOT_OVERDUE"]


@pytest.mark.parametrize(
    ("message", "name", "reason"),
    [
        (lambda s: s.not_returning(order_id=OrderId(b"\x09" * 16)), "sun", "RECEIPT_FOREIGN"),
        (lambda s: s.not_returning(), "ann", "SIGNATURE_INVALID"),
        (lambda s: s.not_returning(), "moon", "SIGNATURE_INVALID"),
    ],
)
def test_such_statements_claim_nothing(cloud: Cloud, story: Story, message: object, name: str, reason: str) -> None:
    overdue(story)
    said = message(story)  # type: ignore[operator]
    assert refusals(cloud, cloud.say(name, story.order, said), name) == [reason]
    assert cloud.balance("ann").held_minor == DEPOSIT


@pytest.mark.parametrize(
    ("far", "reason"),
    [
        ("until_authorized", "WRONG_STATE"),
        ("until_active", "NOT_OVERDUE"),
        ("until_ending", "WRONG_STATE"),
        ("until_settled", "NOT_OVERDUE"),
        ("until_disputed", "ORDER_MOVED_ON"),
        ("until_expired", "ORDER_MOVED_ON"),
    ],
)
def test_what_is_not_out_is_not_missing(cloud: Cloud, far: str, reason: str) -> None:
    other = Story(cloud, device="sun-battery")
    getattr(other, far)()
    assert refusals(cloud, other.by_provider(other.not_returning()), "sun") == [reason]


@pytest.mark.parametrize("device", ["sun-outlet", "sun-worker"])
def test_only_batteries_are_returned(cloud: Cloud, device: str) -> None:
    other = Story(cloud, device=device).until_active()
    cloud.now = later(cloud.now, 30 * 86_400)
    assert refusals(cloud, other.by_provider(other.not_returning()), "sun") == ["NOT_OVERDUE"]


# Returned after all


@pytest.mark.parametrize("name", ["ann", "sun"])
def test_an_earlier_return_reverses_the_cap(cloud: Cloud, story: Story, name: str) -> None:
    overdue(story)
    first = story.bills()[0]
    cloud.pass_s(86_400)
    assert returned(story, 1_800, name) == []
    bill = story.bill()
    assert (bill.basis, bill.incl_vat_minor, bill.deposit_claimed_minor) == (ChargeBasis.END_RECEIPT, 226, 0)
    assert bill.corrects_hash == digest_of(ChargeRecordBody, first.charge_record)
    assert cloud.money(story.order) == [*CHARGED, ("DEPOSIT_RELEASE", 0), *REVERSED]
    assert (cloud.balance("ann").available_minor, cloud.balance("ann").held_minor) == (FUNDS - 226, 0)
    assert cloud.balance("sun").available_minor == 190
    assert story.wait is None
    require_lawful(cloud, story)


def test_an_earlier_return_reverses_a_claimed_deposit_too(cloud: Cloud, story: Story) -> None:
    overdue(story).by_provider(story.not_returning())
    cloud.pass_s(30 * 86_400)
    assert returned(story, 1_800) == []
    assert story.bill().incl_vat_minor == 226
    assert cloud.money(story.order) == [
        *CHARGED,
        *CLAIMED,
        *REVERSED[:3],
        ("CLAIM_BACK", DEPOSIT),
        REVERSED[3],
        ("DEPOSIT_REFUND", DEPOSIT),
    ]
    assert cloud.balance("ann").available_minor == FUNDS - 226
    require_lawful(cloud, story)


def test_a_return_before_the_statement_gives_the_deposit_back_and_the_cap_stays(cloud: Cloud, story: Story) -> None:
    overdue(story)
    cloud.pass_s(3 * 86_400)
    story.by_provider(story.not_returning())
    assert returned(story, OVERDUE_S + 86_400) == []
    assert (story.bill().basis, story.bill().incl_vat_minor) == (ChargeBasis.END_RECEIPT, CAPPED)
    assert story.bill().deposit_claimed_minor == 0
    assert cloud.balance("ann").available_minor == FUNDS - CAPPED
    require_lawful(cloud, story)


def test_a_return_after_the_statement_changes_nothing(cloud: Cloud, story: Story) -> None:
    overdue(story).by_provider(story.not_returning())
    money = cloud.money(story.order)
    cloud.pass_s(86_400)
    for name in ("sun", "ann", "sun"):
        assert returned(story, OVERDUE_S + 3_600, name) == []
    assert cloud.money(story.order) == money
    assert (len(story.bills()), cloud.alerts()) == (2, [])
    assert [kind for kind, _ in parts_of(cloud, story.order)].count(PartKind.END_RECEIPT) == 1
    require_lawful(cloud, story)


def test_a_return_while_the_deposit_waits_lets_it_go_and_the_cap_stays(cloud: Cloud, story: Story) -> None:
    overdue(story)
    cloud.pass_s(86_400)
    for name in ("sun", "ann"):
        assert returned(story, OVERDUE_S + 3_600, name) == []
    assert cloud.money(story.order) == [*CHARGED, ("DEPOSIT_RELEASE", 0)]
    assert (story.bill().basis, len(story.bills())) == (ChargeBasis.CAP, 1)
    assert refusals(cloud, story.by_provider(story.not_returning()), "sun") == ["NOT_OVERDUE"]
    require_lawful(cloud, story)


PARKED_TARIFF = tariff_bytes(("TIME", "2.00"), ("PARKING_TIME", "10.00"))


@pytest.mark.parametrize("is_claimed", [True, False])
def test_a_return_whose_receipt_would_bill_more_gives_the_deposit_back_and_no_more(cloud: Cloud, is_claimed: bool) -> None:
    asset = asset_of(cloud.roster, "sun-battery", tariff_hash=digest(Label.TARIFF, PARKED_TARIFF))
    story = Story(cloud, device="sun-battery").until_demanded()
    story.by_provider(story.offering(asset=asset, tariff=PARKED_TARIFF))
    story.by_user(story.selecting())
    story.by_provider(story.issuing())
    story.by_user(story.starting())
    story.by_user(story.reporting(story.read(0, 0, supplying=False)))
    overdue(story)
    if is_claimed:
        story.by_provider(story.not_returning())
    assert returned(story, 7_000) == []
    assert (story.bill().basis, story.bill().incl_vat_minor) == (ChargeBasis.CAP, 452)
    assert (story.bill().deposit_claimed_minor, cloud.balance("ann").available_minor) == (0, FUNDS - 452)
    require_lawful(cloud, story)


def test_a_return_after_the_deposit_went_back_is_billed_by_its_receipt(cloud: Cloud, story: Story) -> None:
    overdue(story)
    cloud.pass_s(WEEK_S)
    assert returned(story, 1_800) == []
    assert story.bill().incl_vat_minor == 226
    require_lawful(cloud, story)


def test_a_second_receipt_beside_the_one_that_reversed_is_a_conflict(cloud: Cloud, story: Story) -> None:
    overdue(story)
    returned(story, 1_800)
    assert returned(story, 1_700) == []
    assert story.bill().incl_vat_minor == 226
    assert cloud.alerts() == ["RECEIPT_CONFLICT"]


def test_a_cap_may_be_disputed_once_the_deposit_is_settled(cloud: Cloud, story: Story) -> None:
    overdue(story)
    assert refusals(cloud, story.by_user(story.disputing(100)), "ann") == ["DISPUTE_LATE"]
    cloud.pass_s(WEEK_S)
    assert refusals(cloud, story.by_user(story.disputing(100)), "ann") == []
    assert story.state == OrderState.DISPUTED
    require_lawful(cloud, story)


def test_a_claimed_deposit_may_be_disputed(cloud: Cloud, story: Story) -> None:
    overdue(story).by_provider(story.not_returning())
    story.by_user(story.disputing(DEPOSIT))
    assert (cloud.balance("sun").held_minor, cloud.audit().fault) == (DEPOSIT, "")
    cloud.pass_s(14 * 86_400)
    assert (story.bill().incl_vat_minor, story.bill().deposit_claimed_minor) == (CAPPED, 0)
    assert cloud.balance("ann").available_minor == FUNDS - CAPPED
    require_lawful(cloud, story)


def test_the_wait_for_the_statement_is_the_operator_s(open_cloud: OpenCloud) -> None:
    cloud = open_cloud(settings=Settings(wait_not_returned_s=10))
    overdue(Story(cloud, device="sun-battery").until_active())
    cloud.pass_s(9)
    assert cloud.balance("ann").held_minor == DEPOSIT
    cloud.pass_s(1)
    assert cloud.balance("ann").held_minor == 0


def test_all_who_take_part_are_told_of_every_record(cloud: Cloud, story: Story) -> None:
    overdue(story).by_provider(story.not_returning())
    returned(story, 1_800)
    assert len(cloud.told("ann", Settled)) == len(cloud.told("sun", Settled)) == 3
