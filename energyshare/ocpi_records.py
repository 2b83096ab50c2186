"""Whole OCPI charge detail records, priced again by the tariffs in them and held against what they state.

A record holds all that its price follows from but the time zone of its place. Ours tell it in their remark; for those of others
it has to be given. A credit is passed over: it repeats the record that it takes back.
Source: OCPI 2.2.1-bugfixes, mod_cdrs, CDR.
"""

import re
from collections.abc import Iterator, Mapping
from decimal import Decimal
from fractions import Fraction

from energyshare.ocpi import price_case
from energyshare.tariff_json import Node, TariffError, parsed
from energyshare.values import MINOR_MAX

FILE_BYTES_MAX = 2**28
ZONE_WORDS = "times of day in the tariff are those of "
ZONE_TOLD = re.compile(re.escape(ZONE_WORDS) + r"([A-Za-z0-9_+/-]{1,64})(?:;|$)")
NOT_OF_A_SESSION = ("tariffs", "credit", "credit_reference_id")
Answer = dict[str, object]


def records_of(data: bytes) -> list[object]:
    """Read a record, a list of them, an answer with `data`, or one a line; raises TariffError for anything else."""
    try:
        found = parsed(data, FILE_BYTES_MAX)
    except TariffError:
        lines = [line for line in data.splitlines() if line.strip()]
        if len(lines) < 2:
            raise
        return [parsed(line, FILE_BYTES_MAX) for line in lines]
    if isinstance(found, Mapping) and "data" in found:
        found = found["data"]
    return found if isinstance(found, list) else [found]


def price_records(records: list[object], time_zone: str | None) -> Iterator[Answer]:
    """Price each record; a bad one gives its id, if it has one, and the error."""
    for record in records:
        try:
            yield price_record(record, time_zone)
        except TariffError as error:
            yield {"id": record.get("id") if isinstance(record, Mapping) else None, "error": str(error)}


def price_record(record: object, time_zone: str | None) -> Answer:
    """Price one record: what it comes to, what it states, and whether the two agree; amounts are texts.

    Raises: TariffError.
    """
    node = Node(record)
    fields = node.fields()
    if "charging_periods" not in fields or "total_cost" not in fields:
        raise TariffError("", "is no charge detail record: it has no charging_periods and total_cost")
    if fields.get("credit") is True:
        return {"id": fields.get("id"), "credit_reference_id": fields.get("credit_reference_id")}
    session = {name: value for name, value in fields.items() if name not in NOT_OF_A_SESSION}
    session.setdefault("time_zone", time_zone or _zone_told(fields))
    priced = price_case({"id": fields.get("id"), "tariffs": fields.get("tariffs") or [], "session": session})
    stated = node.need("total_cost").only("excl_vat", "incl_vat")
    amounts = {"excl_vat": stated.need("excl_vat"), "incl_vat": stated.get("incl_vat")}
    told = {name: _amount(amount) for name, amount in amounts.items() if amount is not None}
    agrees = all(amount == Fraction(str(priced[name])) for name, amount in told.items())
    texts = {f"stated_{name}": _text(amount, str(priced[name])) for name, amount in told.items()}
    return priced | texts | {"agrees": agrees}


def _zone_told(record: Mapping[str, object]) -> str:
    told = ZONE_TOLD.search(str(record.get("remark", "")))
    if told is None:
        raise TariffError("cdr_location", "tells no time zone; give that of the place with --time-zone")
    return told[1]


def _amount(node: Node) -> Fraction:
    amount = node.number()
    if abs(amount) > MINOR_MAX:
        raise node.bad("is too large")
    return amount


def _text(amount: Fraction, like: str) -> str:
    """Write an amount with all its decimals, at least as many as another has."""
    exact = Decimal(amount.numerator) / Decimal(amount.denominator)
    rounded = exact.quantize(Decimal(like))
    return str(rounded if rounded == exact else exact)
