"""Payments through a gateway that answers, refuses, loses answers and changes its mind; money moves once, or not at all."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud import paying
from cloud.config import CloudHome
from cloud.domain.funds import (
    NEXT,
    Outcome,
    Payment,
    PaymentId,
    PaymentState,
    Purpose,
    concluded,
    movements,
    opening,
    payment_id,
    split,
)
from cloud.domain.ledger import FUNDING, receivable_account, user_account
from cloud.gateway.desk import Cloud as Constant
from cloud.items import Command
from cloud.operator_client import Direct
from cloud.payments.gateway import Gateway, Receipt
from cloud.payments.sandbox import Sandbox
from cloud.store import people
from energyshare.config import ConfigError
from energyshare.errors import Reason, Rejected, Unavailable
from energyshare.records import replace
from energyshare.v1 import operator_pb2 as pb
from energyshare.values import AccountId, Currency, Instant, Minor, Money, OrderId, OrderState, ProviderId
from tests.cloud.actors import CNY, ROOT, T0, Cloud, refusals
from tests.cloud.office import ANOTHER, REQUEST, THIRD, Office, money, refused
from tests.cloud.story import Story

ACCOUNT = AccountId(b"a" * 16)


@dataclass
class Bank:
    """A gateway whose answers are set. `lost` answers never come, though what was asked is done."""

    says: Outcome = Outcome.SUCCEEDED
    lost: int = 0
    taken: dict[PaymentId, Receipt] = field(default_factory=dict)
    back: dict[str, Receipt] = field(default_factory=dict)
    name: str = "bank"

    def start(self, payment: Payment) -> Receipt:
        number = f"bank-{len(self.taken) + 1}"
        self.taken.setdefault(payment.id, Receipt(payment.id, number, self.says, payment.amount_minor))
        return self.look(payment)

    def look(self, payment: Payment) -> Receipt:
        if self.lost:
            self.lost -= 1
            raise Unavailable("the line is dead")
        return self.taken[payment.id]

    def taken_back(self, gateway_id: str) -> Receipt:
        return self.back[gateway_id]

    def since(self, start: Instant) -> Iterator[Receipt]:
        return iter([*self.taken.values(), *self.back.values()])

    def takes_back(self, payment: Payment, amount: int, outcome: Outcome = Outcome.SUCCEEDED) -> str:
        """Give a part of a top-up back, or say how that stands by now."""
        receipt = Receipt(None, "back-1", outcome, Minor(amount), problem="disputed", takes_back=payment.gateway_id)
        self.back["back-1"] = receipt
        return receipt.gateway_id

    def now_says(self, outcome: Outcome) -> None:
        self.taken = {name: replace(receipt, outcome=outcome) for name, receipt in self.taken.items()}


@pytest.fixture
def bank() -> Bank:
    return Bank()


@pytest.fixture
def office(cloud: Cloud, bank: Bank) -> Office:
    return Office(cloud, bank)


@pytest.fixture(params=["sandbox", "bank"])
def gateway(request: pytest.FixtureRequest, tmp_path: Path) -> Gateway:
    return Sandbox.create(tmp_path) if request.param == "sandbox" else Bank()


# Any gateway


def test_a_gateway_asked_twice_moves_money_once(gateway: Gateway) -> None:
    payment = Payment(PaymentId("top-up/1"), Purpose.TOP_UP, user_account(ACCOUNT), Minor(5), T0, gateway.name)
    first, second = gateway.start(payment), gateway.start(payment)
    assert first == second == gateway.look(payment)
    assert (first.outcome, first.amount_minor) == (Outcome.SUCCEEDED, 5)
    assert list(gateway.since(Instant(0))) == [first]


def test_money_in_and_out_through_a_gateway_agrees_with_the_ledger(cloud: Cloud, gateway: Gateway) -> None:
    office = Office(cloud, gateway)
    office.top_up("eve", 500)
    office.withdraw("eve", 200)
    assert office.available("eve") == 300
    found = office.reconcile()
    assert (found.compared, [d for d in found.differences if d.gateway_id]) == (2, [])


# Paying in


def test_a_top_up_that_was_asked_for_again_moves_money_once(office: Office, bank: Bank) -> None:
    assert office.top_up("eve", 500).state is PaymentState.SUCCEEDED
    assert office.top_up("eve", 500).state is PaymentState.SUCCEEDED
    assert (office.available("eve"), len(bank.taken)) == (500, 1)


def test_a_top_up_whose_answer_was_lost_is_finished_by_the_next_call(office: Office, bank: Bank) -> None:
    bank.lost = 1
    with pytest.raises(Unavailable):
        office.top_up("eve", 500)
    assert office.available("eve") == 0
    office.top_up("eve", 500)
    assert (office.available("eve"), len(bank.taken)) == (500, 1)


def test_a_top_up_whose_answer_was_lost_is_finished_by_a_reconciliation(office: Office, bank: Bank) -> None:
    bank.lost = 1
    with pytest.raises(Unavailable):
        office.top_up("eve", 500)
    found = office.reconcile()
    assert ([p.state for p in found.concluded], found.still_open) == ([PaymentState.SUCCEEDED], ())
    assert office.available("eve") == 500


def test_a_top_up_that_waits_for_its_payer_moves_money_when_the_gateway_says_so(office: Office, bank: Bank) -> None:
    bank.says = Outcome.PENDING
    pending = office.top_up("eve", 500)
    assert (pending.state, office.available("eve")) == (PaymentState.PENDING, 0)
    assert len(office.reconcile().still_open) == 1
    bank.now_says(Outcome.SUCCEEDED)
    for _ in range(3):
        looked = asyncio.run(office.payments.look(pending.id))
        assert looked is not None
        assert looked.state is PaymentState.SUCCEEDED
    assert office.available("eve") == 500


def test_a_top_up_that_the_gateway_refuses_moves_nothing(office: Office, bank: Bank) -> None:
    bank.says = Outcome.FAILED
    assert office.top_up("eve", 500).state is PaymentState.FAILED
    assert office.available("eve") == 0
    assert office.top_up("eve", 500).state is PaymentState.FAILED


def test_a_hint_about_a_payment_of_nobody_is_passed_over(office: Office) -> None:
    assert asyncio.run(office.payments.look(PaymentId("top-up/none"))) is None


def test_without_a_gateway_nothing_is_paid(cloud: Cloud) -> None:
    office = Office(cloud, None)
    for run in (lambda: office.top_up("eve", 1), lambda: office.withdraw("ann", 1), lambda: office.pay_out("sun", 1)):
        assert refused(run) == Reason.NO_PAYMENT_GATEWAY
    assert asyncio.run(office.payments.advance_open()) == []


# Taking out


def test_a_withdrawal_gives_back_the_latest_payments_first(office: Office) -> None:
    office.top_up("eve", 300, REQUEST)
    office.cloud.pass_s(1)
    office.top_up("eve", 500, ANOTHER)
    parts = office.withdraw("eve", 600, THIRD)
    assert [(p.amount_minor, p.refunds) for p in parts] == [
        (500, payment_id(Purpose.TOP_UP, office.account("eve"), ANOTHER)),
        (100, payment_id(Purpose.TOP_UP, office.account("eve"), REQUEST)),
    ]
    assert {p.destination for p in parts} == {"bank-1", "bank-2"}
    assert office.available("eve") == 200


def test_a_withdrawal_that_was_asked_for_again_moves_money_once(office: Office, bank: Bank) -> None:
    office.top_up("eve", 500)
    first, second = office.withdraw("eve", 300), office.withdraw("eve", 300)
    assert [p.id for p in first] == [p.id for p in second]
    assert (office.available("eve"), len(bank.taken)) == (200, 2)


def test_a_withdrawal_is_debited_before_the_gateway_answers(office: Office, bank: Bank) -> None:
    office.top_up("eve", 500)
    bank.lost = 1
    assert [p.state for p in office.withdraw("eve", 300)] == [PaymentState.CREATED]
    assert office.available("eve") == 200
    assert refused(lambda: office.withdraw("eve", 300, THIRD)) == Reason.INSUFFICIENT_FUNDS
    assert [p.state for p in office.reconcile().concluded] == [PaymentState.SUCCEEDED]
    assert office.available("eve") == 200


def test_a_withdrawal_that_fails_is_in_the_wallet_again_and_can_be_asked_for_anew(office: Office, bank: Bank) -> None:
    office.top_up("eve", 500)
    bank.says = Outcome.FAILED
    assert [p.state for p in office.withdraw("eve", 300)] == [PaymentState.FAILED]
    assert office.available("eve") == 500
    bank.says = Outcome.SUCCEEDED
    office.withdraw("eve", 500, THIRD)
    assert office.available("eve") == 0


def test_a_refund_that_comes_back_after_it_had_succeeded_is_in_the_wallet_again(office: Office, bank: Bank) -> None:
    office.top_up("eve", 500)
    (part,) = office.withdraw("eve", 300)
    bank.taken[part.id] = replace(bank.taken[part.id], outcome=Outcome.FAILED)
    for _ in range(2):
        found = office.reconcile()
        assert [d for d in found.differences if d.payment_id == part.id] == []
        assert office.available("eve") == 500


# Taken back by the gateway


def owed(office: Office, name: str) -> int:
    return people.balance_of_account(office.cloud.readers, receivable_account(office.account(name))).owed_minor


def test_a_chargeback_is_paid_from_the_wallet_and_the_operator_is_told(office: Office, bank: Bank) -> None:
    bank.takes_back(office.top_up("eve", 500), 300)
    for _ in range(2):
        assert [d for d in office.reconcile().differences if d.gateway_id] == []
        assert (office.available("eve"), owed(office, "eve")) == (200, 0)
    assert office.cloud.alerts() == ["CHARGEBACK"]
    assert [p.amount_minor for p in office.withdraw("eve", 200)] == [200]


def test_what_the_wallet_lacks_for_a_chargeback_is_owed_and_nothing_is_selected_until_it_is_paid(
    office: Office, bank: Bank
) -> None:
    paid_in = office.top_up("eve", 2_000)
    Story(office.cloud, user="eve").until_authorized()
    held = office.cloud.balance("eve").held_minor
    bank.takes_back(paid_in, 2_000)
    office.reconcile()
    assert (office.available("eve"), owed(office, "eve")) == (0, held)
    other = Story(office.cloud, user="eve", device="moon-outlet", order=OrderId(b"\x07" * 16)).until_offered()
    assert refusals(office.cloud, other.by_user(other.selecting()), "eve") == ["RECEIVABLE_DUE"]
    office.top_up("eve", held + 814, THIRD)
    assert (office.available("eve"), owed(office, "eve")) == (814, 0)
    other.by_user(other.selecting())
    assert other.state == OrderState.SELECTED


def test_a_chargeback_that_is_won_comes_back_once(office: Office, bank: Bank) -> None:
    paid_in = office.top_up("eve", 500)
    name = bank.takes_back(paid_in, 300)
    office.reconcile()
    bank.takes_back(paid_in, 300, Outcome.FAILED)
    for _ in range(2):
        taken = asyncio.run(office.payments.look_back(name))
        assert taken is not None
        assert (taken.state, office.available("eve")) == (PaymentState.REVERSED, 500)
    assert [d for d in office.reconcile().differences if d.gateway_id] == []


def test_a_chargeback_that_is_lost_after_it_was_won_is_taken_again(office: Office, bank: Bank) -> None:
    paid_in = office.top_up("eve", 500)
    for outcome, left in ((Outcome.SUCCEEDED, 200), (Outcome.FAILED, 500), (Outcome.SUCCEEDED, 200), (Outcome.FAILED, 500)):
        bank.takes_back(paid_in, 300, outcome)
        for _ in range(2):
            assert [d for d in office.reconcile().differences if d.gateway_id] == []
            assert office.available("eve") == left


def test_what_was_given_back_of_no_payment_is_nobody_s(office: Office, bank: Bank) -> None:
    bank.lost = 1
    with pytest.raises(Unavailable):
        office.top_up("eve", 500)
    bank.back["du"] = Receipt(None, "du", Outcome.SUCCEEDED, Minor(70_000), takes_back="")
    assert asyncio.run(office.payments.look_back("du")) is None
    assert owed(office, "eve") == 0


def test_a_chargeback_of_a_top_up_whose_answer_was_lost_waits_for_that(office: Office, bank: Bank) -> None:
    bank.lost = 1
    with pytest.raises(Unavailable):
        office.top_up("eve", 500)
    [made] = bank.taken.values()
    bank.back["back-1"] = Receipt(None, "back-1", Outcome.SUCCEEDED, Minor(300), takes_back=made.gateway_id)
    asyncio.run(office.payments.look_back("back-1"))
    assert (office.available("eve"), owed(office, "eve")) == (200, 0)


def test_one_that_was_over_before_it_was_heard_of_moves_nothing_in_all(office: Office, bank: Bank) -> None:
    bank.takes_back(office.top_up("eve", 500), 300, Outcome.FAILED)
    assert [d for d in office.reconcile().differences if d.gateway_id] == []
    assert (office.available("eve"), owed(office, "eve")) == (500, 0)


def test_one_that_has_taken_nothing_yet_is_not_booked(office: Office, bank: Bank) -> None:
    name = bank.takes_back(office.top_up("eve", 500), 300, Outcome.PENDING)
    assert asyncio.run(office.payments.look_back(name)) is None
    assert office.available("eve") == 500


def test_money_that_is_held_or_was_not_paid_in_here_is_not_paid_out(office: Office) -> None:
    office.top_up("eve", 500)
    assert refused(lambda: office.withdraw("eve", 501)) == Reason.INSUFFICIENT_FUNDS
    assert refused(lambda: office.withdraw("ann", 1)) == Reason.WITHDRAWAL_NOT_COVERED  # another gateway's money
    Story(office.cloud, user="ann").until_authorized()
    held = office.cloud.balance("ann")
    assert refused(lambda: office.withdraw("ann", held.available_minor + 1)) == Reason.INSUFFICIENT_FUNDS


@pytest.mark.parametrize(
    ("paid", "reason"),
    [
        (money(0), Reason.AMOUNT_NOT_POSITIVE),
        (money(-1), Reason.AMOUNT_NOT_POSITIVE),
        (money(10**12 + 1), Reason.AMOUNT_TOO_LARGE),
        (money(1, Currency("EUR")), Reason.CURRENCY_MISMATCH),
    ],
)
def test_such_amounts_are_not_paid_either_way(office: Office, paid: Money, reason: Reason) -> None:
    ann, sun = office.account("ann"), ProviderId(office.cloud.roster["sun"].id)
    payments = office.payments
    for asked in (
        payments.top_up(ann, REQUEST, paid),
        payments.withdraw(ann, REQUEST, paid),
        payments.pay_out(sun, REQUEST, paid),
    ):
        with pytest.raises(Rejected) as refusal:
            asyncio.run(asked)
        assert refusal.value.reason == reason


# Paying providers


@pytest.fixture
def earned(office: Office) -> int:
    """What a provider has earned by an order that nobody disputes any more, with an account set to be paid to."""
    Story(office.cloud).until_settled()
    office.cloud.pass_s(100 * 3_600)
    ask(office, "SetPayoutAccount", pb.SetPayoutAccountRequest(provider_name="sun", destination="acct_1"))
    return office.available("sun")


def ask(office: Office, method: str, request: Any) -> Any:
    constant = Constant(office.cloud.path, CNY, ROOT.public, b"secret", office.payments._known_gateway)
    return asyncio.run(Direct(office.cloud.readers, constant, office.cloud.process).ask(method, request))


def test_a_payout_pays_what_was_earned_once(office: Office, bank: Bank, earned: int) -> None:
    for _ in range(2):
        paid = office.pay_out("sun", earned - 1)
        assert (paid.state, paid.destination) == (PaymentState.SUCCEEDED, "acct_1")
    assert (office.available("sun"), len(bank.taken)) == (1, 1)
    assert refused(lambda: office.pay_out("sun", 2, ANOTHER)) == Reason.PAYOUT_TOO_LARGE


def test_what_a_user_may_still_dispute_is_not_paid_out(office: Office) -> None:
    Story(office.cloud).until_settled()
    assert office.available("sun") > 0
    assert refused(lambda: office.pay_out("sun", 1)) == Reason.PAYOUT_TOO_LARGE


def test_two_payouts_of_one_batch_do_not_pay_more_than_was_earned(office: Office, earned: int) -> None:
    begin = partial(paying.begin_payout, provider=ProviderId(office.cloud.roster["sun"].id), paid=money(earned), gateway="bank")
    answers: list[Any] = []
    outcome = office.cloud.process(*(Command(partial(begin, request=r), answers.append) for r in (REQUEST, ANOTHER)))
    kinds = [type(answer) for _, answer in outcome.replies]
    assert (kinds, office.available("sun")) == ([Payment, Rejected], 0)


def test_a_payout_that_fails_is_the_provider_s_again(office: Office, bank: Bank, earned: int) -> None:
    bank.says = Outcome.FAILED
    assert office.pay_out("sun", earned).state is PaymentState.FAILED
    assert office.available("sun") == earned


def test_a_payout_needs_to_know_where(office: Office) -> None:
    Story(office.cloud).until_settled()
    office.cloud.pass_s(100 * 3_600)
    assert refused(lambda: office.pay_out("sun", 1)) == Reason.PAYOUT_ACCOUNT


def test_the_operator_pays_lists_and_reconciles_and_each_act_is_recorded(office: Office, earned: int) -> None:
    paid = ask(office, "PayOut", pb.PayOutRequest(request_id=REQUEST, provider_name="sun", amount_minor=earned))
    assert (paid.payment.state, paid.payment.party_name) == ("SUCCEEDED", "sun")
    listed = ask(office, "ListPayments", pb.ListPaymentsRequest())
    assert (listed.payments[0].purpose, listed.payments[0].party_name) == ("PAYOUT", "sun")
    assert ask(office, "ReconcilePayments", pb.ReconcilePaymentsRequest()).compared == 1
    acts = ask(office, "ListActs", pb.ListActsRequest()).acts
    assert [a.act for a in acts] == ["payment reconcile", "payment payout", "payment account"]


# Gateway against ledger


@pytest.mark.parametrize(
    ("spoil", "problem"),
    [
        (lambda bank, one: bank.taken.pop(one.payment_id), "the gateway does not know it"),
        (
            lambda bank, one: bank.taken.update({one.payment_id: replace(one, amount_minor=1)}),
            "the gateway says 1, the cloud 500",
        ),
        (lambda bank, one: bank.taken.update({"x": replace(one, payment_id="x")}), "the cloud does not know it"),
        (lambda bank, one: bank.taken.update({"x": one}), "the gateway has it twice"),
        (
            lambda bank, one: bank.taken.update({"x": replace(one, payment_id=None)}),
            "it was made at the gateway, not by this cloud",
        ),
        (lambda bank, one: bank.now_says(Outcome.FAILED), "the gateway says failed, the cloud succeeded"),
    ],
)
def test_what_only_one_side_knows_is_named(office: Office, bank: Bank, spoil: Any, problem: str) -> None:
    office.top_up("eve", 500)
    assert office.reconcile().differences == ()
    spoil(bank, next(iter(bank.taken.values())))
    assert [d.problem for d in office.reconcile().differences] == [problem]


def test_a_row_of_the_ledger_that_no_payment_made_is_named(office: Office) -> None:
    office.top_up("eve", 500)
    office.cloud.driver.execute("UPDATE payments SET amount_minor = 400 WHERE gateway = 'bank'")
    office.cloud.driver.commit()
    problems = [d.problem for d in office.reconcile().differences]
    assert problems == ["the ledger has moved 500, the payment says 400", "the gateway says 500, the cloud 400"]


# The table, and the sandbox's place


@given(st.sampled_from(Purpose), st.lists(st.sampled_from(Outcome), max_size=6))
def test_whatever_a_gateway_says_money_moves_at_most_once_each_way(purpose: Purpose, said: list[Outcome]) -> None:
    payment = Payment(payment_id(purpose, ACCOUNT, REQUEST), purpose, user_account(ACCOUNT), Minor(7), T0, "bank")
    moved = list(opening(payment))
    for outcome in said:
        state, transfers = concluded(payment, outcome, T0)
        payment, moved = replace(payment, state=state), [*moved, *transfers]
    assert {transfer.id: transfer.amount_minor for transfer in moved} == movements(payment)
    assert len(moved) == len({transfer.id for transfer in moved})
    balance = sum(7 if transfer.debit == FUNDING else -7 for transfer in moved)
    assert balance in ((0, 7) if purpose is Purpose.TOP_UP else (-7, 0))


def test_only_what_the_table_names_changes_a_payment() -> None:
    for state in PaymentState:
        for outcome in Outcome:
            payment = Payment(PaymentId("out/1"), Purpose.PAYOUT, user_account(ACCOUNT), Minor(7), T0, "bank", state)
            after, transfers = concluded(payment, outcome, T0)
            assert after is NEXT.get((state, outcome), state)
            assert (len(transfers) == 1) is (after is not state and after in (PaymentState.FAILED, PaymentState.REVERSED))


@given(st.integers(1, 100), st.lists(st.integers(0, 40), max_size=5))
def test_a_withdrawal_is_divided_whole_or_not_at_all(amount: int, rests: list[int]) -> None:
    refundable = [(PaymentId(str(number)), Minor(rest)) for number, rest in enumerate(rests)]
    if amount > sum(rests):
        assert refused(lambda: split(Minor(amount), refundable)) == Reason.WITHDRAWAL_NOT_COVERED
        return
    parts = split(Minor(amount), refundable)
    assert sum(part for _, part in parts) == amount
    assert all(0 < part <= dict(refundable)[name] for name, part in parts)


@pytest.mark.parametrize(
    ("sandbox", "lines", "problem"),
    [
        (True, "", ""),
        (False, 'payments = "sandbox"', "only a cloud that was made with init --sandbox has a sandbox"),
        (False, 'payments = "stripe"', "needs a table [stripe] with pay_page"),
        (
            False,
            'payments = "stripe"\n[stripe]\npay_page = "https://pay.example.org"',
            "a key of Stripe is expected in this file",
        ),
        (False, 'payments = "barter"', "money.payments"),
    ],
)
def test_a_cloud_takes_payments_only_as_it_was_made_to(tmp_path: Path, sandbox: bool, lines: str, problem: str) -> None:
    home = CloudHome(tmp_path / "cloud")
    home.init(("localhost",), "CNY", T0, sandbox=sandbox)
    file = home.path / "cloud.toml"
    file.write_text(file.read_text().replace('payments = "none"', lines))
    if not problem:
        gateway = home.gateway(home.config())
        assert gateway is not None
        assert gateway.name == "sandbox"
        return
    with pytest.raises(ConfigError) as error:
        home.gateway(home.config())
    assert problem in str(error.value)
    assert 'payments = "none"' in file.read_text() or lines
