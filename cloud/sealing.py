"""Signing what the platform states: charge records and decisions taken on silence."""

from dataclasses import dataclass, replace

from cloud.domain.order import SettledNotice, Statements, StoredPart
from energyshare.bodies import ChargeRecordBody, PartHash, SilenceDecisionBody, Verified
from energyshare.messages import Settled
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
    """A charge record, and the silence that led to it, under the platform key."""

    charge: Verified[ChargeRecordBody]
    silence: Verified[SilenceDecisionBody] | None
    platform_grant: bytes

    def settled(self, notice: SettledNotice) -> Settled:
        """Give the message that tells of the charge record."""
        return Settled(
            self.charge.signed,
            self.platform_grant,
            notice.confirmation,
            self.silence.signed if self.silence else None,
            notice.end_receipt,
            notice.device_grant,
        )

    @property
    def parts(self) -> tuple[StoredPart, ...]:
        """The parts to keep."""
        silence = (StoredPart(PartKind.SILENCE_DECISION, self.silence.digest, self.silence.signed),) if self.silence else ()
        return (*silence, StoredPart(PartKind.CHARGE_RECORD, self.charge.digest, self.charge.signed))


def seal_statements(statements: Statements, platform: PlatformKey) -> SealedStatements:
    """Sign a decision's statements; the charge record then names the silence decision by its hash."""
    if statements.silence is None:
        return SealedStatements(seal(statements.charge, platform.key), None, platform.grant)
    silence = seal(statements.silence, platform.key)
    parts = (*statements.charge.parts, PartHash(PartKind.SILENCE_DECISION, silence.digest))
    charge = replace(statements.charge, parts=tuple(sorted(parts, key=lambda part: part.kind)))
    return SealedStatements(seal(charge, platform.key), silence, platform.grant)
