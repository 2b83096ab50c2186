"""Commands about money: the wallet."""

import asyncio
import json
from pathlib import Path

import click

from energyshare.program import table
from energyshare.values import Instant, id_text
from terminals.units import money, time_text
from terminals.user import pages
from terminals.user.commands.reaching import amount_of, opened_home
from terminals.user.options import HOME, JSON

STANDINGS = {
    "CREATED": "is under way; the gateway has not answered yet",
    "PENDING": "is under way",
    "SUCCEEDED": "is paid back to where it came from",
    "FAILED": "could not be paid back, and is in your wallet again",
    "REVERSED": "came back, and is in your wallet again",
}


def register(program: click.Group) -> None:
    """Add the commands."""
    program.add_command(wallet_group)


@click.group("wallet")
def wallet_group() -> None:
    """Your money."""


@wallet_group.command("show")
@HOME
@JSON
def wallet_show(home: Path, as_json: bool) -> None:
    """Show what you have, what is held, and the latest movements.

    \b
    Examples:
      energyshare wallet show
    """
    with opened_home(home) as me:
        found = asyncio.run(me.wallet())
    if as_json:
        facts = {"available_minor": found.available_minor, "held_minor": found.held_minor, "currency": found.currency}
        click.echo(json.dumps(facts))
        return
    pages.out.print(f"available  [bold]{money(found.available_minor, found.currency)}[/]")
    pages.out.print(f"held       {money(found.held_minor, found.currency)}")
    rows = [
        (
            time_text(Instant(e.entry_time.ToMicroseconds())),
            money(e.amount_minor, found.currency),
            e.reason.lower(),
            f"…{id_text(e.order_id)[-6:]}" if e.order_id else "",
        )
        for e in found.entries
    ]
    if rows:
        pages.out.print(table(("time", "amount", "why", "order"), rows))


@wallet_group.command("top-up", context_settings={"ignore_unknown_options": True})  # -5 is an amount, and refused as one
@click.argument("amount")
@HOME
@JSON
def wallet_top_up(amount: str, home: Path, as_json: bool) -> None:
    """Pay in; AMOUNT as 100 or 25.50.

    \b
    Examples:
      energyshare wallet top-up 100
    """
    with opened_home(home) as me:
        minor = amount_of(amount, me)
        answer = asyncio.run(me.top_up(minor))
        currency = me.identity.currency
    if as_json:
        facts = {"available_minor": answer.available_minor, "currency": currency, "state": answer.state}
        click.echo(json.dumps(facts | {"pay_url": answer.pay_url}))
        return
    if answer.pay_url:
        pages.out.print(f"To pay in {money(minor, currency)}, open:")
        click.echo(f"  {answer.pay_url}")
        pages.out.print("Then look with: energyshare wallet show")
        return
    pages.out.print(f"Paid in {money(minor, currency)}; available: [bold]{money(answer.available_minor, currency)}[/]")


@wallet_group.command("withdraw", context_settings={"ignore_unknown_options": True})
@click.argument("amount")
@HOME
@JSON
def wallet_withdraw(amount: str, home: Path, as_json: bool) -> None:
    """Take money out, to where it came from; AMOUNT as 100 or 25.50.

    \b
    Examples:
      energyshare wallet withdraw 50
    """
    with opened_home(home) as me:
        minor = amount_of(amount, me)
        answer = asyncio.run(me.withdraw(minor))
        currency = me.identity.currency
    if as_json:
        facts = {"available_minor": answer.available_minor, "currency": currency}
        parts = [{"amount_minor": p.amount_minor, "state": p.state, "problem": p.problem} for p in answer.parts]
        click.echo(json.dumps(facts | {"parts": parts}))
        return
    for part in answer.parts:
        pages.out.print(f"{money(part.amount_minor, currency)}  {STANDINGS.get(part.state, part.state)}")
    pages.out.print(f"available: [bold]{money(answer.available_minor, currency)}[/]")
