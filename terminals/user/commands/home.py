"""Commands about a home as a whole: its identity, its orders, and what waits for the cloud."""

import asyncio
import json
from pathlib import Path
from typing import TextIO

import click

from energyshare.home import lock_home
from energyshare.values import id_text
from terminals.user import pages, words
from terminals.user.commands.reaching import opened_home
from terminals.user.options import HOME, JSON, ORDER
from terminals.user.order import OPEN


def register(program: click.Group) -> None:
    """Add the commands."""
    for command in (enroll_command, sync_command, status_command, orders_command):
        program.add_command(command)


@click.command("enroll")
@click.option("--cloud", required=True, metavar="HOST:PORT", help="The cloud's enrollment address.")
@click.option("--ca", required=True, type=click.Path(dir_okay=False, path_type=Path), help="The cloud's authority, PEM.")
@click.option("--token-file", required=True, type=click.File(encoding="utf-8"), help="A file with the join token; - for stdin.")
@HOME
@JSON
def enroll_command(cloud: str, ca: Path, token_file: TextIO, home: Path, as_json: bool) -> None:
    """Get your identity; in an enrolled home, renew it.

    \b
    Examples:
      energyshare enroll --cloud cloud.example.org:7444 --ca ca.pem --token-file alice.token
    """
    from terminals.identity import enroll

    with lock_home(home):
        identity = asyncio.run(enroll(home, "user", cloud, ca, token_file.read().strip()))
    if as_json:
        click.echo(json.dumps({"terminal": id_text(identity.subject_id), "account": id_text(identity.owner_id)}))
        return
    pages.say(f"Welcome, {identity.name}. Next: energyshare wallet top-up AMOUNT")


WAITING = (*OPEN, "DISPUTED")
LISTEN_S = 1.0  # for news of orders that are over


@click.command("sync")
@click.option("--wait", type=words.Duration(), default="3s", show_default=True, help="How long to listen for news.")
@HOME
@JSON
def sync_command(wait: int, home: Path, as_json: bool) -> None:
    """Exchange what waits with the cloud.

    \b
    Examples:
      energyshare sync
      energyshare sync --wait 1m
    """
    with opened_home(home) as me:
        waiting = [order_id for order_id, order in me.orders() if order.state in WAITING]
        moved = lambda: bool(waiting) and not me.has_unsent and all(me.order(i).state not in WAITING for i in waiting)  # noqa: E731
        asyncio.run(me.sync(moved, wait if waiting or me.has_unsent else min(wait, LISTEN_S)))
        me.forget_old_parts()
        pages.print_orders(me, as_json)


@click.command("status")
@ORDER
@HOME
@JSON
def status_command(order: int | None, home: Path, as_json: bool) -> None:
    """Say where an order stands, what it costs so far, and what to type next.

    \b
    Examples:
      energyshare status
      energyshare status 3 --json
    """
    with opened_home(home, read_only=True) as me:
        pages.print_order(me, me.numbered(order), as_json)


@click.command("orders")
@click.option("--account", is_flag=True, help="First get those of your account's other terminals from the cloud.")
@HOME
@JSON
def orders_command(account: bool, home: Path, as_json: bool) -> None:
    """List your orders; with --account also those that another terminal of yours made, as one that is lost.

    \b
    Examples:
      energyshare orders
      energyshare orders --account
    """
    with opened_home(home, read_only=not account) as me:
        if account:
            asyncio.run(me.adopt_orders())
        pages.print_orders(me, as_json)
