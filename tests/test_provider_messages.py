"""Every message in every state of a provider's order: where it leads, and that nothing fails but by a reason."""

from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest

from energyshare.bodies import AmendmentBody, EndReceiptBody, VoucherBody
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
from energyshare.records import replace
from energyshare.values import ChargeBasis, Digest, DurationS, Minor, Number, OrderState, later
from energyshare.wire import peek, seal
from terminals.provider.orders import State
from tests.device.world import DEVICE_GRANT, ISSUER, World
from tests.provider_world import CABLE, approval, bill, confirm_end, ruling
from tests.terminals_world import DEMAND, NOW, NOWHERE, ORDER, OUTLET, Provider, award, of

STATES: tuple[State, ...] = get_args(State)
NOT_FOR_PROVIDERS = (
    *(Inventory, Demand, Screened, Offer, Declined, Withdrawn, Selection, Voucher, VoucherRejected, EndRequest, Ended),
    *(EndConfirmed, EndRefused, NotReturned, SerialClosed, Amendment, SettlementRequest, SettlementConfirmed),
    *(SettlementRefused, Reopened, Snapshot),
)
"""What the cloud never sends to a provider about an order."""

LEADS: dict[tuple[type, State], State] = {
    (DemandNotice, "ASKED"): "OFFERED",
    (Award, "ASKED"): "AUTHORIZED",
    (Award, "OFFERED"): "AUTHORIZED",
    (Award, "CLOSED"): "AUTHORIZED",
    **{(NotSelected, state): "CLOSED" for state in STATES},
    **{(OrderClosed, state): "CLOSED" for state in STATES},
    (Started, "AUTHORIZED"): "ACTIVE",
    (Started, "CLOSED"): "ACTIVE",
    **{(ConfirmEnd, state): "ENDING" for state in STATES if state not in ("SETTLED", "DISPUTED")},
    **{(Settled, state): "SETTLED" for state in STATES},
    (Dispute, "SETTLED"): "DISPUTED",
}
"""Where a message leads that does not leave the order as it is."""


@pytest.fixture
def provider(tmp_path: Path) -> Iterator[Provider]:
    made = Provider(tmp_path / "journal.db", address=NOWHERE)
    yield made
    made.journal.close()


@pytest.fixture
def device(tmp_path: Path) -> World:
    (tmp_path / "device").mkdir()
    return World(tmp_path / "device")


def samples(provider: Provider, device: World) -> list[Message]:
    """Each message that the cloud sends to a provider, true of an order whose voucher is out."""
    offers = [provider.offered()]
    provider.now = later(NOW, 1)
    offers.append(provider.offered())
    assert of(Voucher, provider.tell(award(offers[0])))
    end = _used(device, provider)
    start = peek(EndReceiptBody, end).start_receipt
    [session] = device.machine.evidence(ORDER, Number(0))
    return [
        DemandNotice(replace(DEMAND, needed_by_time=later(NOW, 3_600)), (OUTLET.asset_id,), later(NOW, 60)),
        award(offers[1]),
        NotSelected(),
        Cancel("CHANGED_MY_MIND"),
        OrderClosed(OrderState.EXPIRED, "NOT_STARTED"),
        Started(start, DEVICE_GRANT),
        Reading(session.readings, DEVICE_GRANT),
        confirm_end(end),
        approval(seal(AmendmentBody(ORDER, Number(1), (CABLE,), DurationS(0), Minor(0)), ISSUER).signed),
        bill(ChargeBasis.END_RECEIPT),
        Dispute(Digest(b"r" * 32), Minor(40), "too much"),
        ruling(),
        RejectedMessage(Number(1), "OFFER_LATE", {}),
    ]


def _used(device: World, provider: Provider) -> bytes:
    voucher = peek(VoucherBody, provider.orders.sessions.signed_voucher(ORDER, provider.document().voucher))
    device.start(voucher)
    device.pass_s(900)
    return device.release(voucher)


def test_every_message_is_either_for_providers_or_not() -> None:
    taken = {kind for kind, _ in LEADS} | {Cancel, Reading, AmendmentAnswer, Ruling, RejectedMessage}
    assert taken.isdisjoint(NOT_FOR_PROVIDERS)
    assert taken | set(NOT_FOR_PROVIDERS) == set(get_args(Message))


REFUSED: dict[type, tuple[State, ...]] = {
    Award: ("AUTHORIZED", "ACTIVE", "ENDING", "DISPUTED", "SETTLED"),
    Started: ("ASKED", "OFFERED"),
    ConfirmEnd: ("ASKED", "OFFERED"),
    AmendmentAnswer: STATES,
}
"""Where a message is kept aside with a reason."""


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("index", range(13))
def test_a_message_leads_where_the_table_says_or_is_kept_aside_with_a_reason(
    provider: Provider, device: World, index: int, state: State
) -> None:
    message = samples(provider, device)[index]
    with provider.orders.changing(ORDER) as document:
        document.state = state
        if state in ("ASKED", "OFFERED"):
            document.voucher = document.selected = b""
    provider.tell(message)
    is_refused = state in REFUSED.get(type(message), ())
    failures = provider.wire.failures.splitlines()
    assert [("Rejected(" in line or "Malformed(" in line) for line in failures] == [True] * is_refused, failures
    assert provider.document().state == (state if is_refused else LEADS.get((type(message), state), state))
    said_again = provider.tell(message)
    assert said_again == [] or isinstance(message, DemandNotice)
