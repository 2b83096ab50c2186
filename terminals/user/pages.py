"""What the user terminal prints: pages for people, facts for programs."""

import json
from typing import TYPE_CHECKING, Any

import click

from energyshare.bodies import OfferBody
from energyshare.errors import EnergyShareError, Reason, Rejected, Unavailable
from energyshare.places import place_name
from energyshare.program import console, table
from energyshare.values import Instant, OrderId, id_text
from terminals.user import words
from terminals.user.orders import OfferLine, UserOrder

if TYPE_CHECKING:
    from terminals.user.terminal import UserTerminal

out = console()


def offers_of(me: "UserTerminal", order_id: OrderId) -> Any:
    """Show an order's offers as a table."""
    order = me.order(order_id)
    return words.offers_table([(line, me.offer(order_id, line.digest)) for line in order.offers])


def print_offers(me: "UserTerminal", order_id: OrderId, as_json: bool) -> None:
    """Print an order's offers, or why there are none."""
    order = me.order(order_id)
    offers = [(line, me.offer(order_id, line.digest)) for line in order.offers]
    if as_json:
        listed = [offer_facts(number, line, offer) for number, (line, offer) in enumerate(offers, 1)]
        click.echo(json.dumps(order_facts(order_id, order) | {"offers": listed}))
        return
    out.print(f"Order {order.number}: {words.sentence_of(order)}")
    if offers:
        out.print(words.offers_table(offers))
    elif order.candidates is not None:
        left_out = ", ".join(f"{count} {reason.replace('_', ' ').lower()}" for reason, count in order.exclusions)
        out.print(f"{order.candidates} were asked" + (f"; left out: {left_out}" if left_out else ""))
    for declined in order.declined[:5]:
        out.print(f"  declined: {declined.replace('_', ' ').lower()}")
    print_next(order)


def print_order(me: "UserTerminal", order_id: OrderId, as_json: bool) -> None:
    """Print where an order stands, and what it costs so far."""
    order = me.order(order_id)
    running = me.running(order_id)
    if as_json:
        facts = order_facts(order_id, order)
        if running is not None:
            facts["running_minor"] = running[1]
        click.echo(json.dumps(facts))
        return
    out.print(f"Order {order.number}: [bold]{order.state}[/] — {words.sentence_of(order)}")
    if order.selected is not None:
        offer = me.offer(order_id, order.selected)
        out.print(f"  {offer.asset.kind.name.lower()} at {place_name(offer.asset.station, offer.asset.name)}")
    if running is not None and order.state in ("ACTIVE", "ENDING"):
        evidence, cost = running
        assert evidence.start is not None
        last = evidence.readings[-1]
        used = words.energy_text(last.register_wh - evidence.start.register_wh)
        supplying = "" if last.supplying else ", supply is off"
        out.print(
            f"  {used} after {words.duration_text(last.elapsed_s)}{supplying}: {words.money(cost, me.identity.currency)} so far"
        )
    if order.total_minor is not None:
        out.print(f"  paid {words.money(order.total_minor, me.identity.currency)}")
    print_next(order)


def print_orders(me: "UserTerminal", as_json: bool) -> None:
    """Print all orders."""
    orders = me.orders()
    if as_json:
        click.echo(json.dumps([order_facts(order_id, order) for order_id, order in orders]))
        return
    rows = [
        (
            str(order.number),
            words.time_text(Instant(order.created)),
            order.state,
            "" if order.total_minor is None else words.money(order.total_minor, me.identity.currency),
            words.sentence_of(order),
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
        out.print(f"Next: {following}")


def say_the_most(me: "UserTerminal", order_id: OrderId, order: UserOrder, index: int, yes: bool) -> None:
    """Say what a selection can cost at most; a person at a terminal is asked."""
    line = order.offers[index - 1]
    offer = me.offer(order_id, line.digest)
    most = words.money(line.hold_minor - offer.asset.deposit_minor, offer.currency)
    deposit = (
        f", and a deposit of {words.money(offer.asset.deposit_minor, offer.currency)}" if offer.asset.deposit_minor else ""
    )
    out.print(f"At most {most} will be charged{deposit}.")
    if out.is_terminal and not yes:
        click.confirm("Select it?", default=True, abort=True)


def refusal(order: UserOrder) -> EnergyShareError:
    """Give what an order was refused with, as an error."""
    if order.reason in Reason.__members__:
        return Rejected(Reason(order.reason), **order.metadata)
    return Unavailable(words.sentence_of(order), "select another offer, or make a new demand")


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
        "estimate_minor": offer.estimate_incl_vat_minor,
        "hold_minor": line.hold_minor,
        "deposit_minor": offer.asset.deposit_minor,
        "soc_pct": offer.asset.soc_pct,
        "withdrawn": line.withdrawn,
    }


def order_facts(order_id: OrderId, order: UserOrder) -> dict[str, Any]:
    """Give an order's facts for JSON."""
    return {
        "order": order.number,
        "id": id_text(order_id),
        "state": order.state,
        "sentence": words.sentence_of(order),
        "reason": order.reason,
        "candidates": order.candidates,
        "exclusions": dict(order.exclusions),
        "total_minor": order.total_minor,
        "proved": order.proved,
    }


def receipt_facts(order_id: OrderId, record: Any, fault: EnergyShareError | None) -> dict[str, Any]:
    """Give a bill's facts for JSON."""
    return {
        "id": id_text(order_id),
        "kind": record.kind.name,
        "basis": record.basis.name,
        "currency": record.currency,
        "energy_wh": record.energy_wh,
        "duration_s": record.duration_s,
        "excl_vat_minor": record.excl_vat_minor,
        "incl_vat_minor": record.incl_vat_minor,
        "hold_minor": record.hold_minor,
        "deposit_claimed_minor": record.deposit_claimed_minor,
        "proved": fault is None,
        "fault": str(fault) if fault else "",
    }
