"""Whether a bill follows from signed evidence: what the user's payment module, a provider and an auditor check alike.

Works from a `Bundle` and the platform root's key, with no network and no database. Signatures first, from the root down; then
that the charge record names exactly these parts; then that its amounts follow from tariff and session, to the minor unit. The
first thing that does not hold is raised with its reason.
"""

from dataclasses import dataclass
from itertools import pairwise

from energyshare.agreement import require_agreed, terms_of
from energyshare.bodies import (
    ChargeRecordBody,
    EndConfirmationBody,
    EndReceiptBody,
    EndRequestBody,
    GrantBody,
    OfferBody,
    OpenedEnd,
    OpenedStart,
    ReadingBody,
    SelectionBody,
    SilenceDecisionBody,
    StartReceiptBody,
    Verified,
    VoucherBody,
)
from energyshare.charging import Charge, Evidence, best_basis, charge, hold_of, lowered
from energyshare.credentials import (
    open_end_receipt,
    open_grant,
    open_issued,
    open_readings,
    open_start_receipt,
    require_valid_at,
)
from energyshare.errors import Reason, Rejected
from energyshare.signing import Label, digest
from energyshare.tariff import TariffError, tariff_of
from energyshare.values import ChargeBasis, Digest, Kind, Minor, PartKind, PublicKey, Role, later, of_unix_s, unix_s
from energyshare.wire import Bundle, digest_of, open_signed, peek

CLOCK_SLACK_S = 600  # how far the clocks of user, device and cloud may lie apart

BODIES = {
    PartKind.OFFER: OfferBody,
    PartKind.SELECTION: SelectionBody,
    PartKind.VOUCHER: VoucherBody,
    PartKind.ISSUER_GRANT: GrantBody,
    PartKind.DEVICE_GRANT: GrantBody,
    PartKind.START_RECEIPT: StartReceiptBody,
    PartKind.END_RECEIPT: EndReceiptBody,
    PartKind.END_REQUEST: EndRequestBody,
    PartKind.END_CONFIRMATION: EndConfirmationBody,
    PartKind.SILENCE_DECISION: SilenceDecisionBody,
}


@dataclass(frozen=True, slots=True)
class Proof:
    """A bill that follows from its evidence."""

    record: Verified[ChargeRecordBody]
    charge: Charge
    evidence: Evidence


def verify_bundle(bundle: Bundle, root: PublicKey) -> Proof:
    """Check a bundle and recompute its bill.

    Raises: Rejected with the reason of the first thing that does not hold.
    """
    try:
        return _verified(bundle, root)
    except TariffError as problem:
        raise Rejected(Reason.OFFER_TARIFF, problem=str(problem)) from None


def _verified(bundle: Bundle, root: PublicKey) -> Proof:
    parts = _Parts(bundle)
    platform = open_grant(parts.one(PartKind.PLATFORM_GRANT), root, Role.PLATFORM)
    record = open_signed(ChargeRecordBody, parts.one(PartKind.CHARGE_RECORD), platform.body.public_key)
    require_valid_at(platform, record.body.settled_time)
    if record.body.order_id != bundle.order_id:
        raise Rejected(Reason.RECEIPT_FOREIGN)
    parts.require_named(record.body)
    issuer = open_grant(parts.one(PartKind.ISSUER_GRANT), root, Role.ISSUER)
    offer = open_issued(OfferBody, parts.one(PartKind.OFFER), issuer, record.body.provider_id)
    voucher = open_signed(VoucherBody, parts.one(PartKind.VOUCHER), issuer.body.public_key)
    _require_selected(record.body, offer, voucher.body.holder_key, parts)
    require_agreed(voucher.body, issuer.body, terms_of(offer.body, voucher.body.holder_key))
    session = _session(record.body, offer.body, voucher, issuer.body.public_key, parts, root)
    charged = _recomputed(record.body, session, parts, issuer.body.public_key, platform.body.public_key)
    return Proof(record, charged, session)


