"""What can be said of an order at a moment: the value that `order show`, `watch` and their JSON are made of.

Everything is read from the journal. Nothing is asked of the cloud, so it is as true with nobody online.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from energyshare.bodies import OfferBody
from energyshare.places import place_name
from energyshare.values import Currency, Instant, OrderId, PartKind, id_text
from terminals.showing import Held, Wait, entry_facts, held_facts, held_parts
from terminals.timeline import Entry
from terminals.units import plain
from terminals.user import words
from terminals.user.order import OPEN, UserOrder
from terminals.user.progress import Gauge, gauges_of
from terminals.user.seen import Seen, see
from terminals.user.waits import deposit_word, waits_of

if TYPE_CHECKING:
    from terminals.user.terminal import UserTerminal


class OrderView(Struct, frozen=True):
    """An order as it stands; `amounts` are minor units under their names."""

    order_id: OrderId
    order: UserOrder
    sentence: str
    following: str | None
    currency: Currency
    offer: OfferBody | None
    gauges: tuple[Gauge, ...]
    amounts: tuple[tuple[str, int], ...]
    waits: tuple[Wait, ...]
    evidence: tuple[Held, ...]
    history: tuple[Entry, ...]

    @property
    def place(self) -> str:
        """What was selected, and where; empty before."""
        if self.offer is None:
            return ""
        asset = self.offer.asset
        return f"{asset.kind.name.lower()} at {plain(place_name(asset.station, asset.name))}"


def view_of(me: "UserTerminal", order_id: OrderId, now: Instant) -> OrderView:
    """Collect what can be said of an order; raises Rejected{UNKNOWN_ORDER}."""
    seen = see(me, order_id, now)
    return OrderView(
        order_id,
        seen.order,
        words.sentence_of(seen.order, seen.currency),
        words.next_of(seen.order),
        seen.currency,
        seen.agreed.offer if seen.agreed else None,
        gauges_of(seen),
        tuple(_amounts(seen)),
        tuple(waits_of(seen)),
        held_parts(seen.parts),
        seen.history,
    )


def view_facts(view: OrderView) -> dict[str, Any]:
    """Give a view for programs."""
    return {
        "order": view.order.number,
        "id": id_text(view.order_id),
        "state": view.order.state,
        "kind": view.order.kind or None,
        "sentence": view.sentence,
        "place": view.place,
        "currency": view.currency,
        "running": {gauge.name: {"used": gauge.part, "most": gauge.whole} for gauge in view.gauges},
        "amounts_minor": dict(view.amounts),
        "waits": [{"what": wait.what, "at_us": wait.at} for wait in view.waits],
        "evidence": held_facts(view.evidence),
        "history": entry_facts(view.history),
        "next": view.following,
    }


def _amounts(seen: Seen) -> Iterator[tuple[str, int]]:
    """Give the amounts that matter: what is held while an order is open, what became of it afterwards."""
    if seen.agreed is None:
        return
    deposit = seen.agreed.offer.asset.deposit_minor
    if seen.bills:
        yield from _billed(seen, deposit)
    elif seen.order.state in OPEN:
        yield "held at most", seen.agreed.bound_minor + deposit
        if deposit:
            yield "deposit in it", deposit


def _billed(seen: Seen, deposit: int) -> Iterator[tuple[str, int]]:
    for number, record in enumerate(seen.bills[:-1], 1):
        yield f"bill {number}, replaced", record.incl_vat_minor
    latest, disputed = seen.bills[-1], seen.order.disputed_minor
    claimed = disputed if seen.signed(PartKind.END_REFUSAL) else 0
    yield "charged", latest.incl_vat_minor
    if latest.deposit_claimed_minor:
        yield "deposit kept", latest.deposit_claimed_minor
    if deposit:
        yield deposit_word(seen.bills), max(0, deposit - latest.deposit_claimed_minor - claimed)
    if disputed:
        yield "disputed", disputed
