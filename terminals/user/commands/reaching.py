"""How the user's commands open their home, reach a device and the cloud, and say what came of it."""

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from energyshare.errors import Reason, Rejected, Unavailable
from energyshare.values import Minor, Money, OrderId
from terminals.user import pages
from terminals.user.order import OPEN, UserOrder

if TYPE_CHECKING:
    from terminals.user.terminal import UserTerminal

REACH_S = 4.0


def opened_home(home: Path, *, read_only: bool = False) -> "AbstractContextManager[UserTerminal]":
    """Open the home; holds its lock unless it is only read."""
    from terminals.user.terminal import opened

    return opened(home, pages.read_clock, read_only=read_only)


def amount_of(text: str, me: "UserTerminal") -> Minor:
    """Read an amount of the home's currency; raises Rejected{AMOUNT_NOT_POSITIVE}."""
    try:
        amount = Money.parse(text, me.identity.currency).amount_minor
    except ValueError as error:
        raise click.BadParameter(str(error)) from None
    if amount <= 0:
        raise Rejected(Reason.AMOUNT_NOT_POSITIVE)
    return amount


def act(me: "UserTerminal", deed: Coroutine[Any, Any, None], done: Callable[[], bool], wait: float = REACH_S) -> None:
    """Do something at a device, then tell the cloud if it can be reached; what waits is kept otherwise."""
    asyncio.run(_act(me, deed, done, wait))


def tell(me: "UserTerminal", done: Callable[[], bool], wait: float) -> None:
    """Tell the cloud what was journalled, if it can be reached, and wait until something holds."""
    asyncio.run(_tell(me, done, wait))


def hear_of(me: "UserTerminal", waits: Callable[[UserOrder], bool], wait: float) -> None:
    """Listen until a service waits for an answer, where one is under way and none does yet."""

    def is_there() -> bool:
        return any(waits(order) for _, order in me.orders())

    under_way = any(order.kind == "SERVICE" and order.state in OPEN for _, order in me.orders())
    if under_way and not is_there():
        with suppress(Unavailable):
            asyncio.run(me.sync(is_there, wait))


def finish(me: "UserTerminal", order_id: OrderId, as_json: bool) -> None:
    """Say where an order stands after an act; raises what the cloud refused the act with."""
    pages.print_order(me, order_id, as_json)
    order = me.order(order_id)
    if order.refused:
        raise pages.refusal(order)


async def _act(me: "UserTerminal", deed: Coroutine[Any, Any, None], done: Callable[[], bool], wait: float) -> None:
    await deed
    await _tell(me, done, wait)


async def _tell(me: "UserTerminal", done: Callable[[], bool], wait: float) -> None:
    try:
        await me.sync(done, wait)
    except Unavailable as error:
        click.echo(f"energyshare: note: {error}; what was done is kept and goes out with: energyshare sync", err=True)
