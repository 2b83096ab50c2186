"""An order and what a decision about it consists of.

An order is a value. It holds where things stand, both sides' message numbers, and the hashes of the signed parts; the parts
themselves are stored as they came. A decision is all that one message changes; the processor saves it in one transaction.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Self

from msgspec import Struct, field

from cloud.domain import ledger
from cloud.domain.ledger import Amounts, Balance, LedgerAccount, Transfer
from cloud.domain.screening import AssetRecord, Screening, Tariffs
from cloud.domain.settings import Settings
from energyshare.bodies import ChargeRecordBody, Part, RulingBody, ServiceItem, SettlementRequestBody, SilenceDecisionBody
from energyshare.charging import Evidence
from energyshare.messages import Demand, Message
from energyshare.records import replace
from energyshare.values import (
    AccountId,
    AssetId,
    ChargeBasis,
    DeviceId,
    Digest,
    DurationS,
    EnergyWh,
    Epoch,
    Instant,
    Kind,
    Minor,
    Number,
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
    """Who takes part in an order, beside the cloud; ACCOUNT is another terminal of the user's account, which joined later."""

    USER = "user"
    PROVIDER = "provider"
    ACCOUNT = "account"
    OPERATOR = "operator"


class Wait(StrEnum):
    """What an order's timer waits for: the rows of the table of silence (docs/order-states.md)."""

    OFFERS = "OFFERS"
    OFFER_EXPIRY = "OFFER_EXPIRY"
    VOUCHER = "VOUCHER"
    START = "START"
    END_OF_SUPPLY = "END_OF_SUPPLY"
    RETURN = "RETURN"
    NOT_RETURNED = "NOT_RETURNED"
    CONFIRMATION = "CONFIRMATION"
    SETTLEMENT_REQUEST = "SETTLEMENT_REQUEST"
    SERVICE_ACKNOWLEDGEMENT = "SERVICE_ACKNOWLEDGEMENT"
    SERVICE_CONFIRMATION = "SERVICE_CONFIRMATION"
    RULING = "RULING"


class Timer(Struct, frozen=True):
    """When an order's wait runs out."""

    wait: Wait
    due: Instant


class Participant(Struct, frozen=True):
    """One terminal of an order, and how far its conversation has come in both directions."""

    terminal: TerminalId
    side: Side
    last_in: int = 0
    last_in_hash: bytes = b""
    last_out: int = 0


class StandingOffer(Struct, frozen=True):
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
    items: tuple[ServiceItem, ...] = ()
    quote_minor: Minor = Minor(0)

    @property
    def to_hold(self) -> Amounts:
        """What a selection holds."""
        return Amounts(Minor(self.hold_minor - self.deposit_minor), self.deposit_minor)


class Authorization(Struct, frozen=True):
    """What the cloud keeps of a voucher."""

    digest: Digest
    serial: Serial
    epoch: Epoch
    not_before_unix_s: UnixS
    not_after_unix_s: UnixS


class Supply(Struct, frozen=True):
    """What the cloud keeps of a session."""

    start_hash: Digest
    started: Instant
    register_wh: EnergyWh
    readings_count: int = 0
    readings_head: Digest | None = None
    last_elapsed_s: int = 0
    last_register_wh: int = 0


class Proposal(Struct, frozen=True):
    """An amendment that waits for the user's answer; `hold_minor` is what it adds."""

    digest: Digest
    items: tuple[ServiceItem, ...]
    duration_s: DurationS
    hold_minor: Minor


class SettlementAsked(Struct, frozen=True):
    """A settlement request that waits for the user; `envelope` is its number in the user's conversation."""

    digest: Digest
    total_minor: Minor
    envelope: Number


class Work(Struct, frozen=True):
    """What a service may come to by now: quote and approved amendments, and what is asked for it."""

    items: tuple[ServiceItem, ...]
    duration_s_max: DurationS
    amendments: Number = Number(0)
    extra_hold_minor: Minor = Minor(0)
    proposal: Proposal | None = None
    asked: SettlementAsked | None = None


class Billed(Struct, frozen=True):
    """The latest charge record of an order; `number` counts them, `digest` is empty until the platform has signed it.

    `evidence_basis` is what the price rests on, also where a ruling changed it. Corrections divide at the same
    `commission_bp`; bills from before it was kept have none.
    """

    number: int
    digest: Digest
    evidence_basis: ChargeBasis
    excl_vat_minor: Minor
    incl_vat_minor: Minor
    deposit_claimed_minor: Minor
    settled: Instant
    commission_bp: int | None = None

    @property
    def total_minor(self) -> Minor:
        """What the user pays in all."""
        return Minor(self.incl_vat_minor + self.deposit_claimed_minor)


