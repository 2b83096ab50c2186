"""energyshare-provider: enroll, check a configuration, run the daemon, see how it stands; jobs, orders, assets."""

import asyncio
import json
import logging
import os
from pathlib import Path
from typing import TextIO

import click
from rich.markup import escape

from energyshare.home import lock_home
from energyshare.places import place_name
from energyshare.program import Program, count_text, table
from energyshare.values import AssetState, Currency, id_text
from energyshare.wire import decode
from terminals.provider import tariff_commands, viewing
from terminals.provider.acts import Reload
from terminals.provider.asking import ask, line_of, looking
from terminals.provider.job_commands import job_group
from terminals.provider.options import HOME, JSON, ROLE, out
from terminals.provider.order_commands import asset_group, offer_group, order_group
from terminals.provider.wallet_commands import wallet_group

LISTED = 20


@click.group(cls=Program, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="energyshare")
def program() -> None:
    """Offer batteries, charge points and services to those who need them.

    \b
    Examples:
      energyshare-provider enroll --cloud cloud.example.org:7444 --ca ca.pem --token-file token
      energyshare-provider lint depot.toml
      energyshare-provider run depot.toml
      energyshare-provider status
      energyshare-provider job list
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


@program.command("lint")
@click.argument("config", type=click.Path(dir_okay=False, path_type=Path))
@HOME
@JSON
def lint_command(config: Path, home: Path, as_json: bool) -> None:
    """Say all that is wrong or surprising in a configuration; needs no home. Exit 1 when it can't be used.

    \b
    Examples:
      energyshare-provider lint depot.toml
    """
    from terminals.provider.lint import lint

    findings = lint(config, _currency(home))
    is_usable = all(finding.severity != "error" for finding in findings)
    if as_json:
        facts = [{"severity": f.severity, "where": f.where, "code": f.code, "text": f.text} for f in findings]
        click.echo(json.dumps({"usable": is_usable, "findings": facts}))
    else:
        if findings:
            out.print(
                table(("", "where", "what"), [(f.severity, escape(f.where), escape(f"{f.text} [{f.code}]")) for f in findings])
            )
        out.print(f"Next: energyshare-provider run {config}" if is_usable else f"{config} can't be used as it is.")
    if not is_usable:
        raise SystemExit(1)


@program.command("run")
@click.argument("config", type=click.Path(dir_okay=False, path_type=Path))
@HOME
@JSON
def run_command(config: Path, home: Path, as_json: bool) -> None:
    """Serve until SIGINT or SIGTERM; prints a line each time it is connected. SIGHUP has it read CONFIG anew.

    \b
    Examples:
      energyshare-provider run depot.toml
    """
    from terminals.provider.daemon import run_daemon

    logging.basicConfig(level=os.environ.get("ENERGYSHARE_LOG", "WARNING"), format="%(asctime)s %(name)s %(message)s")

    def announce(what: str) -> None:
        click.echo(json.dumps({"ready": True, "what": what}) if as_json else f"ready: {what}")

    asyncio.run(run_daemon(home, config, announce))


@program.command("reload")
@click.argument("config", required=False, type=click.Path(dir_okay=False, path_type=Path))
@HOME
@JSON
def reload_command(config: Path | None, home: Path, as_json: bool) -> None:
    """Read the configuration anew, or another file; one that can't be used changes nothing. Offers made keep their prices.

    \b
    Examples:
      energyshare-provider reload
      energyshare-provider reload depot-summer.toml
    """
    facts = ask(home, Reload(str(config.absolute()) if config else None))
    if as_json:
        click.echo(json.dumps(facts))
        return
    out.print(f"Reloaded; {count_text(int(facts['changed']), 'asset')} new, changed or gone.")
    out.print("Next: energyshare-provider asset list")


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
    from terminals.provider.documents import documents
    from terminals.provider.words import order_facts, sentence_of
    from terminals.units import money

    with looking(home) as (identity, journal):
        assets = [decode(Asset, body) for _, body in journal.documents("asset")]
        assets = [asset for asset in assets if asset.state is not AssetState.REMOVED]
        orders = sorted(documents(journal), key=lambda one: one[1].number)
        waiting, failed = len(journal.waiting()), len(journal.documents("failed"))
    line = line_of(home)
    if as_json:
        facts = [order_facts(order_id, document) for order_id, document in orders]
        counts = {"line": line, "assets": len(assets), "waiting": waiting, "failed": failed}
        click.echo(json.dumps({"name": identity.name, **counts, "orders": facts}))
        return
    counted = f"{count_text(len(assets), 'asset')}, {count_text(waiting, 'message')} for the cloud"
    out.print(f"Provider {identity.name}: {line}; {counted}")
    if failed:
        out.print(f"{count_text(failed, 'message')} could not be handled: kept aside")
    for asset in assets[:LISTED]:
        charge = "" if asset.soc_pct is None else f"  charge {asset.soc_pct} %"
        out.print(f"  {place_name(asset.station, asset.name)}  {asset.kind.name.lower()}  {asset.state.name.lower()}{charge}")
    if len(assets) > LISTED:
        out.print(f"  … and {len(assets) - LISTED} more")
    rows = [
        (str(d.number), d.asset, money(d.total_minor, identity.currency), escape(sentence_of(d))) for _, d in orders[-LISTED:]
    ]
    if rows:
        out.print(table(("order", "asset", "total", "state"), rows))


for group in (job_group, order_group, offer_group, asset_group, wallet_group):
    program.add_command(group)
viewing.register(program)
tariff_commands.register(program)


def main() -> None:
    """Run the program."""
    program(prog_name="energyshare-provider")


def _currency(home: Path) -> Currency | None:
    """Give the currency of an enrolled home; None without one."""
    from terminals.identity import RECORD, load_identity

    return load_identity(home, ROLE).currency if (home / RECORD).exists() else None
