"""energyshare: the commands that only show. `order show`, `order list`, `watch`, `receipt`."""

import asyncio
import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from energyshare.errors import Unavailable
from energyshare.home import is_free, is_wanted, write_atomically
from terminals.user import pages
from terminals.user.options import HOME, INTERVAL, JSON, ORDER

if TYPE_CHECKING:
    from terminals.user.terminal import UserTerminal


@click.group("order")
def order_group() -> None:
    """Your orders: list them, or show all that is known of one."""


@order_group.command("list")
@HOME
@JSON
def order_list(home: Path, as_json: bool) -> None:
    """List your orders.

    \b
    Examples:
      energyshare order list
    """
    with _reading(home) as me:
        pages.print_orders(me, as_json)


@order_group.command("show")
@ORDER
@HOME
@JSON
def order_show(order: int | None, home: Path, as_json: bool) -> None:
    """Show an order: where it stands, its money, until when what, its history and the evidence that is here.

    \b
    Examples:
      energyshare order show
      energyshare order show 3 --json
    """
    from terminals.user.overview import view_of

    with _reading(home) as me:
        pages.print_order_page(view_of(me, me.numbered(order), pages.read_clock()), as_json)


@click.command("watch")
@ORDER
@INTERVAL
@click.option("--once", is_flag=True, help="Show it once, without connecting.")
@click.option("--offline", is_flag=True, help="Do not connect: other commands can then run beside it.")
@HOME
@JSON
def watch_command(order: int | None, interval: float, once: bool, offline: bool, home: Path, as_json: bool) -> None:
    """Watch your open orders live, connected to the cloud; end it with Ctrl-C.

    It steps aside while another command works in your home, and connects again after that.

    \b
    Examples:
      energyshare watch
      energyshare watch 3 --interval 5
      energyshare watch --offline     # only what this terminal knows already
    """
    from terminals.user.watching import Connection, print_once, watch, watched

    if once or offline:
        with _reading(home) as me:
            look = partial(watched, me, None if order is None else me.numbered(order))
            if once:
                print_once(look(), pages.out, as_json=as_json)
            else:
                asyncio.run(watch(None, look, pages.out, interval, as_json=as_json))
        return
    while True:
        with ExitStack() as held:
            me, can_write = _opened(held, home)
            look = partial(watched, me, None if order is None else me.numbered(order))
            until = partial(is_wanted if can_write else is_free, home)
            connection = Connection(me) if can_write else None
            asyncio.run(watch(connection, look, pages.out, interval, as_json=as_json, until=until))


@click.command("receipt")
@ORDER
@click.option("--html", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="Write it as a page to print.")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="Write the signed evidence.")
@HOME
@JSON
def receipt_command(order: int | None, html: Path | None, out: Path | None, home: Path, as_json: bool) -> None:
    """Show an order's bill, and whether it follows from the evidence; exit 1 when it does not.

    \b
    Examples:
      energyshare receipt
      energyshare receipt 3 --json
      energyshare receipt 3 --html receipt-3.html
      energyshare receipt 3 --out receipt-3.bundle     # for anyone: energyshare verify receipt-3.bundle
    """
    from terminals.user.receipt_html import receipt_html
    from terminals.user.receipt_text import receipt_lines
    from terminals.user.receipts import read_receipt, receipt_facts
    from terminals.user.verifying import bundle_file

    with _reading(home) as me:
        receipt = read_receipt(me, me.numbered(order))
        evidence = bundle_file(me.journal, receipt.order_id) if out is not None else b""
    if out is not None:
        write_atomically(out, evidence, mode=0o644)
    if html is not None:
        write_atomically(html, receipt_html(receipt).encode(), mode=0o644)
    if as_json:
        files = {"html": str(html) if html else None} | ({"out": str(out)} if out else {})
        click.echo(json.dumps(receipt_facts(receipt) | files))
    elif html is None and out is None:
        for line in receipt_lines(receipt):
            click.echo(line)
    if html is not None and not as_json:
        pages.say(f"Written to {html}; print it with a browser.")
    if out is not None and not as_json:
        pages.say(f"The evidence is written to {out}; anyone may check it with: energyshare verify {out} --root root.pub")
    if receipt.fault is not None:
        raise receipt.fault


def register(program: click.Group) -> None:
    """Add the commands to a program; `order` joins a group of that name."""
    group = program.commands.get("order")
    if isinstance(group, click.Group):
        for command in order_group.commands.values():
            group.add_command(command)
    else:
        program.add_command(order_group)
    program.add_command(watch_command)
    program.add_command(receipt_command)


@contextmanager
def _reading(home: Path) -> Iterator["UserTerminal"]:
    from terminals.user.terminal import opened

    with opened(home, pages.read_clock, read_only=True) as me:
        yield me


def _opened(held: ExitStack, home: Path) -> tuple["UserTerminal", bool]:
    """Open a home for watching; says whether it may be written: not where another program holds it or waits for it."""
    from terminals.user.terminal import opened

    try:
        if not is_wanted(home):
            return held.enter_context(opened(home, pages.read_clock)), True
    except Unavailable as error:
        click.echo(f"energyshare: note: {error}; watching without connecting until it ends", err=True)
    return held.enter_context(_reading(home)), False
