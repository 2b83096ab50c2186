"""Services at the provider: check-in, extra work, settlement; never more than quote and approved amendments."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from energyshare.bodies import AmendmentBody, OfferBody, ServiceItem, SettlementRequestBody
from energyshare.charging import is_within
from energyshare.errors import Reason, Rejected
from energyshare.messages import Amendment, Cancel, Message, OrderClosed, SerialClosed, SettlementRequest, Started
from energyshare.tariff import TariffError
from energyshare.values import ChargeBasis, Digest, Kind, Minor, OrderState, PartKind, later
from energyshare.wire import peek
from terminals.provider.jobs import agreed, jobs
from terminals.provider.orders import State
from tests.device.world import ISSUER, STRANGER, World, refused
from tests.provider_world import (
    CABLE,
    JUMP_START,
    Helper,
    approval,
    bill,
    refusal,
    settlement_answer,
)
from tests.terminals_world import NOW, NOWHERE, ORDER, OTHER_ORDER, OUTLET, Provider, of

Make = Callable[..., Helper]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    made: list[Helper] = []

    def one(**changes: Any) -> Helper:
        made.append(Helper(tmp_path / "journal.db", **changes))
        return made[-1]

    yield one
    for provider in made:
        provider.journal.close()


@pytest.fixture
def worker(tmp_path: Path) -> World:
    (tmp_path / "worker").mkdir()
    return World(tmp_path / "worker", Kind.SERVICE)


def kinds(heard: list[Message]) -> list[type]:
    return [type(message) for message in heard]


def amendment_of(heard: list[Message]) -> bytes:
    [said] = of(Amendment, heard)
    return said.amendment


def request_of(heard: list[Message]) -> bytes:
    [said] = of(SettlementRequest, heard)
    return said.settlement_request


# Check-in


def test_a_check_in_is_a_start_and_no_reading_or_end_is_told_of_a_service(make: Make, worker: World) -> None:
    provider = make(address=NOWHERE)
    voucher = provider.authorized()
    worker.start(voucher)
    assert kinds(provider.visit(worker)) == [Started]
    assert provider.document().state == "ACTIVE"
    worker.release(voucher)
    assert provider.visit(worker) == []
    assert provider.document().ended


def test_jobs_are_the_services_that_are_to_be_done_or_paid(make: Make, worker: World) -> None:
    provider = make(address=NOWHERE)
    provider.offered(OTHER_ORDER)
    assert jobs(provider.journal) == []
    provider.checked_in(worker)
    [(order_id, document)] = jobs(provider.journal)
    assert (order_id, document.items) == (ORDER, [JUMP_START])
    provider.tell(bill(ChargeBasis.QUOTE))
    assert jobs(provider.journal) == []


def test_a_cancellation_burns_the_voucher_at_the_worker(make: Make, worker: World) -> None:
    provider = make(address=NOWHERE)
    provider.authorized()
    provider.tell(Cancel("CHANGED_MY_MIND"))
    assert kinds(provider.visit(worker)) == [SerialClosed]


# Extra work


def test_extra_work_adds_to_the_hold_what_it_can_cost_and_counts_once_it_is_approved(make: Make, worker: World) -> None:
    provider = make(address=NOWHERE)
    provider.checked_in(worker)
    signed = amendment_of(provider.propose(CABLE, CABLE, duration_s=1_800))
    body = peek(AmendmentBody, signed)
    assert (body.number, body.items, body.duration_s) == (1, (ServiceItem("cable", 2),), 1_800)
    assert body.hold_minor == 2 * 1_060 + 30 * 106
    before = agreed(provider.journal, ORDER, provider.document())
    assert (before.items, before.duration_s) == ((JUMP_START,), 7_200)
    assert provider.tell(approval(signed)) == []
    after = agreed(provider.journal, ORDER, provider.document())
    assert (after.items, after.duration_s) == ((JUMP_START, ServiceItem("cable", 2)), 9_000)
    assert peek(AmendmentBody, amendment_of(provider.propose(CABLE))).number == 2


def test_extra_work_that_the_user_refused_counts_for_nothing(make: Make, worker: World) -> None:
    provider = make(address=NOWHERE)
    provider.checked_in(worker)
    provider.tell(approval(amendment_of(provider.propose(CABLE)), approved=False))
    assert agreed(provider.journal, ORDER, provider.document()).items == (JUMP_START,)
    assert provider.document().amendments[0].approved is False


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"by": STRANGER}, "SIGNATURE_INVALID"),
        ({"by": ISSUER}, "SIGNATURE_INVALID"),
        ({"amendment_hash": Digest(b"?" * 32)}, "AMENDMENT_UNKNOWN"),
        ({"order_id": OTHER_ORDER}, "AMENDMENT_UNKNOWN"),
    ],
)
def test_an_answer_that_is_not_the_holders_or_to_something_else_counts_for_nothing(
    make: Make, worker: World, changes: dict[str, Any], reason: str
) -> None:
    provider = make(address=NOWHERE)
    provider.checked_in(worker)
    signed = amendment_of(provider.propose(CABLE))
    provider.tell(approval(signed, **changes))
    assert reason in provider.wire.failures
    assert provider.document().amendments[0].approved is None
    provider.tell(approval(signed))
    assert provider.document().amendments[0].approved is True


def test_an_answer_can_be_repeated_but_not_changed(make: Make, worker: World) -> None:
    provider = make(address=NOWHERE)
    provider.checked_in(worker)
    signed = amendment_of(provider.propose(CABLE))
    provider.tell(approval(signed), approval(signed), approval(signed, approved=False))
    assert "AMENDMENT_UNKNOWN" in provider.wire.failures
    assert provider.document().amendments[0].approved is True


def test_one_proposal_waits_at_a_time_and_one_that_the_cloud_refused_frees_its_number(make: Make, worker: World) -> None:
    provider = make(address=NOWHERE)
    provider.checked_in(worker)
    provider.propose(CABLE)
    with refused("AMENDMENT_OPEN"):
        provider.propose(CABLE)
    provider.tell(refusal(provider, "AMENDMENT_HOLD"))
    assert (provider.document().amendments, provider.document().reason) == ([], "AMENDMENT_HOLD")
    assert peek(AmendmentBody, amendment_of(provider.propose(CABLE))).number == 1


@pytest.mark.parametrize("state", ["ENDING", "DISPUTED", "SETTLED", "CLOSED"])
def test_nothing_is_proposed_or_asked_for_after_the_work(make: Make, worker: World, state: State) -> None:
    provider = make(address=NOWHERE)
    provider.checked_in(worker)
    with provider.orders.changing(ORDER) as document:
        document.state = state
    with refused("WRONG_STATE"):
        provider.propose(CABLE)
    with refused("WRONG_STATE"):
        provider.settle()


def test_work_may_be_proposed_before_the_check_in_but_not_settled(make: Make) -> None:
    provider = make()
    provider.authorized()
    assert kinds(provider.propose(CABLE)) == [Amendment]
    with refused("WRONG_STATE"):
        provider.settle()


@pytest.mark.parametrize(
    "items", [(), (ServiceItem("", 1),), (ServiceItem("cable", 0),), (ServiceItem("cable", 10_001),)], ids=str
)
def test_extra_work_that_the_contract_has_no_room_for_is_not_said(
    make: Make, worker: World, items: tuple[ServiceItem, ...]
) -> None:
    provider = make(address=NOWHERE)
    provider.checked_in(worker)
    with pytest.raises((Rejected, TariffError)):
        provider.propose(*items)
    assert provider.wire.listen() == []
    assert provider.document().amendments == []


def test_extra_work_without_a_price_is_named(make: Make, worker: World) -> None:
    provider = make(address=NOWHERE)
    provider.checked_in(worker)
    with pytest.raises(TariffError, match="tow"):
        provider.propose(ServiceItem("tow", 1))
    assert provider.wire.listen() == []


def test_a_battery_or_an_outlet_has_no_extra_work(tmp_path: Path) -> None:
    provider = Provider(tmp_path / "journal.db", OUTLET)
    provider.authorized()
    with refused("WRONG_STATE"), provider.orders.changing(ORDER) as document:
        provider.orders.jobs.propose(ORDER, document, (CABLE,), document.created)  # type: ignore[arg-type]
    provider.journal.close()


# Settlement


def test_settlement_is_asked_for_all_that_was_agreed_in_the_time_worked(make: Make, worker: World) -> None:
    provider = make(address=NOWHERE)
    provider.checked_in(worker)
    provider.tell(approval(amendment_of(provider.propose(CABLE))))
    provider.now = later(NOW, 1_800)
    request = peek(SettlementRequestBody, request_of(provider.settle()))
    assert (request.items, request.duration_s) == ((JUMP_START, CABLE), 1_800)
    assert request.total_minor == (20 + 30 + 80 + 10) * 106
    assert (provider.document().state, provider.document().release_wanted) == ("ENDING", True)


def test_the_worker_is_free_again_once_settlement_was_asked_for(make: Make, worker: World) -> None:
    provider = make(address=NOWHERE)
    provider.checked_in(worker)
    provider.settle()
    assert provider.visit(worker) == []
    assert worker.machine.memory.session is None
    assert (provider.document().ended, provider.document().release_wanted) == (True, False)


@pytest.mark.parametrize("over", [OrderClosed(OrderState.CANCELLED, "NO_SETTLEMENT_REQUEST"), bill(ChargeBasis.QUOTE)])
def test_the_worker_is_free_again_once_the_order_is_over(make: Make, worker: World, over: Message) -> None:
    provider = make(address=NOWHERE)
    provider.checked_in(worker)
    provider.tell(over)
    assert provider.visit(worker) == []
    assert worker.machine.memory.session is None


@pytest.mark.parametrize(
    ("items", "duration_s", "total", "reason"),
    [
        ((ServiceItem("jump-start", 2),), None, None, "SETTLEMENT_ITEMS"),
        ((JUMP_START, JUMP_START), None, None, "SETTLEMENT_ITEMS"),
        ((CABLE,), None, None, "SETTLEMENT_ITEMS"),
        (None, 7_201, None, "SETTLEMENT_ITEMS"),
        (None, -1, None, "SETTLEMENT_ITEMS"),
        (None, 1_800, 13_781, "SETTLEMENT_TOTAL"),
        (None, 1_800, -1, "SETTLEMENT_TOTAL"),
    ],
)
def test_more_than_was_agreed_or_than_it_costs_is_not_asked_for(
    make: Make, worker: World, items: Any, duration_s: int | None, total: int | None, reason: str
) -> None:
    provider = make(address=NOWHERE)
    provider.checked_in(worker)
    provider.propose(CABLE)  # waits for its answer, and counts for nothing
    with refused(reason):
        provider.settle(items, duration_s, total)
    assert provider.wire.listen() == []
    assert (provider.document().state, provider.document().settlement) == ("ACTIVE", None)
    assert peek(SettlementRequestBody, request_of(provider.settle(None, 1_800, 13_780))).total_minor == 13_780


def test_time_alone_may_be_proposed_and_work_without_items_be_settled(make: Make, worker: World) -> None:
    provider = make(address=NOWHERE)
    provider.checked_in(worker)
    body = peek(AmendmentBody, amendment_of(provider.propose(duration_s=600)))
    assert (body.items, body.hold_minor) == ((), 10 * 106)
    request = peek(SettlementRequestBody, request_of(provider.settle(items=(), duration_s=600)))
    assert (request.items, request.total_minor) == ((), (20 + 10) * 106)


def test_less_may_be_asked_for(make: Make, worker: World) -> None:
    provider = make(address=NOWHERE)
    provider.checked_in(worker)
    request = peek(SettlementRequestBody, request_of(provider.settle(duration_s=0, total=1)))
    assert (request.duration_s, request.total_minor) == (0, 1)


def test_a_request_that_the_cloud_refused_can_be_made_anew(make: Make, worker: World) -> None:
    provider = make(address=NOWHERE)
    provider.checked_in(worker)
    provider.settle()
    with refused("WRONG_STATE"):
        provider.settle()
    provider.tell(refusal(provider, "SETTLEMENT_TOTAL"))
    assert (provider.document().state, provider.document().reason) == ("ACTIVE", "SETTLEMENT_TOTAL")
    assert kinds(provider.settle(total=100)) == [SettlementRequest]


@pytest.mark.parametrize("disputed", [0, 5_000])
def test_the_users_answer_comes_with_the_bill(make: Make, worker: World, disputed: int) -> None:
    provider = make(address=NOWHERE)
    provider.checked_in(worker)
    request = request_of(provider.settle(duration_s=1_800))
    provider.tell(bill(ChargeBasis.QUOTE, 13_780 - disputed, disputed, (settlement_answer(request, disputed),)))
    document = provider.document()
    assert document.settlement is not None
    assert document.settlement.disputed_minor == disputed
    assert document.state == ("DISPUTED" if disputed else "SETTLED")
    assert provider.journal.part(ORDER, PartKind.SETTLEMENT_ANSWER) is not None


def test_a_forged_answer_is_not_kept_but_the_bill_is(make: Make, worker: World) -> None:
    provider = make(address=NOWHERE)
    provider.checked_in(worker)
    request = request_of(provider.settle(duration_s=1_800))
    provider.tell(bill(ChargeBasis.QUOTE, parts=(settlement_answer(request, 0, STRANGER),)))
    document = provider.document()
    assert document.settlement is not None
    assert (document.state, document.settlement.disputed_minor) == ("SETTLED", None)
    assert provider.journal.part(ORDER, PartKind.SETTLEMENT_ANSWER) is None


ITEMS = st.lists(st.builds(ServiceItem, st.sampled_from(["jump-start", "cable"]), st.integers(1, 4)), min_size=1, max_size=3)
STEPS = st.one_of(
    st.tuples(st.just("propose"), ITEMS, st.integers(0, 3_600)),
    st.tuples(st.just("answer"), st.booleans()),
    st.tuples(st.just("refuse")),
    st.tuples(st.just("wait"), st.integers(0, 9_000)),
)
ASKED = st.tuples(st.none() | ITEMS, st.none() | st.integers(0, 12_000), st.none() | st.integers(0, 60_000))


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(STEPS, max_size=8), ASKED)
def test_no_settlement_ever_exceeds_quote_and_approved_amendments(
    tmp_path_factory: pytest.TempPathFactory, steps: list[Any], asked: Any
) -> None:
    folder = tmp_path_factory.mktemp("helper")
    (folder / "worker").mkdir()
    provider = Helper(folder / "journal.db", address=NOWHERE)
    provider.checked_in(World(folder / "worker", Kind.SERVICE))
    items, duration, hold, waiting = [JUMP_START], 7_200, Minor(0), b""
    for step in steps:
        match step:
            case ("propose", more, more_s) if not waiting:
                waiting = amendment_of(provider.propose(*more, duration_s=more_s))
            case ("answer", approved) if waiting:
                provider.tell(approval(waiting, approved))
                body, waiting = peek(AmendmentBody, waiting), b""
                if approved:
                    items, duration = [*items, *body.items], duration + body.duration_s
                    hold = Minor(hold + body.hold_minor)
            case ("refuse",) if waiting:
                provider.tell(refusal(provider, "AMENDMENT_HOLD"))
                waiting = b""
            case ("wait", seconds):
                provider.now = later(provider.now, seconds)
    said = _asked(provider, asked)
    if said is not None:
        offer = peek(OfferBody, provider.journal.parts(ORDER, PartKind.OFFER)[0].signed)
        assert is_within(said.items, items)
        assert said.duration_s <= duration
        assert said.total_minor <= provider.document().offers[0].hold_minor - offer.asset.deposit_minor + hold
    provider.journal.close()


def _asked(provider: Helper, asked: Any) -> SettlementRequestBody | None:
    """Ask for settlement; gives what was said, None when it was refused."""
    try:
        heard = provider.settle(*asked)
    except Rejected as refusal:
        return None if refusal.reason in (Reason.SETTLEMENT_ITEMS, Reason.SETTLEMENT_TOTAL) else pytest.fail(str(refusal))
    return peek(SettlementRequestBody, request_of(heard))


def test_an_answer_of_the_holder_to_another_orders_proposal_does_not_count_here(make: Make, worker: World) -> None:
    provider = make(address=NOWHERE)
    provider.checked_in(worker)
    signed = amendment_of(provider.propose(CABLE))
    provider.authorized(OTHER_ORDER)
    provider.tell(approval(signed), order_id=OTHER_ORDER)
    assert "AMENDMENT_UNKNOWN" in provider.wire.failures
    assert provider.document().amendments[0].approved is None
