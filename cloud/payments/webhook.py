"""Where Stripe says that a payment has changed: one small HTTP endpoint on an address of its own.

A message counts only with Stripe's signature, at most five minutes old, and then only as a hint: how the payment stands is
asked of Stripe itself, so that a message that comes twice, late or out of order can't move money. Put a TLS proxy before it.
"""

import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import msgspec
import stripe
from aiohttp import web

from cloud.domain.funds import Payment, PaymentId
from cloud.payments.stripe_gateway import METADATA
from energyshare.errors import Unavailable

PATH = "/stripe"
BODY_MAX = 256 * 1024
OLDEST_S = 300
logger = logging.getLogger(__name__)
Look = Callable[[PaymentId], Awaitable[Payment | None]]


class _About(msgspec.Struct):
    metadata: dict[str, str] | None = None


class _Data(msgspec.Struct):
    object: _About


class _Event(msgspec.Struct):
    data: _Data


def application(look: Look, secret: str) -> web.Application:
    """Give what answers Stripe. 200: taken; 400: not Stripe's; 503: come again."""

    async def take(request: web.Request) -> web.Response:
        name = _payment_named(await request.read(), request.headers.get("Stripe-Signature", ""), secret)
        if name is not None:
            await _look_at(look, name)
        return web.Response()

    made = web.Application(client_max_size=BODY_MAX)
    made.router.add_post(PATH, take)
    return made


@asynccontextmanager
async def listening(look: Look, secret: str, listen: str) -> AsyncIterator[None]:
    """Listen for Stripe on HOST:PORT; raises Unavailable when that address is taken."""
    runner = web.AppRunner(application(look, secret), access_log=None)
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


def _payment_named(body: bytes, signature: str, secret: str) -> PaymentId | None:
    """Check a message, and give the payment that it is about, if that is one of ours."""
    try:
        stripe.WebhookSignature.verify_header(body.decode(), signature, secret, OLDEST_S)
        metadata = msgspec.json.decode(body, type=_Event).data.object.metadata or {}
    except (stripe.SignatureVerificationError, UnicodeDecodeError, msgspec.DecodeError):
        logger.warning("a webhook that is not Stripe's was refused")
        raise web.HTTPBadRequest from None
    name = metadata.get(METADATA)
    return PaymentId(name) if name else None


async def _look_at(look: Look, name: PaymentId) -> None:
    try:
        await look(name)
    except Unavailable:
        raise web.HTTPServiceUnavailable from None
