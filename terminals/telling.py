"""What each message says, as a sentence for people: amounts, energies and times, and no hashes."""

from typing import assert_never

from msgspec import Struct

from energyshare.bodies import (
    AmendmentAnswerBody,
    AmendmentBody,
    ChargeRecordBody,
    EndConfirmationBody,
    EndReceiptBody,
    EndRefusalBody,
    EndRequestBody,
    OfferBody,
    ReadingBody,
    RulingBody,
    SelectionBody,
    SerialClosedBody,
    SettlementAnswerBody,
    SettlementRequestBody,
    StartReceiptBody,
    VoucherBody,
)
from energyshare.errors import Rejected
from energyshare.messages import (
    Amendment,
    AmendmentAnswer,
    Award,
    Cancel,
    ConfirmEnd,
    Declined,
    Demand,
    DemandNotice,
    Dispute,
    EndConfirmed,
    Ended,
    EndRefused,
    EndRequest,
    Inventory,
    Message,
    NotReturned,
    NotSelected,
    Offer,
    OrderClosed,
    Reading,
    RejectedMessage,
    Reopened,
    Ruling,
    Screened,
    Selection,
    SerialClosed,
    Settled,
    SettlementConfirmed,
    SettlementRefused,
    SettlementRequest,
    Snapshot,
    Started,
    Voucher,
    VoucherRejected,
    Withdrawn,
)
from energyshare.places import place_name
from energyshare.program import count_text
from energyshare.values import ChargeBasis, Currency, EnergyWh, Kind, Minor, PartKind, Percent, of_unix_s
from energyshare.wire import decode_presentable, peek
from terminals.reasons import reason_text
from terminals.units import distance_text, duration_text, energy_text, items_text, money, time_text

Told = tuple[str, str]
"""A sentence, and what stands beside it."""

KINDS = {Kind.BATTERY: "a battery", Kind.ENERGY: "an outlet", Kind.SERVICE: "a service"}
BASES = {
    ChargeBasis.END_RECEIPT: "the end receipt that the device signed",
    ChargeBasis.LAST_READING: "the last reading that the device signed",
    ChargeBasis.CAP: "the caps, because the battery was not brought back in time",
    ChargeBasis.QUOTE: "the settlement that the provider asked for",
    ChargeBasis.RULING: "the operator's ruling",
    ChargeBasis.FLAT: "flat and minimum price, because no reading is known",
}
"""What a bill follows from, in words."""

NOTHING_METERED_WH = 1  # the energy cap of a service


class Background(Struct, frozen=True):
    """What a terminal knows that a message leaves out: the currency of its amounts, the register at the start."""

    currency: Currency | None = None
    start_register_wh: EnergyWh | None = None

    def amount(self, minor: Minor) -> str:
        """Write an amount."""
        return money(minor, self.currency) if self.currency else f"{minor:,} minor units"


UNKNOWN = Background()


def describe(message: Message, background: Background = UNKNOWN) -> Told:
    """Say what a message says; one that carries what can't be read is named all the same."""
    try:
        return _told(message, background)
    except Rejected as refusal:
        return f"A message came that can't be read ({type(message).__name__})", str(refusal)


def _told(message: Message, background: Background) -> Told:
    """Say what a message says. Raises Rejected{MALFORMED} when what it carries can't be read."""
    match message:
        case Inventory() | Snapshot():
            return _told_of_many(message)
        case Demand() | Screened() | DemandNotice() | Offer() | Declined() | Withdrawn():
            return _told_of_offers(message, background)
        case Selection() | Award() | NotSelected() | Voucher() | VoucherRejected() | Reopened():
            return _told_of_selection(message)
        case Started() | Reading() | Ended() | SerialClosed():
            return _told_of_device(message, background)
        case EndRequest() | ConfirmEnd() | EndConfirmed() | EndRefused() | NotReturned():
            return _told_of_end(message, background)
        case Amendment() | AmendmentAnswer() | SettlementRequest() | SettlementConfirmed() | SettlementRefused():
            return _told_of_service(message, background)
        case Cancel() | OrderClosed() | RejectedMessage():
            return _told_of_closing(message)
        case Settled() | Dispute() | Ruling():
            return _told_of_money(message, background)
    assert_never(message)


def _told_of_many(message: Inventory | Snapshot) -> Told:
    match message:
        case Inventory(assets, tariffs):
            return "Assets were told to the cloud", f"{count_text(len(assets), 'asset')}, {count_text(len(tariffs), 'tariff')}"
        case Snapshot(orders):
            return "Both sides compared their orders", count_text(len(orders), "order")
    assert_never(message)


