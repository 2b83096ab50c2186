"""The bodies that are signed, as values.

Names and fields are those of proto/energyshare/v1, where units, ranges and optionality are said; a test holds the two
together. A body's `label` is the context of its signature. A field typed `bytes` named after a body holds a serialized
`Signed` of it. A body never gains a field: a new version is a new body with a new label.
"""

from dataclasses import dataclass
from typing import Annotated, ClassVar, Generic, Protocol, TypeVar

from energyshare.signing import Label
from energyshare.values import (
    DAY_S,
    WINDOW_S_MAX,
    AssetId,
    AssetState,
    ChargeBasis,
    ClockQuality,
    Connector,
    Currency,
    DeviceId,
    DeviceState,
    Digest,
    Dimension,
    DurationS,
    EndCause,
    EnergyWh,
    Epoch,
    Incarnation,
    Instant,
    Kind,
    Minor,
    Nonce,
    Number,
    OrderId,
    PartKind,
    Percent,
    Place,
    PowerW,
    ProviderId,
    PublicKey,
    Role,
    Serial,
    SubjectId,
    UnixS,
)


@dataclass(frozen=True, slots=True)
class Between:
    """Bounds of a number, of a text's length, or of how many there are; both included."""

    least: int
    most: int


Name = Annotated[str, Between(1, 64)]
Sentence = Annotated[str, Between(1, 500)]
CurrencyCode = Annotated[Currency, Between(3, 3)]
SignedBytes = Annotated[bytes, Between(1, 100_000)]
TariffBytes = Annotated[bytes, Between(2, 65_536)]
CapWh = Annotated[EnergyWh, Between(1, 10**9)]
CapS = Annotated[DurationS, Between(1, WINDOW_S_MAX)]
DepositMinor = Annotated[Minor, Between(0, 10**12)]
FromOne = Annotated[Number, Between(1, 2**62)]


class Body(Protocol):
    """Something that can be signed."""

    label: ClassVar[Label]


BodyT = TypeVar("BodyT", covariant=True)


@dataclass(frozen=True, slots=True)
class Verified(Generic[BodyT]):
    """A body whose signature was checked.

    `signed` is the serialized Signed as it came, `digest` the hash of its label and payload, `key` the key that signed.
    """

    body: BodyT
    signed: bytes
    digest: Digest
    key: PublicKey


@dataclass(frozen=True, slots=True)
class GrantBody:
    label: ClassVar[Label] = Label.GRANT
    subject_id: SubjectId
    role: Role
    public_key: PublicKey
    not_before_unix_s: UnixS
    not_after_unix_s: UnixS
    owner_id: ProviderId | None


@dataclass(frozen=True, slots=True)
class VoucherBody:
    label: ClassVar[Label] = Label.VOUCHER
    order_id: OrderId
    device_id: DeviceId
    holder_key: PublicKey
    energy_wh_max: CapWh
    duration_s_max: CapS
    not_before_unix_s: UnixS
    window_s: Annotated[DurationS, Between(1, WINDOW_S_MAX)]
    serial: Serial
    epoch: Epoch
    tariff_hash: Digest

    @property
    def not_after_unix_s(self) -> UnixS:
        """Last second at which it starts anything."""
        return UnixS(self.not_before_unix_s + self.window_s)


@dataclass(frozen=True, slots=True)
class Asset:
    asset_id: AssetId
    device_id: DeviceId
    station: Name
    name: Name
    kind: Kind
    place: Place
    connector: Connector
    power_w: PowerW
    capacity_wh: Annotated[EnergyWh, Between(0, 10**9)]
    soc_pct: Percent | None
    soh_pct: Percent | None
    time_zone: Name
    state: AssetState
    version: Number
    tariff_hash: Digest
    deposit_minor: DepositMinor


@dataclass(frozen=True, slots=True)
class BillLine:
    dimension: Dimension
    volume: Name
    billed_volume: Name
    price: Name
    vat: Name
    excl_vat_minor: Name
    item: Annotated[str, Between(0, 64)] = ""


@dataclass(frozen=True, slots=True)
class ServiceItem:
    name: Name
    quantity: Annotated[int, Between(1, 10_000)]


@dataclass(frozen=True, slots=True)
class Part:
    """One signed part of an order's evidence, as it came."""

    kind: PartKind
    signed: SignedBytes


