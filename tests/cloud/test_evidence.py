"""Bills that follow from their evidence, and every way in which one does not.

Orders run through the processor, and what the cloud kept of them makes the bundles. Most rows then let the platform itself
cheat: it signs another charge record with its own key, and names in it whatever parts it likes.
"""

import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any, TypeVar

import pytest
from sqlalchemy import select

from cloud.store import tables as t
from energyshare.bodies import (
    Body,
    ChargeRecordBody,
    EndConfirmationBody,
    EndReceiptBody,
    EndRequestBody,
    PartHash,
    ReadingBody,
    SelectionBody,
    SilenceDecisionBody,
    StartReceiptBody,
    Verified,
)
from energyshare.errors import Reason, Rejected
from energyshare.evidence import verify_bundle
from energyshare.messages import Inventory
from energyshare.signing import Label, digest
from energyshare.values import (
    ChargeBasis,
    Currency,
    Digest,
    DurationS,
    EndCause,
    EnergyWh,
    Kind,
    Minor,
    Number,
    OrderId,
    PartKind,
    ProviderId,
    Role,
    Serial,
    UnixS,
    later,
    unix_s,
)
from energyshare.wire import Bundle, Part, decode, encode, open_signed, peek, seal, take_apart
from tests.cloud.actors import PLATFORM, ROOT, STRANGER_ROOT, T0, Cloud, asset_of, grant, key, reopened, tariff_bytes
from tests.cloud.conftest import Template
from tests.cloud.story import Story

K, B, R = PartKind, ChargeBasis, Reason
BodyT = TypeVar("BodyT", bound=Body)
MUTATIONS = 500

FLAT_TARIFF = tariff_bytes(("ENERGY", "1.20"), ("FLAT", "1.50"), min_price={"excl_vat": "2.00"})
MIXED_VAT_TARIFF = (
    b'{"currency":"CNY","elements":[{"price_components":['
    b'{"type":"ENERGY","price":"1.20","vat":"13","step_size":1},{"type":"FLAT","price":"1.00","vat":"6","step_size":1}]}]}'
)


@dataclass(frozen=True)
class Told:
    """A settled order: its story, and the evidence that is kept of it."""

    story: Story
    bundle: Bundle

    def part(self, cls: type[BodyT], kind: PartKind) -> BodyT:
        """The body of the last part of a kind."""
        return body_of(self.bundle, cls, kind)

    @property
    def record(self) -> ChargeRecordBody:
        return self.part(ChargeRecordBody, K.CHARGE_RECORD)


def body_of(bundle: Bundle, cls: type[BodyT], kind: PartKind) -> BodyT:
    return peek(cls, [p.signed for p in bundle.parts if p.kind is kind][-1])


Tale = Callable[[Story], object]
Tell = Callable[[Tale], Told]
Forge = Callable[[Told], Bundle]


def collected(cloud: Cloud, order: OrderId) -> Bundle:
    """All that the cloud kept of an order and its charge record names, with readings and the platform's grant."""
    parts = t.order_parts
    rows = cloud.readers.rows(select(parts).where(parts.c.order_id == order).order_by(parts.c.kind, parts.c.number))
    record = peek(ChargeRecordBody, next(row.signed for row in rows if row.kind == K.CHARGE_RECORD))
    named = {(part.kind, part.hash) for part in record.parts}
    held = [r for r in rows if r.kind in (K.READING, K.CHARGE_RECORD) or (K(r.kind), r.digest) in named]
    granted = Part(K.PLATFORM_GRANT, grant(b"C" * 16, Role.PLATFORM, PLATFORM).signed)
    return Bundle(order, (*(Part(K(row.kind), row.signed) for row in held), granted))


@pytest.fixture(scope="module")
def tell(template: Template, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tell]:
    """Let each tale run once, in a cloud of its own."""
    told: dict[Tale, Told] = {}
    folder = tmp_path_factory.mktemp("evidence")

    def tell_once(tale: Tale) -> Told:
        if tale not in told:
            cloud = reopened(template[0], folder / f"{len(told)}.db", dict(template[1]))
            device = "sun-battery" if tale.__name__.startswith("battery") else "sun-outlet"
            story = Story(cloud, device=device)
            tale(story)
            told[tale] = Told(story, collected(cloud, story.order))
        return told[tale]

    yield tell_once
    for one in told.values():
        one.story.cloud.close()


# What happened


def confirmed(story: Story, total: int | None = None) -> None:
    story.until_active()
    story.cloud.now = story.at(3_600)
    story.by_user(story.reporting(story.read(0, 0), story.read(1_800, 1_250)))
    story.end(3_600, 2_500)
    story.by_user(story.asking_to_end())
    story.by_provider(story.confirming(total))


def lowered(story: Story) -> None:
    confirmed(story, 300)


def given_away(story: Story) -> None:
    confirmed(story, 0)


def followed_by_another(story: Story) -> None:
    confirmed(story)
    confirmed(Story(story.cloud, order=OrderId(b"\x02" * 16), serial=2))


