"""What a running node does for payments besides answering calls."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from cloud.payments.payments import Payments
from cloud.payments.stripe_settings import StripeSettings


@asynccontextmanager
async def kept_going(payments: Payments, settings: StripeSettings | None) -> AsyncIterator[None]:
    """Ask once about payments that a stop left open, and listen for Stripe where that is set."""
    async with AsyncExitStack() as stack:
        if settings is not None:
            from cloud.payments.webhook import listening

            await stack.enter_async_context(listening(payments, settings.webhook_secret, settings.webhook_listen))
        group = await stack.enter_async_context(asyncio.TaskGroup())
        asking = group.create_task(payments.advance_open())
        stack.callback(asking.cancel)
        yield
