"""Where Stripe says that a payment has changed: one small HTTP endpoint on an address of its own.

A message counts only with Stripe's signature, at most five minutes old, and then only as a hint: how the payment stands is
asked of Stripe itself, so that a message that comes twice, late or out of order can't move money. Put a TLS proxy before it.
"""

import logging
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from typing import Protocol

import msgspec
import stripe
from aiohttp import web

from cloud.domain.funds import Payment, PaymentId
from cloud.payments.stripe_gateway import METADATA
from energyshare.errors import Unavailable

PATH = "/stripe"
BODY_MAX = 256 * 1024
OLDEST_S = 300
STOP_WITHIN_S = 2.0
logger = logging.getLogger(__name__)
TAKING_BACK = ("dispute", "refund")


class Asked(Protocol):
    """What is asked about what a message hints at."""

    def look(self, name: PaymentId) -> Awaitable[Payment | None]:
        """Ask about a payment of ours."""

    def look_back(self, gateway_id: str) -> Awaitable[Payment | None]:
        """Ask about a top-up that was given back."""


class _About(msgspec.Struct):
    object: str = ""
    id: str = ""
    metadata: dict[str, str] | None = None


class _Data(msgspec.Struct):
    object: _About


class _Event(msgspec.Struct):
    data: _Data


def application(payments: Asked, secret: str) -> web.Application:
    """Give what answers Stripe. 200: taken; 400: not Stripe's; 503: come again."""

    async def take(request: web.Request) -> web.Response:
        about = _opened(await request.read(), request.headers.get("Stripe-Signature", ""), secret)
        try:
            await _look_at(payments, about)
        except Unavailable:
            raise web.HTTPServiceUnavailable from None
        return web.Response()

    made = web.Application(client_max_size=BODY_MAX)
    made.router.add_post(PATH, take)
    return made


@asynccontextmanager
async def listening(payments: Asked, secret: str, listen: str) -> AsyncIterator[None]:
    """Listen for Stripe on HOST:PORT; raises Unavailable when that address is taken."""
    runner = web.AppRunner(application(payments, secret), access_log=None, shutdown_timeout=STOP_WITHIN_S)
    await runner.setup()
    host, _, port = listen.rpartition(":")
    try:
        await web.TCPSite(runner, host, int(port)).start()
    except OSError as error:
        await runner.cleanup()
        raise Unavailable(f"can't listen on {listen}", "change webhook_listen in cloud.toml") from error
    try:
        yield
    finally:
        await runner.cleanup()


def _opened(body: bytes, signature: str, secret: str) -> _About:
    """Check a message, and give what it is about."""
    try:
        stripe.WebhookSignature.verify_header(body.decode(), signature, secret, OLDEST_S)
        return msgspec.json.decode(body, type=_Event).data.object
    except (stripe.SignatureVerificationError, UnicodeDecodeError, msgspec.DecodeError):
        logger.warning("a webhook that is not Stripe's was refused")
        raise web.HTTPBadRequest from None


async def _look_at(payments: Asked, about: _About) -> None:
    """Ask about a payment of ours, or about one that was given back; any other is left alone."""
    name = (about.metadata or {}).get(METADATA)
    if name:
        await payments.look(PaymentId(name))
    elif about.object in TAKING_BACK:
        await payments.look_back(about.id)