def asked_without_receipt(story: Story) -> None:
    story.until_active()
    story.cloud.now = story.at(3_600)
    story.by_user(story.reporting(story.read(0, 0), story.read(3_600, 2_500)))
    story.by_user(story.asking_to_end(with_receipt=False))
    story.cloud.now = story.at(3_660)
    story.by_provider(story.reporting(story.read(3_660, 2_600)))
    story.by_provider(story.confirming())


def asked_before_any_reading(story: Story) -> None:
    story.until_active()
    story.by_user(story.asking_to_end(with_receipt=False))
    story.by_provider(story.reporting(story.read(60, 100)))
    story.by_provider(story.confirming())


def unconfirmed(story: Story) -> None:
    story.until_active()
    story.by_user(story.reporting(story.read(0, 0), story.read(1_800, 1_250)))
    story.cloud.now = story.at(3_600)
    story.end(3_600, 2_500)
    story.by_user(story.asking_to_end())
    story.cloud.pass_s(600)


def never_ended(story: Story) -> None:
    story.until_active()
    story.by_user(story.reporting(story.read(1_800, 1_250), story.read(3_600, 2_500)))
    story.cloud.pass_s(7_200 + 86_400)


def priced(story: Story, tariff: bytes) -> Story:
    """Let the outlet have another tariff, and the order be under way."""
    tariff_hash = digest(Label.TARIFF, tariff)
    asset = asset_of(story.cloud.roster, story.device, tariff_hash=tariff_hash, version=Number(2))
    story.cloud.say("sun", None, Inventory((asset,), (tariff,)))
    story.until_demanded().by_provider(story.offering(asset=asset, tariff=tariff))
    story.by_user(story.selecting())
    story.by_provider(story.issuing())
    story.by_user(story.starting())
    return story


def never_heard_of(story: Story) -> None:
    priced(story, FLAT_TARIFF).cloud.pass_s(7_200 + 86_400)


def taxed_twice(story: Story) -> None:
    priced(story, MIXED_VAT_TARIFF).end(3_600, 2_500)
    story.by_user(story.asking_to_end())
    story.by_provider(story.confirming())


def released_by_its_owner(story: Story) -> None:
    story.until_active()
    story.end(3_600, 2_500, cause=EndCause.OWNER, releaser=key("sun"))
    story.by_provider(story.reporting_end())
    story.by_provider(story.confirming())


def closed_by_the_device_while_the_phone_was_dead(story: Story) -> None:
    story.until_authorized().starting()
    story.cloud.pass_s(7_200)
    story.end(7_200, 2_500, cause=EndCause.DURATION_CAP)
    story.by_provider(story.reporting_end())
    story.by_provider(story.confirming())


def read_past_its_end(story: Story) -> None:
    story.until_ending()
    story.by_provider(story.reporting(story.read(0, 0), story.read(9_000, 9_000)))
    story.by_provider(story.confirming())


def started_by_a_clock_that_is_ahead(story: Story) -> None:
    story.until_authorized()
    story.cloud.pass_s(300)
    story.by_user(story.starting(at=later(story.cloud.now, 900)))
    story.end(3_600, 2_500)
    story.by_user(story.asking_to_end())
    story.by_provider(story.confirming())


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


def battery_lost(story: Story) -> None:
    story.until_active()
    story.by_user(story.reporting(story.read(0, 0), story.read(60, 10)))
    story.cloud.pass_s(10_800)


def battery_said_to_be_back(story: Story) -> None:
    story.until_active()
    story.by_user(story.asking_to_end(with_receipt=False))
    story.by_user(story.reporting(story.read(60, 10)))
    story.cloud.pass_s(10_800)


@pytest.mark.parametrize(
    ("tale", "basis", "duration_s", "energy_wh", "amounts"),
    [
        (confirmed, B.END_RECEIPT, 3_600, 2_500, (360, 407)),
        (lowered, B.END_RECEIPT, 3_600, 2_500, (265, 300)),
        (given_away, B.END_RECEIPT, 3_600, 2_500, (0, 0)),
        (followed_by_another, B.END_RECEIPT, 3_600, 2_500, (360, 407)),
        (asked_without_receipt, B.LAST_READING, 3_600, 2_500, (360, 407)),
        (asked_before_any_reading, B.CAP, 0, 0, (0, 0)),
        (unconfirmed, B.END_RECEIPT, 3_600, 2_500, (360, 407)),
        (never_ended, B.LAST_READING, 3_600, 2_500, (360, 407)),
        (never_heard_of, B.CAP, 0, 0, (200, 226)),
        (taxed_twice, B.END_RECEIPT, 3_600, 2_500, (400, 445)),
        (released_by_its_owner, B.END_RECEIPT, 3_600, 2_500, (360, 407)),
        (closed_by_the_device_while_the_phone_was_dead, B.END_RECEIPT, 7_200, 2_500, (420, 475)),
        (read_past_its_end, B.END_RECEIPT, 3_600, 2_500, (360, 407)),
        (started_by_a_clock_that_is_ahead, B.END_RECEIPT, 3_600, 2_500, (360, 407)),
        (battery_returned, B.END_RECEIPT, 1_800, 600, (200, 226)),
        (battery_asked_without_receipt, B.LAST_READING, 1_800, 600, (200, 226)),
        (battery_lost, B.CAP, 7_200, 5_000, (500, 565)),
        (battery_said_to_be_back, B.CAP, 7_200, 5_000, (500, 565)),
    ],
)
def test_a_bill_of_the_cloud_follows_from_its_evidence(
    tell: Tell, tale: Tale, basis: ChargeBasis, duration_s: int, energy_wh: int, amounts: tuple[int, int]
) -> None:
    told = tell(tale)
    charge = verify_bundle(told.bundle, ROOT.public).charge
    assert (charge.basis, charge.duration_s, charge.energy_wh) == (basis, duration_s, energy_wh)
    assert (charge.excl_vat_minor, charge.incl_vat_minor) == amounts
    assert amounts == (told.record.excl_vat_minor, told.record.incl_vat_minor)


