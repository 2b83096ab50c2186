"""The floor: what gRPC alone costs for the messages of one energy order.

A bare echo over TerminalService.Connect: mutual TLS, one connection and one stream a user, one envelope a frame, as many and
as large as one energy order needs. No SQL, no domain, no signatures and no checks: a cloud that does its work stays below
this figure, unless it puts several envelopes into one frame. Server and load are two processes on the same cores.
"""

import json
import os
import tempfile
import time
from asyncio import gather
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import click
import grpc
import uvloop
from grpc import aio

from benchmarks.processes import HOST, Rate, announce, free_port, function, rate, result_of, running, usage
from certs.authority import Authority
from certs.requests import new_key_and_request
from energyshare.v1.stream_pb2 import ConnectRequest, ConnectResponse, Frame
from energyshare.v1.stream_pb2_grpc import (
    TerminalServiceServicer,
    TerminalServiceStub,
    add_TerminalServiceServicer_to_server,
)
from energyshare.values import Instant, instant_of

ENVELOPE_BYTES = (120, 700, 150, 420, 900, 450, 1300, 180)  # of one order; the same size there and back
LIFETIME_MARGIN_S = 60  # for starting, connecting and the last orders

SERVER_OPTIONS = (
    ("grpc.so_reuseport", 0),
    ("grpc.max_concurrent_streams", 8),
    ("grpc.max_receive_message_length", 1 << 20),
    ("grpc.max_metadata_size", 8192),
    ("grpc.http2.bdp_probe", 0),
    ("grpc.http2.lookahead_bytes", 65536),
    ("grpc.server_handshake_timeout_ms", 5000),
    ("grpc.max_allowed_incoming_connections", 20_000),
    ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
)
CHANNEL_OPTIONS = (
    ("grpc.use_local_subchannel_pool", 1),  # else all channels of a process share one connection
    ("grpc.http2.bdp_probe", 0),
)

Requests = AsyncIterator[ConnectRequest]
Responses = AsyncIterator[ConnectResponse]
Stream = aio.StreamStreamCall[ConnectRequest, ConnectResponse]


class Echo(TerminalServiceServicer):
    """Answers every frame with the same frame."""

    async def Connect(  # noqa: N802
        self, request_iterator: Requests, context: aio.ServicerContext[Requests, Responses]
    ) -> Responses:
        """Echo one stream."""
        async for request in request_iterator:
            yield ConnectResponse(frame=request.frame)


def run(users: int, seconds: float) -> float:
    """Measure the floor in orders a second."""
    return measure(users, seconds).per_s


def measure(users: int, seconds: float) -> Rate:
    """Measure the floor with `users` streams at once; raises Unavailable if a process fails."""
    lifetime_s = int(seconds) + LIFETIME_MARGIN_S
    with tempfile.TemporaryDirectory() as home:
        write_identities(Path(home), instant_of(datetime.now(UTC)))
        with running(function("benchmarks.floor:serve", home, free_port()), lifetime_s) as server:
            load = function("benchmarks.floor:load", home, server.said["address"], server.pid, users, seconds)
            return Rate(**result_of(load, lifetime_s))


def serve(home: str, port: int) -> None:
    """Be the server process."""
    uvloop.run(_serve(Path(home), port))


def load(home: str, address: str, server_pid: int, users: int, seconds: float) -> None:
    """Be the load process."""
    announce(asdict(uvloop.run(_load(Path(home), address, server_pid, users, seconds))))


async def _serve(home: Path, port: int) -> None:
    server = aio.server(options=SERVER_OPTIONS)
    add_TerminalServiceServicer_to_server(Echo(), server)
    server.add_secure_port(f"{HOST}:{port}", server_credentials(home))
    await server.start()
    announce({"address": f"{HOST}:{port}"})
    await server.wait_for_termination()


async def _load(home: Path, address: str, server_pid: int, users: int, seconds: float) -> Rate:
    credentials = channel_credentials(home)
    async with AsyncExitStack() as stack:
        streams = [await stack.enter_async_context(_stream(address, credentials)) for _ in range(users)]
        await gather(*map(_order, streams))  # handshakes are not part of the measure
        before = usage(server_pid)
        counts = await gather(*(_orders(stream, before.at_s + seconds) for stream in streams))
        return rate(sum(counts), before, usage(server_pid))


@asynccontextmanager
async def _stream(address: str, credentials: grpc.ChannelCredentials) -> AsyncIterator[Stream]:
    async with aio.secure_channel(address, credentials, options=CHANNEL_OPTIONS) as channel:
        stream = TerminalServiceStub(channel).Connect()
        try:
            yield stream
        finally:
            stream.cancel()
            await stream.code()  # a call that nobody awaits is never freed (grpc#43462)


async def _orders(stream: Stream, until_s: float) -> int:
    count = 0
    while time.monotonic() < until_s:
        await _order(stream)
        count += 1
    return count


async def _order(stream: Stream) -> None:
    for size in ENVELOPE_BYTES:
        await stream.write(ConnectRequest(frame=Frame(envelopes=[os.urandom(size)])))
        echoed = await stream.read()
        assert isinstance(echoed, ConnectResponse), "the server ended the stream"
        assert len(echoed.frame.envelopes[0]) == size


def server_credentials(home: Path) -> grpc.ServerCredentials:
    """Read the server's identity and whom it trusts; clients must show a certificate."""
    pair = ((home / "server.key").read_bytes(), (home / "server.pem").read_bytes())
    return grpc.ssl_server_credentials([pair], (home / "ca.pem").read_bytes(), require_client_auth=True)


def channel_credentials(home: Path) -> grpc.ChannelCredentials:
    """Read the client's identity and whom it trusts."""
    ca, key, chain = ((home / name).read_bytes() for name in ("ca.pem", "client.key", "client.pem"))
    return grpc.ssl_channel_credentials(ca, key, chain)


def write_identities(home: Path, now: Instant) -> None:
    """Make an authority, a server's identity and one of a user, which all streams share."""
    authority = Authority.create("floor.example", now)
    server_pem, server_key, _ = authority.issue_server([HOST], now)
    client_key, request = new_key_and_request()
    client = authority.issue_terminal(request, "user", os.urandom(16), now)
    files = {
        "ca.pem": authority.certificate_pem,
        "server.pem": server_pem,
        "server.key": server_key,
        "client.pem": client.pem,
        "client.key": client_key,
    }
    for name, data in files.items():
        (home / name).write_bytes(data)


@click.command()
@click.option("--users", type=click.IntRange(1), default=64, show_default=True, help="Streams at once.")
@click.option("--seconds", type=click.FloatRange(0.1), default=3.0, show_default=True, help="How long to measure.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def main(users: int, seconds: float, as_json: bool) -> None:
    """Measure what gRPC alone costs for the messages of one energy order."""
    measured = measure(users, seconds)
    found = {"users": users, "seconds": seconds, **asdict(measured)}
    click.echo(json.dumps(found) if as_json else measured.in_words("order"))


if __name__ == "__main__":
    main()
