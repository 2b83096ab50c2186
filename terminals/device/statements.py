"""What a device signs: of a session its start receipt, readings in a chain and end receipt; of a voucher that it was burned.

The chain starts at the start receipt's hash and its head is in the end receipt, so that no reading can be left out or added
later. Times and durations come in as a Moment. DESIGN 4, steps 7, 9, 10.
"""

from collections.abc import Callable
from typing import Any

from msgspec import Struct

from energyshare.bodies import (
    Body,
    EndReceiptBody,
    ReadingBody,
    SerialClosedBody,
    StartReceiptBody,
    Verified,
    VoucherBody,
)
from energyshare.records import replace
from energyshare.values import DAY_S, ClockQuality, Digest, DurationS, EndCause, Instant, Number
from terminals.device.checks import Presented
from terminals.device.clock import quarter_of
from terminals.device.memory import Memory, Meter, Profile, Session

ELAPSED_S_MAX = 366 * DAY_S  # what the contract can say

Sealer = Callable[[Body], Verified[Any]]


class Moment(Struct, frozen=True):
    """When something of a session is stated: time, its quality, whole seconds since the start, and what the meter shows."""

    time: Instant
    quality: ClockQuality
    elapsed_s: DurationS
    meter: Meter


def moment_now(memory: Memory, session: Session, meter: Meter) -> Moment:
    """Give the moment of the memory's clock."""
    elapsed_s = DurationS(min(session.elapsed_us // 1_000_000, ELAPSED_S_MAX))
    return Moment(memory.clock.time, memory.clock.quality, elapsed_s, meter)


def moment_of_cap(memory: Memory, session: Session, meter: Meter) -> Moment:
    """Give the moment of the seconds cap, however late the tick that finds it passed."""
    late_us = session.elapsed_us - session.voucher.duration_s_max * 1_000_000
    return Moment(Instant(memory.clock.time - late_us), memory.clock.quality, session.voucher.duration_s_max, meter)


def start_receipt(
    profile: Profile, memory: Memory, presented: Presented, meter: Meter, seal: Sealer
) -> Verified[StartReceiptBody]:
    """Sign that a voucher opened this device; the presentation and its challenge must be there."""
    assert presented.challenge is not None
    assert presented.presentation is not None
    return seal(
        StartReceiptBody(
            device_id=profile.device_id,
            order_id=presented.voucher.body.order_id,
            serial=presented.voucher.body.serial,
            epoch=memory.epoch,
            receipt_number=Number(memory.receipts_count + 1),
            challenge=presented.challenge,
            presentation=presented.presentation.signed,
            start_time=memory.clock.time,
            clock_quality=memory.clock.quality,
            register_wh=meter.register_wh,
            soc_pct=meter.soc_pct,
            soh_pct=meter.soh_pct,
        )
    )


def session_of(presented: Presented, receipt: Verified[StartReceiptBody]) -> Session:
    """Give the session that a start receipt opens, before its first reading."""
    return Session(
        voucher=presented.voucher.body,
        voucher_hash=presented.voucher.digest,
        number=receipt.body.receipt_number,
        start_receipt=receipt.signed,
        register_wh=receipt.body.register_wh,
        elapsed_us=0,
        quarter=quarter_of(receipt.body.start_time),
        readings_count=Number(0),
        readings_head=Digest(receipt.digest),
        supplying=True,
        cut_off=False,
    )


def reading(
    profile: Profile, session: Session, moment: Moment, supplying: bool, seal: Sealer
) -> tuple[Session, Verified[ReadingBody]]:
    """Sign the meter's value, chained to the one before; gives the session with the new head as well."""
    number = Number(session.readings_count + 1)
    signed: Verified[ReadingBody] = seal(
        ReadingBody(
            device_id=profile.device_id,
            order_id=session.voucher.order_id,
            number=number,
            previous_hash=session.readings_head,
            reading_time=moment.time,
            clock_quality=moment.quality,
            elapsed_s=moment.elapsed_s,
            register_wh=moment.meter.register_wh,
            supplying=supplying,
            soc_pct=moment.meter.soc_pct,
        )
    )
    quarter = max(session.quarter, quarter_of(moment.time))
    after = replace(session, readings_count=number, readings_head=signed.digest, supplying=supplying, quarter=quarter)
    return after, signed


def end_receipt(
    profile: Profile, memory: Memory, session: Session, moment: Moment, cause: EndCause, release: bytes | None, seal: Sealer
) -> Verified[EndReceiptBody]:
    """Sign the whole session, after its last reading."""
    return seal(
        EndReceiptBody(
            device_id=profile.device_id,
            order_id=session.voucher.order_id,
            receipt_number=Number(memory.receipts_count + 1),
            start_receipt=session.start_receipt,
            release=release,
            cause=cause,
            end_time=moment.time,
            clock_quality=moment.quality,
            elapsed_s=moment.elapsed_s,
            register_wh=moment.meter.register_wh,
            readings_count=session.readings_count,
            readings_head=session.readings_head,
            soc_pct=moment.meter.soc_pct,
            soh_pct=moment.meter.soh_pct,
        )
    )


def serial_closed(profile: Profile, memory: Memory, voucher: VoucherBody, seal: Sealer) -> Verified[SerialClosedBody]:
    """Sign that a voucher was burned unused."""
    return seal(
        SerialClosedBody(
            device_id=profile.device_id,
            order_id=voucher.order_id,
            serial=voucher.serial,
            epoch=memory.epoch,
            receipt_number=Number(memory.receipts_count + 1),
            closed_time=memory.clock.time,
        )
    )