def test_the_bundle_still_verifies_after_a_way_through_bytes(tell: Tell) -> None:
    bundle = tell(confirmed).bundle
    assert verify_bundle(decode(Bundle, encode(bundle)), ROOT.public) == verify_bundle(bundle, ROOT.public)


# Parts that are missing, altered or of another order


def refusal(bundle: Bundle, root: bytes = ROOT.public) -> Reason:
    with pytest.raises(Rejected) as refused:
        verify_bundle(bundle, type(ROOT.public)(root))
    return refused.value.reason


def with_part(bundle: Bundle, index: int, signed: bytes | None) -> Bundle:
    """The bundle with one part replaced, or left out."""
    new = () if signed is None else (Part(bundle.parts[index].kind, signed),)
    return replace(bundle, parts=(*bundle.parts[:index], *new, *bundle.parts[index + 1 :]))


@pytest.mark.parametrize("tale", [confirmed, unconfirmed, battery_asked_without_receipt, battery_lost])
def test_without_any_one_of_its_parts_no_bill_verifies(tell: Tell, tale: Tale) -> None:
    bundle = tell(tale).bundle
    reasons = {(part.kind, refusal(with_part(bundle, i, None))) for i, part in enumerate(bundle.parts[:-1])}
    reasons -= {(K.READING, R.READING_GAP)}
    assert reasons == {(part.kind, R.PART_MISSING) for part in bundle.parts[:-1]}
    assert refusal(with_part(bundle, len(bundle.parts) - 1, None)) is R.PART_MISSING


def test_a_reading_past_the_request_to_end_may_be_missing(tell: Tell) -> None:
    bundle = tell(asked_without_receipt).bundle
    last = max(i for i, part in enumerate(bundle.parts) if part.kind is K.READING)
    verify_bundle(with_part(bundle, last, None), ROOT.public)


@pytest.mark.parametrize("tale", [confirmed, unconfirmed])
def test_a_part_that_is_there_twice_is_refused(tell: Tell, tale: Tale) -> None:
    bundle = tell(tale).bundle
    for part in bundle.parts:
        reason = R.READING_GAP if part.kind is K.READING else R.PART_MISSING
        twice = sorted((*bundle.parts, part), key=lambda p: p.kind)
        assert refusal(replace(bundle, parts=tuple(twice))) is reason


FLIPPED_PAYLOAD = {K.CHARGE_RECORD: R.SIGNATURE_INVALID, K.READING: R.SIGNATURE_INVALID}
FLIPPED_SIGNATURE = {K.ISSUER_GRANT: R.GRANT_INVALID, K.DEVICE_GRANT: R.GRANT_INVALID}


def flipped(signed: bytes, position: int) -> bytes:
    return signed[:position] + bytes([signed[position] ^ 1]) + signed[position + 1 :]


@pytest.mark.parametrize("tale", [confirmed, unconfirmed])
def test_a_flipped_byte_in_any_payload_is_refused(tell: Tell, tale: Tale) -> None:
    bundle = tell(tale).bundle
    for index, part in enumerate(bundle.parts):
        payload = take_apart(part.signed).payload
        at = part.signed.index(payload) + len(payload) // 2
        default = R.GRANT_INVALID if part.kind is K.PLATFORM_GRANT else R.PART_HASH
        expected = FLIPPED_PAYLOAD.get(part.kind, default)
        assert refusal(with_part(bundle, index, flipped(part.signed, at))) is expected, part.kind


@pytest.mark.parametrize("tale", [confirmed, unconfirmed])
def test_a_flipped_byte_in_any_signature_is_refused(tell: Tell, tale: Tale) -> None:
    bundle = tell(tale).bundle
    for index, part in enumerate(bundle.parts):
        at = part.signed.index(take_apart(part.signed).signature) + 7
        default = R.GRANT_INVALID if part.kind is K.PLATFORM_GRANT else R.SIGNATURE_INVALID
        expected = FLIPPED_SIGNATURE.get(part.kind, default)
        assert refusal(with_part(bundle, index, flipped(part.signed, at))) is expected, part.kind


