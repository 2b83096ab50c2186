"""Numbers of a conversation: what comes next, what came before, what leaves a gap.

Accepted is exactly the next number. An older one is acknowledged again and changes nothing; the same number with other bytes
is refused; after a gap the last number held is acknowledged, and the sender goes on from there.
"""

from enum import Enum
from typing import Protocol

from energyshare.errors import Reason, Rejected


class Arrival(Enum):
    """What a number is to the one who receives it."""

    NEXT = "next"
    REPEATED = "repeated"
    GAP = "gap"


class Received(Protocol):
    """How far one direction of a conversation has come."""

    @property
    def last_in(self) -> int:
        """Last number accepted."""

    @property
    def last_in_hash(self) -> bytes:
        """SHA-256 of the envelope that bore it."""


def arrival(received: Received, number: int, envelope_hash: bytes) -> Arrival:
    """Say what a number is; raises Rejected{SEQUENCE_REUSED} when it came before with other bytes."""
    if number == received.last_in and received.last_in_hash not in (b"", envelope_hash):
        raise Rejected(Reason.SEQUENCE_REUSED, number=str(number))
    if number <= received.last_in:
        return Arrival.REPEATED
    return Arrival.NEXT if number == received.last_in + 1 else Arrival.GAP
