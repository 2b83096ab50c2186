"""A statement of account as people read it: the period that they ask for, the page, JSON and CSV; the same in every program."""

import base64
import csv
import json
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import click
from google.protobuf.json_format import MessageToDict
from google.protobuf.timestamp_pb2 import Timestamp
from rich.console import Console

from energyshare.program import table
from energyshare.v1.account_pb2 import Statement
from energyshare.values import Currency, Minor, Money, id_text

COLUMNS = ("time", "reason", "amount_minor", "balance_minor", "currency", "order_id", "charge_record", "corrects")
Command = Callable[..., Any]


class Day(click.ParamType[Timestamp]):
    """A date, at its beginning in UTC, or a time as ISO 8601 writes it."""

    name = "date"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Timestamp:
        """Give it as the contract does."""
        given = Timestamp()
        try:
            moment = datetime.fromisoformat(value)
            given.FromDatetime(moment if moment.tzinfo else moment.replace(tzinfo=UTC))
        except (ValueError, OverflowError):
            self.fail(f"{value!r} is no date; write for example 2026-11-01", param, ctx)
        return given


def statement_options(command: Command) -> Command:
    """Add the options of a statement: --from, --to, --csv, --json."""
    options = (
        click.option(
            "--from", "start", type=Day(), default=_month_s_first, help="The first day, UTC. [default: of this month]"
        ),
        click.option("--to", "end", type=Day(), default=_tomorrow, help="The day after the last, UTC. [default: tomorrow]"),
        click.option("--csv", "as_csv", is_flag=True, help="Print CSV, amounts in minor units."),
        click.option("--json", "as_json", is_flag=True, help="Print JSON."),
    )
    for option in reversed(options):
        command = option(command)
    return command


def require_one_form(as_csv: bool, as_json: bool) -> None:
    """Raise click.UsageError when two forms are asked for."""
    if as_csv and as_json:
        raise click.UsageError("choose one of --csv and --json")


def print_statement(out: Console, found: Statement, as_csv: bool, as_json: bool) -> None:
    """Print a statement."""
    if as_csv:
        _print_csv(found)
    elif as_json:
        click.echo(json.dumps(_readable(found)))
    else:
        _print_page(out, found)


def _month_s_first() -> str:
    return datetime.now(UTC).strftime("%Y-%m-01")


def _tomorrow() -> str:
    return (datetime.now(UTC) + timedelta(days=1)).strftime("%Y-%m-%d")


def _print_page(out: Console, found: Statement) -> None:
    def money(minor: int) -> str:
        return str(Money(Currency(found.currency), Minor(minor)))

    lines = [
        (_utc(r.entry_time), r.reason, _short(r.order_id), money(r.amount_minor), money(r.balance_minor)) for r in found.rows
    ]
    out.print(f"opening balance {money(found.opening_minor)}")
    out.print(table(("time, UTC", "what", "order", "amount", "balance"), lines) if lines else "Nothing moved.")
    out.print(f"closing balance {money(found.closing_minor)}")
    for total in found.totals:
        out.print(f"  {total.reason:16} {money(total.amount_minor)}")
    out.print(f"in the bills: VAT {money(found.vat_minor)}, commission {money(found.commission_minor)}")
    if found.role == "provider":
        out.print(f"can be paid out now: {money(found.payable_minor)}")
    elif found.owed_minor:
        out.print(f"owed beside it: {money(found.owed_minor)}")


def _print_csv(found: Statement) -> None:
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in found.rows:
        order = id_text(row.order_id) if row.order_id else ""
        when = row.entry_time.ToJsonString()
        records = (row.charge_record_hash.hex(), row.corrects_hash.hex())
        writer.writerow((when, row.reason, row.amount_minor, row.balance_minor, found.currency, order, *records))


def _readable(found: Statement) -> dict[str, Any]:
    """Give the fields as the contract names them, with ids and hashes as people see them."""
    fields: dict[str, Any] = MessageToDict(found, preserving_proto_field_name=True, always_print_fields_with_no_presence=True)
    fields["account_id"] = id_text(found.account_id)
    for row in fields["rows"]:
        row["order_id"] = id_text(base64.b64decode(row["order_id"])) if row["order_id"] else ""
        for name in ("charge_record_hash", "corrects_hash"):
            row[name] = base64.b64decode(row[name]).hex()
    return fields


def _utc(time: Timestamp) -> str:
    return time.ToDatetime(tzinfo=UTC).strftime("%Y-%m-%d %H:%M:%S")


def _short(order_id: bytes) -> str:
    return f"…{id_text(order_id)[-6:]}" if order_id else ""
