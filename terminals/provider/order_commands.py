"""energyshare-provider order, offer and asset: what a person decides beside the daemon."""

import json
from pathlib import Path

import click
from rich.markup import escape

from energyshare.bodies import Asset
from energyshare.places import place_name
from energyshare.program import table
from energyshare.values import AssetId, AssetState, id_text
from energyshare.wire import decode
from terminals.provider.acts import (
    CancelOrder,
    CloseAsset,
    ConfirmEnd,
    OpenAsset,
    OrderAct,
    RefuseEnd,
    ReleaseDevice,
    StateNotReturned,
    WithdrawOffers,
)
from terminals.provider.asking import ask, look, looking
from terminals.provider.documents import documents
from terminals.provider.options import HOME, JSON, ORDER, amount, out
from terminals.provider.words import next_command, order_facts, sentence_of
from terminals.units import money

LISTED = 50


@click.group("order")
def order_group() -> None:
    """Orders: list them, call one off, answer its end."""


@order_group.command("list")
@click.option("--all", "show_all", is_flag=True, help=f"All of them, not only the latest {LISTED}.")
@HOME
@JSON
def order_list(show_all: bool, home: Path, as_json: bool) -> None:
    """List orders, the latest last.

    \b
    Examples:
      energyshare-provider order list
      energyshare-provider order list --all --json
    """
    with looking(home) as (identity, journal):
        found = sorted(documents(journal), key=lambda one: one[1].number)
    found = found if show_all else found[-LISTED:]
    if as_json:
        click.echo(json.dumps([order_facts(order_id, document) for order_id, document in found]))
        return
    rows = [
        (str(d.number), d.kind.lower(), d.asset, money(d.total_minor, identity.currency), escape(sentence_of(d)))
        for _, d in found
    ]
    out.print(table(("order", "kind", "asset", "billed", "state"), rows))


@order_group.command("cancel")
@ORDER
@click.option("--reason", default="BY_PROVIDER", show_default=True, help="Why, as NO_STAFF.")
@HOME
@JSON
def order_cancel(order: int, reason: str, home: Path, as_json: bool) -> None:
    """Call an order off before it is started; a voucher that is out is made void at its device.

    \b
    Examples:
      energyshare-provider order cancel 7 --reason NO_STAFF
    """
    _act(home, CancelOrder(order, reason), as_json)


@order_group.command("confirm")
@ORDER
@HOME
@JSON
def order_confirm(order: int, home: Path, as_json: bool) -> None:
    """Confirm an end without waiting for the time to look at it.

    \b
    Examples:
      energyshare-provider order confirm 7
    """
    _act(home, ConfirmEnd(order), as_json)


@order_group.command("refuse")
@ORDER
@click.option("--claim", required=True, metavar="AMOUNT", help="What you claim of the deposit.")
@click.option("--reason", required=True, help="Why; the user and the operator read it.")
@HOME
@JSON
def order_refuse(order: int, claim: str, reason: str, home: Path, as_json: bool) -> None:
    """Claim a part of the deposit at an end that waits to be confirmed; the rest is billed at once.

    \b
    Examples:
      energyshare-provider order refuse 7 --claim 50.00 --reason "the housing is broken"
    """
    with looking(home) as (identity, _):
        claimed = amount(claim, identity.currency)
    _act(home, RefuseEnd(order, claimed, reason), as_json)


@order_group.command("not-returned")
@ORDER
@HOME
@JSON
def order_not_returned(order: int, home: Path, as_json: bool) -> None:
    """Say that a battery has not come back, which claims its deposit; cap and grace must be over.

    \b
    Examples:
      energyshare-provider order not-returned 7
    """
    _act(home, StateNotReturned(order), as_json)


@order_group.command("release")
@ORDER
@HOME
@JSON
def order_release(order: int, home: Path, as_json: bool) -> None:
    """End a session that stayed open at your device, as its owner: for a battery that stands in its lock again.

    \b
    Examples:
      energyshare-provider order release 7
    """
    _act(home, ReleaseDevice(order), as_json)


@click.group("offer")
def offer_group() -> None:
    """Offers that stand."""


@offer_group.command("withdraw")
@ORDER
@HOME
@JSON
def offer_withdraw(order: int, home: Path, as_json: bool) -> None:
    """Take back the offers of an order that were not selected.

    \b
    Examples:
      energyshare-provider offer withdraw 7
    """
    _act(home, WithdrawOffers(order), as_json)


@click.group("asset")
def asset_group() -> None:
    """Batteries, charge points and workers: list them, take one out of service and back."""


@asset_group.command("list")
@HOME
@JSON
def asset_list(home: Path, as_json: bool) -> None:
    """List the assets as the cloud was last told of them.

    \b
    Examples:
      energyshare-provider asset list
    """
    with looking(home) as (_, journal):
        assets = [decode(Asset, body) for _, body in journal.documents("asset")]
        closed = {AssetId(key): reason.decode() for key, reason in journal.documents("closed-asset")}
    assets = [asset for asset in assets if asset.state is not AssetState.REMOVED]
    if as_json:
        click.echo(json.dumps([asset_facts(asset, closed.get(asset.asset_id, "")) for asset in assets]))
        return
    rows = [
        (
            place_name(asset.station, asset.name),
            asset.kind.name.lower(),
            asset.state.name.lower().replace("_", " "),
            "" if asset.soc_pct is None else f"{asset.soc_pct} %",
            escape(closed.get(asset.asset_id, "")),
        )
        for asset in assets
    ]
    out.print(table(("asset", "kind", "state", "charge", "why"), rows))


@asset_group.command("close")
@click.argument("name")
@click.option("--reason", default="OUT_OF_SERVICE", show_default=True, help="Why, in up to 64 characters.")
@HOME
@JSON
def asset_close(name: str, reason: str, home: Path, as_json: bool) -> None:
    """Take an asset out of service until it is opened again; orders under way go on.

    \b
    Examples:
      energyshare-provider asset close lock-1 --reason "being cleaned"
      energyshare-provider asset close Depot/lock-1
    """
    ask(home, CloseAsset(name, reason))
    _say_asset(name, "out of service", f"energyshare-provider asset open {name}", as_json)


@asset_group.command("open")
@click.argument("name")
@HOME
@JSON
def asset_open(name: str, home: Path, as_json: bool) -> None:
    """Put an asset back into service.

    \b
    Examples:
      energyshare-provider asset open lock-1
    """
    ask(home, OpenAsset(name))
    _say_asset(name, "in service", "energyshare-provider asset list", as_json)


def asset_facts(asset: Asset, why: str) -> dict[str, str | int | None]:
    """Give an asset as JSON."""
    return {
        "asset": id_text(asset.asset_id),
        "name": place_name(asset.station, asset.name),
        "kind": asset.kind.name,
        "state": asset.state.name,
        "soc_pct": asset.soc_pct,
        "why": why,
    }


def _act(home: Path, act: OrderAct, as_json: bool) -> None:
    """Have an act done, then say where its order stands and what to type next."""
    ask(home, act)
    with looking(home) as (_, journal):
        order_id, document = look(journal, act.order)
    if as_json:
        click.echo(json.dumps(order_facts(order_id, document)))
        return
    click.echo(f"Order {document.number}: {sentence_of(document)}")
    following = next_command(document)
    out.print(f"Next: {following or f'energyshare-provider order show {document.number}'}")


def _say_asset(name: str, state: str, following: str, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps({"asset": name, "state": state.upper().replace(" ", "_")}))
        return
    click.echo(f"{name} is {state}.")
    click.echo(f"Next: {following}")
