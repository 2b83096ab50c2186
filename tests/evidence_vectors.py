"""The vectors of evidence: bundles that hold, and bundles that don't, each named after what a verifier has to say of it.

    python -m tests.evidence_vectors

writes tests/vectors/evidence anew: NAME.bundle, `root.hex` with the platform root's key, and `index.json`, which says of each
bundle its outcome. The same orders, told by the same keys at the same times, give the same bytes.
"""

import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from energyshare.bodies import AmendmentAnswerBody, OfferBody, Part, SettlementRequestBody
from energyshare.bundle import write_bundle
from energyshare.errors import Rejected
from energyshare.evidence import code_of, verify_file
from energyshare.records import replace
from energyshare.values import ChargeBasis, Digest, DurationS, EnergyWh, Instant, Minor, OrderId, PartKind, Role, later
from energyshare.wire import Bundle, encode
from tests.cloud import tales
from tests.cloud.actors import ROOT, STRANGER_ROOT, T0, found_cloud, key
from tests.cloud.forging import added, altered, billed, granted, naming, one_altered, platform_granted, silence, without
from tests.cloud.tales import Tale
from tests.cloud.told import Forge, Tell, Told, telling

FOLDER = Path(__file__).parent / "vectors" / "evidence"
ORDER, NOWHERE = OrderId(b"\x01" * 16), Digest(b"x" * 32)
K = PartKind

VALID: dict[str, Tale] = {
    "energy-end-receipt": tales.energy_confirmed,
    "energy-end-receipt-lowered-by-the-provider": tales.energy_lowered,
    "energy-end-receipt-on-silence": tales.energy_unconfirmed,
    "energy-end-receipt-in-steps": tales.energy_in_steps,
    "energy-end-receipt-two-rates-of-vat": tales.energy_taxed_twice,
    "energy-end-receipt-corrects-last-reading": tales.energy_ended_unheard,
    "energy-end-receipt-unsecured": tales.energy_unsecured,
    "energy-last-reading": tales.energy_never_ended,
    "energy-last-reading-on-request": tales.energy_asked_without_receipt,
    "energy-flat-and-minimum": tales.energy_never_heard_of,
    "energy-ruling-on-a-dispute": tales.energy_disputed,
    "energy-ruling-after-two-others": tales.energy_disputed_three_times,
    "battery-end-receipt": tales.battery_returned,
    "battery-end-receipt-corrects-cap": tales.battery_returned_unheard,
    "battery-end-receipt-corrects-claim": tales.battery_returned_after_the_claim,
    "battery-end-refusal": tales.battery_damaged,
    "battery-cap": tales.battery_lost,
    "battery-cap-not-returned": tales.battery_not_returned,
    "battery-flat-and-minimum": tales.battery_confirmed_without_receipt,
    "battery-ruling-on-a-claim": tales.battery_damage_ruled,
    "battery-ruling-on-a-claimed-deposit": tales.battery_claim_disputed,
    "service-quote": tales.service_confirmed,
    "service-quote-amended": tales.service_amended,
    "service-quote-refused-in-part": tales.service_refused_in_part,
    "service-quote-on-silence": tales.service_unanswered,
    "service-quote-never-acknowledged": tales.service_unheard,
    "service-ruling-on-a-refusal": tales.service_refusal_ruled,
}

AMENDMENT_APPROVED = AmendmentAnswerBody(ORDER, NOWHERE, approved=True)
CAPS: dict[str, Any] = {"basis": ChargeBasis.CAP, "duration_s": DurationS(7_200), "energy_wh": EnergyWh(5_000)}
HOURS_BEFORE = Instant(later(T0, -7_200))

