"""From the voucher to the last reading: what the cloud accepts as proof that something was delivered."""

from cloud.domain.inbound import ReadingsReported, StartReported, VoucherIssued
from cloud.domain.order import (
    AssetHold,
    Authorization,
    Decision,
    Facts,
    Order,
    Send,
    Sender,
    Side,
    StoredPart,
    Supply,
    Timer,
    Wait,
)
from cloud.domain.settings import Settings
from energyshare.agreement import Terms, require_agreed
from energyshare.bodies import GrantBody, OpenedStart, ReadingBody, Verified
from energyshare.charging import clamp_start_time
from energyshare.errors import Reason, Rejected
from energyshare.messages import NotSelected, Reading, Started, Voucher, VoucherRejected
from energyshare.records import replace
from energyshare.values import Instant, Kind, OrderState, PartKind, TerminalId, later, of_unix_s, unix_s

CLOCK_SLACK_S = 600  # how far a provider's or device's clock may be off ours


def authorize(order: Order, message: VoucherIssued, sender: Sender, facts: Facts, now: Instant) -> Decision:
    """Check a voucher against the selection, and send it to its holder."""
    _require_as_selected(order, message, now)
    voucher = message.opened.voucher
    authorization = Authorization(
        voucher.digest,
        voucher.body.serial,
        voucher.body.epoch,
        voucher.body.not_before_unix_s,
        voucher.body.not_after_unix_s,
    )
    due = later(of_unix_s(voucher.body.not_after_unix_s), facts.settings.start_report_grace_s)
    authorized = replace(order.to(OrderState.AUTHORIZED, Timer(Wait.START, due)), authorization=authorization)
    others = tuple(Send(terminal, NotSelected()) for terminal in order.providers if terminal != order.provider)
    grant = message.opened.grant
    return Decision(
        authorized,
        f"serial {voucher.body.serial}",
        (Send(order.user, Voucher(message.presentable)), *others),
        (
            StoredPart(PartKind.VOUCHER, voucher.digest, voucher.signed),
            StoredPart(PartKind.ISSUER_GRANT, grant.digest, grant.signed),
        ),
    )


def note_voucher_rejected(order: Order, message: VoucherRejected, sender: Sender, facts: Facts, now: Instant) -> Decision:
    """Keep what the user's terminal says of a voucher; money and asset still follow the voucher, which is out."""
    return Decision(order, f"the user's terminal found: {message.reason}")


def activate(order: Order, message: StartReported, sender: Sender, facts: Facts, now: Instant) -> Decision:
    """Record a start that the holder signed for."""
    begun, parts = begin(order, message.start, message.grant, facts.settings, now)
    told = Started(message.start.receipt.signed, message.grant.signed)
    others = tuple(Send(terminal, told) for terminal in order.both if terminal != sender.terminal)
    return Decision(begun, _start_note(message.start), others, parts)


def confirm_same_start(order: Order, message: StartReported, sender: Sender, facts: Facts, now: Instant) -> Decision:
    """Take a second report of the recorded start as nothing new; another receipt contradicts it."""
    require_start_of(order, message.start, message.grant)
    if order.supply is not None and message.start.receipt.digest == order.supply.start_hash:
        return Decision(order, "reported before")
    return conflict(order, _start_part(message.start))


def start_after_the_end(order: Order, message: StartReported, sender: Sender, facts: Facts, now: Instant) -> Decision:
    """Take a start within its voucher's window that comes after the order had run out: it still counts, but nothing is held.

    Its bill is booked as owed. One whose voucher was burned, or another one than before, contradicts what the device signed.
    """
    if order.authorization is None:
        raise Rejected(Reason.ORDER_MOVED_ON)
    if order.closed_hash is not None or order.supply is not None:
        return confirm_same_start(order, message, sender, facts, now)
    begun, parts = begin(order, message.start, message.grant, facts.settings, now)
    told = Started(message.start.receipt.signed, message.grant.signed)
    free = facts.asset is not None and facts.asset.held_by is None
    return Decision(
        replace(begun, is_unsecured=True),
        f"{_start_note(message.start)}; nothing is held any more",
        tuple(Send(terminal, told) for terminal in order.both if terminal != sender.terminal),
        parts,
        asset=AssetHold(order.offer.asset_id, order.id) if free else None,
    )


def conflict(order: Order, part: StoredPart) -> Decision:
    """Keep a statement that contradicts the one recorded first, which governs; the device is put aside."""
    if part.digest in order.set_aside:
        return Decision(order, "reported before")
    aside = replace(order, set_aside=(*order.set_aside, part.digest))
    return Decision(aside, f"the device has signed another {part.kind.name}; it is put aside", parts=(part,), conflict=True)


def record_readings(order: Order, message: ReadingsReported, sender: Sender, facts: Facts, now: Instant) -> Decision:
    """Append readings to the order's chain; those that are known are passed over."""
    supply = order.supply
    assert supply is not None
    new = tuple(r for r in message.readings if r.body.number > supply.readings_count)
    for reading in new:
        supply = _append(order, supply, reading)
    if not new:
        return Decision(order, "reported before")
    told = Reading(tuple(r.signed for r in new), message.grant.signed)
    return Decision(
        replace(order, supply=supply),
        f"{supply.last_register_wh - supply.register_wh} Wh after {supply.last_elapsed_s} s",
        tuple(Send(terminal, told) for terminal in order.both if terminal != sender.terminal),
        tuple(StoredPart(PartKind.READING, r.digest, r.signed, r.body.number) for r in new),
    )


