"""Every bill of the cloud follows from its evidence; a part that is missing, altered, foreign or another's signs it away.

Orders run through the processor, and what the cloud kept of them makes the bundles.
"""

from collections.abc import Iterator

import pytest

from energyshare.bodies import Part
from energyshare.bundle import read_bundle, write_bundle
from energyshare.errors import Rejected
from energyshare.evidence import code_of, verify_bundle, verify_file
from energyshare.records import replace
from energyshare.signing import Label, digest
from energyshare.values import ChargeBasis, OrderId, PartKind
from energyshare.wire import Bundle, encode, take_apart
from tests.cloud import tales
from tests.cloud.actors import ROOT, STRANGER_ROOT, key
from tests.cloud.conftest import Template
from tests.cloud.tales import TALES, Tale
from tests.cloud.told import Tell, Told, collected, recorded, refusal, rename, telling, with_part

K, B = PartKind, ChargeBasis

BILLS: dict[Tale, tuple[ChargeBasis, int, int]] = {
    tales.energy_confirmed: (B.END_RECEIPT, 407, 0),
    tales.energy_lowered: (B.END_RECEIPT, 300, 0),
    tales.energy_given_away: (B.END_RECEIPT, 0, 0),
    tales.energy_followed_by_another: (B.END_RECEIPT, 407, 0),
    tales.energy_asked_without_receipt: (B.LAST_READING, 407, 0),
    tales.energy_asked_before_any_reading: (B.FLAT, 0, 0),
    tales.energy_unconfirmed: (B.END_RECEIPT, 407, 0),
    tales.energy_never_ended: (B.LAST_READING, 407, 0),
    tales.energy_ended_unheard: (B.END_RECEIPT, 407, 0),
    tales.energy_confirmed_before_its_receipt_came: (B.END_RECEIPT, 373, 0),
    tales.energy_never_heard_of: (B.FLAT, 226, 0),
    tales.energy_taxed_twice: (B.END_RECEIPT, 445, 0),
    tales.energy_in_steps: (B.END_RECEIPT, 814, 0),
    tales.energy_released_by_its_owner: (B.END_RECEIPT, 407, 0),
    tales.energy_closed_by_the_device_while_the_phone_was_dead: (B.END_RECEIPT, 475, 0),
    tales.energy_read_past_its_end: (B.END_RECEIPT, 407, 0),
    tales.energy_started_by_a_clock_that_is_ahead: (B.END_RECEIPT, 407, 0),
    tales.energy_unsecured: (B.END_RECEIPT, 407, 0),
    tales.energy_disputed: (B.RULING, 347, 0),
    tales.energy_disputed_on_a_reading: (B.RULING, 307, 0),
    tales.energy_disputed_after_nothing_was_heard: (B.RULING, 26, 0),
    tales.energy_disputed_and_nobody_ruled: (B.RULING, 307, 0),
    tales.energy_disputed_three_times: (B.RULING, 257, 0),
    tales.battery_returned: (B.END_RECEIPT, 226, 0),
    tales.battery_asked_without_receipt: (B.LAST_READING, 226, 0),
    tales.battery_confirmed_without_receipt: (B.FLAT, 113, 0),
    tales.battery_lost: (B.CAP, 565, 0),
    tales.battery_said_to_be_back: (B.CAP, 565, 0),
    tales.battery_not_returned: (B.CAP, 565, 5_000),
    tales.battery_not_returned_at_the_very_moment: (B.CAP, 565, 5_000),
    tales.battery_returned_unheard: (B.END_RECEIPT, 226, 0),
    tales.battery_returned_after_the_claim: (B.END_RECEIPT, 226, 0),
    tales.battery_returned_at_a_higher_price: (B.CAP, 452, 0),
    tales.battery_damaged: (B.END_RECEIPT, 339, 0),
    tales.battery_damage_ruled: (B.RULING, 339, 600),
    tales.battery_damage_ruled_and_disputed: (B.RULING, 339, 300),
    tales.battery_damaged_and_nobody_ruled: (B.RULING, 339, 0),
    tales.battery_damaged_without_receipt: (B.RULING, 226, 1_000),
    tales.battery_cap_disputed: (B.RULING, 530, 0),
    tales.battery_claim_disputed: (B.RULING, 565, 1_500),
    tales.battery_claim_disputed_and_nobody_ruled: (B.RULING, 565, 0),
    tales.battery_unsecured_and_never_returned: (B.CAP, 565, 0),
    tales.service_confirmed: (B.QUOTE, 20_140, 0),
    tales.service_for_less: (B.QUOTE, 5_000, 0),
    tales.service_for_nothing: (B.QUOTE, 0, 0),
    tales.service_amended: (B.QUOTE, 32_860, 0),
    tales.service_amended_twice: (B.QUOTE, 140_980, 0),
    tales.service_refused_in_part: (B.QUOTE, 18_020, 0),
    tales.service_refused_as_a_whole: (B.QUOTE, 0, 0),
    tales.service_unanswered: (B.QUOTE, 26_500, 0),
    tales.service_unheard: (B.QUOTE, 20_140, 0),
    tales.service_refusal_ruled: (B.RULING, 19_080, 0),
    tales.service_refusal_ruled_and_disputed: (B.RULING, 13_080, 0),
    tales.service_refused_and_nobody_ruled: (B.RULING, 20_140, 0),
    tales.service_disputed: (B.RULING, 16_140, 0),
    tales.service_unanswered_and_disputed: (B.RULING, 20_140, 0),
    tales.service_unsecured: (B.QUOTE, 31_860, 0),
}
"""What each order comes to: the basis, the total with VAT, and what is claimed of the deposit; minor units."""
SOME: tuple[Tale, ...] = (
    tales.energy_confirmed,
    tales.energy_unconfirmed,
    tales.battery_asked_without_receipt,
    tales.battery_not_returned,
    tales.battery_damage_ruled,
    tales.service_amended,
    tales.service_refusal_ruled,
)


