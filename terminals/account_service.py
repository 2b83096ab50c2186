"""The cloud's account service, as users and providers ask it about their own account."""

import asyncio
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from typing import TypeVar

import grpc
from google.protobuf.timestamp_pb2 import Timestamp

from energyshare.errors import Unavailable
from energyshare.rpc_errors import error_of
from energyshare.v1 import account_pb2, account_pb2_grpc
from terminals.identity import Identity, channel_credentials
from terminals.stream import CHANNEL_OPTIONS

T = TypeVar("T")
CALL_WITHIN_S = 10
STATEMENT_WITHIN_S = 60
READY_WITHIN_S = 3


async def fetch_wallet(identity: Identity) -> account_pb2.GetWalletResponse:
    """Ask for the balance and the latest movements; raises Unavailable, Rejected."""
    async with account_service(identity) as stub:
        return await answer_of(stub.GetWallet(account_pb2.GetWalletRequest(), timeout=CALL_WITHIN_S))


async def fetch_statement(identity: Identity, start: Timestamp, end: Timestamp) -> account_pb2.Statement:
    """Ask for what moved within a period; raises Unavailable, Rejected."""
    asked = account_pb2.GetStatementRequest(from_time=start, to_time=end)
    async with account_service(identity) as stub:
        return (await answer_of(stub.GetStatement(asked, timeout=STATEMENT_WITHIN_S))).statement


@asynccontextmanager
async def account_service(identity: Identity) -> AsyncIterator[account_pb2_grpc.AccountServiceStub]:
    """Reach the account service at the first address that answers; raises Unavailable."""
    for address in identity.stream_addresses:
        async with grpc.aio.secure_channel(address, channel_credentials(identity), CHANNEL_OPTIONS) as channel:
            try:
                async with asyncio.timeout(READY_WITHIN_S):
                    await channel.channel_ready()
            except TimeoutError:
                continue
            yield account_pb2_grpc.AccountServiceStub(channel)
            return
    raise Unavailable("the cloud does not answer", "try again when it is back")


async def answer_of(call: Awaitable[T]) -> T:
    """Wait for an answer; raises our errors in place of gRPC's."""
    try:
        return await call
    except grpc.aio.AioRpcError as error:
        raise error_of(error) from None
