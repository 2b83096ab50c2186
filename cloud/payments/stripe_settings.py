"""How to reach Stripe."""

from msgspec import Struct


class StripeSettings(Struct, frozen=True):
    """Keys and addresses. `pay_page` is the operator's page on which users pay with Stripe's elements."""

    secret_key: str
    webhook_secret: str
    webhook_listen: str
    pay_page: str
    api: str
