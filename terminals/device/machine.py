"""A running device: opens what comes in, lets `core` decide, saves, acts, answers; in this order, in one thread.

No call gives way between deciding and saving, so calls can't mix. Nothing is answered and nothing opens before the memory
is durable. DESIGN 7.
"""

import logging
from collections.abc import Callable

from msgspec import Struct

from energyshare.bodies import GrantBody, PresentationBody, ReleaseBody, TimeStatementBody, Verified
from energyshare.credentials import open_grant, open_presentable
from energyshare.errors import Corrupt, Reason, Rejected
from energyshare.signing import SigningKey
from energyshare.values import Instant, Nonce, Number, OrderId, PublicKey, Role
from energyshare.wire import BodyT, open_signed, peek, seal
from terminals.device import core
from terminals.device.challenges import Challenges, Outstanding, answered, asked
from terminals.device.checks import Closing, Presented, Released
from terminals.device.clock import QUARTER_US, WRITE_EVERY_US
from terminals.device.core import Close, Decision, Open
from terminals.device.hardware import Hardware, Monotonic
from terminals.device.memory import Memory, Profile, advanced, restarted
from terminals.device.memory_file import MemoryFile, SessionEvidence
from terminals.device.statements import Sealer

LOG = logging.getLogger("energyshare.device")
TICK_US_MAX = 1_000_000


class Parts(Struct, frozen=True):
    """What a device is made of; `grant` is its own, signed by the platform root."""

    profile: Profile
    key: SigningKey
    root_key: PublicKey
    grant: bytes
    hardware: Hardware
    monotonic: Monotonic
    random: Callable[[int], bytes]


