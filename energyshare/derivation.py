"""A proof in words: what was agreed and who signed it, what happened, and how the bill comes to its last minor unit.

Times are UTC. Amounts of lines are exact; they are rounded once, in the sums.
Source: docs/evidence.md; docs/adr/0004-rating.md, 0006-service-items.md.
"""

from collections.abc import Iterator
from fractions import Fraction

from msgspec import Struct

from energyshare.bodies import (
    AmendmentAnswerBody,
    AmendmentBody,
    BillLine,
    EndConfirmationBody,
    EndReceiptBody,
    EndRefusalBody,
    EndRequestBody,
    NotReturnedBody,
    SelectionBody,
    ServiceItem,
    SettlementAnswerBody,
    SettlementRequestBody,
    SilenceDecisionBody,
)
from energyshare.bundle import Signer
from energyshare.charging import Charge, half_up
from energyshare.evidence import Proof
from energyshare.places import place_name
from energyshare.rating import decimal_text
from energyshare.signing import key_id
from energyshare.tariff import PRICE_DIGITS, VAT_DIGITS, tariff_of
from energyshare.values import (
    Currency,
    Dimension,
    EndCause,
    Instant,
    Kind,
    Minor,
    Money,
    currency_exponent,
    datetime_of,
    id_text,
    of_unix_s,
)

UNITS = {Dimension.ENERGY: (" Wh", "/kWh"), Dimension.TIME: (" s", "/h"), Dimension.PARKING_TIME: (" s", "/h")}
"""The units of a line's volume and of its price."""
RELEASED = {
    EndCause.HOLDER: "released by the user",
    EndCause.OWNER: "released by the provider",
    EndCause.DURATION_CAP: "closed by the device at its seconds cap",
}
SHOWN_DIGITS = 6


class Step(Struct, frozen=True):
    """One step of a derivation: which part or figure it is about, and what it says."""

    about: str
    text: str


def derivation(proof: Proof) -> tuple[Step, ...]:
    """Tell how a bill follows from its evidence, step by step."""
    return (*_agreed(proof), *_happened(proof), *_billed(proof), *_paid(proof))


def _agreed(proof: Proof) -> Iterator[Step]:
    offer, voucher = proof.evidence.offer, proof.evidence.voucher
    asset, selection = offer.asset, proof.opened.one(SelectionBody).body
    place = place_name(asset.station, asset.name)
    yield Step("order", f"{id_text(offer.order_id)}: {asset.kind.name.lower()} at {place}, {asset.time_zone}")
    deposit = f", deposit {_money(asset.deposit_minor, offer.currency)}" if asset.deposit_minor else ""
    items = f", {_items(offer.items)}" if offer.items else ""
    energy = "" if asset.kind is Kind.SERVICE else f"{offer.energy_wh_max} Wh and "
    terms = f"at most {energy}{offer.duration_s_max} s{items}{deposit}; tariff {asset.tariff_hash.hex()[:16]}"
    yield Step("offer", f"{terms}; {_signed(proof, Signer.ISSUER)} {id_text(offer.provider_id)}")
    hold = f"{_money(selection.hold_minor, selection.currency)} held at most, {_time(selection.selected_time)}"
    yield Step("selection", f"{hold}; {_signed(proof, Signer.HOLDER)}")
    until = _time(of_unix_s(voucher.not_after_unix_s))
    yield Step("voucher", f"serial {voucher.serial}, starts until {until}; {_signed(proof, Signer.ISSUER)}")
    yield from _amendments(proof)


def _amendments(proof: Proof) -> Iterator[Step]:
    answers = {one.body.amendment_hash: one.body.approved for one in proof.opened.all(AmendmentAnswerBody)}
    for one in sorted(proof.opened.all(AmendmentBody), key=lambda one: one.body.number):
        outcome = {True: "approved by the user", False: "refused by the user", None: "never answered"}[answers.get(one.digest)]
        what = ", ".join(filter(None, (_items(one.body.items), f"{one.body.duration_s} s" if one.body.duration_s else "")))
        more = _money(one.body.hold_minor, proof.evidence.offer.currency)
        yield Step("amendment", f"{one.body.number}: {what}, {more} more at most; {outcome}")


