"""Commands about tariffs by themselves: what one means, what in it may surprise, what a session costs by it."""

import json
import re
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import IO, Any, NoReturn

import click
from rich.markup import escape

from energyshare.bodies import ServiceItem
from energyshare.program import table
from energyshare.rating import Bill, zone_of
from energyshare.tariff import Tariff, TariffError, tariff_of
from energyshare.tariff_explain import explain
from energyshare.tariff_lint import Finding, lint_tariff
from energyshare.tariff_simulate import Plan, Simulation, Standing, plot, simulate
from energyshare.values import Currency, Instant, instant_of
from terminals.identity import utc_now
from terminals.units import energy_text, figure, money, span_text
from terminals.user import pages
from terminals.user.commands.wanted import Item
from terminals.user.options import JSON
from terminals.user.words import Duration

COLUMNS, LINES, EVERY = 60, 10, 5
"""Steps of a simulation, which are the columns of its plot; its lines; and of how many steps one is a row of the table."""
FILE = click.argument("file", type=click.File("rb"))


def register(program: click.Group) -> None:
    """Add the commands."""
    program.add_command(tariff_group)


@click.group("tariff")
def tariff_group() -> None:
    """Tariffs: what they mean, what may surprise, what sessions cost by the rules that all parties bill by."""


@tariff_group.command("explain")
@FILE
@JSON
def tariff_explain(file: IO[bytes], as_json: bool) -> None:
    """Say in plain sentences what an OCPI tariff means.

    \b
    Examples:
      energyshare tariff explain examples/day.json
    """
    sentences = explain(read_tariff(file))
    if as_json:
        click.echo(json.dumps({"sentences": sentences}))
        return
    for told in sentences:
        pages.say(told)


@tariff_group.command("lint")
@FILE
@JSON
def tariff_lint(file: IO[bytes], as_json: bool) -> None:
    """Look for what in an OCPI tariff may surprise; ends with 1 if it can't be priced at all.

    \b
    Examples:
      energyshare tariff lint examples/day.json
    """
    findings = lint_tariff(file.read().strip())
    if as_json:
        click.echo(json.dumps([finding_facts(file, finding) for finding in findings]))
    elif findings:
        rows = [(f.severity, escape(f"{file.name} {f.where}".strip()), f.code, escape(f.text)) for f in findings]
        pages.out.print(table(("severity", "where", "code", "what"), rows))
    else:
        pages.say("Nothing was found.")
    if any(finding.severity == "error" for finding in findings):
        raise SystemExit(1)


@tariff_group.command("simulate")
@FILE
@click.option("--energy-wh", type=click.IntRange(0, 10**9), default=0, help="Energy, evenly over the duration.")
@click.option("--duration", "duration_s", type=Duration(), required=True, help="How long it supplies, or is worked.")
@click.option("--parking", "parking_s", type=Duration(), default="0s", help="How long it stays without supply after that.")
@click.option(
    "--item", "items", type=Item(), multiple=True, metavar="NAME[:QUANTITY]", help="An item of a service; repeatable."
)
@click.option("--start", help="When it starts, as told there: 2026-12-24T18:00; now if it is left out.")
@click.option("--time-zone", default="UTC", show_default=True, help="Time zone of the place.")
@JSON
def tariff_simulate(
    file: IO[bytes],
    energy_wh: int,
    duration_s: int,
    parking_s: int,
    items: tuple[ServiceItem, ...],
    start: str | None,
    time_zone: str,
    as_json: bool,
) -> None:
    """Show how the cost of a session rises, its bill, and the most that an order of it can cost.

    \b
    Examples:
      energyshare tariff simulate examples/day.json --energy-wh 20000 --duration 2h --parking 1h
      energyshare tariff simulate examples/callout.json --duration 45m --item tyre:2 --start 2026-12-24T18:00
    """
    tariff = read_tariff(file)
    began = start_of(start, time_zone)
    found = simulate(Plan(began, time_zone, energy_wh, duration_s, parking_s, items), tariff, COLUMNS)
    if as_json:
        click.echo(json.dumps(simulation_facts(found)))
        return
    print_simulation(found, tariff.currency)


