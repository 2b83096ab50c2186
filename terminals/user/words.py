"""What a user reads: units, states, offers, receipts."""

import re
from decimal import Decimal
from fractions import Fraction

import click
from rich.table import Table

from energyshare.bodies import BillLine, ChargeRecordBody, OfferBody
from energyshare.evidence import Proof
from energyshare.places import place_name
from energyshare.program import table
from energyshare.values import (
    Currency,
    Dimension,
    Instant,
    Kind,
    Minor,
    Money,
    OrderId,
    currency_exponent,
    datetime_of,
    id_text,
)
from terminals.user.orders import OfferLine, UserOrder, why

NEXT_COMMAND = {
    "DEMANDED": "energyshare offers {n}, then energyshare select {n} OFFER",
    "SELECTED": "energyshare sync",
    "AUTHORIZED": "energyshare start {n} --device HOST:PORT",
    "ACTIVE": "energyshare end {n} --device HOST:PORT",
    "ENDING": "energyshare sync",
    "SETTLED": "energyshare receipt {n}",
}
SENTENCES = {
    "DEMANDED": "waiting for offers, or for you to select one",
    "SELECTED": "selected; waiting for the provider's voucher",
    "AUTHORIZED": "the voucher is here; it opens the device, also with nobody online",
    "ACTIVE": "in use",
    "ENDING": "ended; waiting for the provider's confirmation and the bill",
    "SETTLED": "settled",
    "CANCELLED": "cancelled",
    "EXPIRED": "expired; nothing was charged",
    "REFUSED": "the cloud did not take the demand; nothing was charged",
}


class Duration(click.ParamType[int]):
    """A duration as people write it: 90s, 30m, 2h, 1d; in seconds."""

    name = "duration"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Give seconds."""
        found = re.fullmatch(r"(\d{1,7})(s|m|h|d)?", str(value))
        if found is None:
            self.fail(f"{value!r} is not a duration; write 90s, 30m, 2h or 1d", param, ctx)
        return int(found[1]) * {"s": 1, "m": 60, "h": 3_600, "d": 86_400}[found[2] or "s"]


def money(minor: int, currency: str) -> str:
    """Write an amount."""
    return str(Money(Currency(currency), Minor(minor)))


def duration_text(seconds: int) -> str:
    """Write a duration."""
    hours, rest = divmod(seconds, 3_600)
    minutes, left = divmod(rest, 60)
    parts = [f"{hours} h" if hours else "", f"{minutes} min" if minutes else "", f"{left} s" if left or not seconds else ""]
    return " ".join(part for part in parts if part)


def energy_text(energy_wh: int) -> str:
    """Write an energy."""
    return f"{Decimal(energy_wh) / 1000:.3f} kWh" if energy_wh >= 1000 else f"{energy_wh} Wh"


def time_text(instant: Instant) -> str:
    """Write a time of this machine's zone."""
    return datetime_of(instant).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def distance_text(metres: int) -> str:
    """Write a distance."""
    return f"{Decimal(metres) / 1000:.1f} km" if metres >= 1000 else f"{metres} m"


def sentence_of(order: UserOrder) -> str:
    """Say where an order stands."""
    words = SENTENCES[order.state]
    reason = why(order)
    if order.state == "SETTLED":
        words = "settled; the bill follows from the evidence" if order.proved else f"settled, but: {order.unproved_reason}"
    elif reason:
        words = f"{words} ({reason})"
    return words


def next_of(order: UserOrder) -> str | None:
    """Give the next command to type."""
    command = NEXT_COMMAND.get(order.state)
    return command.format(n=order.number) if command else None


def offers_table(offers: list[tuple[OfferLine, OfferBody]]) -> Table:
    """Show offers side by side, numbered as they came, nearest first."""
    rows = []
    for number, (line, offer) in sorted(enumerate(offers, 1), key=lambda one: (one[1][0].distance_m, one[0])):
        asset = offer.asset
        charge = "" if asset.soc_pct is None else f"{asset.soc_pct} %"
        rows.append(
            (
                str(number) + (" (withdrawn)" if line.withdrawn else ""),
                asset.kind.name.lower(),
                place_name(asset.station, asset.name),
                distance_text(line.distance_m),
                charge,
                f"{energy_text(offer.energy_wh_max)}, {duration_text(offer.duration_s_max)}",
                money(offer.estimate_incl_vat_minor, offer.currency),
                money(line.hold_minor - asset.deposit_minor, offer.currency),
                money(asset.deposit_minor, offer.currency) if asset.deposit_minor else "",
                time_text(offer.expiry_time)[11:],
            )
        )
    columns = ("offer", "kind", "place", "away", "charge", "up to", "estimate", "at most", "deposit", "until")
    return table(columns, rows)


def receipt_lines(order_id: OrderId, record: ChargeRecordBody, offer: OfferBody, proof: Proof | None) -> list[str]:
    """Write a receipt, line by line."""
    currency = record.currency
    asset = offer.asset
    lines = [
        f"EnergyShare receipt    order {id_text(order_id)}",
        f"  {record.kind.name.lower()} at {place_name(asset.station, asset.name)}",
        f"  from {time_text(record.start_time)}, {duration_text(record.duration_s)}, {energy_text(record.energy_wh)}",
        "",
        *(f"  {_line_text(line, currency)}" for line in record.lines),
        "",
        f"  {'without VAT':<44}{money(record.excl_vat_minor, currency):>18}",
        f"  {'VAT':<44}{money(record.incl_vat_minor - record.excl_vat_minor, currency):>18}",
        f"  {'total':<44}{money(record.incl_vat_minor, currency):>18}",
    ]
    if record.kind is Kind.BATTERY and proof is not None:
        lines.insert(3, f"  {_charge_text(proof)}")
    if record.kind is Kind.BATTERY:
        back = asset.deposit_minor - record.deposit_claimed_minor
        lines.append(f"  {'deposit given back':<44}{money(back, currency):>18}")
    lines += [
        f"  {'held at most':<44}{money(record.hold_minor, currency):>18}",
        "",
        f"  billed on: {record.basis.name.replace('_', ' ').lower()}, settled {time_text(record.settled_time)}",
        "  the bill follows from the signed evidence" if proof else "  THE BILL DOES NOT FOLLOW FROM THE EVIDENCE",
    ]
    return lines


def _charge_text(proof: Proof) -> str:
    """Say how charged and how healthy a battery was when it left and when it came back."""
    start, end = proof.evidence.start, proof.evidence.end
    out = f"{start.soc_pct} % charged, {start.soh_pct} % healthy" if start else "unknown"
    back = f"{end.soc_pct} % charged, {end.soh_pct} % healthy" if end else "not back"
    return f"battery out: {out}; back: {back}"


def _line_text(line: BillLine, currency: str) -> str:
    amount = Fraction(line.excl_vat_minor) / 10 ** currency_exponent(Currency(currency))
    units = {Dimension.ENERGY: "kWh", Dimension.TIME: "h", Dimension.PARKING_TIME: "h idle"}
    unit = units.get(line.dimension)
    volume = Fraction(line.billed_volume)
    if unit is None:
        what = f"{line.dimension.name.lower()} {line.price}"
    else:
        scaled = volume / (1000 if line.dimension is Dimension.ENERGY else 3600)
        what = f"{float(scaled):.4f} {unit} at {line.price}"
    return f"{what + f' + {line.vat} % VAT':<44}{float(amount):>14.4f} {currency}"
