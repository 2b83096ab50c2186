"""JSON that is read strictly: every number exactly, every field known, every error with its place.

For tariffs and for the sessions that are priced by them. Numbers stay as they are written until their unit is known.
"""

import json
import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from fractions import Fraction
from typing import NoReturn, Self

from msgspec import Struct

from energyshare.errors import EnergyShareError

BYTES_MAX = 65_536
NUMBER = re.compile(r"-?[0-9]{1,24}(\.[0-9]{1,24})?([eE][+-]?[0-9]{1,2})?")
OTHER_VERSIONS = {
    **dict.fromkeys(("tax_included", "preauthorize_amount", "before_taxes", "after_taxes", "taxes"), "2.3.0"),
    **dict.fromkeys(("stop_date_time", "total_parking_time_cost", "auth_id"), "2.1.1"),
}
"""Fields that only another version of OCPI has: what has one of them means its prices otherwise."""


class TariffError(EnergyShareError):
    """A tariff, or a session to price by it, that can't be used; `path` says where."""

    hint = (
        "correct it there; the OCPI 2.2.1 tariffs module, docs/adr/0004-rating.md, 0006-service-items.md and "
        "0010-tariffs-whole.md say what can be priced"
    )

    def __init__(self, path: str, problem: str) -> None:
        super().__init__(f"{path}: {problem}" if path else problem)
        self.path = path
        self.problem = problem


def parsed(data: bytes | str, bytes_max: int = BYTES_MAX) -> object:
    """Parse JSON with every number left as text, so that none is rounded. Raises TariffError."""
    raw = data.encode("utf-8", "surrogatepass") if isinstance(data, str) else data
    if len(raw) > bytes_max:
        raise TariffError("", f"the JSON is {len(raw)} bytes long; {bytes_max} are allowed")
    try:
        return json.loads(raw.decode(), parse_float=str, parse_int=str, parse_constant=no_constant, object_pairs_hook=unique)
    except (ValueError, RecursionError) as error:
        raise TariffError("", f"this is not JSON that can be read: {error}") from None


def no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number")


def unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise ValueError("a field is there twice")
    return fields


class Node(Struct, frozen=True):
    """A place in a JSON document, with the path that errors name."""

    value: object
    path: str = ""

    def at(self, name: object) -> str:
        """Give the path of a field."""
        return f"{self.path}.{name}" if self.path else str(name)

    def bad(self, problem: str) -> TariffError:
        """Make the error that says what is wrong here."""
        return TariffError(self.path, problem)

    def fields(self) -> Mapping[str, object]:
        """Take an object's fields."""
        if not isinstance(self.value, Mapping):
            raise self.bad("must be an object")
        return self.value

    def only(self, *names: str) -> Self:
        """Refuse fields other than these."""
        for name in self.fields():
            if name not in names:
                raise TariffError(self.at(ascii(name)[1:-1][:40]), not_a_field(name))
        return self

    def get(self, name: str) -> "Node | None":
        """Give a field; null counts as absent."""
        value = self.fields().get(name)
        return None if value is None else Node(value, self.at(name))

    def need(self, name: str) -> "Node":
        """Give a field that must be there."""
        node = self.get(name)
        if node is None:
            raise TariffError(self.at(name), "is missing")
        return node

    def items(self, most: int, least: int = 1) -> "list[Node]":
        """Take a list of that many items."""
        if not isinstance(self.value, Sequence) or isinstance(self.value, str | bytes):
            raise self.bad("must be a list")
        if not least <= len(self.value) <= most:
            raise self.bad(f"has {len(self.value)} items; it takes {least} to {most}")
        return [Node(value, f"{self.path}[{index}]") for index, value in enumerate(self.value)]

    def text(self, pattern: re.Pattern[str], problem: str) -> str:
        """Take a text of that form."""
        if not isinstance(self.value, str) or not pattern.fullmatch(self.value):
            raise self.bad(problem)
        return self.value

    def number(self) -> Fraction:
        """Take a number exactly as it is written."""
        if isinstance(self.value, bool) or not isinstance(self.value, int | float | Decimal | str):
            raise self.bad("must be a number")
        if isinstance(self.value, int) and abs(self.value) > 10**24:
            raise self.bad("is too large")
        if not NUMBER.fullmatch(str(self.value)):
            raise self.bad("must be a number of at most 24 digits on each side of the point")
        return Fraction(str(self.value))

    def scaled(self, digits: int, most: int, least: int = 0) -> int:
        """Take a number with that many decimals as an integer, between the bounds."""
        scale: int = 10**digits
        scaled = self.number() * scale
        if scaled.denominator != 1:
            raise self.bad(f"has more than {digits} decimals" if digits else "must be a whole number")
        if not least <= scaled <= most:
            raise self.bad(f"must be {least} at least" if scaled < least else "is too large")
        return scaled.numerator


def not_a_field(name: str) -> str:
    """Say what is wrong with a field that is not known."""
    version = OTHER_VERSIONS.get(name)
    return f"is a field of OCPI {version}; only 2.2.1 is priced" if version else "is not a field of OCPI 2.2.1"