@dataclass(frozen=True, slots=True)
class OfferBody:
    label: ClassVar[Label] = Label.OFFER
    order_id: OrderId
    provider_id: ProviderId
    asset: Asset
    tariff: TariffBytes
    currency: CurrencyCode
    energy_wh_max: CapWh
    duration_s_max: CapS
    return_grace_s: Annotated[DurationS, Between(0, 30 * DAY_S)]
    estimate: Annotated[tuple[BillLine, ...], Between(0, 100)]
    estimate_excl_vat_minor: Minor
    estimate_incl_vat_minor: Minor
    voucher_not_after_time: Instant
    expiry_time: Instant
    items: Annotated[tuple[ServiceItem, ...], Between(0, 50)] = ()


@dataclass(frozen=True, slots=True)
class SelectionBody:
    label: ClassVar[Label] = Label.SELECTION
    order_id: OrderId
    offer_hash: Digest
    hold_minor: Minor
    currency: CurrencyCode
    selected_time: Instant


@dataclass(frozen=True, slots=True)
class ChallengeBody:
    label: ClassVar[Label] = Label.CHALLENGE
    device_id: DeviceId
    nonce: Nonce
    clock_time: Instant
    clock_quality: ClockQuality
    epoch: Epoch
    state: DeviceState


@dataclass(frozen=True, slots=True)
class PresentationBody:
    label: ClassVar[Label] = Label.PRESENTATION
    voucher_hash: Digest
    device_id: DeviceId
    nonce: Nonce


@dataclass(frozen=True, slots=True)
class StartReceiptBody:
    label: ClassVar[Label] = Label.START_RECEIPT
    device_id: DeviceId
    order_id: OrderId
    serial: Serial
    epoch: Epoch
    receipt_number: FromOne
    challenge: SignedBytes
    presentation: SignedBytes
    start_time: Instant
    clock_quality: ClockQuality
    register_wh: EnergyWh
    soc_pct: Percent | None
    soh_pct: Percent | None


@dataclass(frozen=True, slots=True)
class ReadingBody:
    label: ClassVar[Label] = Label.READING
    device_id: DeviceId
    order_id: OrderId
    number: FromOne
    previous_hash: Digest
    reading_time: Instant
    clock_quality: ClockQuality
    elapsed_s: DurationS
    register_wh: EnergyWh
    supplying: bool
    soc_pct: Percent | None


@dataclass(frozen=True, slots=True)
class ReleaseBody:
    label: ClassVar[Label] = Label.RELEASE
    device_id: DeviceId
    nonce: Nonce
    order_id: OrderId


@dataclass(frozen=True, slots=True)
class EndReceiptBody:
    label: ClassVar[Label] = Label.END_RECEIPT
    device_id: DeviceId
    order_id: OrderId
    receipt_number: FromOne
    start_receipt: SignedBytes
    release: SignedBytes | None
    cause: EndCause
    end_time: Instant
    clock_quality: ClockQuality
    elapsed_s: DurationS
    register_wh: EnergyWh
    readings_count: Number
    readings_head: Digest
    soc_pct: Percent | None
    soh_pct: Percent | None


@dataclass(frozen=True, slots=True)
class SerialClosedBody:
    label: ClassVar[Label] = Label.SERIAL_CLOSED
    device_id: DeviceId
    order_id: OrderId
    serial: Serial
    epoch: Epoch
    receipt_number: FromOne
    closed_time: Instant


@dataclass(frozen=True, slots=True)
class TimeStatementBody:
    label: ClassVar[Label] = Label.TIME_STATEMENT
    device_id: DeviceId
    nonce: Nonce
    platform_time: Instant


@dataclass(frozen=True, slots=True)
class EndRequestBody:
    label: ClassVar[Label] = Label.END_REQUEST
    order_id: OrderId
    end_receipt_hash: Digest | None
    requested_time: Instant


@dataclass(frozen=True, slots=True)
class EndConfirmationBody:
    label: ClassVar[Label] = Label.END_CONFIRMATION
    order_id: OrderId
    end_receipt_hash: Digest | None
    total_minor_max: Minor | None


@dataclass(frozen=True, slots=True)
class EndRefusalBody:
    label: ClassVar[Label] = Label.END_REFUSAL
    order_id: OrderId
    end_receipt_hash: Digest | None
    claimed_minor: Annotated[Minor, Between(1, 10**12)]
    reason: Sentence