@pytest.mark.parametrize(
    ("kind", "reason", "reason_when_named"),
    [
        (K.OFFER, R.PART_HASH, R.VOUCHER_ORDER),
        (K.SELECTION, R.PART_HASH, R.VOUCHER_ORDER),
        (K.VOUCHER, R.PART_HASH, R.VOUCHER_ORDER),
        (K.START_RECEIPT, R.PART_HASH, R.RECEIPT_FOREIGN),
        (K.READING, R.READING_GAP, R.READING_GAP),
        (K.END_RECEIPT, R.PART_HASH, R.RECEIPT_CONFLICT),
        (K.END_REQUEST, R.PART_HASH, R.RECEIPT_FOREIGN),
        (K.END_CONFIRMATION, R.PART_HASH, R.CONFIRMATION_FOREIGN),
    ],
)
def test_a_part_of_another_order_is_refused_even_if_the_record_names_it(
    tell: Tell, kind: PartKind, reason: Reason, reason_when_named: Reason
) -> None:
    told, other = both(tell)
    index = max(i for i, part in enumerate(told.bundle.parts) if part.kind is kind)
    foreign = next(p.signed for p in reversed(other.parts) if p.kind is kind)
    swapped = with_part(told.bundle, index, foreign)
    assert refusal(swapped) is reason
    hashed = digest(Label[kind.name], take_apart(foreign).payload)
    assert refusal(rename(swapped, kind, hashed)) is reason_when_named


def test_the_charge_record_of_another_order_is_refused(tell: Tell) -> None:
    told, other = both(tell)
    index = next(i for i, part in enumerate(told.bundle.parts) if part.kind is K.CHARGE_RECORD)
    record = next(p.signed for p in other.parts if p.kind is K.CHARGE_RECORD)
    assert refusal(with_part(told.bundle, index, record)) is R.RECEIPT_FOREIGN
    assert refusal(replace(told.bundle, order_id=other.order_id)) is R.RECEIPT_FOREIGN


def both(tell: Tell) -> tuple[Told, Bundle]:
    """Two orders of the same user at the same outlet."""
    told = tell(followed_by_another)
    other = collected(told.story.cloud, OrderId(b"\x02" * 16))
    verify_bundle(other, ROOT.public)
    return told, other


# What others sign in the platform's place


@pytest.mark.parametrize("signer", ["sun", "ann", "sun-outlet", "root", "another platform"])
def test_only_the_platform_key_signs_a_charge_record(tell: Tell, signer: str) -> None:
    assert refusal(retold(tell(confirmed).bundle, signer=key(signer))) is R.SIGNATURE_INVALID


def test_another_root_did_not_grant_any_of_it(tell: Tell) -> None:
    assert refusal(tell(confirmed).bundle, STRANGER_ROOT.public) is R.GRANT_INVALID


# What the platform itself may not sign


def retold(bundle: Bundle, parts: Mapping[PartKind, Verified[Any] | None] = {}, **changes: Any) -> Bundle:
    """Put a new charge record into the evidence, that names the parts given in place of those that were."""
    signer = changes.pop("signer", PLATFORM)
    record = body_of(bundle, ChargeRecordBody, K.CHARGE_RECORD)
    kept = tuple(p for p in bundle.parts if p.kind not in parts and p.kind is not K.CHARGE_RECORD)
    new = tuple(Part(kind, part.signed) for kind, part in parts.items() if part)
    names = {p.kind: p.hash for p in record.parts if p.kind not in parts} | {k: p.digest for k, p in parts.items() if p}
    named = tuple(PartHash(kind, hashed) for kind, hashed in sorted(names.items()))
    charged = seal(replace(record, parts=changes.pop("named", named), **changes), signer)
    return replace(bundle, parts=(*kept, *new, Part(K.CHARGE_RECORD, charged.signed)))


def rename(bundle: Bundle, kind: PartKind, hashed: bytes | None) -> Bundle:
    """Let the record name another part of a kind, or none, without touching the parts."""
    record = body_of(bundle, ChargeRecordBody, K.CHARGE_RECORD)
    others = tuple(part for part in record.parts if part.kind is not kind)
    return retold(bundle, named=others if hashed is None else (*others, PartHash(kind, Digest(hashed))))


def naming(kind: PartKind, hashed: bytes | None) -> Forge:
    return lambda told: rename(told.bundle, kind, hashed)


def naming_the_first_reading(told: Told) -> Bundle:
    return rename(told.bundle, K.READING, told.story.readings[0].digest)


def billed(**changes: Any) -> Forge:
    return lambda told: retold(told.bundle, **changes)


def silence(**changes: Any) -> Forge:
    """Let the platform sign another decision on silence."""

    def forge(told: Told) -> Bundle:
        signer = changes.get("signer", PLATFORM)
        body = told.part(SilenceDecisionBody, K.SILENCE_DECISION)
        decided = replace(body, **{name: value for name, value in changes.items() if name != "signer"})
        return retold(told.bundle, {K.SILENCE_DECISION: seal(decided, signer)}, settled_time=decided.decided_time)

    return forge


def confirmation(signer: str = "sun", **changes: Any) -> Forge:
    def forge(told: Told) -> Bundle:
        body = replace(told.part(EndConfirmationBody, K.END_CONFIRMATION), **changes)
        return retold(told.bundle, {K.END_CONFIRMATION: seal(body, key(signer))})

    return forge


def request(signer: str = "ann", **changes: Any) -> Forge:
    def forge(told: Told) -> Bundle:
        body = replace(told.part(EndRequestBody, K.END_REQUEST), **changes)
        return retold(told.bundle, {K.END_REQUEST: seal(body, key(signer))})

    return forge