def _happened(proof: Proof) -> Iterator[Step]:
    start = proof.evidence.start
    assert start is not None
    shown = "" if proof.record.body.kind is Kind.SERVICE else f", register {start.register_wh} Wh"
    yield Step("start", f"{_time(start.start_time)}{shown}; {_signed(proof, Signer.DEVICE)} {id_text(start.device_id)}")
    yield from _readings(proof)
    yield from _end(proof)
    yield from _settlement(proof)
    yield from _silence(proof)
    begun = (
        "as the receipt says"
        if proof.charge.start_time == start.start_time
        else "when the receipt arrived, or the voucher began"
    )
    yield Step("session", f"{_session(proof.charge)} from {_time(proof.charge.start_time)}, {begun}")


def _readings(proof: Proof) -> Iterator[Step]:
    evidence, end = proof.evidence, proof.evidence.end
    if proof.record.body.kind is Kind.SERVICE:
        return
    missing = end.readings_count - len(evidence.readings) if end else 0
    gap = f"; {missing} more that the device counted are not here, and priced linearly" if missing else ""
    chained = "one chain from the start on" if evidence.readings else "energy is linear from start to end"
    yield Step("readings", f"{len(evidence.readings)}, {chained}{gap}")
    if end is None and evidence.readings:
        last = evidence.readings[-1]
        yield Step(
            "reading", f"the last one: {last.elapsed_s} s, register {last.register_wh} Wh; {_signed(proof, Signer.DEVICE)}"
        )


def _end(proof: Proof) -> Iterator[Step]:
    currency = proof.charge.currency
    request, end = proof.opened.maybe(EndRequestBody), proof.opened.maybe(EndReceiptBody)
    if request is not None:
        yield Step("end request", f"{_time(request.body.requested_time)}; {_signed(proof, Signer.HOLDER)}")
    if end is not None:
        figures = f"{end.body.elapsed_s} s, register {end.body.register_wh} Wh"
        yield Step("end", f"{figures}, {RELEASED[end.body.cause]}; {_signed(proof, Signer.DEVICE)}")
    confirmation, refusal = proof.opened.maybe(EndConfirmationBody), proof.opened.maybe(EndRefusalBody)
    if confirmation is not None:
        most = confirmation.body.total_minor_max
        lowered = "" if most is None else f", for at most {_money(most, currency)}"
        yield Step("confirmation", f"of the end{lowered}; {_signed(proof, Signer.ISSUER)}")
    if refusal is not None:
        claim = f"{_money(refusal.body.claimed_minor, currency)} of the deposit: {refusal.body.reason}"
        yield Step("claim", f"{claim}; {_signed(proof, Signer.ISSUER)}")


def _settlement(proof: Proof) -> Iterator[Step]:
    request, answer = proof.opened.maybe(SettlementRequestBody), proof.opened.maybe(SettlementAnswerBody)
    currency = proof.charge.currency
    if request is not None:
        asked = f"{_items(request.body.items)}, {request.body.duration_s} s, {_money(request.body.total_minor, currency)}"
        yield Step("settlement", f"{asked}; {_signed(proof, Signer.ISSUER)}")
    if answer is not None:
        disputed = answer.body.disputed_minor
        said = f"{_money(disputed, currency)} of it refused" if disputed else "confirmed"
        yield Step("answer", f"{said}; {_signed(proof, Signer.HOLDER)}")


def _silence(proof: Proof) -> Iterator[Step]:
    silence, statement = proof.opened.maybe(SilenceDecisionBody), proof.opened.maybe(NotReturnedBody)
    if silence is not None:
        waited = silence.body.waited_for.lower().replace("_", " ")
        yield Step("silence", f"no {waited} until {_time(silence.body.due_time)}; {_signed(proof, Signer.PLATFORM)}")
    if statement is not None:
        yield Step("not returned", f"stated {_time(statement.body.stated_time)}; {_signed(proof, Signer.ISSUER)}")


def _billed(proof: Proof) -> Iterator[Step]:
    full, charged = proof.outcome.full, proof.charge
    steps = _steps(proof)
    for line in full.lines:
        yield Step("line", _line(line, full.currency, steps))
    excl_vat, incl_vat = _exact(full)
    sums = f"{_amount(excl_vat, full.currency)} without VAT, {_amount(incl_vat, full.currency)} with VAT"
    yield Step("sum", f"{sums}, exactly")
    if (half_up(excl_vat), half_up(incl_vat)) != (full.excl_vat_minor, full.incl_vat_minor):
        yield Step("limit", "the tariff's minimum or maximum price takes the place of the sum")
    totals = f"{_money(full.excl_vat_minor, full.currency)} without VAT, {_money(full.incl_vat_minor, full.currency)} with VAT"
    yield Step("rounded", f"{totals}, half up, once each")
    if charged.incl_vat_minor != full.incl_vat_minor:
        yield Step("lowered", f"to {_money(charged.incl_vat_minor, charged.currency)}; the share of VAT stays")
    for why in proof.outcome.because:
        yield Step("because", why)


