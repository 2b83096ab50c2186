"""A cloud that takes real payments, against a local Stripe: processes, webhooks, a kill between payment and credit."""

import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from energyshare.errors import Reason
from tests.cluster import Cluster, Failed, free_port, until
from tests.local_stripe import SECRET_KEY, WEBHOOK_SECRET, LocalStripe, local_stripe

SETTINGS = """
[stripe]
pay_page = "https://pay.example.org/"
webhook_listen = "127.0.0.1:{port}"
api = "{api}"
"""


@pytest.fixture(scope="module")
def server() -> Iterator[LocalStripe]:
    with local_stripe() as made:
        yield made


@pytest.fixture(scope="module")
def webhook_port() -> int:
    return free_port()


@pytest.fixture(scope="module")
def cloud(server: LocalStripe, webhook_port: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    one = Cluster(tmp_path_factory.mktemp("stripe"))
    one.run("energyshare-cloud", "init", home="cloud", extra=["--name", "127.0.0.1"])
    home = one.home("cloud")
    _set_up(home, SETTINGS.format(port=webhook_port, api=server.api))
    try:
        one.start_cloud()
        server.send_webhooks_to(f"http://127.0.0.1:{webhook_port}/stripe")
        one.add_user("ann")
        yield one
    finally:
        one.stop()


def _set_up(home: Path, settings: str) -> None:
    toml = home / "cloud.toml"
    toml.write_text(toml.read_text().replace('payments = "none"', 'payments = "stripe"') + settings)
    (home / "stripe.key").write_text(SECRET_KEY + "\n")
    (home / "stripe-webhook.key").write_text(WEBHOOK_SECRET + "\n")


def asked_to_pay(cloud: Cluster, amount: str) -> str:
    """Top up; gives the intent that waits for its payer."""
    answer = cloud.user("ann", "wallet", "top-up", amount)
    assert answer["state"] == "PENDING"
    return str(answer["pay_url"]).partition("#")[2].partition("_secret_")[0]


def available(cloud: Cluster) -> int:
    return int(cloud.user("ann", "wallet", "show")["available_minor"])


def reconciled(cloud: Cluster) -> Any:
    found = cloud.operator("payment", "reconcile")
    assert found["differences"] == []
    return found


def test_what_was_paid_on_stripe_s_page_is_in_the_wallet_and_can_be_taken_out(cloud: Cluster, server: LocalStripe) -> None:
    before = available(cloud)
    intent = asked_to_pay(cloud, "100")
    assert available(cloud) == before
    server.pay(intent)
    until("the webhook", lambda: available(cloud) == before + 10_000)
    taken = cloud.user("ann", "wallet", "withdraw", "40")
    assert [part["state"] for part in taken["parts"]] == ["SUCCEEDED"]
    assert available(cloud) == before + 6_000
    reconciled(cloud)
    assert cloud.operator("ledger", "check")["fault"] == ""


def test_a_cloud_that_was_down_when_stripe_called_asks_by_itself_when_it_starts(cloud: Cluster, server: LocalStripe) -> None:
    before = available(cloud)
    intent = asked_to_pay(cloud, "25")
    assert cloud.cloud is not None
    cloud.cloud.kill()
    server.pay(intent)
    cloud.start_cloud()
    until("the answer", lambda: available(cloud) == before + 2_500)
    reconciled(cloud)


def test_a_payer_that_disputes_with_its_bank_has_it_taken_from_the_wallet(cloud: Cluster, server: LocalStripe) -> None:
    before = available(cloud)
    intent = asked_to_pay(cloud, "30")
    server.pay(intent)
    until("the webhook", lambda: available(cloud) == before + 3_000)
    server.dispute(intent, 3_000)
    until("the chargeback", lambda: available(cloud) == before)
    assert cloud.operator("alert", "list")["alerts"][0]["kind"] == "CHARGEBACK"
    reconciled(cloud)
    assert cloud.operator("ledger", "check")["fault"] == ""


def test_more_than_the_wallet_holds_is_not_taken_out(cloud: Cluster) -> None:
    with pytest.raises(Failed, match=Reason.INSUFFICIENT_FUNDS):
        cloud.user("ann", "wallet", "withdraw", "1000000")


@pytest.mark.parametrize("signature", ["", "t=1,v1=00", "nonsense"])
def test_a_webhook_without_stripe_s_signature_is_refused(cloud: Cluster, webhook_port: int, signature: str) -> None:
    body = b'{"data": {"object": {"metadata": {"energyshare_payment": "top-up/1"}}}}'
    forged = urllib.request.Request(f"http://127.0.0.1:{webhook_port}/stripe", body, {"Stripe-Signature": signature})
    with pytest.raises(urllib.error.HTTPError) as refusal:
        urllib.request.urlopen(forged, timeout=10)
    assert refusal.value.code == 400
    refusal.value.close()


def test_a_home_without_a_gateway_takes_no_payments(tmp_path: Path) -> None:
    one = Cluster(tmp_path)
    try:
        one.run("energyshare-cloud", "init", home="cloud", extra=["--name", "127.0.0.1"])
        one.start_cloud()
        one.add_user("ann")
        with pytest.raises(Failed, match=Reason.NO_PAYMENT_GATEWAY):
            one.user("ann", "wallet", "top-up", "1")
        with pytest.raises(Failed, match=Reason.NO_PAYMENT_GATEWAY):
            one.operator("payment", "reconcile")
    finally:
        one.stop()
