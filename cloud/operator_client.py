"""Asking a node as its operator: over its socket, or in the database when none runs."""

import asyncio
import os
import pwd
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import grpc
from google.protobuf.message import Message

from cloud.config import CloudHome
from cloud.domain.inbound import OrderMessage
from cloud.gateway.desk import OPERATOR_KEY, Cloud, NodeFacts, Run
from cloud.gateway.operator import Operators
from cloud.items import Command, Instruction, Item, Outcome
from cloud.node import operator_socket
from cloud.processor import Processor
from cloud.pump import system_now
from cloud.store.database import open_reader, open_writer
from cloud.store.readers import Readers
from cloud.work import Peer
from energyshare.bodies import GrantBody
from energyshare.errors import Rejected, Unavailable
from energyshare.rpc_errors import error_of
from energyshare.signing import SigningKey
from energyshare.v1 import operator_pb2 as pb
from energyshare.v1 import operator_pb2_grpc
from energyshare.values import Currency, OrderId
from energyshare.wire import decode_strictly, seal

ANSWER_WITHIN_S = {"Backup": 3_600.0, "CheckLedger": 600.0, "ReconcilePayments": 3_600.0}
ANSWER_AT_ONCE_S = 60.0
CONNECT_WITHIN_S = 1.0


class NotReached(Unavailable):
    """Nobody answers on the socket; nothing was asked."""

    def __init__(self, home: Path) -> None:
        super().__init__(f"{home} is in use, but no node answers in it", "see its log; end the program that is in it")


def operator_name() -> str:
    """Name the Unix user who runs this program."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return f"uid {os.getuid()}"


async def ask_node(cloud: CloudHome, method: str, request: Message) -> Any:
    """Ask the running node; raises what it refused with, or NotReached."""
    async with grpc.aio.insecure_channel(f"unix:{operator_socket(cloud.path)}") as channel:
        try:
            await asyncio.wait_for(channel.channel_ready(), CONNECT_WITHIN_S)
        except TimeoutError:
            raise NotReached(cloud.path) from None
        stub = operator_pb2_grpc.OperatorServiceStub(channel)
        within_s = ANSWER_WITHIN_S.get(method, ANSWER_AT_ONCE_S)
        try:
            return await getattr(stub, method)(request, timeout=within_s, metadata=_caller())
        except grpc.aio.AioRpcError as error:
            raise error_of(error) from None


async def ask_database(cloud: CloudHome, method: str, request: Message) -> Any:
    """Answer from the database itself; the caller holds the home's lock."""
    config = cloud.config()
    engine = open_writer(cloud.database)
    processor = Processor(engine, cloud.platform(), config.settings())
    constant = Cloud(cloud.database, Currency(config.currency), cloud.root(), cloud.token_secret(), cloud.gateway(config))
    direct = Direct(Readers(open_reader(cloud.database)), constant, lambda item: processor.process([item], system_now()))
    try:
        return await direct.ask(method, request)
    finally:
        engine.dispose()


def sign_grants(pending: Sequence[pb.PendingGrant], root: SigningKey) -> list[tuple[str, bytes]]:
    """Sign grants that wait with the platform root's key; gives names and serialized Signed."""
    return [(grant.name, seal(decode_strictly(GrantBody, grant.grant_body), root).signed) for grant in pending]


class Direct:
    """Answers where no node runs: beside a processor that no thread drives."""

    def __init__(self, readers: Readers, constant: Cloud, process: Callable[[Item], Outcome]) -> None:
        facts = NodeFacts(None, lambda: 0, lambda terminal: False, lambda terminal: None)
        self._operators = Operators(readers, self._call, self._instruct, facts, constant)
        self._process = process

    async def ask(self, method: str, request: Message) -> Any:
        """Ask; raises what it is refused with."""
        return await getattr(self._operators, method)(request, _DirectContext())

    async def _call(self, run: Run) -> Any:
        return self._answer_to(Command(run, _ignore))

    async def _instruct(self, order_id: OrderId, message: OrderMessage, *, also: Run, peer: Peer | None = None) -> None:
        self._answer_to(Instruction(order_id, message, _ignore, also, peer))

    def _answer_to(self, item: Item) -> Any:
        result = self._process(item).replies[0][1]
        if isinstance(result, Rejected):
            raise result
        return result


class _DirectContext:
    """Stands for a call's context where there is no call: an error is raised as it is."""

    def invocation_metadata(self) -> tuple[tuple[str, bytes], ...]:
        return _caller()

    async def abort(self, code: grpc.StatusCode, details: str, trailing_metadata: Any = ()) -> None:
        raise error_of(_Aborted(code, details, trailing_metadata))


class _Aborted(grpc.aio.AioRpcError):
    def __init__(self, code: grpc.StatusCode, details: str, trailing: Any) -> None:
        super().__init__(code, grpc.aio.Metadata(), grpc.aio.Metadata(*trailing), details)


def _caller() -> tuple[tuple[str, bytes], ...]:
    return ((OPERATOR_KEY, operator_name().encode()),)


def _ignore(_result: Any) -> None:
    """The result is read from the outcome."""
