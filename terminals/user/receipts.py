"""A receipt: what an order was billed, what of it was corrected, and whether this terminal comes to the same bill.

Amounts with and without VAT are those of the charge record. A line shows what was metered, exactly; where the tariff's minimum
or maximum price, or the provider, changed the sum, the rates of VAT share the total in proportion to their lines.
"""

from collections.abc import Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from energyshare.bodies import BillLine, ChargeRecordBody, EndRefusalBody, OfferBody, RulingBody
from energyshare.charging import half_up
from energyshare.errors import EnergyShareError, Reason, Rejected
from energyshare.places import place_name
from energyshare.values import (
    ChargeBasis,
    Currency,
    Digest,
    Kind,
    Minor,
    OrderId,
    PartKind,
    id_text,
)
from energyshare.wire import peek
from terminals.telling import BASES
from terminals.units import plain
from terminals.user import payment

if TYPE_CHECKING:
    from terminals.user.terminal import UserTerminal


class Bill(Struct, frozen=True):
    """One charge record, and the hash by which others name it."""

    digest: Digest
    record: ChargeRecordBody


class Vat(Struct, frozen=True):
    """What of a bill bears one rate of VAT, percent; minor units."""

    rate: str
    excl_vat_minor: int
    vat_minor: int


class Receipt(Struct, frozen=True):
    """All that a receipt says. `bills` are the original and its corrections, the last one counts."""

    order_id: OrderId
    number: int
    name: str
    offer: OfferBody
    bills: tuple[Bill, ...]
    rulings: tuple[RulingBody, ...]
    claims: tuple[EndRefusalBody, ...]
    is_not_returned: bool
    disputed_minor: int
    battery: str
    parts: tuple[tuple[PartKind, Digest], ...]
    fault: EnergyShareError | None

    @property
    def record(self) -> ChargeRecordBody:
        """The bill as it now stands."""
        return self.bills[-1].record

    @property
    def currency(self) -> Currency:
        """The currency of all amounts."""
        return self.record.currency

    @property
    def place(self) -> str:
        """Where it was."""
        return plain(place_name(self.offer.asset.station, self.offer.asset.name))

    @property
    def basis(self) -> str:
        """What the bill follows from."""
        return BASES[self.record.basis]

    @property
    def paid_minor(self) -> int:
        """What the user pays in all."""
        return self.record.incl_vat_minor + self.record.deposit_claimed_minor

    @property
    def deposit_back_minor(self) -> int:
        """What of the deposit went back; a claim that waits for its ruling is still held."""
        claimed = self.disputed_minor if self.claims else 0
        return max(0, self.offer.asset.deposit_minor - self.record.deposit_claimed_minor - claimed)


def read_receipt(me: "UserTerminal", order_id: OrderId) -> Receipt:
    """Collect a receipt from what the journal holds, and derive its bill again.

    Raises: Rejected{WRONG_STATE} before there is a bill.
    """
    order, journal = me.order(order_id), me.journal
    bills = tuple(Bill(hashed, record) for hashed, record in payment.records(journal, order_id))
    if not bills or order.selected is None:
        raise Rejected(Reason.WRONG_STATE, state=order.state)
    kept = journal.parts(order_id)
    battery, fault = _proved(me, order_id)
    return Receipt(
        order_id,
        order.number,
        me.identity.name,
        me.offer(order_id, order.selected),
        bills,
        tuple(peek(RulingBody, part.signed) for part in kept if part.kind is PartKind.RULING),
        tuple(peek(EndRefusalBody, part.signed) for part in kept if part.kind is PartKind.END_REFUSAL),
        any(part.kind is PartKind.NOT_RETURNED for part in kept),
        order.disputed_minor,
        battery if bills[-1].record.kind is Kind.BATTERY else "",
        tuple((part.kind, part.hash) for part in bills[-1].record.parts),
        fault,
    )


def instead_of_lines(record: ChargeRecordBody) -> str:
    """Say what took the place of the sum of the lines; empty where the bill is that sum."""
    excl_vat, incl_vat = sum_of_lines(record)
    if (excl_vat, incl_vat) == (record.excl_vat_minor, record.incl_vat_minor):
        return ""
    if record.basis is ChargeBasis.RULING:
        return "as the operator ruled"
    if record.incl_vat_minor > incl_vat or record.excl_vat_minor > excl_vat:
        return "the tariff's minimum price"
    return "the tariff's maximum, or what was asked for"


