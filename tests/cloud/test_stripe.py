"""The Stripe gateway against a local Stripe: intents, refunds, transfers, lost answers, keys that are forgotten."""

import asyncio
from collections.abc import Iterator
from functools import partial

import pytest

from cloud import paying
from cloud.domain.funds import Payment, PaymentState
from cloud.payments.stripe_gateway import StripeGateway
from cloud.payments.stripe_settings import StripeSettings
from energyshare.errors import Reason, Unavailable
from energyshare.values import DAY_S, Currency, ProviderId
from tests.cloud.actors import Cloud
from tests.cloud.office import ANOTHER, REQUEST, THIRD, Office, money, refused
from tests.cloud.story import Story
from tests.local_stripe import BAD_CARD, SECRET_KEY, WEBHOOK_SECRET, LocalStripe, local_stripe

PAGE = "https://pay.example.org/"


@pytest.fixture(scope="module")
def running() -> Iterator[LocalStripe]:
    with local_stripe() as made:
        yield made


@pytest.fixture
def server(running: LocalStripe) -> LocalStripe:
    running.empty()
    return running


@pytest.fixture
def gateway(server: LocalStripe, cloud: Cloud) -> StripeGateway:
    return gateway_of(server, cloud)


@pytest.fixture
def office(cloud: Cloud, gateway: StripeGateway) -> Office:
    return Office(cloud, gateway)


def gateway_of(server: LocalStripe, cloud: Cloud, key: str = SECRET_KEY) -> StripeGateway:
    settings = StripeSettings(key, WEBHOOK_SECRET, "127.0.0.1:0", PAGE, server.api)
    return StripeGateway(settings, Currency("CNY"), lambda: cloud.now)


def paid_in(office: Office, server: LocalStripe, amount: int) -> Payment:
    """Top up, pay, and have the cloud look."""
    asked = office.top_up("eve", amount)
    server.pay(asked.gateway_id)
    looked = asyncio.run(office.payments.look(asked.id))
    assert looked is not None
    return looked


def differences_of(office: Office, payment: Payment) -> list[str]:
    return [d.problem for d in office.reconcile().differences if d.payment_id == payment.id]


def test_a_top_up_waits_for_its_payer_and_says_where_to_pay(office: Office) -> None:
    account = office.account("eve")
    payment, url = asyncio.run(office.payments.top_up(account, REQUEST, money(500)))
    again, same_url = asyncio.run(office.payments.top_up(account, REQUEST, money(500)))
    assert (payment.state, again.gateway_id, same_url) == (PaymentState.PENDING, payment.gateway_id, url)
    assert url.startswith(f"{PAGE}#{payment.gateway_id}_secret_")
    assert office.available("eve") == 0


def test_a_top_up_that_was_paid_is_in_the_wallet_once(office: Office, server: LocalStripe) -> None:
    payment = paid_in(office, server, 500)
    assert (payment.state, office.available("eve")) == (PaymentState.SUCCEEDED, 500)
    asyncio.run(office.payments.look(payment.id))
    assert (office.available("eve"), differences_of(office, payment)) == (500, [])


def test_a_card_that_is_declined_leaves_the_top_up_open_for_another(office: Office, server: LocalStripe) -> None:
    asked = office.top_up("eve", 500)
    with pytest.raises(Exception, match="declined"):
        server.pay(asked.gateway_id, BAD_CARD)
    looked = asyncio.run(office.payments.look(asked.id))
    assert looked is not None
    assert (looked.state, looked.problem) == (PaymentState.PENDING, "Your card was declined.")


def test_an_intent_that_was_called_off_ends_its_top_up(office: Office, server: LocalStripe) -> None:
    asked = office.top_up("eve", 500)
    server.client.payment_intents.cancel(asked.gateway_id)
    assert office.top_up("eve", 500).state is PaymentState.FAILED
    assert office.available("eve") == 0


def test_a_withdrawal_refunds_the_payment_that_it_came_from(office: Office, server: LocalStripe) -> None:
    payment = paid_in(office, server, 500)
    for _ in range(2):
        (part,) = office.withdraw("eve", 200)
        assert part.state is PaymentState.SUCCEEDED
    refunds = list(server.client.refunds.list({"payment_intent": payment.gateway_id}).data)
    assert [(r.id, r.amount) for r in refunds] == [(part.gateway_id, 200)]
    assert (office.available("eve"), differences_of(office, part)) == (300, [])


def test_a_call_whose_answers_are_lost_is_retried_and_moves_money_once(office: Office, server: LocalStripe) -> None:
    payment = paid_in(office, server, 500)
    server.lose(2)
    assert [part.state for part in office.withdraw("eve", 200)] == [PaymentState.SUCCEEDED]
    assert len(server.client.refunds.list({"payment_intent": payment.gateway_id}).data) == 1


def test_a_call_that_is_never_answered_stays_open_until_it_is_reconciled(office: Office, server: LocalStripe) -> None:
    payment = paid_in(office, server, 500)
    server.lose(4)  # the first call and its three retries
    assert [part.state for part in office.withdraw("eve", 200)] == [PaymentState.CREATED]
    assert office.available("eve") == 300
    office.reconcile()
    (part,) = office.withdraw("eve", 200)
    assert (part.state, office.available("eve")) == (PaymentState.SUCCEEDED, 300)
    assert len(server.client.refunds.list({"payment_intent": payment.gateway_id}).data) == 1


