"""What a device signed of a session: that it is about this voucher, that it hangs together, and that nothing is left out."""

from itertools import pairwise

from energyshare.bodies import (
    ChargeRecordBody,
    EndRequestBody,
    GrantBody,
    OfferBody,
    OpenedEnd,
    OpenedStart,
    ReadingBody,
    Verified,
    VoucherBody,
)
from energyshare.bundle import Parts, about
from energyshare.charging import Evidence
from energyshare.credentials import open_end_receipt, open_readings, open_start_receipt
from energyshare.errors import Reason, Rejected
from energyshare.opening import Keys, Opened
from energyshare.values import EndCause, Kind, PartKind, unix_s

Readings = tuple[Verified[ReadingBody], ...]


def session_of(
    record: ChargeRecordBody,
    offer: OfferBody,
    voucher: Verified[VoucherBody],
    device: Verified[GrantBody],
    parts: Parts,
    opened: Opened,
    keys: Keys,
) -> Evidence:
    """Check start, readings and end, and give the session that they tell of. Raises: Rejected."""
    if device.body.owner_id != record.provider_id:
        raise Rejected(Reason.GRANT_OWNER)
    with about(PartKind.START_RECEIPT):
        start = open_start_receipt(parts.one(PartKind.START_RECEIPT), device, keys.holder)
        _require_of_voucher(start, voucher)
    end = _end(start, voucher.body, device, parts, keys, record.kind)
    request = _request(opened, end)
    with about(PartKind.READING):
        readings = open_readings(parts.all(PartKind.READING), device)
        used = _used(record, start, readings, end, request)
    _require_plausible(start, used, end)
    ended = end.receipt.body if end else None
    return Evidence(offer, voucher.body, start.receipt.body, tuple(one.body for one in used), ended)


def _require_of_voucher(start: OpenedStart, voucher: Verified[VoucherBody]) -> None:
    body, receipt = voucher.body, start.receipt.body
    expected = (body.order_id, body.device_id, body.serial, body.epoch, voucher.digest)
    if (receipt.order_id, receipt.device_id, receipt.serial, receipt.epoch, start.voucher_hash) != expected:
        raise Rejected(Reason.RECEIPT_FOREIGN)
    if unix_s(receipt.start_time) > body.not_after_unix_s:
        raise Rejected(Reason.VOUCHER_EXPIRED)


def _end(
    start: OpenedStart, voucher: VoucherBody, device: Verified[GrantBody], parts: Parts, keys: Keys, kind: Kind
) -> OpenedEnd | None:
    """Check the end receipt, if there is one: of the same start, released, or closed by an outlet at its seconds cap."""
    signed = parts.maybe(PartKind.END_RECEIPT)
    if signed is None:
        return None
    with about(PartKind.END_RECEIPT):
        end = open_end_receipt(signed, device, keys.holder, keys.issuer)
        if end.start.receipt.digest != start.receipt.digest:
            raise Rejected(Reason.RECEIPT_CONFLICT)
        is_at_cap = kind is Kind.ENERGY and end.receipt.body.elapsed_s >= voucher.duration_s_max
        if end.receipt.body.cause is EndCause.DURATION_CAP and not is_at_cap:
            raise Rejected(Reason.STRANGER, problem="nobody released it, and its time had not run out")
    return end


def _request(opened: Opened, end: OpenedEnd | None) -> EndRequestBody | None:
    """Check the holder's request to end, if there is one: about no receipt or this one."""
    request = opened.maybe(EndRequestBody)
    if request is None:
        return None
    if request.body.end_receipt_hash not in (None, end.receipt.digest if end else None):
        raise Rejected(Reason.RECEIPT_FOREIGN, part="END_REQUEST")
    return request.body


def _used(
    record: ChargeRecordBody, start: OpenedStart, readings: Readings, end: OpenedEnd | None, request: EndRequestBody | None
) -> Readings:
    """Give the readings up to the one that the record names; raise if the chain from the start to it does not hold.

    A reading that is there may be left out only when it lies past the end, or past a request to end without a receipt.
    """
    if readings and (readings[0].body.number, readings[0].body.previous_hash) != (1, start.receipt.digest):
        raise Rejected(Reason.READING_GAP, after="0")
    named = {part.kind: part.hash for part in record.parts}.get(PartKind.READING)
    count = next((reading.body.number for reading in readings if reading.digest == named), 0)
    if named is not None and count == 0:
        raise Rejected(Reason.PART_MISSING)
    later_ones = (reading.body for reading in readings[count:])
    if not all(_is_past(one, end, request) or one.reading_time > record.settled_time for one in later_ones):
        raise Rejected(Reason.BILL_BASIS, left_out=f"readings after {count}")
    _require_counted(readings[:count], end)
    return readings[:count]


def _require_counted(used: Readings, end: OpenedEnd | None) -> None:
    """Raise unless the end receipt counts the readings that are used, and its last one is the one that it names."""
    if end is None or not used:
        return
    count, head = end.receipt.body.readings_count, end.receipt.body.readings_head
    if len(used) > count or (len(used) == count and used[-1].digest != head):
        raise Rejected(Reason.READING_GAP, counted=str(count), used=str(len(used)))


def _is_past(reading: ReadingBody, end: OpenedEnd | None, request: EndRequestBody | None) -> bool:
    if end is not None:
        receipt = end.receipt.body
        return reading.elapsed_s > receipt.elapsed_s or reading.register_wh > receipt.register_wh
    return request is not None and reading.reading_time > request.requested_time


def _require_plausible(start: OpenedStart, readings: Readings, end: OpenedEnd | None) -> None:
    """Raise unless register and time never fall."""
    points = [(0, start.receipt.body.register_wh), *((r.body.elapsed_s, r.body.register_wh) for r in readings)]
    if end is not None:
        points.append((end.receipt.body.elapsed_s, end.receipt.body.register_wh))
    if any(a[0] > b[0] or a[1] > b[1] for a, b in pairwise(points)):
        raise Rejected(Reason.READING_IMPLAUSIBLE)
