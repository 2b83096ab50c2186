"""energyshare-provider: enroll, run the daemon, see how it stands."""

import asyncio
import json
import logging
import os
from pathlib import Path
from typing import TextIO

import click

from energyshare.home import lock_home
from energyshare.places import place_name
from energyshare.program import Program, console, table
from energyshare.values import Minor, Money, OrderId, id_text
from energyshare.wire import decode

ROLE = "provider"
HOME = click.option(
    "--home",
    type=click.Path(file_okay=False, path_type=Path),
    envvar="ENERGYSHARE_HOME",
    default=Path.home() / ".energyshare-provider",
    show_default=True,
    help="This provider's home directory.",
)
JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
out = console()


@click.group(cls=Program, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="energyshare")
def program() -> None:
    """Offer batteries and charge points to those who need them.

    \b
    Examples:
      energyshare-provider enroll --cloud cloud.example.org:7444 --ca ca.pem --token-file token
      energyshare-provider run depot.toml
      energyshare-provider status
    """


@program.command("enroll")
@click.option("--cloud", required=True, metavar="HOST:PORT", help="The cloud's enrollment address.")
@click.option("--ca", required=True, type=click.Path(dir_okay=False, path_type=Path), help="The cloud's authority, PEM.")
@click.option("--token-file", required=True, type=click.File(encoding="utf-8"), help="A file with the join token; - for stdin.")
@HOME
@JSON
def enroll_command(cloud: str, ca: Path, token_file: TextIO, home: Path, as_json: bool) -> None:
    """Get this provider's identity; in an enrolled home, renew it.

    \b
    Examples:
      energyshare-provider enroll --cloud cloud.example.org:7444 --ca ca.pem --token-file depot.token
    """
    from terminals.identity import enroll

    with lock_home(home):
        identity = asyncio.run(enroll(home, ROLE, cloud, ca, token_file.read().strip()))
    if as_json:
        click.echo(json.dumps({"provider": id_text(identity.owner_id), "granted": identity.grant is not None}))
        return
    out.print(f"Provider {identity.name} is enrolled.")
    if identity.grant is None:
        out.print("The operator has to sign its grant; run this command again when that is done.")
    else:
        out.print(f"Next: energyshare-provider run CONFIG.toml --home {home}")


@program.command("run")
@click.argument("config", type=click.Path(dir_okay=False, path_type=Path))
@HOME
@JSON
def run_command(config: Path, home: Path, as_json: bool) -> None:
    """Serve until SIGINT or SIGTERM; prints a line each time it is connected.

    \b
    Examples:
      energyshare-provider run depot.toml
    """
    from terminals.identity import load_identity
    from terminals.provider.daemon import run_daemon

    logging.basicConfig(level=os.environ.get("ENERGYSHARE_LOG", "WARNING"), format="%(asctime)s %(name)s %(message)s")
    identity = load_identity(home, ROLE)

    def announce(what: str) -> None:
        click.echo(json.dumps({"ready": True, "what": what}) if as_json else f"ready: {what}")

    with lock_home(home):
        asyncio.run(run_daemon(identity, config, announce))


@program.command("status")
@HOME
@JSON
def status_command(home: Path, as_json: bool) -> None:
    """Say what the daemon's journal holds, also while it runs.

    \b
    Examples:
      energyshare-provider status --json
    """
    from energyshare.bodies import Asset
    from terminals.identity import load_identity
    from terminals.journal import Journal
    from terminals.provider.orders import documents

    identity = load_identity(home, ROLE)
    journal = Journal(home / "journal.db", read_only=True)
    assets = [decode(Asset, body) for _, body in journal.documents("asset")]
    orders = documents(journal)
    waiting = len(journal.waiting())
    if as_json:
        facts = [{"order": id_text(key), "state": d.state, "asset": d.asset, "reason": d.reason} for key, d in orders]
        click.echo(json.dumps({"name": identity.name, "assets": len(assets), "waiting": waiting, "orders": facts}))
        return
    out.print(f"Provider {identity.name}: {len(assets)} assets, {waiting} messages wait for the cloud")
    for asset in assets[:20]:
        charge = "" if asset.soc_pct is None else f"  charge {asset.soc_pct} %"
        out.print(f"  {place_name(asset.station, asset.name)}  {asset.kind.name.lower()}  {asset.state.name.lower()}{charge}")
    if len(assets) > 20:
        out.print(f"  … and {len(assets) - 20} more")
    rows = [
        (f"…{id_text(OrderId(key))[-6:]}", d.state, d.asset, str(Money(identity.currency, Minor(d.total_minor))), d.reason)
        for key, d in orders[-20:]
    ]
    if rows:
        out.print(table(("order", "state", "asset", "total", ""), rows))


def main() -> None:
    """Run the program."""
    program(prog_name="energyshare-provider")
