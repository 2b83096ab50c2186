"""From evidence to the bill: what cloud, user, provider and auditor all compute, each by itself.

Pure. The order of evidence is DESIGN's: the end receipt; else the last signed reading; else FLAT and minimum price. Duration
is the device's monotonic count, energy the difference of its register, both clamped to the voucher's caps before rating.
"""

from collections.abc import Sequence
from fractions import Fraction

from msgspec import Struct

from energyshare.bodies import (
    BillLine,
    EndReceiptBody,
    OfferBody,
    ReadingBody,
    ServiceItem,
    SettlementRequestBody,
    StartReceiptBody,
    VoucherBody,
)
from energyshare.bound import price_bound
from energyshare.errors import Reason, Rejected
from energyshare.rating import Bill, flat_and_minimum
from energyshare.records import replace
from energyshare.session import MeterPoint, bill, service_bill
from energyshare.tariff import tariff_of
from energyshare.values import ChargeBasis, Currency, DurationS, EnergyWh, Instant, Kind, Minor, UnixS, of_unix_s


class Evidence(Struct, frozen=True):
    """The checked bodies that a bill follows from; readings by number from 1."""

    offer: OfferBody
    voucher: VoucherBody
    start: StartReceiptBody | None
    readings: tuple[ReadingBody, ...]
    end: EndReceiptBody | None


class Charge(Struct, frozen=True):
    """What is billed, and from what."""

    currency: Currency
    basis: ChargeBasis
    start_time: Instant
    duration_s: DurationS
    energy_wh: EnergyWh
    lines: tuple[BillLine, ...]
    excl_vat_minor: Minor
    incl_vat_minor: Minor


def hold_of(offer: OfferBody) -> Minor:
    """Give the amount to hold for an offer: its deposit and the most that caps and items can cost by its tariff."""
    most = price_bound(tariff_of(offer.tariff), offer.energy_wh_max, offer.duration_s_max, offer.items)
    return Minor(offer.asset.deposit_minor + most)


def best_basis(evidence: Evidence) -> ChargeBasis:
    """Name the best evidence that there is."""
    if evidence.end is not None:
        return ChargeBasis.END_RECEIPT
    return ChargeBasis.LAST_READING if evidence.readings else ChargeBasis.FLAT


def clamp_start_time(start_time: Instant, not_before_unix_s: UnixS, arrival: Instant) -> Instant:
    """Give when billing begins: the receipt's time, within the voucher's not-before and the receipt's arrival."""
    return Instant(max(min(start_time, arrival), of_unix_s(not_before_unix_s)))


def charge(evidence: Evidence, basis: ChargeBasis, start_time: Instant) -> Charge:
    """Derive the bill from evidence on a basis; CAP is for a battery that did not come back.

    Raises: Rejected{READING_IMPLAUSIBLE} when the evidence contradicts itself, {BILL_BASIS} when it lacks what the basis needs.
    """
    if evidence.start is None:
        raise Rejected(Reason.BILL_BASIS, basis=basis.name)
    if basis is ChargeBasis.END_RECEIPT and evidence.end is not None:
        return _metered(evidence, basis, start_time, evidence.end.elapsed_s, evidence.end.register_wh)
    if basis is ChargeBasis.LAST_READING and evidence.readings:
        last = evidence.readings[-1]
        return _metered(evidence, basis, start_time, last.elapsed_s, last.register_wh)
    if basis is ChargeBasis.CAP and evidence.offer.asset.kind is Kind.BATTERY:
        caps = evidence.voucher.duration_s_max, evidence.voucher.energy_wh_max
        return _priced(evidence, basis, start_time, (MeterPoint(0, 0, True),), *caps)
    if basis is ChargeBasis.FLAT:
        least = flat_and_minimum(tariff_of(evidence.offer.tariff), start_time, evidence.offer.asset.time_zone)
        return _charge(least, basis, start_time, DurationS(0), EnergyWh(0))
    raise Rejected(Reason.BILL_BASIS, basis=basis.name)


