"""Orders of every kind that end in a bill, each in its own way: what the cloud makes of them has to follow from evidence.

A tale's name begins with the kind of its order, and then says what happened.
"""

from collections.abc import Callable

from cloud.domain.inbound import RulingMade
from energyshare.messages import Inventory
from energyshare.signing import Label, digest
from energyshare.values import EndCause, Minor, Number, OrderId, later
from tests.cloud.actors import asset_of, key, tariff_bytes
from tests.cloud.saying import JUMP_START, TOW, TYRE
from tests.cloud.story import Story

Tale = Callable[[Story], object]

SUPPLY_OVER_S = 7_200 + 86_400
OVERDUE_S, WEEK_S, RULED_S = 7_200 + 3_600, 7 * 86_400, 14 * 86_400
FLAT_TARIFF = tariff_bytes(("ENERGY", "1.20"), ("FLAT", "1.50"), min_price={"excl_vat": "2.00"})
MIXED_VAT_TARIFF = (
    b'{"currency":"CNY","elements":[{"price_components":['
    b'{"type":"ENERGY","price":"1.20","vat":"13","step_size":1},{"type":"FLAT","price":"1.00","vat":"6","step_size":1}]}]}'
)
STEPPED_TARIFF = (
    b'{"currency":"CNY","elements":[{"price_components":['
    b'{"type":"ENERGY","price":"1.20","vat":"13","step_size":500},'
    b'{"type":"PARKING_TIME","price":"6.00","vat":"13","step_size":900}]}]}'
)
PARKED_TARIFF = tariff_bytes(("TIME", "2.00"), ("PARKING_TIME", "10.00"))


def device_of(tale: Tale) -> str:
    """The device of a tale's order."""
    kind = tale.__name__.split("_", maxsplit=1)[0]
    return {"battery": "sun-battery", "service": "sun-worker", "energy": "sun-outlet"}[kind]


def ruled(story: Story, charged: int) -> None:
    assert story.cloud.instruct(story.order, RulingMade(Minor(charged), "the meter was read")) is None


# Energy


def energy_confirmed(story: Story, total: int | None = None) -> None:
    story.until_active()
    story.cloud.now = story.at(3_600)
    story.by_user(story.reporting(story.read(0, 0), story.read(1_800, 1_250)))
    story.end(3_600, 2_500)
    story.by_user(story.asking_to_end())
    story.by_provider(story.confirming(total))


def energy_lowered(story: Story) -> None:
    energy_confirmed(story, 300)


def energy_given_away(story: Story) -> None:
    energy_confirmed(story, 0)


def energy_followed_by_another(story: Story) -> None:
    energy_confirmed(story)
    energy_confirmed(Story(story.cloud, order=OrderId(b"\x02" * 16), serial=2))


def energy_asked_without_receipt(story: Story) -> None:
    story.until_active()
    story.cloud.now = story.at(3_600)
    story.by_user(story.reporting(story.read(0, 0), story.read(3_600, 2_500)))
    story.by_user(story.asking_to_end(with_receipt=False))
    story.cloud.now = story.at(3_660)
    story.by_provider(story.reporting(story.read(3_660, 2_600)))
    story.by_provider(story.confirming())


def energy_asked_before_any_reading(story: Story) -> None:
    story.until_active()
    story.by_user(story.asking_to_end(with_receipt=False))
    story.by_provider(story.reporting(story.read(60, 100)))
    story.by_provider(story.confirming())


def energy_unconfirmed(story: Story) -> None:
    story.until_active()
    story.by_user(story.reporting(story.read(0, 0), story.read(1_800, 1_250)))
    story.cloud.now = story.at(3_600)
    story.end(3_600, 2_500)
    story.by_user(story.asking_to_end())
    story.cloud.pass_s(600)


def energy_never_ended(story: Story) -> None:
    story.until_active()
    story.by_user(story.reporting(story.read(1_800, 1_250), story.read(3_600, 2_500)))
    story.cloud.pass_s(SUPPLY_OVER_S)


