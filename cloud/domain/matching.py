"""From the demand to the held asset: demand, offers, selection, and what undoes them."""

from collections.abc import Sequence

from cloud.domain import ledger
from cloud.domain.inbound import OfferMade, SelectionMade
from cloud.domain.inventory import priceable, problem_of, require_zone
from cloud.domain.order import (
    AssetHold,
    Decision,
    Facts,
    Order,
    Participant,
    Send,
    Sender,
    Side,
    StandingOffer,
    StoredPart,
    Timer,
    Wait,
    Work,
)
from cloud.domain.screening import AssetRecord, Candidate, screen
from cloud.domain.settings import Settings
from energyshare.bodies import OfferBody
from energyshare.bound import price_bound
from energyshare.errors import Reason, Rejected
from energyshare.messages import (
    Award,
    Cancel,
    Declined,
    Demand,
    DemandNotice,
    NotSelected,
    Offer,
    OrderClosed,
    Reopened,
    Screened,
    Withdrawn,
)
from energyshare.places import distance_m, place_name
from energyshare.records import replace
from energyshare.signing import Label, digest
from energyshare.tariff import TariffError
from energyshare.values import (
    AssetState,
    Instant,
    Kind,
    Minor,
    Money,
    OrderId,
    OrderState,
    PartKind,
    TerminalId,
    later,
    of_unix_s,
)


def open_order(order_id: OrderId, demand: Demand, sender: Sender, facts: Facts, now: Instant) -> Decision:
    """Open an order with a demand: screen, and ask the providers that fit.

    Raises: Rejected when the demand can't be served as it stands; no order is made then.
    """
    _require_sensible(demand, facts, now)
    assert sender.account_id is not None
    assert sender.key is not None
    screening = screen(demand, facts.nearby, facts.tariffs, facts.online, facts.settings.stations_per_demand)
    until = later(now, demand.time_to_live_s)
    providers = _by_provider(screening.candidates)
    participants = {sender.terminal: Participant(sender.terminal, Side.USER)}
    participants |= {terminal: Participant(terminal, Side.PROVIDER) for terminal in providers}
    order = Order(
        id=order_id,
        state=OrderState.DEMANDED,
        version=0,
        account_id=sender.account_id,
        holder_key=sender.key,
        demand=demand,
        created=now,
        timer=Timer(Wait.OFFERS, until),
        participants=participants,
        offers={},
    )
    screened = Send(sender.terminal, Screened(len(screening.candidates), screening.exclusions, until))
    if not providers:
        is_offline = any(exclusion.reason == "OFFLINE" for exclusion in screening.exclusions)
        closed = close(order, OrderState.EXPIRED, "PROVIDERS_OFFLINE" if is_offline else "NO_PROVIDER", now)
        return replace(closed, send=(screened, *closed.send), screening=screening)
    notices = tuple(
        Send(terminal, DemandNotice(demand, tuple(c.asset.asset_id for c in candidates), until))
        for terminal, candidates in providers.items()
    )
    return Decision(
        order,
        f"{len(screening.candidates)} assets of {len(providers)} providers asked, {screening.examined} examined",
        (screened, *notices),
        screening=screening,
    )


def take_offer(order: Order, message: OfferMade, sender: Sender, facts: Facts, now: Instant) -> Decision:
    """Check an offer against demand, asset and tariff; keep it and relay it."""
    offer = message.offer.body
    if facts.is_suspended:
        raise Rejected(Reason.ACCOUNT_SUSPENDED)
    if offer.order_id != order.id or bytes(offer.provider_id) != bytes(sender.terminal):
        raise Rejected(Reason.OFFER_FOREIGN)
    if order.timer is None or order.timer.wait is not Wait.OFFERS or now > order.timer.due:
        raise Rejected(Reason.OFFER_LATE)
    _require_own_asset(order, offer, facts.asset)
    if any(o.asset_id == offer.asset.asset_id for o in order.offers.values()):
        raise Rejected(Reason.OFFER_EXISTS)
    _require_window(order, offer, message, facts.settings, now)
    _require_items(order.demand, offer)
    bound = _require_price(order.demand, offer, facts.settings, now)
    standing = StandingOffer(
        digest=message.offer.digest,
        provider_id=offer.provider_id,
        asset_id=offer.asset.asset_id,
        device_id=offer.asset.device_id,
        kind=offer.asset.kind,
        issuer_key=message.offer.key,
        tariff_hash=offer.asset.tariff_hash,
        energy_wh_max=offer.energy_wh_max,
        duration_s_max=offer.duration_s_max,
        return_grace_s=offer.return_grace_s,
        deposit_minor=offer.asset.deposit_minor,
        hold_minor=Minor(bound + offer.asset.deposit_minor),
        voucher_not_after=offer.voucher_not_after_time,
        expiry=offer.expiry_time,
        items=offer.items,
        quote_minor=offer.estimate_incl_vat_minor,
    )
    return Decision(
        order.with_offer(standing),
        f"{place_name(offer.asset.station, offer.asset.name)}, at most {Money(offer.currency, standing.hold_minor)} held",
        (Send(order.user, Offer(message.offer.signed, message.grant.signed)),),
        (StoredPart(PartKind.OFFER, message.offer.digest, message.offer.signed),),
    )


