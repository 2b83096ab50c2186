"""Signing what the platform states: charge records, rulings, and decisions taken on silence."""

from dataclasses import dataclass, replace

from cloud.domain.order import RulingNotice, SettledNotice, Statements, StoredPart
from energyshare.bodies import ChargeRecordBody, Part, PartHash, RulingBody, SilenceDecisionBody, Verified
from energyshare.messages import Ruling, Settled
from energyshare.signing import SigningKey
from energyshare.values import PartKind
from energyshare.wire import seal


@dataclass(frozen=True, slots=True)
class PlatformKey:
    """The platform's online key and the serialized Signed grant for it."""

    key: SigningKey
    grant: bytes


@dataclass(frozen=True, slots=True)
class SealedStatements:
    """A charge record, and the silence or ruling that led to it, under the platform key."""

    charge: Verified[ChargeRecordBody]
    silence: Verified[SilenceDecisionBody] | None
    ruling: Verified[RulingBody] | None
    platform_grant: bytes

    def told(self, notice: SettledNotice | RulingNotice) -> Settled | Ruling:
        """Give the message that tells of the charge record, or of the ruling."""
        if isinstance(notice, RulingNotice):
            assert self.ruling is not None
            return Ruling(self.ruling.signed)
        led = ((PartKind.SILENCE_DECISION, self.silence), (PartKind.RULING, self.ruling))
        parts = tuple(Part(kind, part.signed) for kind, part in led if part)
        return Settled(self.charge.signed, self.platform_grant, (*notice.parts, *parts), notice.disputed_minor)

    @property
    def parts(self) -> tuple[StoredPart, ...]:
        """The parts to keep."""
        kinds = (
            (PartKind.SILENCE_DECISION, self.silence),
            (PartKind.RULING, self.ruling),
            (PartKind.CHARGE_RECORD, self.charge),
        )
        return tuple(StoredPart(kind, part.digest, part.signed) for kind, part in kinds if part)


def seal_statements(statements: Statements, platform: PlatformKey) -> SealedStatements:
    """Sign a decision's statements; the charge record names the ruling or else the silence decision by its hash."""
    silence = seal(statements.silence, platform.key) if statements.silence else None
    ruling = seal(statements.ruling, platform.key) if statements.ruling else None
    led = ((PartKind.RULING, ruling),) if ruling else ((PartKind.SILENCE_DECISION, silence),)
    parts = (*statements.charge.parts, *(PartHash(kind, part.digest) for kind, part in led if part))
    charge = replace(statements.charge, parts=tuple(sorted(parts, key=lambda part: part.kind)))
    return SealedStatements(seal(charge, platform.key), silence, ruling, platform.grant)
