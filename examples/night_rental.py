"""A home battery that is rented out at night only, and only while it is well charged; says what it brings in, until SIGINT.

    python examples/night_rental.py examples/home_battery.toml --home ~/.energyshare-provider --night 22-6 --charge 80

Offers, vouchers, confirmations and bills are the provider terminal's; what its owner wants beyond the configuration is said
in one function, which is asked for every demand before a price is made.
"""

import argparse
import asyncio
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from zoneinfo import ZoneInfo

from energyshare.bodies import Asset
from energyshare.errors import EnergyShareError
from energyshare.messages import Demand
from energyshare.values import datetime_of
from terminals.identity import utc_now
from terminals.provider import ProviderTerminal, opened
from terminals.provider.words import sentence_of
from terminals.units import money, time_text

LOOK_EVERY_S = 0.5


@dataclass(frozen=True, slots=True)
class OnlyAtNight:
    """The owner's rule: hours of the local day, and the charge in percent that the battery needs to leave the house."""

    first_hour: int
    last_hour: int
    charge_pct: int

    def __call__(self, asset: Asset, demand: Demand) -> str | None:
        """Say in UPPER_SNAKE why the battery is not offered; None leaves it to configuration and price."""
        hour = datetime_of(demand.needed_by_time).astimezone(ZoneInfo(asset.time_zone)).hour
        if (hour - self.first_hour) % 24 >= (self.last_hour - self.first_hour) % 24:
            return "ONLY_AT_NIGHT"
        return None if (asset.soc_pct or 0) >= self.charge_pct else "KEPT_FOR_THE_HOUSE"


async def rent_out(me: ProviderTerminal) -> None:
    """Serve until SIGINT, and say meanwhile what comes in."""
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGINT, stopped.set)
    telling = asyncio.create_task(tell_orders(me))
    try:
        await me.run(stopped, lambda what: print(what, flush=True))
    finally:
        telling.cancel()


async def tell_orders(me: ProviderTerminal) -> None:
    """Print a line whenever an order has moved, with what all of them have brought in, VAT included."""
    told: dict[int, str] = {}
    while True:
        orders = [order for _, order in me.orders()]
        billed = money(sum(order.total_minor + order.deposit_claimed_minor for order in orders), me.identity.currency)
        for order in orders:
            words = sentence_of(order)
            if told.get(order.number) != words:
                told[order.number] = words
                print(f"{time_text(utc_now())} order {order.number}: {words}; {billed} in all", flush=True)
        await asyncio.sleep(LOOK_EVERY_S)


def main() -> None:
    """Read the arguments, open the home, serve until interrupted."""
    parser = argparse.ArgumentParser(description="Rent a home battery out at night, while it is well charged.")
    parser.add_argument("config", type=Path, help="the configuration, as for energyshare-provider run")
    parser.add_argument("--home", type=Path, required=True, help="the provider's home")
    parser.add_argument("--night", default="22-6", metavar="FROM-UNTIL", help="hours of the battery's local day")
    parser.add_argument("--charge", type=int, default=80, metavar="PERCENT", help="least charge that it is offered with")
    given = parser.parse_args()
    first_hour, last_hour = map(int, given.night.split("-"))
    try:
        with opened(given.home, given.config, utc_now, OnlyAtNight(first_hour, last_hour, given.charge)) as me:
            asyncio.run(rent_out(me))
    except EnergyShareError as error:
        sys.exit(f"night_rental: error: {error}")


if __name__ == "__main__":
    main()
