"""What is offered for a demand: a pure function of asset, tariff and notice."""

from dataclasses import dataclass

from energyshare.bodies import Asset, OfferBody
from energyshare.bound import price_bound
from energyshare.messages import Demand
from energyshare.rating import Bill
from energyshare.session import MeterPoint, bill
from energyshare.tariff import Tariff, tariff_of
from energyshare.values import Currency, DurationS, EnergyWh, Instant, Kind, OrderId, ProviderId, later
from terminals.provider.config import Offers

HOUR_S = 3_600
VOUCHER_MAX_S = 7 * 24 * HOUR_S - HOUR_S  # a voucher's window, with room for clocks that are behind
FINISHING_S = 900  # spare time of a supply beside what its energy takes


@dataclass(frozen=True, slots=True)
class Asked:
    """A demand as its notice put it."""

    order_id: OrderId
    demand: Demand
    offers_until: Instant


def quote(
    asset: Asset, tariff: bytes, asked: Asked, provider: ProviderId, currency: Currency, terms: Offers, now: Instant
) -> OfferBody | str:
    """Make an offer with an asset, or say in UPPER_SNAKE why not."""
    demand, parsed = asked.demand, tariff_of(tariff)
    energy, duration = _caps(asset, demand, terms)
    if asset.kind is Kind.BATTERY and energy < (demand.energy_wh or 1):
        return "NOT_CHARGED_ENOUGH"
    if demand.price_max_minor is not None and price_bound(parsed, energy, duration) > demand.price_max_minor:
        return "TOO_DEAR"
    voucher_not_after = later(Instant(max(now, demand.needed_by_time)), terms.voucher_s)
    if voucher_not_after > later(now, VOUCHER_MAX_S):
        return "TOO_FAR_AHEAD"
    expiry = min(max(later(now, terms.valid_s), later(asked.offers_until, 60)), voucher_not_after)
    if expiry <= asked.offers_until:
        return "TOO_LATE"
    estimate = _estimate(asset, parsed, demand, energy, duration, now)
    return OfferBody(
        order_id=asked.order_id,
        provider_id=provider,
        asset=asset,
        tariff=tariff,
        currency=currency,
        energy_wh_max=energy,
        duration_s_max=duration,
        return_grace_s=DurationS(terms.return_grace_s if asset.kind is Kind.BATTERY else 0),
        estimate=estimate.lines,
        estimate_excl_vat_minor=estimate.excl_vat_minor,
        estimate_incl_vat_minor=estimate.incl_vat_minor,
        voucher_not_after_time=voucher_not_after,
        expiry_time=expiry,
    )


def _caps(asset: Asset, demand: Demand, terms: Offers) -> tuple[EnergyWh, DurationS]:
    """Give the caps: what was asked for; what was left open follows from the asset."""
    if asset.kind is Kind.BATTERY:
        charged = asset.capacity_wh * (100 if asset.soc_pct is None else asset.soc_pct) // 100
        energy = EnergyWh(max(1, min(charged, demand.energy_wh or charged)))
        return energy, demand.duration_s or DurationS(terms.battery_duration_s)
    energy = demand.energy_wh or EnergyWh(max(1, asset.power_w * (demand.duration_s or HOUR_S) // HOUR_S))
    supplying_s = -(-energy * HOUR_S // asset.power_w)
    week_s = 7 * 24 * HOUR_S
    return energy, demand.duration_s or DurationS(min(week_s, supplying_s * 5 // 4 + FINISHING_S))


def _estimate(asset: Asset, tariff: Tariff, demand: Demand, energy: EnergyWh, duration: DurationS, now: Instant) -> Bill:
    """Price what was demanded as if it began at the time needed and nothing stood idle."""
    supplying_s = duration
    if asset.kind is Kind.ENERGY:
        supplying_s = DurationS(min(duration, -(-energy * HOUR_S // asset.power_w)))
    start = Instant(max(now, demand.needed_by_time))
    return bill(start, asset.time_zone, (MeterPoint(0, 0, True),), supplying_s, energy, energy, duration, tariff)