def _told_of_offers(message: Demand | Screened | DemandNotice | Offer | Declined | Withdrawn, background: Background) -> Told:
    match message:
        case Demand():
            return f"Demanded: {_kinds_text(message)}", _wanted_text(message, background)
        case Screened(candidates, exclusions, _):
            left_out = ", ".join(f"{one.count:,} {reason_text(one.reason)}" for one in exclusions)
            return f"{count_text(candidates, 'asset')} asked for offers", f"left out: {left_out}" if left_out else ""
        case DemandNotice(demand, asset_ids, _):
            detail = f"{count_text(len(asset_ids), 'asset')} asked for; {_wanted_text(demand, background)}"
            return f"Somebody demands {_kinds_text(demand)}", detail
        case Offer(offer, _):
            return _offer_text(peek(OfferBody, offer))
        case Declined(_, reason):
            return "No offer", reason_text(reason)
        case Withdrawn():
            return "An offer was withdrawn", ""
    assert_never(message)


def _kinds_text(demand: Demand) -> str:
    return " or ".join(KINDS[kind] for kind in demand.kinds)


def _wanted_text(demand: Demand, background: Background) -> str:
    limit = demand.price_max_minor
    parts = (
        items_text(demand.service_items),
        energy_text(demand.energy_wh) if demand.energy_wh else "",
        duration_text(demand.duration_s) if demand.duration_s else "",
        f"within {distance_text(demand.radius_m)}",
        f"by {time_text(demand.needed_by_time)}",
        f"for at most {background.amount(limit)}" if limit is not None else "",
    )
    return ", ".join(part for part in parts if part)


def _offer_text(offer: OfferBody) -> Told:
    asset = offer.asset
    deposit = f", deposit {money(asset.deposit_minor, offer.currency)}" if asset.deposit_minor else ""
    estimate = f"estimate {money(offer.estimate_incl_vat_minor, offer.currency)}{deposit}"
    return f"Offer: {place_name(asset.station, asset.name)}", f"{estimate}, binds until {time_text(offer.expiry_time)}"


def _told_of_selection(message: Selection | Award | NotSelected | Voucher | VoucherRejected | Reopened) -> Told:
    match message:
        case Selection(selection):
            return "An offer was selected", _hold_text(peek(SelectionBody, selection))
        case Award(selection, _):
            return "The offer was selected", _hold_text(peek(SelectionBody, selection))
        case NotSelected():
            return "Another offer was selected", ""
        case Voucher(presentable):
            voucher = peek(VoucherBody, decode_presentable(presentable).voucher)
            return "The voucher was issued", _voucher_text(voucher)
        case VoucherRejected(reason):
            return "The voucher does not hold", reason_text(reason)
        case Reopened(reason):
            return "The other offers stand again", reason_text(reason)
    assert_never(message)


def _voucher_text(voucher: VoucherBody) -> str:
    metered = voucher.energy_wh_max > NOTHING_METERED_WH
    energy = f"{energy_text(voucher.energy_wh_max)} and " if metered else ""
    until = time_text(of_unix_s(voucher.not_after_unix_s))
    return f"opens until {until}, up to {energy}{duration_text(voucher.duration_s_max)}"


def _hold_text(selection: SelectionBody) -> str:
    return f"{money(selection.hold_minor, selection.currency)} held at most"


def _told_of_device(message: Started | Reading | Ended | SerialClosed, background: Background) -> Told:
    match message:
        case Started(start_receipt, _):
            start = peek(StartReceiptBody, start_receipt)
            return f"Started at {time_text(start.start_time)}", _charge_text(start.soc_pct)
        case Reading(readings, _):
            last = peek(ReadingBody, readings[-1])
            return count_text(last.number, "reading"), _reading_text(last, background)
        case Ended(end_receipt, _):
            return _end_text(end_receipt)
        case SerialClosed(statement, _):
            return "The voucher was closed unused", f"at {time_text(peek(SerialClosedBody, statement).closed_time)}"
    assert_never(message)


def _reading_text(reading: ReadingBody, background: Background) -> str:
    start = background.start_register_wh
    energy = "" if start is None else f"{energy_text(reading.register_wh - start)} "
    supplying = "" if reading.supplying else ", supply is off"
    return f"{energy}after {duration_text(reading.elapsed_s)}{supplying}{_charge_after(reading.soc_pct)}"