@dataclass(frozen=True, slots=True)
class NotReturnedBody:
    label: ClassVar[Label] = Label.NOT_RETURNED
    order_id: OrderId
    stated_time: Instant


@dataclass(frozen=True, slots=True)
class AmendmentBody:
    label: ClassVar[Label] = Label.AMENDMENT
    order_id: OrderId
    number: FromOne
    items: Annotated[tuple[ServiceItem, ...], Between(0, 50)]
    duration_s: DurationS
    hold_minor: Minor


@dataclass(frozen=True, slots=True)
class AmendmentAnswerBody:
    label: ClassVar[Label] = Label.AMENDMENT_ANSWER
    order_id: OrderId
    amendment_hash: Digest
    approved: bool


@dataclass(frozen=True, slots=True)
class SettlementRequestBody:
    label: ClassVar[Label] = Label.SETTLEMENT_REQUEST
    order_id: OrderId
    items: Annotated[tuple[ServiceItem, ...], Between(0, 100)]
    duration_s: DurationS
    total_minor: Minor


@dataclass(frozen=True, slots=True)
class SettlementAnswerBody:
    label: ClassVar[Label] = Label.SETTLEMENT_ANSWER
    order_id: OrderId
    settlement_request_hash: Digest
    disputed_minor: Minor


@dataclass(frozen=True, slots=True)
class PartHash:
    kind: PartKind
    hash: Digest


@dataclass(frozen=True, slots=True)
class ChargeRecordBody:
    label: ClassVar[Label] = Label.CHARGE_RECORD
    order_id: OrderId
    kind: Kind
    provider_id: ProviderId
    currency: CurrencyCode
    basis: ChargeBasis
    parts: Annotated[tuple[PartHash, ...], Between(1, 200)]
    start_time: Instant
    duration_s: DurationS
    energy_wh: EnergyWh
    lines: Annotated[tuple[BillLine, ...], Between(0, 500)]
    excl_vat_minor: Minor
    incl_vat_minor: Minor
    deposit_claimed_minor: Minor
    hold_minor: Minor
    settled_time: Instant
    corrects_hash: Digest | None


@dataclass(frozen=True, slots=True)
class SilenceDecisionBody:
    label: ClassVar[Label] = Label.SILENCE_DECISION
    order_id: OrderId
    waited_for: Name
    due_time: Instant
    decided_time: Instant


@dataclass(frozen=True, slots=True)
class RulingBody:
    label: ClassVar[Label] = Label.RULING
    order_id: OrderId
    charged_minor: Minor
    reason: Sentence
    ruled_time: Instant


@dataclass(frozen=True, slots=True)
class RevocationBody:
    label: ClassVar[Label] = Label.REVOCATION
    grant_hash: Digest
    revoked_time: Instant


@dataclass(frozen=True, slots=True)
class LedgerHead:
    """The last batch of one chain of the ledger; `hash` covers all batches before it."""

    chain_id: Incarnation
    number: FromOne
    hash: Digest
    last_row: Number


@dataclass(frozen=True, slots=True)
class CheckpointBody:
    label: ClassVar[Label] = Label.CHECKPOINT
    checkpoint_time: Instant
    heads: Annotated[tuple[LedgerHead, ...], Between(0, 1_000)]
    transfers: Number
    charge_records: Number


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A checkpoint as its file holds it: two serialized Signed, of a CheckpointBody and of the grant of its key."""

    checkpoint: SignedBytes
    grant: SignedBytes


@dataclass(frozen=True, slots=True)
class EnrollmentProofBody:
    label: ClassVar[Label] = Label.ENROLLMENT_PROOF
    token_hash: Digest | None
    certificate_request: Annotated[bytes, Between(1, 4_096)]
    proof_time: Instant


@dataclass(frozen=True, slots=True)
class OpenedVoucher:
    """A voucher with the grant of the issuing key that signed it."""

    voucher: Verified[VoucherBody]
    grant: Verified[GrantBody]


@dataclass(frozen=True, slots=True)
class OpenedStart:
    """A start receipt whose challenge is the device's and whose presentation is the holder's."""

    receipt: Verified[StartReceiptBody]
    voucher_hash: Digest


@dataclass(frozen=True, slots=True)
class OpenedEnd:
    """An end receipt with the start receipt that it repeats; a release in it is the holder's or the owner's."""

    receipt: Verified[EndReceiptBody]
    start: OpenedStart
