"""The operator's commands about who takes part: users and providers, their terminals and devices, their assets."""

from pathlib import Path

import click

from cloud import pages
from cloud.asking import HOME, JSON, LIMIT, WHY, YES, agree, ask, show
from cloud.pages import out, plain
from energyshare.places import place_name
from energyshare.program import count_text
from energyshare.v1 import operator_pb2 as pb
from energyshare.values import id_text

ROLE = click.option("--role", type=click.Choice(["user", "provider"]), required=True)
NAME = click.argument("name")


@click.group()
def party() -> None:
    """Users and providers."""


@party.command("list")
@HOME
@click.option("--role", type=click.Choice(["user", "provider"]), default=None, help="Only these.")
@LIMIT
@JSON
def party_list(home: Path, role: str | None, limit: int, as_json: bool) -> None:
    """List users and providers with their terminals, running orders and balances.

    \b
    Examples:
      energyshare-cloud party list --role provider
    """
    answer = ask(home, "ListParties", pb.ListPartiesRequest(role=role or "", page_size=limit))
    show(answer, as_json, lambda: pages.parties(answer))


@party.command("suspend")
@HOME
@NAME
@ROLE
@WHY
@YES
@JSON
def party_suspend(home: Path, name: str, role: str, reason: str, yes: bool, as_json: bool) -> None:
    """Keep a user or provider from new orders; those that run go on.

    \b
    Examples:
      energyshare-cloud party suspend depot --role provider --reason "three batteries were empty"
    """
    agree(f"Suspend the {role} {name}?", yes, as_json)
    answer = ask(home, "SuspendParty", pb.SuspendPartyRequest(role=role, name=name, reason=reason))

    def page() -> None:
        before = "" if answer.changed else ", as before"
        out.print(
            f"The {role} {plain(name)} is suspended{before}; {count_text(answer.open_orders, 'running order')} may go on."
        )
        out.print(f"To lift it: energyshare-cloud party resume {plain(name)} --role {role}")

    show(answer, as_json, page)


@party.command("resume")
@HOME
@NAME
@ROLE
@WHY
@JSON
def party_resume(home: Path, name: str, role: str, reason: str, as_json: bool) -> None:
    """Lift a user's or provider's suspension.

    \b
    Examples:
      energyshare-cloud party resume depot --role provider
    """
    answer = ask(home, "ResumeParty", pb.ResumePartyRequest(role=role, name=name, reason=reason))
    words = "may take part again" if answer.changed else "was not suspended"
    show(answer, as_json, lambda: out.print(f"The {role} {plain(name)} {words}."))


@click.group()
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
    answer = ask(home, "ListTerminals", pb.ListTerminalsRequest())
    show(answer, as_json, lambda: pages.terminals(answer))


@terminal.command("revoke")
@HOME
@click.argument("terminal", metavar="NAME_OR_ID")
@WHY
@YES
@JSON
def terminal_revoke(home: Path, terminal: str, reason: str, yes: bool, as_json: bool) -> None:
    """Revoke a terminal's identity for good: its stream ends, and it is not renewed.

    The name must be one terminal's alone; else give its id, or the end of it.

    \b
    Examples:
      energyshare-cloud terminal revoke 0d5e12 --reason "the phone was stolen"
    """
    agree(f"Revoke {terminal} for good?", yes, as_json)
    answer = ask(home, "RevokeTerminal", pb.RevokeTerminalRequest(terminal=terminal, reason=reason))

    def page() -> None:
        who = f"{answer.terminal.role} {plain(answer.terminal.name)} ({id_text(answer.terminal.terminal_id)})"
        out.print(f"The {who} is revoked{'' if answer.changed else ', as before'}.")
        if answer.terminal.role == "user":
            name = plain(answer.terminal.name)
            out.print("Its running orders can be ended by another terminal of the account; to let one enroll:")
            out.print(f"  energyshare-cloud token create --role user --name {name}")

    show(answer, as_json, page)


@click.group()
def asset() -> None:
    """Assets: batteries, charge points and workers."""


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
    answer = ask(home, "ListAssets", pb.ListAssetsRequest(page_size=limit))
    show(answer, as_json, lambda: pages.assets(answer))


@asset.command("resume")
@HOME
@NAME
@click.option("--provider", default="", help="Its provider, where several have an asset of that name.")
@WHY
@JSON
def asset_resume(home: Path, name: str, provider: str, reason: str, as_json: bool) -> None:
    """Lift an asset's suspension, once its provider has explained two receipts for one voucher.

    \b
    Examples:
      energyshare-cloud asset resume Depot/outlet-1 --reason "the board was replaced"
    """
    answer = ask(home, "ResumeAsset", pb.ResumeAssetRequest(asset=name, provider_name=provider, reason=reason))
    full = plain(place_name(answer.asset.station, answer.asset.name))
    words = "may be offered again" if answer.changed else "was not suspended"
    show(answer, as_json, lambda: out.print(f"{full} of {plain(answer.asset.provider_name)} {words}."))


COMMANDS = (party, terminal, asset)
