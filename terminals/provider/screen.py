"""How a provider's desk fills a screen: a pure function of what is known and of the room there is.

Orders under way come first, then assets, then what happened last; each gets what room the ones before leave.
"""

from collections.abc import Iterator, Sequence

from rich.console import Group
from rich.text import Text

from energyshare.bodies import Asset
from energyshare.places import place_name
from energyshare.program import count_text
from energyshare.values import Instant
from terminals.provider import words
from terminals.provider.documents import OrderDocument
from terminals.provider.overview import Desk, OrderView, waits_of
from terminals.showing import event_lines, fitted, left_text
from terminals.units import clock_text, money, plain

EVENTS_MIN, ASSETS_MIN = 4, 3


def screen(desk: Desk, now: Instant, width: int, height: int) -> Group:
    """Draw a provider's desk into a room of columns and lines."""
    head = [*head_lines(desk, now)]
    room = height - 1 - len(head)
    orders = _cut([*order_lines(desk, now)], max(2, room - EVENTS_MIN - ASSETS_MIN), "orders")
    assets = _cut([*asset_lines(desk)], max(ASSETS_MIN, room - len(orders) - EVENTS_MIN), "assets")
    events = [*event_lines(desk.histories, now)][: max(0, room - len(orders) - len(assets))]
    return Group(*(fitted(line, width) for line in (*head, *orders, *assets, *events)))


def head_lines(desk: Desk, now: Instant) -> Iterator[Text]:
    """Say who it is, what came in today, what waits."""
    waits = f"{count_text(desk.waiting, 'message')} for the cloud" if desk.waiting else "the cloud has heard all"
    waits = waits if desk.line == "connected" else f"{waits}; {desk.line}"
    billed = f"{count_text(desk.billed_today, 'bill')} today, {money(desk.billed_today_minor, desk.currency)}"
    yield Text.assemble(("EnergyShare provider ", "bold"), f"{desk.name}  {clock_text(now, now)}  {billed}  {waits}")


def order_lines(desk: Desk, now: Instant) -> Iterator[Text]:
    """Tell the orders under way: state, time that matters, next command."""
    yield Text(f"Under way: {count_text(len(desk.orders), 'order')}", style="bold")
    for _, document in reversed(desk.orders):
        yield Text(f"{_order_head(document)}{plain(words.sentence_of(document))}")
        waits = [f"{wait.what} {clock_text(wait.at, now)} ({left_text(wait.at, now)})" for wait in waits_of(document)]
        following = [f"Next: {command}"] if (command := words.next_command(document)) else []
        yield from (Text(f"        {line}", style="dim") for line in (*waits, *following))


def asset_lines(desk: Desk) -> Iterator[Text]:
    """Tell the assets: state, charge, the order that has it; those in use first."""
    yield Text(count_text(len(desk.assets), "asset"), style="bold")
    for asset in sorted(desk.assets, key=lambda one: (one.device_id not in desk.in_use, one.station, one.name)):
        yield Text(_asset_line(asset, desk.in_use.get(asset.device_id)))


def page_head(view: OrderView) -> Iterator[Text]:
    """Give the upper part of an order's page."""
    document = view.document
    yield Text.assemble(f"Order {document.number}: ", (document.state, "bold"), f" — {view.sentence}")
    yield from (Text(f"  {line}") for line in view.details)
    if view.amounts:
        yield Text("  " + ", ".join(f"{name} {money(minor, view.currency)}" for name, minor in view.amounts))


def _order_head(document: OrderDocument) -> str:
    return f"  {document.number:>4}  {document.state:<11}{plain(document.asset)}  "


def _asset_line(asset: Asset, order: int | None) -> str:
    charge = "" if asset.soc_pct is None else f", {asset.soc_pct} % charged"
    use = "" if order is None else f", in use by order {order}"
    name = place_name(asset.station, asset.name)
    return f"  {name:<24} {asset.kind.name.lower():<8} {asset.state.name.lower().replace('_', ' ')}{charge}{use}"


def _cut(lines: Sequence[Text], most: int, what: str) -> list[Text]:
    """Keep as many lines as there is room for, the last of them saying that there is more."""
    if len(lines) <= most:
        return list(lines)
    return [*lines[: most - 1], Text(f"  … and more {what}")]
