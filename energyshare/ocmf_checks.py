"""Whether OCMF records make sense together: pages that follow, values that never fall, transactions that begin and end.

Signatures are checked before. Records are taken in the order in which they were signed, each by `Chain.follow`; a transaction
may lie in one record or in several. Each register, by its OBIS code, has its own beginning and end.
Source: OCMF 1.4, signing and verification process; tables 2, 7 and 10.
"""

from collections.abc import Mapping
from decimal import Decimal

from msgspec import Struct

from energyshare.ocmf import Record
from energyshare.ocmf_fields import Fault, OcmfError
from energyshare.ocmf_readings import BEGIN, ENDS, EXCEPTION, GOOD, WH_OF, Page, Reading, TimeQuality
from energyshare.records import replace


class Delivered(Struct, frozen=True):
    """What a register counted from a transaction's beginning to its end, on these pages."""

    source: tuple[str, ...]
    first: Page
    last: Page
    obis: str
    unit: str
    amount: Decimal
    begin: Reading
    end: Reading


class Register(Struct, frozen=True):
    """A register in a transaction: its last reading, and where it begins in what is known."""

    first: Page
    begin: Reading
    last: Reading


def require_usable(record: Record) -> None:
    """Raise OcmfError{STATUS} or {ERROR_FLAGS} when the meter says that a reading is not to be used."""
    for index, reading in enumerate(record.readings):
        if reading.status != GOOD:
            raise OcmfError(Fault.STATUS, f"RD[{index}].ST", f"the meter's state is {reading.status}, not {GOOD}")
        if reading.error_flags:
            raise OcmfError(Fault.ERROR_FLAGS, f"RD[{index}].EF", f"not usable because of an error: {reading.error_flags}")
        if reading.reason == EXCEPTION:
            raise OcmfError(Fault.ERROR_FLAGS, f"RD[{index}].TX", "not usable from here on because of an error")


class Chain:
    """Records that follow one another, and what they show to have been delivered."""

    def __init__(self) -> None:
        self.delivered: list[Delivered] = []
        self.incomplete: list[Page] = []
        """Pages of transactions whose beginning or end is not there."""
        self._pages: set[tuple[tuple[str, ...], Page]] = set()
        self._open: Record | None = None
        self._signer = ""
        self._registers: dict[str, Register] = {}

    def follow(self, record: Record, signer: str) -> None:
        """Take the next record, with what identifies the key that signed it.

        Raises: OcmfError with PAGINATION, SOURCE, TRANSACTION, VALUE, VALUE_FALLS or TIME_FALLS.
        """
        if (record.source, record.page) in self._pages:
            raise OcmfError(Fault.PAGINATION, "PG", f"page {record.page} of this source is there twice")
        self._pages.add((record.source, record.page))
        if record.page.context == "F":
            _advance({}, record)
        else:
            self._take(record, signer)

    def close(self) -> None:
        """Say that no record follows."""
        if self._open is not None:
            self.incomplete.append(self._open.page)
            self._open = None

    def _take(self, record: Record, signer: str) -> None:
        before, registers = self._open, self._registers
        if before is not None and record.readings[0].reason != BEGIN:
            self._open = None
            _require_next(before, record)
            if signer != self._signer:
                raise OcmfError(Fault.SOURCE, "", f"is signed with another key than page {before.page}")
        else:
            self.close()
            registers = {}
        self._signer, self._registers = signer, _advance(registers, record)
        if any(reading.reason in ENDS for reading in record.readings):
            self._end(record)
        else:
            self._open = record

    def _end(self, record: Record) -> None:
        self._open = None
        counted = [_delivered(record, obis, register) for obis, register in self._registers.items()]
        found = [one for one in counted if one is not None]
        self.delivered += found
        if not found:
            self.incomplete.append(record.page)


def _require_next(before: Record, record: Record) -> None:
    """Raise unless a record goes on with the transaction of the one before."""
    if record.source != before.source:
        raise OcmfError(Fault.SOURCE, "MS", f"is not the source of page {before.page}, which this would continue")
    if record.page != Page(before.page.context, before.page.number + 1):
        raise OcmfError(Fault.PAGINATION, "PG", f"page {record.page} does not follow page {before.page}")


def _advance(registers: Mapping[str, Register], record: Record) -> dict[str, Register]:
    """Give the registers after a record."""
    after = dict(registers)
    for index, reading in enumerate(record.readings):
        if reading.value is not None:
            known = after.get(reading.obis)
            if known is not None:
                _require_later(known.last, reading, f"RD[{index}]")
            after[reading.obis] = replace(known, last=reading) if known else Register(record.page, reading, reading)
    return after


def _require_later(before: Reading, after: Reading, path: str) -> None:
    """Raise unless one reading of a register can follow another."""
    if after.reason == BEGIN:
        raise OcmfError(Fault.TRANSACTION, f"{path}.TX", "begins what has begun already")
    if before.reason in ENDS:
        raise OcmfError(Fault.TRANSACTION, f"{path}.TX", "goes on after the end")
    if after.unit != before.unit and not {after.unit, before.unit} <= WH_OF.keys():
        raise OcmfError(Fault.VALUE, f"{path}.RU", f"is {after.unit}; the reading before is in {before.unit}")
    if _falls(before, after):
        raise OcmfError(Fault.VALUE_FALLS, f"{path}.RV", f"{_shown(after)} is less than {_shown(before)} before it")
    if TimeQuality.UNKNOWN not in (before.quality, after.quality) and after.time < before.time:
        raise OcmfError(Fault.TIME_FALLS, f"{path}.TM", "is before the reading before it")


def _falls(before: Reading, after: Reading) -> bool:
    """Say whether an energy falls; other quantities may."""
    return before.energy_wh is not None and after.energy_wh is not None and after.energy_wh < before.energy_wh


def _shown(reading: Reading) -> str:
    return f"{reading.value} {reading.unit}"


def _delivered(record: Record, obis: str, register: Register) -> Delivered | None:
    """Give what a register counted; None unless it is an energy that has its beginning and its end."""
    begin, end = register.begin, register.last
    if begin.reason != BEGIN or end.reason not in ENDS or begin.energy_wh is None or end.energy_wh is None:
        return None
    amount = (end.energy_wh - begin.energy_wh) / WH_OF[end.unit]
    return Delivered(record.source, register.first, record.page, obis, end.unit, amount, begin, end)