def sum_of_lines(record: ChargeRecordBody) -> tuple[Minor, Minor]:
    """Sum up the lines without and with VAT, rounded as bills are."""
    nets = [(Fraction(line.excl_vat_minor), Fraction(line.vat)) for line in record.lines]
    incl_vat = sum((net * (1 + rate / 100) for net, rate in nets), Fraction(0))
    return half_up(sum((net for net, _ in nets), Fraction(0))), half_up(incl_vat)


def vat_of(record: ChargeRecordBody) -> tuple[Vat, ...]:
    """Share a bill among its rates of VAT, to the minor unit: the sums are those of the record.

    Where something took the place of the lines' sum, no rate can be told: it is one amount, of rate "".
    """
    if instead_of_lines(record):
        return (Vat("", record.excl_vat_minor, record.incl_vat_minor - record.excl_vat_minor),)
    rates: dict[str, Fraction] = {}
    for line in record.lines:
        rates[line.vat] = rates.get(line.vat, Fraction(0)) + Fraction(line.excl_vat_minor)
    excl = shared(record.excl_vat_minor, list(rates.values()))
    vat = shared(record.incl_vat_minor - record.excl_vat_minor, [net * Fraction(rate) for rate, net in rates.items()])
    return tuple(Vat(*row) for row in zip(rates, excl, vat, strict=True))


def shared(total: int, weights: Sequence[Fraction]) -> list[int]:
    """Share a whole amount by weights, so that the shares add up to it: what is left over goes to the largest remainders."""
    given = weights if any(weights) else [Fraction(1)] * len(weights)
    exact = [total * weight / sum(given) for weight in given]
    shares = [int(share) for share in exact]
    for index in sorted(range(len(exact)), key=lambda i: shares[i] - exact[i])[: total - sum(shares)]:
        shares[index] += 1
    return shares


def receipt_facts(receipt: Receipt) -> dict[str, Any]:
    """Give a receipt for programs."""
    record = receipt.record
    return {
        "order": receipt.number,
        "id": id_text(receipt.order_id),
        "kind": record.kind.name,
        "place": receipt.place,
        "basis": record.basis.name,
        "currency": receipt.currency,
        "start_us": record.start_time,
        "settled_us": record.settled_time,
        "energy_wh": record.energy_wh,
        "duration_s": record.duration_s,
        "lines": [_line_facts(line) for line in record.lines],
        "vat": [{"rate": v.rate, "excl_vat_minor": v.excl_vat_minor, "vat_minor": v.vat_minor} for v in vat_of(record)],
        "excl_vat_minor": record.excl_vat_minor,
        "incl_vat_minor": record.incl_vat_minor,
        "hold_minor": record.hold_minor,
        "deposit_claimed_minor": record.deposit_claimed_minor,
        "deposit_back_minor": receipt.deposit_back_minor,
        "paid_minor": receipt.paid_minor,
        "disputed_minor": receipt.disputed_minor,
        "corrects": [bill.digest.hex() for bill in receipt.bills[:-1]],
        "rulings": [{"charged_minor": r.charged_minor, "reason": r.reason, "ruled_us": r.ruled_time} for r in receipt.rulings],
        "claims": [{"claimed_minor": c.claimed_minor, "reason": c.reason} for c in receipt.claims],
        "evidence": [{"part": kind.name, "hash": digest.hex()} for kind, digest in receipt.parts],
        "record_hash": receipt.bills[-1].digest.hex(),
        "proved": receipt.fault is None,
        "fault": str(receipt.fault) if receipt.fault else "",
    }


def _line_facts(line: BillLine) -> dict[str, str]:
    names = ("volume", "billed_volume", "price", "vat", "excl_vat_minor", "item")
    return {"dimension": line.dimension.name} | {name: getattr(line, name) for name in names}


def _proved(me: "UserTerminal", order_id: OrderId) -> tuple[str, EnergyShareError | None]:
    """Derive the bill again; gives what became of a battery's charge, or what does not hold."""
    try:
        proof = payment.prove(me.journal, order_id, me.identity.root_key)
    except EnergyShareError as fault:
        return "", fault
    start, end = proof.evidence.start, proof.evidence.end
    out = f"{start.soc_pct} % charged, {start.soh_pct} % healthy" if start else "unknown"
    back = f"{end.soc_pct} % charged, {end.soh_pct} % healthy" if end else "not back"
    return f"battery out: {out}; back: {back}", None