@tariff_group.command("price")
@click.argument("tariff", type=click.File("rb"), required=False)
@click.argument("session", type=click.File("rb"), required=False)
@click.option("--batch", type=click.File("rb"), help="JSON lines with id, tariff and session.")
@click.option("--time-zone", help="Time zone of the place, for records that don't tell it.")
@JSON
def tariff_price(
    tariff: IO[bytes] | None, session: IO[bytes] | None, batch: IO[bytes] | None, time_zone: str | None, as_json: bool
) -> None:
    """Price an OCPI session by an OCPI tariff, or by that of a list which was valid; --batch gives a JSON line for each case.

    A single file holds whole charge detail records: each is priced by the tariffs in it, and held against what it states.

    \b
    Examples:
      energyshare tariff price tariff.json session.json
      energyshare tariff price november.json --time-zone Europe/Berlin
      energyshare tariff price --batch cases.jsonl
    """
    from energyshare.ocpi import price_case, price_line

    if batch is not None and tariff is not None:
        raise click.UsageError("give --batch CASES.jsonl, or files")
    if batch is not None:
        print_batch(price_line(line) for line in batch if line.strip())
        return
    if tariff is None:
        raise click.UsageError("give TARIFF.json and SESSION.json, RECORDS.json alone, or --batch CASES.jsonl")
    if session is None:
        print_records(tariff, time_zone, as_json)
        return
    read = json_of(tariff)
    case = {"id": "", "tariffs" if isinstance(read, list) else "tariff": read, "session": json_of(session)}
    try:
        priced = price_case(case)
    except TariffError as error:
        raise in_files(error, tariff.name, session.name) from None
    if as_json:
        click.echo(json.dumps(priced))
        return
    pages.out.print(f"{priced['excl_vat']} {priced['currency']} without VAT, {priced['incl_vat']} {priced['currency']} with")


def read_tariff(file: IO[bytes]) -> Tariff:
    """Read a tariff's file. Raises TariffError that names file, path and reason."""
    try:
        return tariff_of(file.read().strip())
    except TariffError as error:
        raise TariffError(f"{file.name} {error.path}".strip(), error.problem) from None


def json_of(file: IO[bytes]) -> object:
    """Read a file's JSON, numbers as they are written; raises a usage error where it is none."""
    from energyshare.ocpi import LINE_BYTES_MAX
    from energyshare.tariff_json import parsed

    try:
        return parsed(file.read(), LINE_BYTES_MAX)
    except TariffError as error:
        raise click.BadParameter(f"{file.name} is not JSON: {error}") from None


def in_files(error: TariffError, tariff: str, session: str) -> TariffError:
    """Name the file of an error, and the path in it, in place of the path in the case that both files make."""
    file = session if error.path.startswith("session") else tariff
    path = re.sub(r"^(session|tariff)(\.|$)", "", error.path)
    return TariffError(f"{file} {path}".strip(), error.problem)


def print_batch(answers: Iterable[dict[str, object]]) -> None:
    """Print each answer as soon as it is there; ends with 1 if one is an error."""
    failed = False
    for answer in answers:
        click.echo(json.dumps(answer))
        failed = failed or "error" in answer
    if failed:
        raise SystemExit(1)


def print_records(file: IO[bytes], time_zone: str | None, as_json: bool) -> None:
    """Print what each record comes to beside what it states; ends with 1 if one can't be priced, or differs."""
    from energyshare.ocpi_records import FILE_BYTES_MAX, price_records, records_of

    try:
        answers = price_records(records_of(file.read(FILE_BYTES_MAX + 1)), time_zone)
    except TariffError as error:
        raise click.BadParameter(f"{file.name} is not JSON: {error}") from None
    found = list(answers)
    if as_json:
        for answer in found:
            click.echo(json.dumps(answer))
    elif found:
        pages.out.print(table(("record", "priced", "states", "with VAT", ""), [record_row(answer) for answer in found]))
    else:
        pages.say("There is no record in it.")
    if any("error" in answer or answer.get("agrees") is False for answer in found):
        raise SystemExit(1)


def record_row(answer: dict[str, object]) -> tuple[str, ...]:
    """Write a record's line."""
    name = escape(str(answer["id"] or "?"))
    if "error" in answer:
        return name, "", "", "", f"can't be priced: {escape(str(answer['error']))}"
    if "agrees" not in answer:
        return name, "", "", "", f"credit of {escape(str(answer['credit_reference_id']))}"
    kind = "incl_vat" if "stated_incl_vat" in answer else "excl_vat"
    amounts = (f"{answer[kind]} {answer['currency']}", str(answer[f"stated_{kind}"]))
    return name, *amounts, "yes" if kind == "incl_vat" else "no", "agrees" if answer["agrees"] else "differs"


