"""AccountService: a terminal's own account, by mutual TLS."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar, cast

import grpc

from cloud.domain import ledger
from cloud.domain.funds import PaymentState
from cloud.domain.settings import Settings
from cloud.gateway.identity import Authenticated, Directory
from cloud.gateway.statements import period_of, statement_page
from cloud.gateway.times import time_of
from cloud.greeting import ACCOUNT_PAGE, account_orders
from cloud.payments.payments import Payments
from cloud.pump import Pump, system_now
from cloud.sealing import PlatformKey
from cloud.store.people import Movement, balance_of_account, movements
from cloud.store.readers import Readers
from cloud.store.statements import payable_minor
from energyshare.bodies import TimeStatementBody
from energyshare.errors import Reason, Rejected
from energyshare.rpc_errors import refusing
from energyshare.v1 import account_pb2 as pb
from energyshare.v1 import account_pb2_grpc
from energyshare.v1.stream_pb2 import SnapshotOrder
from energyshare.values import AccountId, Currency, DeviceId, Minor, Money, Nonce, ProviderId, RequestId
from energyshare.wire import seal, to_proto

T = TypeVar("T")
Context = grpc.aio.ServicerContext[Any, Any]


class Accounts(account_pb2_grpc.AccountServiceServicer):
    """Wallets, and signed time for devices that lost theirs."""

    def __init__(
        self,
        directory: Directory,
        pump: Pump,
        readers: Readers,
        platform: PlatformKey,
        settings: Settings,
        payments: Payments,
        pool: ThreadPoolExecutor,
    ) -> None:
        self._directory = directory
        self._pump = pump
        self._readers = readers
        self._platform = platform
        self._settings = settings
        self._payments = payments
        self._pool = pool

    @refusing
    async def GetWallet(self, request: pb.GetWalletRequest, context: Context) -> pb.GetWalletResponse:
        """Tell the balance and the latest movements."""
        caller = self._directory.authenticate(context, system_now())
        account = _account_of(caller)
        balance = await self._balance(account)
        latest = await self._read(lambda: movements(self._readers, account))
        return pb.GetWalletResponse(
            currency=self._settings.currency,
            available_minor=balance.available_minor,
            held_minor=balance.held_minor,
            entries=[_entry(movement) for movement in latest],
            payable_minor=await self._payable(caller),
            owed_minor=await self._owed(caller),
        )

    @refusing
    async def GetStatement(self, request: pb.GetStatementRequest, context: Context) -> pb.GetStatementResponse:
        """Give what moved on the caller's account within a period."""
        now = system_now()
        caller = self._directory.authenticate(context, now)
        whose, period = (caller.peer.role, caller.peer.account_id), period_of(request)
        found = await self._read(lambda: statement_page(self._readers, *whose, *period, now, self._settings))
        return pb.GetStatementResponse(statement=found)

    @refusing
    async def TopUp(self, request: pb.TopUpRequest, context: Context) -> pb.TopUpResponse:
        """Pay in, once per request id."""
        caller = self._directory.authenticate(context, system_now())
        payment, pay_url = await self._payments.top_up(*_asked_for(caller, request))
        if payment.state is PaymentState.FAILED:
            raise Rejected(Reason.PAYMENT_FAILED, gateway=payment.problem)
        balance = await self._balance(_account_of(caller))
        return pb.TopUpResponse(available_minor=balance.available_minor, state=payment.state, pay_url=pay_url)

    @refusing
    async def Withdraw(self, request: pb.WithdrawRequest, context: Context) -> pb.WithdrawResponse:
        """Take money out, once per request id."""
        caller = self._directory.authenticate(context, system_now())
        payments = await self._payments.withdraw(*_asked_for(caller, request))
        balance = await self._balance(_account_of(caller))
        parts = [pb.WithdrawalPart(amount_minor=p.amount_minor, state=p.state, problem=p.problem) for p in payments]
        return pb.WithdrawResponse(available_minor=balance.available_minor, parts=parts)

    @refusing
    async def StateTime(self, request: pb.StateTimeRequest, context: Context) -> pb.StateTimeResponse:
        """Sign the time over a device's nonce."""
        self._directory.authenticate(context, system_now())
        if (len(request.device_id), len(request.nonce)) != (16, 16):
            raise Rejected(Reason.MALFORMED, field="nonce", problem="must be 16 bytes")
        body = TimeStatementBody(DeviceId(request.device_id), Nonce(request.nonce), system_now())
        return pb.StateTimeResponse(time_statement=seal(body, self._platform.key).signed, grant=self._platform.grant)

    @refusing
    async def ListAccountOrders(self, request: pb.ListAccountOrdersRequest, context: Context) -> pb.ListAccountOrdersResponse:
        """List the orders of all terminals of the caller's account, a page at a time."""
        caller = self._directory.authenticate(context, system_now())
        if caller.peer.role != "user":
            raise Rejected(Reason.WRONG_ROLE)
        if len(request.page_token) not in (0, 16):
            raise Rejected(Reason.MALFORMED, field="page_token", problem="must be 16 bytes, or empty")
        asked = (caller.peer.account_id, request.page_token)
        found = await self._pump.call(lambda work, now: account_orders(work, *asked, now))
        following = found[-1].order_id if len(found) == ACCOUNT_PAGE else b""
        return pb.ListAccountOrdersResponse(
            orders=[cast(SnapshotOrder, to_proto(order)) for order in found], next_page_token=following
        )

    async def _balance(self, account: ledger.LedgerAccount) -> ledger.Balance:
        return await self._read(lambda: balance_of_account(self._readers, account))

    async def _payable(self, caller: Authenticated) -> int:
        if caller.peer.role != "provider":
            return 0
        provider = ProviderId(caller.peer.account_id)
        return await self._read(lambda: payable_minor(self._readers.rows, provider, system_now(), self._settings))

    async def _owed(self, caller: Authenticated) -> int:
        if caller.peer.role != "user":
            return 0
        return (await self._balance(ledger.receivable_account(caller.peer.account_id))).owed_minor

    async def _read(self, read: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._pool, read)


def _asked_for(caller: Authenticated, request: pb.TopUpRequest | pb.WithdrawRequest) -> tuple[AccountId, RequestId, Money]:
    """Read whose money is to move, and how much.

    Raises: Rejected with WRONG_ROLE or MALFORMED.
    """
    if caller.peer.role != "user":
        raise Rejected(Reason.WRONG_ROLE)
    if len(request.request_id) != 16:
        raise Rejected(Reason.MALFORMED, field="request_id", problem="must be 16 bytes")
    paid = Money(Currency(request.currency), Minor(request.amount_minor))
    return caller.peer.account_id, RequestId(request.request_id), paid


def _account_of(caller: Authenticated) -> ledger.LedgerAccount:
    if caller.peer.role == "provider":
        return ledger.provider_account(ProviderId(caller.peer.account_id))
    return ledger.user_account(caller.peer.account_id)


def _entry(movement: Movement) -> pb.WalletEntry:
    return pb.WalletEntry(
        entry_time=time_of(movement.at),
        amount_minor=movement.amount_minor,
        reason=movement.reason,
        order_id=movement.order_id or b"",
    )
