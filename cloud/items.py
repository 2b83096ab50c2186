"""What a batch is made of, and what comes of it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from msgspec import Struct

from cloud.bus.mail import Outgoing, StatelessRefusal
from cloud.domain.inbound import OrderMessage
from cloud.work import Inbound, Peer, WorkingSet
from energyshare.values import Instant, Number, OrderId, ProviderId, TerminalId


class Acknowledged(Struct, frozen=True):
    """A terminal holds all envelopes of a conversation up to a number."""

    terminal: TerminalId
    order_id: OrderId | None
    number: Number


class Presence(Struct, frozen=True):
    """A provider's stream came or went."""

    provider: ProviderId
    online: bool


class Command(Struct, frozen=True):
    """A unary call that writes; `run` decides on the working set and its result answers the call."""

    run: Callable[[WorkingSet, Instant], Any]
    reply: Callable[[Any], None]


class Instruction(Struct, frozen=True):
    """The operator's word on an order; the life cycle decides on it. None, or the Rejected that it ended in, answers it.

    With `peer` it is that terminal's message, decided again. `also` runs in the same transaction when it was taken.
    """

    order_id: OrderId
    message: OrderMessage
    reply: Callable[[Any], None]
    also: Callable[[WorkingSet, Instant], Any] | None = None
    peer: Peer | None = None


Item = Inbound | Acknowledged | Presence | Command | Instruction


@dataclass(slots=True)
class Outcome:
    """What may leave the node once the batch is committed."""

    acks: dict[tuple[TerminalId, OrderId | None], int] = field(default_factory=dict)
    envelopes: list[Outgoing] = field(default_factory=list)
    refusals: list[StatelessRefusal] = field(default_factory=list)
    replies: list[tuple[Callable[[Any], None], Any]] = field(default_factory=list)

    def extend(self, other: "Outcome") -> None:
        """Append what another part of the batch gave."""
        self.acks |= other.acks
        self.envelopes += other.envelopes
        self.refusals += other.refusals
        self.replies += other.replies