def _paid(proof: Proof) -> Iterator[Step]:
    record, currency = proof.record.body, proof.charge.currency
    vat = record.incl_vat_minor - record.excl_vat_minor
    basis = record.basis.name.lower().replace("_", " ")
    yield Step("total", f"{_money(record.incl_vat_minor, currency)}, of it VAT {_money(vat, currency)}; basis: {basis}")
    if proof.evidence.offer.asset.deposit_minor:
        yield Step("deposit", f"{_money(record.deposit_claimed_minor, currency)} claimed of it")
    paid = Minor(record.incl_vat_minor + record.deposit_claimed_minor)
    yield Step("hold", f"{_money(paid, currency)} of {_money(record.hold_minor, currency)} are paid")
    if proof.before is not None:
        before = _money(Minor(proof.before.incl_vat_minor + proof.before.deposit_claimed_minor), currency)
        yield Step("corrects", f"the bill of {_time(proof.before.settled_time)} over {before}")
    yield Step("record", f"{proof.record.digest.hex()}, {_time(record.settled_time)}; {_signed(proof, Signer.PLATFORM)}")


def _line(line: BillLine, currency: Currency, steps: dict[tuple[Dimension, str, str, str], int]) -> str:
    """Write a line of a bill: volume, what its step makes of it, price, amount, rate of VAT."""
    unit, per = UNITS.get(line.dimension, ("", ""))
    step = steps.get((line.dimension, line.price, line.vat, line.item))
    billed = f" billed as {_figure(Fraction(line.billed_volume))}{unit}" if line.billed_volume != line.volume else ""
    stepped = f" in steps of {step}{unit}" if step and unit else ""
    name = line.item or line.dimension.name
    volume = f"{_figure(Fraction(line.volume))}{unit}{stepped}{billed}"
    amount = _amount(Fraction(line.excl_vat_minor), currency)
    return f"{name}: {volume} × {line.price}{per} = {amount} without VAT, VAT {line.vat} %"


def _steps(proof: Proof) -> dict[tuple[Dimension, str, str, str], int]:
    """Give the step of each price of the tariff, where one only goes with it."""
    found: dict[tuple[Dimension, str, str, str], set[int]] = {}
    for element in tariff_of(proof.evidence.offer.tariff).elements:
        for one in element.components:
            price, vat = decimal_text(one.price, PRICE_DIGITS), decimal_text(one.vat, VAT_DIGITS)
            found.setdefault((one.dimension, price, vat, one.item), set()).add(one.step_size)
    return {price: next(iter(steps)) for price, steps in found.items() if len(steps) == 1}


def _exact(charged: Charge) -> tuple[Fraction, Fraction]:
    """Sum the lines, in minor units, without and with VAT."""
    amounts = [(Fraction(line.excl_vat_minor), Fraction(line.vat)) for line in charged.lines]
    return sum((net for net, _ in amounts), Fraction(0)), sum((net * (100 + vat) / 100 for net, vat in amounts), Fraction(0))


def _session(charged: Charge) -> str:
    energy = f"{charged.energy_wh} Wh in " if charged.energy_wh else ""
    return f"{energy}{charged.duration_s} s"


def _signed(proof: Proof, signer: Signer) -> str:
    return f"signed by {signer} (key {key_id(proof.keys.of(signer)).hex()})"


def _items(items: tuple[ServiceItem, ...]) -> str:
    return ", ".join(f"{item.quantity} × {item.name}" for item in items)


def _money(minor: int, currency: Currency) -> str:
    return str(Money(currency, Minor(minor)))


def _amount(minor: Fraction, currency: Currency) -> str:
    """Write an exact amount of minor units in major ones."""
    return f"{_figure(minor / 10 ** currency_exponent(currency))} {currency}"


def _figure(value: Fraction) -> str:
    """Write a fraction as a decimal where it is short, else to some digits and marked as longer."""
    scaled = value * 10**SHOWN_DIGITS
    digits = f"{scaled.numerator // scaled.denominator:0{SHOWN_DIGITS + 1}}"
    whole, rest = digits[:-SHOWN_DIGITS], digits[-SHOWN_DIGITS:].rstrip("0")
    return f"{whole}{f'.{rest}' if rest else ''}{'' if scaled.denominator == 1 else '…'}"


def _time(instant: Instant) -> str:
    return f"{datetime_of(instant):%Y-%m-%d %H:%M:%S} UTC"
