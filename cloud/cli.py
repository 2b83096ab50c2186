"""energyshare-cloud: a node, and the operator's commands.

A command asks the running node over its socket; when none runs it takes the home's lock and opens the database itself. Here is
what makes and runs a cloud; orders are in cloud.cli_orders, parties in cloud.cli_people, what else is looked after in
cloud.cli_care.
"""

import json
import logging
import os
from pathlib import Path

import click

from cloud import cli_care, cli_export, cli_ledger, cli_orders, cli_payments, cli_people, pages
from cloud.asking import HOME, JSON, ask, show
from cloud.config import CloudHome
from cloud.pages import out
from cloud.pump import system_now
from energyshare.home import lock_home_patiently
from energyshare.program import Program
from energyshare.signing import SigningKey
from energyshare.v1 import operator_pb2 as pb

LOCK_WITHIN_S = 5.0  # an operator's command holds the home for a moment


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
@click.option("--sandbox", is_flag=True, help="Take payments that move no real money; for trying things out.")
@JSON
def init(home: Path, names: tuple[str, ...], currency: str, sandbox: bool, as_json: bool) -> None:
    """Make a cloud's home: keys, certificate authority, settings.

    \b
    Examples:
      energyshare-cloud init --home ~/cloud --name cloud.example.org --name 10.0.0.5 --currency CNY
      energyshare-cloud init --home /tmp/cloud --sandbox
    """
    if not (len(currency) == 3 and currency.isalpha() and currency.isupper()):
        raise click.BadParameter("three capital letters, as CNY", param_hint="--currency")
    CloudHome(home).init(names or ("localhost", "127.0.0.1"), currency, system_now(), sandbox=sandbox)
    if as_json:
        click.echo(json.dumps({"home": str(home), "ca": str(home / "ca.pem"), "root_key": str(home / "root.key")}))
        return
    out.print(f"A cloud's home is at {home}.")
    out.print(f"  {home}/ca.pem    give this to those who enroll")
    out.print(f"  {home}/root.key  the platform root: take it offline; only grants are signed with it")
    if sandbox:
        out.print("  its wallets are a sandbox: whoever pays in gets the money")
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
    answer = ask(home, "CreateToken", pb.CreateTokenRequest(request_id=os.urandom(16), role=role, name=name))
    show(answer, as_json, lambda: click.echo(answer.token))


@main.command()
@HOME
@JSON
def status(home: Path, as_json: bool) -> None:
    """Say how the node is.

    \b
    Examples:
      energyshare-cloud status --json
    """
    answer = ask(home, "GetStatus", pb.GetStatusRequest())
    show(answer, as_json, lambda: pages.status(answer))


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
    answer = ask(home, "ListPendingGrants", pb.ListPendingGrantsRequest())
    show(answer, as_json, lambda: pages.rows(("name",), [(g.name,) for g in answer.grants], "No grant waits."))


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
    answer = ask(home, "ListPendingGrants", pb.ListPendingGrantsRequest())
    for name, signed in sign_grants(answer.grants, key):
        ask(home, "SubmitGrant", pb.SubmitGrantRequest(grant=signed))
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


for command in (
    *cli_orders.COMMANDS,
    *cli_people.COMMANDS,
    *cli_payments.COMMANDS,
    *cli_care.COMMANDS,
    *cli_ledger.COMMANDS,
    *cli_export.COMMANDS,
):
    main.add_command(command)
