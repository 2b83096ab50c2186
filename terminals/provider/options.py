"""Options, arguments and values that several of the provider's commands take."""

import re
from decimal import Decimal
from pathlib import Path

import click
from click.shell_completion import CompletionItem

from energyshare.errors import EnergyShareError, Reason, Rejected
from energyshare.program import console
from energyshare.values import Currency, Minor, Money
from terminals.provider.acts import Item

ROLE = "provider"
DEFAULT_HOME = Path.home() / ".energyshare-provider"
UNIT_S = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
DURATION = re.compile(r"(?:\d{1,7}[smhd])+|\d{1,7}")
QUANTITY_MAX = 10_000
out = console()


class Duration(click.ParamType[int]):
    """A duration as people write it: 90s, 30m, 1h20m, 1d; in seconds."""

    name = "duration"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Give seconds."""
        text = str(value)
        if DURATION.fullmatch(text) is None:
            self.fail(f"{text!r} is not a duration; write 90s, 30m or 1h20m", param, ctx)
        if text.isdigit():
            return int(text)
        return sum(int(count) * UNIT_S[unit] for count, unit in re.findall(r"(\d+)([smhd])", text))


class ItemCount(click.ParamType[Item]):
    """An item and how many of it: NAME, or NAME=3."""

    name = "item"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> Item:
        """Give the item."""
        name, given, count = str(value).partition("=")
        if not 1 <= len(name) <= 64 or (given and not re.fullmatch(r"[0-9]{1,5}", count)):
            self.fail(f"{value!r} is not an item; write NAME, or NAME=3", param, ctx)
        quantity = int(count) if given else 1
        if not 1 <= quantity <= QUANTITY_MAX:
            self.fail(f"a quantity is from 1 to {QUANTITY_MAX:,}", param, ctx)
        return Item(name, quantity)


def order_numbers(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Complete an order's number from the journal, the newest first; nothing when there is no journal to read."""
    from terminals.journal import Journal
    from terminals.provider.documents import documents

    home = Path(ctx.params.get("home") or DEFAULT_HOME)
    try:
        journal = Journal(home / "journal.db", read_only=True)
    except (EnergyShareError, OSError):
        return []
    found = [(str(document.number), document.state.lower()) for _, document in reversed(documents(journal))]
    journal.close()
    return [CompletionItem(number, help=state) for number, state in found if number.startswith(incomplete)]


HOME = click.option(
    "--home",
    type=click.Path(file_okay=False, path_type=Path),
    envvar="ENERGYSHARE_HOME",
    default=DEFAULT_HOME,
    show_default=True,
    help="This provider's home directory.",
)
JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
ORDER = click.argument("order", type=click.IntRange(1, 2**40), shell_complete=order_numbers)
JOB = click.argument("job", type=click.IntRange(1, 2**40), shell_complete=order_numbers)


def amount(text: str, currency: Currency) -> Minor:
    """Take an amount as a person writes it; wrong usage when it is none, Rejected{AMOUNT_NOT_POSITIVE} below zero."""
    try:
        minor = Money.parse(text, currency).amount_minor
    except ValueError as error:
        raise click.BadParameter(str(error)) from None
    if minor < 0:
        raise Rejected(Reason.AMOUNT_NOT_POSITIVE)
    return minor


def degrees(value_e7: int) -> str:
    """Write a latitude or longitude."""
    return f"{Decimal(value_e7).scaleb(-7):.5f}"