@pytest.fixture(scope="module")
def tell(template: Template, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tell]:
    with telling(template, tmp_path_factory.mktemp("evidence")) as tell_once:
        yield tell_once


def test_every_tale_has_its_bill() -> None:
    assert set(BILLS) == set(TALES)


@pytest.mark.parametrize("tale", TALES)
def test_a_bill_of_the_cloud_follows_from_its_evidence(tell: Tell, tale: Tale) -> None:
    told = tell(tale)
    proof = verify_file(write_bundle(told.bundle), ROOT.public)
    assert (proof.charge.basis, proof.charge.incl_vat_minor, proof.record.body.deposit_claimed_minor) == BILLS[tale]
    assert proof.record.body == told.record


AGAIN = (tales.battery_damage_ruled_and_disputed, tales.service_refusal_ruled_and_disputed)


@pytest.mark.parametrize("tale", [tale for tale in TALES if tale not in AGAIN])
def test_a_bill_follows_without_the_records_that_it_corrects(tell: Tell, tale: Tale) -> None:
    verify_bundle(without_history(tell(tale).bundle), ROOT.public)


@pytest.mark.parametrize("tale", AGAIN)
def test_a_ruling_on_a_ruling_needs_the_record_that_it_corrects(tell: Tell, tale: Tale) -> None:
    assert refusal(without_history(tell(tale).bundle)) in ("BILL_HOLD", "DISPUTE_AMOUNT")


def without_history(bundle: Bundle) -> Bundle:
    records = [part for part in bundle.parts if part.kind is K.CHARGE_RECORD]
    return replace(bundle, parts=tuple(part for part in bundle.parts if part not in records[:-1]))


# The file


def test_the_same_evidence_gives_the_same_bytes_in_whatever_order(tell: Tell) -> None:
    for tale in SOME:
        bundle = tell(tale).bundle
        assert write_bundle(replace(bundle, parts=bundle.parts[::-1])) == write_bundle(bundle)
        assert read_bundle(write_bundle(bundle)) == bundle


def file_refusal(data: bytes) -> str:
    with pytest.raises(Rejected) as refused:
        verify_file(data, ROOT.public)
    return code_of(refused.value)


@pytest.mark.parametrize(
    "data",
    [b"", b"no bundle", b"\x00" * 100, b"\x0a\x10" + b"x" * 16 + b"\x12\x02\x08\x63", b"x" * (8 * 2**20 + 1)],
    ids=["empty", "text", "zeros", "an unknown part", "too large"],
)
def test_what_is_no_bundle_is_refused(data: bytes) -> None:
    assert file_refusal(data) == "BUNDLE_MALFORMED"


