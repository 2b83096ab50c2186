"""energyshare-provider job: services, from the check-in to the settlement."""

import json
from pathlib import Path

import click
from rich.markup import escape

from energyshare.bodies import ServiceItem
from energyshare.errors import Reason, Rejected
from energyshare.program import table
from terminals.provider.acts import AskSettlement, CheckIn, Item, ProposeWork
from terminals.provider.asking import ask, look, looking, require_taken, watch
from terminals.provider.control import call
from terminals.provider.documents import OrderDocument
from terminals.provider.jobs import jobs
from terminals.provider.options import HOME, JOB, JSON, Duration, ItemCount, amount, out
from terminals.provider.words import (
    customer_place,
    is_job,
    items_of,
    job_facts,
    job_lines,
    next_command,
    sentence_of,
    waits_for_answer,
)
from terminals.units import money

WAIT = click.option("--wait", type=Duration(), default="0s", show_default=True, help="How long to wait for the customer.")


@click.group("job")
def job_group() -> None:
    """Services: check a customer in, propose extra work, ask for settlement."""


@job_group.command("list")
@HOME
@JSON
def job_list(home: Path, as_json: bool) -> None:
    """List the services that are to be done or paid.

    \b
    Examples:
      energyshare-provider job list
    """
    with looking(home) as (_, journal):
        found = jobs(journal)
    if as_json:
        click.echo(json.dumps([job_facts(order_id, document) for order_id, document in found]))
        return
    if not found:
        out.print("No job is open.")
        return
    rows = [
        (str(d.number), customer_place(d), escape(items_of(_items_of(d))), escape(sentence_of(d)), next_command(d))
        for _, d in found
    ]
    out.print(table(("job", "customer at", "items", "state", "next"), rows))


@job_group.command("show")
@JOB
@HOME
@JSON
def job_show(job: int, home: Path, as_json: bool) -> None:
    """Show a job: what was quoted, added and asked for.

    \b
    Examples:
      energyshare-provider job show 7
    """
    _print_job(home, job, as_json)


@job_group.command("check-in")
@JOB
@click.option("--wait", type=Duration(), default="10m", show_default=True, help="How long to wait for the customer.")
@HOME
@JSON
def job_check_in(job: int, wait: int, home: Path, as_json: bool) -> None:
    """Show where the customer's terminal has to check in, and wait until it is there; needs the running daemon.

    \b
    Examples:
      energyshare-provider job check-in 7
      energyshare-provider job check-in 7 --wait 0s --json
    """
    address = str(call(home, CheckIn(job))["address"])
    if not as_json:
        out.print(f"The customer types: [bold]energyshare start ORDER --device {address}[/]")
    with looking(home) as (_, journal):
        came = watch(journal, job, lambda document: document.started is not None, wait)
    _print_job(home, job, as_json, {"address": address, "checked_in": came})
    if not came and wait:
        raise SystemExit(1)


@job_group.command("add-item")
@JOB
@click.argument("name")
@click.option("--quantity", type=click.IntRange(1, 10_000), default=1, show_default=True)
@click.option("--duration", type=Duration(), default="0s", show_default=True, help="Time that it takes on top, as 30m.")
@WAIT
@HOME
@JSON
def job_add_item(job: int, name: str, quantity: int, duration: int, wait: int, home: Path, as_json: bool) -> None:
    """Propose extra work; it counts once the customer has approved it.

    \b
    Examples:
      energyshare-provider job add-item 7 jump-start
      energyshare-provider job add-item 7 cable --quantity 2 --duration 30m --wait 5m
    """
    if not 1 <= len(name) <= 64:
        raise click.BadParameter("an item's name has 1 to 64 characters", param_hint="NAME")
    _propose(home, ProposeWork(job, [Item(name, quantity)], duration), wait, as_json)


@job_group.command("add-time")
@JOB
@click.argument("duration", type=Duration())
@WAIT
@HOME
@JSON
def job_add_time(job: int, duration: int, wait: int, home: Path, as_json: bool) -> None:
    """Propose that the work takes longer; it counts once the customer has approved it.

    \b
    Examples:
      energyshare-provider job add-time 7 30m
    """
    _propose(home, ProposeWork(job, [], duration), wait, as_json)


@job_group.command("settle")
@JOB
@click.option("--item", "items", type=ItemCount(), multiple=True, metavar="NAME=N", help="What was done; all that was agreed.")
@click.option("--duration", type=Duration(), help="Time worked, as 1h20m; the time since the check-in.")
@click.option("--total", metavar="AMOUNT", help="Ask for less than items and time cost.")
@WAIT
@HOME
@JSON
def job_settle(
    job: int, items: tuple[Item, ...], duration: int | None, total: str | None, wait: int, home: Path, as_json: bool
) -> None:
    """Ask the customer for settlement, within the quote and the extra work that was approved.

    \b
    Examples:
      energyshare-provider job settle 7
      energyshare-provider job settle 7 --item jump-start=1 --duration 40m --wait 2m
      energyshare-provider job settle 7 --total 80.00
    """
    with looking(home) as (identity, journal):
        total_minor = None if total is None else amount(total, identity.currency)
        facts = ask(home, AskSettlement(job, list(items) or None, duration, total_minor))
        if not as_json:
            out.print(f"Asked for {money(int(facts['total_minor']), identity.currency)}.")
        answered = watch(journal, job, lambda document: document.state != "ENDING", wait)
        document = look(journal, job)[1]
        require_taken(document, document.settlement is not None)
    _print_job(home, job, as_json)
    if wait and not answered:
        raise SystemExit(1)


def _propose(home: Path, act: ProposeWork, wait: int, as_json: bool) -> None:
    """Propose extra work, say what it adds to the hold, and wait for the answer."""
    facts = ask(home, act)
    with looking(home) as (identity, journal):
        if not as_json:
            more = money(int(facts["hold_minor"]), identity.currency)
            out.print(f"Extra work {facts['amendment']} is proposed; approved, it adds {more} to the hold.")
        answered = watch(journal, act.order, lambda document: not waits_for_answer(document), wait)
        document = look(journal, act.order)[1]
        require_taken(document, any(line.number == facts["amendment"] for line in document.amendments))
    _print_job(home, act.order, as_json)
    if wait and not answered:
        raise SystemExit(1)


def _print_job(home: Path, number: int, as_json: bool, more: dict[str, str | bool] | None = None) -> None:
    with looking(home) as (identity, journal):
        order_id, document = look(journal, number)
    if not is_job(document):
        raise Rejected(Reason.WRONG_STATE, order=str(number), kind=document.kind or "none yet")
    if as_json:
        click.echo(json.dumps(job_facts(order_id, document) | (more or {})))
        return
    for line in job_lines(document, identity.currency):
        click.echo(line)
    following = next_command(document)
    if following:
        out.print(f"Next: {following}")


def _items_of(document: OrderDocument) -> list[ServiceItem]:
    return [*document.items, *(item for line in document.amendments if line.approved for item in line.items)]
