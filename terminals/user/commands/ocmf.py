"""energyshare: a session's readings as an OCMF record, and what OCMF records of others prove. `ocmf`, `verify-ocmf`."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.markup import escape

from energyshare.errors import Corrupt
from energyshare.home import lock_home, write_atomically
from energyshare.program import table
from energyshare.values import datetime_of
from terminals.units import plain
from terminals.user import pages
from terminals.user.commands.reaching import opened_home
from terminals.user.options import HOME, JSON, ORDER

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric import ec

    from energyshare.ocmf import Record
    from energyshare.ocmf_checks import Delivered
    from energyshare.ocmf_readings import Reading
    from energyshare.ocmf_verification import Examined, Outcome

OWN_KEY = "ocmf-key.pem"
FILE = click.Path(dir_okay=False, path_type=Path)
CLOCKS = {"S": "synchronized", "I": "informative", "R": "relative", "U": "unknown"}


def register(program: click.Group) -> None:
    """Add the commands."""
    program.add_command(ocmf_command)
    program.add_command(verify_ocmf_command)


@click.command("ocmf")
@ORDER
@click.option("--key", type=FILE, metavar="FILE", help=f"Sign with this P-256 key, PEM. [default: {OWN_KEY} of your home]")
@click.option("--out", type=FILE, metavar="FILE", help="Write the record here, and its public key to FILE.pub.pem.")
@HOME
@JSON
def ocmf_command(order: int | None, key: Path | None, out: Path | None, home: Path, as_json: bool) -> None:
    """Write the readings of a settled order as an OCMF record, once its bill was found to follow from the evidence.

    The record is signed with a key of your own. The proof stays with the order's evidence, which the device signed.

    \b
    Examples:
      energyshare ocmf 3 --out session-3.ocmf
      energyshare ocmf 3 --key p256.pem --out session-3.ocmf
    """
    from energyshare.ocmf_export import record_of
    from energyshare.ocmf_keys import fingerprint, key_text, public_pem
    from terminals.user.payment import prove

    with opened_home(home, read_only=True) as me:
        order_id = me.numbered(order)
        evidence, number = prove(me.journal, order_id, me.identity.root_key).evidence, me.order(order_id).number
    signer = _signing_key(home, key)
    record, public = record_of(evidence, signer), signer.public_key()
    if out is not None:
        write_atomically(out, f"{record}\n".encode(), mode=0o644)
        write_atomically(_public_file(out), public_pem(public), mode=0o644)
    if as_json:
        facts = {"order": number, "record": record, "public_key": key_text(public), "fingerprint": fingerprint(public)}
        click.echo(json.dumps(facts | {"out": str(out) if out else None}))
    elif out is None:
        click.echo(record)
    else:
        pages.say(f"Order {number} is written to {out}, its public key to {_public_file(out)}.")
        pages.say(f"next: energyshare verify-ocmf {out} --key {_public_file(out)}")


@click.command("verify-ocmf")
@click.argument("file", type=FILE)
@click.option("--key", type=FILE, metavar="FILE", help="The meter's public key: PEM, DER, hex or base64.")
@JSON
def verify_ocmf_command(file: Path, key: Path | None, as_json: bool) -> None:
    """Check OCMF records, and tell what they show; exit 1 when one does not hold.

    FILE holds one record or several, or is the XML container of transparency software. A key in it shows that nothing was
    altered since, not whose meter it was: compare it with the key on the meter, or give that with --key.

    \b
    Examples:
      energyshare verify-ocmf session.ocmf --key meter.pub.pem
      energyshare verify-ocmf transparency.xml --json
    """
    from energyshare.ocmf_facts import examined_facts
    from energyshare.ocmf_fields import OcmfError
    from energyshare.ocmf_verification import examine

    data, known = file.read_bytes(), None if key is None else key.read_bytes()
    try:
        examined = examine(data, known)
    except OcmfError as fault:
        raise fault.at(str(file)) from None
    if as_json:
        click.echo(json.dumps({"file": str(file)} | examined_facts(examined)))
    else:
        _print(examined, key_is_given=key is not None)
    if examined.faults:
        raise examined.faults[0].at(str(file))


def _signing_key(home: Path, file: Path | None) -> "ec.EllipticCurvePrivateKey":
    """Read the key to sign with; raises Corrupt when it is no P-256 key."""
    from certs.requests import key_of_pem

    path = _own_key(home) if file is None else file
    try:
        return key_of_pem(path.read_bytes())
    except Corrupt:
        raise Corrupt(f"{path} is not a P-256 key in PEM", "name another with --key") from None


def _own_key(home: Path) -> Path:
    """Give the file of the home's own key, which is made on first use."""
    from certs.requests import new_key_and_request

    path = home / OWN_KEY
    if not path.exists():
        with lock_home(home):
            write_atomically(path, new_key_and_request()[0])
    return path


def _public_file(out: Path) -> Path:
    return out.with_name(f"{out.name}.pub.pem")


def _print(examined: "Examined", *, key_is_given: bool) -> None:
    from energyshare.ocmf_keys import fingerprint

    for outcome in examined.outcomes:
        _print_outcome(outcome)
    for delivered in examined.delivered:
        pages.say((f"{delivered.amount} {plain(delivered.unit)}", "bold"), f" by {delivered.obis}, {_when(delivered)}")
    if examined.incomplete:
        pages.say(f"not whole: the transaction of {', '.join(examined.incomplete)} lacks its beginning or its end")
    if not key_is_given:
        for shown in sorted({fingerprint(one.key) for one in examined.outcomes if one.key and one.is_authentic}):
            pages.say(f"checked with the key that came along, SHA-256 {shown}; compare it with the meter's")


def _print_outcome(outcome: "Outcome") -> None:
    """Show a record: whether it holds, what it says, and what is odd about it."""
    record, fault = outcome.record, outcome.fault
    state = ("does not hold", "bold red") if fault else ("holds", "bold green")
    pages.say(f"{outcome.place}: ", state, f"; {record.page}, {_source(record)}" if record else "")
    if record:
        pages.out.print(table(("  time (UTC)", "clock", "", "value", "register", "state"), map(_row, record.readings)))
    for remark in outcome.remarks:
        pages.say(f"  note: {plain(remark)}")
    if fault:
        pages.say(f"  {f'{fault.path}: ' if fault.path else ''}{fault.problem} [{fault.fault}]")


def _source(record: "Record") -> str:
    return plain(" ".join(record.texts[name] for name in ("GI", "GS", "MV", "MS") if record.texts.get(name)))


def _row(reading: "Reading") -> tuple[str, ...]:
    value = "" if reading.value is None else f"{reading.value} {reading.unit}"
    time = f"  {datetime_of(reading.time):%Y-%m-%d %H:%M:%S}"
    return (time, CLOCKS[reading.quality], reading.reason, escape(value), escape(reading.obis), reading.status)


def _when(delivered: "Delivered") -> str:
    begin, end = (f"{datetime_of(reading.time):%Y-%m-%d %H:%M:%S}" for reading in (delivered.begin, delivered.end))
    return f"{begin} to {end} UTC"
