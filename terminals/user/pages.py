"""What the user terminal prints: pages for people, facts for programs.

Texts that others wrote are printed as they are, never as markup.
"""

import json
import time
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click
from rich.table import Table
from rich.text import Text

from energyshare.bodies import OfferBody
from energyshare.errors import EnergyShareError, Reason, Rejected, Unavailable
from energyshare.places import place_name
from energyshare.program import console, count_text, table
from energyshare.values import Instant, OrderId, id_text
from terminals.reasons import reason_text
from terminals.showing import page_lines
from terminals.units import plain
from terminals.user import words
from terminals.user.order import OfferLine, UserOrder

if TYPE_CHECKING:
    from terminals.user.overview import OrderView
    from terminals.user.terminal import UserTerminal

BAR_COLUMNS = 20
RUNNING = {"energy": "running_energy_wh", "time": "running_duration_s", "cost": "running_minor"}

out = console()


def say(*parts: str | tuple[str, str]) -> None:
    """Print a line; parts may come with a style."""
    out.print(Text.assemble(*parts), soft_wrap=True)


def offers_of(me: "UserTerminal", order_id: OrderId) -> Table:
    """Show an order's offers as a table."""
    return words.offers_table(_offers(me, order_id), out.width)


def print_offers(me: "UserTerminal", order_id: OrderId, as_json: bool) -> None:
    """Print an order's offers, or why there are none."""
    order, offers = me.order(order_id), _offers(me, order_id)
    if as_json:
        listed = [offer_facts(number, line, offer) for number, (line, offer) in enumerate(offers, 1)]
        click.echo(json.dumps(order_facts(order_id, order, me.identity.currency) | {"offers": listed}))
        return
    say(f"Order {order.number}: {words.sentence_of(order, me.identity.currency)}")
    if offers:
        out.print(words.offers_table(offers, out.width))
    elif order.candidates is not None:
        say(f"{count_text(order.candidates, 'asset')} asked")
    for line in missing_lines(order):
        say(f"  {line}")
    print_next(order)


def missing_lines(order: UserOrder) -> Iterator[str]:
    """Say why there are not more offers."""
    if order.exclusions:
        left_out = ", ".join(f"{count:,} {plain(reason_text(reason))}" for reason, count in order.exclusions)
        yield f"left out: {left_out}"
    for reason, count in Counter(order.declined).most_common(5):
        yield f"declined: {plain(reason_text(reason))}" + (f" ({count} times)" if count > 1 else "")


