"""The payments of a test's cloud: asked for as the gateway does, each run to its end."""

import asyncio
from typing import Any

import pytest

from cloud.domain.funds import Payment
from cloud.payments.gateway import Gateway
from cloud.payments.payments import Payments
from energyshare.errors import Reason, Rejected
from energyshare.values import AccountId, Currency, Minor, Money, ProviderId, RequestId
from tests.cloud.actors import CNY, Cloud

REQUEST, ANOTHER, THIRD = (RequestId(bytes([n]) * 16) for n in (1, 2, 3))


class Office:
    """The payments of a test's cloud, run to their end."""

    def __init__(self, cloud: Cloud, gateway: Gateway | None) -> None:
        self.cloud = cloud
        self.payments = Payments(gateway, self._call, cloud.readers)

    def account(self, name: str) -> AccountId:
        return AccountId(self.cloud.roster[name].owner)

    def top_up(self, name: str, amount: int, request: RequestId = REQUEST) -> Payment:
        return asyncio.run(self.payments.top_up(self.account(name), request, money(amount)))[0]

    def withdraw(self, name: str, amount: int, request: RequestId = ANOTHER) -> list[Payment]:
        return asyncio.run(self.payments.withdraw(self.account(name), request, money(amount)))

    def pay_out(self, name: str, amount: int, request: RequestId = REQUEST) -> Payment:
        provider = ProviderId(self.cloud.roster[name].id)
        return asyncio.run(self.payments.pay_out(provider, request, money(amount)))

    def reconcile(self) -> Any:
        return asyncio.run(self.payments.reconcile())

    def available(self, name: str) -> int:
        assert self.cloud.audit().fault == ""
        return self.cloud.balance(name).available_minor

    async def _call(self, run: Any) -> Any:
        answer = self.cloud.run(run)
        if isinstance(answer, Rejected):
            raise answer
        return answer


def money(amount: int, currency: Currency = CNY) -> Money:
    return Money(currency, Minor(amount))


def refused(run: Any) -> Reason:
    with pytest.raises(Rejected) as refusal:
        run()
    return refusal.value.reason
