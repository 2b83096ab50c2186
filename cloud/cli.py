"""energyshare-cloud: a node, and the operator's commands.

A command asks the running node over its socket; when none runs it takes the home's lock and opens the database itself.
"""

import asyncio
import json
import logging
import os
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message

from cloud.config import CloudHome
from cloud.pump import system_now
from energyshare.errors import Unavailable
from energyshare.home import lock_home, lock_home_patiently
from energyshare.program import Program, console, table
from energyshare.signing import SigningKey
from energyshare.v1 import operator_pb2 as pb
from energyshare.values import Currency, Minor, Money, id_text

HOME = click.option(
    "--home", type=click.Path(path_type=Path), envvar="ENERGYSHARE_HOME", required=True, help="The cloud's home directory."
)
JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
LOCK_WITHIN_S = 5.0  # an operator's command holds the home for a moment

out = console()


@click.group(cls=Program, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="energyshare")
def main() -> None:
    """Run an EnergyShare cloud, and see what goes on in it.

    \b
    Examples:
      energyshare-cloud init --home ~/cloud --name cloud.example.org
      energyshare-cloud serve --home ~/cloud --listen 0.0.0.0:7443
      energyshare-cloud token create --home ~/cloud --role user --name alice
    """


@main.command()
@HOME
@click.option("--name", "names", multiple=True, help="Host name or address under which terminals reach it; repeatable.")
@click.option("--currency", default="CNY", show_default=True, help="The one currency of this cloud, ISO 4217.")
@JSON
def init(home: Path, names: tuple[str, ...], currency: str, as_json: bool) -> None:
    """Make a cloud's home: keys, certificate authority, settings.

    \b
    Examples:
      energyshare-cloud init --home ~/cloud --name cloud.example.org --name 10.0.0.5 --currency CNY
    """
    if not (len(currency) == 3 and currency.isalpha() and currency.isupper()):
        raise click.BadParameter("three capital letters, as CNY", param_hint="--currency")
    CloudHome(home).init(names or ("localhost", "127.0.0.1"), currency, system_now())
    if as_json:
        click.echo(json.dumps({"home": str(home), "ca": str(home / "ca.pem"), "root_key": str(home / "root.key")}))
        return
    out.print(f"A cloud's home is at {home}.")
    out.print(f"  {home}/ca.pem    give this to those who enroll")
    out.print(f"  {home}/root.key  the platform root: take it offline; only grants are signed with it")
    out.print(f"Next: energyshare-cloud serve --home {home}")


@main.command()
@HOME
@click.option("--listen", default="127.0.0.1:7443", show_default=True, help="HOST:PORT for terminals, mutual TLS.")
@click.option("--enrollment-listen", default="127.0.0.1:7444", show_default=True, help="HOST:PORT for enrollment.")
@click.option(
    "--root-key",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Sign grants at once with this platform root key; for demonstrations.",
)
@JSON
def serve(home: Path, listen: str, enrollment_listen: str, root_key: Path | None, as_json: bool) -> None:
    """Run a node until SIGINT or SIGTERM; prints one line when it is ready.

    \b
    Examples:
      energyshare-cloud serve --home ~/cloud --listen 0.0.0.0:7443 --enrollment-listen 0.0.0.0:7444
    """
    logging.basicConfig(level=os.environ.get("ENERGYSHARE_LOG", "WARNING"), format="%(asctime)s %(name)s %(message)s")
    cloud = CloudHome(home)
    cloud.config()
    with lock_home_patiently(home, LOCK_WITHIN_S):
        _serve(cloud, listen, enrollment_listen, SigningKey.load(root_key) if root_key else None, as_json)


@main.group()
def token() -> None:
    """Join tokens: what lets a terminal enroll."""


@token.command("create")
@HOME
@click.option("--role", type=click.Choice(["user", "provider", "device"]), required=True)
@click.option("--name", required=True, help="Name of the user, provider or device.")
@JSON
def token_create(home: Path, role: str, name: str, as_json: bool) -> None:
    """Make a join token and print it; it works once, within a day.

    \b
    Examples:
      energyshare-cloud token create --role provider --name depot > depot.token
    """
    answer = _ask(home, "CreateToken", pb.CreateTokenRequest(request_id=os.urandom(16), role=role, name=name))
    _show(answer, as_json, lambda: click.echo(answer.token))


@main.group()
def order() -> None:
    """Orders: what runs and what ran."""


@order.command("list")
@HOME
@click.option("--state", default="", help="Only orders in this state.")
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1, 1000))
@JSON
def order_list(home: Path, state: str, limit: int, as_json: bool) -> None:
    """List orders, newest first.

    \b
    Examples:
      energyshare-cloud order list --state ACTIVE
    """
    answer = _ask(home, "ListOrders", pb.ListOrdersRequest(state=state, page_size=limit))
    _show(answer, as_json, lambda: _orders_table(answer))