FORGED: dict[str, tuple[Tale, Forge]] = {
    "offer-signature-by-another-provider": (tales.energy_confirmed, altered(K.OFFER, "moon")),
    "offer-hash-cheaper-deposit": (tales.battery_returned, lambda told: unnamed(told, cheaper)),
    "selection-signature-by-the-platform": (tales.energy_confirmed, altered(K.SELECTION, "the platform")),
    "voucher-signature-by-the-platform": (tales.energy_confirmed, altered(K.VOUCHER, "the platform")),
    "start-receipt-signature-by-the-provider": (tales.energy_confirmed, altered(K.START_RECEIPT, "sun")),
    "end-receipt-signature-by-the-provider": (tales.energy_confirmed, altered(K.END_RECEIPT, "sun")),
    "end-confirmation-signature-by-the-platform": (tales.energy_confirmed, altered(K.END_CONFIRMATION, "the platform")),
    "not-returned-signature-by-the-platform": (tales.battery_not_returned, altered(K.NOT_RETURNED, "the platform")),
    "amendment-answer-signature-by-the-provider": (
        tales.service_amended,
        one_altered(K.AMENDMENT_ANSWER, 0, "sun", approved=True),
    ),
    "settlement-answer-signature-by-the-provider": (tales.service_confirmed, altered(K.SETTLEMENT_ANSWER, "sun")),
    "ruling-signature-by-the-provider": (tales.energy_disputed, altered(K.RULING, "sun")),
    "charge-record-signature-by-the-provider": (tales.energy_confirmed, billed(signer=key("sun"))),
    "platform-grant-signature-by-another-root": (tales.energy_confirmed, platform_granted(Role.PLATFORM, root=STRANGER_ROOT)),
    "grant-role-a-provider-as-platform": (tales.energy_confirmed, platform_granted(Role.ISSUER)),
    "grant-owner-another-provider-s-device": (
        tales.energy_confirmed,
        granted(K.DEVICE_GRANT, "sun-outlet", Role.DEVICE, "sun-outlet", "moon"),
    ),
    "reading-gap-the-first-one-gone": (tales.energy_confirmed, lambda told: without_reading(told, 0)),
    "reading-missing-the-last-one-gone": (tales.energy_confirmed, lambda told: without_reading(told, 1)),
    "bill-basis-readings-left-out": (tales.energy_confirmed, naming(K.READING, None)),
    "bill-basis-caps-though-it-came-back": (tales.battery_returned, billed(**CAPS)),
    "bill-basis-caps-though-confirmed": (tales.battery_confirmed_without_receipt, billed(**CAPS)),
    "bill-basis-silence-while-there-was-supply": (tales.energy_never_ended, silence(due_time=later(T0, 7_199))),
    "bill-basis-a-quote-for-a-battery": (tales.battery_returned, billed(basis=ChargeBasis.QUOTE)),
    "bill-basis-a-ruling-that-corrects-nothing": (tales.energy_disputed, billed(corrects_hash=None)),
    "bill-session-an-earlier-start": (tales.energy_confirmed, billed(start_time=HOURS_BEFORE)),
    "bill-session-a-second-longer": (tales.energy_confirmed, billed(duration_s=DurationS(3_601))),
    "bill-total-one-minor-unit-more": (tales.energy_confirmed, billed(incl_vat_minor=Minor(408))),
    "bill-total-above-the-confirmation": (
        tales.energy_lowered,
        billed(excl_vat_minor=Minor(360), incl_vat_minor=Minor(407)),
    ),
    "bill-total-above-what-was-ruled": (tales.service_refusal_ruled, billed(incl_vat_minor=Minor(19_081))),
    "bill-hold-more-than-was-selected": (tales.energy_confirmed, billed(hold_minor=Minor(815))),
    "bill-hold-a-deposit-that-nobody-claimed": (tales.battery_lost, billed(deposit_claimed_minor=Minor(5_000))),
    "not-overdue-stated-within-the-grace": (
        tales.battery_not_returned_at_the_very_moment,
        altered(K.NOT_RETURNED, "sun", stated_time=later(T0, 10_799)),
    ),
    "dispute-amount-more-ruled-than-refused": (
        tales.service_refusal_ruled,
        altered(K.RULING, "the platform", charged_minor=Minor(2_121)),
    ),
    "amendment-unknown-an-answer-to-none": (
        tales.service_confirmed,
        added(K.AMENDMENT_ANSWER, "ann", AMENDMENT_APPROVED),
    ),
    "settlement-total-above-the-items": (
        tales.service_confirmed,
        altered(K.SETTLEMENT_REQUEST, "sun", total_minor=Minor(20_141)),
    ),
    "settlement-items-more-time-than-quoted": (
        tales.service_confirmed,
        altered(K.SETTLEMENT_REQUEST, "sun", duration_s=DurationS(7_201)),
    ),
    "confirmation-foreign-of-another-end": (
        tales.energy_confirmed,
        altered(K.END_CONFIRMATION, "sun", end_receipt_hash=NOWHERE),
    ),
    "end-confirmation-order-of-another-order": (
        tales.energy_confirmed,
        altered(K.END_CONFIRMATION, "sun", order_id=OrderId(b"\x02" * 16)),
    ),
    "end-answer-missing-nobody-answered": (tales.energy_confirmed, without(K.END_CONFIRMATION)),
    "start-receipt-missing": (tales.energy_confirmed, without(K.START_RECEIPT)),
    "charge-record-missing-the-corrected-one": (tales.energy_disputed, lambda told: without_the_first_record(told)),
    "settlement-request-unexpected-of-an-outlet": (tales.energy_confirmed, lambda told: with_a_service_s_request(told)),
}