def relay_decline(order: Order, message: Declined, sender: Sender, facts: Facts, now: Instant) -> Decision:
    """Tell the user that a provider makes no offer with an asset."""
    return Decision(order, message.reason, (Send(order.user, message),))


def withdraw(order: Order, message: Withdrawn, sender: Sender, facts: Facts, now: Instant) -> Decision:
    """Take back an offer that is not selected."""
    offer = order.offers.get(message.offer_hash)
    if offer is None or bytes(offer.provider_id) != bytes(sender.terminal):
        raise Rejected(Reason.OFFER_UNKNOWN)
    return Decision(order.with_offer(replace(offer, withdrawn=True)), "", (Send(order.user, message),))


def select(order: Order, message: SelectionMade, sender: Sender, facts: Facts, now: Instant) -> Decision:
    """Hold asset and funds for an offer, and award it."""
    if facts.is_suspended:
        raise Rejected(Reason.ACCOUNT_SUSPENDED)
    selection = message.selection.body
    offer = order.offers.get(selection.offer_hash)
    if selection.order_id != order.id or offer is None or offer.withdrawn:
        raise Rejected(Reason.OFFER_UNKNOWN)
    if now > offer.expiry:
        raise Rejected(Reason.OFFER_EXPIRED)
    if selection.currency != facts.settings.currency:
        raise Rejected(Reason.CURRENCY_MISMATCH, needed=facts.settings.currency, given=selection.currency)
    if selection.hold_minor != offer.hold_minor:
        raise Rejected(Reason.HOLD_MISMATCH, needed=str(offer.hold_minor), given=str(selection.hold_minor))
    if facts.asset is None or facts.asset.held_by is not None or facts.asset.is_suspended:
        raise Rejected(Reason.ASSET_TAKEN)
    _require_paid_up(order, facts)
    hold = ledger.hold(order.id, order.attempts + 1, ledger.user_account(order.account_id), offer.to_hold, now)
    require_funds(hold, facts)
    selected = replace(
        order.to(OrderState.SELECTED, Timer(Wait.VOUCHER, later(now, facts.settings.wait_voucher_s))),
        attempts=order.attempts + 1,
        selected=offer.digest,
        selection_hash=message.selection.digest,
        held=offer.to_hold,
        work=Work(offer.items, offer.duration_s_max) if offer.kind is Kind.SERVICE else None,
    )
    return Decision(
        selected,
        f"{Money(facts.settings.currency, offer.hold_minor)} held",
        (Send(selected.provider, Award(message.selection.signed, order.holder_key)),),
        (StoredPart(PartKind.SELECTION, message.selection.digest, message.selection.signed),),
        hold,
        AssetHold(offer.asset_id, order.id),
    )


def cancel(order: Order, message: Cancel, sender: Sender, facts: Facts, now: Instant) -> Decision:
    """Call an order off before a voucher is out; a provider's cancellation takes back its own offers only."""
    if sender.side is not Side.PROVIDER:
        return close(order, OrderState.CANCELLED, message.reason, now)
    own = [o for o in order.offers.values() if bytes(o.provider_id) == bytes(sender.terminal) and not o.withdrawn]
    withdrawn = {o.digest: replace(o, withdrawn=True) for o in own}
    left = replace(order, offers={**order.offers, **withdrawn})
    if order.state is OrderState.SELECTED and sender.terminal == order.provider:
        return reopen(left, message.reason, now)
    return Decision(left, message.reason, tuple(Send(order.user, Withdrawn(digest)) for digest in withdrawn))


