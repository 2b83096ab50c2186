"""Who may open a device, and who may close it. Pure; each check raises the reason of DESIGN 7 that it stands for."""

from msgspec import Struct

from energyshare.bodies import GrantBody, PresentationBody, ReleaseBody, Verified, VoucherBody
from energyshare.errors import Reason, Rejected
from energyshare.records import replace
from energyshare.values import ClockQuality, Digest, EndCause, Instant, PublicKey, unix_s
from terminals.device.clock import Clock
from terminals.device.memory import Failures, Memory, Profile
from terminals.device.window import require_unused

WRONG_PROOFS_MAX = 5


class Presented(Struct, frozen=True):
    """A voucher with its grant, both checked.

    `presentation` is None when the holder's signature does not hold; `challenge` is the signed question that it answers,
    None when there is none that still waits.
    """

    voucher: Verified[VoucherBody]
    grant: Verified[GrantBody]
    presentation: Verified[PresentationBody] | None
    challenge: bytes | None


class Released(Struct, frozen=True):
    """A release whose signature holds; `grant` is the owner's, None when the holder releases."""

    release: Verified[ReleaseBody]
    grant: Verified[GrantBody] | None
    challenge: bytes | None


class Closing(Struct, frozen=True):
    """A voucher to be burned, with its grant, both checked, and the release that asks for it."""

    voucher: Verified[VoucherBody]
    grant: Verified[GrantBody]
    released: Released


def require_voucher(profile: Profile, memory: Memory, voucher: VoucherBody, grant: GrantBody) -> None:
    """Hold a voucher to this device, its owner, its time and its memory.

    Raises: Rejected with GRANT_OWNER, CLOCK_LOST, GRANT_EXPIRED, VOUCHER_DEVICE, VOUCHER_NOT_YET_VALID, VOUCHER_EXPIRED,
    VOUCHER_EPOCH, VOUCHER_USED or VOUCHER_SERIAL; the first that holds, in this order.
    """
    _require_owner(profile, grant)
    if memory.clock.quality is ClockQuality.RELATIVE:
        raise Rejected(Reason.CLOCK_LOST)
    require_current(grant, memory.clock.time)
    _require_device(profile, voucher)
    _require_in_window(voucher, memory.clock.time)
    _require_epoch(memory, voucher)
    require_unused(memory.window, voucher.serial, voucher.not_after_unix_s)


def require_own(profile: Profile, memory: Memory, voucher: VoucherBody, grant: GrantBody) -> None:
    """Hold a voucher to this device, its owner and its memory, whatever its window says: so much is asked to burn it.

    Raises: Rejected with GRANT_OWNER; GRANT_EXPIRED by a clock that may be believed; VOUCHER_DEVICE or VOUCHER_EPOCH.
    """
    _require_owner(profile, grant)
    _require_current_by(memory.clock, grant)
    _require_device(profile, voucher)
    _require_epoch(memory, voucher)


def require_never_used(memory: Memory, voucher: VoucherBody) -> None:
    """Refuse a voucher that opened this device.

    Raises: Rejected with VOUCHER_USED or VOUCHER_SERIAL.
    """
    # while a session is open, others that are burned may push its serial below the floor
    if memory.session is not None and memory.session.voucher.serial == voucher.serial:
        raise Rejected(Reason.VOUCHER_USED)
    require_unused(memory.window, voucher.serial, voucher.not_after_unix_s)


def require_current(grant: GrantBody, now: Instant) -> None:
    """Raise Rejected{GRANT_EXPIRED} unless a grant is valid at an instant."""
    if not grant.not_before_unix_s <= unix_s(now) <= grant.not_after_unix_s:
        raise Rejected(Reason.GRANT_EXPIRED)


def require_not_locked_out(memory: Memory, voucher_hash: Digest) -> None:
    """Raise Rejected{LOCKED_OUT} after five wrong proofs with one voucher."""
    if any(one.voucher_hash == voucher_hash and one.count >= WRONG_PROOFS_MAX for one in memory.failures):
        raise Rejected(Reason.LOCKED_OUT)


def is_proven(profile: Profile, presented: Presented) -> bool:
    """Tell whether the voucher's holder stands at this device."""
    proof = presented.presentation
    return (
        proof is not None
        and proof.key == presented.voucher.body.holder_key
        and proof.body.voucher_hash == presented.voucher.digest
        and proof.body.device_id == profile.device_id
    )


def with_failure(memory: Memory, voucher: Verified[VoucherBody]) -> Memory:
    """Count a wrong proof, and forget those of vouchers that can open nothing any more."""
    now = unix_s(memory.clock.time)
    before = next((one.count for one in memory.failures if one.voucher_hash == voucher.digest), 0)
    others = (one for one in memory.failures if one.voucher_hash != voucher.digest and one.not_after_unix_s >= now)
    failures = (*others, Failures(voucher.digest, before + 1, voucher.body.not_after_unix_s))
    return replace(memory, failures=failures)


def cause_of(profile: Profile, memory: Memory, released: Released, holder_key: PublicKey) -> EndCause:
    """Say as what the releaser ends a session.

    Raises: Rejected with STRANGER or, for an owner's grant by a clock that may be believed, GRANT_EXPIRED.
    """
    grant, key = released.grant, released.release.key
    if grant is None:
        if key != holder_key:
            raise Rejected(Reason.STRANGER)
        return EndCause.HOLDER
    if bytes(grant.body.subject_id) != bytes(profile.owner_id) or key != grant.body.public_key:
        raise Rejected(Reason.STRANGER)
    _require_current_by(memory.clock, grant.body)
    return EndCause.OWNER


def _require_owner(profile: Profile, grant: GrantBody) -> None:
    if bytes(grant.subject_id) != bytes(profile.owner_id):
        raise Rejected(Reason.GRANT_OWNER)


def _require_device(profile: Profile, voucher: VoucherBody) -> None:
    if voucher.device_id != profile.device_id:
        raise Rejected(Reason.VOUCHER_DEVICE)


def _require_epoch(memory: Memory, voucher: VoucherBody) -> None:
    if voucher.epoch != memory.epoch:
        raise Rejected(Reason.VOUCHER_EPOCH)


def _require_current_by(clock: Clock, grant: GrantBody) -> None:
    if clock.quality is ClockQuality.SYNCHRONIZED:
        require_current(grant, clock.time)


def _require_in_window(voucher: VoucherBody, now: Instant) -> None:
    if unix_s(now) < voucher.not_before_unix_s:
        raise Rejected(Reason.VOUCHER_NOT_YET_VALID)
    if unix_s(now) > voucher.not_after_unix_s:
        raise Rejected(Reason.VOUCHER_EXPIRED)