def energy_ended_unheard(story: Story) -> None:
    """Silence settled it on the last reading; the end receipt comes a day later."""
    story.until_active()
    story.by_user(story.reporting(story.read(0, 0), story.read(3_600, 2_500)))
    story.end(3_600, 2_500)
    story.cloud.pass_s(SUPPLY_OVER_S)
    story.cloud.pass_s(86_400)
    story.by_user(story.asking_to_end())


def energy_confirmed_before_its_receipt_came(story: Story) -> None:
    """The request came without a receipt and was confirmed; the device's receipt tells of less."""
    story.until_active()
    story.cloud.now = story.at(3_600)
    story.by_user(story.reporting(story.read(0, 0), story.read(1_800, 2_500)))
    story.by_user(story.asking_to_end(with_receipt=False))
    story.by_provider(story.confirming())
    story.end(1_800, 2_500)
    story.by_provider(story.reporting_end())


def priced(story: Story, tariff: bytes) -> Story:
    """Let the device have another tariff, and the order be under way."""
    tariff_hash = digest(Label.TARIFF, tariff)
    asset = asset_of(story.cloud.roster, story.device, tariff_hash=tariff_hash, version=Number(2))
    story.cloud.say("sun", None, Inventory((asset,), (tariff,)))
    story.until_demanded().by_provider(story.offering(asset=asset, tariff=tariff))
    story.by_user(story.selecting())
    story.by_provider(story.issuing())
    story.by_user(story.starting())
    return story


def energy_never_heard_of(story: Story) -> None:
    priced(story, FLAT_TARIFF).cloud.pass_s(SUPPLY_OVER_S)


def energy_taxed_twice(story: Story) -> None:
    priced(story, MIXED_VAT_TARIFF).end(3_600, 2_500)
    story.by_user(story.asking_to_end())
    story.by_provider(story.confirming())


def energy_in_steps(story: Story) -> None:
    """3.301 kWh, then 20 minutes with the plug in place."""
    priced(story, STEPPED_TARIFF)
    story.cloud.now = story.at(4_800)
    story.by_user(story.reporting(story.read(0, 0), story.read(3_600, 3_301, supplying=False)))
    story.end(4_800, 3_301)
    story.by_user(story.asking_to_end())
    story.by_provider(story.confirming())


def energy_released_by_its_owner(story: Story) -> None:
    story.until_active()
    story.end(3_600, 2_500, cause=EndCause.OWNER, releaser=key("sun"))
    story.by_provider(story.reporting_end())
    story.by_provider(story.confirming())


def energy_closed_by_the_device_while_the_phone_was_dead(story: Story) -> None:
    story.until_authorized().starting()
    story.cloud.pass_s(7_200)
    story.end(7_200, 2_500, cause=EndCause.DURATION_CAP)
    story.by_provider(story.reporting_end())
    story.by_provider(story.confirming())


def energy_read_past_its_end(story: Story) -> None:
    story.until_active()
    first = story.read(0, 0)
    story.cloud.now = story.at(3_600)
    story.end(3_600, 2_500)
    story.by_user(story.asking_to_end())
    story.by_provider(story.reporting(first, story.read(9_000, 9_000)))
    story.by_provider(story.confirming())


def energy_started_by_a_clock_that_is_ahead(story: Story) -> None:
    story.until_authorized()
    story.cloud.pass_s(300)
    story.by_user(story.starting(at=later(story.cloud.now, 900)))
    story.end(3_600, 2_500)
    story.by_user(story.asking_to_end())
    story.by_provider(story.confirming())


def energy_unsecured(story: Story) -> None:
    """The start came after the order had run out: the bill is owed."""
    story.until_late()
    story.end(3_600, 2_500)
    story.by_user(story.asking_to_end())
    story.by_provider(story.confirming())


def energy_disputed(story: Story) -> None:
    energy_confirmed(story)
    story.by_user(story.disputing(100))
    ruled(story, 40)


