"""Services at the user's terminal: extra work that is proposed, what is asked at the end, and what is believed of both."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from energyshare.bodies import (
    AmendmentAnswerBody,
    AmendmentBody,
    OfferBody,
    ServiceItem,
    SettlementAnswerBody,
    SettlementRequestBody,
)
from energyshare.errors import Rejected
from energyshare.messages import (
    AmendmentAnswer,
    Message,
    OrderClosed,
    RejectedMessage,
    SettlementConfirmed,
    SettlementRefused,
)
from energyshare.signing import SigningKey
from energyshare.values import DurationS, EnergyWh, Minor, Number, OrderState, PartKind, later
from energyshare.wire import open_signed, seal
from terminals.user.order import save_order
from terminals.user.services import bill_minor, quoted, require_settlement
from tests.device.world import HOLDER, ISSUER, OWNER, PLATFORM, STRANGER, World
from tests.terminals_world import CNY, NOW, OTHER_ORDER, of
from tests.user_world import (
    HELP_TARIFF,
    HELPER,
    JUMP_START,
    POLISH,
    TOW,
    User,
    added,
    amendment,
    amendment_body,
    cost,
    request,
    request_body,
)

OFFER = OfferBody(
    order_id=OTHER_ORDER,
    provider_id=OWNER,
    asset=HELPER,
    tariff=HELP_TARIFF,
    currency=CNY,
    energy_wh_max=EnergyWh(1),
    duration_s_max=DurationS(7_200),
    return_grace_s=DurationS(0),
    estimate=(),
    estimate_excl_vat_minor=Minor(0),
    estimate_incl_vat_minor=Minor(0),
    voucher_not_after_time=later(NOW, 7_200),
    expiry_time=later(NOW, 600),
    items=(JUMP_START,),
)


@pytest.fixture
def device(tmp_path: Path) -> World:
    (tmp_path / "device").mkdir()
    return World(tmp_path / "device")


@pytest.fixture
def user(tmp_path: Path) -> Iterator[User]:
    """A user who demands a jump-start of a helper."""
    made = User(tmp_path / "journal.db", HELPER)
    yield made
    made.me.journal.close()


@pytest.fixture
def helped(user: User, device: World) -> User:
    """A user who is being helped."""
    user.started(device)
    return user


def answer_of(said: list[Message]) -> AmendmentAnswerBody:
    """The one answer to an amendment that was said, signed by the holder."""
    [answer] = of(AmendmentAnswer, said)
    return open_signed(AmendmentAnswerBody, answer.answer, HOLDER.public).body


# Extra work


def test_extra_work_waits_for_the_user_who_approves_it(helped: User) -> None:
    body = amendment_body(helped)
    assert helped.tell(amendment(body)) == []
    line = helped.amendment
    assert (line.number, line.items, line.duration_s) == (1, [TOW], 1_800)
    assert (line.hold_minor, line.approved, line.fault) == (added(body), None, "")
    helped.me.answer_amendment(helped.order_id, 1, approve=True)
    answer = answer_of(helped.wire.listen())
    assert answer == AmendmentAnswerBody(helped.order_id, seal(body, ISSUER).digest, approved=True)
    assert helped.amendment.approved is True
    assert [len(helped.parts(kind)) for kind in (PartKind.AMENDMENT, PartKind.AMENDMENT_ANSWER)] == [1, 1]


def test_extra_work_that_is_refused_is_agreed_on_by_nobody(helped: User) -> None:
    helped.tell(amendment(amendment_body(helped)))
    helped.me.answer_amendment(helped.order_id, 1, approve=False)
    assert answer_of(helped.wire.listen()).approved is False
    so_far = helped.me.service_so_far(helped.order_id)
    assert so_far is not None
    assert so_far.agreed.items == (JUMP_START,)


def test_extra_work_may_be_proposed_before_the_helper_has_come(user: User) -> None:
    user.authorized()
    assert user.tell(amendment(amendment_body(user))) == []
    assert user.amendment.approved is None


def test_the_same_amendment_again_changes_nothing(helped: User) -> None:
    body = amendment_body(helped)
    assert helped.tell(amendment(body), amendment(body)) == []
    assert len(helped.order.amendments) == 1


def test_extra_work_is_priced_on_top_of_what_was_approved_before(helped: User) -> None:
    helped.tell(amendment(amendment_body(helped)))
    helped.me.answer_amendment(helped.order_id, 1, approve=True)
    helped.wire.listen()
    assert helped.tell(amendment(amendment_body(helped, number=Number(2), duration_s=DurationS(60)))) == []
    assert [line.approved for line in helped.order.amendments] == [True, None]


@pytest.mark.parametrize("by", [STRANGER, PLATFORM, HOLDER])
def test_extra_work_that_the_provider_did_not_sign_is_not_answered(helped: User, by: SigningKey) -> None:
    body = amendment_body(helped)
    assert helped.tell(amendment(body, by)) == []
    assert (helped.order.amendments, helped.parts(PartKind.AMENDMENT)) == ([], [])
    assert "SIGNATURE_INVALID" in helped.wire.failures
    helped.tell(amendment(body))
    assert helped.order.waiting_amendment is not None


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"order_id": OTHER_ORDER}, "VOUCHER_ORDER"),
        ({"hold_minor": Minor(1)}, "AMENDMENT_HOLD"),
        ({"hold_minor": Minor(10**9)}, "AMENDMENT_HOLD"),
        ({"items": (POLISH,), "hold_minor": Minor(1)}, "polish"),
    ],
    ids=["another order's", "too cheap", "too dear", "not in the tariff"],
)
def test_an_amendment_that_does_not_hold_is_refused_at_once_and_named(
    helped: User, changes: dict[str, Any], reason: str
) -> None:
    body = amendment_body(helped, **changes)
    answer = answer_of(helped.tell(amendment(body)))
    assert answer == AmendmentAnswerBody(helped.order_id, seal(body, ISSUER).digest, approved=False)
    assert helped.amendment.approved is False
    assert reason in helped.amendment.fault
    assert (helped.parts(PartKind.AMENDMENT), helped.order.waiting_amendment) == ([], None)
    assert helped.tell(amendment(amendment_body(helped))) == []
    assert helped.order.waiting_amendment is not None


def test_an_amendment_whose_number_was_used_is_refused_at_once(helped: User) -> None:
    helped.tell(amendment(amendment_body(helped)))
    assert answer_of(helped.tell(amendment(amendment_body(helped, duration_s=DurationS(60))))).approved is False
    assert [line.fault == "" for line in helped.order.amendments] == [True, False]


@pytest.mark.parametrize("state", ["DEMANDED", "SELECTED", "ENDING", "CANCELLED"])
def test_extra_work_is_not_taken_where_none_can_be_done(user: User, device: World, state: str) -> None:
    reach(user, device, state)
    said = user.tell(amendment(amendment_body(user)))
    assert (user.order.state, user.order.waiting_amendment) == (state, None)
    assert [open_signed(AmendmentAnswerBody, one.answer, HOLDER.public).body.approved for one in of(AmendmentAnswer, said)] == (
        [False] if state == "ENDING" else []
    )


def test_extra_work_that_is_no_service_is_refused_at_once(tmp_path: Path, device: World) -> None:
    user = User(tmp_path / "outlet.db")
    user.started(device)
    body = AmendmentBody(user.order_id, Number(1), (TOW,), DurationS(0), Minor(0))
    assert answer_of(user.tell(amendment(body))).approved is False
    assert "kind ENERGY" in user.amendment.fault
    user.me.journal.close()


@pytest.mark.parametrize("number", [0, 2])
def test_an_amendment_that_never_came_is_not_answered(helped: User, number: int) -> None:
    helped.tell(amendment(amendment_body(helped)))
    with pytest.raises(Rejected, match="AMENDMENT_UNKNOWN"):
        helped.me.answer_amendment(helped.order_id, number, approve=True)
    assert helped.wire.listen() == []


def test_an_amendment_is_answered_once(helped: User) -> None:
    helped.tell(amendment(amendment_body(helped)))
    helped.me.answer_amendment(helped.order_id, 1, approve=True)
    with pytest.raises(Rejected, match="AMENDMENT_UNKNOWN"):
        helped.me.answer_amendment(helped.order_id, 1, approve=False)


def test_an_approval_that_the_wallet_can_not_hold_leaves_the_amendment_open(helped: User) -> None:
    helped.tell(amendment(amendment_body(helped)))
    helped.me.answer_amendment(helped.order_id, 1, approve=True)
    helped.wire.listen()
    helped.tell(RejectedMessage(Number(helped.wire.numbers[-1]), "INSUFFICIENT_FUNDS", {"needed": "9"}))
    order = helped.order
    assert (helped.amendment.approved, order.state, order.reason) == (None, "ACTIVE", "INSUFFICIENT_FUNDS")
    assert (order.refused, order.metadata) == ("AMENDMENT", {"needed": "9"})
    helped.me.answer_amendment(helped.order_id, 1, approve=True)
    assert answer_of(helped.wire.listen()).approved is True
    assert (helped.order.reason, helped.order.refused) == ("", "")


# Settlement


def test_what_is_asked_is_priced_again_and_confirmed(helped: User) -> None:
    body = request_body(helped)
    assert helped.tell(request(body)) == []
    asked = helped.settlement
    assert (helped.order.state, asked.items, asked.duration_s) == ("ENDING", [JUMP_START], 3_600)
    assert (asked.total_minor, asked.bill_minor, asked.fault) == (body.total_minor, cost(body), "")
    helped.me.confirm(helped.order_id)
    [said] = of(SettlementConfirmed, helped.wire.listen())
    answer = open_signed(SettlementAnswerBody, said.answer, HOLDER.public).body
    assert answer == SettlementAnswerBody(helped.order_id, seal(body, ISSUER).digest, Minor(0))
    assert (helped.settlement.disputed_minor, helped.order.waiting_settlement) == (0, None)
    assert [len(helped.parts(kind)) for kind in (PartKind.SETTLEMENT_REQUEST, PartKind.SETTLEMENT_ANSWER)] == [1, 1]


def test_a_part_of_what_is_asked_is_refused(helped: User) -> None:
    helped.tell(request(request_body(helped)))
    helped.me.refuse(helped.order_id, Minor(500))
    [said] = of(SettlementRefused, helped.wire.listen())
    assert open_signed(SettlementAnswerBody, said.answer, HOLDER.public).body.disputed_minor == 500
    assert helped.order.waiting_settlement is None


@pytest.mark.parametrize("amount", [0, -1, 10**9])
def test_no_more_than_what_is_asked_is_refused(helped: User, amount: int) -> None:
    helped.tell(request(request_body(helped)))
    with pytest.raises(Rejected, match="DISPUTE_AMOUNT"):
        helped.me.refuse(helped.order_id, Minor(amount))
    assert helped.wire.listen() == []


def test_what_is_asked_may_hold_approved_extra_work(helped: User) -> None:
    helped.tell(amendment(amendment_body(helped)))
    helped.me.answer_amendment(helped.order_id, 1, approve=True)
    helped.wire.listen()
    helped.tell(request(request_body(helped, items=(JUMP_START, TOW), duration_s=DurationS(9_000))))
    assert helped.settlement.fault == ""
    helped.me.confirm(helped.order_id)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"items": (JUMP_START, TOW)}, "SETTLEMENT_ITEMS"),
        ({"items": (JUMP_START, JUMP_START)}, "SETTLEMENT_ITEMS"),
        ({"items": (ServiceItem("jump-start", 2),)}, "SETTLEMENT_ITEMS"),
        ({"duration_s": DurationS(7_201)}, "SETTLEMENT_ITEMS"),
        ({"total_minor": Minor(1_000_000)}, "SETTLEMENT_TOTAL"),
        ({"items": (POLISH,), "total_minor": Minor(1)}, "polish"),
    ],
    ids=["unapproved work", "twice", "two of them", "too long", "too dear", "not in the tariff"],
)
def test_what_was_never_agreed_can_only_be_refused(helped: User, changes: dict[str, Any], reason: str) -> None:
    helped.tell(request(request_body(helped, **changes)))
    assert (helped.order.state, reason in helped.settlement.fault) == ("ENDING", True)
    with pytest.raises(Rejected, match="SETTLEMENT_TOTAL"):
        helped.me.confirm(helped.order_id)
    assert helped.wire.listen() == []
    helped.me.refuse(helped.order_id, Minor(1))
    assert of(SettlementRefused, helped.wire.listen())


@pytest.mark.parametrize("by", [STRANGER, PLATFORM, HOLDER])
def test_what_the_provider_did_not_sign_asks_for_nothing(helped: User, by: SigningKey) -> None:
    helped.tell(request(request_body(helped), by))
    assert (helped.order.state, helped.order.settlement) == ("ACTIVE", None)
    assert "SIGNATURE_INVALID" in helped.wire.failures


def test_what_is_asked_for_another_order_asks_for_nothing(helped: User) -> None:
    helped.tell(request(request_body(helped, order_id=OTHER_ORDER)))
    assert (helped.order.state, helped.order.settlement) == ("ACTIVE", None)
    assert "RECEIPT_FOREIGN" in helped.wire.failures


@pytest.mark.parametrize("state", ["DEMANDED", "SELECTED", "AUTHORIZED", "CANCELLED"])
def test_nothing_is_asked_where_nothing_was_begun(user: User, device: World, state: str) -> None:
    reach(user, device, state)
    user.tell(request(request_body(user)))
    assert (user.order.state, user.order.settlement) == (state, None)


def test_the_same_request_again_keeps_its_answer(helped: User) -> None:
    body = request_body(helped)
    helped.tell(request(body))
    helped.me.confirm(helped.order_id)
    helped.wire.listen()
    helped.tell(request(body))
    assert helped.settlement.disputed_minor == 0


def test_nothing_is_confirmed_before_it_is_asked_or_after_it_was_answered(helped: User) -> None:
    with pytest.raises(Rejected, match="SETTLEMENT_UNKNOWN"):
        helped.me.confirm(helped.order_id)
    with pytest.raises(Rejected, match="SETTLEMENT_UNKNOWN"):
        helped.me.refuse(helped.order_id, Minor(1))
    helped.tell(request(request_body(helped)))
    helped.me.confirm(helped.order_id)
    with pytest.raises(Rejected, match="SETTLEMENT_UNKNOWN"):
        helped.me.refuse(helped.order_id, Minor(1))


def test_an_answer_that_the_cloud_refuses_can_be_given_again(helped: User) -> None:
    helped.tell(request(request_body(helped)))
    helped.me.refuse(helped.order_id, Minor(1))
    helped.wire.listen()
    helped.tell(RejectedMessage(Number(helped.wire.numbers[-1]), "SETTLEMENT_UNKNOWN", {}))
    assert (helped.order.state, helped.order.refused) == ("ENDING", "SETTLEMENT")
    assert helped.order.waiting_settlement is not None


# Another terminal of the account, the end, the cost so far


def test_what_another_terminal_selected_is_not_answered_here(helped: User) -> None:
    helped.tell(amendment(amendment_body(helped)))
    anothers(helped)
    with pytest.raises(Rejected, match="HOLDER_PROOF"):
        helped.me.answer_amendment(helped.order_id, 1, approve=True)
    with pytest.raises(Rejected, match="HOLDER_PROOF"):
        helped.me.confirm(helped.order_id)


def test_a_service_is_not_ended_by_its_user(helped: User) -> None:
    with pytest.raises(Rejected, match="its provider asks for settlement"):
        helped.act(helped.me.end(helped.order_id, None))
    assert helped.order.state == "ACTIVE"


def test_a_service_that_nobody_settled_is_closed_though_it_was_begun(helped: User) -> None:
    helped.tell(OrderClosed(OrderState.CANCELLED, "NO_SETTLEMENT"))
    assert (helped.order.state, helped.order.reason) == ("CANCELLED", "NO_SETTLEMENT")


@pytest.mark.parametrize(("after_s", "counted_s"), [(0, 0), (59, 59), (3_600, 3_600), (7_200, 7_200), (9_000, 7_200)])
def test_a_service_costs_what_its_time_and_items_cost_up_to_now(helped: User, after_s: int, counted_s: int) -> None:
    helped.now = later(NOW, after_s)
    so_far = helped.me.service_so_far(helped.order_id)
    assert so_far is not None
    assert so_far.elapsed_s == counted_s
    assert so_far.cost_minor == cost(SettlementRequestBody(helped.order_id, (JUMP_START,), DurationS(counted_s), Minor(0)))
    assert helped.me.running(helped.order_id) is None


def test_a_service_costs_nothing_before_it_began(user: User) -> None:
    user.authorized()
    assert user.me.service_so_far(user.order_id) is None


@settings(max_examples=40, deadline=None)
@given(jumps=st.integers(0, 3), tows=st.integers(0, 3), duration_s=st.integers(0, 20_000), more=st.integers(-1, 1))
def test_only_what_was_agreed_and_what_it_costs_may_be_asked(jumps: int, tows: int, duration_s: int, more: int) -> None:
    agreed = quoted(OFFER).extended((ServiceItem("jump-start", 1), TOW), 600)
    items = tuple(ServiceItem(name, count) for name, count in (("jump-start", jumps), ("tow", tows)) if count)
    most = bill_minor(agreed, NOW, items, duration_s)
    body = SettlementRequestBody(OFFER.order_id, items, DurationS(duration_s), Minor(most + more))
    allowed = jumps <= 2 and tows <= 1 and duration_s <= 7_800 and more <= 0
    try:
        require_settlement(body, agreed, most)
    except Rejected:
        assert not allowed
    else:
        assert allowed
        assert most <= agreed.bound_minor


def reach(user: User, device: World, state: str) -> None:
    """Take an order as far as a state."""
    if state in ("SELECTED", "CANCELLED"):
        user.selected()
    if state == "CANCELLED":
        user.tell(OrderClosed(OrderState.CANCELLED, "NO_VOUCHER"))
    if state == "AUTHORIZED":
        user.authorized()
    if state == "ENDING":
        user.started(device)
        user.tell(request(request_body(user)))
    assert user.order.state == state


def anothers(user: User) -> None:
    """Have the order be another terminal's of the account."""
    with user.me.journal.transaction():
        order = user.order
        order.holder_key = STRANGER.public
        save_order(user.me.journal, user.order_id, order)