def offers_ran_out(order: Order, now: Instant) -> Decision:
    """End the wait for offers: until the last one's expiry if there are any, else for good."""
    binding = binding_until(order, now)
    if binding is None:
        return close(order, OrderState.EXPIRED, "NO_OFFER" if not order.offers else "OFFERS_EXPIRED", now)
    return Decision(replace(order, timer=Timer(Wait.OFFER_EXPIRY, binding)), "offers bind on")


def reopen(order: Order, reason: str, now: Instant) -> Decision:
    """Go back to the other offers when the selected provider gave no voucher; the hold and the asset are freed."""
    failed = replace(order.offer, withdrawn=True)
    left = order.with_offer(failed)
    binding = binding_until(left, now)
    if binding is None:
        return close(left, OrderState.EXPIRED, reason, now)
    freed = replace(
        left.to(OrderState.DEMANDED, Timer(Wait.OFFER_EXPIRY, binding)),
        selected=None,
        selection_hash=None,
        held=ledger.NONE,
        work=None,
    )
    return Decision(
        freed,
        reason,
        (Send(order.user, Reopened(reason)), Send(order.provider, NotSelected())),
        transfers=_freed(order, now),
        asset=AssetHold(failed.asset_id, None),
    )


def close(order: Order, state: OrderState, reason: str, now: Instant) -> Decision:
    """End an order with nothing to bill: free what is held and tell everyone."""
    closed = replace(order.to(state, None), held=ledger.NONE)
    return Decision(
        closed,
        reason,
        tuple(Send(terminal, OrderClosed(state, reason)) for terminal in order.participants),
        transfers=_freed(order, now),
        asset=AssetHold(order.offer.asset_id, None) if order.selected else None,
    )


def binding_until(order: Order, now: Instant) -> Instant | None:
    """Give the last expiry among the offers that still bind."""
    return max((o.expiry for o in order.offers.values() if not o.withdrawn and o.expiry > now), default=None)


def _freed(order: Order, now: Instant) -> tuple[ledger.Transfer, ...]:
    return ledger.void(order.id, order.attempts, ledger.user_account(order.account_id), order.held, now)


def _require_sensible(demand: Demand, facts: Facts, now: Instant) -> None:
    if facts.is_suspended:
        raise Rejected(Reason.ACCOUNT_SUSPENDED)
    if facts.open_orders >= facts.settings.open_orders_max:
        raise Rejected(Reason.TOO_MANY_OPEN_ORDERS, limit=str(facts.settings.open_orders_max))
    if len(set(demand.kinds)) != len(demand.kinds):
        raise Rejected(Reason.MALFORMED, field="Demand.kinds", problem="names a kind twice")
    if demand.needed_by_time < now:
        raise Rejected(Reason.NEEDED_BY_PAST)
    if demand.needed_by_time > later(now, facts.settings.needed_by_max_s):
        raise Rejected(Reason.NEEDED_BY_TOO_FAR)
    if len({item.name for item in demand.service_items}) != len(demand.service_items):
        raise Rejected(Reason.MALFORMED, field="Demand.service_items", problem="names an item twice")
    if demand.kinds == (Kind.SERVICE,) and not demand.service_items and demand.duration_s is None:
        raise Rejected(Reason.DEMAND_UNBOUNDED, kind="SERVICE")
    if Kind.ENERGY in demand.kinds and demand.energy_wh is None and demand.duration_s is None:
        raise Rejected(Reason.DEMAND_UNBOUNDED)


def _by_provider(candidates: tuple[Candidate, ...]) -> dict[TerminalId, list[Candidate]]:
    providers: dict[TerminalId, list[Candidate]] = {}
    for candidate in candidates:
        providers.setdefault(TerminalId(candidate.asset.provider_id), []).append(candidate)
    return providers


def _require_own_asset(order: Order, offer: OfferBody, asset: AssetRecord | None) -> None:
    if (
        asset is None
        or asset.provider_id != offer.provider_id
        or asset.device_id != offer.asset.device_id
        or asset.kind is not offer.asset.kind
        or asset.kind not in order.demand.kinds
        or asset.place != offer.asset.place
        or distance_m(order.demand.place, asset.place) > order.demand.radius_m
    ):
        raise Rejected(Reason.ASSET_FOREIGN)
    if asset.held_by is not None or asset.is_suspended:
        raise Rejected(Reason.ASSET_TAKEN)
    if asset.unknown or asset.state is not AssetState.AVAILABLE:
        raise Rejected(Reason.ASSET_FOREIGN, state="UNKNOWN" if asset.unknown else asset.state.name)
    if asset.kind is Kind.BATTERY and offer.energy_wh_max > asset.capacity_wh:
        raise Rejected(Reason.OFFER_CAPS, capacity_wh=str(asset.capacity_wh))


