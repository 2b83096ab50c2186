"""What a device decides: pure, with its memory, opened values and meter as inputs and a Decision as the result.

The caller moves the memory's clock to now first, saves a Decision before it acts on it, and only then answers. Signing is an
argument: Ed25519 is deterministic, so a decision follows from its inputs alone. DESIGN 4 (steps 7, 9, 10) and 7, ADR-0003.

    order of the checks of a start: owner, clock, grant, device, window, epoch, serial, lock-out, holder, nonce, busy
    order of the checks of a burning: owner, grant, device, epoch, order, releaser, nonce, serial
    a session ends by release of its holder or owner; an outlet's also by itself at the seconds cap, a worker's never does
"""

from msgspec import Struct

from energyshare.bodies import (
    ChallengeBody,
    EndReceiptBody,
    GrantBody,
    ReadingBody,
    SerialClosedBody,
    StartReceiptBody,
    TimeStatementBody,
    Verified,
)
from energyshare.errors import Reason, Rejected
from energyshare.records import replace
from energyshare.values import DeviceState, EndCause, EnergyWh, Kind, Nonce, Number, PublicKey
from terminals.device.checks import (
    Closing,
    Presented,
    Released,
    cause_of,
    is_proven,
    require_current,
    require_never_used,
    require_not_locked_out,
    require_own,
    require_voucher,
    with_failure,
)
from terminals.device.clock import quarter_of, stated
from terminals.device.memory import Ended, Memory, Meter, Profile, Session
from terminals.device.statements import (
    Moment,
    Sealer,
    end_receipt,
    moment_now,
    moment_of_cap,
    reading,
    serial_closed,
    session_of,
    start_receipt,
)
from terminals.device.window import with_used

Evidence = Verified[StartReceiptBody] | Verified[ReadingBody] | Verified[EndReceiptBody] | Verified[SerialClosedBody]


CHANGES_AT_ONCE = 20
CHANGE_EVERY_US = 30 * 1_000_000


class Open(Struct, frozen=True):
    """Let the hardware supply, at most so much more."""

    limit_wh: EnergyWh


class Close(Struct, frozen=True):
    """Stop the supply."""


class Decision(Struct, frozen=True):
    """The new memory, what was signed, what the hardware does, and the answer.

    That is a receipt, the statement that a voucher was burned, or a refusal.
    """

    memory: Memory
    evidence: tuple[Evidence, ...] = ()
    supply: Open | Close | None = None
    answer: bytes | None = None
    refusal: Rejected | None = None


def challenge(profile: Profile, memory: Memory, nonce: Nonce) -> ChallengeBody:
    """Ask a question that the next presentation, release or time statement answers."""
    state = DeviceState.FREE if memory.session is None else DeviceState.IN_USE
    clock = memory.clock
    return ChallengeBody(profile.device_id, nonce, clock.time, clock.quality, memory.epoch, state)


def start(profile: Profile, memory: Memory, presented: Presented, meter: Meter, seal: Sealer) -> Decision:
    """Open by a voucher, or resume the session that it opened.

    Raises: Rejected with the reason of the first check that fails. A wrong proof is a Decision with a refusal, as it counts.
    """
    voucher = presented.voucher
    session = memory.session if memory.session and memory.session.voucher_hash == voucher.digest else None
    if session is None:
        require_voucher(profile, memory, voucher.body, presented.grant.body)
    require_not_locked_out(memory, voucher.digest)
    if not is_proven(profile, presented):
        return Decision(with_failure(memory, voucher), refusal=Rejected(Reason.HOLDER_PROOF))
    if presented.challenge is None:
        raise Rejected(Reason.CHALLENGE_UNKNOWN)
    if session is not None:
        return Decision(memory, supply=resupply(session, meter), answer=session.start_receipt)
    if memory.session is not None:
        raise Rejected(Reason.BUSY)
    return _opened(profile, memory, presented, meter, seal)


def release(profile: Profile, memory: Memory, released: Released, ended: Ended | None, meter: Meter, seal: Sealer) -> Decision:
    """End the open session, or give the end receipt of the order's session that is over (`ended`).

    Raises: Rejected with NOT_IN_USE, STRANGER, GRANT_EXPIRED or CHALLENGE_UNKNOWN.
    """
    order_id = released.release.body.order_id
    session = memory.session if memory.session and memory.session.voucher.order_id == order_id else None
    if session is not None:
        cause = _require_release(profile, memory, released, session.voucher.holder_key)
        moment = moment_now(memory, session, meter)
        return _ended(profile, memory, session, moment, cause, released.release.signed, seal)
    if ended is None:
        raise Rejected(Reason.NOT_IN_USE)
    _require_release(profile, memory, released, ended.holder_key)
    return Decision(memory, answer=ended.end_receipt)