def energy_disputed_on_a_reading(story: Story) -> None:
    energy_never_ended(story)
    story.by_user(story.disputing(100))
    ruled(story, 0)


def energy_disputed_after_nothing_was_heard(story: Story) -> None:
    energy_never_heard_of(story)
    story.by_user(story.disputing(226))
    ruled(story, 26)


def energy_disputed_and_nobody_ruled(story: Story) -> None:
    energy_never_ended(story)
    story.by_user(story.disputing(100))
    story.cloud.pass_s(RULED_S)


def energy_disputed_three_times(story: Story) -> None:
    energy_confirmed(story)
    for charged in (50, 100, 0):
        story.cloud.pass_s(60)
        story.by_user(story.disputing(100))
        ruled(story, charged)


# Batteries


def battery_returned(story: Story) -> None:
    story.until_active()
    story.cloud.pass_s(1_800)
    story.end(1_800, 600)
    story.by_user(story.asking_to_end())
    story.by_provider(story.confirming())


def battery_asked_without_receipt(story: Story) -> None:
    story.until_active()
    story.cloud.now = story.at(1_800)
    story.by_user(story.reporting(story.read(1_800, 600)))
    story.by_user(story.asking_to_end(with_receipt=False))
    story.by_provider(story.confirming())


def battery_confirmed_without_receipt(story: Story) -> None:
    """Its provider has it back and says so; nothing of its use is known."""
    story.until_active()
    story.by_user(story.asking_to_end(with_receipt=False))
    story.by_provider(story.confirming())


def battery_lost(story: Story) -> None:
    story.until_active()
    story.by_user(story.reporting(story.read(0, 0), story.read(60, 10)))
    story.cloud.pass_s(OVERDUE_S)


def battery_said_to_be_back(story: Story) -> None:
    story.until_active()
    story.by_user(story.asking_to_end(with_receipt=False))
    story.by_user(story.reporting(story.read(60, 10)))
    story.cloud.pass_s(OVERDUE_S)


def battery_not_returned(story: Story) -> None:
    battery_lost(story)
    story.cloud.pass_s(86_400)
    story.by_provider(story.not_returning())


def battery_not_returned_at_the_very_moment(story: Story) -> None:
    story.until_active()
    story.cloud.now = story.at(OVERDUE_S)
    story.by_provider(story.not_returning())


def battery_returned_unheard(story: Story) -> None:
    """Charged to the cap; then the receipt of a return after half an hour comes."""
    battery_lost(story)
    story.cloud.pass_s(86_400)
    story.end(1_800, 600)
    story.by_user(story.asking_to_end())


def battery_returned_after_the_claim(story: Story) -> None:
    battery_not_returned(story)
    story.end(1_800, 600, cause=EndCause.OWNER, releaser=key("sun"))
    story.by_provider(story.reporting_end())


def battery_returned_at_a_higher_price(story: Story) -> None:
    """The receipt that comes after the claim would bill more: the deposit goes back, the bill stays."""
    priced(story, PARKED_TARIFF)
    story.by_user(story.reporting(story.read(0, 0, supplying=False)))
    story.cloud.pass_s(OVERDUE_S)
    story.by_provider(story.not_returning())
    story.end(7_000, 600)
    story.by_user(story.asking_to_end())


def battery_damaged(story: Story) -> None:
    """The provider claims a part of the deposit; nobody has ruled yet."""
    story.until_ending()
    story.by_provider(story.refusing_end(1_000))


def battery_damage_ruled(story: Story) -> None:
    battery_damaged(story)
    ruled(story, 600)


def battery_damage_ruled_and_disputed(story: Story) -> None:
    battery_damage_ruled(story)
    story.by_user(story.disputing(500))
    ruled(story, 200)


def battery_damaged_and_nobody_ruled(story: Story) -> None:
    battery_damaged(story)
    story.cloud.pass_s(RULED_S)


def battery_damaged_without_receipt(story: Story) -> None:
    story.until_active()
    story.cloud.now = story.at(1_800)
    story.by_user(story.reporting(story.read(1_800, 600)))
    story.by_user(story.asking_to_end(with_receipt=False))
    story.by_provider(story.refusing_end(1_000))
    ruled(story, 1_000)


