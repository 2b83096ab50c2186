"""energyshare-provider: what is earned. `wallet show`, `wallet statement`; beside the daemon, straight from the cloud."""

import asyncio
from pathlib import Path

import click
from google.protobuf.timestamp_pb2 import Timestamp

from energyshare.statement_page import print_statement, require_one_form, statement_options
from terminals.identity import load_identity
from terminals.provider.options import HOME, JSON, ROLE, out
from terminals.wallet_page import print_wallet


@click.group("wallet")
def wallet_group() -> None:
    """What you have earned."""


@wallet_group.command("show")
@HOME
@JSON
def wallet_show(home: Path, as_json: bool) -> None:
    """Show what is there, what of it is held for disputes, what can be paid out, and the latest movements.

    \b
    Examples:
      energyshare-provider wallet show
    """
    from terminals.account_service import fetch_wallet

    print_wallet(out, asyncio.run(fetch_wallet(load_identity(home, ROLE))), ROLE, as_json)


@wallet_group.command("statement")
@statement_options
@HOME
def wallet_statement(start: Timestamp, end: Timestamp, as_csv: bool, as_json: bool, home: Path) -> None:
    """Print what moved within a period: every movement with its order and charge record, and the sums.

    \b
    Examples:
      energyshare-provider wallet statement --from 2026-11-01 --to 2026-12-01
      energyshare-provider wallet statement --from 2026-11-01 --to 2026-12-01 --csv > november.csv
    """
    from terminals.account_service import fetch_statement

    require_one_form(as_csv, as_json)
    print_statement(out, asyncio.run(fetch_statement(load_identity(home, ROLE), start, end)), as_csv, as_json)
