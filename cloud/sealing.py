"""Signing what the platform states: charge records, rulings, decisions taken on silence, and checkpoints of the ledger."""

from msgspec import Struct

from cloud.domain.order import RulingNotice, SettledNotice, Statements, StoredPart
from energyshare.bodies import (
    ChargeRecordBody,
    Checkpoint,
    CheckpointBody,
    Part,
    PartHash,
    RulingBody,
    SilenceDecisionBody,
    Verified,
)
from energyshare.credentials import open_grant
from energyshare.messages import Ruling, Settled
from energyshare.records import replace
from energyshare.signing import SigningKey
from energyshare.values import PartKind, PublicKey, Role
from energyshare.wire import decode, encode, open_signed, seal


class PlatformKey(Struct, frozen=True):
    """The platform's online key and the serialized Signed grant for it."""

    key: SigningKey
    grant: bytes


class SealedStatements(Struct, frozen=True):
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
            (PartKind.SILENCE_DECISION, self.silence, 1 if self.ruling else 0),  # 1: it led to a ruling
            (PartKind.RULING, self.ruling, 0),
            (PartKind.CHARGE_RECORD, self.charge, 0),
        )
        return tuple(StoredPart(kind, part.digest, part.signed, number) for kind, part, number in kinds if part)


def seal_statements(statements: Statements, platform: PlatformKey) -> SealedStatements:
    """Sign a decision's statements; the charge record names the ruling or else the silence decision by its hash."""
    silence = seal(statements.silence, platform.key) if statements.silence else None
    ruling = seal(statements.ruling, platform.key) if statements.ruling else None
    led = ((PartKind.RULING, ruling),) if ruling else ((PartKind.SILENCE_DECISION, silence),)
    parts = (*statements.charge.parts, *(PartHash(kind, part.digest) for kind, part in led if part))
    charge = replace(statements.charge, parts=tuple(sorted(parts, key=lambda part: part.kind)))
    return SealedStatements(seal(charge, platform.key), silence, ruling, platform.grant)


def seal_checkpoint(body: CheckpointBody, platform: PlatformKey) -> bytes:
    """Sign a checkpoint; gives what its file holds."""
    return encode(Checkpoint(seal(body, platform.key).signed, platform.grant))


def open_checkpoint(data: bytes, root: PublicKey) -> CheckpointBody:
    """Check the file of a checkpoint by the platform root.

    Raises: Rejected as it is not whole, or not of this cloud.
    """
    file = decode(Checkpoint, data)
    grant = open_grant(file.grant, root, Role.PLATFORM)
    return open_signed(CheckpointBody, file.checkpoint, grant.body.public_key).body