class Disputed(Struct, frozen=True):
    """A part of a bill that waits for a ruling.

    A provider's claim and a refused settlement are held from the user, on top of the bill; what a user disputes of a settled
    bill is held at the provider.
    """

    by: Side
    amount_minor: Minor
    is_settled: bool
    reason: str


class Order(Struct, frozen=True):
    """One order. `version` counts what happened to it, `attempts` its holds; `held` is what is held by the last one.

    `is_unsecured` says that its hold was freed before a start receipt came: its bill is booked as receivable. `set_aside` names
    what its device signed beside the statements that govern; such are kept once.
    """

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
    held: Amounts = ledger.NONE
    authorization: Authorization | None = None
    supply: Supply | None = None
    end_hash: Digest | None = None
    end_request_hash: Digest | None = None
    ending_since: Instant | None = None
    total_minor: Minor = Minor(0)
    work: Work | None = None
    cancel_reason: str = ""
    closed_hash: Digest | None = None
    is_unsecured: bool = False
    bill: Billed | None = None
    dispute: Disputed | None = None
    set_aside: tuple[Digest, ...] = ()

    @property
    def user(self) -> TerminalId:
        """The terminal that made the demand."""
        return next(p.terminal for p in self.participants.values() if p.side is Side.USER)

    @property
    def users(self) -> tuple[TerminalId, ...]:
        """The terminal that made the demand, and others of its account that joined."""
        joined = (p.terminal for p in self.participants.values() if p.side is Side.ACCOUNT)
        return (self.user, *joined)

    @property
    def both(self) -> tuple[TerminalId, ...]:
        """All terminals of the user's account that take part, and the selected provider's."""
        return (*self.users, self.provider)

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
    def hold_minor(self) -> Minor:
        """What is held in all."""
        return self.held.total_minor

    @property
    def held_from(self) -> LedgerAccount:
        """Whose it is: the user's, or, while a settled bill is disputed, the provider's."""
        if self.dispute is not None and self.dispute.is_settled:
            return ledger.provider_account(self.offer.provider_id)
        return ledger.user_account(self.account_id)

    @property
    def agreed_hold_minor(self) -> Minor:
        """What offer and approved amendments allow to hold, also when it is held no more."""
        return Minor(self.offer.hold_minor + (self.work.extra_hold_minor if self.work else 0))

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


class Sender(Struct, frozen=True):
    """Who sent a message; None in its place stands for a timer or for the processor itself."""

    terminal: TerminalId
    side: Side
    account_id: AccountId | None = None
    key: PublicKey | None = None


class SettledNotice(Struct, frozen=True):
    """`Settled` before the platform key has signed what is in it; `parts` are those that its receiver may lack."""

    parts: tuple[Part, ...]
    disputed_minor: Minor = Minor(0)


class RulingNotice(Struct, frozen=True):
    """`Ruling` before the platform key has signed it."""


class Send(Struct, frozen=True):
    """A message to a participant."""

    terminal: TerminalId
    message: Message | SettledNotice | RulingNotice


class StoredPart(Struct, frozen=True):
    """A signed part to keep; `number` tells readings apart."""

    kind: PartKind
    digest: Digest
    signed: bytes
    number: int = 0


class AssetHold(Struct, frozen=True):
    """Who holds an asset from now on; None frees it. Where it is may be unknown until its provider reports it."""

    asset_id: AssetId
    held_by: OrderId | None
    unknown: bool = False


class Statements(Struct, frozen=True):
    """What the platform key is to sign; the charge record then names the ruling, or else the silence, that led to it."""

    charge: ChargeRecordBody
    silence: SilenceDecisionBody | None = None
    ruling: RulingBody | None = None


class Decision(Struct, frozen=True):
    """All that one message changes."""

    order: Order
    note: str = ""
    send: tuple[Send, ...] = ()
    parts: tuple[StoredPart, ...] = ()
    transfers: tuple[Transfer, ...] = ()
    asset: AssetHold | None = None
    screening: Screening | None = None
    statements: Statements | None = None
    conflict: bool = False
    """Whether the device has contradicted itself: it is then offered to nobody, and the operator is told."""


class BillingFacts(Struct, frozen=True):
    """The stored evidence of an order, loaded for the messages that can end in a bill; `request` is a service's."""

    evidence: Evidence
    parts: tuple[StoredPart, ...]
    request: SettlementRequestBody | None = None


class Facts(Struct, frozen=True):
    """What a decision may look at beside the order, as it stands after the messages before it."""

    settings: Settings
    nearby: tuple[AssetRecord, ...] = ()
    tariffs: Tariffs = field(default_factory=dict)
    online: frozenset[ProviderId] = frozenset()
    open_orders: int = 0
    is_suspended: bool = False
    asset: AssetRecord | None = None
    balances: Mapping[LedgerAccount, Balance] = field(default_factory=dict)
    billing: BillingFacts | None = None
