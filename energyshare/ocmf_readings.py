"""The readings of an OCMF record: when a register showed what, and in which state meter and clock were.

Source: OCMF 1.4, readings; tables 2, 7, 10, 19 to 21.
"""

import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from decimal import Decimal
from enum import StrEnum

from msgspec import Struct

from energyshare.ocmf_fields import Fault, Fields
from energyshare.values import Instant, instant_of

READINGS_MAX = 10_000
GOOD = "G"
BEGIN = "B"
EXCEPTION = "X"
ENDS = ("E", "L", "R", "A", "P")
READING = ("TM", "TX", "RV", "RI", "RU", "RT", "CL", "EF", "ST")
CARRIED = ("TM", "TX", "RI", "RU", "RT", "EF", "ST")
"""Fields that stand for the one before where a reading leaves them out; a value is never carried on."""
REASONS = (BEGIN, "C", EXCEPTION, *ENDS, "S", "T")
STATES = (*"NGTDRMXIOSEF",)
WH_OF: Mapping[str, int] = {"Wh": 1, "kWh": 1_000}
FIRST, LAST = Instant(-86_400_000_000), Instant(4_102_444_800_000_000)  # unset clocks begin at 1970; to 2100

TIME = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2},[0-9]{3}[+-][0-9]{4}) ([UISR])")
OBIS = re.compile(
    r"([0-9A-Fa-f]{1,3}-[0-9A-Za-z]{1,3}:)?[0-9A-Fa-f]{1,3}\.[0-9A-Fa-f]{1,3}\.[0-9A-Za-z]{1,3}([.*][0-9A-Fa-f]{1,3})?"
)


class TimeQuality(StrEnum):
    """How far a reading's time may be believed. Source: table 19."""

    UNKNOWN = "U"
    INFORMATIVE = "I"
    SYNCHRONIZED = "S"
    RELATIVE = "R"


class Page(Struct, frozen=True):
    """The place of a record in the stream of its signer: T counts transactions' records, F those outside of any."""

    context: str
    number: int

    def __str__(self) -> str:
        return f"{self.context}{self.number}"


class Reading(Struct, frozen=True):
    """What a register showed at a moment.

    `value` is exact, in `unit`, and None where only an error is told; `reason` is TX, empty outside of transactions.
    """

    time: Instant
    quality: TimeQuality
    reason: str
    value: Decimal | None
    obis: str
    unit: str
    current: str
    loss: Decimal | None
    error_flags: str
    status: str

    @property
    def energy_wh(self) -> Decimal | None:
        """The value in Wh, where it is an energy."""
        return None if self.value is None or self.unit not in WH_OF else self.value * WH_OF[self.unit]


def readings_of(payload: Fields, page: Page) -> Iterator[Reading]:
    """Read the readings of a record; raises OcmfError."""
    before: Mapping[str, object] = {}
    for own in payload.objects("RD", READINGS_MAX):
        if own.has("RI") != own.has("RU"):
            raise own.bad("RI", "and RU must both be there or neither")
        whole = Fields({name: before[name] for name in CARRIED if name in before} | dict(own.values), own.path)
        yield _reading(whole, page)
        before = whole.values


def _reading(fields: Fields, page: Page) -> Reading:
    time, quality = _time(fields)
    reading = Reading(
        time=time,
        quality=quality,
        reason=_reason(fields, page),
        value=fields.number("RV", also_text=True),
        obis=_obis(fields),
        unit=fields.text("RU", 20) or "",
        current=fields.one_of("RT", ("AC", "DC")) or "",
        loss=fields.number("CL"),
        error_flags=fields.text("EF", 2) or "",
        status=fields.needed("ST", fields.one_of("ST", STATES)),
    )
    if set(reading.error_flags) - {"E", "t"}:
        raise fields.bad("EF", "must be of the letters E and t")
    if reading.value is None and reading.status == GOOD and not reading.error_flags and reading.reason != EXCEPTION:
        raise fields.bad("RV", "is missing, and no error says why")
    if reading.value is not None and not (reading.obis and reading.unit):
        raise fields.bad("RI", "and RU are missing: nothing says what the value is")
    return reading


def _time(fields: Fields) -> tuple[Instant, TimeQuality]:
    found = TIME.fullmatch(fields.text("TM", 40) or "")
    if found is None:
        raise fields.bad("TM", "must be a time such as 2018-07-24T13:22:04,000+0200 S")
    try:
        time = instant_of(datetime.strptime(found[1], "%Y-%m-%dT%H:%M:%S,%f%z"))
    except (ValueError, OverflowError):
        raise fields.bad("TM", "is no time that a calendar has") from None
    if not FIRST <= time <= LAST:
        raise fields.bad("TM", "is no time at which a meter was read", Fault.VALUE)
    return time, TimeQuality(found[2])


def _reason(fields: Fields, page: Page) -> str:
    reason = fields.one_of("TX", REASONS)
    if (reason is None) != (page.context == "F"):
        raise fields.bad("TX", "is missing in a transaction" if reason is None else "is outside of any transaction")
    return reason or ""


def _obis(fields: Fields) -> str:
    obis = fields.text("RI", 40)
    if obis is not None and not OBIS.fullmatch(obis):
        raise fields.bad("RI", "must be an OBIS code such as 1-b:1.8.0")
    return obis or ""
