"""What a provider reads of its orders and jobs: where they stand, and the next command to type."""

from collections.abc import Sequence
from typing import Any

from energyshare.bodies import ServiceItem
from energyshare.messages import Demand
from energyshare.values import Currency, Instant, Kind, id_text
from energyshare.wire import decode
from terminals.provider.documents import OrderDocument
from terminals.provider.options import degrees
from terminals.reasons import reason_text
from terminals.units import duration_text, items_text, money, plain, time_text

SENTENCES = {
    "ASKED": "asked; nothing was offered",
    "OFFERED": "offered; waiting for the user to select",
    "AUTHORIZED": "the voucher is out; waiting for the start",
    "ACTIVE": "in use",
    "ENDING": "ended; waiting for the bill",
    "DISPUTED": "billed, and a part is disputed; waiting for the operator's ruling",
    "SETTLED": "settled",
    "CLOSED": "closed; nothing was billed",
}
JOB_SENTENCES = {
    "AUTHORIZED": "taken; the customer has to check in",
    "ACTIVE": "checked in; the work is under way",
    "ENDING": "settlement asked for; waiting for the customer's answer",
}


def is_job(document: OrderDocument) -> bool:
    """Say whether an order is a service."""
    return document.kind == Kind.SERVICE.name


def sentence_of(document: OrderDocument) -> str:
    """Say where an order stands."""
    words = (is_job(document) and JOB_SENTENCES.get(document.state)) or SENTENCES[document.state]
    for said, holds in (
        ("extra work waits for the customer's answer", waits_for_answer(document) and document.state != "ENDING"),
        ("to be cancelled once the device has made the voucher void", _is_being_cancelled(document)),
        ("the end waits to be confirmed or refused", document.confirm_until is not None),
        ("a claim on the deposit is being told", document.claim is not None and not document.claim.told),
        ("said not to have come back", document.not_returned and not document.ended),
    ):
        words += f"; {said}" if holds else ""
    if document.reason and document.state not in ("SETTLED", "DISPUTED"):
        words += f" ({plain(reason_text(document.reason))})"
    return words


def next_command(document: OrderDocument) -> str:
    """Give the next command to type; empty when there is nothing to do but wait."""
    n = document.number
    if document.confirm_until is not None:
        return f"energyshare-provider order confirm {n}, or order refuse {n} --claim AMOUNT --reason TEXT"
    if is_job(document) and document.state == "AUTHORIZED":
        return f"energyshare-provider job check-in {n}"
    if is_job(document) and document.state == "ACTIVE" and not waits_for_answer(document):
        return f"energyshare-provider job settle {n}"
    if document.state == "OFFERED":
        return f"energyshare-provider offer withdraw {n}, or wait"
    return ""


def waits_for_answer(document: OrderDocument) -> bool:
    """Say whether extra work waits for the user's answer."""
    return any(line.approved is None for line in document.amendments)


def customer_place(document: OrderDocument) -> str:
    """Say where the customer is, as LAT,LON."""
    if not document.demand:
        return ""
    place = decode(Demand, document.demand).place
    return f"{degrees(place.latitude_e7)},{degrees(place.longitude_e7)}"


def items_of(items: Sequence[ServiceItem]) -> str:
    """Write items that others named, so that they steer no terminal."""
    return plain(items_text(items))


def job_lines(document: OrderDocument, currency: Currency) -> list[str]:
    """Describe a job, line by line."""
    lines = [
        f"Job {document.number} at {customer_place(document)}: {sentence_of(document)}",
        f"  worker    {document.asset}",
        f"  quoted    {items_of(document.items)}",
    ]
    for line in document.amendments:
        answer = {None: "waits for the answer", True: "approved", False: "refused"}[line.approved]
        more = f" and {duration_text(line.duration_s)}" if line.duration_s else ""
        lines.append(f"  extra {line.number:<4}{items_of(line.items)}{more}, {money(line.hold_minor, currency)} more; {answer}")
    if document.started is not None:
        lines.append(f"  since     {time_text(Instant(document.started))}")
    if document.settlement is not None:
        asked = document.settlement
        total = money(asked.total_minor, currency)
        lines.append(f"  asked     {total} for {items_of(asked.items)} in {duration_text(asked.duration_s)}")
    return lines


def order_facts(order_id: bytes, document: OrderDocument) -> dict[str, Any]:
    """Give an order as JSON."""
    return {
        "order": id_text(order_id),
        "number": document.number,
        "state": document.state,
        "kind": document.kind,
        "asset": document.asset,
        "reason": document.reason,
        "total_minor": document.total_minor,
        "deposit_minor": document.deposit_minor,
        "deposit_claimed_minor": document.deposit_claimed_minor,
        "disputed_minor": document.disputed_minor,
        "basis": document.basis,
        "cancelled_by": document.cancelled_by,
        "next": next_command(document),
    }


def job_facts(order_id: bytes, document: OrderDocument) -> dict[str, Any]:
    """Give a job as JSON."""
    asked = document.settlement
    return order_facts(order_id, document) | {
        "place": customer_place(document),
        "items": [_item(item.name, item.quantity) for item in document.items],
        "amendments": [
            {
                "number": line.number,
                "items": [_item(item.name, item.quantity) for item in line.items],
                "duration_s": line.duration_s,
                "hold_minor": line.hold_minor,
                "approved": line.approved,
            }
            for line in document.amendments
        ],
        "settlement": None
        if asked is None
        else {
            "items": [_item(item.name, item.quantity) for item in asked.items],
            "duration_s": asked.duration_s,
            "total_minor": asked.total_minor,
            "disputed_minor": asked.disputed_minor,
        },
    }


def _item(name: str, quantity: int) -> dict[str, str | int]:
    return {"name": name, "quantity": quantity}


def _is_being_cancelled(document: OrderDocument) -> bool:
    return bool(document.cancelled_by) and document.state == "AUTHORIZED"
