"""What a user reads of an order: where it stands, what to type next, which offers there are.

Every state has a sentence for each kind, and what waits for the user comes before all else.
"""

import re
from collections.abc import Mapping, Sequence
from fractions import Fraction

import click
from rich.table import Table

from energyshare.bodies import OfferBody
from energyshare.places import place_name
from energyshare.program import table
from energyshare.values import Kind
from terminals.reasons import reason_text
from terminals.units import clock_text as clock_text
from terminals.units import distance_text as distance_text
from terminals.units import duration_text as duration_text
from terminals.units import energy_text as energy_text
from terminals.units import figure, items_text, plain
from terminals.units import money as money
from terminals.units import time_text as time_text
from terminals.user.order import Act, AmendmentLine, KindName, OfferLine, SettlementAsked, State, UserOrder

SENTENCES: Mapping[State, Mapping[KindName, str]] = {
    "DEMANDED": {"": "waiting for offers"},
    "SELECTED": {"": "selected; waiting for the provider's voucher"},
    "AUTHORIZED": {
        "": "the voucher is here; it opens the device, also with nobody online",
        "BATTERY": "the voucher is here; it opens the lock, also with nobody online",
        "ENERGY": "the voucher is here; it starts the outlet, also with nobody online",
        "SERVICE": "the voucher is here; show it where the help is given to begin, also with nobody online",
    },
    "ACTIVE": {
        "": "in use",
        "BATTERY": "the battery is with you",
        "ENERGY": "the outlet is in use",
        "SERVICE": "the work is under way; its provider asks for settlement when it is done",
    },
    "ENDING": {
        "": "ended; waiting for the provider's confirmation and the bill",
        "BATTERY": "ended; waiting for the provider to confirm the return, and for the bill",
        "SERVICE": "done; waiting for the bill",
    },
    "SETTLED": {"": "settled; the bill follows from the evidence"},
    "DISPUTED": {"": "settled but for a part that is disputed; the operator decides"},
    "CANCELLED": {"": "cancelled; nothing was charged"},
    "EXPIRED": {"": "expired; nothing was charged"},
    "REFUSED": {"": "the cloud did not take the demand; nothing was charged"},
}
NEXT: Mapping[State, Mapping[KindName, str]] = {
    "DEMANDED": {"": "energyshare offers {n}, then energyshare select {n} OFFER"},
    "SELECTED": {"": "energyshare sync"},
    "AUTHORIZED": {"": "energyshare start {n} --device HOST:PORT"},
    "ACTIVE": {"": "energyshare end {n} --device HOST:PORT", "SERVICE": "energyshare watch {n}"},
    "ENDING": {"": "energyshare sync"},
    "SETTLED": {"": "energyshare receipt {n}"},
    "DISPUTED": {"": "energyshare order show {n}"},
}
ACTS: Mapping[Act, str] = {
    "SELECTION": "the selection",
    "CANCEL": "the cancellation",
    "END": "the end",
    "AMENDMENT": "the answer to the extra work",
    "SETTLEMENT": "the answer to the settlement",
    "DISPUTE": "the dispute",
}
NEEDS_MONEY = ("INSUFFICIENT_FUNDS", "RECEIVABLE_DUE")
NARROW = 97
"""Columns that the whole table of offers needs; on less it leaves out what can be looked up."""


