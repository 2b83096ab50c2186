"""The messages of the stream, as values.

Names and fields are those of proto/energyshare/v1/order.proto and asset.proto, where each says who sends it, with units and
ranges. `Message` is their closed union. Fields of type `bytes` hold serialized `Signed` parts as they came.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

from energyshare.bodies import Asset, Between, Name, Part, Sentence, ServiceItem, SignedBytes, TariffBytes
from energyshare.values import (
    WINDOW_S_MAX,
    AssetId,
    Connector,
    Digest,
    DurationS,
    EnergyWh,
    Instant,
    Kind,
    Metres,
    Minor,
    Number,
    OrderId,
    OrderState,
    PartKind,
    Place,
    PublicKey,
)


@dataclass(frozen=True, slots=True)
class Inventory:
    assets: Annotated[tuple[Asset, ...], Between(1, 500)]
    tariffs: Annotated[tuple[TariffBytes, ...], Between(0, 500)]


@dataclass(frozen=True, slots=True)
class Demand:
    kinds: Annotated[tuple[Kind, ...], Between(1, 3)]
    place: Place
    radius_m: Annotated[Metres, Between(1, 200_000)]
    energy_wh: Annotated[EnergyWh, Between(1, 10**7)] | None
    duration_s: Annotated[DurationS, Between(1, WINDOW_S_MAX)] | None
    service_items: Annotated[tuple[ServiceItem, ...], Between(0, 50)]
    needed_by_time: Instant
    price_max_minor: Annotated[Minor, Between(1, 10**15)] | None
    time_to_live_s: Annotated[DurationS, Between(1, 3_600)]
    connector: Connector | None


@dataclass(frozen=True, slots=True)
class Exclusion:
    reason: Name
    count: Annotated[int, Between(1, 10**9)]


@dataclass(frozen=True, slots=True)
class Screened:
    candidates: Annotated[int, Between(0, 10**6)]
    exclusions: Annotated[tuple[Exclusion, ...], Between(0, 50)]
    offers_until_time: Instant


@dataclass(frozen=True, slots=True)
class DemandNotice:
    demand: Demand
    asset_ids: Annotated[tuple[AssetId, ...], Between(1, 500)]
    offers_until_time: Instant


@dataclass(frozen=True, slots=True)
class Offer:
    offer: SignedBytes
    grant: SignedBytes


@dataclass(frozen=True, slots=True)
class Declined:
    asset_id: AssetId
    reason: Name


@dataclass(frozen=True, slots=True)
class Withdrawn:
    offer_hash: Digest


@dataclass(frozen=True, slots=True)
class Selection:
    selection: SignedBytes


@dataclass(frozen=True, slots=True)
class Award:
    selection: SignedBytes
    holder_key: PublicKey


@dataclass(frozen=True, slots=True)
class NotSelected:
    pass


@dataclass(frozen=True, slots=True)
class Voucher:
    presentable: SignedBytes


@dataclass(frozen=True, slots=True)
class VoucherRejected:
    reason: Name


@dataclass(frozen=True, slots=True)
class Started:
    start_receipt: SignedBytes
    grant: SignedBytes


@dataclass(frozen=True, slots=True)
class Reading:
    readings: Annotated[tuple[SignedBytes, ...], Between(1, 200)]
    grant: SignedBytes


@dataclass(frozen=True, slots=True)
class EndRequest:
    end_request: SignedBytes
    end_receipt: SignedBytes | None
    grant: SignedBytes | None


@dataclass(frozen=True, slots=True)
class Ended:
    end_receipt: SignedBytes
    grant: SignedBytes


@dataclass(frozen=True, slots=True)
class ConfirmEnd:
    end_request: SignedBytes | None
    end_receipt: SignedBytes | None
    confirm_until_time: Instant
    grant: SignedBytes | None
    requester_key: PublicKey | None = None


@dataclass(frozen=True, slots=True)
class EndConfirmed:
    confirmation: SignedBytes


@dataclass(frozen=True, slots=True)
class EndRefused:
    refusal: SignedBytes


@dataclass(frozen=True, slots=True)
class NotReturned:
    statement: SignedBytes


@dataclass(frozen=True, slots=True)
class SerialClosed:
    statement: SignedBytes
    grant: SignedBytes


@dataclass(frozen=True, slots=True)
class Amendment:
    amendment: SignedBytes


@dataclass(frozen=True, slots=True)
class AmendmentAnswer:
    answer: SignedBytes


@dataclass(frozen=True, slots=True)
class SettlementRequest:
    settlement_request: SignedBytes


@dataclass(frozen=True, slots=True)
class SettlementConfirmed:
    answer: SignedBytes


@dataclass(frozen=True, slots=True)
class SettlementRefused:
    answer: SignedBytes


@dataclass(frozen=True, slots=True)
class Cancel:
    reason: Name


@dataclass(frozen=True, slots=True)
class Dispute:
    charge_record_hash: Digest
    disputed_minor: Annotated[Minor, Between(1, 10**15)]
    reason: Sentence


@dataclass(frozen=True, slots=True)
class Ruling:
    ruling: SignedBytes


@dataclass(frozen=True, slots=True)
class OrderClosed:
    state: OrderState
    reason: Name


@dataclass(frozen=True, slots=True)
class Reopened:
    reason: Name


@dataclass(frozen=True, slots=True)
class Settled:
    charge_record: SignedBytes
    platform_grant: SignedBytes
    parts: Annotated[tuple[Part, ...], Between(0, 200)] = ()
    disputed_minor: Minor = Minor(0)

    def part(self, kind: PartKind) -> bytes | None:
        """Give the part of a kind that came along, if one did."""
        return next((part.signed for part in self.parts if part.kind is kind), None)


@dataclass(frozen=True, slots=True)
class RejectedMessage:
    """`Rejected` of the contract; named apart from the exception."""

    number: Annotated[Number, Between(1, 2**62)]
    reason: Name
    metadata: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class SnapshotOrder:
    order_id: OrderId
    state: OrderState
    parts: Annotated[tuple[Part, ...], Between(0, 1_000)]
    demand: Demand | None = None
    created_time: Instant | None = None


@dataclass(frozen=True, slots=True)
class Snapshot:
    orders: Annotated[tuple[SnapshotOrder, ...], Between(0, 1_000)]


Message = (
    Inventory
    | Demand
    | Screened
    | DemandNotice
    | Offer
    | Declined
    | Withdrawn
    | Selection
    | Award
    | NotSelected
    | Voucher
    | VoucherRejected
    | Started
    | Reading
    | EndRequest
    | Ended
    | ConfirmEnd
    | EndConfirmed
    | EndRefused
    | NotReturned
    | SerialClosed
    | Amendment
    | AmendmentAnswer
    | SettlementRequest
    | SettlementConfirmed
    | SettlementRefused
    | Cancel
    | Dispute
    | Ruling
    | OrderClosed
    | Reopened
    | Settled
    | RejectedMessage
    | Snapshot
)
