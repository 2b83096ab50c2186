"""Stripe, as `localstripe` plays it, on loopback; with what it lacks and payments rely on.

Started as `python -m tests.local_stripe PORT`. Added here: idempotency keys, transfers, disputes, lists by time of creation,
answers that get lost on demand (`POST /_config/lose/N`), and nothing is written to disk. The rest, payment intents, refunds and
signed webhooks, is localstripe's.
"""

import json
import select
import subprocess
import sys
import urllib.request
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import stripe

from tests.cluster import READY_WITHIN_S, free_port

Handler = Callable[[Any], Awaitable[Any]]
SECRET_KEY, WEBHOOK_SECRET = "sk_test_12345", "whsec_12345"
GOOD_CARD, BAD_CARD = "4242424242424242", "4000000000000341"


class LocalStripe:
    """A local Stripe that runs."""

    def __init__(self, port: int) -> None:
        self.api = f"http://127.0.0.1:{port}"
        self.client = stripe.StripeClient(SECRET_KEY, base_addresses={"api": self.api}).v1

    def pay(self, intent: str, card: str = GOOD_CARD) -> None:
        """Pay as a person does on the operator's page."""
        details: Any = {"number": card, "exp_month": 12, "exp_year": 2040, "cvc": "123"}
        method = self.client.payment_methods.create({"type": "card", "card": details})
        self.client.payment_intents.update(intent, {"payment_method": method.id})
        self.client.payment_intents.confirm(intent)

    def dispute(self, intent: str, amount: int, status: str = "needs_response", currency: str = "cny") -> str:
        """Have a payer dispute a payment with the bank; gives the dispute's id."""
        fields: Any = {"payment_intent": intent, "amount": amount, "status": status, "currency": currency}
        return str(self._configure("dispute", fields)["id"])

    def decide(self, dispute: str, status: str) -> None:
        """Let a dispute be as the bank says."""
        self._configure(f"dispute/{dispute}", {"status": status})

    def lose(self, answers: int) -> None:
        """Lose so many answers to calls that make something, after they were done."""
        self._configure(f"lose/{answers}", {})

    def empty(self) -> None:
        """Forget everything."""
        self._configure("empty", {})

    def send_webhooks_to(self, url: str) -> None:
        """Send signed webhooks there from now on."""
        self._configure("webhooks/test", {"url": url, "secret": WEBHOOK_SECRET})

    def _configure(self, what: str, fields: Any) -> Any:
        headers = {"Content-Type": "application/json"}
        asked = urllib.request.Request(f"{self.api}/_config/{what}", json.dumps(fields).encode(), headers)
        with urllib.request.urlopen(asked, timeout=10) as answer:
            return json.loads(answer.read() or b"null")


@contextmanager
def local_stripe() -> Iterator[LocalStripe]:
    """Give a local Stripe, empty."""
    port = free_port()
    command = [sys.executable, "-m", "tests.local_stripe", str(port)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            assert select.select([process.stdout], [], [], READY_WITHIN_S)[0]
            process.stdout.readline()
            yield LocalStripe(port)
        finally:
            process.terminate()


def main(port: int) -> None:
    """Serve until terminated."""
    from aiohttp import web
    from localstripe import resources
    from localstripe.server import api_create, api_list_all, api_retrieve, app

    class Transfer(resources.StripeObject):  # type: ignore[misc]
        object = "transfer"
        _id_prefix = "tr_"

        def __init__(self, amount: Any, currency: str, destination: str, metadata: Any = None) -> None:
            if not destination.startswith("acct_"):
                raise resources.UserError(400, "No such destination")
            super().__init__()
            self.amount, self.currency, self.destination = int(amount), currency, destination
            self.metadata, self.reversed = metadata or {}, False

    class Dispute(resources.StripeObject):  # type: ignore[misc]
        object = "dispute"
        _id_prefix = "dp_"

        def __init__(self, payment_intent: str, amount: int, status: str, currency: str) -> None:
            super().__init__()
            self.payment_intent, self.amount, self.currency = payment_intent, amount, currency
            self.status, self.reason = status, "fraudulent"
            resources.schedule_webhook(resources.Event("charge.dispute.created", self))

        def _become(self, status: str) -> None:
            """Move on, and tell."""
            self.status = status
            resources.schedule_webhook(resources.Event("charge.dispute.updated", self))

    async def dispute(request: Any) -> Any:
        return web.json_response(Dispute(**await request.json())._export())

    async def decide(request: Any) -> Any:
        Dispute._api_retrieve(request.match_info["id"])._become((await request.json())["status"])
        return web.Response()

    app.router.add_get("/v1/disputes", api_list_all(Dispute, "/v1/disputes"))
    app.router.add_get("/v1/disputes/{id}", api_retrieve(Dispute, "/v1/disputes"))
    app.router.add_post("/_config/dispute", dispute)
    app.router.add_post("/_config/dispute/{id}", decide)
    app.router.add_post("/v1/transfers", api_create(Transfer, "/v1/transfers"))
    app.router.add_get("/v1/transfers", api_list_all(Transfer, "/v1/transfers"))
    app.router.add_get("/v1/transfers/{id}", api_retrieve(Transfer, "/v1/transfers"))
    for kind in (resources.PaymentIntent, resources.Refund, Transfer, Dispute):
        kind._api_list_all = _by_creation(kind._api_list_all)
    resources.Store.dump_to_disk = lambda store: None
    faults: dict[str, int] = {}
    answers: dict[str, tuple[int, bytes]] = {}

    async def lose(request: Any) -> Any:
        faults["lose"] = int(request.match_info["answers"])
        return web.Response()

    async def empty(request: Any) -> Any:
        for kept in (faults, answers, resources.store):
            kept.clear()
        return web.Response()

    app.router.add_post("/_config/lose/{answers}", lose)
    app.router.add_post("/_config/empty", empty)
    app.middlewares.insert(0, _idempotent(faults, answers))
    web.run_app(app, host="127.0.0.1", port=port, print=lambda line: print(line, flush=True))


def _by_creation(list_all: Callable[..., Any]) -> Callable[..., Any]:
    def listed(url: str, created: Any = None, **fields: Any) -> Any:
        found = list_all(url, **fields)
        since = int((created or {}).get("gte", 0))
        found._list = [one for one in found._list if one.created >= since]
        return found

    return listed


def _idempotent(faults: dict[str, int], answers: dict[str, tuple[int, bytes]]) -> Handler:
    """Answer a key that was seen with the first answer; lose answers where that was asked for."""
    from aiohttp import web

    @web.middleware
    async def answered(request: Any, handler: Handler) -> Any:
        key = request.headers.get("Idempotency-Key")
        if request.method != "POST" or key is None or not request.path.startswith("/v1/"):
            return await handler(request)
        if key not in answers:
            first = await handler(request)
            answers[key] = (first.status, first.body)
        if faults.get("lose"):
            faults["lose"] -= 1
            return web.Response(status=500, text='{"error": {"message": "lost"}}', content_type="application/json")
        status, body = answers[key]
        return web.Response(status=status, body=body, content_type="application/json")

    return answered  # type: ignore[return-value]


if __name__ == "__main__":
    main(int(sys.argv[1]))
