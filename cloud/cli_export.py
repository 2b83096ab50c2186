"""The operator's commands that write files for others: charge records and tariffs as OCPI 2.2.1 JSON.

They read the database by themselves, also while a node runs, and change nothing.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import IO, Any

import click
from google.protobuf.timestamp_pb2 import Timestamp

from cloud.asking import HOME, JSON, Since
from cloud.config import CloudHome
from cloud.exchange.export import SERVICE, Exporter, LeftOut
from cloud.exchange.formats import encoder
from cloud.exchange.parties import COUNTRY, DOMESTIC, PARTY, Party
from cloud.exchange.records import Cdr
from cloud.pump import system_now
from cloud.store.cdrs import Asked
from cloud.store.database import open_reader
from cloud.store.readers import Readers
from energyshare.errors import Unavailable
from energyshare.records import replace
from energyshare.values import Instant, Kind, id_text

KINDS = {kind.name.lower(): kind for kind in (Kind.BATTERY, Kind.ENERGY)}
UNPROVEN_SHOWN = 10
STDOUT = "-"

PARTY_OPTION = click.option(
    "--party",
    required=True,
    envvar="ENERGYSHARE_OCPI_PARTY",
    metavar="COUNTRY-PARTY",
    help="Who this cloud is to others: country, alpha-2, and party id, as CN-ESH.",
)
COUNTRY_OPTION = click.option(
    "--country",
    required=True,
    envvar="ENERGYSHARE_OCPI_COUNTRY",
    help="Country of the places, ISO 3166-1 alpha-3, as CHN.",
)
DOMESTIC_OPTION = click.option(
    "--domestic", default="DOMESTIC_I", show_default=True, help="ConnectorType of household sockets and batteries."
)
PROVIDER = click.option("--provider", default="", metavar="NAME", help="Only of this provider.")
OUT = click.option(
    "--out", type=click.Path(dir_okay=False, allow_dash=True), default=STDOUT, help="Where to; stdout if it is left out."
)
LINES = click.option("--lines", is_flag=True, help="An object a line, instead of one array.")


@dataclass
class Written:
    """What an export wrote, and what it left out."""

    objects: int = 0
    credits: int = 0
    left_out: Counter[str] = field(default_factory=Counter)
    unproven: list[str] = field(default_factory=list)

    def kept(self, found: Iterator[Any]) -> Iterator[Any]:
        """Give what is to be written, and count all."""
        for one in found:
            if isinstance(one, LeftOut):
                self._leave_out(one)
                continue
            self.objects += 1
            self.credits += isinstance(one, Cdr) and one.credit is True
            yield one

    def _leave_out(self, one: LeftOut) -> None:
        self.left_out[one.code] += 1
        if one.code != SERVICE and one.order_id is not None:
            self.unproven.append(f"{id_text(one.order_id)} {one.code}")


@click.group("export")
def export() -> None:
    """Exchange: charge records and tariffs for others, as OCPI 2.2.1 JSON."""


@export.command("cdrs")
@HOME
@PARTY_OPTION
@COUNTRY_OPTION
@DOMESTIC_OPTION
@click.option("--from", "since", type=Since(), help="Made from then on: 24h, 7d or a date; from the first if left out.")
@click.option("--to", "until", type=Since(), help="Made before then.")
@PROVIDER
@click.option("--kind", type=click.Choice(sorted(KINDS)), help="Only of this kind.")
@click.option("--services", is_flag=True, help="Services too, as records of time and fixed cost, without a tariff.")
@OUT
@LINES
@JSON
def export_cdrs(
    home: Path,
    party: str,
    country: str,
    domestic: str,
    since: Timestamp | None,
    until: Timestamp | None,
    provider: str,
    kind: str | None,
    services: bool,
    out: str,
    lines: bool,
    as_json: bool,
) -> None:
    """Write charge records of supplies and rentals; a correction becomes a credit and a new record.

    Each is checked against its signed evidence first; one that fails is left out, named, and ends the command with 1. Services
    have no object of their own in OCPI: they are left out, or written with --services.

    \b
    Examples:
      energyshare-cloud export cdrs --party CN-ESH --country CHN --from 2026-11-01 --to 2026-12-01 --out november.json
      energyshare-cloud export cdrs --party CN-ESH --country CHN --from 24h --lines
    """
    cloud = CloudHome(home)
    asked = Asked(_instant(since), _instant(until), provider, KINDS[kind] if kind else None)
    exporter = replace(_exporter(cloud, _party(party, country, domestic)), with_services=services)
    readers, written = _readers(cloud), Written()
    _write(out, written.kept(exporter.cdrs(readers, asked)), lines)
    _conclude(written, "charge record", out, as_json)


@export.command("tariffs")
@HOME
@PARTY_OPTION
@COUNTRY_OPTION
@DOMESTIC_OPTION
@PROVIDER
@OUT
@LINES
@JSON
def export_tariffs(
    home: Path, party: str, country: str, domestic: str, provider: str, out: str, lines: bool, as_json: bool
) -> None:
    """Write the tariffs that assets have now. Prices of items have no place in OCPI and are left out.

    \b
    Examples:
      energyshare-cloud export tariffs --party CN-ESH --country CHN --out tariffs.json
    """
    cloud = CloudHome(home)
    exporter, readers = _exporter(cloud, _party(party, country, domestic)), _readers(cloud)
    written = Written()
    _write(out, written.kept(exporter.tariffs(readers, provider, system_now())), lines)
    _conclude(written, "tariff", out, as_json)


def _exporter(cloud: CloudHome, party: Party) -> Exporter:
    cloud.config()
    return Exporter(party, cloud.root(), cloud.platform().grant)


def _readers(cloud: CloudHome) -> Readers:
    if not cloud.database.exists():
        raise Unavailable(f"{cloud.path} has no database yet", f"energyshare-cloud serve --home {cloud.path} makes it")
    return Readers(open_reader(cloud.database))


def _party(party: str, country: str, domestic: str) -> Party:
    found = PARTY.fullmatch(party)
    if found is None:
        raise click.BadParameter("two letters, a hyphen, three capitals or digits, as CN-ESH", param_hint="--party")
    if COUNTRY.fullmatch(country) is None:
        raise click.BadParameter("three capital letters, as CHN", param_hint="--country")
    if DOMESTIC.fullmatch(domestic) is None:
        raise click.BadParameter("DOMESTIC_A to DOMESTIC_O", param_hint="--domestic")
    return Party(found[1], found[2], country, domestic)


def _instant(time: Timestamp | None) -> Instant | None:
    return None if time is None else Instant(time.ToMicroseconds())


def _write(out: str, objects: Iterator[object], lines: bool) -> None:
    """Write an array with an object a line, or the lines alone; one object at a time, whatever their number."""
    before, between, after = (b"", b"\n", b"\n") if lines else (b"[\n", b",\n", b"\n]\n")
    with _opened(out) as file:
        is_first = True
        for one in objects:
            file.write((before if is_first else between) + encoder.encode(one))
            is_first = False
        file.write((b"" if lines else b"[]\n") if is_first else after)


@contextmanager
def _opened(out: str) -> Iterator[IO[bytes]]:
    """Open what is written to; a file appears when it is whole, and stays as it was when that fails."""
    if out == STDOUT:
        with click.open_file(STDOUT, "wb") as stdout:
            yield stdout
        return
    draft = Path(out).with_name(f".{Path(out).name}.new")
    try:
        with draft.open("wb") as file:
            yield file
        draft.replace(out)
    finally:
        draft.unlink(missing_ok=True)


def _conclude(written: Written, what: str, out: str, as_json: bool) -> None:
    """Say what was written: the result where a file was named, talk where the objects went to stdout."""
    say = partial(click.echo, err=out == STDOUT)
    unproven = sum(written.left_out.values()) - written.left_out[SERVICE]
    if as_json:
        facts = {"written": written.objects, "credits": written.credits, "left_out": dict(written.left_out)}
        say(json.dumps(facts | {"unproven": written.unproven}))
    else:
        _tell(written, what, say)
    if unproven:
        raise SystemExit(1)


def _tell(written: Written, what: str, say: Callable[[str], None]) -> None:
    credits_told = f", {written.credits} of them credits" if written.credits else ""
    say(f"{_counted(written.objects, what)} written{credits_told}.")
    services = written.left_out[SERVICE]
    if services:
        say(f"{_counted(services, what)} of services left out: OCPI has no place for them.")
    for one in written.unproven[:UNPROVEN_SHOWN]:
        say(f"left out, as its evidence does not hold: order {one}")
    if len(written.unproven) > UNPROVEN_SHOWN:
        say(f"… and {len(written.unproven) - UNPROVEN_SHOWN} more")


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


COMMANDS = (export,)
