"""What the operator's commands print of orders and disputes."""

from collections.abc import Callable
from datetime import UTC, datetime

from google.protobuf.timestamp_pb2 import Timestamp

from cloud.pages import day_clock, minute_clock, money, out, plain, rows, short
from energyshare.program import count_text
from energyshare.v1 import operator_pb2 as pb
from energyshare.values import id_text

WAITS = {
    "OFFERS": "offers",
    "OFFER_EXPIRY": "a selection",
    "VOUCHER": "the provider's voucher",
    "START": "a start at the device",
    "END_OF_SUPPLY": "the end of the supply",
    "RETURN": "the battery's return",
    "NOT_RETURNED": "the provider's word on a battery that is overdue",
    "CONFIRMATION": "the provider's confirmation of the end",
    "SETTLEMENT_REQUEST": "the provider's settlement request",
    "SERVICE_ACKNOWLEDGEMENT": "the user's terminal to take the settlement request",
    "SERVICE_CONFIRMATION": "the user's answer to the settlement request",
    "RULING": "the operator's ruling",
}
UNITS = {"ENERGY": "Wh", "TIME": "s", "PARKING_TIME": "s"}
"""Of a line's volume."""


def orders(answer: pb.ListOrdersResponse) -> None:
    """Print a list of orders."""
    lines = [
        (
            short(o.order_id),
            minute_clock(o.created_time),
            o.kind,
            o.state,
            o.user_name,
            o.provider_name,
            o.asset_name,
            _amount(o, answer.currency),
        )
        for o in answer.orders
    ]
    rows(("order", "made", "kind", "state", "user", "provider", "asset", "amount"), lines, "There are no such orders.")


def order(answer: pb.GetOrderResponse) -> None:
    """Print all that is kept of an order."""
    _heading(answer)
    _blocks(
        lambda: rows(("by", "terminal", "", "heard", "said", "unread"), [_participant(p) for p in answer.participants]),
        lambda: rows(("time", "by", "what", "state", ""), [_event(entry) for entry in answer.timeline]),
        (lambda: _charges(answer)) if answer.charge_records else None,
        (lambda: _amendments(answer)) if answer.amendments else None,
        (lambda: _money_moved(answer)) if answer.money else None,
    )


def disputes(answer: pb.ListDisputesResponse) -> None:
    """Print a list of disputes."""
    lines = [
        (
            short(d.order.order_id),
            d.order.kind,
            d.order.user_name,
            d.order.provider_name,
            d.by,
            money(d.disputed_minor, answer.currency),
            minute_clock(d.since_time),
            minute_clock(d.until_time),
        )
        for d in answer.disputes
    ]
    columns = ("order", "kind", "user", "provider", "by", "amount", "since", "rule until")
    rows(columns, lines, "Nothing is disputed.")


def dispute(answer: pb.GetOrderResponse) -> None:
    """Print what a ruling needs: the bill, what is disputed of it and why, and the evidence."""
    _heading(answer)
    _blocks(
        (lambda: _charges(answer)) if answer.charge_records else None,
        (lambda: _bill_lines(answer)) if answer.charge_records and answer.charge_records[-1].lines else None,
        (lambda: _amendments(answer)) if answer.amendments else None,
        lambda: rows(("evidence", "parts", "bytes"), [(e.kind, str(e.count), str(e.bytes)) for e in answer.evidence]),
    )


def explanation(answer: pb.ExplainDemandResponse) -> None:
    """Print how a demand was screened."""
    out.print(f"{count_text(answer.examined, 'asset')} examined, {answer.candidates} put to their providers; left out:")
    rows(("reason", "count"), [(e.reason, str(e.count)) for e in answer.exclusions])
    if answer.nearest:
        out.print("\nThe nearest that were left out:")
        nearest = [(n.station, n.name, n.reason, str(n.distance_m)) for n in answer.nearest[:20]]
        rows(("station", "asset", "reason", "metres"), nearest)


