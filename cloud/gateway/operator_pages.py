"""Rows and values of the store, as the operator's calls give them."""

from typing import Any

from cloud.gateway.times import time_of
from cloud.store.dossier import Dossier, OpenDispute, Proposed
from cloud.store.watch import Party
from energyshare.bodies import BillLine, ChargeRecordBody
from energyshare.errors import Rejected
from energyshare.places import place_name
from energyshare.v1 import operator_pb2 as pb
from energyshare.values import AssetState, Digest, Kind, OrderState
from energyshare.wire import split_envelope


def order_summary(row: Any, disputed_minor: int = 0) -> pb.OrderSummary:
    """Give an order in a list."""
    return pb.OrderSummary(
        order_id=row.id,
        state=OrderState(row.state).name,
        kind=Kind(row.kind).name if row.kind else row.kinds,
        user_name=row.user_name,
        provider_name=row.provider_name or "",
        asset_name=place_name(row.station, row.asset_name) if row.asset_name else "",
        created_time=time_of(row.created),
        total_minor=row.total_minor,
        hold_minor=row.hold_minor,
        disputed_minor=disputed_minor,
    )


def order_page(found: Dossier, currency: str) -> pb.GetOrderResponse:
    """Give an order with all that is kept of it; who is online is known to the node."""
    timer = found.order.timer
    return pb.GetOrderResponse(
        order=order_summary(found.row, found.order.dispute.amount_minor if found.order.dispute else 0),
        timeline=[_timeline_entry(row) for row in found.timeline],
        money=[_money_row(row) for row in found.money],
        currency=currency,
        waits_for=timer.wait.value if timer else "",
        due_time=time_of(timer.due) if timer else None,
        participants=[_participant(row) for row in found.participants],
        amendments=[_amendment(one) for one in found.amendments],
        charge_records=[_charge(digest, body) for digest, body in found.charges],
        dispute=dispute_summary(found.dispute) if found.dispute else None,
        evidence=[pb.EvidenceRow(kind=kind.name, count=count, bytes=size) for kind, count, size in found.evidence],
    )


def dispute_summary(found: OpenDispute) -> pb.DisputeSummary:
    """Give the disputed part of an order."""
    disputed = found.disputed
    return pb.DisputeSummary(
        order=order_summary(found.row, disputed.amount_minor),
        by=disputed.by.value,
        disputed_minor=disputed.amount_minor,
        is_settled=disputed.is_settled,
        reason=disputed.reason,
        since_time=time_of(found.since),
        until_time=time_of(found.timer.due) if found.timer else None,
    )


def party_summary(party: Party) -> pb.PartySummary:
    """Give a user or provider."""
    return pb.PartySummary(
        account_id=party.account_id,
        role=party.role,
        name=party.name,
        suspended=party.suspended,
        terminals=party.terminals,
        open_orders=party.open_orders,
        available_minor=party.balance.available_minor,
        held_minor=party.balance.held_minor,
    )


def asset_summary(row: Any) -> pb.AssetSummary:
    """Give an asset."""
    return pb.AssetSummary(
        provider_name=row.provider_name,
        station=row.station,
        name=row.name,
        kind=Kind(row.kind).name,
        state="UNKNOWN" if row.unknown else AssetState(row.state).name,
        held_by=row.held_by or b"",
        latitude_e7=row.latitude_e7,
        longitude_e7=row.longitude_e7,
        suspended=row.suspended,
    )


def alert_row(row: Any) -> pb.AlertRow:
    """Give an alert."""
    return pb.AlertRow(alert_time=time_of(row.at), kind=row.kind, order_id=row.order_id, note=row.note)


def act_row(row: Any) -> pb.ActRow:
    """Give a line of the record of acts."""
    return pb.ActRow(act_time=time_of(row.at), operator=row.operator, act=row.act, subject=row.subject, note=row.note)


def parked_summary(row: Any) -> pb.ParkedSummary:
    """Give a parked message."""
    return pb.ParkedSummary(
        parked_id=row.id,
        parked_time=time_of(row.at),
        terminal_name=row.terminal_name,
        order_id=row.order_id,
        number=row.number,
        message=_message_name(row.body),
        error=row.error,
    )


def _message_name(envelope: bytes) -> str:
    """Name what an envelope holds; it may be just what our code can't read."""
    try:
        _, body = split_envelope(envelope)
        return type(body()).__name__ if body else "unknown"
    except Rejected:
        return "unknown"


def _timeline_entry(row: Any) -> pb.TimelineEntry:
    state = OrderState(row.state).name
    return pb.TimelineEntry(entry_time=time_of(row.at), actor=row.actor, event=row.event, state=state, note=row.note)


def _money_row(row: Any) -> pb.MoneyRow:
    return pb.MoneyRow(
        entry_time=time_of(row.at),
        reason=row.reason,
        debit_account=row.debit,
        credit_account=row.credit,
        amount_minor=row.hold_minor if row.flag == "VOID_PENDING" else row.amount_minor,
        flag=row.flag,
    )


def _participant(row: Any) -> pb.ParticipantRow:
    return pb.ParticipantRow(
        terminal_id=row.terminal_id,
        name=row.name,
        side=row.side,
        last_in=row.last_in,
        last_out=row.last_out,
        waiting_envelopes=row.waiting,
    )


def _amendment(proposed: Proposed) -> pb.AmendmentRow:
    body = proposed.amendment
    answers = {None: "OPEN", True: "APPROVED", False: "REFUSED"}
    return pb.AmendmentRow(
        number=body.number,
        items=[pb.ItemRow(name=item.name, quantity=item.quantity) for item in body.items],
        duration_s=body.duration_s,
        hold_minor=body.hold_minor,
        answer=answers[proposed.approved],
    )


def _charge(digest: Digest, body: ChargeRecordBody) -> pb.ChargeRecordRow:
    return pb.ChargeRecordRow(
        charge_record_hash=digest,
        basis=body.basis.name,
        settled_time=time_of(body.settled_time),
        energy_wh=body.energy_wh,
        duration_s=body.duration_s,
        excl_vat_minor=body.excl_vat_minor,
        incl_vat_minor=body.incl_vat_minor,
        deposit_claimed_minor=body.deposit_claimed_minor,
        corrects_hash=body.corrects_hash or b"",
        lines=[_line(line) for line in body.lines],
    )


def _line(line: BillLine) -> pb.ChargeLineRow:
    return pb.ChargeLineRow(
        dimension=line.dimension.name,
        item=line.item,
        billed_volume=line.billed_volume,
        price=line.price,
        excl_vat_minor=line.excl_vat_minor,
    )
