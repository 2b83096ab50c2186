"""Orders as rows and back, with all that belongs to them."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from cloud.domain.ledger import Amounts
from cloud.domain.order import (
    Authorization,
    Billed,
    Disputed,
    Order,
    Participant,
    Side,
    StandingOffer,
    StoredPart,
    Supply,
    Timer,
    Wait,
    Work,
)
from cloud.domain.screening import Screening
from energyshare.bodies import ServiceItem
from energyshare.messages import Demand
from energyshare.values import (
    AccountId,
    AssetId,
    Connector,
    DeviceId,
    Digest,
    DurationS,
    EnergyWh,
    Epoch,
    Instant,
    Kind,
    Metres,
    Minor,
    OrderId,
    OrderState,
    PartKind,
    Place,
    ProviderId,
    PublicKey,
    Serial,
    TerminalId,
    UnixS,
)

Row = Mapping[str, Any]


def order_row(order: Order) -> dict[str, Any]:
    """Give the row of a new order."""
    demand = order.demand
    return order_changes(order) | {
        "id": order.id,
        "account_id": order.account_id,
        "holder_key": order.holder_key,
        "kinds": ",".join(kind.name for kind in demand.kinds),
        "latitude_e7": demand.place.latitude_e7,
        "longitude_e7": demand.place.longitude_e7,
        "radius_m": demand.radius_m,
        "energy_wh": demand.energy_wh,
        "duration_s": demand.duration_s,
        "service_items": _items_text(demand.service_items),
        "needed_by": demand.needed_by_time,
        "price_max_minor": demand.price_max_minor,
        "time_to_live_s": demand.time_to_live_s,
        "connector": None if demand.connector is None else int(demand.connector),
        "created": order.created,
    }


def order_changes(order: Order) -> dict[str, Any]:
    """Give the columns of an order that change."""
    timer, voucher, supply = order.timer, order.authorization, order.supply
    return {
        "state": int(order.state),
        "version": order.version,
        "wait": timer.wait.value if timer else None,
        "due": timer.due if timer else None,
        "attempts": order.attempts,
        "selected": order.selected,
        "selection_hash": order.selection_hash,
        "hold_minor": order.hold_minor,
        "deposit_held_minor": order.held.deposit_minor,
        "voucher_hash": voucher.digest if voucher else None,
        "voucher_serial": voucher.serial if voucher else None,
        "voucher_epoch": voucher.epoch if voucher else None,
        "voucher_not_before_s": voucher.not_before_unix_s if voucher else None,
        "voucher_not_after_s": voucher.not_after_unix_s if voucher else None,
        "start_hash": supply.start_hash if supply else None,
        "started": supply.started if supply else None,
        "start_register_wh": supply.register_wh if supply else None,
        "readings_count": supply.readings_count if supply else None,
        "readings_head": supply.readings_head if supply else None,
        "last_elapsed_s": supply.last_elapsed_s if supply else None,
        "last_register_wh": supply.last_register_wh if supply else None,
        "end_hash": order.end_hash,
        "end_request_hash": order.end_request_hash,
        "ending_since": order.ending_since,
        "total_minor": order.total_minor,
        "bill_settled": order.bill.settled if order.bill else None,
        "work": msgspec.json.encode(order.work).decode() if order.work else None,
        "aftermath": _aftermath_text(order),
    }


def order_of(row: Any, participants: Iterable[Any], offers: Iterable[Any]) -> Order:
    """Build an order from its rows."""
    return Order(
        id=OrderId(row.id),
        state=OrderState(row.state),
        version=row.version,
        account_id=AccountId(row.account_id),
        holder_key=PublicKey(row.holder_key),
        demand=_demand(row),
        created=Instant(row.created),
        timer=Timer(Wait(row.wait), Instant(row.due)) if row.wait else None,
        participants={TerminalId(p.terminal_id): _participant(p) for p in participants},
        offers={Digest(o.digest): _offer(o) for o in offers},
        attempts=row.attempts,
        selected=row.selected,
        selection_hash=row.selection_hash,
        held=Amounts(Minor(row.hold_minor - row.deposit_held_minor), Minor(row.deposit_held_minor)),
        authorization=_authorization(row) if row.voucher_hash else None,
        supply=_supply(row) if row.start_hash else None,
        end_hash=row.end_hash,
        end_request_hash=row.end_request_hash,
        ending_since=row.ending_since,
        total_minor=Minor(row.total_minor),
        work=msgspec.json.decode(row.work, type=Work) if row.work else None,
        **_aftermath(row.aftermath),
    )


class Aftermath(msgspec.Struct, omit_defaults=True):
    """What few orders have: kept as JSON in one column."""

    cancel_reason: str = ""
    closed_hash: Digest | None = None
    is_unsecured: bool = False
    bill: Billed | None = None
    dispute: Disputed | None = None
    set_aside: tuple[Digest, ...] = ()


def _aftermath_text(order: Order) -> str | None:
    found = Aftermath(order.cancel_reason, order.closed_hash, order.is_unsecured, order.bill, order.dispute, order.set_aside)
    return None if found == Aftermath() else msgspec.json.encode(found).decode()


def _aftermath(text: str | None) -> dict[str, Any]:
    return msgspec.structs.asdict(msgspec.json.decode(text, type=Aftermath)) if text else {}


def participant_row(order: Order, participant: Participant) -> dict[str, Any]:
    """Give the row of a new participant."""
    return participant_changes(participant) | {
        "order_id": order.id,
        "terminal_id": participant.terminal,
        "side": participant.side.value,
    }


def participant_changes(participant: Participant) -> dict[str, Any]:
    """Give the columns of a participant that change."""
    return {
        "last_in": participant.last_in,
        "last_in_hash": participant.last_in_hash,
        "last_out": participant.last_out,
    }


def offer_row(order: Order, offer: StandingOffer) -> dict[str, Any]:
    """Give the row of an offer."""
    return {
        "order_id": order.id,
        "digest": offer.digest,
        "provider_id": offer.provider_id,
        "asset_id": offer.asset_id,
        "device_id": offer.device_id,
        "kind": int(offer.kind),
        "items": _items_text(offer.items),
        "quote_minor": offer.quote_minor,
        "issuer_key": offer.issuer_key,
        "tariff_hash": offer.tariff_hash,
        "energy_wh_max": offer.energy_wh_max,
        "duration_s_max": offer.duration_s_max,
        "return_grace_s": offer.return_grace_s,
        "deposit_minor": offer.deposit_minor,
        "hold_minor": offer.hold_minor,
        "voucher_not_after": offer.voucher_not_after,
        "expiry": offer.expiry,
        "withdrawn": offer.withdrawn,
    }


def part_row(order_id: OrderId, part: StoredPart) -> dict[str, Any]:
    """Give the row of a signed part."""
    return {
        "order_id": order_id,
        "kind": int(part.kind),
        "digest": part.digest,
        "number": part.number,
        "signed": part.signed,
    }


def part_of(row: Any) -> StoredPart:
    """Build a signed part from its row."""
    return StoredPart(PartKind(row.kind), Digest(row.digest), row.signed, row.number)


def event_row(order: Order, at: Instant, actor: str, event: str, note: str) -> dict[str, Any]:
    """Give the row of a line in an order's timeline."""
    return {
        "order_id": order.id,
        "number": order.version,
        "at": at,
        "actor": actor,
        "event": event[:32],
        "state": int(order.state),
        "note": note,
    }