def with_both(told: Told) -> Bundle:
    body = SilenceDecisionBody(told.bundle.order_id, "CONFIRMATION", T0, told.record.settled_time)
    return retold(told.bundle, {K.SILENCE_DECISION: seal(body, PLATFORM)})


def with_neither(told: Told) -> Bundle:
    return retold(told.bundle, {K.END_CONFIRMATION: None})


def without_request(told: Told) -> Bundle:
    return retold(told.bundle, {K.END_REQUEST: None})


def silently(told: Told) -> Bundle:
    """A confirmation left out, and silence claimed, of a battery that was read before its request to end."""
    body = SilenceDecisionBody(told.bundle.order_id, "END_OF_SUPPLY", later(T0, 7_200), later(T0, 7_200))
    return retold(
        told.bundle, {K.END_CONFIRMATION: None, K.SILENCE_DECISION: seal(body, PLATFORM)}, settled_time=body.decided_time
    )


def asked_earlier_by_the_platform(told: Told) -> Bundle:
    """A request to end that the platform made up, to leave out the last reading."""
    body = replace(told.part(EndRequestBody, K.END_REQUEST), requested_time=later(T0, 60))
    forged = retold(told.bundle, {K.END_REQUEST: seal(body, PLATFORM)})
    return rename(forged, K.READING, told.story.readings[0].digest)


def named_twice(told: Told) -> Bundle:
    return retold(told.bundle, named=(*told.record.parts, told.record.parts[0]))


def issued_under(subject: str, of: str, role: Role = Role.ISSUER, owner: str | None = None, **more: Any) -> Forge:
    def forge(told: Told) -> Bundle:
        who = told.story.cloud.roster
        part = grant(who[subject].id, role, key(of), who[owner].id if owner else None, **more)
        return retold(told.bundle, {K.ISSUER_GRANT: part})

    return forge


def measured_under(subject: str, of: str, owner: str, **more: Any) -> Forge:
    def forge(told: Told) -> Bundle:
        who = told.story.cloud.roster
        return retold(told.bundle, {K.DEVICE_GRANT: grant(who[subject].id, Role.DEVICE, key(of), who[owner].id, **more)})

    return forge


def platform_granted(role: Role, **more: Any) -> Forge:
    def forge(told: Told) -> Bundle:
        parts = tuple(p for p in told.bundle.parts if p.kind is not K.PLATFORM_GRANT)
        part = Part(K.PLATFORM_GRANT, grant(b"C" * 16, role, PLATFORM, **more).signed)
        return replace(told.bundle, parts=(*parts, part))

    return forge


TO_THE_CAPS = {
    "basis": B.CAP,
    "duration_s": DurationS(7_200),
    "energy_wh": EnergyWh(5_000),
    "excl_vat_minor": Minor(500),
    "incl_vat_minor": Minor(565),
}
EXPIRED = {"not_after_unix_s": UnixS(unix_s(T0) - 86_400)}
ELSEWHERE = OrderId(b"\x02" * 16)
NOWHERE = Digest(b"x" * 32)

