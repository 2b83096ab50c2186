"""What every call of the operator has at hand: reads beside the processor, commands within it, and who calls."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Protocol, TypeVar

import grpc
from msgspec import Struct

from cloud.domain.inbound import OrderMessage
from cloud.gateway.checks import Checks
from cloud.payments.gateway import Gateway
from cloud.store.readers import Readers
from cloud.work import Peer, WorkingSet
from energyshare.errors import Reason, Rejected
from energyshare.values import Currency, Instant, OrderId, PublicKey

T = TypeVar("T")
Context = grpc.aio.ServicerContext[Any, Any]
Run = Callable[[WorkingSet, Instant], Any]

OPERATOR_KEY = "energyshare-operator-bin"
OPERATOR_MAX = 64
PAGE, PAGE_MAX = 50, 100_000


class Caller(Protocol):
    """Runs a command in the next batch."""

    def __call__(self, run: Run) -> Awaitable[Any]:
        """Give the command's result; raises the Rejected that it ended in."""


class Instructor(Protocol):
    """Has an order decide on the operator's word in the next batch."""

    def __call__(self, order_id: OrderId, message: OrderMessage, *, also: Run, peer: Peer | None = None) -> Awaitable[None]:
        """Raise the Rejected that it ended in; `also` runs in the transaction of what was decided.

        With a `peer` the message counts as that terminal's, outside of its numbers.
        """


class NodeFacts(Struct, frozen=True):
    """What a node knows of itself. `forget` has it look a terminal up anew."""

    ready: Instant | None
    streams: Callable[[], int]
    is_online: Callable[[bytes], bool]
    forget: Callable[[bytes], None]


class Cloud(Struct, frozen=True):
    """What stays the same while a node runs. `secret` is what join tokens are derived from; no gateway, no payments."""

    database: Path
    currency: Currency
    root: PublicKey
    secret: bytes
    gateway: Gateway | None = None


class Desk:
    """The base of the operator's calls."""

    def __init__(self, readers: Readers, call: Caller, instruct: Instructor, facts: NodeFacts, cloud: Cloud) -> None:
        self._readers = readers
        self._call = call
        self._instruct = instruct
        self._facts = facts
        self._cloud = cloud
        self._checks = Checks(cloud.root, readers.order_keys)

    async def _read(self, read: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(None, read)


def operator_of(context: Context) -> str:
    """Name who calls.

    Raises: Rejected{MALFORMED} when the call does not say.
    """
    given = dict(context.invocation_metadata() or ()).get(OPERATOR_KEY, b"")
    name = given.decode(errors="replace") if isinstance(given, bytes) else given
    if not 1 <= len(name) <= OPERATOR_MAX or not name.isprintable():
        raise Rejected(Reason.MALFORMED, field=OPERATOR_KEY, problem=f"has 1 to {OPERATOR_MAX} printable characters")
    return name


def page(size: int) -> int:
    """Give how many rows a call asks for."""
    return min(size, PAGE_MAX) if size > 0 else PAGE
