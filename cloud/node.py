"""A cloud node: store, processor, and the gateways on one event loop."""

import asyncio
import contextlib
import logging
import signal
import tempfile
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import grpc
from msgspec import Struct

from cloud import commands
from cloud.bus.local import LocalBus
from cloud.checkpoints import kept_checkpoints
from cloud.config import CloudHome
from cloud.gateway.accounts import Accounts
from cloud.gateway.checks import Checks
from cloud.gateway.desk import Cloud, NodeFacts
from cloud.gateway.enrollment import Enrollments
from cloud.gateway.identity import Directory
from cloud.gateway.operator import Operators
from cloud.gateway.streams import TerminalStreams
from cloud.gateway.tls import ServerCertificate
from cloud.items import Outcome
from cloud.payments.payments import Payments
from cloud.payments.running import kept_going
from cloud.processor import Processor
from cloud.pump import Pump, system_now
from cloud.store.database import incarnation_of, open_reader, open_writer
from cloud.store.people import pending_grants
from cloud.store.readers import Readers
from energyshare.bodies import GrantBody
from energyshare.errors import Unavailable
from energyshare.signing import SigningKey
from energyshare.v1 import account_pb2_grpc, enrollment_pb2_grpc, operator_pb2_grpc, stream_pb2_grpc
from energyshare.values import Currency, TerminalId
from energyshare.wire import decode_strictly, seal

logger = logging.getLogger(__name__)

SOCKET_PATH_MAX = 100  # gRPC takes 107 characters
READ_THREADS = 2
SERVER_OPTIONS: tuple[tuple[str, int], ...] = (
    ("grpc.so_reuseport", 0),
    ("grpc.max_concurrent_streams", 16),
    ("grpc.max_receive_message_length", 2 * 1024 * 1024),
    ("grpc.max_metadata_size", 16 * 1024),
    ("grpc.http2.bdp_probe", 0),
    ("grpc.http2.lookahead_bytes", 65_536),
    ("grpc.server_handshake_timeout_ms", 5_000),
    ("grpc.max_allowed_incoming_connections", 20_000),
    ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
    ("grpc.keepalive_time_ms", 60_000),
    ("grpc.keepalive_timeout_ms", 20_000),
)


class Listening(Struct, frozen=True):
    """Where a node listens."""

    streams: str
    enrollment: str
    operator: Path