CHEATS: list[tuple[str, Tale, Forge, Reason]] = [
    ("all readings left out", confirmed, naming(K.READING, None), R.BILL_BASIS),
    ("the last reading left out", confirmed, naming_the_first_reading, R.BILL_BASIS),
    ("the last reading left out, no end", never_ended, naming_the_first_reading, R.BILL_BASIS),
    ("the last reading before the request left out", asked_without_receipt, naming_the_first_reading, R.BILL_BASIS),
    ("a reading that nobody has", confirmed, naming(K.READING, b"x" * 32), R.PART_MISSING),
    ("another start receipt", confirmed, naming(K.START_RECEIPT, b"x" * 32), R.PART_HASH),
    ("no start receipt named", confirmed, naming(K.START_RECEIPT, None), R.PART_MISSING),
    ("no end receipt named", confirmed, naming(K.END_RECEIPT, None), R.PART_MISSING),
    ("a ruling that nobody has", confirmed, naming(K.RULING, b"x" * 32), R.PART_MISSING),
    ("a part named twice", confirmed, named_twice, R.PART_HASH),
    ("the start two hours earlier", confirmed, billed(start_time=later(T0, -7_200)), R.BILL_SESSION),
    ("the start a second later", confirmed, billed(start_time=later(T0, 1)), R.BILL_SESSION),
    ("a longer session", confirmed, billed(duration_s=DurationS(3_601)), R.BILL_SESSION),
    ("more energy", confirmed, billed(energy_wh=EnergyWh(2_501)), R.BILL_SESSION),
    ("less energy", confirmed, billed(energy_wh=EnergyWh(2_499)), R.BILL_SESSION),
    ("a higher total", confirmed, billed(incl_vat_minor=Minor(408)), R.BILL_TOTAL),
    ("a lower total", confirmed, billed(incl_vat_minor=Minor(406)), R.BILL_TOTAL),
    ("another VAT", confirmed, billed(excl_vat_minor=Minor(359)), R.BILL_TOTAL),
    ("no lines", confirmed, billed(lines=()), R.BILL_TOTAL),
    ("a total that the provider lowered", lowered, billed(excl_vat_minor=360, incl_vat_minor=407), R.BILL_TOTAL),
    ("a higher hold", confirmed, billed(hold_minor=Minor(815)), R.BILL_HOLD),
    ("a lower hold", confirmed, billed(hold_minor=Minor(407)), R.BILL_HOLD),
    ("a claim on the deposit", battery_returned, billed(deposit_claimed_minor=Minor(1)), R.BILL_HOLD),
    ("another currency", confirmed, billed(currency=Currency("EUR")), R.CURRENCY_MISMATCH),
    ("another kind", confirmed, billed(kind=Kind.BATTERY), R.BILL_BASIS),
    ("another provider", confirmed, billed(provider_id=ProviderId(b"m" * 16)), R.GRANT_SUBJECT),
    ("another order", confirmed, billed(order_id=ELSEWHERE), R.RECEIPT_FOREIGN),
    ("a worse basis", confirmed, billed(basis=B.LAST_READING), R.BILL_BASIS),
    ("the caps", confirmed, billed(basis=B.CAP), R.BILL_BASIS),
    ("a quote", confirmed, billed(basis=B.QUOTE), R.BILL_BASIS),
    ("a battery's caps though it came back", battery_returned, billed(**TO_THE_CAPS), R.BILL_BASIS),
    ("a battery's caps though it was confirmed", battery_asked_without_receipt, billed(**TO_THE_CAPS), R.BILL_BASIS),
    ("a battery's silence as an outlet's", battery_asked_without_receipt, silently, R.BILL_BASIS),
    ("settled before its grant", confirmed, billed(settled_time=later(T0, -90_000)), R.GRANT_EXPIRED),
    ("silence on offers", unconfirmed, silence(waited_for="OFFERS"), R.BILL_BASIS),
    ("silence on the end of supply", unconfirmed, silence(waited_for="END_OF_SUPPLY"), R.BILL_BASIS),
    ("silence on a confirmation without an end", never_ended, silence(waited_for="CONFIRMATION"), R.BILL_BASIS),
    ("silence on an outlet's return", never_heard_of, silence(waited_for="RETURN"), R.BILL_BASIS),
    ("silence before the start", unconfirmed, silence(due_time=later(T0, -1)), R.BILL_BASIS),
    ("silence decided before it was due", unconfirmed, silence(decided_time=later(T0, 3_601)), R.BILL_BASIS),
    ("silence while there was supply", never_ended, silence(due_time=later(T0, 7_199)), R.BILL_BASIS),
    ("silence within the grace", battery_lost, silence(due_time=later(T0, 10_799)), R.BILL_BASIS),
    ("silence in another order", unconfirmed, silence(order_id=ELSEWHERE), R.BILL_BASIS),
    ("silence that a provider decides", unconfirmed, silence(signer=key("sun")), R.SIGNATURE_INVALID),
    ("silence decided at another time", unconfirmed, billed(settled_time=later(T0, 9_000)), R.BILL_BASIS),
    ("confirmation and silence", confirmed, with_both, R.PART_MISSING),
    ("neither confirmation nor silence", confirmed, with_neither, R.PART_MISSING),
    ("a confirmation of another end", confirmed, confirmation(end_receipt_hash=NOWHERE), R.CONFIRMATION_FOREIGN),
    ("a confirmation of no end", confirmed, confirmation(end_receipt_hash=None), R.CONFIRMATION_FOREIGN),
    ("a confirmation of another order", confirmed, confirmation(order_id=ELSEWHERE), R.CONFIRMATION_FOREIGN),
    ("a confirmation by another provider", confirmed, confirmation("moon"), R.SIGNATURE_INVALID),
    ("a confirmation by the platform", confirmed, confirmation("platform"), R.SIGNATURE_INVALID),
    ("a lower total than confirmed", confirmed, confirmation(total_minor_max=Minor(300)), R.BILL_TOTAL),
    ("an end that nobody asked for", battery_asked_without_receipt, without_request, R.PART_MISSING),
    ("a request that the platform made up", asked_without_receipt, asked_earlier_by_the_platform, R.SIGNATURE_INVALID),
    ("a request by another user", confirmed, request("ben"), R.SIGNATURE_INVALID),
    ("a request with another end", confirmed, request(end_receipt_hash=NOWHERE), R.RECEIPT_FOREIGN),
    ("a request in another order", confirmed, request(order_id=ELSEWHERE), R.RECEIPT_FOREIGN),
    ("another issuer", confirmed, issued_under("moon", "moon"), R.GRANT_SUBJECT),
    ("another issuing key", confirmed, issued_under("sun", "moon"), R.SIGNATURE_INVALID),
    ("a device as issuer", confirmed, issued_under("sun-outlet", "sun", Role.DEVICE, "sun"), R.GRANT_ROLE),
    ("an issuer of another root", confirmed, issued_under("sun", "sun", root=STRANGER_ROOT), R.GRANT_INVALID),
    (
        "an issuer that expires",
        confirmed,
        issued_under("sun", "sun", not_after_unix_s=unix_s(T0)),
        R.GRANT_EXPIRED,
    ),
    ("another owner's device", confirmed, measured_under("sun-outlet", "sun-outlet", "moon"), R.GRANT_OWNER),
    ("another device", confirmed, measured_under("sun-free", "sun-outlet", "sun"), R.GRANT_SUBJECT),
    ("another device's key", confirmed, measured_under("sun-outlet", "sun-free", "sun"), R.SIGNATURE_INVALID),
    ("an expired device", confirmed, measured_under("sun-outlet", "sun-outlet", "sun", **EXPIRED), R.GRANT_EXPIRED),
    ("a platform that is an issuer", confirmed, platform_granted(Role.ISSUER), R.GRANT_ROLE),
    ("an expired platform", confirmed, platform_granted(Role.PLATFORM, **EXPIRED), R.GRANT_EXPIRED),
]


