"""The operator's commands that look after the cloud itself: backups, alerts, parked messages, the record of acts."""

import json
from pathlib import Path
from typing import Any

import click

from cloud import pages
from cloud.asking import HOME, JSON, LIMIT, SINCE, YES, agree, ask, show
from cloud.config import CloudHome
from cloud.pages import out
from cloud.pump import system_now
from energyshare.home import WrongHome, lock_home
from energyshare.program import count_text
from energyshare.v1 import operator_pb2 as pb
from energyshare.values import id_text

PARKED = click.argument("parked_id", metavar="ID", type=click.IntRange(1))
KEYS = ("cloud.toml", "root.pub", "platform.key", "platform.grant", "token.secret", "ca.pem", "ca.key")


@click.command()
@HOME
@click.argument("file", type=click.Path(path_type=Path))
@JSON
def backup(home: Path, file: Path, as_json: bool) -> None:
    """Copy the database to a new file, as of one instant; the node may run.

    The file holds no keys. Keep those of the home apart from it: whoever has both can pass for this cloud.

    \b
    Examples:
      energyshare-cloud backup /backups/cloud-2026-11-22.db
    """
    answer = ask(home, "Backup", pb.BackupRequest(path=str(file.absolute())))

    def page() -> None:
        out.print(f"{file} holds {_held(answer.orders, answer.transfers)}: {answer.bytes:,} bytes.")
        out.print(f"To put it back: energyshare-cloud restore {file} --home HOME")

    show(answer, as_json, page)


@click.command()
@HOME
@click.argument("file", type=click.Path(path_type=Path))
@YES
@JSON
def restore(home: Path, file: Path, yes: bool, as_json: bool) -> None:
    """Put a backup in the place of the database; no node may run in the home, which keeps the old database beside it.

    A new home needs the keys of the old one first: all its files but cloud.db.

    \b
    Examples:
      energyshare-cloud restore /backups/cloud-2026-11-22.db --home ~/cloud
    """
    from cloud.operator_client import operator_name
    from cloud.store.backup import inspect
    from cloud.store.backup import restore as put_back

    cloud = CloudHome(home)
    _require_keys(cloud)
    with lock_home(home):
        found = inspect(file)
        agree(f"Replace the database of {home} by one of {count_text(found.orders, 'order')}?", yes, as_json)
        kept = put_back(file, cloud.database, cloud.root(), operator_name(), system_now())
    if as_json:
        fields = {"orders": found.orders, "transfers": found.transfers, "kept": str(kept) if kept else None}
        click.echo(json.dumps(fields))
        return
    out.print(f"{home} holds {_held(found.orders, found.transfers)}, as {file} does.")
    if kept:
        out.print(f"  {kept}  the database that was there before")
    out.print("The terminals will say again what came after the backup.")
    out.print(f"Next: energyshare-cloud ledger check --home {home}, then energyshare-cloud serve --home {home}")


@click.command()
@HOME
@LIMIT
@SINCE
@JSON
def audit(home: Path, limit: int, since: Any, as_json: bool) -> None:
    """List what operators did, newest first: who, when, what, on whom.

    \b
    Examples:
      energyshare-cloud audit --since 7d
    """
    answer = ask(home, "ListActs", pb.ListActsRequest(page_size=limit, since_time=since))
    show(answer, as_json, lambda: pages.acts(answer))


@click.group()
def alert() -> None:
    """Alerts: what the cloud wants its operator to look at."""


@alert.command("list")
@HOME
@LIMIT
@SINCE
@JSON
def alert_list(home: Path, limit: int, since: Any, as_json: bool) -> None:
    """List alerts, newest first.

    \b
    Examples:
      energyshare-cloud alert list --since 24h
    """
    answer = ask(home, "ListAlerts", pb.ListAlertsRequest(page_size=limit, since_time=since))
    show(answer, as_json, lambda: pages.alerts(answer))


@click.group()
def parked() -> None:
    """Parked messages: those on which the cloud's own code failed."""


@parked.command("list")
@HOME
@LIMIT
@JSON
def parked_list(home: Path, limit: int, as_json: bool) -> None:
    """List parked messages, newest first.

    \b
    Examples:
      energyshare-cloud parked list
    """
    answer = ask(home, "ListParked", pb.ListParkedRequest(page_size=limit))
    show(answer, as_json, lambda: pages.parked(answer))


@parked.command("show")
@HOME
@PARKED
@JSON
def parked_show(home: Path, parked_id: int, as_json: bool) -> None:
    """Show a parked message with what it holds.

    \b
    Examples:
      energyshare-cloud parked show 3
    """
    answer = ask(home, "GetParked", pb.GetParkedRequest(parked_id=parked_id))
    show(answer, as_json, lambda: pages.parked_one(answer))


@parked.command("retry")
@HOME
@PARKED
@JSON
def parked_retry(home: Path, parked_id: int, as_json: bool) -> None:
    """Have the order take a parked message after all; for what a device has signed, once the program is mended.

    Anything else its sender was told had failed, and says again if it still wants it: drop it.

    \b
    Examples:
      energyshare-cloud parked retry 3
    """
    answer = ask(home, "RetryParked", pb.RetryParkedRequest(parked_id=parked_id))

    def page() -> None:
        out.print(f"Order {id_text(answer.order_id)} has taken it and is {answer.state}.")
        out.print(f"Next: energyshare-cloud order show {id_text(answer.order_id)[-6:]}")

    show(answer, as_json, page)


@parked.command("drop")
@HOME
@PARKED
@YES
@JSON
def parked_drop(home: Path, parked_id: int, yes: bool, as_json: bool) -> None:
    """Throw a parked message away.

    \b
    Examples:
      energyshare-cloud parked drop 3
    """
    agree(f"Throw the parked message {parked_id} away?", yes, as_json)
    answer = ask(home, "DropParked", pb.DropParkedRequest(parked_id=parked_id))
    show(answer, as_json, lambda: out.print(f"The parked message {parked_id} is gone."))


def _require_keys(cloud: CloudHome) -> None:
    missing = [name for name in KEYS if not (cloud.path / name).exists()]
    if missing:
        raise WrongHome(
            f"{cloud.path} lacks {', '.join(missing)}",
            "copy the keys and cloud.toml of the cloud there first; a backup holds the database alone",
        )


def _held(orders: int, transfers: int) -> str:
    return f"{count_text(orders, 'order')} and {count_text(transfers, 'row')} of the ledger"


COMMANDS = (backup, restore, audit, alert, parked)