class Duration(click.ParamType[int]):
    """A duration as people write it: 90s, 30m, 2h, 1d; in seconds."""

    name = "duration"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Give seconds."""
        found = re.fullmatch(r"(\d{1,7})(s|m|h|d)?", str(value))
        if found is None:
            self.fail(f"{value!r} is not a duration; write 90s, 30m, 2h or 1d", param, ctx)
        return int(found[1]) * {"s": 1, "m": 60, "h": 3_600, "d": 86_400}[found[2] or "s"]


def sentence_of(order: UserOrder, currency: str) -> str:
    """Say where an order stands, and what waits for the user."""
    elsewhere = "" if order.holder_key is None else ", on another terminal of yours"
    words = _standing(order, currency) + elsewhere
    reason = plain(reason_text(order.reason, order.metadata)) if order.reason else ""
    if order.refused:
        return f"{words}; the cloud refused {ACTS[order.refused]}: {reason}"
    return f"{words} ({reason})" if reason else words


def next_of(order: UserOrder) -> str | None:
    """Give the next command to type."""
    command = _next(order)
    return command.format(n=order.number) if command else None


def _standing(order: UserOrder, currency: str) -> str:
    amendment, asked = order.waiting_amendment, order.waiting_settlement
    plainly = _of_kind(SENTENCES, order) or order.state.lower()
    match order.state:
        case "DEMANDED" if standing_offers(order):
            return f"{standing_offers(order)} to select from"
        case "AUTHORIZED" if order.cancel_asked:
            return _cancelling(order)
        case "AUTHORIZED" | "ACTIVE" if amendment is not None:
            return f"{plainly}; the provider proposes {amendment_text(amendment, currency)}"
        case "ENDING" if asked is not None:
            return settlement_text(asked, currency)
        case "SETTLED" if not order.proved:
            return f"settled, but: {plain(order.unproved_reason)}"
        case "DISPUTED" if order.disputed_minor:
            why = f" ({plain(order.dispute_reason)})" if order.dispute_reason else ""
            return f"settled but for {money(order.disputed_minor, currency)} that are disputed{why}; the operator decides"
    return plainly


def _next(order: UserOrder) -> str | None:
    amendment = order.waiting_amendment
    if order.reason in NEEDS_MONEY:
        return "energyshare wallet top-up AMOUNT"
    match order.state:
        case "DEMANDED" if standing_offers(order):
            return "energyshare select {n} OFFER"
        case "AUTHORIZED" if order.cancel_asked == "USER" and order.holder_key is None:
            return "energyshare cancel {n} --device HOST:PORT"
        case "AUTHORIZED" if order.cancel_asked:
            return "energyshare sync"
        case "AUTHORIZED" if order.holder_key is not None:
            return "energyshare cancel {n}"
        case "AUTHORIZED" | "ACTIVE" if amendment is not None:
            return f"energyshare amendment approve {{n}} {amendment.number}, or refuse in place of approve"
        case "ENDING" if order.waiting_settlement is not None:
            return "energyshare confirm {n}, or energyshare confirm {n} --dispute AMOUNT"
        case "SETTLED" if not order.proved:
            return "energyshare dispute {n} AMOUNT --reason TEXT"
    return _of_kind(NEXT, order)


def _of_kind(texts: Mapping[State, Mapping[KindName, str]], order: UserOrder) -> str | None:
    of_state = texts.get(order.state, {})
    return of_state.get(order.kind) or of_state.get("")


def _cancelling(order: UserOrder) -> str:
    if order.cancel_asked == "PROVIDER":
        why = f" ({plain(reason_text(order.cancel_reason))})" if order.cancel_reason else ""
        return f"the provider cancels it{why}; it ends when the voucher is closed at its device, or has run out"
    return "cancelling; it ends when the voucher is closed at its device, or has run out"


def standing_offers(order: UserOrder) -> str:
    """Count the offers that were not withdrawn: 2 offers; empty when there is none."""
    count = sum(not line.withdrawn for line in order.offers)
    return "" if not count else "1 offer" if count == 1 else f"{count} offers"


def amendment_text(amendment: AmendmentLine, currency: str) -> str:
    """Say what extra work is proposed, and what it adds at most."""
    more = f" and {duration_text(amendment.duration_s)} more" if amendment.duration_s else ""
    return f"{plain(items_text(amendment.items))}{more}, for at most {money(amendment.hold_minor, currency)} on top"


def settlement_text(asked: SettlementAsked, currency: str) -> str:
    """Say what a provider asks for its service."""
    what = f"{plain(items_text(asked.items))} in {duration_text(asked.duration_s)}"
    words = f"the provider asks for {money(asked.total_minor, currency)} for {what}"
    return f"{words}, but: {plain(asked.fault)}" if asked.fault else words


def offers_table(offers: Sequence[tuple[OfferLine, OfferBody]], width: int = NARROW) -> Table:
    """Show offers of all kinds side by side, numbered as they came, nearest first; `width` in columns."""
    numbered = sorted(enumerate(offers, 1), key=lambda one: (one[1][0].distance_m, one[0]))
    currency = offers[0][1].currency if offers else ""
    rows = [_row(number, line, offer) for number, (line, offer) in numbered]
    columns = ["", "kind", "place", "away", "gives", f"total {currency}", "at most", "deposit", "until"]
    left_out = () if width >= NARROW else ("away", "until")
    kept = [index for index, column in enumerate(columns) if column not in left_out]
    shown = table([columns[index] for index in kept], [[row[index] for index in kept] for row in rows])
    for column in shown.columns:
        column.overflow, column.justify = "fold", "right" if column.header in (columns[5], "at most", "deposit") else "left"
    return shown


def _row(number: int, line: OfferLine, offer: OfferBody) -> tuple[str, ...]:
    asset, currency = offer.asset, offer.currency
    return (
        f"{number} gone" if line.withdrawn else str(number),
        asset.kind.name.lower(),
        plain(place_name(asset.station, asset.name)),
        distance_text(line.distance_m),
        gives_text(offer),
        figure(offer.estimate_incl_vat_minor, currency),
        figure(line.hold_minor - asset.deposit_minor, currency),
        figure(asset.deposit_minor, currency) if asset.deposit_minor else "",
        time_text(offer.expiry_time)[11:16],
    )


def gives_text(offer: OfferBody) -> str:
    """Say what an offer gives at most: energy and time, or what is to be done."""
    duration = duration_text(offer.duration_s_max)
    match offer.asset.kind:
        case Kind.SERVICE:
            return f"{plain(items_text(offer.items))} in {duration}"
        case Kind.BATTERY if offer.asset.soc_pct is not None:
            return f"{energy_text(offer.energy_wh_max)}, {duration}, {offer.asset.soc_pct} % full"
    return f"{energy_text(offer.energy_wh_max)}, {duration}"


def bar(part: int, whole: int, columns: int) -> str:
    """Draw how much of a whole there is; past the whole it is full."""
    filled = min(columns, round(Fraction(part, whole) * columns)) if whole else 0
    return "█" * filled + "░" * (columns - filled)
