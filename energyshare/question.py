"""What the rules of a bill look at: its record, what was agreed and measured, and all that was said about it."""

from msgspec import Struct

from energyshare.amending import Agreed
from energyshare.bodies import ChargeRecordBody
from energyshare.charging import Evidence
from energyshare.opening import Opened
from energyshare.values import ChargeBasis


class Question(Struct, frozen=True):
    """What a bill is checked with: its record, the one that it corrects if that is there, the session, all that was said."""

    record: ChargeRecordBody
    before: ChargeRecordBody | None
    evidence: Evidence
    agreed: Agreed
    opened: Opened

    @property
    def is_ruled_again(self) -> bool:
        """Say whether a ruling follows another one: what it is about was disputed of a settled bill."""
        return self.before is not None and self.before.basis is ChargeBasis.RULING
