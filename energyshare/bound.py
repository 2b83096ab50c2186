"""The most that a session within its caps can cost: what a hold is made of.

Each dimension at its highest price with VAT, for the whole cap and all that a step size can round up to; every item; every
FLAT; then the tariff's price limits. No session within the caps is billed more, whatever its readings: see ADR-0004 for the
proof, and ADR-0006 for items. Restrictions count for nothing here, power and current no more than time: each price may hold.
Source: DESIGN.md section 6, "No overage by construction"; ADR-0004; ADR-0006; ADR-0010.
"""

from collections.abc import Iterable, Sequence
from fractions import Fraction

from energyshare.bodies import ServiceItem
from energyshare.rating import AMOUNT_SCALE, VAT_SCALE, WEIGHTS, amounts
from energyshare.tariff import PriceComponent, Tariff, TariffError
from energyshare.tariff_matching import Slot, components_of, slots_of, slots_of_item
from energyshare.values import MINOR_MAX, Dimension, Minor, currency_exponent


def price_bound(
    tariff: Tariff, energy_wh_max: int, duration_s_max: int, items: Sequence[ServiceItem] = (), reserved_s_max: int = 0
) -> Minor:
    """Give the most that a session within the caps and with at most these items can cost, with VAT.

    An order has no reservation; where there is one, of at most `reserved_s_max` and expired or not, it is counted too.
    Raises: TariffError if that is more than can be held, or the tariff does not name an item.
    """
    slots = slots_of(tariff)
    time, parking = components_of(slots, Dimension.TIME), components_of(slots, Dimension.PARKING_TIME)
    parts = (
        highest(components_of(slots, Dimension.ENERGY), energy_wh_max)
        + time_and_parking(time, parking, duration_s_max)
        + sum(unit_price(c) for c in components_of(slots, Dimension.FLAT))
        + sum(item.quantity * highest_price(prices_of(item, slots)) for item in items)
        + (of_reservation(slots, reserved_s_max) if reserved_s_max else 0)
    )
    exact = limited(Fraction(parts, AMOUNT_SCALE * VAT_SCALE), tariff, max(slot.component.vat for slot in slots))
    return require_bounded(Minor(-(-exact * 10 ** currency_exponent(tariff.currency) // 1)))


def of_reservation(slots: Sequence[Slot], reserved_s_max: int) -> int:
    """Give the most that a reservation can cost: its time, and every FLAT for one."""
    flats = components_of(slots, Dimension.FLAT, reserved=True)
    return highest(components_of(slots, Dimension.TIME, reserved=True), reserved_s_max) + sum(map(unit_price, flats))


def require_bounded(bound: Minor) -> Minor:
    """Refuse an amount that no wallet can hold. Raises TariffError."""
    if bound > MINOR_MAX:
        raise TariffError("elements", "the prices are too high for these caps: no hold can be that large")
    return bound


def highest(components: list[PriceComponent], cap: int) -> int:
    """Give the cap, rounded up by the step that adds most, at the highest price."""
    return highest_price(components) * max((rounded_up(cap, c.step_size) for c in components), default=0)


def time_and_parking(time: list[PriceComponent], parking: list[PriceComponent], cap: int) -> int:
    """Give the most that the seconds cap can cost, shared by TIME and PARKING_TIME.

    Without parking TIME is rounded up. With parking only parking is; then the cost is highest just after parking's first
    or last step has begun, the rest being TIME: in between it is linear in the number of steps.
    """
    time_price, parking_price = highest_price(time), highest_price(parking)
    costs = [highest(time, cap)]
    for step in {c.step_size for c in parking}:
        for parked in (0, max(rounded_up(cap, step) - step, 0)):
            costs.append(time_price * (cap - parked) + parking_price * (parked + step))
    return max(costs)


def limited(exact: Fraction, tariff: Tariff, highest_vat: int) -> Fraction:
    """Hold an amount to the price limits; one given without VAT may bear the highest rate."""
    factor = 1 + Fraction(highest_vat, VAT_SCALE)
    at_least = max(exact, amounts(tariff.min_price, factor)[1]) if tariff.min_price else exact
    return min(at_least, amounts(tariff.max_price, factor)[1]) if tariff.max_price else at_least


def prices_of(item: ServiceItem, slots: Iterable[Slot]) -> list[PriceComponent]:
    """List the components that may price an item. Raises TariffError if there is none."""
    return [slot.component for slot in slots_of_item(item.name, slots)]


def highest_price(components: list[PriceComponent]) -> int:
    return max((unit_price(component) for component in components), default=0)


def unit_price(component: PriceComponent) -> int:
    """Give what a Wh, a second, an item or the session costs with VAT, in 1 / (AMOUNT_SCALE * VAT_SCALE) of the major unit."""
    return component.price * WEIGHTS[component.dimension] * (VAT_SCALE + component.vat)


def rounded_up(volume: int, step: int) -> int:
    return -(-volume // step) * step