@pytest.mark.parametrize(("tale", "forge", "reason"), [pytest.param(*row[1:], id=row[0]) for row in CHEATS])
def test_what_the_platform_may_not_bill_is_refused(tell: Tell, tale: Tale, forge: Forge, reason: Reason) -> None:
    assert refusal(forge(tell(tale))) is reason


def test_without_a_change_a_retold_record_verifies(tell: Tell) -> None:
    for tale in (confirmed, unconfirmed, asked_without_receipt, battery_lost):
        verify_bundle(retold(tell(tale).bundle), ROOT.public)


# What provider, device and platform may not sign together


Changes = Mapping[str, Mapping[str, Any]]


def forged(told: Told, changes: Changes) -> Bundle:
    """An hour's session of which every part is signed anew, from the offer on, and the record names them all."""
    stage: Any = SimpleNamespace(roster=told.story.cloud.roster, now=T0)
    story = Story(stage)
    offered = dict(changes.get("offer", {}))
    if "tariff" in offered:
        hashed = digest(Label.TARIFF, offered["tariff"])
        offered["asset"] = asset_of(stage.roster, story.device, tariff_hash=hashed)
    story.offering(**offered)
    chosen = SelectionBody(story.order, story.offer.digest, told.record.hold_minor, Currency("CNY"), T0)
    selected = seal(replace(chosen, **changes.get("selection", {})), key("ann"))
    story.issuing(**changes.get("voucher", {}))
    story.starting(**changes.get("start", {}))
    story.end(3_600, 2_500)
    agreed = open_signed(EndConfirmationBody, story.confirming().confirmation, key("sun").public)
    parts = {
        K.OFFER: story.offer,
        K.SELECTION: selected,
        K.VOUCHER: story.voucher,
        K.START_RECEIPT: story.started,
        K.READING: None,
        K.END_RECEIPT: story.ended,
        K.END_REQUEST: None,
        K.END_CONFIRMATION: agreed,
    }
    return retold(told.bundle, parts)


YEN_TARIFF = tariff_bytes(("TIME", "1"), currency="JPY")

COLLUSIONS: list[tuple[str, Changes, Reason]] = [
    ("an offer for another order", {"offer": {"order_id": ELSEWHERE}}, R.VOUCHER_ORDER),
    ("an offer by another provider", {"offer": {"provider_id": ProviderId(b"m" * 16)}}, R.OFFER_FOREIGN),
    ("a tariff without a price", {"offer": {"tariff": b"{}"}}, R.OFFER_TARIFF),
    ("a tariff that is no JSON", {"offer": {"tariff": b"{{"}}, R.OFFER_TARIFF),
    ("a tariff in another currency", {"offer": {"tariff": YEN_TARIFF}}, R.CURRENCY_MISMATCH),
    ("an offer in another currency", {"offer": {"currency": Currency("EUR")}}, R.CURRENCY_MISMATCH),
    ("a selection in another currency", {"selection": {"currency": Currency("EUR")}}, R.CURRENCY_MISMATCH),
    ("a selection of another offer", {"selection": {"offer_hash": NOWHERE}}, R.OFFER_FOREIGN),
    ("a selection in another order", {"selection": {"order_id": ELSEWHERE}}, R.VOUCHER_ORDER),
    ("a hold that was not selected", {"selection": {"hold_minor": Minor(813)}}, R.BILL_HOLD),
    ("a voucher of another order", {"voucher": {"order_id": ELSEWHERE}}, R.VOUCHER_ORDER),
    ("a voucher for another user", {"voucher": {"holder_key": key("ben").public}}, R.SIGNATURE_INVALID),
    ("a voucher for another device", {"voucher": {"device_id": b"d" * 16}}, R.VOUCHER_DEVICE),
    ("a voucher for more energy", {"voucher": {"energy_wh_max": EnergyWh(5_001)}}, R.VOUCHER_CAPS),
    ("a voucher for more time", {"voucher": {"duration_s_max": DurationS(7_201)}}, R.VOUCHER_CAPS),
    ("a voucher with another tariff", {"voucher": {"tariff_hash": NOWHERE}}, R.VOUCHER_TARIFF),
    ("a voucher past the offer's window", {"voucher": {"window_s": DurationS(3_601)}}, R.VOUCHER_WINDOW),
    ("a voucher by another provider", {"voucher": {"issuer": "moon"}}, R.SIGNATURE_INVALID),
    ("a start with another voucher", {"start": {"voucher_hash": NOWHERE}}, R.RECEIPT_FOREIGN),
    ("a start of another order", {"start": {"order_id": ELSEWHERE}}, R.RECEIPT_FOREIGN),
    ("a start by another serial", {"start": {"serial": Serial(2)}}, R.RECEIPT_FOREIGN),
    ("a start that another user presented", {"start": {"holder": key("ben")}}, R.PRESENTATION_MISSING),
    ("a start that the provider presented", {"start": {"holder": key("sun")}}, R.PRESENTATION_MISSING),
    ("a start with an answer to another question", {"start": {"nonce": b"m" * 16}}, R.PRESENTATION_MISSING),
    ("a start past the voucher's window", {"start": {"at": later(T0, 3_601)}}, R.VOUCHER_EXPIRED),
]