def _heading(answer: pb.GetOrderResponse) -> None:
    order, currency = answer.order, answer.currency
    out.print(f"[bold]{id_text(order.order_id)}[/]  {order.kind}  [bold]{order.state}[/]")
    out.print(f"  {plain(order.user_name)} with {plain(order.provider_name) or 'nobody yet'} {plain(order.asset_name)}")
    if answer.waits_for:
        waits = WAITS.get(answer.waits_for, answer.waits_for)
        out.print(f"  waits for {waits} until {day_clock(answer.due_time)}, {_time_left(answer.due_time)}")
    if answer.HasField("dispute"):
        d = answer.dispute
        where = "held at the provider" if d.is_settled else "held from the user"
        out.print(f"  the {d.by} disputes {money(d.disputed_minor, currency)} since {day_clock(d.since_time)}, {where}")
        if d.reason:
            out.print(f"  “{plain(d.reason)}”")


def _blocks(*blocks: Callable[[], object] | None) -> None:
    for block in filter(None, blocks):
        out.print()
        block()


def _participant(row: pb.ParticipantRow) -> tuple[str, ...]:
    online = "online" if row.online else ""
    return row.side, row.name, online, str(row.last_in), str(row.last_out), str(row.waiting_envelopes)


def _event(entry: pb.TimelineEntry) -> tuple[str, ...]:
    return day_clock(entry.entry_time), entry.actor, entry.event, entry.state, entry.note


def _charges(answer: pb.GetOrderResponse) -> None:
    lines = [
        (
            day_clock(c.settled_time),
            c.basis,
            f"{c.energy_wh} Wh",
            f"{c.duration_s} s",
            money(c.incl_vat_minor, answer.currency),
            money(c.deposit_claimed_minor, answer.currency) if c.deposit_claimed_minor else "",
            f"corrects {c.corrects_hash.hex()[:6]}" if c.corrects_hash else "",
            c.charge_record_hash.hex()[:6],
        )
        for c in answer.charge_records
    ]
    rows(("settled", "basis", "energy", "time", "with VAT", "of deposit", "", "record"), lines)


def _bill_lines(answer: pb.GetOrderResponse) -> None:
    lines = [
        (f"{line.dimension} {line.item}", f"{line.billed_volume} {UNITS.get(line.dimension, '')}", line.price)
        for line in answer.charge_records[-1].lines
    ]
    rows(("line", "volume", f"price, {answer.currency}"), lines)


def _amendments(answer: pb.GetOrderResponse) -> None:
    lines = [
        (
            str(a.number),
            ", ".join(f"{item.quantity} {item.name}" for item in a.items),
            f"{a.duration_s} s",
            money(a.hold_minor, answer.currency),
            a.answer,
        )
        for a in answer.amendments
    ]
    rows(("amendment", "items", "time", "adds", ""), lines)


def _money_moved(answer: pb.GetOrderResponse) -> None:
    lines = [
        (
            day_clock(m.entry_time),
            m.reason,
            _account(m.debit_account),
            _account(m.credit_account),
            money(m.amount_minor, answer.currency),
            m.flag,
        )
        for m in answer.money
    ]
    rows(("time", "why", "debit", "credit", "amount", ""), lines)


def _account(name: str) -> str:
    """Write a ledger account by its kind; in one order there is only one of each."""
    return name.partition(":")[0]


def _amount(order: pb.OrderSummary, currency: str) -> str:
    if order.total_minor or not order.hold_minor:
        return money(order.total_minor, currency)
    return f"{money(order.hold_minor, currency)} held"


def _time_left(time: Timestamp) -> str:
    seconds = int((time.ToDatetime(UTC) - datetime.now(UTC)).total_seconds())
    if seconds <= 0:
        return "which has passed"
    days, hours, minutes = seconds // 86_400, seconds // 3_600 % 24, seconds // 60 % 60
    return (
        f"in {days} d {hours} h" if days else f"in {hours} h {minutes} min" if hours else f"in {minutes} min {seconds % 60} s"
    )
