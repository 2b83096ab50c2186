"""What an OCMF record is refused for, and its JSON read strictly.

Numbers are exact, types are those of the format, no field is there twice, and every error has its place.
"""

import json
from collections.abc import Mapping, Sequence
from decimal import Decimal
from enum import StrEnum

from msgspec import Struct

from energyshare.errors import EnergyShareError
from energyshare.tariff_json import NUMBER, no_constant, unique

VALUE_MAX = Decimal(10**12)  # as EnergyWh; in kWh it is more than any meter counts
DECIMALS_MAX = 12  # with VALUE_MAX, sums and thousandfolds stay within the 28 digits that Decimal keeps


class Fault(StrEnum):
    """Why a record does not hold."""

    FORMAT = "FORMAT"
    VALUE = "VALUE"
    ALGORITHM = "ALGORITHM"
    KEY = "KEY"
    SIGNATURE = "SIGNATURE"
    STATUS = "STATUS"
    ERROR_FLAGS = "ERROR_FLAGS"
    TRANSACTION = "TRANSACTION"
    VALUE_FALLS = "VALUE_FALLS"
    TIME_FALLS = "TIME_FALLS"
    PAGINATION = "PAGINATION"
    SOURCE = "SOURCE"


ASK = "ask whoever made the record for the original"
HINTS: Mapping[Fault, str] = {
    Fault.FORMAT: ASK,
    Fault.VALUE: ASK,
    Fault.ALGORITHM: "docs/ocmf.md lists the curves that can be checked",
    Fault.KEY: "give the meter's public key with --key FILE: PEM, DER, hex or base64",
    Fault.SIGNATURE: "it was altered or made with another key; " + ASK,
    Fault.STATUS: "the meter says itself that this value is not to be billed",
    Fault.ERROR_FLAGS: "the meter says itself what is not to be billed",
    Fault.TRANSACTION: "do not bill from it; " + ASK,
    Fault.VALUE_FALLS: "do not bill from it; have the meter looked at",
    Fault.TIME_FALLS: "do not bill from it; have the meter's clock looked at",
    Fault.PAGINATION: "give all records of the transaction, each once, in their order",
    Fault.SOURCE: "give the records of one meter only",
}


class OcmfError(EnergyShareError):
    """A record that does not hold; `place` says which record, `path` which field of it."""

    def __init__(self, fault: Fault, path: str, problem: str, place: str = "") -> None:
        super().__init__(f"{': '.join(part for part in (place, path, problem) if part)} [{fault}]")
        self.fault = fault
        self.path = path
        self.problem = problem
        self.place = place

    @property
    def hint(self) -> str:
        """What to do about it."""
        return HINTS[self.fault]

    def at(self, place: str) -> "OcmfError":
        """Give the same error with the place that its own lies in."""
        return OcmfError(self.fault, self.path, self.problem, f"{place}: {self.place}" if self.place else place)


class Numeral(Struct, frozen=True):
    """A JSON number as it is written."""

    written: str


class Fields(Struct, frozen=True):
    """An object of a record, with the path that errors name. All its readers raise OcmfError."""

    values: Mapping[str, object]
    path: str = ""

    def at(self, name: str) -> str:
        """Give the path of a field."""
        shown = ascii(name)[1:-1][:40]
        return f"{self.path}.{shown}" if self.path else shown

    def bad(self, name: str, problem: str, fault: Fault = Fault.FORMAT) -> OcmfError:
        """Make the error that says what is wrong with a field."""
        return OcmfError(fault, self.at(name), problem)

    def has(self, name: str) -> bool:
        """Say whether a field is there."""
        return name in self.values

    def text(self, name: str, most: int) -> str | None:
        """Take a text of at most that many printable characters, if it is there."""
        if name not in self.values:
            return None
        value = self.values[name]
        if not isinstance(value, str) or len(value) > most or not value.isprintable():
            raise self.bad(name, f"must be a text of at most {most} printable characters")
        return value

    def needed(self, name: str, value: str | None) -> str:
        """Take what was read of a field that must be there."""
        if value is None:
            raise self.bad(name, "is missing")
        return value

    def one_of(self, name: str, known: Sequence[str]) -> str | None:
        """Take one of the texts that are known, if it is there."""
        value = self.text(name, 100)
        if value is not None and value not in known:
            raise self.bad(name, f"must be one of {', '.join(known)}")
        return value

    def flag(self, name: str) -> bool | None:
        """Take true or false, if it is there."""
        value = self.values.get(name)
        if name in self.values and not isinstance(value, bool):
            raise self.bad(name, "must be true or false")
        return bool(value) if name in self.values else None

    def number(self, name: str, *, also_text: bool = False) -> Decimal | None:
        """Take a number from 0 to VALUE_MAX exactly as it is written, if it is there; a text of digits only where allowed."""
        if name not in self.values:
            return None
        value = self.values[name]
        if also_text and isinstance(value, str):
            value = Numeral(value.strip(" "))
        if not isinstance(value, Numeral) or not NUMBER.fullmatch(value.written):
            raise self.bad(name, "must be a number of at most 24 digits on each side of the point")
        number = Decimal(value.written)
        if number.is_signed():
            raise self.bad(name, "is below zero", Fault.VALUE)
        if number > VALUE_MAX:
            raise self.bad(name, "is larger than any meter counts", Fault.VALUE)
        if number != round(number, DECIMALS_MAX):
            raise self.bad(name, f"has more than {DECIMALS_MAX} decimals", Fault.VALUE)
        return number

    def texts(self, name: str, most: int) -> tuple[str, ...]:
        """Take a list of at most that many texts; none if it is not there."""
        listed = Fields({f"{name}[{i}]": value for i, value in enumerate(self._items(name, most))}, self.path)
        return tuple(listed.text(place, 40) or "" for place in listed.values)

    def objects(self, name: str, most: int) -> "list[Fields]":
        """Take a list of one to that many objects."""
        items = self._items(name, most)
        if not items:
            raise self.bad(name, "is missing or empty")
        return [fields_of(item, f"{self.at(name)}[{i}]") for i, item in enumerate(items)]

    def inner(self, name: str) -> "Fields":
        """Take an object."""
        return fields_of(self.values.get(name), self.at(name))

    def _items(self, name: str, most: int) -> Sequence[object]:
        items = self.values.get(name, ())
        if not isinstance(items, Sequence) or isinstance(items, str):
            raise self.bad(name, "must be a list")
        if len(items) > most:
            raise self.bad(name, f"has {len(items)} items; at most {most} are read")
        return items


def fields_of(value: object, path: str) -> Fields:
    """Take an object; raises OcmfError."""
    if not isinstance(value, Mapping):
        raise OcmfError(Fault.FORMAT, path, "must be an object")
    return Fields(value, path)


def parsed_section(text: str, name: str) -> Mapping[str, object]:
    """Parse the JSON object that a section is; raises OcmfError."""
    try:
        value = json.loads(text, parse_float=Numeral, parse_int=Numeral, parse_constant=no_constant, object_pairs_hook=unique)
    except (ValueError, RecursionError) as error:
        raise OcmfError(Fault.FORMAT, name, f"is not JSON that can be read: {error}") from None
    return fields_of(value, name).values
