"""What a terminal tells the cloud after one of them has lost what it knew: its orders, with all that was signed in them.

Both programs keep an order as a document with a state, and its signed parts beside it; that is all that is needed here. Told
are the open orders and those whose bill is recent: a cloud that was restored from a backup gets back what happened since.
Source: ADR-0007.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import msgspec

from energyshare.bodies import ChargeRecordBody, Part
from energyshare.errors import Reason
from energyshare.messages import Demand, Message, RejectedMessage, SnapshotOrder
from energyshare.snapshots import RECENT_S, bounded
from energyshare.values import Instant, Number, OrderId, OrderState, PartKind, later
from energyshare.wire import decode, reread
from terminals.identity import Identity
from terminals.journal import Journal
from terminals.link import Conversation

STATES = {
    "ASKED": OrderState.DEMANDED,
    "OFFERED": OrderState.DEMANDED,
    "DEMANDED": OrderState.DEMANDED,
    "SELECTED": OrderState.SELECTED,
    "AUTHORIZED": OrderState.AUTHORIZED,
    "ACTIVE": OrderState.ACTIVE,
    "ENDING": OrderState.ENDING,
    "DISPUTED": OrderState.DISPUTED,
    "SETTLED": OrderState.SETTLED,
    "CANCELLED": OrderState.CANCELLED,
    "CLOSED": OrderState.CANCELLED,
    "EXPIRED": OrderState.EXPIRED,
}
"""The states of both programs' documents, as the contract names them; what is not here never reached the cloud."""
ANOTHERS = "anothers"
"""Documents of this kind mark orders of the account's other terminals, which those tell of."""
ENDED = (OrderState.SETTLED, OrderState.CANCELLED, OrderState.EXPIRED)
ANSWERS_TO_REPEATS = frozenset(
    {
        Reason.ORDER_EXISTS,
        Reason.WRONG_STATE,
        Reason.ORDER_MOVED_ON,
        Reason.OFFER_EXISTS,
        Reason.OFFER_LATE,
        Reason.AMENDMENT_UNKNOWN,
        Reason.SETTLEMENT_UNKNOWN,
    }
)
"""How a cloud refuses what it has taken before."""


def _by_act(asked: Mapping[str, int], numbers: Mapping[int, Number]) -> dict[str, int]:
    return {act: numbers[number] for act, number in asked.items() if number in numbers}


def _by_number(said: Mapping[str, str], numbers: Mapping[int, Number]) -> dict[str, str]:
    return {str(numbers[int(number)]): about for number, about in said.items() if int(number) in numbers}


NUMBERED: Mapping[str, Callable[[Any, Mapping[int, Number]], Any]] = {"asked": _by_act, "said": _by_number}
"""Where the documents of users and providers name messages of theirs by number."""


class _Document(msgspec.Struct):
    state: str = ""
    demand: bytes = b""
    created: int = 0


def known_orders(journal: Journal, identity: Identity, now: Instant) -> Iterator[SnapshotOrder]:
    """Give the orders that a cloud may lack something of, with their signed parts and the grants that the home holds."""
    grants = [Part(PartKind.PLATFORM_GRANT, identity.platform_grant)]
    grants += [Part(PartKind.ISSUER_GRANT, identity.grant)] if identity.grant else []
    since = later(now, -RECENT_S)
    for key, body in journal.documents("order"):
        order_id, document = OrderId(key), msgspec.json.decode(body, type=_Document)
        state = STATES.get(document.state)
        if state is None or (state in ENDED and not _was_billed_after(journal, order_id, since)):
            continue
        parts = _parts(journal, order_id)
        if parts and journal.document(ANOTHERS, order_id) is None:
            yield SnapshotOrder(order_id, state, bounded((*grants, *parts)), _demand(document), _created(document))


def renumber(journal: Journal, again: Mapping[Conversation, Mapping[int, Number]]) -> None:
    """Note under which new numbers old messages were said again: for their answers, and where a document names a message.

    Inside a journal transaction. A number that was not said again belongs to what the cloud has taken.
    """
    for key, _ in journal.documents("said-again"):
        journal.drop_document("said-again", key)
    for conversation, numbers in again.items():
        journal.put_document("said-again", conversation or b"", str(max(numbers.values())).encode())
    for key, body in journal.documents("order"):
        document = msgspec.json.decode(body)
        numbers = again.get(OrderId(key), {})
        renumbered = {field: change(document[field], numbers) for field, change in NUMBERED.items() if document.get(field)}
        if renumbered:
            journal.put_document("order", key, msgspec.json.encode(document | renumbered))


def is_answer_to_repeat(journal: Journal, conversation: Conversation, message: Message) -> bool:
    """Say whether a refusal only tells that the cloud knew what was said again."""
    if not isinstance(message, RejectedMessage) or message.reason not in ANSWERS_TO_REPEATS:
        return False
    repeated = journal.document("said-again", conversation or b"")
    return repeated is not None and message.number <= int(repeated)


def _demand(document: _Document) -> Demand | None:
    return decode(Demand, document.demand) if document.demand else None


def _created(document: _Document) -> Instant | None:
    return Instant(document.created) if document.created else None


def _was_billed_after(journal: Journal, order_id: OrderId, since: Instant) -> bool:
    records = journal.parts(order_id, PartKind.CHARGE_RECORD)
    return any(reread(ChargeRecordBody, part.signed).settled_time > since for part in records)


def _parts(journal: Journal, order_id: OrderId) -> list[Part]:
    return [Part(part.kind, part.signed) for part in journal.parts(order_id)]