class Machine:
    """One device, from its start to its stop."""

    def __init__(self, parts: Parts, file: MemoryFile, host_time: Instant) -> None:
        """Go on from what is in the file; an open session supplies again when it did before.

        Raises: Corrupt when the meter shows less than this device has signed.
        """
        self._parts, self._file = parts, file
        self._seal: Sealer = lambda body: seal(body, parts.key)
        self._memory = restarted(file.memory, host_time, parts.monotonic())
        self._challenges: Challenges = ()
        if parts.hardware.meter().register_wh < self._memory.register_wh:
            raise Corrupt("the meter shows less than this device has signed", "restore meter.json from your backup")
        self._save(Decision(self._memory))
        self._resupply()
        self.tick()

    @property
    def memory(self) -> Memory:
        """The memory as last decided."""
        return self._memory

    @property
    def grant(self) -> bytes:
        """The device's own grant."""
        return self._parts.grant

    def challenge(self) -> bytes:
        """Ask a new question; gives the signed ChallengeBody."""
        now = self._now()
        nonce = Nonce(self._parts.random(16))
        question = self._seal(core.challenge(self._parts.profile, now, nonce))
        self._challenges = asked(self._challenges, Outstanding(nonce, question.signed, now.clock.monotonic_us))
        return question.signed

    def start(self, presentable: bytes, presentation: bytes) -> bytes:
        """Open by a voucher, or resume; gives the start receipt. Raises: Rejected as core.start and open_presentable."""
        opened = open_presentable(presentable, self._parts.root_key)
        proof = _opened_or_none(PresentationBody, presentation, opened.voucher.body.holder_key)
        self.tick()
        question = self._spend(proof.body.nonce) if proof else None
        presented = Presented(opened.voucher, opened.grant, proof, question)
        meter = self._parts.hardware.meter()
        return self._answer(core.start(self._parts.profile, self._now(), presented, meter, self._seal))

    def release(self, release: bytes, grant: bytes) -> bytes:
        """End a session; gives the end receipt. `grant` is the owner's, empty for the holder. Raises: as core.release."""
        self.tick()
        by = self._owner(grant) if grant else self._holder_of(peek(ReleaseBody, release).order_id)
        released = self._released(release, (by,))
        ended = self._file.ended(released.release.body.order_id)
        meter = self._parts.hardware.meter()
        return self._answer(core.release(self._parts.profile, self._now(), released, ended, meter, self._seal))

    def close_serial(self, presentable: bytes, release: bytes, grant: bytes) -> bytes:
        """Burn a voucher unused; gives the statement, the same one each time.

        `grant` is the owner's; empty for the holder, and for an owner who asks with the key that signed the voucher.
        Raises: Rejected as core.close_serial and open_presentable.
        """
        opened = open_presentable(presentable, self._parts.root_key)
        voucher = opened.voucher.body
        askers = (self._owner(grant),) if grant else (voucher.holder_key, opened.grant)
        self.tick()
        closing = Closing(opened.voucher, opened.grant, self._released(release, askers))
        closed = self._file.closed(voucher.order_id, voucher.serial)
        return self._answer(core.close_serial(self._parts.profile, self._now(), closing, closed, self._seal))

    def set_time(self, statement: bytes, grant: bytes) -> Instant:
        """Set the clock by the platform's statement; gives what it is now. Raises: Rejected as core.set_time."""
        opened_grant = open_grant(grant, self._parts.root_key, Role.PLATFORM)
        opened = open_signed(TimeStatementBody, statement, opened_grant.body.public_key)
        question = self._spend(opened.body.nonce)
        try:
            decision = core.set_time(self._parts.profile, self._now(), opened.body, opened_grant.body, question)
        except Rejected as refusal:
            LOG.warning("a time statement was refused: %s", refusal)
            raise
        self._save(decision)
        return self._memory.clock.time

    def evidence(self, order_id: OrderId | None, after: Number) -> tuple[SessionEvidence, ...]:
        """List what was signed about sessions; see MemoryFile.evidence."""
        return self._file.evidence(order_id, after)

    def closed_serials(self, order_id: OrderId | None, after: Number) -> tuple[bytes, ...]:
        """List statements of burned vouchers; see MemoryFile.closed_serials."""
        return self._file.closed_serials(order_id, after)

    def tick(self) -> None:
        """Do what is due: readings, cut-off, end, and writing the clock."""
        decision = core.tick(self._parts.profile, self._now(), self._parts.hardware.meter(), self._seal)
        if decision.evidence or decision.memory.clock.time - self._file.memory.clock.time >= WRITE_EVERY_US:
            self._save(decision)

    def until_due_us(self) -> int:
        """Say how long to wait for the next tick: a second, or less when a cap or a quarter hour comes first."""
        now = self._now()
        if now.session is None:
            return TICK_US_MAX
        cap_us = now.session.voucher.duration_s_max * 1_000_000 - now.session.elapsed_us
        quarter_us = QUARTER_US - now.clock.time % QUARTER_US
        return min(us for us in (TICK_US_MAX, cap_us, quarter_us) if us > 0)

    def stop(self) -> None:
        """Stop supplying, as nobody watches the caps from here on; the session stays open in the memory."""
        self._parts.hardware.close()
        self._parts.hardware.meter()
        self._save(Decision(self._now()))
        self._file.close()

    def _now(self) -> Memory:
        self._memory = advanced(self._memory, self._parts.monotonic())
        return self._memory

    def _answer(self, decision: Decision) -> bytes:
        self._save(decision)
        if decision.refusal is not None:
            raise decision.refusal
        assert decision.answer is not None
        return decision.answer

    def _save(self, decision: Decision) -> None:
        self._file.save(decision.memory, decision.evidence)
        self._memory = decision.memory
        self._switch(decision.supply)

    def _switch(self, supply: Open | Close | None) -> None:
        match supply:
            case Open(limit_wh):
                self._parts.hardware.open(limit_wh)
            case Close():
                self._parts.hardware.close()

    def _resupply(self) -> None:
        if self._memory.session is not None:
            self._switch(core.resupply(self._memory.session, self._parts.hardware.meter()))

    def _spend(self, nonce: Nonce) -> bytes | None:
        self._challenges, question = answered(self._challenges, nonce, self._parts.monotonic())
        return question

    def _owner(self, grant: bytes) -> Verified[GrantBody]:
        return open_grant(grant, self._parts.root_key, Role.ISSUER)

    def _released(self, release: bytes, askers: tuple[PublicKey | Verified[GrantBody], ...]) -> Released:
        """Find who of a holder and owners signed a release, and spend its nonce. Raises: Rejected{STRANGER}."""
        for asker in askers:
            grant = asker if isinstance(asker, Verified) else None
            key = asker.body.public_key if isinstance(asker, Verified) else asker
            opened = _opened_or_none(ReleaseBody, release, key)
            if opened is not None:
                return Released(opened, grant, self._spend(opened.body.nonce))
        raise Rejected(Reason.STRANGER)

    def _holder_of(self, order_id: OrderId) -> PublicKey:
        session, ended = self._memory.session, self._file.ended(order_id)
        if session is not None and session.voucher.order_id == order_id:
            return session.voucher.holder_key
        if ended is None:
            raise Rejected(Reason.NOT_IN_USE)
        return ended.holder_key


def _opened_or_none(cls: type[BodyT], signed: bytes, key: PublicKey) -> Verified[BodyT] | None:
    """Check a signed body; None when the signature is not that key's. Raises: Rejected{MALFORMED}."""
    try:
        return open_signed(cls, signed, key)
    except Rejected as refusal:
        if refusal.reason is Reason.SIGNATURE_INVALID:
            return None
        raise
