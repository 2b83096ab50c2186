"""What can be said of a provider's orders at a moment: the values that `order show` and `watch` are made of.

Everything is read from the journal, also while the daemon writes in it.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from msgspec import Struct

from energyshare.bodies import Asset, ChargeRecordBody
from energyshare.values import Currency, Instant, OrderId, PartKind, id_text
from energyshare.wire import decode, reread
from terminals.identity import Identity
from terminals.journal import Journal, KeptPart
from terminals.provider import words
from terminals.provider.documents import UNDER_WAY, OrderDocument, documents
from terminals.showing import Held, Wait, entry_facts, held_facts, held_parts
from terminals.timeline import Entry, timeline
from terminals.units import duration_text, items_text, money, plain, time_text

RECENT = 12
"""Orders, the newest first, whose events a screen shows."""


class OrderView(Struct, frozen=True):
    """An order as its provider sees it; `amounts` are minor units under their names."""

    order_id: OrderId
    document: OrderDocument
    sentence: str
    following: str
    currency: Currency
    details: tuple[str, ...]
    amounts: tuple[tuple[str, int], ...]
    waits: tuple[Wait, ...]
    evidence: tuple[Held, ...]
    history: tuple[Entry, ...]


class Desk(Struct, frozen=True):
    """A provider as it stands: what there is, what is under way, what came in today, what waits for the cloud."""

    name: str
    currency: Currency
    assets: tuple[Asset, ...]
    in_use: dict[bytes, int]
    """Order number by device."""
    orders: tuple[tuple[OrderId, OrderDocument], ...]
    waiting: int
    billed_today: int
    billed_today_minor: int
    histories: tuple[tuple[int, tuple[Entry, ...]], ...]
    line: str = "connected"
    """Whether the daemon runs and has its line to the cloud."""


def view_of(journal: Journal, order_id: OrderId, document: OrderDocument, currency: Currency) -> OrderView:
    """Collect what can be said of an order."""
    parts = journal.parts(order_id)
    return OrderView(
        order_id,
        document,
        plain(words.sentence_of(document)),
        words.next_command(document),
        currency,
        tuple(map(plain, _details(document, currency))),
        tuple(_amounts(document, parts)),
        tuple(_waits(document)),
        held_parts(parts),
        tuple(timeline(journal, order_id)),
    )


def desk_of(journal: Journal, identity: Identity, now: Instant, line: str = "connected") -> Desk:
    """Collect what a provider's screen shows."""
    all_orders = documents(journal)
    under_way = [one for one in all_orders if one[1].state in UNDER_WAY]
    today = [document for _, document in all_orders if document.finished and _same_day(Instant(document.finished), now)]
    billed = [document for document in today if document.state in ("SETTLED", "DISPUTED")]
    return Desk(
        identity.name,
        identity.currency,
        tuple(decode(Asset, body) for _, body in journal.documents("asset")),
        {document.device_id: document.number for _, document in under_way},
        tuple(under_way),
        len(journal.waiting()),
        len(billed),
        sum(document.total_minor + document.deposit_claimed_minor for document in billed),
        tuple((document.number, tuple(timeline(journal, order_id))) for order_id, document in all_orders[-RECENT:]),
        line,
    )


def view_facts(view: OrderView) -> dict[str, Any]:
    """Give an order for programs."""
    return words.job_facts(view.order_id, view.document) | {
        "sentence": view.sentence,
        "currency": view.currency,
        "amounts_minor": dict(view.amounts),
        "waits": [{"what": wait.what, "at_us": wait.at} for wait in view.waits],
        "evidence": held_facts(view.evidence),
        "history": entry_facts(view.history),
    }


def desk_facts(desk: Desk) -> dict[str, Any]:
    """Give a provider's screen for programs."""
    return {
        "line": desk.line,
        "name": desk.name,
        "currency": desk.currency,
        "waiting": desk.waiting,
        "billed_today": desk.billed_today,
        "billed_today_minor": desk.billed_today_minor,
        "assets": [_asset_facts(asset, desk) for asset in desk.assets],
        "orders": [words.order_facts(order_id, document) for order_id, document in desk.orders],
    }


def waits_of(document: OrderDocument) -> tuple[Wait, ...]:
    """Give the times that matter to a provider now."""
    return tuple(_waits(document))


def _asset_facts(asset: Asset, desk: Desk) -> dict[str, Any]:
    return {
        "asset": id_text(asset.asset_id),
        "station": asset.station,
        "name": asset.name,
        "kind": asset.kind.name,
        "state": asset.state.name,
        "soc_pct": asset.soc_pct,
        "order": desk.in_use.get(asset.device_id),
    }


def _details(document: OrderDocument, currency: Currency) -> Iterator[str]:
    """Say what was agreed and what became of it."""
    if document.asset:
        yield f"{document.kind.lower()} with {document.asset}"
    if document.items:
        yield f"quoted: {items_text(document.items)}"
    for line in document.amendments:
        answer = {None: "waits for the answer", True: "approved", False: "refused"}[line.approved]
        more = f" and {duration_text(line.duration_s)}" if line.duration_s else ""
        yield f"extra work {line.number}: {items_text(line.items)}{more}, {money(line.hold_minor, currency)} at most; {answer}"
    if document.settlement is not None:
        asked = document.settlement
        yield f"asked: {money(asked.total_minor, currency)} for {items_text(asked.items)} in {duration_text(asked.duration_s)}"
    if document.claim is not None:
        yield f"claimed of the deposit: {money(document.claim.claimed_minor, currency)}: {document.claim.reason}"
    if document.dispute is not None:
        yield f"the user disputes {money(document.dispute.disputed_minor, currency)}: {document.dispute.reason}"
    if document.ruling is not None:
        yield f"the operator ruled: {money(document.ruling.charged_minor, currency)} of it are paid: {document.ruling.reason}"


def _amounts(document: OrderDocument, parts: Sequence[KeptPart]) -> Iterator[tuple[str, int]]:
    bills = [reread(ChargeRecordBody, part.signed) for part in parts if part.kind is PartKind.CHARGE_RECORD]
    held = next((line.hold_minor for line in document.offers if line.digest == document.selected), None)
    if held is not None and not bills:
        yield "held at most", held + sum(line.hold_minor for line in document.amendments if line.approved)
    if document.deposit_minor:
        yield "deposit", document.deposit_minor
    for number, record in enumerate(bills[:-1], 1):
        yield f"bill {number}, replaced", record.incl_vat_minor
    if bills:
        yield "billed", document.total_minor
    if document.deposit_claimed_minor:
        yield "deposit kept", document.deposit_claimed_minor
    if document.disputed_minor:
        yield "disputed", document.disputed_minor


def _waits(document: OrderDocument) -> Iterator[Wait]:
    if document.state == "AUTHORIZED" and document.not_after:
        yield Wait("the voucher opens until", Instant(document.not_after))
    if document.state == "ACTIVE" and document.due_back is not None:
        yield Wait("to be back by", Instant(document.due_back))
    if document.review_until is not None:
        yield Wait("the end is confirmed by itself at", Instant(document.review_until))
    if document.confirm_until is not None:
        yield Wait("silence settles it at", Instant(document.confirm_until))


def _same_day(one: Instant, other: Instant) -> bool:
    return time_text(one)[:10] == time_text(other)[:10]
