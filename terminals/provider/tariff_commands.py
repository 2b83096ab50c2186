"""energyshare-provider tariff: take tariffs that others sent as OCPI 2.2.1 JSON.

What can't be priced to the last minor unit is refused with its place; nothing is written then.
Source: OCPI 2.2.1-bugfixes, mod_tariffs and transport_and_format, response format.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import IO, Any

import click
import msgspec
from msgspec import Struct
from rich.markup import escape

from energyshare.errors import EnergyShareError
from energyshare.home import write_atomically
from energyshare.ocpi import TARIFFS_MAX
from energyshare.program import table
from energyshare.tariff import TariffError, tariff_of
from energyshare.tariff_json import parsed
from energyshare.tariff_lint import Finding, lint_tariff
from terminals.provider.options import JSON, out

RESPONSE_BYTES_MAX = 8 * 2**20
OCPI_SUCCESS = range(1_000, 2_000)
FILE_MODE = 0o644  # prices are no secret
NAME_MAX = 64
NOT_OF_A_NAME = re.compile(r"[^A-Za-z0-9]+")
encoder = msgspec.json.Encoder(decimal_format="number")


class Unimportable(EnergyShareError):
    """A file that holds no tariffs, or would overwrite one."""

    def __init__(self, what: str, hint: str = "it takes OCPI 2.2.1 tariffs: one, a list, or the answer to GET tariffs") -> None:
        super().__init__(what)
        self.hint = hint


class Imported(Struct, frozen=True):
    """A tariff as it will be written: exactly the numbers that came."""

    name: str
    body: bytes
    findings: tuple[Finding, ...]

    @property
    def file(self) -> str:
        """Name its file."""
        return f"{self.name}.json"


def register(program: click.Group) -> None:
    """Add the commands."""
    program.add_command(tariff_group)


@click.group("tariff")
def tariff_group() -> None:
    """Tariffs from others."""


@tariff_group.command("import")
@click.argument("file", type=click.File("rb"))
@click.option("--name", required=True, help="Its name in the configuration; of several, each gets its id behind it.")
@click.option(
    "--beside", type=click.Path(path_type=Path), default=Path(), metavar="CONFIG", help="The configuration, or its directory."
)
@click.option("--replace", is_flag=True, help="Overwrite files that are there.")
@JSON
def tariff_import(file: IO[bytes], name: str, beside: Path, replace: bool, as_json: bool) -> None:
    """Take the tariffs of an OCPI response, a list, or one object, from FILE or - for stdin; write each to a file.

    \b
    Examples:
      energyshare-provider tariff import partner.json --name partner --beside depot.toml
      curl -s https://cpo.example.org/ocpi/2.2.1/tariffs | energyshare-provider tariff import - --name partner
    """
    folder = beside if beside.is_dir() else beside.parent
    tariffs = tariffs_in(file.read(), named(name))
    _require_new(folder, tariffs, replace)
    for one in tariffs:
        write_atomically(folder / one.file, one.body + b"\n", FILE_MODE)
    if as_json:
        click.echo(json.dumps([_facts(folder, one) for one in tariffs]))
        return
    _tell(folder, tariffs, beside if beside.suffix == ".toml" else Path("CONFIG.toml"))


def tariffs_in(data: bytes, name: str) -> list[Imported]:
    """Read and check all tariffs of a response, a list, or one object.

    Raises: TariffError with the place of what can't be priced; Unimportable for what holds no tariffs.
    """
    parsed(data, RESPONSE_BYTES_MAX)  # refuses what is no JSON, and a field that is there twice
    objects = list(_objects(json.loads(data, parse_float=Decimal, parse_int=Decimal)))
    if not 1 <= len(objects) <= TARIFFS_MAX:
        raise Unimportable(f"this holds {len(objects)} tariffs; 1 to {TARIFFS_MAX} are taken at once")
    names = [name] if len(objects) == 1 else [_name_of(one, name, number) for number, one in enumerate(objects, 1)]
    if len(set(names)) != len(names):
        raise Unimportable("two of these tariffs have the same id; import them one by one")
    return [_imported(one, where, path) for one, where, path in zip(objects, names, _paths(len(objects)), strict=True)]


def named(text: str) -> str:
    """Take a name that is one of a file too; wrong usage when it is none."""
    if len(text) > NAME_MAX or re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", text) is None:
        raise click.BadParameter(f"letters, digits, - and _, {NAME_MAX} at most", param_hint="--name")
    return text


def _objects(root: object) -> Iterator[Mapping[str, Any]]:
    """Give the tariff objects; raises Unimportable unless they are some."""
    found = _data_of(root) if isinstance(root, Mapping) and "elements" not in root else root
    for one in found if isinstance(found, list) else [found]:
        if not isinstance(one, Mapping):
            raise Unimportable("this is no OCPI tariff: an object with `elements`, a list of them, or a response with `data`")
        yield one


def _data_of(response: Mapping[str, Any]) -> object:
    """Take what a response carries; raises Unimportable for one that tells of an error."""
    status = response.get("status_code")
    if status is not None and status not in OCPI_SUCCESS:
        raise Unimportable(f"the response tells of an error: {status} {response.get('status_message', '')}".strip())
    return response.get("data")


def _name_of(tariff: Mapping[str, Any], name: str, number: int) -> str:
    """Name one of several tariffs by its id, or by its number where it has none."""
    given = NOT_OF_A_NAME.sub("-", str(tariff.get("id") or number)).strip("-").lower()
    return f"{name}-{given or number}"[:NAME_MAX]


def _paths(count: int) -> Sequence[str]:
    return [""] if count == 1 else [f"[{index}]" for index in range(count)]


def _imported(tariff: Mapping[str, Any], name: str, path: str) -> Imported:
    """Check a tariff; raises TariffError with the place in the file."""
    body = encoder.encode(tariff)
    try:
        tariff_of(body)
    except TariffError as error:
        raise TariffError(".".join(filter(None, (path, error.path))), error.problem) from None
    return Imported(name, body, lint_tariff(body))


def _require_new(folder: Path, tariffs: Sequence[Imported], replace: bool) -> None:
    if not folder.is_dir():
        raise Unimportable(f"there is no directory {folder}", "name the configuration, or its directory, with --beside")
    there = [one.file for one in tariffs if (folder / one.file).exists()]
    if there and not replace:
        what = f"{', '.join(there)} is there already; nothing was written"
        raise Unimportable(what, "take another --name, or --replace it: open offers keep their prices")


def _facts(folder: Path, one: Imported) -> dict[str, object]:
    findings = [{"severity": f.severity, "where": f.where, "code": f.code, "text": f.text} for f in one.findings]
    return {"name": one.name, "file": str(folder / one.file), "findings": findings}


def _tell(folder: Path, tariffs: Sequence[Imported], config: Path) -> None:
    """Say what was written, what in it may surprise, and what makes it count."""
    rows = [
        (f.severity, escape(f"{one.file} {f.where}".strip()), escape(f"{f.text} [{f.code}]"))
        for one in tariffs
        for f in one.findings
    ]
    if rows:
        out.print(table(("", "where", "what"), rows))
    out.print(f"{len(tariffs)} tariff{'s' if len(tariffs) > 1 else ''} written to {folder.absolute()}.", soft_wrap=True)
    out.print(f"To use them, put into {config}, and name them in its assets:", soft_wrap=True)
    for one in tariffs:
        out.print(f'\n[[tariffs]]\nname = "{one.name}"\nfile = "{one.file}"', markup=False, highlight=False)
    out.print(f"\nNext: energyshare-provider lint {config}", soft_wrap=True)