class _Parts:
    """The parts of a bundle by kind."""

    def __init__(self, bundle: Bundle) -> None:
        self._by_kind: dict[PartKind, list[bytes]] = {}
        for part in bundle.parts:
            self._by_kind.setdefault(part.kind, []).append(part.signed)

    def one(self, kind: PartKind) -> bytes:
        """Give the part of a kind; raises Rejected{PART_MISSING} unless there is exactly one."""
        found = self._by_kind.get(kind, [])
        if len(found) != 1:
            raise Rejected(Reason.PART_MISSING, part=kind.name, found=str(len(found)))
        return found[0]

    def maybe(self, kind: PartKind) -> bytes | None:
        """Give the part of a kind, if there is one."""
        return self.one(kind) if kind in self._by_kind else None

    def readings(self) -> tuple[bytes, ...]:
        """Give the readings, by number."""
        return tuple(self._by_kind.get(PartKind.READING, ()))

    def require_named(self, record: ChargeRecordBody) -> None:
        """Raise unless the record names each part that counts, by its hash, and names no other."""
        named = {part.kind: part.hash for part in record.parts}
        for kind, cls in BODIES.items():
            held = self.maybe(kind)
            if (held is None) != (kind not in named):
                raise Rejected(Reason.PART_MISSING, part=kind.name)
            if held is not None and digest_of(cls, held) != named[kind]:
                raise Rejected(Reason.PART_HASH, part=kind.name)
        if len(named) != len(record.parts):
            raise Rejected(Reason.PART_HASH, part="a kind is named twice")
        for kind in named.keys() - BODIES.keys() - {PartKind.READING}:
            raise Rejected(Reason.PART_MISSING, part=kind.name)


def _require_selected(record: ChargeRecordBody, offer: Verified[OfferBody], holder_key: PublicKey, parts: _Parts) -> None:
    """Raise unless the holder selected this offer for this order, and the hold is what it gives."""
    selection = open_signed(SelectionBody, parts.one(PartKind.SELECTION), holder_key).body
    if not offer.body.order_id == selection.order_id == record.order_id:
        raise Rejected(Reason.VOUCHER_ORDER)
    if selection.offer_hash != offer.digest or offer.body.provider_id != record.provider_id:
        raise Rejected(Reason.OFFER_FOREIGN)
    if digest(Label.TARIFF, offer.body.tariff) != offer.body.asset.tariff_hash:
        raise Rejected(Reason.VOUCHER_TARIFF)
    if record.kind is not offer.body.asset.kind:
        raise Rejected(Reason.BILL_BASIS, kind=record.kind.name)
    if not tariff_of(offer.body.tariff).currency == offer.body.currency == selection.currency == record.currency:
        raise Rejected(Reason.CURRENCY_MISMATCH)
    if not hold_of(offer.body) == selection.hold_minor == record.hold_minor:
        raise Rejected(Reason.BILL_HOLD, needed=str(hold_of(offer.body)), given=str(record.hold_minor))


def _session(
    record: ChargeRecordBody,
    offer: OfferBody,
    voucher: Verified[VoucherBody],
    owner_key: PublicKey,
    parts: _Parts,
    root: PublicKey,
) -> Evidence:
    """Check what the device signed, and that it is about this voucher."""
    device = open_grant(parts.one(PartKind.DEVICE_GRANT), root, Role.DEVICE)
    if device.body.owner_id != record.provider_id:
        raise Rejected(Reason.GRANT_OWNER)
    holder = voucher.body.holder_key
    start = open_start_receipt(parts.one(PartKind.START_RECEIPT), device, holder)
    _require_of_voucher(start, voucher)
    signed_end = parts.maybe(PartKind.END_RECEIPT)
    end = open_end_receipt(signed_end, device, holder, owner_key) if signed_end else None
    if end is not None and end.start.receipt.digest != start.receipt.digest:
        raise Rejected(Reason.RECEIPT_CONFLICT)
    request = _request(record, parts, holder, end)
    readings = _used(record, start, open_readings(parts.readings(), device), end, request)
    _require_plausible(start, readings, end)
    return Evidence(
        offer,
        voucher.body,
        start.receipt.body,
        tuple(reading.body for reading in readings),
        end.receipt.body if end else None,
    )