def screening_row(order_id: OrderId, screening: Screening) -> dict[str, Any]:
    """Give the row of a screening: counts in full, of the excluded the nearest."""
    return {
        "order_id": order_id,
        "examined": screening.examined,
        "candidates": len(screening.candidates),
        "exclusions": json.dumps([(e.reason, e.count) for e in screening.exclusions]),
        "nearest": json.dumps([(e.station, e.name, e.reason, e.distance_m) for e in screening.nearest]),
    }


def _demand(row: Any) -> Demand:
    return Demand(
        kinds=tuple(Kind[name] for name in row.kinds.split(",")),
        place=Place(row.latitude_e7, row.longitude_e7),
        radius_m=Metres(row.radius_m),
        energy_wh=row.energy_wh,
        duration_s=row.duration_s,
        service_items=tuple(ServiceItem(name, quantity) for name, quantity in json.loads(row.service_items))
        if row.service_items
        else (),
        needed_by_time=Instant(row.needed_by),
        price_max_minor=row.price_max_minor,
        time_to_live_s=DurationS(row.time_to_live_s),
        connector=None if row.connector is None else Connector(row.connector),
    )


def _items_text(items: Iterable[ServiceItem]) -> str:
    return json.dumps([(item.name, item.quantity) for item in items]) if items else ""


def _items(text: str) -> tuple[ServiceItem, ...]:
    return tuple(ServiceItem(name, quantity) for name, quantity in json.loads(text)) if text else ()


def _participant(row: Any) -> Participant:
    return Participant(TerminalId(row.terminal_id), Side(row.side), row.last_in, row.last_in_hash, row.last_out)


def _offer(row: Any) -> StandingOffer:
    return StandingOffer(
        Digest(row.digest),
        ProviderId(row.provider_id),
        AssetId(row.asset_id),
        DeviceId(row.device_id),
        Kind(row.kind),
        PublicKey(row.issuer_key),
        Digest(row.tariff_hash),
        EnergyWh(row.energy_wh_max),
        DurationS(row.duration_s_max),
        DurationS(row.return_grace_s),
        Minor(row.deposit_minor),
        Minor(row.hold_minor),
        Instant(row.voucher_not_after),
        Instant(row.expiry),
        bool(row.withdrawn),
        _items(row.items),
        Minor(row.quote_minor),
    )


def _authorization(row: Any) -> Authorization:
    return Authorization(
        Digest(row.voucher_hash),
        Serial(row.voucher_serial),
        Epoch(row.voucher_epoch),
        UnixS(row.voucher_not_before_s),
        UnixS(row.voucher_not_after_s),
    )


def _supply(row: Any) -> Supply:
    return Supply(
        Digest(row.start_hash),
        Instant(row.started),
        EnergyWh(row.start_register_wh),
        row.readings_count,
        row.readings_head,
        row.last_elapsed_s,
        row.last_register_wh,
    )
