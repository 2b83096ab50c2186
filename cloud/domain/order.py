"""An order and what a decision about it consists of.

An order is a value. It holds where things stand, both sides' message numbers, and the hashes of the signed parts; the parts
themselves are stored as they came. A decision is all that one message changes; the processor saves it in one transaction.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Self

from cloud.domain.ledger import Balance, LedgerAccount, Transfer
from cloud.domain.screening import AssetRecord, Screening, Tariffs
from cloud.domain.settings import Settings
from energyshare.bodies import ChargeRecordBody, SilenceDecisionBody
from energyshare.charging import Evidence
from energyshare.messages import Demand, Message
from energyshare.values import (
    AccountId,
    AssetId,
    DeviceId,
    Digest,
    DurationS,
    EnergyWh,
    Epoch,
    Instant,
    Kind,
    Minor,
    OrderId,
    OrderState,
    PartKind,
    ProviderId,
    PublicKey,
    Serial,
    TerminalId,
    UnixS,
)


class Side(StrEnum):
    """Who takes part in an order, beside the cloud."""

    USER = "user"
    PROVIDER = "provider"


class Wait(StrEnum):
    """What an order's timer waits for; each row of DESIGN's table of silence that is reached so far."""

    OFFERS = "OFFERS"
    OFFER_EXPIRY = "OFFER_EXPIRY"
    VOUCHER = "VOUCHER"
    START = "START"
    END_OF_SUPPLY = "END_OF_SUPPLY"
    RETURN = "RETURN"
    CONFIRMATION = "CONFIRMATION"


@dataclass(frozen=True, slots=True)
class Timer:
    """When an order's wait runs out."""

    wait: Wait
    due: Instant


@dataclass(frozen=True, slots=True)
class Participant:
    """One terminal of an order, and how far its conversation has come in both directions."""

    terminal: TerminalId
    side: Side
    last_in: int = 0
    last_in_hash: bytes = b""
    last_out: int = 0


@dataclass(frozen=True, slots=True)
class StandingOffer:
    """What the cloud keeps of a signed offer to decide on a selection and a voucher."""

    digest: Digest
    provider_id: ProviderId
    asset_id: AssetId
    device_id: DeviceId
    kind: Kind
    issuer_key: PublicKey
    tariff_hash: Digest
    energy_wh_max: EnergyWh
    duration_s_max: DurationS
    return_grace_s: DurationS
    deposit_minor: Minor
    hold_minor: Minor
    voucher_not_after: Instant
    expiry: Instant
    withdrawn: bool = False


@dataclass(frozen=True, slots=True)
class Authorization:
    """What the cloud keeps of a voucher."""

    digest: Digest
    serial: Serial
    epoch: Epoch
    not_before_unix_s: UnixS
    not_after_unix_s: UnixS


@dataclass(frozen=True, slots=True)
class Supply:
    """What the cloud keeps of a session."""

    start_hash: Digest
    started: Instant
    register_wh: EnergyWh
    readings_count: int = 0
    readings_head: Digest | None = None
    last_elapsed_s: int = 0
    last_register_wh: int = 0


@dataclass(frozen=True, slots=True)
class Order:
    """One order. `version` counts what happened to it, `attempts` its selections."""

    id: OrderId
    state: OrderState
    version: int
    account_id: AccountId
    holder_key: PublicKey
    demand: Demand
    created: Instant
    timer: Timer | None
    participants: Mapping[TerminalId, Participant]
    offers: Mapping[Digest, StandingOffer]
    attempts: int = 0
    selected: Digest | None = None
    selection_hash: Digest | None = None
    hold_minor: Minor = Minor(0)
    authorization: Authorization | None = None
    supply: Supply | None = None
    end_hash: Digest | None = None
    end_request_hash: Digest | None = None
    ending_since: Instant | None = None
    total_minor: Minor = Minor(0)

    @property
    def user(self) -> TerminalId:
        """The terminal that made the demand."""
        return next(p.terminal for p in self.participants.values() if p.side is Side.USER)

    @property
    def providers(self) -> tuple[TerminalId, ...]:
        """The provider terminals that were asked."""
        return tuple(p.terminal for p in self.participants.values() if p.side is Side.PROVIDER)

    @property
    def offer(self) -> StandingOffer:
        """The selected offer."""
        assert self.selected is not None
        return self.offers[self.selected]

    @property
    def provider(self) -> TerminalId:
        """The selected provider's terminal: one daemon runs a provider's identity."""
        return TerminalId(self.offer.provider_id)

    @property
    def keys(self) -> tuple[PublicKey, PublicKey | None]:
        """The holder's key and the selected provider's."""
        return self.holder_key, self.offers[self.selected].issuer_key if self.selected else None

    def to(self, state: OrderState, timer: Timer | None) -> Self:
        """Move to a state, with the next wait."""
        return replace(self, state=state, timer=timer)

    def with_offer(self, offer: StandingOffer) -> Self:
        """Add or replace an offer."""
        return replace(self, offers={**self.offers, offer.digest: offer})


@dataclass(frozen=True, slots=True)
class Sender:
    """Who sent a message; None in its place stands for a timer."""

    terminal: TerminalId
    side: Side
    account_id: AccountId | None = None
    key: PublicKey | None = None


@dataclass(frozen=True, slots=True)
class SettledNotice:
    """`Settled` before the platform key has signed what is in it."""

    confirmation: bytes | None
    end_receipt: bytes | None
    device_grant: bytes | None


@dataclass(frozen=True, slots=True)
class Send:
    """A message to a participant."""

    terminal: TerminalId
    message: Message | SettledNotice


@dataclass(frozen=True, slots=True)
class StoredPart:
    """A signed part to keep; `number` tells readings apart."""

    kind: PartKind
    digest: Digest
    signed: bytes
    number: int = 0


@dataclass(frozen=True, slots=True)
class AssetHold:
    """Who holds an asset from now on; None frees it. Where it is may be unknown until its provider reports it."""

    asset_id: AssetId
    held_by: OrderId | None
    unknown: bool = False


@dataclass(frozen=True, slots=True)
class Statements:
    """What the platform key is to sign. The hash of `silence` is added to the charge record's parts when it is sealed."""

    charge: ChargeRecordBody
    silence: SilenceDecisionBody | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    """All that one message changes."""

    order: Order
    note: str = ""
    send: tuple[Send, ...] = ()
    parts: tuple[StoredPart, ...] = ()
    transfers: tuple[Transfer, ...] = ()
    asset: AssetHold | None = None
    screening: Screening | None = None
    statements: Statements | None = None


@dataclass(frozen=True, slots=True)
class BillingFacts:
    """The stored evidence of an order, loaded for the messages that can end in a bill."""

    evidence: Evidence
    parts: tuple[StoredPart, ...]


@dataclass(frozen=True, slots=True)
class Facts:
    """What a decision may look at beside the order, as it stands after the messages before it."""

    settings: Settings
    nearby: tuple[AssetRecord, ...] = ()
    tariffs: Tariffs = field(default_factory=dict)
    online: frozenset[ProviderId] = frozenset()
    open_orders: int = 0
    asset: AssetRecord | None = None
    balances: Mapping[LedgerAccount, Balance] = field(default_factory=dict)
    billing: BillingFacts | None = None
