"""A receipt in words: its lines, sums and history as text and page show them, and the text itself."""

from decimal import Decimal
from fractions import Fraction

from msgspec import Struct

from energyshare.bodies import BillLine, ChargeRecordBody
from energyshare.values import Currency, Dimension, Kind, currency_exponent, id_text
from terminals.units import duration_text, energy_text, money, plain, time_text
from terminals.user.receipts import Receipt, Vat, instead_of_lines, sum_of_lines, vat_of
from terminals.user.waits import deposit_word

THINGS = {
    Dimension.ENERGY: ("energy", "kWh", 1_000),
    Dimension.TIME: ("time", "h", 3_600),
    Dimension.PARKING_TIME: ("standing idle", "h", 3_600),
    Dimension.FLAT: ("flat fee", "", 1),
    Dimension.ITEM: ("", "", 1),
}
"""What a line of a bill is called, its unit, and how many of the smallest one it has."""


class LineText(Struct, frozen=True):
    """A line of a bill as it is written: what, how much of it, at which price, its VAT, its amount without VAT."""

    what: str
    volume: str
    price: str
    vat: str
    excl_vat: str


def line_text(line: BillLine, currency: Currency) -> LineText:
    """Write a line of a bill; amounts to two digits below the minor unit."""
    name, unit, scale = THINGS[line.dimension]
    volume = Fraction(line.billed_volume) / scale
    amount = Fraction(line.excl_vat_minor) / 10 ** currency_exponent(currency)
    return LineText(
        plain(line.item) or name,
        f"{decimal_text(volume, 4)} {unit}" if unit else str(volume),
        f"{line.price}/{unit}" if unit else line.price,
        f"{line.vat} %",
        decimal_text(amount, currency_exponent(currency) + 2),
    )


def decimal_text(value: Fraction, digits: int) -> str:
    """Write a fraction with that many decimals."""
    return f"{Decimal(value.numerator) / Decimal(value.denominator):,.{digits}f}"


def receipt_lines(receipt: Receipt) -> list[str]:
    """Write a receipt for a terminal, line by line; 72 columns."""
    record = receipt.record
    return [
        f"EnergyShare receipt    order {receipt.number}    {id_text(receipt.order_id)}",
        f"  {record.kind.name.lower()} at {receipt.place}, for {receipt.name}",
        f"  {used_text(record)}",
        *([f"  {receipt.battery}"] if receipt.battery else []),
        "",
        *(_columns(line_text(line, receipt.currency)) for line in record.lines),
        "",
        *(_sum_line(what, amount) for what, amount in sums(receipt)),
        "",
        f"  billed by {receipt.basis}; settled {time_text(record.settled_time)}",
        *(f"  {line}" for line in history_lines(receipt)),
        f"  {proof_text(receipt)}",
    ]


def used_text(record: ChargeRecordBody) -> str:
    """Say when, how long and how much."""
    energy = f", {energy_text(record.energy_wh)}" if record.kind is not Kind.SERVICE else ""
    return f"from {time_text(record.start_time)}, {duration_text(record.duration_s)}{energy}"


def sums(receipt: Receipt) -> list[tuple[str, str]]:
    """Give what stands below the lines: totals, VAT per rate, deposit."""
    record, currency = receipt.record, receipt.currency
    deposit = receipt.offer.asset.deposit_minor
    instead = instead_of_lines(record)
    rows: list[tuple[str, int]] = [("sum of the lines", sum_of_lines(record)[0])] if instead else []
    rows += [(f"without VAT, {instead}" if instead else "without VAT", record.excl_vat_minor)]
    rows += [(_vat_text(vat, currency), vat.vat_minor) for vat in vat_of(record)]
    rows += [("total", record.incl_vat_minor)]
    if deposit:
        rows += [("deposit kept by the provider", record.deposit_claimed_minor)] if record.deposit_claimed_minor else []
        rows += [(deposit_word([bill.record for bill in receipt.bills]), receipt.deposit_back_minor)]
    rows += [("paid", receipt.paid_minor)] if record.deposit_claimed_minor else []
    rows += [("disputed, until the operator rules", receipt.disputed_minor)] if receipt.disputed_minor else []
    rows += [("held at most", record.hold_minor)]
    return [(what, money(minor, currency)) for what, minor in rows]


def _vat_text(vat: Vat, currency: Currency) -> str:
    return f"VAT {vat.rate} % on {money(vat.excl_vat_minor, currency)}" if vat.rate else "VAT"


def history_lines(receipt: Receipt) -> list[str]:
    """Tell claims, rulings and corrections."""
    currency = receipt.currency
    lines = [f"the provider claimed {money(c.claimed_minor, currency)}: {plain(c.reason)}" for c in receipt.claims]
    lines += ["the provider said that the battery did not come back"] if receipt.is_not_returned else []
    lines += [
        f"the operator ruled on {time_text(r.ruled_time)}: {money(r.charged_minor, currency)} of it are paid: {plain(r.reason)}"
        for r in receipt.rulings
    ]
    lines += [
        f"replaces the bill of {time_text(bill.record.settled_time)} over {money(bill.record.incl_vat_minor, currency)}"
        for bill in receipt.bills[:-1]
    ]
    return lines


def proof_text(receipt: Receipt) -> str:
    """Say whether this terminal came to the same bill."""
    if receipt.fault is None:
        return "recomputed on this terminal: yes, the bill follows from the signed evidence"
    return f"recomputed on this terminal: NO, {receipt.fault}"


def _columns(line: LineText) -> str:
    return f"  {line.what:<22.22}{line.volume:>14}  {line.price:>12}{line.vat:>7}{line.excl_vat:>13}"


def _sum_line(what: str, amount: str) -> str:
    return f"  {what:<50}{amount:>20}"