def start_of(text: str | None, time_zone: str) -> Instant:
    """Read a local time of a place; now if there is none. Raises TariffError for an unknown zone."""
    zone = zone_of(time_zone)
    if text is None:
        return utc_now()
    try:
        local = datetime.fromisoformat(text)
    except ValueError:
        refuse_start(text)
    if local.tzinfo is not None or not 1970 < local.year < 3000:
        refuse_start(text)
    return instant_of(local.replace(tzinfo=zone))


def refuse_start(text: str) -> NoReturn:
    raise click.BadParameter(f"{text!r} is not a local time; write for example 2026-12-24T18:00", param_hint="--start")


def print_simulation(found: Simulation, currency: Currency) -> None:
    """Print how a cost rises as a table and as a plot, and what it comes to."""
    shown = [*found.standings[:-1:EVERY], found.standings[-1]]
    columns = ("after", "energy", f"{currency} without VAT", f"{currency} with VAT")
    pages.out.print(table(columns, [standing_row(one, currency) for one in shown]))
    pages.out.print()
    for line in plot_lines(found.standings, currency):
        pages.out.print(line, markup=False)
    pages.out.print()
    pages.out.print(table(("for", "metered", "billed", "price", "VAT %"), bill_rows(found.bill)))
    without, total = money(found.bill.excl_vat_minor, currency), money(found.bill.incl_vat_minor, currency)
    pages.say(f"It costs {without} without VAT, ", (f"{total} with it", "bold"), f"; rounded {found.bill.rounding}.")
    pages.say(f"The most that an order with this energy and time as its caps can cost is {money(found.bound_minor, currency)}.")


def standing_row(one: Standing, currency: Currency) -> tuple[str, ...]:
    excl_vat, incl_vat = figure(one.excl_vat_minor, currency), figure(one.incl_vat_minor, currency)
    return span_text(one.elapsed_s), energy_text(one.energy_wh), excl_vat, incl_vat


def plot_lines(standings: Sequence[Standing], currency: Currency) -> list[str]:
    """Draw the cost with VAT over time, with its highest amount and its last time at the axes."""
    top = figure(max(one.incl_vat_minor for one in standings), currency)
    drawn = plot([one.incl_vat_minor for one in standings], LINES)
    scale = [top, *[""] * (len(drawn) - 2), figure(0, currency)]
    lines = [f"{label:>{len(top)}} │{line}" for label, line in zip(scale, drawn, strict=True)]
    last = span_text(standings[-1].elapsed_s)
    return [*lines, f"{'':>{len(top)}} └{'─' * len(standings)}", f"{'':>{len(top)}}  0:00{last:>{max(1, len(standings) - 4)}}"]


def bill_rows(bill: Bill) -> list[tuple[str, ...]]:
    """Give a bill's lines; volumes are in Wh, seconds or pieces."""
    return [
        (
            escape(line.item) or line.dimension.name.lower().replace("_", " "),
            line.volume,
            line.billed_volume,
            line.price,
            line.vat,
        )
        for line in bill.lines
    ]


def finding_facts(file: IO[bytes], finding: Finding) -> dict[str, Any]:
    """Give a finding for programs."""
    where = {"file": file.name, "where": finding.where}
    return {"severity": finding.severity, **where, "code": finding.code, "text": finding.text}


def simulation_facts(found: Simulation) -> dict[str, Any]:
    """Give a simulation for programs."""
    return {
        "currency": found.bill.currency,
        "excl_vat_minor": found.bill.excl_vat_minor,
        "incl_vat_minor": found.bill.incl_vat_minor,
        "rounding": found.bill.rounding,
        "bound_minor": found.bound_minor,
        "standings": [
            {
                "elapsed_s": one.elapsed_s,
                "energy_wh": one.energy_wh,
                "excl_vat_minor": one.excl_vat_minor,
                "incl_vat_minor": one.incl_vat_minor,
            }
            for one in found.standings
        ],
    }
