"""What the operator's commands print for people."""

from collections.abc import Sequence
from datetime import UTC, datetime

import click
from google.protobuf.message import DecodeError
from google.protobuf.timestamp_pb2 import Timestamp
from rich.markup import escape

from energyshare.places import place_name
from energyshare.program import console, count_text, table
from energyshare.v1 import operator_pb2 as pb
from energyshare.v1.stream_pb2 import Envelope
from energyshare.values import Currency, Minor, Money, id_text

out = console()


def money(minor: int, currency: str) -> str:
    """Write an amount."""
    return str(Money(Currency(currency), Minor(minor)))


def short(order_id: bytes) -> str:
    """Write an id by its end, as commands take it."""
    return f"…{id_text(order_id)[-6:]}" if order_id else ""


def day_clock(time: Timestamp) -> str:
    """Write a time of these days."""
    return _local(time).strftime("%m-%d %H:%M:%S")


def minute_clock(time: Timestamp) -> str:
    """Write a time of these days to the minute."""
    return _local(time).strftime("%m-%d %H:%M")


def rows(columns: tuple[str, ...], lines: Sequence[tuple[str, ...]], nothing: str = "") -> None:
    """Print a table, or a sentence when there is nothing in it."""
    if lines or not nothing:
        out.print(table(columns, [tuple(map(plain, line)) for line in lines]))
    else:
        out.print(nothing)


def plain(text: str) -> str:
    """Write what others said so that it neither styles nor moves anything on the operator's screen."""
    return escape("".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text))


def parties(answer: pb.ListPartiesResponse) -> None:
    """Print a list of users and providers."""
    lines = [
        (
            p.role,
            p.name,
            "suspended" if p.suspended else "",
            str(p.terminals),
            str(p.open_orders),
            money(p.available_minor, answer.currency),
            money(p.held_minor, answer.currency) if p.held_minor else "",
        )
        for p in answer.parties
    ]
    rows(("role", "name", "", "terminals", "orders", "balance", "held"), lines, "Nobody has enrolled yet.")


def terminals(answer: pb.ListTerminalsResponse) -> None:
    """Print a list of terminals and devices."""
    lines = [(t.role, t.name, _standing(t), str(t.waiting_envelopes), id_text(t.terminal_id)) for t in answer.terminals]
    rows(("role", "name", "", "waiting", "id"), lines, "Nobody has enrolled yet.")


def assets(answer: pb.ListAssetsResponse) -> None:
    """Print a list of assets."""
    lines = [(a.provider_name, place_name(a.station, a.name), a.kind, _asset_state(a), short(a.held_by)) for a in answer.assets]
    rows(("provider", "asset", "kind", "state", "held by"), lines)
    out.print(f"{len(lines)} of {answer.total}")


def alerts(answer: pb.ListAlertsResponse) -> None:
    """Print what the operator should look at."""
    lines = [(day_clock(a.alert_time), a.kind, short(a.order_id), a.note) for a in answer.alerts]
    rows(("time", "what", "order", ""), lines, "There are no alerts.")


def acts(answer: pb.ListActsResponse) -> None:
    """Print the record of acts."""
    lines = [(day_clock(a.act_time), a.operator, a.act, a.subject, a.note) for a in answer.acts]
    rows(("time", "who", "act", "on", ""), lines, "No operator has done anything.")


def parked(answer: pb.ListParkedResponse) -> None:
    """Print a list of parked messages."""
    lines = [
        (str(p.parked_id), day_clock(p.parked_time), p.terminal_name, p.message, short(p.order_id), p.error)
        for p in answer.parked
    ]
    rows(("id", "time", "from", "message", "order", "error"), lines, "No message is parked.")


def parked_one(answer: pb.GetParkedResponse) -> None:
    """Print a parked message with what it holds."""
    p = answer.parked
    out.print(f"[bold]{p.parked_id}[/]  {p.message} of {plain(p.terminal_name)}, {day_clock(p.parked_time)}")
    out.print(f"  order {id_text(p.order_id) if p.order_id else 'none'}, number {p.number}")
    out.print(f"  {plain(p.error)}")
    click.echo(_envelope_text(answer.envelope))
    verb = "retry" if answer.can_retry else "drop"
    out.print(f"Next: energyshare-cloud parked {verb} {p.parked_id}")


def ledger(answer: pb.CheckLedgerResponse) -> None:
    """Print the outcome of a check of the ledger."""
    if answer.fault:
        click.echo(f"energyshare-cloud: error: {answer.fault}", err=True)
        return
    debits, received, held = (
        money(minor, answer.currency) for minor in (answer.debits_minor, answer.credits_minor, answer.held_minor)
    )
    counted = ((answer.transfers, "row"), (answer.accounts, "account"), (answer.charge_records, "charge record"))
    out.print(f"The ledger holds: {', '.join(count_text(*one) for one in counted)}.")
    out.print(f"  debits {debits} = credits {received}; held {held}")
    out.print(f"  {answer.batches} batches: no row was altered, added or removed within")


def commissions(answer: pb.ListCommissionsResponse) -> None:
    """Print the commissions that differ, and the one that does not."""
    lines = [(c.provider_name, c.kind, percent(c.commission_bp)) for c in answer.commissions]
    rows(("provider", "kind", "commission"), lines, "No provider's commission differs.")
    out.print(f"all others pay {percent(answer.default_bp)}")


def percent(basis_points: int) -> str:
    """Write a share."""
    whole, hundredths = divmod(basis_points, 100)
    return f"{whole}.{hundredths:02} %"


def status(answer: pb.GetStatusResponse) -> None:
    """Print how the node is, and what waits for the operator."""
    since = _local(answer.ready_time).strftime("%Y-%m-%d %H:%M:%S") if answer.running else ""
    out.print(f"energyshare-cloud {answer.version} {'runs since ' + since if answer.running else 'does not run'}")
    out.print("  orders   " + (", ".join(f"{o.count} {o.state}" for o in answer.orders) or "none"))
    out.print(f"  streams  {answer.streams} open, {count_text(answer.waiting_envelopes, 'envelope')} waiting")
    suspended = f", {answer.suspended_assets} suspended" if answer.suspended_assets else ""
    out.print(f"  assets   {answer.assets}{suspended}")
    for count, line in (
        (answer.suspended_parties, "  parties  {} suspended: energyshare-cloud party list"),
        (answer.disputes, "  disputes {} wait for a ruling: energyshare-cloud dispute list"),
        (answer.alerts, "  alerts   {} in the last 7 days: energyshare-cloud alert list"),
        (answer.parked, "  parked   {} messages on which the cloud failed: energyshare-cloud parked list"),
        (answer.pending_grants, "  grants   {} wait for: energyshare-cloud grant sign --root-key FILE"),
    ):
        if count:
            out.print(line.format(count))


def _envelope_text(raw: bytes) -> str:
    try:
        return str(Envelope.FromString(raw))
    except DecodeError:
        return raw.hex()


def _asset_state(asset: pb.AssetSummary) -> str:
    return f"{asset.state}, suspended" if asset.suspended else asset.state


def _standing(terminal: pb.TerminalSummary) -> str:
    if terminal.revoked:
        return "revoked"
    return "online" if terminal.online else ""


def _local(time: Timestamp) -> datetime:
    return time.ToDatetime(UTC).astimezone()