def _require_of_voucher(start: OpenedStart, voucher: Verified[VoucherBody]) -> None:
    body, receipt = voucher.body, start.receipt.body
    expected = (body.order_id, body.device_id, body.serial, body.epoch, voucher.digest)
    if (receipt.order_id, receipt.device_id, receipt.serial, receipt.epoch, start.voucher_hash) != expected:
        raise Rejected(Reason.RECEIPT_FOREIGN)
    if unix_s(receipt.start_time) > body.not_after_unix_s:
        raise Rejected(Reason.VOUCHER_EXPIRED)


def _request(record: ChargeRecordBody, parts: _Parts, holder: PublicKey, end: OpenedEnd | None) -> EndRequestBody | None:
    """Check the holder's request to end, if there is one: about this order, and about no receipt or this one."""
    signed = parts.maybe(PartKind.END_REQUEST)
    if signed is None:
        return None
    request = open_signed(EndRequestBody, signed, holder).body
    if request.order_id != record.order_id or request.end_receipt_hash not in (None, end.receipt.digest if end else None):
        raise Rejected(Reason.RECEIPT_FOREIGN)
    return request


def _used(
    record: ChargeRecordBody,
    start: OpenedStart,
    readings: tuple[Verified[ReadingBody], ...],
    end: OpenedEnd | None,
    request: EndRequestBody | None,
) -> tuple[Verified[ReadingBody], ...]:
    """Give the readings up to the one that the record names; raise if the chain from the start to it does not hold.

    A reading that is there may be left out only when it lies past the end, or past a request to end without a receipt.
    """
    if readings and (readings[0].body.number, readings[0].body.previous_hash) != (1, start.receipt.digest):
        raise Rejected(Reason.READING_GAP, after="0")
    if any(reading.body.order_id != record.order_id for reading in readings):
        raise Rejected(Reason.RECEIPT_FOREIGN)
    named = {part.kind: part.hash for part in record.parts}.get(PartKind.READING)
    count = next((reading.body.number for reading in readings if reading.digest == named), 0)
    if named is not None and count == 0:
        raise Rejected(Reason.PART_MISSING, part="READING")
    if not all(_is_past(reading.body, end, request) for reading in readings[count:]):
        raise Rejected(Reason.BILL_BASIS, left_out=f"readings after {count}")
    return readings[:count]


def _is_past(reading: ReadingBody, end: OpenedEnd | None, request: EndRequestBody | None) -> bool:
    if end is not None:
        receipt = end.receipt.body
        return reading.elapsed_s > receipt.elapsed_s or reading.register_wh > receipt.register_wh
    return request is not None and reading.reading_time > request.requested_time


def _require_plausible(start: OpenedStart, readings: tuple[Verified[ReadingBody], ...], end: OpenedEnd | None) -> None:
    """Raise unless register and time never fall."""
    points = [(0, start.receipt.body.register_wh), *((r.body.elapsed_s, r.body.register_wh) for r in readings)]
    if end is not None:
        points.append((end.receipt.body.elapsed_s, end.receipt.body.register_wh))
    if any(a[0] > b[0] or a[1] > b[1] for a, b in pairwise(points)):
        raise Rejected(Reason.READING_IMPLAUSIBLE)


def _recomputed(record: ChargeRecordBody, evidence: Evidence, parts: _Parts, issuer: PublicKey, platform: PublicKey) -> Charge:
    """Derive the bill again and compare it with the record."""
    least_total = _confirmed_total(record, parts, issuer, platform)
    _require_silence(record, evidence, parts, platform)
    _require_basis(record, evidence, parts)
    _require_start_time(record, evidence, parts)
    charged = lowered(charge(evidence, record.basis, record.start_time), least_total)
    if (charged.duration_s, charged.energy_wh) != (record.duration_s, record.energy_wh):
        raise Rejected(Reason.BILL_SESSION)
    amounts = (charged.lines, charged.excl_vat_minor, charged.incl_vat_minor)
    if amounts != (record.lines, record.excl_vat_minor, record.incl_vat_minor):
        raise Rejected(Reason.BILL_TOTAL, derived=str(charged.incl_vat_minor), billed=str(record.incl_vat_minor))
    if record.incl_vat_minor + record.deposit_claimed_minor > record.hold_minor or record.deposit_claimed_minor:
        raise Rejected(Reason.BILL_HOLD)
    return charged


