"""What a terminal checks of a device's evidence before it believes it: whose it is, and that nothing of it is missing."""

from energyshare.bodies import GrantBody, OpenedEnd, OpenedVoucher, Verified
from energyshare.credentials import open_end_receipt, open_readings, open_serial_closed, open_start_receipt
from energyshare.errors import Reason, Rejected
from energyshare.values import PublicKey
from terminals.device.memory_file import SessionEvidence


def require_receipt_of(receipt: bytes, grant: Verified[GrantBody], opened: OpenedVoucher) -> None:
    """Hold a start receipt to the voucher that was shown.

    Raises: Rejected as open_start_receipt; RECEIPT_FOREIGN.
    """
    voucher = opened.voucher.body
    start = open_start_receipt(receipt, grant, voucher.holder_key)
    body = start.receipt.body
    found = (start.voucher_hash, body.order_id, body.serial, body.epoch)
    if found != (opened.voucher.digest, voucher.order_id, voucher.serial, voucher.epoch):
        raise Rejected(Reason.RECEIPT_FOREIGN)


def check_session(
    session: SessionEvidence, grant: Verified[GrantBody], holder_key: PublicKey, owner_key: PublicKey | None
) -> OpenedEnd:
    """Check the evidence of a session that is over: signatures, and that the readings are all there.

    Raises: Rejected as open_end_receipt and open_readings; PART_MISSING without an end receipt.
    """
    if session.end_receipt is None:
        raise Rejected(Reason.PART_MISSING)
    end = open_end_receipt(session.end_receipt, grant, holder_key, owner_key)
    readings = open_readings(session.readings, grant)
    receipt, start = end.receipt.body, end.start.receipt
    if len(readings) != receipt.readings_count:
        raise Rejected(Reason.READING_GAP)
    first = readings[0].body.previous_hash if readings else start.digest
    head = readings[-1].digest if readings else start.digest
    if (first, head) != (start.digest, receipt.readings_head):
        raise Rejected(Reason.READING_GAP)
    return end


def require_closed(statement: bytes, grant: Verified[GrantBody], opened: OpenedVoucher) -> None:
    """Hold the statement of a burning to the voucher that was to be burned.

    Raises: Rejected as open_serial_closed; RECEIPT_FOREIGN.
    """
    voucher, body = opened.voucher.body, open_serial_closed(statement, grant).body
    found = (body.device_id, body.order_id, body.serial, body.epoch)
    if found != (voucher.device_id, voucher.order_id, voucher.serial, voucher.epoch):
        raise Rejected(Reason.RECEIPT_FOREIGN)
