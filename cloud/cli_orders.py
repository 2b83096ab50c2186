"""The operator's commands about orders: what runs and ran, how demands were screened, what is disputed."""

from pathlib import Path

import click

from cloud import order_pages, pages
from cloud.asking import HOME, JSON, LIMIT, YES, ask, is_asked, show
from cloud.config import CloudHome
from cloud.pages import out
from energyshare.errors import Reason, Rejected
from energyshare.v1 import operator_pb2 as pb
from energyshare.values import Currency, Money, id_text

ORDER = click.argument("order_id", metavar="ORDER")


@click.group()
def order() -> None:
    """Orders: what runs and what ran."""


@order.command("list")
@HOME
@click.option("--state", default="", help="Only orders in this state.")
@click.option("--user", "user_name", default="", help="Only orders of this user.")
@click.option("--provider", "provider_name", default="", help="Only orders in which this provider is selected.")
@LIMIT
@JSON
def order_list(home: Path, state: str, user_name: str, provider_name: str, limit: int, as_json: bool) -> None:
    """List orders, newest first.

    \b
    Examples:
      energyshare-cloud order list --state ACTIVE
      energyshare-cloud order list --user alice --provider depot
    """
    wanted = pb.ListOrdersRequest(state=state, page_size=limit, user_name=user_name, provider_name=provider_name)
    answer = ask(home, "ListOrders", wanted)
    show(answer, as_json, lambda: order_pages.orders(answer))


@order.command("show")
@HOME
@ORDER
@JSON
def order_show(home: Path, order_id: str, as_json: bool) -> None:
    """Show an order: what it waits for, who takes part, what happened, its bills and its money.

    ORDER is its id, or a unique end of it.

    \b
    Examples:
      energyshare-cloud order show 7cb65d
    """
    answer = ask(home, "GetOrder", pb.GetOrderRequest(order=order_id))
    show(answer, as_json, lambda: order_pages.order(answer))


@click.group()
def demand() -> None:
    """Demands: whom they were put to."""


@demand.command("explain")
@HOME
@ORDER
@JSON
def demand_explain(home: Path, order_id: str, as_json: bool) -> None:
    """Say how a demand was screened, and why assets were left out.

    \b
    Examples:
      energyshare-cloud demand explain 7cb65d
    """
    answer = ask(home, "ExplainDemand", pb.ExplainDemandRequest(order=order_id))
    show(answer, as_json, lambda: order_pages.explanation(answer))


@click.group()
def dispute() -> None:
    """Disputes: what waits for a ruling."""


@dispute.command("list")
@HOME
@LIMIT
@JSON
def dispute_list(home: Path, limit: int, as_json: bool) -> None:
    """List the orders of which a part is disputed, the nearest to its fixed outcome first.

    \b
    Examples:
      energyshare-cloud dispute list
    """
    answer = ask(home, "ListDisputes", pb.ListDisputesRequest(page_size=limit))
    show(answer, as_json, lambda: order_pages.disputes(answer))


@dispute.command("show")
@HOME
@ORDER
@JSON
def dispute_show(home: Path, order_id: str, as_json: bool) -> None:
    """Show what a ruling needs: the bill, what is disputed of it and why, and the evidence that is kept.

    \b
    Examples:
      energyshare-cloud dispute show 7cb65d
    """
    answer = ask(home, "GetOrder", pb.GetOrderRequest(order=order_id))
    if not answer.HasField("dispute"):
        raise Rejected(Reason.WRONG_STATE, state=answer.order.state)

    def page() -> None:
        order_pages.dispute(answer)
        end = id_text(answer.order.order_id)[-6:]
        out.print(f"\nNext: energyshare-cloud dispute resolve {end} --charge AMOUNT --reason TEXT")

    show(answer, as_json, page)


@dispute.command("resolve")
@HOME
@ORDER
@click.option("--charge", required=True, metavar="AMOUNT", help="What the user pays of the disputed part: 0 to all of it.")
@click.option("--reason", required=True, help="Why; both sides are told.")
@YES
@JSON
def dispute_resolve(home: Path, order_id: str, charge: str, reason: str, yes: bool, as_json: bool) -> None:
    """Rule on a dispute: what the user pays of the disputed part. It can't be taken back.

    \b
    Examples:
      energyshare-cloud dispute resolve 7cb65d --charge 0 --reason "the outlet's meter was defect"
    """
    amount = _amount(charge, Currency(CloudHome(home).config().currency))
    if is_asked(yes, as_json):
        order_pages.dispute(ask(home, "GetOrder", pb.GetOrderRequest(order=order_id)))
        click.confirm(f"Rule that the user pays {amount} of what is disputed?", abort=True)
    ruling = pb.ResolveDisputeRequest(order=order_id, charge_minor=amount.amount_minor, reason=reason)
    answer = ask(home, "ResolveDispute", ruling)

    def page() -> None:
        total = pages.money(answer.total_minor, answer.currency)
        out.print(f"Order {id_text(answer.order_id)} is {answer.state}: the user pays {total} in all; both sides are told.")
        out.print(f"Next: energyshare-cloud order show {id_text(answer.order_id)[-6:]}")

    show(answer, as_json, page)


def _amount(text: str, currency: Currency) -> Money:
    try:
        amount = Money.parse(text, currency)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--charge") from None
    if amount.amount_minor < 0:
        raise click.BadParameter("is 0 or more", param_hint="--charge")
    return amount


COMMANDS = (order, demand, dispute)
