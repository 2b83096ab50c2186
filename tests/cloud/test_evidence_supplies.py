"""What may not be billed of a supply or a rental: the cloud signs any record, provider and device what they like.

Each row is one cheat. The platform names in its record whatever parts it likes and signs it with its own key.
"""

from collections.abc import Iterator

import pytest

from energyshare.bodies import EndReceiptBody, Part, ReadingBody, SilenceDecisionBody, StartReceiptBody
from energyshare.evidence import verify_bundle
from energyshare.records import replace
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
from energyshare.wire import Bundle, seal
from tests.cloud import tales
from tests.cloud.actors import PLATFORM, ROOT, STRANGER_ROOT, T0, asset_of, key, tariff_bytes
from tests.cloud.conftest import Template
from tests.cloud.forging import (
    Changes,
    added,
    altered,
    billed,
    forged,
    granted,
    naming,
    platform_granted,
    silence,
    twice,
    without,
)
from tests.cloud.tales import Tale
from tests.cloud.told import Forge, Tell, Told, recorded, refusal, rename, retold, telling

K, B = PartKind, ChargeBasis
ELSEWHERE, NOWHERE = OrderId(b"\x02" * 16), Digest(b"x" * 32)
EXPIRED = {"not_after_unix_s": UnixS(unix_s(T0) - 86_400)}
TO_THE_CAPS = {
    "basis": B.CAP,
    "duration_s": DurationS(7_200),
    "energy_wh": EnergyWh(5_000),
    "excl_vat_minor": Minor(500),
    "incl_vat_minor": Minor(565),
}


@pytest.fixture(scope="module")
def tell(template: Template, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tell]:
    with telling(template, tmp_path_factory.mktemp("supplies")) as tell_once:
        yield tell_once


def naming_the_first_reading(told: Told) -> Bundle:
    return rename(told.bundle, K.READING, told.story.readings[0].digest)


def with_both(told: Told) -> Bundle:
    return added(K.SILENCE_DECISION, "the platform", waited(told, "CONFIRMATION"))(told)


def waited(told: Told, what: str) -> SilenceDecisionBody:
    return SilenceDecisionBody(told.bundle.order_id, what, T0, told.record.settled_time)


def silently(told: Told) -> Bundle:
    """A confirmation left out, and silence claimed, of a battery that was read before its request to end."""
    body = SilenceDecisionBody(told.bundle.order_id, "END_OF_SUPPLY", later(T0, 7_200), later(T0, 7_200))
    decided = {K.END_CONFIRMATION: None, K.SILENCE_DECISION: seal(body, PLATFORM)}
    return retold(told.bundle, decided, settled_time=body.decided_time)


def asked_earlier_by_the_platform(told: Told) -> Bundle:
    """A request to end that the platform made up, to leave out the last reading."""
    asked = altered(K.END_REQUEST, "the platform", requested_time=later(T0, 60))(told)
    return rename(asked, K.READING, told.story.readings[0].digest)


def named_twice(told: Told) -> Bundle:
    return recorded(told.bundle, named=(*told.record.parts, told.record.parts[0]))