@pytest.mark.parametrize(("was_made", "state", "left"), [(True, "SUCCEEDED", 300), (False, "FAILED", 500)])
def test_once_stripe_may_have_forgotten_a_key_the_payment_is_looked_for(
    cloud: Cloud, server: LocalStripe, was_made: bool, state: str, left: int
) -> None:
    office = Office(cloud, gateway_of(server, cloud))
    payment = paid_in(office, server, 500)
    if was_made:
        server.lose(4)
        office.withdraw("eve", 200)
    else:
        account = office.account("eve")
        cloud.run(partial(paying.begin_withdrawal, account=account, request=ANOTHER, paid=money(200), gateway="stripe"))
    cloud.pass_s(2 * DAY_S)
    (part,) = office.withdraw("eve", 200)
    assert (part.state, office.available("eve")) == (state, left)
    assert len(server.client.refunds.list({"payment_intent": payment.gateway_id}).data) == int(was_made)


def test_a_payout_is_a_transfer_to_the_provider_s_account(office: Office, server: LocalStripe) -> None:
    earned = earned_by_sun(office, "acct_1")
    for _ in range(2):
        paid = office.pay_out("sun", earned)
        assert paid.state is PaymentState.SUCCEEDED
    made = server.client.transfers.retrieve(paid.gateway_id)
    assert (made.amount, made.destination) == (earned, "acct_1")
    assert (office.available("sun"), differences_of(office, paid)) == (0, [])


def test_a_payout_that_stripe_refuses_is_the_provider_s_again(office: Office) -> None:
    earned = earned_by_sun(office, "nowhere")
    assert office.pay_out("sun", earned).state is PaymentState.FAILED
    assert office.available("sun") == earned


def test_a_key_that_stripe_does_not_know_moves_nothing_and_ends_nothing(cloud: Cloud, server: LocalStripe) -> None:
    office = Office(cloud, gateway_of(server, cloud, key="wrong"))
    with pytest.raises(Unavailable):
        office.top_up("eve", 500, THIRD)
    assert len(asyncio.run(office.payments.advance_open())) == 1


def test_what_was_refunded_on_stripe_s_page_leaves_the_wallet(office: Office, server: LocalStripe) -> None:
    payment = paid_in(office, server, 500)
    refund = server.client.refunds.create({"payment_intent": payment.gateway_id, "amount": 100})
    assert [d for d in office.reconcile().differences if d.gateway_id] == []
    looked = asyncio.run(office.payments.look_back(refund.id))
    assert looked is not None
    assert (looked.state, office.available("eve")) == (PaymentState.SUCCEEDED, 400)
    assert refused(lambda: office.withdraw("eve", 401)) is Reason.INSUFFICIENT_FUNDS
    office.withdraw("eve", 400)


def test_what_was_paid_past_the_cloud_is_a_difference_also_when_it_was_given_back(office: Office, server: LocalStripe) -> None:
    stranger = server.client.payment_intents.create({"amount": 70, "currency": "cny"})
    server.pay(stranger.id)
    server.client.refunds.create({"payment_intent": stranger.id, "amount": 70})
    made = [d.problem for d in office.reconcile().differences if d.gateway_id]
    assert made == ["it was made at the gateway, not by this cloud"] * 2


def test_what_was_given_back_in_another_currency_is_left_to_people(office: Office, server: LocalStripe) -> None:
    payment = paid_in(office, server, 500)
    server.dispute(payment.gateway_id, 300, currency="usd")
    assert [d.problem for d in office.reconcile().differences if d.gateway_id] == [
        "it was made at the gateway, not by this cloud"
    ]
    assert office.available("eve") == 500


@pytest.mark.parametrize(
    ("status", "left"),
    [
        ("charge_refunded", 500),
        ("warning_needs_response", 500),
        ("needs_response", 200),
        ("under_review", 200),
        ("lost", 200),
        ("won", 500),
    ],
)
def test_a_disputed_top_up_leaves_the_wallet_until_the_bank_has_decided(
    office: Office, server: LocalStripe, status: str, left: int
) -> None:
    payment = paid_in(office, server, 500)
    dispute = server.dispute(payment.gateway_id, 300, status)
    for _ in range(2):
        assert [d for d in office.reconcile().differences if d.gateway_id] == []
        assert office.available("eve") == left
    server.decide(dispute, "won")
    asyncio.run(office.payments.look_back(dispute))
    assert office.available("eve") == 500
    assert [d for d in office.reconcile().differences if d.gateway_id] == []


def earned_by_sun(office: Office, destination: str) -> int:
    provider = ProviderId(office.cloud.roster["sun"].id)
    Story(office.cloud).until_settled()
    office.cloud.pass_s(100 * 3_600)
    office.cloud.run(partial(paying.set_payout_account, provider=provider, destination=destination))
    return office.available("sun")
