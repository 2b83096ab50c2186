"""The bodies that are signed, as values.

Names and fields are those of proto/energyshare/v1, where units, ranges and optionality are said; a test holds the two
together. A body's `label` is the context of its signature. A field typed `bytes` named after a body holds a serialized
`Signed` of it. A body never gains a field: a new version is a new body with a new label.
"""

from typing import Annotated, ClassVar, Generic, Protocol, TypeVar

from msgspec import Struct

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


class Between(Struct, frozen=True):
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


class Verified(Struct, Generic[BodyT], frozen=True):
    """A body whose signature was checked.

    `signed` is the serialized Signed as it came, `digest` the hash of its label and payload, `key` the key that signed.
    """

    body: BodyT
    signed: bytes
    digest: Digest
    key: PublicKey


class GrantBody(Struct, frozen=True):
    label: ClassVar[Label] = Label.GRANT
    subject_id: SubjectId
    role: Role
    public_key: PublicKey
    not_before_unix_s: UnixS
    not_after_unix_s: UnixS
    owner_id: ProviderId | None


class VoucherBody(Struct, frozen=True):
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


class Asset(Struct, frozen=True):
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


class BillLine(Struct, frozen=True):
    dimension: Dimension
    volume: Name
    billed_volume: Name
    price: Name
    vat: Name
    excl_vat_minor: Name
    item: Annotated[str, Between(0, 64)] = ""


class ServiceItem(Struct, frozen=True):
    name: Name
    quantity: Annotated[int, Between(1, 10_000)]


class Part(Struct, frozen=True):
    """One signed part of an order's evidence, as it came."""

    kind: PartKind
    signed: SignedBytes


class OfferBody(Struct, frozen=True):
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


class SelectionBody(Struct, frozen=True):
    label: ClassVar[Label] = Label.SELECTION
    order_id: OrderId
    offer_hash: Digest
    hold_minor: Minor
    currency: CurrencyCode
    selected_time: Instant


class ChallengeBody(Struct, frozen=True):
    label: ClassVar[Label] = Label.CHALLENGE
    device_id: DeviceId
    nonce: Nonce
    clock_time: Instant
    clock_quality: ClockQuality
    epoch: Epoch
    state: DeviceState


class PresentationBody(Struct, frozen=True):
    label: ClassVar[Label] = Label.PRESENTATION
    voucher_hash: Digest
    device_id: DeviceId
    nonce: Nonce


class StartReceiptBody(Struct, frozen=True):
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


class ReadingBody(Struct, frozen=True):
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


class ReleaseBody(Struct, frozen=True):
    label: ClassVar[Label] = Label.RELEASE
    device_id: DeviceId
    nonce: Nonce
    order_id: OrderId


class EndReceiptBody(Struct, frozen=True):
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


class SerialClosedBody(Struct, frozen=True):
    label: ClassVar[Label] = Label.SERIAL_CLOSED
    device_id: DeviceId
    order_id: OrderId
    serial: Serial
    epoch: Epoch
    receipt_number: FromOne
    closed_time: Instant


class TimeStatementBody(Struct, frozen=True):
    label: ClassVar[Label] = Label.TIME_STATEMENT
    device_id: DeviceId
    nonce: Nonce
    platform_time: Instant


class EndRequestBody(Struct, frozen=True):
    label: ClassVar[Label] = Label.END_REQUEST
    order_id: OrderId
    end_receipt_hash: Digest | None
    requested_time: Instant


class EndConfirmationBody(Struct, frozen=True):
    label: ClassVar[Label] = Label.END_CONFIRMATION
    order_id: OrderId
    end_receipt_hash: Digest | None
    total_minor_max: Minor | None


class EndRefusalBody(Struct, frozen=True):
    label: ClassVar[Label] = Label.END_REFUSAL
    order_id: OrderId
    end_receipt_hash: Digest | None
    claimed_minor: Annotated[Minor, Between(1, 10**12)]
    reason: Sentence


class NotReturnedBody(Struct, frozen=True):
    label: ClassVar[Label] = Label.NOT_RETURNED
    order_id: OrderId
    stated_time: Instant


class AmendmentBody(Struct, frozen=True):
    label: ClassVar[Label] = Label.AMENDMENT
    order_id: OrderId
    number: FromOne
    items: Annotated[tuple[ServiceItem, ...], Between(0, 50)]
    duration_s: DurationS
    hold_minor: Minor


class AmendmentAnswerBody(Struct, frozen=True):
    label: ClassVar[Label] = Label.AMENDMENT_ANSWER
    order_id: OrderId
    amendment_hash: Digest
    approved: bool


class SettlementRequestBody(Struct, frozen=True):
    label: ClassVar[Label] = Label.SETTLEMENT_REQUEST
    order_id: OrderId
    items: Annotated[tuple[ServiceItem, ...], Between(0, 100)]
    duration_s: DurationS
    total_minor: Minor


class SettlementAnswerBody(Struct, frozen=True):
    label: ClassVar[Label] = Label.SETTLEMENT_ANSWER
    order_id: OrderId
    settlement_request_hash: Digest
    disputed_minor: Minor


class PartHash(Struct, frozen=True):
    kind: PartKind
    hash: Digest


class ChargeRecordBody(Struct, frozen=True):
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


class SilenceDecisionBody(Struct, frozen=True):
    label: ClassVar[Label] = Label.SILENCE_DECISION
    order_id: OrderId
    waited_for: Name
    due_time: Instant
    decided_time: Instant


class RulingBody(Struct, frozen=True):
    label: ClassVar[Label] = Label.RULING
    order_id: OrderId
    charged_minor: Minor
    reason: Sentence
    ruled_time: Instant


class RevocationBody(Struct, frozen=True):
    label: ClassVar[Label] = Label.REVOCATION
    grant_hash: Digest
    revoked_time: Instant


class LedgerHead(Struct, frozen=True):
    """The last batch of one chain of the ledger; `hash` covers all batches before it."""

    chain_id: Incarnation
    number: FromOne
    hash: Digest
    last_row: Number


class CheckpointBody(Struct, frozen=True):
    label: ClassVar[Label] = Label.CHECKPOINT
    checkpoint_time: Instant
    heads: Annotated[tuple[LedgerHead, ...], Between(0, 1_000)]
    transfers: Number
    charge_records: Number


class Checkpoint(Struct, frozen=True):
    """A checkpoint as its file holds it: two serialized Signed, of a CheckpointBody and of the grant of its key."""

    checkpoint: SignedBytes
    grant: SignedBytes


class EnrollmentProofBody(Struct, frozen=True):
    label: ClassVar[Label] = Label.ENROLLMENT_PROOF
    token_hash: Digest | None
    certificate_request: Annotated[bytes, Between(1, 4_096)]
    proof_time: Instant


class OpenedVoucher(Struct, frozen=True):
    """A voucher with the grant of the issuing key that signed it."""

    voucher: Verified[VoucherBody]
    grant: Verified[GrantBody]


class OpenedStart(Struct, frozen=True):
    """A start receipt whose challenge is the device's and whose presentation is the holder's."""

    receipt: Verified[StartReceiptBody]
    voucher_hash: Digest


class OpenedEnd(Struct, frozen=True):
    """An end receipt with the start receipt that it repeats; a release in it is the holder's or the owner's."""

    receipt: Verified[EndReceiptBody]
    start: OpenedStart
