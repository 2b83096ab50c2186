"""How open orders fill a screen: a pure function of what is known and of the room there is.

The orders that wait for their user come first, then those under way. What does not fit is shortened, the orders that come last
to a line each; what is left over shows what happened last.
"""

from collections.abc import Sequence
from textwrap import wrap

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.text import Text

from energyshare.values import Instant
from terminals.showing import event_lines, fitted, left_text
from terminals.units import clock_text
from terminals.user.overview import OrderView
from terminals.user.pages import detail_lines

EVENTS_MAX = 8
FRAME_LINES, FRAME_COLUMNS = 2, 4  # of a panel
URGENCY = ("ACTIVE", "AUTHORIZED", "ENDING", "SELECTED", "DEMANDED", "DISPUTED")


def screen(views: Sequence[OrderView], status: str, now: Instant, width: int, height: int) -> Group:
    """Draw orders into a room of columns and lines."""
    head = fitted(Text.assemble(("EnergyShare", "bold"), f"  {clock_text(now, now)}  {status}"), width)
    if not views:
        return Group(head, Text("No open orders. Next: energyshare demand --help"))
    blocks, left = _blocks(sorted(views, key=urgency), now, width, height - 2)
    events = [fitted(line, width) for line in event_lines(((view.order.number, view.history) for view in views), now)]
    return Group(head, *blocks, *events[: max(0, min(EVENTS_MAX, left))])


def urgency(view: OrderView) -> tuple[bool, int, int]:
    """Give an order's place on the screen: what waits for its user, then by state, then the newest."""
    order = view.order
    waits = order.waiting_amendment is not None or order.waiting_settlement is not None
    state = URGENCY.index(order.state) if order.state in URGENCY else len(URGENCY)
    return not waits, state, -order.number


def _blocks(views: Sequence[OrderView], now: Instant, width: int, left: int) -> tuple[list[RenderableType], int]:
    """Draw a panel for each order while each one after it still gets its line; gives the lines that are left over."""
    blocks: list[RenderableType] = []
    for index, view in enumerate(views):
        lines = panel_lines(view, now, width - FRAME_COLUMNS)
        if len(lines) + FRAME_LINES + len(views) - index - 1 > left:
            rest = views[index : index + max(0, left)]
            return [*blocks, *(fitted(short_line(one), width) for one in rest)], left - len(rest)
        title = f"order {view.order.number}: {view.order.state}"
        blocks.append(Panel(Group(*lines), title=title, title_align="left"))
        left -= len(lines) + FRAME_LINES
    return blocks, left


def panel_lines(view: OrderView, now: Instant, width: int) -> list[Text]:
    """Tell an order: its sentence, place, progress, amounts, the times that matter, the next command."""
    waits = (Text(f"{wait.what} {clock_text(wait.at, now)} ({left_text(wait.at, now)})") for wait in view.waits)
    following = [Text(f"Next: {view.following}")] if view.following else []
    lines = [*detail_lines(view), *waits, *following]
    return [*(Text(line, style="bold") for line in wrap(view.sentence, width)), *(fitted(line, width) for line in lines)]


def short_line(view: OrderView) -> Text:
    """Tell an order in a line."""
    progress = "".join(f"; {gauge.text}" for gauge in view.gauges)
    return Text(f"order {view.order.number}: {view.order.state}: {view.sentence}{progress}")
