"""energyshare: evidence as a file, and the check of one by anybody. `verify`."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from energyshare.errors import Corrupt, EnergyShareError, Reason, Rejected
from energyshare.records import replace
from energyshare.values import PublicKey, id_text
from terminals.units import plain
from terminals.user import pages
from terminals.user.options import HOME, JSON

if TYPE_CHECKING:
    from energyshare.evidence import Proof
    from energyshare.values import OrderId
    from terminals.journal import Journal

FILE = click.Path(dir_okay=False, path_type=Path)
DAMAGED = "it is no bundle, or was cut or altered: ask whoever has the original for it"


class NotProved(EnergyShareError):
    """A bundle does not prove its bill; `code` names what does not hold."""

    def __init__(self, file: Path, code: str, refusal: Rejected) -> None:
        self.code, self.refusal = code, refusal
        is_damaged = refusal.reason is Reason.MALFORMED
        self.hint = (
            "it is no bundle, or was cut or altered: ask whoever has the original for it" if is_damaged else refusal.hint
        )
        super().__init__(f"{file}: {str(refusal).removesuffix(f' [{refusal.reason}]')} [{code}]")


@click.command("verify")
@click.argument("file", type=FILE)
@click.option(
    "--root", type=FILE, metavar="FILE", help="The platform root's key, as the cloud's root.pub. [default: your home's]"
)
@HOME
@JSON
def verify_command(file: Path, root: Path | None, home: Path, as_json: bool) -> None:
    """Check a bill against its signed evidence, and derive it again; exit 1 when it does not follow.

    FILE is a bundle that anyone wrote with: energyshare receipt N --out FILE. Nothing else is read but the platform root's key,
    and nothing is asked of anybody.

    \b
    Examples:
      energyshare verify receipt-3.bundle
      energyshare verify receipt-3.bundle --root root.pub --json
    """
    from energyshare.bundle import BUNDLE_BYTES_MAX
    from energyshare.evidence import code_of, verify_file

    root_key, own_key = _keys(root, home)
    with file.open("rb") as opened:
        data = opened.read(BUNDLE_BYTES_MAX + 1)
    try:
        proof = verify_file(data, root_key)
    except Rejected as refusal:
        fault = NotProved(file, code_of(refusal), refusal)
        if as_json:
            click.echo(
                json.dumps({"file": str(file), "verified": False, "code": fault.code, "metadata": dict(refusal.metadata)})
            )
        raise fault from None
    if as_json:
        click.echo(json.dumps({"file": str(file), "verified": True} | proof_facts(proof)))
    else:
        _print(file, proof, own_key)


def bundle_file(journal: "Journal", order_id: "OrderId") -> bytes:
    """Write an order's evidence as a file, with every record that the latest one corrects.

    Raises: Rejected as payment.bundle_of.
    """
    from energyshare.bodies import Part
    from energyshare.bundle import write_bundle
    from energyshare.values import PartKind
    from terminals.user.payment import bundle_of

    bundle = bundle_of(journal, order_id)
    records = (Part(part.kind, part.signed) for part in journal.parts(order_id, PartKind.CHARGE_RECORD))
    return write_bundle(replace(bundle, parts=tuple(dict.fromkeys((*bundle.parts, *records)))))


def proof_facts(proof: "Proof") -> dict[str, Any]:
    """Give a proof for programs."""
    from energyshare.derivation import derivation

    record = proof.record.body
    return {
        "order": id_text(record.order_id),
        "kind": record.kind.name,
        "basis": record.basis.name,
        "provider": id_text(record.provider_id),
        "user_key": proof.keys.holder.hex(),
        "currency": record.currency,
        "start_us": record.start_time,
        "duration_s": record.duration_s,
        "energy_wh": record.energy_wh,
        "excl_vat_minor": record.excl_vat_minor,
        "incl_vat_minor": record.incl_vat_minor,
        "deposit_claimed_minor": record.deposit_claimed_minor,
        "hold_minor": record.hold_minor,
        "settled_us": record.settled_time,
        "record_hash": proof.record.digest.hex(),
        "corrects": record.corrects_hash.hex() if record.corrects_hash else None,
        "derivation": [{"about": step.about, "text": step.text} for step in derivation(proof)],
    }


def register(program: click.Group) -> None:
    """Add the commands."""
    program.add_command(verify_command)


def _keys(root: Path | None, home: Path) -> tuple[PublicKey, PublicKey | None]:
    """Give the platform root's key, and where it comes from a home, that home's own."""
    from terminals.identity import load_identity

    if root is None:
        identity = load_identity(home, "user")
        return identity.root_key, identity.key.public
    try:
        key = bytes.fromhex(root.read_text(encoding="ascii").strip())
    except ValueError:
        key = b""
    if len(key) != 32:
        raise Corrupt(f"{root} is not a platform root's key: 64 hexadecimal digits", "take root.pub of the cloud's home")
    return PublicKey(key), None


def _print(file: Path, proof: "Proof", own_key: PublicKey | None) -> None:
    from energyshare.derivation import derivation

    pages.say(f"{file}: ", ("holds", "bold green"), "; the bill follows from the signed evidence")
    for step in derivation(proof):
        pages.say(f"  {step.about:<13} {plain(step.text)}")
    if own_key is not None:
        whose = "this home's" if own_key == proof.keys.holder else "not this home's"
        pages.say(f"  the user's key is {whose}")
