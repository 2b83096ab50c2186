"""The messages of the stream, as values.

Names and fields are those of proto/energyshare/v1/order.proto and asset.proto, where each says who sends it, with units and
ranges. `Message` is their closed union. Fields of type `bytes` hold serialized `Signed` parts as they came.
"""

from collections.abc import Mapping
from typing import Annotated

from msgspec import Struct

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


class Inventory(Struct, frozen=True):
    assets: Annotated[tuple[Asset, ...], Between(1, 500)]
    tariffs: Annotated[tuple[TariffBytes, ...], Between(0, 500)]


class Demand(Struct, frozen=True):
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


class Exclusion(Struct, frozen=True):
    reason: Name
    count: Annotated[int, Between(1, 10**9)]


class Screened(Struct, frozen=True):
    candidates: Annotated[int, Between(0, 10**6)]
    exclusions: Annotated[tuple[Exclusion, ...], Between(0, 50)]
    offers_until_time: Instant


class DemandNotice(Struct, frozen=True):
    demand: Demand
    asset_ids: Annotated[tuple[AssetId, ...], Between(1, 500)]
    offers_until_time: Instant


class Offer(Struct, frozen=True):
    offer: SignedBytes
    grant: SignedBytes


class Declined(Struct, frozen=True):
    asset_id: AssetId
    reason: Name


class Withdrawn(Struct, frozen=True):
    offer_hash: Digest


class Selection(Struct, frozen=True):
    selection: SignedBytes


class Award(Struct, frozen=True):
    selection: SignedBytes
    holder_key: PublicKey


class NotSelected(Struct, frozen=True):
    pass


class Voucher(Struct, frozen=True):
    presentable: SignedBytes


class VoucherRejected(Struct, frozen=True):
    reason: Name


class Started(Struct, frozen=True):
    start_receipt: SignedBytes
    grant: SignedBytes


class Reading(Struct, frozen=True):
    readings: Annotated[tuple[SignedBytes, ...], Between(1, 200)]
    grant: SignedBytes


class EndRequest(Struct, frozen=True):
    end_request: SignedBytes
    end_receipt: SignedBytes | None
    grant: SignedBytes | None


class Ended(Struct, frozen=True):
    end_receipt: SignedBytes
    grant: SignedBytes


class ConfirmEnd(Struct, frozen=True):
    end_request: SignedBytes | None
    end_receipt: SignedBytes | None
    confirm_until_time: Instant
    grant: SignedBytes | None
    requester_key: PublicKey | None = None


class EndConfirmed(Struct, frozen=True):
    confirmation: SignedBytes


class EndRefused(Struct, frozen=True):
    refusal: SignedBytes


class NotReturned(Struct, frozen=True):
    statement: SignedBytes


class SerialClosed(Struct, frozen=True):
    statement: SignedBytes
    grant: SignedBytes


class Amendment(Struct, frozen=True):
    amendment: SignedBytes


class AmendmentAnswer(Struct, frozen=True):
    answer: SignedBytes


class SettlementRequest(Struct, frozen=True):
    settlement_request: SignedBytes


class SettlementConfirmed(Struct, frozen=True):
    answer: SignedBytes


class SettlementRefused(Struct, frozen=True):
    answer: SignedBytes


class Cancel(Struct, frozen=True):
    reason: Name


class Dispute(Struct, frozen=True):
    charge_record_hash: Digest
    disputed_minor: Annotated[Minor, Between(1, 10**15)]
    reason: Sentence


class Ruling(Struct, frozen=True):
    ruling: SignedBytes


class OrderClosed(Struct, frozen=True):
    state: OrderState
    reason: Name


class Reopened(Struct, frozen=True):
    reason: Name


class Settled(Struct, frozen=True):
    charge_record: SignedBytes
    platform_grant: SignedBytes
    parts: Annotated[tuple[Part, ...], Between(0, 200)] = ()
    disputed_minor: Minor = Minor(0)

    def part(self, kind: PartKind) -> bytes | None:
        """Give the part of a kind that came along, if one did."""
        return next((part.signed for part in self.parts if part.kind is kind), None)


class RejectedMessage(Struct, frozen=True):
    """`Rejected` of the contract; named apart from the exception."""

    number: Annotated[Number, Between(1, 2**62)]
    reason: Name
    metadata: Mapping[str, str]


class SnapshotOrder(Struct, frozen=True):
    order_id: OrderId
    state: OrderState
    parts: Annotated[tuple[Part, ...], Between(0, 1_000)]
    demand: Demand | None = None
    created_time: Instant | None = None


class Snapshot(Struct, frozen=True):
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