def record_late_readings(order: Order, message: ReadingsReported, sender: Sender, facts: Facts, now: Instant) -> Decision:
    """Append readings of a session that was billed without its end, for the end receipt that may follow."""
    if order.supply is None or order.end_hash is not None:
        return Decision(order, "came late")
    return record_readings(order, message, sender, facts, now)


def begin(
    order: Order, start: OpenedStart, grant: Verified[GrantBody], settings: Settings, now: Instant
) -> tuple[Order, tuple[StoredPart, ...]]:
    """Make an order ACTIVE by a start receipt of its voucher; gives the parts to keep."""
    require_start_of(order, start, grant)
    receipt = start.receipt.body
    authorization = order.authorization
    assert authorization is not None
    if unix_s(receipt.start_time) > authorization.not_after_unix_s:
        raise Rejected(Reason.VOUCHER_EXPIRED)
    started = clamp_start_time(receipt.start_time, authorization.not_before_unix_s, now)
    supply = Supply(start.receipt.digest, started, receipt.register_wh, last_register_wh=receipt.register_wh)
    active = replace(order.to(OrderState.ACTIVE, _end_timer(order, started, settings, now)), supply=supply)
    return active, (
        _start_part(start),
        StoredPart(PartKind.DEVICE_GRANT, grant.digest, grant.signed),
    )


def require_start_of(order: Order, start: OpenedStart, grant: Verified[GrantBody]) -> None:
    """Raise unless a start receipt is of this order's voucher, by the offer's device, owned by its provider."""
    receipt, authorization = start.receipt.body, order.authorization
    require_device_of(order, grant)
    if authorization is None or (receipt.order_id, receipt.device_id, receipt.serial, receipt.epoch, start.voucher_hash) != (
        order.id,
        order.offer.device_id,
        authorization.serial,
        authorization.epoch,
        authorization.digest,
    ):
        raise Rejected(Reason.RECEIPT_FOREIGN)


def require_device_of(order: Order, grant: Verified[GrantBody]) -> None:
    """Raise Rejected{GRANT_OWNER} unless a device belongs to the order's provider."""
    if order.selected is None or grant.body.owner_id != order.offer.provider_id:
        raise Rejected(Reason.GRANT_OWNER)


def other_side(order: Order, sender: Sender) -> TerminalId:
    """Give the terminal that a report is relayed to."""
    return order.user if sender.side is Side.PROVIDER else order.provider


def _require_as_selected(order: Order, message: VoucherIssued, now: Instant) -> None:
    voucher, offer = message.opened.voucher, order.offer
    if voucher.key != offer.issuer_key:
        raise Rejected(Reason.GRANT_SUBJECT)
    terms = Terms(
        order.id,
        order.holder_key,
        offer.provider_id,
        offer.device_id,
        offer.energy_wh_max,
        offer.duration_s_max,
        offer.tariff_hash,
        offer.voucher_not_after,
    )
    require_agreed(voucher.body, message.opened.grant.body, terms)
    opens, closes = of_unix_s(voucher.body.not_before_unix_s), of_unix_s(voucher.body.not_after_unix_s)
    if closes <= now or opens > later(now, CLOCK_SLACK_S):
        raise Rejected(Reason.VOUCHER_WINDOW)


def _end_timer(order: Order, started: Instant, settings: Settings, now: Instant) -> Timer:
    """Wait for the end; a start reported when that time has passed is followed by what else its device holds."""
    over = later(started, order.offer.duration_s_max)
    wait, grace_s = {
        Kind.BATTERY: (Wait.RETURN, order.offer.return_grace_s),
        Kind.ENERGY: (Wait.END_OF_SUPPLY, settings.end_grace_s),
        Kind.SERVICE: (Wait.SETTLEMENT_REQUEST, settings.wait_settlement_request_s),
    }[order.offer.kind]
    return Timer(wait, max(later(over, grace_s), later(now, settings.wait_confirmation_s)))


def _append(order: Order, supply: Supply, reading: Verified[ReadingBody]) -> Supply:
    body = reading.body
    if (body.order_id, body.device_id) != (order.id, order.offer.device_id):
        raise Rejected(Reason.RECEIPT_FOREIGN)
    if body.number != supply.readings_count + 1 or body.previous_hash != (supply.readings_head or supply.start_hash):
        raise Rejected(Reason.READING_GAP, held=str(supply.readings_count), given=str(body.number))
    if body.register_wh < supply.last_register_wh or body.elapsed_s < supply.last_elapsed_s:
        raise Rejected(Reason.READING_IMPLAUSIBLE, number=str(body.number))
    return replace(
        supply,
        readings_count=body.number,
        readings_head=reading.digest,
        last_elapsed_s=body.elapsed_s,
        last_register_wh=body.register_wh,
    )


def _start_part(start: OpenedStart) -> StoredPart:
    return StoredPart(PartKind.START_RECEIPT, start.receipt.digest, start.receipt.signed)


def _start_note(start: OpenedStart) -> str:
    body = start.receipt.body
    charge = "" if body.soc_pct is None else f", charge {body.soc_pct} %"
    return f"register {body.register_wh} Wh{charge}"
