"""Watching a user's open orders: kept connected, drawn anew as time passes and messages come.

Without a terminal a line is printed whenever an order's state changes or something new is known of it.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import click
from rich.console import Console, Group
from rich.live import Live

from energyshare.errors import Unavailable
from energyshare.values import OrderId
from terminals.stream import Closed
from terminals.timeline import Entry
from terminals.units import clock_text
from terminals.user.order import OPEN, UserOrder
from terminals.user.overview import OrderView, view_facts, view_of
from terminals.user.pages import read_clock
from terminals.user.screen import screen, short_line

if TYPE_CHECKING:
    from terminals.user.terminal import UserTerminal

BACKOFF_S = (1.0, 2.0, 5.0, 10.0, 30.0)
LOOK_ASIDE_S = 0.1  # a command that wants the home waits for so long at most
FOREVER_S = 10.0 * 366 * 86_400

Look = Callable[[], Sequence[OrderView]]


@dataclass(slots=True)
class Connection:
    """Keeps a terminal connected while a screen shows it; `words` say how that stands."""

    me: "UserTerminal"
    words: str = "connecting"
    failures: int = 0
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep

    async def keep(self) -> None:
        """Stay connected; nothing ends this but what no reconnect mends, which is raised."""
        while True:
            try:
                await self.me.sync(self._connected, FOREVER_S)
            except Closed as closed:
                if closed.reason == "DISPLACED":
                    raise
                await self._wait(closed)
            except Unavailable as error:
                await self._wait(error)

    def _connected(self) -> bool:
        self.words, self.failures = "connected", 0
        return False

    async def _wait(self, error: Unavailable) -> None:
        pause = BACKOFF_S[min(self.failures, len(BACKOFF_S) - 1)]
        self.words, self.failures = f"offline, again in {pause:.0f} s: {error}", self.failures + 1
        await self.sleep(pause)


def watched(me: "UserTerminal", order_id: OrderId | None) -> list[OrderView]:
    """Give the orders to show: the one asked for, or all that are open or disputed, the newest first."""
    now = read_clock()
    if order_id is not None:
        return [view_of(me, order_id, now)]
    return [view_of(me, one, now) for one, order in reversed(me.orders()) if is_live(order)]


def is_live(order: UserOrder) -> bool:
    """Say whether something of an order is still to come."""
    return order.state in OPEN or order.state == "DISPUTED"


async def watch(
    connection: Connection | None,
    look: Look,
    console: Console,
    interval_s: float,
    *,
    as_json: bool,
    until: Callable[[], bool] = lambda: False,
) -> None:
    """Show orders until something holds or it is interrupted, connected to the cloud unless there is no connection to keep.

    Raises: Rejected or Closed when the cloud refuses for good.
    """
    words = connection_words(connection)
    drawing = asyncio.create_task(
        _draw(words, look, console, interval_s)
        if console.is_terminal and not as_json
        else _print_changes(words, look, interval_s, as_json)
    )
    tasks = [drawing, asyncio.create_task(_become(until)), *([asyncio.create_task(connection.keep())] if connection else [])]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def print_once(views: Sequence[OrderView], console: Console, *, as_json: bool) -> None:
    """Show orders as they are known now."""
    if as_json:
        click.echo(json.dumps([view_facts(view) for view in views]))
    else:
        console.print(screen(views, "not connected", read_clock(), console.width, console.height))


def connection_words(connection: Connection | None) -> Callable[[], str]:
    """Give a function that says how the connection stands."""
    return (lambda: connection.words) if connection else (lambda: "not connected")


async def _draw(words: Callable[[], str], look: Look, console: Console, interval_s: float) -> None:
    def drawn() -> Group:
        return screen(look(), words(), read_clock(), console.width, console.height)

    with Live(drawn(), console=console, screen=True, auto_refresh=False, vertical_overflow="crop") as live:
        while True:
            await asyncio.sleep(interval_s)
            live.update(drawn(), refresh=True)


async def _become(until: Callable[[], bool]) -> None:
    while not until():  # noqa: ASYNC110 - what other processes do to a home is no event here
        await asyncio.sleep(LOOK_ASIDE_S)


async def _print_changes(words: Callable[[], str], look: Look, interval_s: float, as_json: bool) -> None:
    printed = Printed(as_json)
    while True:
        for line in printed.new_lines(look(), words()):
            click.echo(line)
        await asyncio.sleep(interval_s)


@dataclass(slots=True)
class Printed:
    """What was printed already, where there is no screen to draw on."""

    as_json: bool
    status: str = ""
    states: dict[OrderId, tuple[str, Entry | None]] = field(default_factory=dict)

    def new_lines(self, views: Sequence[OrderView], status: str) -> Iterator[str]:
        """Give what is new since the last call."""
        if status != self.status and not self.as_json:
            yield f"{clock_text(read_clock(), read_clock())} {status}"
        self.status = status
        for view in views:
            known = view.sentence, view.history[-1] if view.history else None
            if self.states.get(view.order_id) != known:
                self.states[view.order_id] = known
                yield json.dumps(view_facts(view)) if self.as_json else short_line(view).plain
