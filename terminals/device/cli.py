"""The program `energyshare-device`: enroll, run, reset, status."""

import asyncio
import signal
import sys
from pathlib import Path
from typing import TextIO

import click
import msgspec
from rich.console import Console
from rich.table import Table

from energyshare.home import lock_home
from energyshare.program import Program
from energyshare.values import EnergyWh, Kind, Percent, PowerW, datetime_of, id_text
from terminals.device.home import ROLE, furnish, host_time, monotonic_us, open_machine, reset, stopping
from terminals.device.machine import Machine
from terminals.device.memory import Memory
from terminals.device.memory_file import look_at
from terminals.device.settings import KINDS, MEMORY, Settings, equipment, load_settings
from terminals.identity import Identity, enroll, load_identity

HOME = Path.home() / ".energyshare-device"

home_option = click.option(
    "--home", type=click.Path(file_okay=False, path_type=Path), envvar="ENERGYSHARE_HOME", default=HOME, show_default=True
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.group(cls=Program)
def program() -> None:
    """A battery lock or an outlet that opens by a voucher, with nobody online; or the identity that a worker checks in by."""


@program.command("enroll")
@click.option("--cloud", required=True, metavar="HOST:PORT", help="The cloud's enrollment address.")
@click.option("--ca", required=True, type=click.Path(dir_okay=False, path_type=Path), help="The cloud's authority, PEM.")
@click.option("--token-file", required=True, type=click.File(encoding="utf-8"), help="A file with the join token; - for stdin.")
@click.option("--provider", required=True, metavar="NAME", help="The provider that owns this device.")
@click.option("--kind", required=True, type=click.Choice(list(KINDS)))
@click.option("--power-w", type=click.IntRange(1, 10**7), default=1_000, show_default=True, help="Of a battery or outlet.")
@click.option("--capacity-wh", type=click.IntRange(1, 10**9), default=1_000, show_default=True, help="Of a battery.")
@click.option("--soc", type=click.IntRange(0, 100), default=100, show_default=True, help="Of a battery now, in percent.")
@click.option("--soh", type=click.IntRange(1, 100), default=100, show_default=True, help="A battery's health, in percent.")
@home_option
@json_option
def enroll_command(
    cloud: str,
    ca: Path,
    token_file: TextIO,
    provider: str,
    kind: str,
    power_w: int,
    capacity_wh: int,
    soc: int,
    soh: int,
    home: Path,
    as_json: bool,
) -> None:
    """Get this device's identity, and make its memory; in an enrolled home, renew the identity and keep the memory.

    \b
    Examples:
      energyshare-device enroll --cloud cloud.example.org:7444 --ca ca.pem --token-file lock.token --provider depot \\
          --kind battery --capacity-wh 2000
      energyshare-device enroll --cloud cloud.example.org:7444 --ca ca.pem --token-file ming.token --provider helpers \\
          --kind service --home ~/.energyshare-worker-ming
    """
    settings = equipment(KINDS[kind], PowerW(power_w), EnergyWh(capacity_wh), Percent(soc), Percent(soh))
    with lock_home(home):
        identity = asyncio.run(enroll(home, ROLE, cloud, ca, token_file.read().strip(), provider))
        furnish(home, settings, host_time())
    waiting = " after the operator has signed its grant" if identity.grant is None else ""
    _say(
        as_json,
        f"device {id_text(identity.subject_id)} is enrolled; run it{waiting} with: energyshare-device run --home {home}",
        {"device": id_text(identity.subject_id), "granted": identity.grant is not None},
    )


@program.command("run")
@click.option("--listen", default="127.0.0.1:7450", show_default=True, metavar="HOST:PORT")
@home_option
@json_option
def run_command(listen: str, home: Path, as_json: bool) -> None:
    """Serve until SIGINT or SIGTERM; prints one line when ready.

    \b
    Examples:
      energyshare-device run --listen 0.0.0.0:7450
    """
    identity = load_identity(home, ROLE)
    with lock_home(home), stopping(open_machine(identity, host_time(), monotonic_us)) as machine:
        asyncio.run(_serve(machine, listen, id_text(identity.subject_id), as_json))


@program.command("reset")
@click.option("--yes", is_flag=True, help="Do not ask.")
@home_option
@json_option
def reset_command(yes: bool, home: Path, as_json: bool) -> None:
    """Begin a new replay memory: vouchers made until now open this device no more, and an open session is lost.

    \b
    Examples:
      energyshare-device reset --yes
    """
    load_identity(home, ROLE)
    if not yes:
        click.confirm("Vouchers made until now, and an open session, will be void. Reset this device?", abort=True, err=True)
    with lock_home(home):
        settings = reset(home, host_time())
    _say(as_json, f"epoch {settings.epoch} has begun; start with: energyshare-device run", {"epoch": settings.epoch})


@program.command("status")
@home_option
@json_option
def status_command(home: Path, as_json: bool) -> None:
    """Say what the device's memory holds, also while it runs.

    \b
    Examples:
      energyshare-device status
    """
    identity = load_identity(home, ROLE)
    settings = load_settings(home)
    facts = _facts(identity, settings, look_at(home / MEMORY, settings.epoch))
    if as_json:
        return click.echo(msgspec.json.encode(facts))
    table = Table(show_header=False, box=None)
    for name, value in facts.items():
        table.add_row(name.replace("_", " "), "–" if value is None else str(value))
    return Console().print(table)


def main() -> None:
    """Run the program."""
    program(prog_name="energyshare-device")


async def _serve(machine: Machine, listen: str, device: str, as_json: bool) -> None:
    from terminals.device.server import open_server, tick_until

    server, port = await open_server(machine, monotonic_us, listen)
    address = f"{listen.rpartition(':')[0]}:{port}"
    _say(as_json, f"ready {address}", {"ready": address, "device": device})
    await tick_until(machine, _stop_signal())
    await server.stop(grace=1)


def _stop_signal() -> asyncio.Event:
    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    return stopped


def _facts(identity: Identity, settings: Settings, memory: Memory) -> dict[str, str | int | bool | None]:
    session = memory.session
    return {
        "device": id_text(identity.subject_id),
        "provider": id_text(identity.owner_id),
        "kind": settings.kind.name,
        "granted": identity.grant is not None,
        "epoch": memory.epoch,
        "state": "FREE" if session is None else "IN_USE",
        "order": id_text(session.voucher.order_id) if session else None,
        "clock": datetime_of(memory.clock.time).isoformat(timespec="seconds"),
        "clock_quality": memory.clock.quality.name,
        "register_wh": None if settings.kind is Kind.SERVICE else memory.register_wh,
        "receipts": memory.receipts_count,
    }


def _say(as_json: bool, line: str, facts: dict[str, object]) -> None:
    click.echo(msgspec.json.encode(facts) if as_json else line)
    sys.stdout.flush()


if __name__ == "__main__":
    main()
