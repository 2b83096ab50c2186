"""A fleet dashboard's feed: a JSON line for each change of any order of an account, until SIGINT.

    python examples/fleet_feed.py --home ~/.energyshare-dashboard

The vehicles of a fleet are terminals of one account, and the dashboard is one more: enroll its home with a join token of the
same account. Orders that it made itself reach it as they change; those of the vehicles it asks for every few seconds.
"""

import argparse
import asyncio
import json
import sys
from contextlib import aclosing
from pathlib import Path

from energyshare.errors import EnergyShareError, Unavailable
from energyshare.places import place_name
from energyshare.values import OrderId
from terminals.identity import utc_now
from terminals.units import time_text
from terminals.user import UserTerminal, opened
from terminals.user.order import UserOrder
from terminals.user.pages import order_facts

TRY_AGAIN_S = 5.0


async def feed(me: UserTerminal, every_s: float) -> None:
    """Print what is new, and go on when the cloud could not be reached."""
    printed: dict[OrderId, UserOrder] = {}
    while True:
        try:
            await me.adopt_orders()
            async with asyncio.timeout(every_s), aclosing(me.follow()) as changes:
                async for order_id, order in changes:
                    if printed.get(order_id) != order:
                        printed[order_id] = order
                        print(line_of(me, order_id, order), flush=True)
        except TimeoutError:
            continue
        except Unavailable as error:
            print(f"fleet_feed: {error}; trying again", file=sys.stderr)
            await asyncio.sleep(TRY_AGAIN_S)


def line_of(me: UserTerminal, order_id: OrderId, order: UserOrder) -> str:
    """Write an order as one line: what `energyshare status --json` says, when it was heard, and where it takes place."""
    facts = order_facts(order_id, order, me.identity.currency)
    return json.dumps({"time": time_text(utc_now()), "place": place_of(me, order_id, order)} | facts)


def place_of(me: UserTerminal, order_id: OrderId, order: UserOrder) -> str | None:
    """Name the station and the device; None before an offer was selected."""
    if order.selected is None:
        return None
    asset = me.offer(order_id, order.selected).asset
    return place_name(asset.station, asset.name)


def main() -> None:
    """Read the arguments, open the home, print until interrupted."""
    parser = argparse.ArgumentParser(description="Print a JSON line for each change of any order of an account.")
    parser.add_argument("--home", type=Path, required=True, help="this terminal's home, enrolled for the account")
    parser.add_argument("--every", type=float, default=15.0, help="seconds between looks at the other terminals' orders")
    given = parser.parse_args()
    try:
        with opened(given.home, utc_now) as me:
            asyncio.run(feed(me, given.every))
    except KeyboardInterrupt:
        pass
    except EnergyShareError as error:
        sys.exit(f"fleet_feed: error: {error}")


if __name__ == "__main__":
    main()