CHEATS: list[tuple[str, Tale, Forge, str]] = [
    ("all readings left out", tales.energy_confirmed, naming(K.READING, None), "BILL_BASIS"),
    ("the last reading left out", tales.energy_confirmed, naming_the_first_reading, "BILL_BASIS"),
    ("the last reading left out, no end", tales.energy_never_ended, naming_the_first_reading, "BILL_BASIS"),
    ("one before the request left out", tales.energy_asked_without_receipt, naming_the_first_reading, "BILL_BASIS"),
    ("a reading that nobody has", tales.energy_confirmed, naming(K.READING, b"x" * 32), "READING_MISSING"),
    ("another start receipt", tales.energy_confirmed, naming(K.START_RECEIPT, b"x" * 32), "START_RECEIPT_HASH"),
    ("no start receipt named", tales.energy_confirmed, naming(K.START_RECEIPT, None), "START_RECEIPT_UNEXPECTED"),
    ("no end receipt named", tales.energy_confirmed, naming(K.END_RECEIPT, None), "END_RECEIPT_UNEXPECTED"),
    ("the end receipt left out", tales.energy_confirmed, without(K.END_RECEIPT), "RECEIPT_FOREIGN"),
    ("a ruling that nobody has", tales.energy_confirmed, naming(K.RULING, b"x" * 32), "RULING_MISSING"),
    ("a part named twice", tales.energy_confirmed, named_twice, "OFFER_HASH"),
    ("an end receipt there twice", tales.energy_confirmed, twice(K.END_RECEIPT), "END_RECEIPT_HASH"),
    ("the start two hours earlier", tales.energy_confirmed, billed(start_time=later(T0, -7_200)), "BILL_SESSION"),
    ("the start a second later", tales.energy_confirmed, billed(start_time=later(T0, 1)), "BILL_SESSION"),
    ("a longer session", tales.energy_confirmed, billed(duration_s=DurationS(3_601)), "BILL_SESSION"),
    ("more energy", tales.energy_confirmed, billed(energy_wh=EnergyWh(2_501)), "BILL_SESSION"),
    ("less energy", tales.energy_confirmed, billed(energy_wh=EnergyWh(2_499)), "BILL_SESSION"),
    ("a higher total", tales.energy_confirmed, billed(incl_vat_minor=Minor(408)), "BILL_TOTAL"),
    ("a lower total", tales.energy_confirmed, billed(incl_vat_minor=Minor(406)), "BILL_TOTAL"),
    ("another VAT", tales.energy_confirmed, billed(excl_vat_minor=Minor(359)), "BILL_TOTAL"),
    ("no lines", tales.energy_confirmed, billed(lines=()), "BILL_TOTAL"),
    ("a total that was lowered", tales.energy_lowered, billed(excl_vat_minor=360, incl_vat_minor=407), "BILL_TOTAL"),
    ("a higher hold", tales.energy_confirmed, billed(hold_minor=Minor(815)), "BILL_HOLD"),
    ("a lower hold", tales.energy_confirmed, billed(hold_minor=Minor(407)), "BILL_HOLD"),
    ("a claim on the deposit", tales.battery_returned, billed(deposit_claimed_minor=Minor(1)), "BILL_HOLD"),
    ("another currency", tales.energy_confirmed, billed(currency=Currency("EUR")), "CURRENCY_MISMATCH"),
    ("another kind", tales.energy_confirmed, billed(kind=Kind.BATTERY), "BILL_BASIS"),
    ("a service", tales.energy_confirmed, billed(kind=Kind.SERVICE), "END_RECEIPT_UNEXPECTED"),
    ("another provider", tales.energy_confirmed, billed(provider_id=ProviderId(b"m" * 16)), "GRANT_SUBJECT"),
    ("another order", tales.energy_confirmed, billed(order_id=ELSEWHERE), "CHARGE_RECORD_ORDER"),
    ("a worse basis", tales.energy_confirmed, billed(basis=B.LAST_READING), "BILL_BASIS"),
    ("the caps", tales.energy_confirmed, billed(basis=B.CAP), "BILL_BASIS"),
    ("a quote", tales.energy_confirmed, billed(basis=B.QUOTE), "BILL_BASIS"),
    ("a quote for a battery", tales.battery_returned, billed(basis=B.QUOTE), "BILL_BASIS"),
    ("a ruling without one", tales.energy_confirmed, billed(basis=B.RULING), "BILL_BASIS"),
    ("a battery's caps though it came back", tales.battery_returned, billed(**TO_THE_CAPS), "BILL_BASIS"),
    ("its caps though it was confirmed", tales.battery_asked_without_receipt, billed(**TO_THE_CAPS), "BILL_BASIS"),
    ("a battery's silence as an outlet's", tales.battery_asked_without_receipt, silently, "BILL_BASIS"),
    ("settled before its grant", tales.energy_confirmed, billed(settled_time=later(T0, -90_000)), "GRANT_EXPIRED"),
    ("silence on offers", tales.energy_unconfirmed, silence(waited_for="OFFERS"), "BILL_BASIS"),
    ("silence on the end of supply", tales.energy_unconfirmed, silence(waited_for="END_OF_SUPPLY"), "BILL_BASIS"),
    ("silence on a service", tales.energy_unconfirmed, silence(waited_for="SERVICE_CONFIRMATION"), "BILL_BASIS"),
    ("silence on what nobody asked", tales.energy_never_ended, silence(waited_for="CONFIRMATION"), "BILL_BASIS"),
    ("silence on an outlet's return", tales.energy_never_heard_of, silence(waited_for="RETURN"), "BILL_BASIS"),
    ("silence before the start", tales.energy_unconfirmed, silence(due_time=later(T0, -1)), "BILL_BASIS"),
    ("silence before the end", tales.energy_unconfirmed, silence(due_time=later(T0, 2_999)), "BILL_BASIS"),
    ("silence decided before it was due", tales.energy_unconfirmed, silence(decided_time=later(T0, 3_601)), "BILL_BASIS"),
    ("silence while there was supply", tales.energy_never_ended, silence(due_time=later(T0, 7_199)), "BILL_BASIS"),
    ("silence within the grace", tales.battery_lost, silence(due_time=later(T0, 10_799)), "BILL_BASIS"),
    ("silence in another order", tales.energy_unconfirmed, silence(order_id=ELSEWHERE), "SILENCE_DECISION_ORDER"),
    ("silence that a provider decides", tales.energy_unconfirmed, silence("sun"), "SILENCE_DECISION_SIGNATURE"),
    ("silence decided at another time", tales.energy_unconfirmed, billed(settled_time=later(T0, 9_000)), "BILL_BASIS"),
    ("confirmation and silence", tales.energy_confirmed, with_both, "END_ANSWER_MISSING"),
    ("neither of them", tales.energy_confirmed, without(K.END_CONFIRMATION), "END_ANSWER_MISSING"),
    (
        "a confirmation of another end",
        tales.energy_confirmed,
        altered(K.END_CONFIRMATION, "sun", end_receipt_hash=NOWHERE),
        "CONFIRMATION_FOREIGN",
    ),
    (
        "a confirmation of no end",
        tales.energy_confirmed,
        altered(K.END_CONFIRMATION, "sun", end_receipt_hash=None),
        "CONFIRMATION_FOREIGN",
    ),
    (
        "a confirmation of another order",
        tales.energy_confirmed,
        altered(K.END_CONFIRMATION, "sun", order_id=ELSEWHERE),
        "END_CONFIRMATION_ORDER",
    ),
    ("another provider's", tales.energy_confirmed, altered(K.END_CONFIRMATION, "moon"), "END_CONFIRMATION_SIGNATURE"),
    ("the platform's", tales.energy_confirmed, altered(K.END_CONFIRMATION, "the platform"), "END_CONFIRMATION_SIGNATURE"),
    ("the user's", tales.energy_confirmed, altered(K.END_CONFIRMATION, "ann"), "END_CONFIRMATION_SIGNATURE"),
    (
        "a lower total than confirmed",
        tales.energy_confirmed,
        altered(K.END_CONFIRMATION, "sun", total_minor_max=Minor(300)),
        "BILL_TOTAL",
    ),
    ("an end that nobody asked for", tales.battery_asked_without_receipt, without(K.END_REQUEST), "END_RECEIPT_MISSING"),
    (
        "a request that the platform made up",
        tales.energy_asked_without_receipt,
        asked_earlier_by_the_platform,
        "END_REQUEST_SIGNATURE",
    ),
    ("a request by another user", tales.energy_confirmed, altered(K.END_REQUEST, "ben"), "END_REQUEST_SIGNATURE"),
    (
        "a request with another end",
        tales.energy_confirmed,
        altered(K.END_REQUEST, "ann", end_receipt_hash=NOWHERE),
        "RECEIPT_FOREIGN",
    ),
    (
        "a request in another order",
        tales.energy_confirmed,
        altered(K.END_REQUEST, "ann", order_id=ELSEWHERE),
        "END_REQUEST_ORDER",
    ),
    ("another issuer", tales.energy_confirmed, granted(K.ISSUER_GRANT, "moon", Role.ISSUER, "moon"), "GRANT_SUBJECT"),
    ("another issuing key", tales.energy_confirmed, granted(K.ISSUER_GRANT, "sun", Role.ISSUER, "moon"), "OFFER_SIGNATURE"),
    (
        "a device as issuer",
        tales.energy_confirmed,
        granted(K.ISSUER_GRANT, "sun-outlet", Role.DEVICE, "sun", "sun"),
        "GRANT_ROLE",
    ),
    (
        "an issuer of another root",
        tales.energy_confirmed,
        granted(K.ISSUER_GRANT, "sun", Role.ISSUER, "sun", root=STRANGER_ROOT),
        "ISSUER_GRANT_SIGNATURE",
    ),
    (
        "an issuer that expires",
        tales.energy_confirmed,
        granted(K.ISSUER_GRANT, "sun", Role.ISSUER, "sun", not_after_unix_s=unix_s(T0)),
        "GRANT_EXPIRED",
    ),
    (
        "another owner's device",
        tales.energy_confirmed,
        granted(K.DEVICE_GRANT, "sun-outlet", Role.DEVICE, "sun-outlet", "moon"),
        "GRANT_OWNER",
    ),
    (
        "another device",
        tales.energy_confirmed,
        granted(K.DEVICE_GRANT, "sun-free", Role.DEVICE, "sun-outlet", "sun"),
        "GRANT_SUBJECT",
    ),
    (
        "another device's key",
        tales.energy_confirmed,
        granted(K.DEVICE_GRANT, "sun-outlet", Role.DEVICE, "sun-free", "sun"),
        "START_RECEIPT_SIGNATURE",
    ),
    (
        "an expired device",
        tales.energy_confirmed,
        granted(K.DEVICE_GRANT, "sun-outlet", Role.DEVICE, "sun-outlet", "sun", **EXPIRED),
        "GRANT_EXPIRED",
    ),
    ("a platform that is an issuer", tales.energy_confirmed, platform_granted(Role.ISSUER), "GRANT_ROLE"),
    ("an expired platform", tales.energy_confirmed, platform_granted(Role.PLATFORM, **EXPIRED), "GRANT_EXPIRED"),
    (
        "a platform of another root",
        tales.energy_confirmed,
        platform_granted(Role.PLATFORM, root=STRANGER_ROOT),
        "PLATFORM_GRANT_SIGNATURE",
    ),
]


