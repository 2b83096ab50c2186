"""What reaches the domain: messages whose signatures were checked, and timers.

The gateway opens every signed part before it hands a message on (`cloud.gateway.checks`), so nothing here needs a key. What
could not be opened arrives as `Refused` and is answered under its number like any other message.
"""

from collections.abc import Mapping

from msgspec import Struct

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


class OfferMade(Struct, frozen=True):
    """A provider's offer, under its own grant."""

    offer: Verified[OfferBody]
    grant: Verified[GrantBody]


class SelectionMade(Struct, frozen=True):
    """A user's selection, signed by its registered holder key."""

    selection: Verified[SelectionBody]


class VoucherIssued(Struct, frozen=True):
    """A provider's voucher; `presentable` is what is relayed."""

    opened: OpenedVoucher
    presentable: bytes


class StartReported(Struct, frozen=True):
    """A start receipt, from either side."""

    start: OpenedStart
    grant: Verified[GrantBody]


class ReadingsReported(Struct, frozen=True):
    """Readings that follow one another, from either side."""

    readings: tuple[Verified[ReadingBody], ...]
    grant: Verified[GrantBody]


class EndRequested(Struct, frozen=True):
    """A user's request to end, with the end receipt if it has one."""

    request: Verified[EndRequestBody]
    end: OpenedEnd | None
    grant: Verified[GrantBody] | None


class EndReported(Struct, frozen=True):
    """An end receipt from the provider."""

    end: OpenedEnd
    grant: Verified[GrantBody]


class EndConfirmedBy(Struct, frozen=True):
    """A provider's confirmation of an end."""

    confirmation: Verified[EndConfirmationBody]


class EndRefusedBy(Struct, frozen=True):
    """A provider's claim on top of a bill."""

    refusal: Verified[EndRefusalBody]


class NotReturnedStated(Struct, frozen=True):
    """A provider's statement that a battery did not come back."""

    statement: Verified[NotReturnedBody]


class SerialClosedReported(Struct, frozen=True):
    """A device's statement that a voucher was burned unused, from either side."""

    statement: Verified[SerialClosedBody]
    grant: Verified[GrantBody]


class AmendmentProposed(Struct, frozen=True):
    """A provider's proposal of extra work."""

    amendment: Verified[AmendmentBody]


class AmendmentAnswered(Struct, frozen=True):
    """A user's answer to it."""

    answer: Verified[AmendmentAnswerBody]


class SettlementRequested(Struct, frozen=True):
    """A provider's request to settle a service."""

    request: Verified[SettlementRequestBody]


class SettlementAnswered(Struct, frozen=True):
    """A user's answer to it: nothing disputed, or an amount."""

    answer: Verified[SettlementAnswerBody]


class RequestAcknowledged(Struct, frozen=True):
    """The user's terminal holds the settlement request; noticed by the processor."""


class RulingMade(Struct, frozen=True):
    """The operator's ruling: what the user pays of the disputed part."""

    charged_minor: Minor
    reason: str


class Refused(Struct, frozen=True):
    """A message that was found wrong before any order was looked at."""

    reason: Reason
    metadata: Mapping[str, str]


class TimerFired(Struct, frozen=True):
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


class OrderKeys(Struct, frozen=True):
    """The keys of an order's two sides; the issuing key once an offer is selected."""

    holder_key: PublicKey
    issuer_key: PublicKey | None