DAMAGED: dict[str, Callable[[Bundle, bytes], bytes]] = {
    "bundle-malformed-an-unknown-field": lambda bundle, data: data + b"\x1a\x01x",
    "bundle-malformed-cut-off": lambda bundle, data: data[:-1],
    "bundle-malformed-parts-in-another-order": lambda bundle, data: encode(replace(bundle, parts=bundle.parts[::-1])),
    "bundle-malformed-a-part-twice": lambda bundle, data: encode(replace(bundle, parts=(bundle.parts[0], *bundle.parts))),
    "offer-malformed-a-signature-too-short": lambda bundle, data: encode(replace(bundle, parts=shortened(bundle))),
}


def vectors() -> dict[str, bytes]:
    """Give every file of the folder."""
    with tempfile.TemporaryDirectory() as name:
        template = Path(name) / "founded.db", found_cloud(Path(name) / "founded.db")
        with telling(template, Path(name)) as tell:
            bundles = told_bundles(tell)
    outcomes = {name: outcome_of(data) for name, data in bundles.items()}
    files = {f"{name}.bundle": data for name, data in bundles.items()}
    index = json.dumps(outcomes, indent=1, sort_keys=True).encode() + b"\n"
    return {**files, "root.hex": ROOT.public.hex().encode() + b"\n", "index.json": index}


def told_bundles(tell: Tell) -> dict[str, bytes]:
    valid = {f"valid-{name}": write_bundle(tell(tale).bundle) for name, tale in VALID.items()}
    forged = {name: write_bundle(forge(tell(tale))) for name, (tale, forge) in FORGED.items()}
    whole = tell(tales.energy_confirmed).bundle
    damaged = {name: damage(whole, write_bundle(whole)) for name, damage in DAMAGED.items()}
    return {**valid, **forged, **damaged}


def outcome_of(data: bytes) -> dict[str, Any]:
    """Say what a verifier has to find."""
    try:
        record = verify_file(data, ROOT.public).record.body
    except Rejected as refusal:
        return {"code": code_of(refusal)}
    names = ("duration_s", "energy_wh", "excl_vat_minor", "incl_vat_minor", "deposit_claimed_minor", "hold_minor")
    return {"code": None, "basis": record.basis.name} | {name: getattr(record, name) for name in names}


def unnamed(told: Told, forge: Forge) -> Bundle:
    """The altered parts beside the record that was."""
    records = tuple(part for part in told.bundle.parts if part.kind is K.CHARGE_RECORD)
    others = tuple(part for part in forge(told).parts if part.kind is not K.CHARGE_RECORD)
    return replace(told.bundle, parts=(*others, *records))


def cheaper(told: Told) -> Bundle:
    """The provider's offer with a smaller deposit."""
    asset = replace(told.part(OfferBody, K.OFFER).asset, deposit_minor=Minor(4_000))
    return altered(K.OFFER, "sun", asset=asset)(told)


def without_reading(told: Told, index: int) -> Bundle:
    readings = [part for part in told.bundle.parts if part.kind is K.READING]
    return replace(told.bundle, parts=tuple(part for part in told.bundle.parts if part != readings[index]))


def without_the_first_record(told: Told) -> Bundle:
    first = next(part for part in told.bundle.parts if part.kind is K.CHARGE_RECORD)
    return replace(told.bundle, parts=tuple(part for part in told.bundle.parts if part != first))


def with_a_service_s_request(told: Told) -> Bundle:
    return added(K.SETTLEMENT_REQUEST, "sun", SettlementRequestBody(ORDER, (), DurationS(60), Minor(100)))(told)


def shortened(bundle: Bundle) -> tuple[Part, ...]:
    first = bundle.parts[0]
    return (replace(first, signed=first.signed[:-1]), *bundle.parts[1:])


def write(folder: Path) -> None:
    """Write the folder anew."""
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.iterdir():
        old.unlink()
    for name, data in vectors().items():
        (folder / name).write_bytes(data)


if __name__ == "__main__":
    write(FOLDER)