@pytest.mark.parametrize(("tale", "forge", "code"), [pytest.param(*row[1:], id=row[0]) for row in CHEATS])
def test_what_the_platform_may_not_bill_is_refused(tell: Tell, tale: Tale, forge: Forge, code: str) -> None:
    assert refusal(forge(tell(tale))) == code


# What provider, device and platform may not sign together

YEN_TARIFF = tariff_bytes(("TIME", "1"), currency="JPY")

COLLUSIONS: list[tuple[str, Changes, str]] = [
    ("an offer for another order", {"offer": {"order_id": ELSEWHERE}}, "OFFER_ORDER"),
    ("an offer by another provider", {"offer": {"provider_id": ProviderId(b"m" * 16)}}, "OFFER_FOREIGN"),
    ("a tariff without a price", {"offer": {"tariff": b"{}"}}, "OFFER_TARIFF"),
    ("a tariff that is no JSON", {"offer": {"tariff": b"{{"}}, "OFFER_TARIFF"),
    ("a tariff in another currency", {"offer": {"tariff": YEN_TARIFF}}, "CURRENCY_MISMATCH"),
    ("an offer in another currency", {"offer": {"currency": Currency("EUR")}}, "CURRENCY_MISMATCH"),
    ("a selection in another currency", {"selection": {"currency": Currency("EUR")}}, "CURRENCY_MISMATCH"),
    ("a selection of another offer", {"selection": {"offer_hash": NOWHERE}}, "OFFER_FOREIGN"),
    ("a selection in another order", {"selection": {"order_id": ELSEWHERE}}, "SELECTION_ORDER"),
    ("a hold that was not selected", {"selection": {"hold_minor": Minor(813)}}, "BILL_HOLD"),
    ("a voucher of another order", {"voucher": {"order_id": ELSEWHERE}}, "VOUCHER_ORDER"),
    ("a voucher for another user", {"voucher": {"holder_key": key("ben").public}}, "SELECTION_SIGNATURE"),
    ("a voucher for another device", {"voucher": {"device_id": b"d" * 16}}, "VOUCHER_DEVICE"),
    ("a voucher for more energy", {"voucher": {"energy_wh_max": EnergyWh(5_001)}}, "VOUCHER_CAPS"),
    ("a voucher for more time", {"voucher": {"duration_s_max": DurationS(7_201)}}, "VOUCHER_CAPS"),
    ("a voucher with another tariff", {"voucher": {"tariff_hash": NOWHERE}}, "VOUCHER_TARIFF"),
    ("a voucher past the offer's window", {"voucher": {"window_s": DurationS(3_601)}}, "VOUCHER_WINDOW"),
    ("a voucher by another provider", {"voucher": {"issuer": "moon"}}, "VOUCHER_SIGNATURE"),
    ("a start with another voucher", {"start": {"voucher_hash": NOWHERE}}, "RECEIPT_FOREIGN"),
    ("a start of another order", {"start": {"order_id": ELSEWHERE}}, "START_RECEIPT_ORDER"),
    ("a start by another serial", {"start": {"serial": Serial(2)}}, "RECEIPT_FOREIGN"),
    ("a start that another user presented", {"start": {"holder": key("ben")}}, "PRESENTATION_MISSING"),
    ("a start that the provider presented", {"start": {"holder": key("sun")}}, "PRESENTATION_MISSING"),
    ("a start with an answer to another question", {"start": {"nonce": b"m" * 16}}, "PRESENTATION_MISSING"),
    ("a start past the voucher's window", {"start": {"at": later(T0, 3_601)}}, "VOUCHER_EXPIRED"),
]