@order.command("show")
@HOME
@click.argument("order_id", metavar="ORDER")
@JSON
def order_show(home: Path, order_id: str, as_json: bool) -> None:
    """Show an order: its timeline and its money. ORDER is its id, or a unique end of it.

    \b
    Examples:
      energyshare-cloud order show 7cb65d
    """
    answer = _ask(home, "GetOrder", pb.GetOrderRequest(order=order_id))
    _show(answer, as_json, lambda: _order_page(answer))


@main.group()
def demand() -> None:
    """Demands: whom they were put to."""


@demand.command("explain")
@HOME
@click.argument("order_id", metavar="ORDER")
@JSON
def demand_explain(home: Path, order_id: str, as_json: bool) -> None:
    """Say how a demand was screened, and why assets were left out.

    \b
    Examples:
      energyshare-cloud demand explain 7cb65d
    """
    answer = _ask(home, "ExplainDemand", pb.ExplainDemandRequest(order=order_id))
    _show(answer, as_json, lambda: _explanation(answer))


@main.group()
def terminal() -> None:
    """Terminals and devices."""


@terminal.command("list")
@HOME
@JSON
def terminal_list(home: Path, as_json: bool) -> None:
    """List terminals and devices.

    \b
    Examples:
      energyshare-cloud terminal list
    """
    answer = _ask(home, "ListTerminals", pb.ListTerminalsRequest())
    rows = [
        (t.role, t.name, "online" if t.online else "", str(t.waiting_envelopes), id_text(t.terminal_id))
        for t in answer.terminals
    ]
    _show(answer, as_json, lambda: _table(("role", "name", "", "waiting", "id"), rows))


@main.group()
def asset() -> None:
    """Assets: batteries and charge points."""


@asset.command("list")
@HOME
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1, 100_000))
@JSON
def asset_list(home: Path, limit: int, as_json: bool) -> None:
    """List assets.

    \b
    Examples:
      energyshare-cloud asset list --limit 200
    """
    answer = _ask(home, "ListAssets", pb.ListAssetsRequest(page_size=limit))
    rows = [
        (a.provider_name, a.station, a.name, a.kind, a.state, f"…{id_text(a.held_by)[-6:]}" if a.held_by else "")
        for a in answer.assets
    ]

    def page() -> None:
        _table(("provider", "station", "asset", "kind", "state", "held by"), rows)
        out.print(f"{len(rows)} of {answer.total}")

    _show(answer, as_json, page)


@main.group()
def ledger() -> None:
    """The ledger."""


@ledger.command("check")
@HOME
@JSON
def ledger_check(home: Path, as_json: bool) -> None:
    """Check the ledger's laws over its whole history; exit 1 when one is broken.

    \b
    Examples:
      energyshare-cloud ledger check
    """
    answer = _ask(home, "CheckLedger", pb.CheckLedgerRequest())

    def page() -> None:
        if answer.fault:
            click.echo(f"energyshare-cloud: error: {answer.fault}", err=True)
            return
        debits, received, held = (
            _money(minor, answer.currency) for minor in (answer.debits_minor, answer.credits_minor, answer.held_minor)
        )
        out.print(
            f"The ledger holds: {answer.transfers} rows, {answer.accounts} accounts, {answer.charge_records} charge records."
        )
        out.print(f"  debits {debits} = credits {received}; held {held}")

    _show(answer, as_json, page)
    if answer.fault:
        raise SystemExit(1)