def service_charge(offer: OfferBody, request: SettlementRequestBody, start_time: Instant) -> Charge:
    """Derive the bill that a provider asks for: items and time by the offer's tariff, at most the total that it names.

    Raises: TariffError for an item that the tariff has no price for.
    """
    tariff = tariff_of(offer.tariff)
    priced = service_bill(start_time, offer.asset.time_zone, request.duration_s, request.items, tariff)
    charged = _charge(priced, ChargeBasis.QUOTE, start_time, request.duration_s, EnergyWh(0))
    return lowered(charged, request.total_minor)


def extra_hold(
    offer: OfferBody, items: Sequence[ServiceItem], duration_s: int, more: Sequence[ServiceItem], more_s: int
) -> Minor:
    """Give what an amendment adds to the hold of a service of some items and time. Raises TariffError."""
    tariff, energy = tariff_of(offer.tariff), offer.energy_wh_max
    after = price_bound(tariff, energy, duration_s + more_s, added(items, more))
    return Minor(after - price_bound(tariff, energy, duration_s, items))


def added(items: Sequence[ServiceItem], more: Sequence[ServiceItem]) -> tuple[ServiceItem, ...]:
    """Add items to others, each name once."""
    sums: dict[str, int] = {}
    for item in (*items, *more):
        sums[item.name] = sums.get(item.name, 0) + item.quantity
    return tuple(ServiceItem(name, quantity) for name, quantity in sums.items())


def is_within(items: Sequence[ServiceItem], agreed: Sequence[ServiceItem]) -> bool:
    """Say whether no more of any item is there than was agreed."""
    most = {item.name: item.quantity for item in added((), agreed)}
    return all(item.quantity <= most.get(item.name, 0) for item in added((), items))


def lowered(charged: Charge, total_minor_max: Minor | None) -> Charge:
    """Lower a bill to what the provider asked for; the share of VAT stays."""
    if total_minor_max is None or total_minor_max >= charged.incl_vat_minor:
        return charged
    share = Fraction(charged.excl_vat_minor * total_minor_max, charged.incl_vat_minor)
    return replace(charged, excl_vat_minor=half_up(share), incl_vat_minor=total_minor_max)


def half_up(amount: Fraction) -> Minor:
    """Round an amount of minor units, halves up."""
    return Minor((2 * amount.numerator + amount.denominator) // (2 * amount.denominator))


def meter_points(start: StartReceiptBody, readings: Sequence[ReadingBody]) -> tuple[MeterPoint, ...]:
    """Turn readings into points since the session's start; without one at the start, supply counts from there on."""
    points = tuple(MeterPoint(r.elapsed_s, r.register_wh - start.register_wh, r.supplying) for r in readings)
    if points and points[0].elapsed_s == 0:
        return points
    return (MeterPoint(0, 0, True), *points)


def _metered(evidence: Evidence, basis: ChargeBasis, start_time: Instant, elapsed_s: int, register_wh: int) -> Charge:
    assert evidence.start is not None
    points = meter_points(evidence.start, evidence.readings)
    return _priced(evidence, basis, start_time, points, elapsed_s, register_wh - evidence.start.register_wh)


def _priced(
    evidence: Evidence,
    basis: ChargeBasis,
    start_time: Instant,
    points: Sequence[MeterPoint],
    elapsed_s: int,
    energy_wh: int,
) -> Charge:
    offer, voucher = evidence.offer, evidence.voucher
    caps = voucher.energy_wh_max, voucher.duration_s_max
    zone, tariff = offer.asset.time_zone, tariff_of(offer.tariff)
    priced = bill(start_time, zone, points, elapsed_s, energy_wh, *caps, tariff)
    return _charge(priced, basis, start_time, DurationS(min(elapsed_s, caps[1])), EnergyWh(min(energy_wh, caps[0])))


def _charge(priced: Bill, basis: ChargeBasis, start_time: Instant, duration_s: DurationS, energy_wh: EnergyWh) -> Charge:
    return Charge(
        priced.currency,
        basis,
        start_time,
        duration_s,
        energy_wh,
        priced.lines,
        priced.excl_vat_minor,
        priced.incl_vat_minor,
    )