def test_an_order_that_is_signed_anew_as_agreed_verifies(tell: Tell) -> None:
    verify_bundle(forged(tell(confirmed), {}), ROOT.public)


@pytest.mark.parametrize(("changes", "reason"), [pytest.param(*row[1:], id=row[0]) for row in COLLUSIONS])
def test_what_was_not_agreed_is_not_billed(tell: Tell, changes: Changes, reason: Reason) -> None:
    assert refusal(forged(tell(confirmed), changes)) is reason


def test_a_place_in_no_time_zone_can_not_be_billed(tell: Tell) -> None:
    told = tell(confirmed)
    asset = asset_of(told.story.cloud.roster, "sun-outlet", time_zone="Moon/Base")
    assert refusal(forged(told, {"offer": {"asset": asset}})) is R.OFFER_TARIFF


def ended(**changes: Any) -> Forge:
    """Another end receipt by the device, after the same readings."""

    def forge(told: Told) -> Bundle:
        body = replace(told.part(EndReceiptBody, K.END_RECEIPT), **changes)
        return retold(told.bundle, {K.END_RECEIPT: seal(body, key("sun-outlet")), K.END_REQUEST: None})

    return forge


def read(**changes: Any) -> Forge:
    """Another last reading by the device."""

    def forge(told: Told) -> Bundle:
        last = seal(replace(told.part(ReadingBody, K.READING), **changes), key("sun-outlet"))
        kept = tuple(p for p in told.bundle.parts if p.signed != told.story.readings[-1].signed)
        reread = replace(told.bundle, parts=(*kept, Part(K.READING, last.signed)))
        return rename(reread, K.READING, last.digest)

    return forge


def started_again(told: Told) -> Bundle:
    body = replace(told.part(StartReceiptBody, K.START_RECEIPT), receipt_number=Number(9))
    return retold(told.bundle, {K.START_RECEIPT: seal(body, key("sun-outlet"))})


DEVICES: list[tuple[str, Forge, Reason]] = [
    ("an end of another order", ended(order_id=ELSEWHERE), R.RECEIPT_FOREIGN),
    ("an end that nobody released", ended(release=None), R.STRANGER),
    ("an end that its owner did not release", ended(cause=EndCause.OWNER), R.STRANGER),
    ("an end before the last reading", ended(elapsed_s=DurationS(1_799)), R.READING_IMPLAUSIBLE),
    ("a longer session than was billed", ended(elapsed_s=DurationS(3_700)), R.BILL_SESSION),
    ("a register that falls", read(register_wh=EnergyWh(39_999)), R.READING_IMPLAUSIBLE),
    ("a reading of another order", read(order_id=ELSEWHERE), R.RECEIPT_FOREIGN),
    ("a reading that is skipped", read(number=Number(3)), R.READING_GAP),
    ("a reading after another one", read(previous_hash=NOWHERE), R.READING_GAP),
    ("a reading by another device", read(device_id=b"d" * 16), R.GRANT_SUBJECT),
    ("two starts", started_again, R.RECEIPT_CONFLICT),
]


@pytest.mark.parametrize(("forge", "reason"), [pytest.param(*row[1:], id=row[0]) for row in DEVICES])
def test_what_a_device_may_not_sign_is_refused(tell: Tell, forge: Forge, reason: Reason) -> None:
    assert refusal(forge(tell(unconfirmed))) is reason


# Whatever else happens to the bytes


def means(bundle: Bundle) -> tuple[object, ...]:
    """What a bundle says: all but the hints at the keys, which no signature covers."""
    taken = [(part.kind, take_apart(part.signed)) for part in bundle.parts]
    return bundle.order_id, *((kind, signed.payload, signed.signature) for kind, signed in taken)


@pytest.mark.parametrize("tale", [confirmed, unconfirmed])
def test_no_flipped_bits_make_another_bundle_that_verifies(tell: Tell, tale: Tale) -> None:
    bundle, chance = tell(tale).bundle, random.Random(20_261_122)
    data, verified = encode(bundle), 0
    for _ in range(MUTATIONS):
        altered = bytearray(data)
        for _ in range(chance.choice((1, 1, 1, 2, 8))):
            altered[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        try:
            mutant = decode(Bundle, bytes(altered))
            verify_bundle(mutant, ROOT.public)
        except Rejected:
            continue
        verified += 1
        assert means(mutant) == means(bundle)
    assert verified < MUTATIONS // 10
