"""Asking a node as its operator: over its socket, or in the database when none runs."""

from collections.abc import Callable, Sequence
from typing import Any

import grpc
from google.protobuf.message import Message

from cloud.config import CloudHome
from cloud.gateway.operator import NodeFacts, Operators
from cloud.node import operator_socket
from cloud.processor import Command, Processor
from cloud.pump import system_now
from cloud.store.database import open_reader, open_writer
from cloud.store.readers import Readers
from cloud.work import WorkingSet
from energyshare.bodies import GrantBody
from energyshare.errors import Rejected
from energyshare.rpc_errors import error_of
from energyshare.signing import SigningKey
from energyshare.v1 import operator_pb2 as pb
from energyshare.v1 import operator_pb2_grpc
from energyshare.values import Currency, Instant
from energyshare.wire import decode_strictly, seal

ANSWER_WITHIN_S = 60


async def ask_node(cloud: CloudHome, method: str, request: Message) -> Any:
    """Ask the running node; raises what it refused with."""
    async with grpc.aio.insecure_channel(f"unix:{operator_socket(cloud.path)}") as channel:
        stub = operator_pb2_grpc.OperatorServiceStub(channel)
        try:
            return await getattr(stub, method)(request, timeout=ANSWER_WITHIN_S)
        except grpc.aio.AioRpcError as error:
            raise error_of(error) from None


async def ask_database(cloud: CloudHome, method: str, request: Message) -> Any:
    """Answer from the database itself; the caller holds the home's lock."""
    config = cloud.config()
    engine = open_writer(cloud.database)
    processor = Processor(engine, cloud.platform(), config.settings())

    async def call(run: Callable[[WorkingSet, Instant], Any]) -> Any:
        outcome = processor.process([Command(run, _ignore)], system_now())
        result = outcome.replies[0][1]
        if isinstance(result, Rejected):
            raise result
        return result

    try:
        facts = NodeFacts(None, lambda: 0, lambda terminal: False)
        readers = Readers(open_reader(cloud.database))
        operators = Operators(readers, call, facts, Currency(config.currency), cloud.root(), cloud.token_secret())
        return await getattr(operators, method)(request, _DirectContext())
    finally:
        engine.dispose()


def sign_grants(pending: Sequence[pb.PendingGrant], root: SigningKey) -> list[tuple[str, bytes]]:
    """Sign grants that wait with the platform root's key; gives names and serialized Signed."""
    return [(grant.name, seal(decode_strictly(GrantBody, grant.grant_body), root).signed) for grant in pending]


class _DirectContext:
    """Stands for a call's context where there is no call: an error is raised as it is."""

    async def abort(self, code: grpc.StatusCode, details: str, trailing_metadata: Any = ()) -> None:
        raise error_of(_Aborted(code, details, trailing_metadata))


class _Aborted(grpc.aio.AioRpcError):
    def __init__(self, code: grpc.StatusCode, details: str, trailing: Any) -> None:
        super().__init__(code, grpc.aio.Metadata(), grpc.aio.Metadata(*trailing), details)


def _ignore(_result: Any) -> None:
    """The result is read from the outcome."""
