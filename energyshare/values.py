"""The values that cross module borders, and their ranges.

Every quantity is an integer with its unit in the name; ids and keys are bytes of a fixed length. The ranges here are what
the wire contract states (proto/energyshare/v1); `energyshare.wire` holds every message that comes in to them.
"""

import re
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from enum import IntEnum
from typing import NewType, Self

from msgspec import Struct

OrderId = NewType("OrderId", bytes)
TerminalId = NewType("TerminalId", bytes)
AccountId = NewType("AccountId", bytes)
ProviderId = NewType("ProviderId", bytes)
DeviceId = NewType("DeviceId", bytes)
AssetId = NewType("AssetId", bytes)
SubjectId = NewType("SubjectId", bytes)
RequestId = NewType("RequestId", bytes)
Incarnation = NewType("Incarnation", bytes)
Nonce = NewType("Nonce", bytes)
PublicKey = NewType("PublicKey", bytes)
Digest = NewType("Digest", bytes)
Signature = NewType("Signature", bytes)
KeyId = NewType("KeyId", bytes)

Instant = NewType("Instant", int)
"""Unix time in microseconds."""
UnixS = NewType("UnixS", int)
"""Unix time in seconds, as vouchers and grants carry it."""
DurationS = NewType("DurationS", int)
EnergyWh = NewType("EnergyWh", int)
PowerW = NewType("PowerW", int)
Metres = NewType("Metres", int)
Percent = NewType("Percent", int)
Minor = NewType("Minor", int)
"""An amount in the minor unit of the currency that goes with it."""
Serial = NewType("Serial", int)
Epoch = NewType("Epoch", int)
Number = NewType("Number", int)
"""Counts envelopes, readings, receipts and versions."""
Currency = NewType("Currency", str)

MINOR_MAX = 10**15
DAY_S = 86_400
WINDOW_S_MAX = 7 * DAY_S

BYTE_LENGTHS: dict[object, int] = {
    **dict.fromkeys(
        (OrderId, TerminalId, AccountId, ProviderId, DeviceId, AssetId, SubjectId, RequestId, Incarnation, Nonce), 16
    ),
    PublicKey: 32,
    Digest: 32,
    Signature: 64,
    KeyId: 8,
}

RANGES: dict[object, tuple[int, int]] = {
    UnixS: (1, 2**40),
    DurationS: (0, 366 * DAY_S),
    EnergyWh: (0, 10**12),
    PowerW: (1, 10**7),
    Metres: (0, 200_000),
    Percent: (0, 100),
    Minor: (0, MINOR_MAX),
    Serial: (1, 2**62),
    Epoch: (1, 2**32 - 1),
    Number: (0, 2**62),
}


class Role(IntEnum):
    """What a granted key may sign."""

    PLATFORM = 1
    ISSUER = 2
    DEVICE = 3


class Kind(IntEnum):
    """The sort of provision."""

    BATTERY = 1
    ENERGY = 2
    SERVICE = 3


class Connector(IntEnum):
    """An outlet's plug, after OCPI's ConnectorType."""

    NONE = 1
    DOMESTIC = 2
    GBT_AC = 3
    GBT_DC = 4
    IEC_62196_T2 = 5
    IEC_62196_T2_COMBO = 6
    CHADEMO = 7


class AssetState(IntEnum):
    """What a provider says of its asset."""

    AVAILABLE = 1
    OUT_OF_SERVICE = 2
    REMOVED = 3


class OrderState(IntEnum):
    """Where an order stands (docs/order-states.md)."""

    DEMANDED = 1
    SELECTED = 2
    AUTHORIZED = 3
    ACTIVE = 4
    ENDING = 5
    SETTLED = 6
    CANCELLED = 7
    EXPIRED = 8
    DISPUTED = 9


class ClockQuality(IntEnum):
    """How far a device's time may be believed."""

    SYNCHRONIZED = 1
    RELATIVE = 2


class DeviceState(IntEnum):
    """What a device is doing."""

    FREE = 1
    IN_USE = 2


class EndCause(IntEnum):
    """Why a session ended."""

    HOLDER = 1
    OWNER = 2
    DURATION_CAP = 3


class Dimension(IntEnum):
    """What a line of a bill counts, after OCPI's TariffDimensionType."""

    ENERGY = 1
    TIME = 2
    PARKING_TIME = 3
    FLAT = 4
    ITEM = 5


class ChargeBasis(IntEnum):
    """The evidence that a bill follows from."""

    END_RECEIPT = 1
    LAST_READING = 2
    CAP = 3
    QUOTE = 4
    RULING = 5
    FLAT = 6


