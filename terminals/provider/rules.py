"""What keeps an asset from being offered beside its charge, its caps and its price. Pure.

A demand counts by when it needs the start, or by now when that has passed.
"""

import re

from msgspec import Struct

from energyshare.bodies import Asset
from energyshare.messages import Demand
from energyshare.values import AssetState, Instant, later
from terminals.provider.config import Limits
from terminals.provider.hours import Closure, Window, closure_at, is_open

REASON_CHARACTERS_MAX = 64  # as the contract has it


class Rules(Struct, frozen=True):
    """When an asset may be offered; `out_of_service` and `decline` are the reasons given, empty for none of its own."""

    hours: tuple[Window, ...] = ()
    closures: tuple[Closure, ...] = ()
    out_of_service: str = ""
    decline: str = ""


FREE = Rules()


def start_wanted(demand: Demand, now: Instant) -> Instant:
    """Give when a demand needs the start."""
    return Instant(max(now, demand.needed_by_time))


def refusal(asset: Asset, rules: Rules, limits: Limits, demand: Demand, now: Instant) -> str | None:
    """Say in UPPER_SNAKE why an asset is not offered for a demand, if its rules say so."""
    start = start_wanted(demand, now)
    if asset.state is not AssetState.AVAILABLE:
        return reason_code(rules.out_of_service or asset.state.name)
    if rules.decline:
        return rules.decline
    if start < later(now, limits.notice_s):
        return "SHORT_NOTICE"
    closure = closure_at(rules.closures, asset.time_zone, start)
    if closure is not None:
        return reason_code(closure.reason)
    return None if is_open(rules.hours, asset.time_zone, start) else "CLOSED"


def reason_code(text: str) -> str:
    """Write a text reason as reasons travel: BEING_CLEANED for "being cleaned"."""
    return re.sub(r"\W+", "_", text).strip("_").upper()[:REASON_CHARACTERS_MAX]
