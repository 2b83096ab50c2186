"""What a user asks of the cloud's account service, outside of any order: money, and the time for a device that lost it."""

import os
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from google.protobuf.timestamp_pb2 import Timestamp

from energyshare.errors import Rejected
from energyshare.v1 import account_pb2, account_pb2_grpc
from energyshare.values import DeviceId, Minor, Nonce, RequestId
from terminals.account_service import CALL_WITHIN_S, account_service, answer_of, fetch_statement, fetch_wallet
from terminals.stream import Terminal

PAID_WITHIN_S = 90  # the cloud asks its gateway, several times if need be


class Wallet:
    """The money of a user's account, as the cloud has it."""

    def __init__(self, terminal: Terminal) -> None:
        self._terminal = terminal
        self._journal = terminal.journal

    async def show(self) -> account_pb2.GetWalletResponse:
        """Ask for the balance and the latest movements."""
        await self._terminal.renew_if_needed()
        return await fetch_wallet(self._terminal.identity)

    async def statement(self, start: Timestamp, end: Timestamp) -> account_pb2.Statement:
        """Ask for what moved within a period."""
        await self._terminal.renew_if_needed()
        return await fetch_statement(self._terminal.identity, start, end)

    async def top_up(self, amount: Minor) -> account_pb2.TopUpResponse:
        """Pay in. A call whose answer was lost is repeated, and moves the money once."""
        currency = self._terminal.identity.currency
        async with self._once("top-up", amount) as (stub, request):
            paid = account_pb2.TopUpRequest(request_id=request, amount_minor=amount, currency=currency)
            return await answer_of(stub.TopUp(paid, timeout=PAID_WITHIN_S))

    async def withdraw(self, amount: Minor) -> account_pb2.WithdrawResponse:
        """Take money out. A call whose answer was lost is repeated, and moves the money once."""
        currency = self._terminal.identity.currency
        async with self._once("withdrawal", amount) as (stub, request):
            paid = account_pb2.WithdrawRequest(request_id=request, amount_minor=amount, currency=currency)
            return await answer_of(stub.Withdraw(paid, timeout=PAID_WITHIN_S))

    async def fetch_time(self, device: DeviceId, nonce: Nonce) -> tuple[bytes, bytes]:
        """Have the platform sign the time over a device's nonce."""
        asked = account_pb2.StateTimeRequest(device_id=device, nonce=nonce)
        async with self._service() as stub:
            answer = await answer_of(stub.StateTime(asked, timeout=CALL_WITHIN_S))
        return answer.time_statement, answer.grant

    @asynccontextmanager
    async def _once(self, kind: str, amount: Minor) -> AsyncIterator[tuple[account_pb2_grpc.AccountServiceStub, RequestId]]:
        """Give an amount's request id, the one before when its answer never came; any answer, a refusal too, ends it."""
        await self._terminal.renew_if_needed()
        request = self._request(kind, amount)
        async with self._service() as stub:
            try:
                yield stub, request
            except Rejected:
                self._forget(kind, amount)
                raise
        self._forget(kind, amount)

    def _request(self, kind: str, amount: Minor) -> RequestId:
        key = str(amount).encode()
        with self._journal.transaction():
            known = self._journal.document(kind, key) or os.urandom(16)
            self._journal.put_document(kind, key, known)
        return RequestId(known)

    def _forget(self, kind: str, amount: Minor) -> None:
        with self._journal.transaction():
            self._journal.drop_document(kind, str(amount).encode())

    def _service(self) -> AbstractAsyncContextManager[account_pb2_grpc.AccountServiceStub]:
        return account_service(self._terminal.identity)
