"""An account's money as both programs show it."""

import json

import click
from rich.console import Console

from energyshare.program import table
from energyshare.v1.account_pb2 import GetWalletResponse
from energyshare.values import Instant, id_text
from terminals.units import money, time_text


def print_wallet(out: Console, found: GetWalletResponse, role: str, as_json: bool) -> None:
    """Print what there is, what is held, what is owed or can be paid out, and the latest movements."""
    amounts = {"available_minor": found.available_minor, "held_minor": found.held_minor}
    amounts |= {"payable_minor": found.payable_minor} if role == "provider" else {"owed_minor": found.owed_minor}
    if as_json:
        entries = [
            {
                "time": e.entry_time.ToJsonString(),
                "amount_minor": e.amount_minor,
                "reason": e.reason,
                "order": id_text(e.order_id) if e.order_id else "",
            }
            for e in found.entries
        ]
        click.echo(json.dumps(amounts | {"currency": found.currency, "entries": entries}))
        return
    for name, minor in amounts.items():
        if minor or name != "owed_minor":
            out.print(f"{name.removesuffix('_minor'):10} [bold]{money(minor, found.currency)}[/]")
    rows = [
        (
            time_text(Instant(e.entry_time.ToMicroseconds())),
            money(e.amount_minor, found.currency),
            e.reason,
            f"…{id_text(e.order_id)[-6:]}" if e.order_id else "",
        )
        for e in found.entries
    ]
    if rows:
        out.print(table(("time", "amount", "why", "order"), rows))