def _confirmed_total(record: ChargeRecordBody, parts: _Parts, issuer: PublicKey, platform: PublicKey) -> Minor | None:
    """Check who let the bill become final, and give the most that the provider asked for."""
    confirmation, silence = parts.maybe(PartKind.END_CONFIRMATION), parts.maybe(PartKind.SILENCE_DECISION)
    if (confirmation is None) == (silence is None):
        raise Rejected(Reason.PART_MISSING, part="END_CONFIRMATION or SILENCE_DECISION")
    if confirmation is None:
        return None
    body = open_signed(EndConfirmationBody, confirmation, issuer).body
    end = parts.maybe(PartKind.END_RECEIPT)
    if end is None and parts.maybe(PartKind.END_REQUEST) is None:
        raise Rejected(Reason.PART_MISSING, part="END_RECEIPT or END_REQUEST")
    ended: Digest | None = Digest(digest_of(EndReceiptBody, end)) if end else None
    if (body.order_id, body.end_receipt_hash) != (record.order_id, ended):
        raise Rejected(Reason.CONFIRMATION_FOREIGN)
    return body.total_minor_max


def _require_silence(record: ChargeRecordBody, evidence: Evidence, parts: _Parts, platform: PublicKey) -> None:
    """Raise unless a decision taken on silence waited for what its basis says, and long enough."""
    signed = parts.maybe(PartKind.SILENCE_DECISION)
    if signed is None:
        return
    silence = open_signed(SilenceDecisionBody, signed, platform).body
    used_up = later(record.start_time, evidence.voucher.duration_s_max)
    returned_by = later(used_up, evidence.offer.return_grace_s)
    is_battery = record.kind is Kind.BATTERY
    earliest = {"CONFIRMATION": record.start_time, "END_OF_SUPPLY": used_up, "RETURN": returned_by}.get(silence.waited_for)
    fitting = {
        ChargeBasis.END_RECEIPT: ("CONFIRMATION",),
        ChargeBasis.LAST_READING: () if is_battery else ("END_OF_SUPPLY",),
        ChargeBasis.CAP: ("RETURN",) if is_battery else ("END_OF_SUPPLY",),
    }
    if silence.order_id != record.order_id or silence.waited_for not in fitting.get(record.basis, ()) or earliest is None:
        raise Rejected(Reason.BILL_BASIS, waited_for=silence.waited_for)
    if not earliest <= silence.due_time <= silence.decided_time == record.settled_time:
        raise Rejected(Reason.BILL_BASIS, waited_for=silence.waited_for, problem="decided too soon")


def _require_basis(record: ChargeRecordBody, evidence: Evidence, parts: _Parts) -> None:
    """Raise unless the bill rests on the best evidence; a battery that silently stayed away is charged to its caps."""
    silent = evidence.end is None and parts.maybe(PartKind.SILENCE_DECISION) is not None
    stayed_away = silent and record.kind is Kind.BATTERY and record.basis is ChargeBasis.CAP
    if record.basis is not best_basis(evidence) and not stayed_away:
        raise Rejected(Reason.BILL_BASIS, basis=record.basis.name)


def _require_start_time(record: ChargeRecordBody, evidence: Evidence, parts: _Parts) -> None:
    """Raise unless billing began at the receipt's time, or, if that lay ahead, when the receipt arrived.

    When it arrived only the cloud knows; it can't have been before the holder selected.
    """
    assert evidence.start is not None
    selected = peek(SelectionBody, parts.one(PartKind.SELECTION)).selected_time
    earliest = max(of_unix_s(evidence.voucher.not_before_unix_s), later(selected, -CLOCK_SLACK_S))
    latest = max(of_unix_s(evidence.voucher.not_before_unix_s), evidence.start.start_time)
    if not min(earliest, latest) <= record.start_time <= latest:
        raise Rejected(Reason.BILL_SESSION, problem="its start lies outside what selection and receipt allow")