class PartKind(IntEnum):
    """A part of an order's evidence."""

    OFFER = 1
    SELECTION = 2
    VOUCHER = 3
    ISSUER_GRANT = 4
    DEVICE_GRANT = 5
    PLATFORM_GRANT = 6
    START_RECEIPT = 7
    READING = 8
    END_RECEIPT = 9
    END_REQUEST = 10
    END_CONFIRMATION = 11
    END_REFUSAL = 12
    SILENCE_DECISION = 13
    NOT_RETURNED = 14
    AMENDMENT = 15
    AMENDMENT_ANSWER = 16
    SETTLEMENT_REQUEST = 17
    SETTLEMENT_ANSWER = 18
    SERIAL_CLOSED = 19
    RULING = 20
    CHARGE_RECORD = 21


class Place(Struct, frozen=True):
    """A point on earth, WGS-84, in 1e-7 degrees."""

    latitude_e7: int
    longitude_e7: int

    def __post_init__(self) -> None:
        if not (abs(self.latitude_e7) <= 900_000_000 and abs(self.longitude_e7) <= 1_800_000_000):
            raise ValueError("latitude is from -90 to 90 and longitude from -180 to 180 degrees")

    @classmethod
    def of_degrees(cls, latitude: str | float, longitude: str | float) -> Self:
        """Take degrees; raises ValueError when they are no place."""
        try:
            return cls(round(Decimal(str(latitude)) * 10**7), round(Decimal(str(longitude)) * 10**7))
        except (InvalidOperation, OverflowError):
            raise ValueError(f"{latitude},{longitude} is not a place; write LAT,LON in degrees") from None


EXPONENTS = {"BHD": 3, "CLP": 0, "ISK": 0, "JOD": 3, "JPY": 0, "KRW": 0, "KWD": 3, "OMR": 3, "TND": 3, "VND": 0}
"""Digits of the minor unit where they are not 2 (ISO 4217)."""


def currency_exponent(currency: Currency) -> int:
    """Give the number of decimal digits of a currency's minor unit. Source: ISO 4217."""
    return EXPONENTS.get(currency, 2)


class Money(Struct, frozen=True):
    """An amount of one currency; adding another currency raises."""

    currency: Currency
    amount_minor: Minor

    def __add__(self, other: Self) -> Self:
        self._require_same(other)
        return type(self)(self.currency, Minor(self.amount_minor + other.amount_minor))

    def __sub__(self, other: Self) -> Self:
        self._require_same(other)
        return type(self)(self.currency, Minor(self.amount_minor - other.amount_minor))

    def __le__(self, other: Self) -> bool:
        self._require_same(other)
        return self.amount_minor <= other.amount_minor

    def __str__(self) -> str:
        digits = currency_exponent(self.currency)
        return f"{Decimal(self.amount_minor).scaleb(-digits):,.{digits}f} {self.currency}"

    @classmethod
    def parse(cls, text: str, currency: Currency) -> Self:
        """Take an amount in major units, as a person writes it; raises ValueError."""
        if re.fullmatch(r"-?[0-9]{1,18}(\.[0-9]{1,6})?", text) is None:
            raise ValueError(f"{text!r} is not an amount; write for example 25.00")
        minor = Decimal(text).scaleb(currency_exponent(currency))
        whole = int(minor)
        if minor != whole or abs(whole) > MINOR_MAX:
            raise ValueError(f"{text!r} is not an amount of {currency} that can be paid")
        return cls(currency, Minor(whole))

    def _require_same(self, other: Self) -> None:
        if self.currency != other.currency:
            raise ValueError(f"{self.currency} and {other.currency} can't be mixed")


def instant_of(time: datetime) -> Instant:
    """Turn an aware datetime into an Instant."""
    seconds = int(time.replace(microsecond=0).timestamp())
    return Instant(seconds * 1_000_000 + time.microsecond)


def datetime_of(instant: Instant) -> datetime:
    """Turn an Instant into an aware datetime, UTC."""
    seconds, micros = divmod(instant, 1_000_000)
    return datetime.fromtimestamp(seconds, UTC).replace(microsecond=micros)


def later(instant: Instant, seconds: int) -> Instant:
    """Give the instant that many seconds later; earlier when below zero."""
    return Instant(instant + seconds * 1_000_000)


def of_unix_s(seconds: UnixS) -> Instant:
    """Turn whole Unix seconds into an Instant."""
    return Instant(seconds * 1_000_000)


def unix_s(instant: Instant) -> UnixS:
    """Give the Unix second that an Instant lies in."""
    return UnixS(instant // 1_000_000)


def id_text(value: bytes) -> str:
    """Write a 16-byte id as people see it."""
    text = value.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
