"""Commands that find and select an offer."""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

import click

from energyshare.bodies import ServiceItem
from energyshare.messages import Demand
from energyshare.values import DurationS, EnergyWh, Metres, OrderId, later
from terminals.user import pages, words
from terminals.user.commands.reaching import amount_of, opened_home
from terminals.user.commands.wanted import CONNECTORS, KINDS, Item, kinds_of, place_of
from terminals.user.options import HOME, JSON, ORDER, WAIT, YES

if TYPE_CHECKING:
    from terminals.user.terminal import UserTerminal

HOUR_S = 3_600


def register(program: click.Group) -> None:
    """Add the commands."""
    for command in (demand_command, offers_command, select_command):
        program.add_command(command)


@click.command("demand")
@click.argument("kinds", type=click.Choice(list(KINDS)), nargs=-1, required=True, metavar="KIND...")
@click.option("--at", required=True, metavar="LAT,LON", help="Where, in degrees; for example 22.5431,114.0579.")
@click.option("--radius-km", type=click.FloatRange(0.001, 200), default=2.0, show_default=True)
@click.option("--energy-wh", type=click.IntRange(1, 10**7), help="Energy wanted, in watt-hours.")
@click.option("--duration", type=words.Duration(), help="Time wanted, as 2h.")
@click.option("--item", "items", type=Item(), multiple=True, metavar="NAME[:QUANTITY]", help="What is to be done; repeatable.")
@click.option("--connector", type=click.Choice(list(CONNECTORS)), help="The plug that an outlet must have.")
@click.option("--max-price", metavar="AMOUNT", help="Most that you will pay, deposit apart.")
@click.option("--needed-in", type=words.Duration(), default="30m", show_default=True, help="By when it should start.")
@WAIT
@HOME
@JSON
def demand_command(
    kinds: tuple[str, ...],
    at: str,
    radius_km: float,
    energy_wh: int | None,
    duration: int | None,
    items: tuple[ServiceItem, ...],
    connector: str | None,
    max_price: str | None,
    needed_in: int,
    wait: int,
    home: Path,
    as_json: bool,
) -> None:
    """Say what you need, and see who offers it: battery, energy, service, or several of them.

    \b
    Examples:
      energyshare demand energy --at 22.5431,114.0579 --energy-wh 10000 --connector gbt-dc
      energyshare demand battery --at -33.8688,151.2093 --radius-km 5 --duration 2h --max-price 20
      energyshare demand service --at 22.5431,114.0579 --item jump-start --item tyre-change:2
      energyshare demand battery energy service --at 22.5431,114.0579 --energy-wh 5000 --item jump-start
    """
    asked = kinds_of(kinds, items, duration, connector)
    place = place_of(at)
    with opened_home(home) as me:
        demand = Demand(
            kinds=asked,
            place=place,
            radius_m=Metres(max(1, round(radius_km * 1000))),
            energy_wh=None if energy_wh is None else EnergyWh(energy_wh),
            duration_s=None if duration is None else DurationS(duration),
            service_items=items,
            needed_by_time=later(pages.read_clock(), needed_in),
            price_max_minor=None if max_price is None else amount_of(max_price, me),
            time_to_live_s=DurationS(min(HOUR_S, max(1, wait))),
            connector=None if connector is None else CONNECTORS[connector],
        )
        order_id = me.demand(demand)
        asyncio.run(_wait_for_offers(me, order_id, wait, live=not as_json))
        pages.print_offers(me, order_id, as_json)
        order = me.order(order_id)
        if order.state in ("REFUSED", "EXPIRED") and not order.offers:
            raise SystemExit(1)


@click.command("offers")
@ORDER
@click.option("--wait", type=words.Duration(), default="0s", show_default=True, help="How long to wait for more.")
@HOME
@JSON
def offers_command(order: int | None, wait: int, home: Path, as_json: bool) -> None:
    """Show an order's offers, nearest first.

    \b
    Examples:
      energyshare offers
      energyshare offers 3 --wait 30s
    """
    with opened_home(home, read_only=not wait) as me:
        order_id = me.numbered(order)
        if wait:
            asyncio.run(_wait_for_offers(me, order_id, wait, live=not as_json))
        pages.print_offers(me, order_id, as_json)


@click.command("select")
@click.argument("numbers", nargs=-1, type=click.IntRange(1), metavar="[ORDER] OFFER", required=True)
@WAIT
@YES
@HOME
@JSON
def select_command(numbers: tuple[int, ...], wait: int, yes: bool, home: Path, as_json: bool) -> None:
    """Select an offer: its most is held, and its provider sends the voucher.

    \b
    Examples:
      energyshare select 2          # offer 2 of the only open order
      energyshare select 3 1 --yes  # offer 1 of order 3
    """
    if len(numbers) > 2:
        raise click.UsageError("give an offer, or an order and an offer: energyshare select 3 1")
    with opened_home(home) as me:
        order_id = me.numbered(numbers[0] if len(numbers) == 2 else None)
        order, index = me.order(order_id), numbers[-1]
        if not as_json and order.state == "DEMANDED" and index <= len(order.offers):
            pages.say_the_most(me, order_id, order, index, yes)
        me.select(order_id, index)
        asyncio.run(me.sync(lambda: me.order(order_id).state != "SELECTED", wait))
        pages.print_order(me, order_id, as_json)
        if me.order(order_id).state not in ("SELECTED", "AUTHORIZED", "ACTIVE"):
            raise pages.refusal(me.order(order_id))


async def _wait_for_offers(me: "UserTerminal", order_id: OrderId, wait: float, *, live: bool) -> None:
    """Wait until every asset that was asked has answered, showing offers as they come."""

    def answered() -> bool:
        order = me.order(order_id)
        told = len(order.offers) + len(order.declined)
        return order.state != "DEMANDED" or (order.candidates is not None and told >= order.candidates)

    if not live or not pages.out.is_terminal:
        await me.sync(answered, wait)
        return
    from rich.live import Live

    with Live(pages.offers_of(me, order_id), console=pages.out, transient=True) as screen:
        await me.sync(answered, wait, lambda: screen.update(pages.offers_of(me, order_id)))