def _require_items(demand: Demand, offer: OfferBody) -> None:
    """Raise unless a service quotes at least what was asked for, each item once, and nothing else quotes items."""
    names = {item.name for item in offer.items}
    is_service = offer.asset.kind is Kind.SERVICE
    if len(names) != len(offer.items) or (offer.items and not is_service):
        raise Rejected(Reason.OFFER_ITEMS)
    if is_service and not set(demand.service_items) <= set(offer.items):
        raise Rejected(Reason.OFFER_ITEMS)


def _require_paid_up(order: Order, facts: Facts) -> None:
    """Raise when the user owes for an earlier order."""
    account = ledger.receivable_account(order.account_id)
    owed = facts.balances.get(account, ledger.Balance(account)).owed_minor
    if owed > 0:
        raise Rejected(Reason.RECEIVABLE_DUE, owed=str(owed))


def _require_window(order: Order, offer: OfferBody, message: OfferMade, settings: Settings, now: Instant) -> None:
    latest = later(order.demand.needed_by_time, settings.voucher_slack_s)
    if not now < offer.expiry_time <= offer.voucher_not_after_time <= latest:
        raise Rejected(Reason.OFFER_WINDOW)
    grant = message.grant.body
    if not of_unix_s(grant.not_before_unix_s) <= now or offer.voucher_not_after_time > of_unix_s(grant.not_after_unix_s):
        raise Rejected(Reason.GRANT_EXPIRED)


def _require_price(demand: Demand, offer: OfferBody, settings: Settings, now: Instant) -> Minor:
    """Check caps, tariff and estimate; give the most that the offer can cost."""
    if offer.currency != settings.currency:
        raise Rejected(Reason.CURRENCY_MISMATCH, needed=settings.currency, given=offer.currency)
    is_service = offer.asset.kind is Kind.SERVICE
    if offer.energy_wh_max > (1 if is_service else demand.energy_wh or offer.energy_wh_max):
        raise Rejected(Reason.OFFER_CAPS)
    if offer.duration_s_max > (demand.duration_s or offer.duration_s_max):
        raise Rejected(Reason.OFFER_CAPS)
    bound = _bound(offer, now)
    if not offer.estimate_excl_vat_minor <= offer.estimate_incl_vat_minor <= bound:
        raise Rejected(Reason.OFFER_ESTIMATE)
    if demand.price_max_minor is not None and bound > demand.price_max_minor:
        raise Rejected(Reason.OFFER_TOO_DEAR)
    return bound


def _bound(offer: OfferBody, now: Instant) -> Minor:
    """Give the most that an offer can cost; what could not be billed later is refused here."""
    if digest(Label.TARIFF, offer.tariff) != offer.asset.tariff_hash:
        raise Rejected(Reason.OFFER_TARIFF)
    tariff = priceable(offer.tariff, offer.currency)
    require_zone(offer.asset.time_zone)
    if not tariff.valid_at(now):
        raise Rejected(Reason.OFFER_TARIFF, problem="it is not valid at this time")
    try:
        return price_bound(tariff, offer.energy_wh_max, offer.duration_s_max, offer.items)
    except TariffError as error:
        raise Rejected(Reason.OFFER_TARIFF, problem=problem_of(error)) from None


def require_funds(hold: Sequence[ledger.Transfer], facts: Facts, freed: Sequence[ledger.Transfer] = ()) -> None:
    """Raise Rejected{INSUFFICIENT_FUNDS}, saying what there is, unless a user's hold is covered once another was freed."""
    if not hold:
        return
    before = {**facts.balances, **ledger.apply_all(facts.balances, freed)}
    try:
        ledger.apply_all(before, hold)
    except Rejected as refusal:
        if refusal.reason is Reason.INSUFFICIENT_FUNDS:
            user = hold[0].debit
            needed, available = sum(t.amount_minor for t in hold), before.get(user, ledger.Balance(user)).available_minor
            raise Rejected(refusal.reason, needed=str(needed), available=str(available)) from None
        raise
