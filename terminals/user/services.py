"""What a user's terminal checks of a service: extra work that is proposed, and what is asked for the whole.

Pure. What a service may come to is its quote and the amendments that were approved, priced by the offer's tariff.
Source: ADR-0006.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Self

from msgspec import Struct

from energyshare.bodies import AmendmentBody, OfferBody, ServiceItem, SettlementRequestBody
from energyshare.bound import price_bound
from energyshare.errors import Reason, Rejected
from energyshare.session import service_bill
from energyshare.tariff import tariff_of
from energyshare.values import Instant, Kind, Minor


class Agreed(Struct, frozen=True):
    """What a service may come to: items and seconds; an item may stand in it more than once."""

    offer: OfferBody
    items: tuple[ServiceItem, ...]
    duration_s: int

    def extended(self, items: Iterable[ServiceItem], duration_s: int) -> Self:
        """Give what it may come to with extra work."""
        return type(self)(self.offer, (*self.items, *items), self.duration_s + duration_s)

    @property
    def bound_minor(self) -> Minor:
        """The most that it can cost, with VAT. Raises: TariffError."""
        return price_bound(tariff_of(self.offer.tariff), self.offer.energy_wh_max, self.duration_s, self.items)


class ServiceSoFar(Struct, frozen=True):
    """A service under way: how long it has taken, and what it costs if it is done now with all that was agreed."""

    elapsed_s: int
    agreed: Agreed
    cost_minor: Minor


def quoted(offer: OfferBody) -> Agreed:
    """Give what a service may come to by its offer alone."""
    return Agreed(offer, offer.items, offer.duration_s_max)


def require_amendment(amendment: AmendmentBody, agreed: Agreed, last_number: int) -> None:
    """Raise Rejected unless an amendment follows the last one and adds to the hold exactly what it costs.

    Raises: Rejected with WRONG_STATE when the order is no service, AMENDMENT_UNKNOWN for a number that was used,
    AMENDMENT_HOLD; TariffError for an item that the offer's tariff does not price.
    """
    if agreed.offer.asset.kind is not Kind.SERVICE:
        raise Rejected(Reason.WRONG_STATE, kind=agreed.offer.asset.kind.name)
    if amendment.order_id != agreed.offer.order_id:
        raise Rejected(Reason.VOUCHER_ORDER)
    if amendment.number <= last_number:
        raise Rejected(Reason.AMENDMENT_UNKNOWN, number=str(amendment.number))
    added = agreed.extended(amendment.items, amendment.duration_s).bound_minor - agreed.bound_minor
    if amendment.hold_minor != added:
        raise Rejected(Reason.AMENDMENT_HOLD, needed=str(added), given=str(amendment.hold_minor))


def bill_minor(agreed: Agreed, start: Instant, items: Sequence[ServiceItem], duration_s: int) -> Minor:
    """Give what items and time cost, with VAT. Raises: TariffError."""
    offer = agreed.offer
    bill = service_bill(start, offer.asset.time_zone, duration_s, items, tariff_of(offer.tariff))
    return bill.incl_vat_minor


def require_settlement(request: SettlementRequestBody, agreed: Agreed, most: Minor) -> None:
    """Raise Rejected unless a settlement asks for no more than was agreed, and for no more than that costs, which is `most`.

    Raises: Rejected with SETTLEMENT_ITEMS or SETTLEMENT_TOTAL.
    """
    allowed = _by_name(agreed.items)
    for name, quantity in _by_name(request.items).items():
        if quantity > allowed[name]:
            raise Rejected(Reason.SETTLEMENT_ITEMS, item=name, agreed=str(allowed[name]), asked=str(quantity))
    if request.duration_s > agreed.duration_s:
        raise Rejected(Reason.SETTLEMENT_ITEMS, agreed_s=str(agreed.duration_s), asked_s=str(request.duration_s))
    if request.total_minor > most:
        raise Rejected(Reason.SETTLEMENT_TOTAL, needed=str(most), given=str(request.total_minor))


def so_far(agreed: Agreed, start: Instant, now: Instant) -> ServiceSoFar:
    """Price a service that is done now with all its items; its time counts up to what was agreed."""
    elapsed = min(max(0, now - start) // 1_000_000, agreed.duration_s)
    return ServiceSoFar(elapsed, agreed, bill_minor(agreed, start, agreed.items, elapsed))


def _by_name(items: Iterable[ServiceItem]) -> Counter[str]:
    found: Counter[str] = Counter()
    for item in items:
        found[item.name] += item.quantity
    return found