def _end_text(end_receipt: bytes) -> Told:
    end = peek(EndReceiptBody, end_receipt)
    used = end.register_wh - peek(StartReceiptBody, end.start_receipt).register_wh
    energy = f"{energy_text(used)} in " if used else "after "
    return f"Ended at {time_text(end.end_time)}", f"{energy}{duration_text(end.elapsed_s)}{_charge_after(end.soc_pct)}"


def _charge_text(soc: Percent | None) -> str:
    return "" if soc is None else f"{soc} % charged"


def _charge_after(soc: Percent | None) -> str:
    return "" if soc is None else f", {_charge_text(soc)}"


def _told_of_end(message: EndRequest | ConfirmEnd | EndConfirmed | EndRefused | NotReturned, background: Background) -> Told:
    match message:
        case EndRequest(end_request, end_receipt, _):
            asked = f"asked at {time_text(peek(EndRequestBody, end_request).requested_time)}"
            return "Asked to end", _end_text(end_receipt)[1] if end_receipt else f"{asked}; the device is not read yet"
        case ConfirmEnd(_, end_receipt, confirm_until, _, _):
            ended = f"{_end_text(end_receipt)[1]}; " if end_receipt else ""
            return "The cloud asks to confirm the end", f"{ended}silence settles it at {time_text(confirm_until)}"
        case EndConfirmed(confirmation):
            most = peek(EndConfirmationBody, confirmation).total_minor_max
            return "The end was confirmed", "" if most is None else f"for at most {background.amount(most)}"
        case EndRefused(refusal):
            body = peek(EndRefusalBody, refusal)
            return f"The provider claims {background.amount(body.claimed_minor)} of the deposit", body.reason
        case NotReturned():
            return "The provider says that the battery did not come back", "the deposit is claimed"
    assert_never(message)


Service = Amendment | AmendmentAnswer | SettlementRequest | SettlementConfirmed | SettlementRefused


def _told_of_service(message: Service, background: Background) -> Told:
    match message:
        case Amendment(amendment):
            body = peek(AmendmentBody, amendment)
            more = f" and {duration_text(body.duration_s)}" if body.duration_s else ""
            extra = f"{items_text(body.items)}{more}, at most {background.amount(body.hold_minor)} more"
            return f"Extra work was proposed (amendment {body.number})", extra
        case AmendmentAnswer(answer):
            approved = peek(AmendmentAnswerBody, answer).approved
            return "The extra work was approved" if approved else "The extra work was refused", ""
        case SettlementRequest(settlement_request):
            asked = peek(SettlementRequestBody, settlement_request)
            what = f"{items_text(asked.items)} in {duration_text(asked.duration_s)}"
            return f"Settlement was asked for: {background.amount(asked.total_minor)}", what
        case SettlementConfirmed():
            return "The settlement was confirmed", ""
        case SettlementRefused(answer):
            disputed = peek(SettlementAnswerBody, answer).disputed_minor
            return f"{background.amount(disputed)} of the settlement were refused", ""
    assert_never(message)


def _told_of_closing(message: Cancel | OrderClosed | RejectedMessage) -> Told:
    match message:
        case Cancel(reason):
            return "Asked to cancel", reason_text(reason)
        case OrderClosed(state, reason):
            return f"The order is {state.name.lower()}", reason_text(reason)
        case RejectedMessage(_, reason, metadata):
            return "The cloud refused what was said", reason_text(reason, metadata)
    assert_never(message)


def _told_of_money(message: Settled | Dispute | Ruling, background: Background) -> Told:
    match message:
        case Settled(charge_record, _, _, disputed):
            return _bill_text(peek(ChargeRecordBody, charge_record), disputed)
        case Dispute(_, disputed, reason):
            return f"{background.amount(disputed)} are disputed", reason
        case Ruling(ruling):
            body = peek(RulingBody, ruling)
            return (
                f"The operator ruled: {background.amount(body.charged_minor)} of what was disputed are to be paid",
                body.reason,
            )
    assert_never(message)


def _bill_text(record: ChargeRecordBody, disputed: Minor) -> Told:
    kind = "Corrected bill" if record.corrects_hash else "Bill"
    parts = (
        f"by {BASES[record.basis]}",
        f"deposit kept {money(record.deposit_claimed_minor, record.currency)}" if record.deposit_claimed_minor else "",
        f"{money(disputed, record.currency)} disputed" if disputed else "",
    )
    return f"{kind}: {money(record.incl_vat_minor, record.currency)}", ", ".join(part for part in parts if part)


def part_name(kind: PartKind) -> str:
    """Name a part of the evidence for people: START_RECEIPT is the start receipt."""
    return kind.name.replace("_", " ").lower()