@main.command()
@HOME
@JSON
def status(home: Path, as_json: bool) -> None:
    """Say how the node is.

    \b
    Examples:
      energyshare-cloud status --json
    """
    answer = _ask(home, "GetStatus", pb.GetStatusRequest())

    def page() -> None:
        since = answer.ready_time.ToDatetime(UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S") if answer.running else ""
        out.print(f"energyshare-cloud {answer.version} {'runs since ' + since if answer.running else 'does not run'}")
        out.print("  orders   " + (", ".join(f"{o.count} {o.state}" for o in answer.orders) or "none"))
        out.print(f"  streams  {answer.streams} open, {answer.waiting_envelopes} envelopes wait")
        out.print(f"  assets   {answer.assets}")
        if answer.parked:
            out.print(f"  parked   {answer.parked} messages on which the cloud failed")
        if answer.pending_grants:
            out.print(f"  grants   {answer.pending_grants} wait for: energyshare-cloud grant sign --root-key FILE")

    _show(answer, as_json, page)


@main.group()
def grant() -> None:
    """Grants: the platform root's word on who a key belongs to."""


@grant.command("list")
@HOME
@JSON
def grant_list(home: Path, as_json: bool) -> None:
    """List grants that wait for a signature.

    \b
    Examples:
      energyshare-cloud grant list
    """
    answer = _ask(home, "ListPendingGrants", pb.ListPendingGrantsRequest())
    _show(answer, as_json, lambda: _table(("name",), [(g.name,) for g in answer.grants]))


@grant.command("sign")
@HOME
@click.option("--root-key", type=click.Path(exists=True, dir_okay=False, path_type=Path), required=True)
@JSON
def grant_sign(home: Path, root_key: Path, as_json: bool) -> None:
    """Sign all grants that wait, with the platform root's key.

    \b
    Examples:
      energyshare-cloud grant sign --root-key /media/usb/root.key
    """
    from cloud.operator_client import sign_grants

    key = SigningKey.load(root_key)
    answer = _ask(home, "ListPendingGrants", pb.ListPendingGrantsRequest())
    for name, signed in sign_grants(answer.grants, key):
        _ask(home, "SubmitGrant", pb.SubmitGrantRequest(grant=signed))
        if not as_json:
            out.print(f"signed the grant of {name}")
    if as_json:
        click.echo(json.dumps({"signed": [g.name for g in answer.grants]}))


def _serve(cloud: CloudHome, listen: str, enrollment_listen: str, root_key: SigningKey | None, as_json: bool) -> None:
    import uvloop

    from cloud.node import Listening, Node

    def announce(where: Listening) -> None:
        if as_json:
            click.echo(json.dumps({"ready": True, "streams": where.streams, "enrollment": where.enrollment}))
        else:
            click.echo(f"ready: terminals on {where.streams}, enrollment on {where.enrollment}")

    async def serve_node() -> None:
        await Node(cloud, listen, enrollment_listen, root_key).serve(announce)

    uvloop.run(serve_node())


def _ask(home: Path, method: str, request: Message) -> Any:
    """Ask the running node, or the database when none runs."""
    cloud = CloudHome(home)
    cloud.config()
    from cloud.operator_client import ask_database, ask_node

    try:
        with lock_home(home):
            return asyncio.run(ask_database(cloud, method, request))
    except Unavailable:
        return asyncio.run(ask_node(cloud, method, request))


def _show(answer: Message, as_json: bool, page: Callable[[], object]) -> None:
    if as_json:
        fields = MessageToDict(answer, preserving_proto_field_name=True, always_print_fields_with_no_presence=True)
        click.echo(json.dumps(_with_readable_ids(fields)))
    else:
        page()


def _with_readable_ids(value: Any) -> Any:
    """Write 16-byte ids, which protobuf gives as base64, as people see them."""
    import base64

    if isinstance(value, dict):
        ids = {"order_id", "terminal_id", "held_by"}
        return {
            key: id_text(base64.b64decode(field)) if key in ids and field else _with_readable_ids(field)
            for key, field in value.items()
        }
    return [_with_readable_ids(item) for item in value] if isinstance(value, list) else value


def _table(columns: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
    out.print(table(columns, rows))


def _orders_table(answer: pb.ListOrdersResponse) -> None:
    rows = [
        (
            f"…{id_text(o.order_id)[-6:]}",
            o.created_time.ToDatetime(UTC).astimezone().strftime("%m-%d %H:%M:%S"),
            o.kind,
            o.state,
            o.user_name,
            o.provider_name,
            o.asset_name,
            _money(o.total_minor or o.hold_minor, answer.currency) + ("" if o.total_minor or not o.hold_minor else " held"),
        )
        for o in answer.orders
    ]
    _table(("order", "made", "kind", "state", "user", "provider", "asset", "amount"), rows)


def _order_page(answer: pb.GetOrderResponse) -> None:
    order = answer.order
    out.print(f"[bold]{id_text(order.order_id)}[/]  {order.kind}  [bold]{order.state}[/]")
    out.print(f"  {order.user_name} with {order.provider_name or 'nobody yet'} {order.asset_name}\n")
    rows = [(_clock(e.entry_time.ToDatetime(UTC)), e.actor, e.event, e.state, e.note) for e in answer.timeline]
    _table(("time", "by", "what", "state", ""), rows)
    if answer.money:
        out.print()
        money = [
            (
                _clock(m.entry_time.ToDatetime(UTC)),
                m.reason,
                m.debit_account,
                m.credit_account,
                _money(m.amount_minor, answer.currency),
                m.flag,
            )
            for m in answer.money
        ]
        _table(("time", "why", "debit", "credit", "amount", ""), money)


def _explanation(answer: pb.ExplainDemandResponse) -> None:
    out.print(f"{answer.examined} assets examined, {answer.candidates} put to their providers; left out:")
    _table(("reason", "count"), [(e.reason, str(e.count)) for e in answer.exclusions])
    if answer.nearest:
        out.print("\nThe nearest that were left out:")
        _table(
            ("station", "asset", "reason", "metres"),
            [(n.station, n.name, n.reason, str(n.distance_m)) for n in answer.nearest[:20]],
        )


def _clock(time: datetime) -> str:
    return time.astimezone().strftime("%H:%M:%S.%f")[:-3]


def _money(minor: int, currency: str) -> str:
    return str(Money(Currency(currency), Minor(minor)))
