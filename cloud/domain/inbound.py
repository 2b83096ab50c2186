"""What reaches the domain: messages whose signatures were checked, and timers.

The gateway opens every signed part before it hands a message on (`cloud.gateway.checks`), so nothing here needs a key. What
could not be opened arrives as `Refused` and is answered under its number like any other message.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from energyshare.bodies import (
    AmendmentAnswerBody,
    AmendmentBody,
    EndConfirmationBody,
    EndRefusalBody,
    EndRequestBody,
    GrantBody,
    NotReturnedBody,
    OfferBody,
    OpenedEnd,
    OpenedStart,
    OpenedVoucher,
    ReadingBody,
    SelectionBody,
    SerialClosedBody,
    SettlementAnswerBody,
    SettlementRequestBody,
    Verified,
)
from energyshare.errors import Reason
from energyshare.messages import Cancel, Declined, Demand, Dispute, Inventory, VoucherRejected, Withdrawn
from energyshare.values import Instant, Minor, PublicKey


@dataclass(frozen=True, slots=True)
class OfferMade:
    """A provider's offer, under its own grant."""

    offer: Verified[OfferBody]
    grant: Verified[GrantBody]


@dataclass(frozen=True, slots=True)
class SelectionMade:
    """A user's selection, signed by its registered holder key."""

    selection: Verified[SelectionBody]


@dataclass(frozen=True, slots=True)
class VoucherIssued:
    """A provider's voucher; `presentable` is what is relayed."""

    opened: OpenedVoucher
    presentable: bytes


@dataclass(frozen=True, slots=True)
class StartReported:
    """A start receipt, from either side."""

    start: OpenedStart
    grant: Verified[GrantBody]


@dataclass(frozen=True, slots=True)
class ReadingsReported:
    """Readings that follow one another, from either side."""

    readings: tuple[Verified[ReadingBody], ...]
    grant: Verified[GrantBody]


@dataclass(frozen=True, slots=True)
class EndRequested:
    """A user's request to end, with the end receipt if it has one."""

    request: Verified[EndRequestBody]
    end: OpenedEnd | None
    grant: Verified[GrantBody] | None


@dataclass(frozen=True, slots=True)
class EndReported:
    """An end receipt from the provider."""

    end: OpenedEnd
    grant: Verified[GrantBody]


@dataclass(frozen=True, slots=True)
class EndConfirmedBy:
    """A provider's confirmation of an end."""

    confirmation: Verified[EndConfirmationBody]


@dataclass(frozen=True, slots=True)
class EndRefusedBy:
    """A provider's claim on top of a bill."""

    refusal: Verified[EndRefusalBody]


@dataclass(frozen=True, slots=True)
class NotReturnedStated:
    """A provider's statement that a battery did not come back."""

    statement: Verified[NotReturnedBody]


@dataclass(frozen=True, slots=True)
class SerialClosedReported:
    """A device's statement that a voucher was burned unused, from either side."""

    statement: Verified[SerialClosedBody]
    grant: Verified[GrantBody]


@dataclass(frozen=True, slots=True)
class AmendmentProposed:
    """A provider's proposal of extra work."""

    amendment: Verified[AmendmentBody]


@dataclass(frozen=True, slots=True)
class AmendmentAnswered:
    """A user's answer to it."""

    answer: Verified[AmendmentAnswerBody]


@dataclass(frozen=True, slots=True)
class SettlementRequested:
    """A provider's request to settle a service."""

    request: Verified[SettlementRequestBody]


@dataclass(frozen=True, slots=True)
class SettlementAnswered:
    """A user's answer to it: nothing disputed, or an amount."""

    answer: Verified[SettlementAnswerBody]


@dataclass(frozen=True, slots=True)
class RequestAcknowledged:
    """The user's terminal holds the settlement request; noticed by the processor."""


@dataclass(frozen=True, slots=True)
class RulingMade:
    """The operator's ruling: what the user pays of the disputed part."""

    charged_minor: Minor
    reason: str


@dataclass(frozen=True, slots=True)
class Refused:
    """A message that was found wrong before any order was looked at."""

    reason: Reason
    metadata: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class TimerFired:
    """A wait ran out."""

    waited_for: str
    due: Instant


OrderMessage = (
    Demand
    | OfferMade
    | Declined
    | Withdrawn
    | SelectionMade
    | VoucherIssued
    | VoucherRejected
    | StartReported
    | ReadingsReported
    | EndRequested
    | EndReported
    | EndConfirmedBy
    | EndRefusedBy
    | NotReturnedStated
    | SerialClosedReported
    | AmendmentProposed
    | AmendmentAnswered
    | SettlementRequested
    | SettlementAnswered
    | RequestAcknowledged
    | Cancel
    | Dispute
    | RulingMade
    | TimerFired
)
"""What an order decides on; the table of `cloud.domain.lifecycle` is total over it."""

TerminalMessage = Inventory
"""What belongs to no order."""

InboundMessage = OrderMessage | TerminalMessage | Refused


@dataclass(frozen=True, slots=True)
class OrderKeys:
    """The keys of an order's two sides; the issuing key once an offer is selected."""

    holder_key: PublicKey
    issuer_key: PublicKey | None
