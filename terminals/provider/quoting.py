"""What is offered for a demand: pure functions of asset, tariff, rules and notice."""

from msgspec import Struct

from energyshare.bodies import Asset, OfferBody, ServiceItem
from energyshare.bound import price_bound
from energyshare.messages import Demand
from energyshare.rating import Bill
from energyshare.session import MeterPoint, bill, service_bill
from energyshare.tariff import Tariff, tariff_of
from energyshare.values import (
    AssetId,
    Currency,
    Dimension,
    DurationS,
    EnergyWh,
    Instant,
    Kind,
    OrderId,
    ProviderId,
    later,
)
from terminals.provider.catalog import Catalog
from terminals.provider.config import Limits, Offers
from terminals.provider.limits import at_most
from terminals.provider.rules import FREE, refusal, start_wanted

HOUR_S = 3_600
WEEK_S = 7 * 24 * HOUR_S
VOUCHER_MAX_S = WEEK_S - HOUR_S  # a voucher's window, with room for clocks that are behind
FINISHING_S = 900  # spare time of a supply beside what its energy takes
SERVICE_ENERGY_WH = EnergyWh(1)  # the least that a voucher can carry
NO_LIMITS = Limits()


class Asked(Struct, frozen=True):
    """A demand as its notice put it."""

    order_id: OrderId
    demand: Demand
    offers_until: Instant


class Quoted(Struct, frozen=True):
    """What an asset would give for a demand."""

    energy_wh_max: EnergyWh
    duration_s_max: DurationS
    items: tuple[ServiceItem, ...] = ()


def answer(
    catalog: Catalog, asset_id: AssetId, asked: Asked, provider: ProviderId, currency: Currency, terms: Offers, now: Instant
) -> OfferBody | str:
    """Answer a demand with an asset of a catalog, by its rules and limits: an offer, or in UPPER_SNAKE why not."""
    asset = catalog.assets.get(asset_id)
    if asset is None:
        return "NOT_OURS"
    refused = refusal(asset, catalog.rules.get(asset_id, FREE), catalog.limits, asked.demand, now)
    if refused is not None:
        return refused
    return quote(asset, catalog.tariffs[asset.tariff_hash], asked, provider, currency, terms, now, catalog.limits)


def quote(
    asset: Asset,
    tariff: bytes,
    asked: Asked,
    provider: ProviderId,
    currency: Currency,
    terms: Offers,
    now: Instant,
    limits: Limits = NO_LIMITS,
) -> OfferBody | str:
    """Make an offer with an asset, or say in UPPER_SNAKE why not."""
    demand, parsed = asked.demand, tariff_of(tariff)
    start = start_wanted(demand, now)
    if not (parsed.valid_at(now) and parsed.valid_at(start)):
        return "TARIFF_NOT_VALID"
    quoted = _quoted(asset, parsed, demand, terms, limits)
    if isinstance(quoted, str):
        return quoted
    if demand.price_max_minor is not None and _bound(parsed, quoted) > demand.price_max_minor:
        return "TOO_DEAR"
    voucher_not_after = later(start, terms.voucher_s)
    if voucher_not_after > later(now, VOUCHER_MAX_S):
        return "TOO_FAR_AHEAD"
    expiry = min(max(later(now, terms.valid_s), later(asked.offers_until, 60)), voucher_not_after)
    if expiry <= asked.offers_until:
        return "TOO_LATE"
    estimate = _estimate(asset, parsed, quoted, terms, start)
    return OfferBody(
        order_id=asked.order_id,
        provider_id=provider,
        asset=asset,
        tariff=tariff,
        currency=currency,
        energy_wh_max=quoted.energy_wh_max,
        duration_s_max=quoted.duration_s_max,
        return_grace_s=DurationS(terms.return_grace_s if asset.kind is Kind.BATTERY else 0),
        estimate=estimate.lines,
        estimate_excl_vat_minor=estimate.excl_vat_minor,
        estimate_incl_vat_minor=estimate.incl_vat_minor,
        voucher_not_after_time=voucher_not_after,
        expiry_time=expiry,
        items=quoted.items,
    )