class Node:
    """One running node. `serve` returns when it was told to stop, or can't go on."""

    def __init__(self, home: CloudHome, listen: str, enrollment_listen: str, root_key: SigningKey | None) -> None:
        self._home = home
        self._listen = listen
        self._enrollment_listen = enrollment_listen
        self._root_key = root_key
        self._stop = asyncio.Event()
        self._failed = False

    def stop(self) -> None:
        """Ask the node to stop."""
        self._stop.set()

    async def serve(self, announce: Callable[[Listening], None]) -> None:
        """Run until stopped; raises Unavailable when the processor can't go on."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self.stop)
        async with self._running(announce):
            await self._stop.wait()
        if self._failed:
            raise Unavailable("the processor failed", "read the log, then start the cloud again")

    @asynccontextmanager
    async def _running(self, announce: Callable[[Listening], None]) -> AsyncIterator[None]:
        config, home = self._home.config(), self._home
        engine = open_writer(home.database)
        readers = Readers(open_reader(home.database))
        platform, root, authority = home.platform(), home.root(), home.authority()
        currency = Currency(config.currency)
        bus = LocalBus()
        pool = ThreadPoolExecutor(READ_THREADS, thread_name_prefix="reads")
        pump = Pump(
            Processor(engine, platform, config.settings()),
            lambda outcome: _publish(bus, outcome),
            timer_grace_s=config.orders.timer_grace_s,
            fail=self._fail,
        )
        directory = Directory(readers, config.trust_domain)
        streams = TerminalStreams(directory, Checks(root, readers.order_keys), pump, bus, readers, incarnation_of(engine), pool)
        ready = system_now()
        facts = NodeFacts(
            ready,
            bus.__len__,
            lambda terminal: bus.is_open(TerminalId(terminal)),
            lambda terminal: streams.revoke(TerminalId(terminal)),
        )
        gateway = home.gateway(config)
        payments = Payments(gateway, pump.call, readers)
        constant = Cloud(home.database, currency, root, home.token_secret(), gateway)
        operators = Operators(readers, pump.call, pump.instruct, facts, constant)
        accounts = Accounts(directory, pump, readers, platform, config.settings(), payments, pool)
        certificate = ServerCertificate(authority, config.names, system_now)

        main = grpc.aio.server(options=SERVER_OPTIONS)
        stream_pb2_grpc.add_TerminalServiceServicer_to_server(streams, main)
        account_pb2_grpc.add_AccountServiceServicer_to_server(accounts, main)
        stream_address = _bind(main, self._listen, certificate.credentials(mutual=True))

        enrollment = grpc.aio.server(options=SERVER_OPTIONS)
        addresses = tuple(f"{name}:{stream_address.rpartition(':')[2]}" for name in config.names)
        enrollments = Enrollments(
            authority, pump, directory, platform, root, currency, addresses, self._sign_by_itself(pump, readers)
        )
        enrollment_pb2_grpc.add_EnrollmentServiceServicer_to_server(enrollments, enrollment)
        enrollment_address = _bind(enrollment, self._enrollment_listen, certificate.credentials(mutual=False))

        operator = grpc.aio.server()
        operator_pb2_grpc.add_OperatorServiceServicer_to_server(operators, operator)
        with _socket_path(home.path) as socket:
            operator.add_insecure_port(f"unix:{socket}")
            servers = (main, enrollment, operator)
            pump.start()
            for server in servers:
                await server.start()
            try:
                stripe = home.stripe(config) if config.money.payments == "stripe" else None
                kept = kept_checkpoints(home.path, readers, platform, system_now)
                async with kept_going(payments, stripe), kept:
                    announce(Listening(stream_address, enrollment_address, socket))
                    yield
            finally:
                streams.close_all()
                await asyncio.gather(*(server.stop(1.0) for server in servers))
                pump.stop()
                pool.shutdown()
                engine.dispose()

    def _fail(self) -> None:
        self._failed = True
        self._stop.set()

    def _sign_by_itself(self, pump: Pump, readers: Readers) -> Callable[[], Any] | None:
        """Give what signs waiting grants when the root's key is at hand; for demonstrations."""
        root = self._root_key
        if root is None:
            return None

        async def sign_all() -> None:
            for row in await loop_thread(lambda: pending_grants(readers)):
                body = decode_strictly(GrantBody, row.grant_body)
                await pump.call(partial(commands.submit_grant, body=body, signed=seal(body, root).signed))

        return sign_all


async def loop_thread(run: Callable[[], Any]) -> Any:
    """Run something that blocks beside the event loop."""
    return await asyncio.get_running_loop().run_in_executor(None, run)


def _publish(bus: LocalBus, outcome: Outcome) -> None:
    bus.acknowledge(outcome.acks)
    bus.refuse(outcome.refusals)
    bus.publish(outcome.envelopes)


def _bind(server: grpc.aio.Server, listen: str, credentials: grpc.ServerCredentials) -> str:
    try:
        port = server.add_secure_port(listen, credentials)
    except RuntimeError:
        port = 0
    if port == 0:
        raise Unavailable(f"can't listen on {listen}", "choose another address, or stop what listens there")
    return f"{listen.rpartition(':')[0]}:{port}"


@contextlib.contextmanager
def _socket_path(home: Path) -> Any:
    """Give a path for the operator's socket, in the home or, where that is too long, in a private folder named in it."""
    path = home / "operator.sock"
    if len(str(path)) <= SOCKET_PATH_MAX:
        path.unlink(missing_ok=True)
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="energyshare-") as folder:
        short = Path(folder) / "operator.sock"
        (home / "operator.path").write_text(str(short))
        yield short


def operator_socket(home: Path) -> Path:
    """Say where the operator's socket of a running node is."""
    named = home / "operator.path"
    path = home / "operator.sock"
    return path if len(str(path)) <= SOCKET_PATH_MAX or not named.exists() else Path(named.read_text())