def test_a_bundle_has_one_form_only(tell: Tell) -> None:
    bundle = tell(tales.energy_confirmed).bundle
    data = write_bundle(bundle)
    assert file_refusal(data + b"\x1a\x01x") == "BUNDLE_MALFORMED"
    assert file_refusal(data + data[:18]) == "BUNDLE_MALFORMED"
    readings = [at for at, part in enumerate(bundle.parts) if part.kind is K.READING]
    for moved in (bundle.parts[::-1], (*bundle.parts, bundle.parts[readings[0]])):
        assert file_refusal(encode(replace(bundle, parts=moved))) == "BUNDLE_MALFORMED"


def test_a_file_without_the_record_that_is_corrected_is_refused(tell: Tell) -> None:
    bundle = tell(tales.energy_disputed).bundle
    assert file_refusal(write_bundle(without_history(bundle))) == "CHARGE_RECORD_MISSING"


# Parts that are missing, altered or of another order


@pytest.mark.parametrize("tale", SOME)
def test_without_any_one_of_its_parts_no_bill_verifies(tell: Tell, tale: Tale) -> None:
    bundle = tell(tale).bundle
    for index, part in enumerate(bundle.parts):
        code = file_refusal(write_bundle(with_part(bundle, index, None)))
        is_last = index == len(bundle.parts) - 1 and bundle.parts[index - 1].kind is K.CHARGE_RECORD
        assert code.endswith("_UNEXPECTED") if is_last else code in (f"{part.kind.name}_MISSING", "READING_GAP"), part.kind


def test_a_reading_past_the_request_to_end_may_be_missing(tell: Tell) -> None:
    bundle = tell(tales.energy_asked_without_receipt).bundle
    last = max(i for i, part in enumerate(bundle.parts) if part.kind is K.READING)
    verify_bundle(with_part(bundle, last, None), ROOT.public)


TWICE = {K.READING: "READING_GAP", K.CHARGE_RECORD: "BILL_BASIS"}


@pytest.mark.parametrize("tale", [tales.energy_confirmed, tales.energy_unconfirmed, tales.service_amended])
def test_a_part_that_is_there_twice_is_refused(tell: Tell, tale: Tale) -> None:
    bundle = tell(tale).bundle
    for part in bundle.parts:
        twice = tuple(sorted((*bundle.parts, part), key=lambda p: p.kind))
        assert refusal(replace(bundle, parts=twice)) == TWICE.get(part.kind, f"{part.kind.name}_UNEXPECTED")


UNNAMED = (K.CHARGE_RECORD, K.READING, K.PLATFORM_GRANT)
"""Parts that no record names by their hash, so that only their signature can betray them."""


def flipped(signed: bytes, position: int) -> bytes:
    return signed[:position] + bytes([signed[position] ^ 1]) + signed[position + 1 :]


@pytest.mark.parametrize("tale", SOME)
def test_a_flipped_byte_is_refused_wherever_it_is(tell: Tell, tale: Tale) -> None:
    bundle = tell(tale).bundle
    for index, part in enumerate(bundle.parts):
        taken, name = take_apart(part.signed), part.kind.name
        payload = part.signed.index(taken.payload) + len(taken.payload) // 2
        expected = f"{name}_SIGNATURE" if part.kind in UNNAMED else f"{name}_HASH"
        assert refusal(with_part(bundle, index, flipped(part.signed, payload))) in (expected, f"{name}_MALFORMED")
        for covered in (taken.signature, taken.key_id):
            at = part.signed.rindex(covered)
            assert refusal(with_part(bundle, index, flipped(part.signed, at))) == f"{name}_SIGNATURE"