def charged_wh(asset: Asset) -> EnergyWh:
    """Give what a battery holds; one whose charge is not known counts as full."""
    return EnergyWh(asset.capacity_wh * (100 if asset.soc_pct is None else asset.soc_pct) // 100)


def items_done(tariff: Tariff) -> frozenset[str]:
    """Name the items that a tariff has a price for."""
    components = (component for element in tariff.elements for component in element.components)
    return frozenset(component.item for component in components if component.dimension is Dimension.ITEM)


def _quoted(asset: Asset, tariff: Tariff, demand: Demand, terms: Offers, limits: Limits) -> Quoted | str:
    """Give what was asked for, lowered to the limits; what was left open follows from the asset and the terms."""
    match asset.kind:
        case Kind.BATTERY:
            return _battery(asset, demand, terms, limits)
        case Kind.ENERGY:
            return _supply(asset, demand, limits)
        case Kind.SERVICE:
            return _service(tariff, demand, terms, limits)


def _battery(asset: Asset, demand: Demand, terms: Offers, limits: Limits) -> Quoted | str:
    charged = charged_wh(asset)
    if charged < (demand.energy_wh or 1):
        return "NOT_CHARGED_ENOUGH"
    return Quoted(
        EnergyWh(at_most(demand.energy_wh or charged, limits.energy_wh_max)),
        DurationS(at_most(demand.duration_s or terms.battery_duration_s, limits.duration_s_max)),
    )


def _supply(asset: Asset, demand: Demand, limits: Limits) -> Quoted:
    open_s = at_most(demand.duration_s or HOUR_S, limits.duration_s_max)
    open_wh = max(1, asset.power_w * open_s // HOUR_S)
    energy = EnergyWh(at_most(demand.energy_wh or open_wh, limits.energy_wh_max))
    finished_s = min(WEEK_S, _supplying_s(asset, energy) * 5 // 4 + FINISHING_S)
    return Quoted(energy, DurationS(at_most(demand.duration_s or finished_s, limits.duration_s_max)))


def _service(tariff: Tariff, demand: Demand, terms: Offers, limits: Limits) -> Quoted | str:
    if not demand.service_items and not _has_price_of_time(tariff):
        return "NO_ITEMS"
    if not items_done(tariff).issuperset(item.name for item in demand.service_items):
        return "ITEM_NOT_DONE"
    duration = DurationS(at_most(demand.duration_s or terms.service_duration_s, limits.duration_s_max))
    return Quoted(SERVICE_ENERGY_WH, duration, demand.service_items)


def _estimate(asset: Asset, tariff: Tariff, quoted: Quoted, terms: Offers, start: Instant) -> Bill:
    """Price what was demanded as if it began at the time needed and nothing stood idle."""
    energy, duration = quoted.energy_wh_max, quoted.duration_s_max
    if asset.kind is Kind.SERVICE:
        return service_bill(start, asset.time_zone, min(duration, terms.service_estimate_s), quoted.items, tariff)
    supplying_s = min(duration, _supplying_s(asset, energy)) if asset.kind is Kind.ENERGY else duration
    return bill(start, asset.time_zone, (MeterPoint(0, 0, True),), supplying_s, energy, energy, duration, tariff)


def _has_price_of_time(tariff: Tariff) -> bool:
    return any(c.dimension is Dimension.TIME for element in tariff.elements for c in element.components)


def _bound(tariff: Tariff, quoted: Quoted) -> int:
    return price_bound(tariff, quoted.energy_wh_max, quoted.duration_s_max, quoted.items)


def _supplying_s(asset: Asset, energy_wh: int) -> int:
    """Give the whole seconds that a supply takes."""
    return -(-energy_wh * HOUR_S // asset.power_w)
