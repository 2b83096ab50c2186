"""Commands about money: the wallet."""

import asyncio
import json
from pathlib import Path

import click
from google.protobuf.timestamp_pb2 import Timestamp

from energyshare.statement_page import print_statement, require_one_form, statement_options
from terminals.units import money
from terminals.user import pages
from terminals.user.commands.reaching import amount_of, opened_home
from terminals.user.options import HOME, JSON
from terminals.wallet_page import print_wallet

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
    print_wallet(pages.out, found, "user", as_json)


@wallet_group.command("statement")
@statement_options
@HOME
def wallet_statement(start: Timestamp, end: Timestamp, as_csv: bool, as_json: bool, home: Path) -> None:
    """Print what moved within a period: every movement with its order and charge record, and the sums.

    \b
    Examples:
      energyshare wallet statement --from 2026-11-01 --to 2026-12-01
      energyshare wallet statement --from 2026-11-01 --to 2026-12-01 --csv > november.csv
    """
    require_one_form(as_csv, as_json)
    with opened_home(home) as me:
        found = asyncio.run(me.statement(start, end))
    print_statement(pages.out, found, as_csv, as_json)


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
        pages.out.print(f"{money(part.amount_minor, currency)} {STANDINGS.get(part.state, part.state)}")
    pages.out.print(f"available: [bold]{money(answer.available_minor, currency)}[/]")