@pytest.mark.parametrize(
    ("kind", "code", "code_when_named"),
    [
        (K.OFFER, "OFFER_HASH", "OFFER_ORDER"),
        (K.SELECTION, "SELECTION_HASH", "SELECTION_ORDER"),
        (K.VOUCHER, "VOUCHER_HASH", "VOUCHER_ORDER"),
        (K.START_RECEIPT, "START_RECEIPT_HASH", "START_RECEIPT_ORDER"),
        (K.READING, "READING_ORDER", "READING_ORDER"),
        (K.END_RECEIPT, "END_RECEIPT_HASH", "END_RECEIPT_ORDER"),
        (K.END_REQUEST, "END_REQUEST_HASH", "END_REQUEST_ORDER"),
        (K.END_CONFIRMATION, "END_CONFIRMATION_HASH", "END_CONFIRMATION_ORDER"),
    ],
)
def test_a_part_of_another_order_is_refused_even_if_the_record_names_it(
    tell: Tell, kind: PartKind, code: str, code_when_named: str
) -> None:
    told, other = both(tell)
    index = max(i for i, part in enumerate(told.bundle.parts) if part.kind is kind)
    foreign = next(p.signed for p in reversed(other.parts) if p.kind is kind)
    swapped = with_part(told.bundle, index, foreign)
    assert refusal(swapped) == code
    assert refusal(rename(swapped, kind, digest(Label[kind.name], take_apart(foreign).payload))) == code_when_named


def test_the_charge_record_of_another_order_is_refused(tell: Tell) -> None:
    told, other = both(tell)
    index = next(i for i, part in enumerate(told.bundle.parts) if part.kind is K.CHARGE_RECORD)
    record = next(p.signed for p in other.parts if p.kind is K.CHARGE_RECORD)
    assert refusal(with_part(told.bundle, index, record)) == "CHARGE_RECORD_ORDER"
    assert refusal(replace(told.bundle, order_id=other.order_id)) == "CHARGE_RECORD_ORDER"


def both(tell: Tell) -> tuple[Told, Bundle]:
    """Two orders of the same user at the same outlet."""
    told = tell(tales.energy_followed_by_another)
    other = collected(told.story.cloud, OrderId(b"\x02" * 16))
    verify_bundle(other, ROOT.public)
    return told, other


@pytest.mark.parametrize(
    ("tale", "of", "kind"),
    [
        (tales.energy_confirmed, tales.service_amended, K.SETTLEMENT_REQUEST),
        (tales.energy_confirmed, tales.service_amended, K.AMENDMENT),
        (tales.energy_confirmed, tales.battery_not_returned, K.NOT_RETURNED),
        (tales.battery_returned, tales.service_amended, K.SETTLEMENT_ANSWER),
        (tales.service_confirmed, tales.energy_confirmed, K.END_CONFIRMATION),
        (tales.service_confirmed, tales.energy_confirmed, K.END_RECEIPT),
        (tales.service_confirmed, tales.battery_not_returned, K.NOT_RETURNED),
    ],
)
def test_a_part_that_proves_nothing_of_a_kind_is_refused(tell: Tell, tale: Tale, of: Tale, kind: PartKind) -> None:
    part = next(part for part in tell(of).bundle.parts if part.kind is kind)
    bundle = tell(tale).bundle
    more = recorded(replace(bundle, parts=(*bundle.parts, part)))
    assert refusal(more) == f"{kind.name}_UNEXPECTED"


def test_a_burned_voucher_s_statement_proves_no_bill(tell: Tell) -> None:
    told = tell(tales.energy_confirmed)
    part = Part(K.SERIAL_CLOSED, told.story.closing().statement)
    assert refusal(replace(told.bundle, parts=(*told.bundle.parts, part))) == "SERIAL_CLOSED_UNEXPECTED"


# Whose record it is


@pytest.mark.parametrize("signer", ["sun", "ann", "sun-outlet", "root", "another platform"])
def test_only_the_platform_key_signs_a_charge_record(tell: Tell, signer: str) -> None:
    assert refusal(recorded(tell(tales.energy_confirmed).bundle, signer=key(signer))) == "CHARGE_RECORD_SIGNATURE"


def test_another_root_did_not_grant_any_of_it(tell: Tell) -> None:
    assert refusal(tell(tales.energy_confirmed).bundle, STRANGER_ROOT.public) == "PLATFORM_GRANT_SIGNATURE"


def test_without_a_change_a_record_that_is_signed_again_verifies(tell: Tell) -> None:
    for tale in SOME:
        verify_bundle(recorded(tell(tale).bundle), ROOT.public)
