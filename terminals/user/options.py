"""Options and arguments that several of the user's commands take."""

from pathlib import Path

import click
from click.shell_completion import CompletionItem

from energyshare.errors import EnergyShareError
from terminals.user import words

DEFAULT_HOME = Path.home() / ".energyshare"


def order_numbers(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Complete an order's number from the journal, the newest first; nothing when there is no journal to read."""
    from terminals.journal import Journal
    from terminals.user.order import all_orders

    home = Path(ctx.params.get("home") or DEFAULT_HOME)
    try:
        journal = Journal(home / "journal.db", read_only=True)
    except (EnergyShareError, OSError):
        return []
    found = [(str(order.number), order.state.lower()) for _, order in reversed(all_orders(journal))]
    journal.close()
    return [CompletionItem(number, help=state) for number, state in found if number.startswith(incomplete)]


HOME = click.option(
    "--home",
    type=click.Path(file_okay=False, path_type=Path),
    envvar="ENERGYSHARE_HOME",
    default=DEFAULT_HOME,
    show_default=True,
    help="Your home directory.",
)
JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
YES = click.option("--yes", is_flag=True, help="Do not ask.")
ORDER = click.argument("order", type=click.IntRange(1), required=False, shell_complete=order_numbers)
WAIT = click.option("--wait", type=words.Duration(), default="10s", show_default=True, help="How long to wait for answers.")
INTERVAL = click.option("--interval", type=click.FloatRange(0.1, 3_600), default=1.0, show_default=True, help="Seconds.")
