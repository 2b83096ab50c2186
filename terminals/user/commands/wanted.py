"""What people type to say what they want: kinds, items, a plug, a place."""

import re
from collections import Counter

import click

from energyshare.bodies import ServiceItem
from energyshare.values import Connector, Kind, Place

KINDS = {kind.name.lower(): kind for kind in Kind}
CONNECTORS = {c.name.lower().replace("_", "-"): c for c in Connector if c is not Connector.NONE}
NAME_MAX = 64
QUANTITY_MAX = 10_000


class Item(click.ParamType[ServiceItem]):
    """A piece of a service as people write it: jump-start, tyre-change:2."""

    name = "item"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> ServiceItem:
        """Give the item with its quantity."""
        if isinstance(value, ServiceItem):
            return value
        found = re.fullmatch(r"(.+?)(?::([0-9]{1,5}))?", str(value))
        quantity = int(found[2] or 1) if found else 0
        if found is None or len(found[1]) > NAME_MAX or not 1 <= quantity <= QUANTITY_MAX:
            self.fail(f"{value!r} is not NAME or NAME:QUANTITY, as tyre-change:2", param, ctx)
        return ServiceItem(found[1], quantity)


def kinds_of(
    given: tuple[str, ...], items: tuple[ServiceItem, ...], duration_s: int | None, connector: str | None
) -> tuple[Kind, ...]:
    """Read the kinds, and hold what is asked for to them."""
    kinds = tuple(KINDS[name] for name in given)
    if len(set(kinds)) < len(kinds):
        raise click.UsageError("name each kind once")
    if items and Kind.SERVICE not in kinds:
        raise click.UsageError("--item is for a service: energyshare demand service --item NAME")
    if Kind.SERVICE in kinds and not items and duration_s is None:
        raise click.UsageError("say what is to be done, or for how long: --item NAME, --item NAME:QUANTITY, --duration 2h")
    if max(Counter(item.name for item in items).values(), default=1) > 1:
        raise click.UsageError("name each item once; write how many as NAME:QUANTITY")
    if connector is not None and Kind.ENERGY not in kinds:
        raise click.UsageError("--connector is for energy: only outlets have one")
    return kinds


def place_of(at: str) -> Place:
    """Read a place in degrees."""
    latitude, comma, longitude = at.partition(",")
    try:
        if not comma:
            raise ValueError
        return Place.of_degrees(latitude.strip(), longitude.strip())
    except (ValueError, OverflowError):
        raise click.BadParameter(f"{at!r} is not LAT,LON in degrees, as 22.5431,114.0579", param_hint="--at") from None