def test_an_order_that_is_signed_anew_as_agreed_verifies(tell: Tell) -> None:
    verify_bundle(forged(tell(tales.energy_confirmed), {}), ROOT.public)


@pytest.mark.parametrize(("changes", "code"), [pytest.param(*row[1:], id=row[0]) for row in COLLUSIONS])
def test_what_was_not_agreed_is_not_billed(tell: Tell, changes: Changes, code: str) -> None:
    assert refusal(forged(tell(tales.energy_confirmed), changes)) == code


def test_a_place_in_no_time_zone_can_not_be_billed(tell: Tell) -> None:
    told = tell(tales.energy_confirmed)
    asset = asset_of(told.story.cloud.roster, "sun-outlet", time_zone="Moon/Base")
    assert refusal(forged(told, {"offer": {"asset": asset}})) == "OFFER_TARIFF"


# What a device may not sign


def ended(**changes: object) -> Forge:
    """Another end receipt by the device, after the same readings."""

    def forge(told: Told) -> Bundle:
        body = replace(told.part(EndReceiptBody, K.END_RECEIPT), **changes)  # type: ignore[arg-type]
        return retold(told.bundle, {K.END_RECEIPT: seal(body, key("sun-outlet")), K.END_REQUEST: None})

    return forge


def read(**changes: object) -> Forge:
    """Another last reading by the device, which its end receipt counts."""

    def forge(told: Told) -> Bundle:
        last = seal(replace(told.part(ReadingBody, K.READING), **changes), key("sun-outlet"))  # type: ignore[arg-type]
        kept = tuple(p for p in told.bundle.parts if p.signed != told.story.readings[-1].signed)
        end = replace(told.part(EndReceiptBody, K.END_RECEIPT), readings_head=last.digest)
        reread = replace(told.bundle, parts=(*kept, Part(K.READING, last.signed)))
        counted = retold(reread, {K.END_RECEIPT: seal(end, key("sun-outlet")), K.END_REQUEST: None})
        return rename(counted, K.READING, last.digest)

    return forge


