"""energyshare-provider: the commands that only show. `order show`, `watch`."""

import json
import time
from collections.abc import Callable
from pathlib import Path

import click
from rich.console import Group
from rich.live import Live

from terminals.identity import utc_now
from terminals.provider.asking import line_of, look, looking
from terminals.provider.options import HOME, JSON, ORDER, out
from terminals.provider.overview import Desk, desk_facts, desk_of, view_facts, view_of
from terminals.provider.screen import page_head, screen
from terminals.provider.words import order_facts, sentence_of
from terminals.showing import page_lines
from terminals.units import plain


@click.command("show")
@ORDER
@HOME
@JSON
def order_show(order: int, home: Path, as_json: bool) -> None:
    """Show an order: where it stands, its money, until when what, its history and the evidence that is here.

    \b
    Examples:
      energyshare-provider order show 3
      energyshare-provider order show 3 --json
    """
    with looking(home) as (identity, journal):
        view = view_of(journal, *look(journal, order), identity.currency)
    if as_json:
        click.echo(json.dumps(view_facts(view)))
        return
    for part in (*page_head(view), *page_lines(view.waits, view.history, view.evidence)):
        out.print(part)
    if view.following:
        out.print(f"Next: {view.following}", markup=False, soft_wrap=True)


@click.command("watch")
@click.option("--interval", type=click.FloatRange(0.1, 3_600), default=1.0, show_default=True, help="Seconds.")
@click.option("--once", is_flag=True, help="Show it once.")
@HOME
@JSON
def watch_command(interval: float, once: bool, home: Path, as_json: bool) -> None:
    """Watch assets, orders under way and what came in today, beside the daemon; end it with Ctrl-C.

    \b
    Examples:
      energyshare-provider watch
      energyshare-provider watch --once --json
    """
    with looking(home) as (identity, journal):

        def desk() -> Desk:
            return desk_of(journal, identity, utc_now(), line_of(home))

        if once:
            _print(desk(), as_json)
        elif out.is_terminal and not as_json:
            _draw(desk, interval)
        else:
            _print_changes(desk, interval, as_json)


def register(program: click.Group) -> None:
    """Add the commands to a program; `show` joins its group `order`."""
    group = program.commands.get("order")
    if not isinstance(group, click.Group):
        group = click.Group("order", help="Orders.")
        program.add_command(group)
    group.add_command(order_show)
    program.add_command(watch_command)


def _print(desk: Desk, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(desk_facts(desk)))
    else:
        out.print(screen(desk, utc_now(), out.width, out.height))


def _draw(desk: Callable[[], Desk], interval_s: float) -> None:
    """Draw the desk anew until interrupted."""

    def drawn() -> Group:
        return screen(desk(), utc_now(), out.width, out.height)

    with Live(drawn(), console=out, screen=True, auto_refresh=False, vertical_overflow="crop") as live:
        while True:
            time.sleep(interval_s)
            live.update(drawn(), refresh=True)


def _print_changes(desk: Callable[[], Desk], interval_s: float, as_json: bool) -> None:
    """Print what is new of each order until interrupted."""
    printed: dict[int, str] = {}
    while True:
        shown = desk()
        for order_id, document in shown.orders:
            words = sentence_of(document)
            if printed.get(document.number) != words:
                printed[document.number] = words
                facts = json.dumps(order_facts(order_id, document))
                click.echo(facts if as_json else f"order {document.number}: {document.state}: {plain(words)}")
        time.sleep(interval_s)