def battery_cap_disputed(story: Story) -> None:
    battery_lost(story)
    story.cloud.pass_s(WEEK_S)
    story.by_user(story.disputing(100))
    ruled(story, 65)


def battery_claim_disputed(story: Story) -> None:
    battery_not_returned(story)
    story.by_user(story.disputing(5_000))
    ruled(story, 1_500)


def battery_claim_disputed_and_nobody_ruled(story: Story) -> None:
    battery_not_returned(story)
    story.by_user(story.disputing(5_000))
    story.cloud.pass_s(RULED_S)


def battery_unsecured_and_never_returned(story: Story) -> None:
    story.until_late()
    story.cloud.pass_s(86_400)


# Services


def service_confirmed(story: Story) -> None:
    story.until_settled()


def service_for_less(story: Story) -> None:
    story.until_active().by_provider(story.requesting(duration_s=0, total_minor=Minor(5_000)))
    story.by_user(story.settling())


def service_for_nothing(story: Story) -> None:
    story.until_active().by_provider(story.requesting(total_minor=Minor(0)))
    story.by_user(story.settling())


def service_amended(story: Story) -> None:
    """A tow is refused, a tyre approved, an hour more proposed and never answered."""
    story.until_active().by_provider(story.proposing(TOW))
    story.by_user(story.answering(approved=False))
    story.by_provider(story.proposing(TYRE))
    story.by_user(story.answering())
    story.by_provider(story.proposing(JUMP_START, duration_s=3_600))
    story.by_provider(story.requesting(JUMP_START, TYRE))
    story.by_user(story.settling())


def service_amended_twice(story: Story) -> None:
    story.cloud.top_up("ann", 100_000, b"s" * 16)
    story.until_active()
    for more, seconds in ((TYRE, 1_800), (TOW, 1_800)):
        story.by_provider(story.proposing(more, duration_s=seconds))
        story.by_user(story.answering())
    story.cloud.now = story.at(10_800)
    story.by_provider(story.requesting(JUMP_START, TYRE, TOW, duration_s=10_800))
    story.by_user(story.settling())


def service_refused_in_part(story: Story) -> None:
    story.until_ending().by_user(story.settling(2_120))


def service_refused_as_a_whole(story: Story) -> None:
    story.until_ending().by_user(story.settling(20_140))


def service_unanswered(story: Story) -> None:
    """The user's terminal holds the request, of two hours where one was quoted."""
    story.until_ending(elapsed_s=7_200)
    story.cloud.acknowledge("ann", story.order)
    story.cloud.pass_s(2 * 86_400)


def service_unheard(story: Story) -> None:
    story.until_ending(elapsed_s=7_200)
    story.cloud.pass_s(14 * 86_400)


def service_refusal_ruled(story: Story) -> None:
    service_refused_in_part(story)
    ruled(story, 1_060)


def service_refusal_ruled_and_disputed(story: Story) -> None:
    service_refusal_ruled(story)
    story.by_user(story.disputing(10_000))
    ruled(story, 4_000)


def service_refused_and_nobody_ruled(story: Story) -> None:
    service_refused_in_part(story)
    story.cloud.pass_s(RULED_S)


def service_disputed(story: Story) -> None:
    story.until_disputed(5_000)
    ruled(story, 1_000)


def service_unanswered_and_disputed(story: Story) -> None:
    service_unanswered(story)
    story.by_user(story.disputing(6_360))
    ruled(story, 0)


def service_unsecured(story: Story) -> None:
    story.until_late()
    story.by_provider(story.proposing(TYRE))
    story.by_user(story.answering())
    story.by_provider(story.requesting(JUMP_START, TYRE))
    story.by_user(story.settling(1_000))


TALES: tuple[Tale, ...] = tuple(
    tale for name, tale in list(globals().items()) if name.startswith(("energy_", "battery_", "service_")) and callable(tale)
)