def read_clock() -> Instant:
    """Read this machine's clock."""
    return Instant(time.time_ns() // 1_000)


def print_order(me: "UserTerminal", order_id: OrderId, as_json: bool) -> None:
    """Print where an order stands, and what it costs so far."""
    from terminals.user.overview import view_of

    view = view_of(me, order_id, read_clock())
    if as_json:
        running = {RUNNING[gauge.name]: gauge.part for gauge in view.gauges}
        click.echo(json.dumps(order_facts(order_id, view.order, view.currency) | running))
        return
    print_summary(view)
    print_next(view.order)


def print_summary(view: "OrderView") -> None:
    """Print an order's state, place, progress and amounts."""
    say(f"Order {view.order.number}: ", (view.order.state, "bold"), f" — {view.sentence}")
    for line in detail_lines(view):
        out.print(Text("  ") + line, soft_wrap=True)


def detail_lines(view: "OrderView") -> Iterator[Text]:
    """Give an order's place, progress and amounts, line by line."""
    if view.offer is not None:
        yield Text(f"{view.place}: up to {words.gives_text(view.offer)}")
    for gauge in view.gauges:
        yield Text(f"{gauge.name:<7}{words.bar(gauge.part, gauge.whole, BAR_COLUMNS)}  {gauge.text}")
    if view.amounts:
        yield Text(", ".join(f"{name} {words.money(minor, view.currency)}" for name, minor in view.amounts))


def print_order_page(view: "OrderView", as_json: bool) -> None:
    """Print all that this terminal knows of an order."""
    from terminals.user.overview import view_facts

    if as_json:
        click.echo(json.dumps(view_facts(view)))
        return
    print_summary(view)
    for part in page_lines(view.waits, view.history, view.evidence):
        out.print(part)
    print_next(view.order)


def print_orders(me: "UserTerminal", as_json: bool) -> None:
    """Print all orders."""
    orders = me.orders()
    if as_json:
        click.echo(json.dumps([order_facts(order_id, order, me.identity.currency) for order_id, order in orders]))
        return
    rows = [
        (
            str(order.number),
            words.time_text(Instant(order.created))[:16],
            order.state,
            "" if order.total_minor is None else words.money(order.total_minor, me.identity.currency),
            words.sentence_of(order, me.identity.currency),
        )
        for _, order in orders
    ]
    out.print(table(("order", "made", "state", "paid", ""), rows) if rows else "No orders yet. Next: energyshare demand --help")
    if me.has_unsent:
        out.print("Something waits for the cloud; it goes out with: energyshare sync")


def print_next(order: UserOrder) -> None:
    """Print the next command to type."""
    following = words.next_of(order)
    if following:
        say(f"Next: {following}")


def say_the_most(me: "UserTerminal", order_id: OrderId, order: UserOrder, index: int, yes: bool) -> None:
    """Say what a selection can cost at most, and until when it holds; a person at a terminal is asked."""
    line = order.offers[index - 1]
    for text in most_lines(index, line, me.offer(order_id, line.digest)):
        say(text)
    if out.is_terminal and not yes:
        click.confirm("Select it?", default=True, abort=True)


def most_lines(index: int, line: OfferLine, offer: OfferBody) -> Iterator[str]:
    """Say what an offer costs at most, what is held beside it, and until when."""
    asset, currency = offer.asset, offer.currency
    most = words.money(line.hold_minor - asset.deposit_minor, currency)
    estimate = words.money(offer.estimate_incl_vat_minor, currency)
    place = plain(place_name(asset.station, asset.name))
    yield f"Offer {index}: {asset.kind.name.lower()} at {place}, up to {words.gives_text(offer)}."
    yield f"At most {most} will be charged, with VAT; the estimate is {estimate}."
    if asset.deposit_minor:
        deposit, hold = words.money(asset.deposit_minor, currency), words.money(line.hold_minor, currency)
        yield f"A deposit of {deposit} is held beside it, {hold} in all."
    yield (
        f"The offer binds until {words.time_text(offer.expiry_time)}; "
        f"its voucher starts it until {words.time_text(offer.voucher_not_after_time)}."
    )


def refusal(order: UserOrder) -> EnergyShareError:
    """Give what an order was refused with, as an error."""
    if order.reason in Reason.__members__:
        return Rejected(Reason(order.reason), **order.metadata)
    why = plain(reason_text(order.reason, order.metadata)) if order.reason else "the order did not go on"
    return Unavailable(why, "select another offer, or make a new demand")


def offer_facts(number: int, line: OfferLine, offer: OfferBody) -> dict[str, Any]:
    """Give an offer's facts for JSON."""
    return {
        "offer": number,
        "kind": offer.asset.kind.name,
        "station": offer.asset.station,
        "asset": offer.asset.name,
        "distance_m": line.distance_m,
        "energy_wh_max": offer.energy_wh_max,
        "duration_s_max": offer.duration_s_max,
        "items": {item.name: item.quantity for item in offer.items},
        "currency": offer.currency,
        "estimate_minor": offer.estimate_incl_vat_minor,
        "charge_most_minor": line.hold_minor - offer.asset.deposit_minor,
        "hold_minor": line.hold_minor,
        "deposit_minor": offer.asset.deposit_minor,
        "soc_pct": offer.asset.soc_pct,
        "expiry_us": offer.expiry_time,
        "voucher_not_after_us": offer.voucher_not_after_time,
        "withdrawn": line.withdrawn,
    }


def order_facts(order_id: OrderId, order: UserOrder, currency: str) -> dict[str, Any]:
    """Give an order's facts for JSON."""
    amendment, settlement = order.waiting_amendment, order.waiting_settlement
    return {
        "order": order.number,
        "id": id_text(order_id),
        "state": order.state,
        "kind": order.kind or None,
        "sentence": words.sentence_of(order, currency),
        "reason": order.reason,
        "candidates": order.candidates,
        "exclusions": dict(order.exclusions),
        "total_minor": order.total_minor,
        "disputed_minor": order.disputed_minor,
        "proved": order.proved,
        "cancel_asked": order.cancel_asked or None,
        "amendment_waits": amendment.number if amendment else None,
        "settlement_waits_minor": settlement.total_minor if settlement else None,
        "next": words.next_of(order),
    }


def _offers(me: "UserTerminal", order_id: OrderId) -> list[tuple[OfferLine, OfferBody]]:
    return [(line, me.offer(order_id, line.digest)) for line in me.order(order_id).offers]