def close_serial(profile: Profile, memory: Memory, closing: Closing, closed: bytes | None, seal: Sealer) -> Decision:
    """Burn a voucher unused, or give the statement (`closed`) of its having been burned before.

    Neither its window nor a lost clock nor an open session of another hinders it.
    Raises: Rejected with the reason of the first check that fails; VOUCHER_USED for a voucher that opened this device.
    """
    voucher = closing.voucher.body
    require_own(profile, memory, voucher, closing.grant.body)
    if closing.released.release.body.order_id != voucher.order_id:
        raise Rejected(Reason.VOUCHER_ORDER)
    _require_release(profile, memory, closing.released, voucher.holder_key)
    if closed is not None:
        return Decision(memory, answer=closed)
    require_never_used(memory, voucher)
    statement = serial_closed(profile, memory, voucher, seal)
    window = with_used(memory.window, voucher.serial)
    burned = replace(memory, window=window, receipts_count=Number(statement.body.receipt_number))
    return Decision(burned, (statement,), answer=statement.signed)


def tick(profile: Profile, memory: Memory, meter: Meter, seal: Sealer) -> Decision:
    """Do what time and meter ask for: end, cut off, or take a reading; a worker has no meter, and stays until released."""
    session = memory.session
    if session is None or profile.kind is Kind.SERVICE:
        return Decision(memory)
    if _is_past_cap(session) and profile.kind is Kind.ENERGY:
        moment = moment_of_cap(memory, session, meter)
        return _ended(profile, memory, session, moment, EndCause.DURATION_CAP, None, seal)
    if not session.cut_off and (_is_past_cap(session) or _remaining_wh(session, meter) <= 0):
        return replace(_read(profile, memory, replace(session, cut_off=True), meter, False, seal), supply=Close())
    supplying = not session.cut_off and meter.power_w > 0
    changed = supplying != session.supplying and _may_read(session)
    if changed or quarter_of(memory.clock.time) > session.quarter:
        return _read(profile, memory, session, meter, supplying, seal)
    return Decision(memory)


def set_time(
    profile: Profile, memory: Memory, statement: TimeStatementBody, grant: GrantBody, challenge: bytes | None
) -> Decision:
    """Set the clock by a statement of the platform key over this device's nonce.

    Raises: Rejected with CHALLENGE_UNKNOWN, GRANT_EXPIRED or CLOCK_JUMP.
    """
    if challenge is None or statement.device_id != profile.device_id:
        raise Rejected(Reason.CHALLENGE_UNKNOWN)
    require_current(grant, statement.platform_time)
    return Decision(replace(memory, clock=stated(memory.clock, statement.platform_time)))


def resupply(session: Session, meter: Meter) -> Open | None:
    """Say what an open session may still draw, after a power cut or when it resumes; None once a cap was reached."""
    remaining_wh = _remaining_wh(session, meter)
    is_over = session.cut_off or _is_past_cap(session) or remaining_wh <= 0
    return None if is_over else Open(EnergyWh(remaining_wh))


# What follows


def _require_release(profile: Profile, memory: Memory, released: Released, holder_key: PublicKey) -> EndCause:
    cause = cause_of(profile, memory, released, holder_key)
    if released.challenge is None or released.release.body.device_id != profile.device_id:
        raise Rejected(Reason.CHALLENGE_UNKNOWN)
    return cause


def _opened(profile: Profile, memory: Memory, presented: Presented, meter: Meter, seal: Sealer) -> Decision:
    receipt = start_receipt(profile, memory, presented, meter, seal)
    window = with_used(memory.window, presented.voucher.body.serial)
    used = replace(memory, window=window, receipts_count=receipt.body.receipt_number)
    decision = _read(profile, used, session_of(presented, receipt), meter, True, seal)
    supply = Open(presented.voucher.body.energy_wh_max)
    return Decision(decision.memory, (receipt, *decision.evidence), supply, receipt.signed)


def _read(profile: Profile, memory: Memory, session: Session, meter: Meter, supplying: bool, seal: Sealer) -> Decision:
    after, signed = reading(profile, session, moment_now(memory, session, meter), supplying, seal)
    return Decision(_with_register(replace(memory, session=after), meter), (signed,))


def _ended(
    profile: Profile, memory: Memory, session: Session, moment: Moment, cause: EndCause, release: bytes | None, seal: Sealer
) -> Decision:
    after, last = reading(profile, session, moment, False, seal)
    receipt = end_receipt(profile, memory, after, moment, cause, release, seal)
    free = replace(memory, session=None, receipts_count=Number(receipt.body.receipt_number))
    return Decision(_with_register(free, moment.meter), (last, receipt), Close(), receipt.signed)


def _with_register(memory: Memory, meter: Meter) -> Memory:
    return replace(memory, register_wh=EnergyWh(max(memory.register_wh, meter.register_wh)))


def _may_read(session: Session) -> bool:
    """Bound the readings of a load that comes and goes: some at once, then one every half minute."""
    return session.readings_count < CHANGES_AT_ONCE + session.elapsed_us // CHANGE_EVERY_US


def _is_past_cap(session: Session) -> bool:
    return session.elapsed_us >= session.voucher.duration_s_max * 1_000_000


def _remaining_wh(session: Session, meter: Meter) -> int:
    return session.voucher.energy_wh_max - (meter.register_wh - session.register_wh)