def started_again(told: Told) -> Bundle:
    body = replace(told.part(StartReceiptBody, K.START_RECEIPT), receipt_number=Number(9))
    return retold(told.bundle, {K.START_RECEIPT: seal(body, key("sun-outlet"))})


DEVICES: list[tuple[str, Forge, str]] = [
    ("an end of another order", ended(order_id=ELSEWHERE), "END_RECEIPT_ORDER"),
    ("an end that nobody released", ended(release=None), "STRANGER"),
    ("an end that its owner did not release", ended(cause=EndCause.OWNER), "STRANGER"),
    ("an end at a cap that was not reached", ended(cause=EndCause.DURATION_CAP, release=None), "STRANGER"),
    ("an end before the last reading", ended(elapsed_s=DurationS(1_799)), "READING_IMPLAUSIBLE"),
    ("a longer session than was billed", ended(elapsed_s=DurationS(3_700)), "BILL_SESSION"),
    ("an end that counts fewer readings", ended(readings_count=Number(1)), "READING_GAP"),
    ("an end after other readings", ended(readings_head=NOWHERE), "READING_GAP"),
    ("a register that falls", read(register_wh=EnergyWh(39_999)), "READING_IMPLAUSIBLE"),
    ("a reading of another order", read(order_id=ELSEWHERE), "READING_ORDER"),
    ("a reading that is skipped", read(number=Number(3)), "READING_GAP"),
    ("a reading after another one", read(previous_hash=NOWHERE), "READING_GAP"),
    ("a reading by another device", read(device_id=b"d" * 16), "GRANT_SUBJECT"),
    ("two starts", started_again, "RECEIPT_CONFLICT"),
]


@pytest.mark.parametrize(("forge", "code"), [pytest.param(*row[1:], id=row[0]) for row in DEVICES])
def test_what_a_device_may_not_sign_is_refused(tell: Tell, forge: Forge, code: str) -> None:
    assert refusal(forge(tell(tales.energy_unconfirmed))) == code


def test_readings_that_never_arrived_leave_a_gap_that_is_priced_linearly(tell: Tell) -> None:
    """The end receipt counts one more than there is; the bill rests on its register."""
    verify_bundle(ended(readings_count=Number(3), readings_head=NOWHERE)(tell(tales.energy_unconfirmed)), ROOT.public)
