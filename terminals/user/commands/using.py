"""Commands from the voucher to the end of use."""

import json
import re
from pathlib import Path

import click

from energyshare.errors import Reason, Rejected
from energyshare.values import id_text
from terminals.user import pages
from terminals.user.commands.reaching import act, finish, opened_home
from terminals.user.options import HOME, JSON, ORDER, WAIT
from terminals.user.order import OPEN

DEVICE = "The device in front of you"
REASON_MAX = 64


def register(program: click.Group) -> None:
    """Add the commands."""
    for command in (voucher_command, start_command, end_command, cancel_command):
        program.add_command(command)
    program.add_command(start_command, "unlock")


@click.command("voucher")
@ORDER
@click.option("--qr", is_flag=True, help="Show it as a QR code.")
@HOME
@JSON
def voucher_command(order: int | None, qr: bool, home: Path, as_json: bool) -> None:
    """Show the voucher: ES1: and its bytes in base45.

    \b
    Examples:
      energyshare voucher
      energyshare voucher 3 --qr
    """
    from base45 import b45encode

    with opened_home(home, read_only=True) as me:
        order_id = me.numbered(order)
        presentable = me.order(order_id).presentable
        if presentable is None:
            raise Rejected(Reason.WRONG_STATE, state=me.order(order_id).state)
        text = "ES1:" + b45encode(presentable).decode()
        if as_json:
            click.echo(json.dumps({"order": id_text(order_id), "voucher": text, "bytes": len(presentable)}))
        elif qr:
            import segno

            segno.make(text, error="l", mode="alphanumeric", boost_error=False).terminal(compact=True, border=4)
        else:
            click.echo(text)


@click.command("start")
@ORDER
@click.option("--device", required=True, metavar="HOST:PORT", help=f"{DEVICE}, or where a worker answers.")
@HOME
@JSON
def start_command(order: int | None, device: str, home: Path, as_json: bool) -> None:
    """Unlock the battery, start the supply, or check in with a worker; works with nobody online.

    \b
    Examples:
      energyshare start --device 192.168.4.1:7450
      energyshare unlock 3 --device 192.168.4.1:7450
    """
    with opened_home(home) as me:
        order_id = me.numbered(order)
        act(me, me.start(order_id, device), lambda: not me.has_unsent)
        pages.print_order(me, order_id, as_json)


@click.command("end")
@ORDER
@click.option("--device", metavar="HOST:PORT", help=f"{DEVICE}; without it its provider ends it from afar.")
@WAIT
@HOME
@JSON
def end_command(order: int | None, device: str | None, wait: int, home: Path, as_json: bool) -> None:
    """End the use: return the battery or stop the supply, and get the bill. A service is ended by its provider.

    \b
    Examples:
      energyshare end --device 192.168.4.1:7450
      energyshare end 3   # from afar: the provider ends it at its device
    """
    with opened_home(home) as me:
        order_id = me.numbered(order)
        act(me, me.end(order_id, device), lambda: not me.has_unsent and me.order(order_id).state != "ENDING", wait)
        finish(me, order_id, as_json)


@click.command("cancel")
@ORDER
@click.option("--device", metavar="HOST:PORT", help=f"{DEVICE}: it burns the voucher, and the order ends at once.")
@click.option("--reason", default="no longer needed", show_default=True, help="Why, in a few words.")
@WAIT
@HOME
@JSON
def cancel_command(order: int | None, device: str | None, reason: str, wait: int, home: Path, as_json: bool) -> None:
    """Call off an order that has not started; once its voucher is here, what is held comes back when that is burned.

    \b
    Examples:
      energyshare cancel
      energyshare cancel 3 --reason "too far"
      energyshare cancel 3 --device 192.168.4.1:7450   # with nobody online
    """
    code = _reason_code(reason)
    with opened_home(home) as me:
        order_id = me.numbered(order)

        def answered() -> bool:
            now = me.order(order_id)
            return not me.has_unsent and (now.state not in OPEN or now.cancel_asked != "USER")

        act(me, me.cancel(order_id, code, device), answered, wait)
        finish(me, order_id, as_json)


def _reason_code(words: str) -> str:
    """Write a reason as the contract has it: too far becomes TOO_FAR."""
    code = re.sub(r"[^A-Z0-9]+", "_", words.upper()).strip("_")
    if not code or not code[0].isalpha() or len(code) > REASON_MAX:
        raise click.BadParameter(f"{words!r} is not a reason of a few words, as 'too far'", param_hint="--reason")
    return code
