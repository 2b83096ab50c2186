"""The operator's commands about the ledger: its check and checkpoints, statements, commissions."""

import json
from pathlib import Path

import click
from google.protobuf.timestamp_pb2 import Timestamp

from cloud import pages
from cloud.asking import HOME, JSON, WHY, ask, show
from cloud.checkpoints import write_checkpoint
from cloud.config import CloudHome
from cloud.pages import out, plain
from energyshare.bodies import CheckpointBody
from energyshare.errors import Corrupt
from energyshare.program import count_text
from energyshare.statement_page import print_statement, require_one_form, statement_options
from energyshare.v1 import operator_pb2 as pb
from energyshare.values import Kind, datetime_of
from energyshare.wire import decode_strictly

FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.group()
def ledger() -> None:
    """The ledger: is it whole and lawful."""


@ledger.command("check")
@HOME
@click.option(
    "--checkpoint", "files", type=FILE, multiple=True, help="Compare with this checkpoint too; repeatable, the more the closer."
)
@JSON
def ledger_check(home: Path, files: tuple[Path, ...], as_json: bool) -> None:
    """Check the ledger's laws, and that no row was altered, added or removed; exit 1 naming the first that is wrong.

    Without a checkpoint from outside of the database, whoever wrote the whole database anew goes unseen.

    \b
    Examples:
      energyshare-cloud ledger check
      energyshare-cloud ledger check --checkpoint /media/usb/20261122T100000Z.checkpoint
    """
    given = [path.read_bytes() for path in files]
    answer = ask(home, "CheckLedger", pb.CheckLedgerRequest(checkpoints=given))
    show(answer, as_json, lambda: pages.ledger(answer))
    if answer.fault:
        raise SystemExit(1)


@ledger.command("checkpoint")
@HOME
@click.option("--out", "file", type=click.Path(dir_okay=False, path_type=Path), help="The file; in the home if not given.")
@JSON
def ledger_checkpoint(home: Path, file: Path | None, as_json: bool) -> None:
    """Write a checkpoint: the platform key's word on all rows of the ledger as they stand. A running node does so every hour.

    \b
    Examples:
      energyshare-cloud ledger checkpoint --out /media/usb/today.checkpoint
    """
    answer = ask(home, "StateHeads", pb.StateHeadsRequest())
    body = decode_strictly(CheckpointBody, answer.checkpoint_body)
    try:
        path = write_checkpoint(home, body, CloudHome(home).platform(), file)
    except OSError as error:
        raise Corrupt(f"the checkpoint can't be written: {error}", "name another file with --out") from None
    if as_json:
        counts = {"transfers": body.transfers, "charge_records": body.charge_records}
        click.echo(json.dumps({"file": str(path), "checkpoint_time": datetime_of(body.checkpoint_time).isoformat(), **counts}))
        return
    out.print(
        f"{path} covers {count_text(body.transfers, 'row')} and {count_text(body.charge_records, 'charge record')}.",
        soft_wrap=True,
    )
    out.print(f"Keep a copy elsewhere. Next: energyshare-cloud ledger check --checkpoint {path}", soft_wrap=True)


@click.command()
@HOME
@click.argument("name")
@click.option("--role", type=click.Choice(["user", "provider"]), required=True)
@statement_options
def statement(home: Path, name: str, role: str, start: Timestamp, end: Timestamp, as_csv: bool, as_json: bool) -> None:
    """Print what moved on a user's or provider's account: every movement with its order and charge record, and the sums.

    \b
    Examples:
      energyshare-cloud statement depot --role provider --from 2026-11-01 --to 2026-12-01
      energyshare-cloud statement alice --role user --from 2026-11-01 --to 2026-12-01 --csv > alice.csv
    """
    require_one_form(as_csv, as_json)
    asked = pb.GetPartyStatementRequest(role=role, name=name, from_time=start, to_time=end)
    print_statement(out, ask(home, "GetPartyStatement", asked).statement, as_csv, as_json)


@click.group()
def commission() -> None:
    """Commissions: what the cloud keeps of a bill without VAT, by provider and kind."""


@commission.command("list")
@HOME
@JSON
def commission_list(home: Path, as_json: bool) -> None:
    """List the providers whose commission differs from the cloud's.

    \b
    Examples:
      energyshare-cloud commission list
    """
    answer = ask(home, "ListCommissions", pb.ListCommissionsRequest())
    show(answer, as_json, lambda: pages.commissions(answer))


@commission.command("set")
@HOME
@click.argument("name")
@click.option("--kind", type=click.Choice([kind.name.lower() for kind in Kind]), required=True)
@click.option("--bp", type=click.IntRange(0, 10_000), help="Basis points; without it the cloud's own counts again.")
@WHY
@JSON
def commission_set(home: Path, name: str, kind: str, bp: int | None, reason: str, as_json: bool) -> None:
    """Set a provider's commission for one kind, for bills from now on; corrections keep that of the bill they correct.

    \b
    Examples:
      energyshare-cloud commission set depot --kind energy --bp 300 --reason "contract of 2026-11"
    """
    request = pb.SetCommissionRequest(provider_name=name, kind=kind.upper(), commission_bp=bp, reason=reason)
    answer = ask(home, "SetCommission", request)

    def page() -> None:
        before = "" if answer.changed else ", as before"
        out.print(f"The commission of {plain(name)} for {kind} is {pages.percent(answer.commission_bp)}{before}.")
        out.print("To see all: energyshare-cloud commission list")

    show(answer, as_json, page)


COMMANDS = (ledger, statement, commission)
