"""The peer: The Mobility House's `ocpp` as a central system, what the field uses in Python today.

OCPP 1.6 over WebSocket and plain TCP, transactions kept in memory: no database, no TLS, no signatures. Each charge point is a
client of the same library that does one transaction after another, of four calls each. JSON schemas are checked, as the
library does by default; uvloop is on and compression off, which favours it. Server and load are two processes on the
same cores.
"""

import asyncio
import json
from asyncio import gather
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict
from itertools import count
from time import monotonic

import click
import uvloop
from ocpp.routing import on
from ocpp.v16 import ChargePoint, call, call_result
from ocpp.v16.datatypes import IdTagInfo
from ocpp.v16.enums import Action, AuthorizationStatus
from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection
from websockets.asyncio.server import serve as listen
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from benchmarks.processes import HOST, Rate, announce, free_port, function, rate, result_of, running, usage

PROTOCOL = Subprotocol("ocpp1.6")
ACCEPTED = IdTagInfo(status=AuthorizationStatus.accepted)
TIMESTAMP = "2026-11-22T10:00:00Z"
ID_TAG = "0123456789ABCDEF"
LIFETIME_MARGIN_S = 60  # for starting, connecting and the last transactions

transaction_ids = count(1)
running_transactions: dict[int, list[object]] = {}


class CentralSystem(ChargePoint):
    """One charge point as the central system sees it."""

    @on(Action.authorize)
    def on_authorize(self, id_tag: str) -> call_result.Authorize:
        """Let everyone in."""
        return call_result.Authorize(id_tag_info=ACCEPTED)

    @on(Action.start_transaction)
    def on_start_transaction(
        self, connector_id: int, id_tag: str, meter_start: int, timestamp: str
    ) -> call_result.StartTransaction:
        """Open a transaction."""
        transaction_id = next(transaction_ids)
        running_transactions[transaction_id] = [meter_start]
        return call_result.StartTransaction(transaction_id=transaction_id, id_tag_info=ACCEPTED)

    @on(Action.meter_values)
    def on_meter_values(self, connector_id: int, meter_value: list[object], transaction_id: int) -> call_result.MeterValues:
        """Keep the values until the transaction ends."""
        running_transactions[transaction_id].extend(meter_value)
        return call_result.MeterValues()

    @on(Action.stop_transaction)
    def on_stop_transaction(self, meter_stop: int, timestamp: str, transaction_id: int) -> call_result.StopTransaction:
        """Close the transaction."""
        del running_transactions[transaction_id]
        return call_result.StopTransaction(id_tag_info=ACCEPTED)


def run(charge_points: int = 32, seconds: float = 3.0) -> float:
    """Measure the peer in transactions a second."""
    return measure(charge_points, seconds).per_s


def measure(charge_points: int, seconds: float) -> Rate:
    """Measure the peer with `charge_points` clients at once; raises Unavailable if a process fails."""
    lifetime_s = int(seconds) + LIFETIME_MARGIN_S
    with running(function("benchmarks.peer:serve", free_port()), lifetime_s) as server:
        load = function("benchmarks.peer:load", server.said["address"], server.pid, charge_points, seconds)
        return Rate(**result_of(load, lifetime_s))


def serve(port: int) -> None:
    """Be the server process."""
    uvloop.run(_serve(port))


def load(address: str, server_pid: int, charge_points: int, seconds: float) -> None:
    """Be the load process."""
    announce(asdict(uvloop.run(_load(address, server_pid, charge_points, seconds))))


async def _serve(port: int) -> None:
    async with listen(_attend, HOST, port, subprotocols=[PROTOCOL], compression=None) as server:
        announce({"address": f"ws://{HOST}:{port}"})
        await server.wait_closed()


async def _attend(connection: ServerConnection) -> None:
    try:
        await CentralSystem("", connection).start()
    except ConnectionClosed:
        return  # the charge point has gone, which is how each of them ends


async def _load(address: str, server_pid: int, charge_points: int, seconds: float) -> Rate:
    async with AsyncExitStack() as stack:
        points = [await stack.enter_async_context(_charge_point(f"{address}/{n}")) for n in range(charge_points)]
        await gather(*map(_transaction, points))  # handshakes and schemas loaded on first use are not part of the measure
        before = usage(server_pid)
        counts = await gather(*(_transactions(point, before.at_s + seconds) for point in points))
        return rate(sum(counts), before, usage(server_pid))


@asynccontextmanager
async def _charge_point(address: str) -> AsyncIterator[ChargePoint]:
    async with connect(address, subprotocols=[PROTOCOL], compression=None) as connection:
        point = ChargePoint(address, connection)
        listening = asyncio.create_task(point.start())
        try:
            yield point
        finally:
            listening.cancel()


async def _transactions(point: ChargePoint, until_s: float) -> int:
    done = 0
    while monotonic() < until_s:
        await _transaction(point)
        done += 1
    return done


async def _transaction(point: ChargePoint) -> None:
    await point.call(call.Authorize(id_tag=ID_TAG), suppress=False)
    started = await point.call(
        call.StartTransaction(connector_id=1, id_tag=ID_TAG, meter_start=0, timestamp=TIMESTAMP), suppress=False
    )
    await point.call(
        call.MeterValues(connector_id=1, transaction_id=started.transaction_id, meter_value=_meter_value()), suppress=False
    )
    await point.call(
        call.StopTransaction(meter_stop=1000, timestamp=TIMESTAMP, transaction_id=started.transaction_id), suppress=False
    )


def _meter_value() -> list[object]:
    sampled = {"value": "500", "measurand": "Energy.Active.Import.Register", "unit": "Wh"}
    return [{"timestamp": TIMESTAMP, "sampledValue": [sampled]}]


@click.command()
@click.option("--charge-points", type=click.IntRange(1), default=32, show_default=True, help="Clients at once.")
@click.option("--seconds", type=click.FloatRange(0.1), default=3.0, show_default=True, help="How long to measure.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def main(charge_points: int, seconds: float, as_json: bool) -> None:
    """Measure transactions a second of an OCPP 1.6 central system in memory."""
    measured = measure(charge_points, seconds)
    found = {"charge_points": charge_points, "seconds": seconds, **asdict(measured)}
    click.echo(json.dumps(found) if as_json else measured.in_words("transaction"))


if __name__ == "__main__":
    main()
