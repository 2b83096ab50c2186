"""How long a device takes to check a presentation, with its durable write, against the floor of what it can't do without.

The floor, in the same run on the same disk: two Ed25519 checks and one bare SQLite commit (WAL, FULL) of one small row.
"""

import json as json_module
import os
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from energyshare.bodies import ChallengeBody, GrantBody, PresentationBody, ReleaseBody, VoucherBody
from energyshare.signing import Label, SigningKey, verify
from energyshare.values import (
    DeviceId,
    Digest,
    DurationS,
    EnergyWh,
    Epoch,
    Instant,
    Kind,
    OrderId,
    Percent,
    PowerW,
    ProviderId,
    Role,
    Serial,
    SubjectId,
    UnixS,
    unix_s,
)
from energyshare.wire import Presentable, encode_presentable, peek, seal
from terminals.device.clock import MonotonicUs
from terminals.device.hardware import MeterFile, new_totals, simulated
from terminals.device.machine import Machine, Parts
from terminals.device.memory import Profile, fresh_memory
from terminals.device.memory_file import MemoryFile
from terminals.device.settings import Settings

STARTS = 300
DEVICE, OWNER = DeviceId(b"D" * 16), ProviderId(b"P" * 16)
ROOT, ISSUER, HOLDER, DEVICE_KEY = (SigningKey(bytes([n]) * 32) for n in range(4))


def main(json: bool) -> None:
    """Print the median of a start and of the floor, in milliseconds, and their ratio."""
    with tempfile.TemporaryDirectory() as home:
        starts = _starts(Path(home))
        floor = _floor(Path(home))
    figures = {
        "starts": STARTS,
        "start_ms": round(starts, 3),
        "floor_ms": round(floor, 3),
        "ratio": round(starts / floor, 2),
    }
    line = "a start takes {start_ms} ms (median of {starts}), {ratio} times the floor of {floor_ms} ms"
    print(json_module.dumps(figures) if json else line.format(**figures))


def _starts(home: Path) -> float:
    now = Instant(time.time_ns() // 1_000)
    machine = _machine(home, now)
    return statistics.median(_start(machine, _voucher(number, unix_s(now)), now) for number in range(STARTS))


def _start(machine: Machine, voucher: VoucherBody, now: Instant) -> float:
    grant = GrantBody(SubjectId(OWNER), Role.ISSUER, ISSUER.public, UnixS(unix_s(now) - 60), UnixS(unix_s(now) + 86_400), None)
    signed = seal(voucher, ISSUER)
    shown = encode_presentable(Presentable(signed.signed, seal(grant, ROOT).signed))
    question = peek(ChallengeBody, machine.challenge())
    answer = seal(PresentationBody(signed.digest, DEVICE, question.nonce), HOLDER).signed
    took_ms = _took_ms(lambda: machine.start(shown, answer))
    nonce = peek(ChallengeBody, machine.challenge()).nonce
    machine.release(seal(ReleaseBody(DEVICE, nonce, voucher.order_id), HOLDER).signed, b"")
    return took_ms


def _floor(home: Path) -> float:
    connection = sqlite3.connect(home / "floor.db", isolation_level=None)
    connection.executescript("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; CREATE TABLE t (id INTEGER PRIMARY KEY, b)")
    payload = os.urandom(200)
    signature = ISSUER.sign(Label.VOUCHER, payload)

    def least(number: int) -> None:
        verify(Label.VOUCHER, payload, signature, ISSUER.public)
        verify(Label.VOUCHER, payload, signature, ISSUER.public)
        connection.execute("INSERT INTO t VALUES (?, ?)", (number, payload))

    median = statistics.median(_took_ms(lambda n=n: least(n)) for n in range(STARTS))  # type: ignore[misc]
    connection.close()
    return median


def _machine(home: Path, now: Instant) -> Machine:
    settings = Settings(Kind.ENERGY, Epoch(1), PowerW(1_000), EnergyWh(0), Percent(0))
    MeterFile.create(home / "meter.json", new_totals(settings))
    file = MemoryFile.create(home / "memory.db", fresh_memory(Epoch(1), now))
    hardware = simulated(settings, home / "meter.json", _monotonic_us)
    parts = Parts(Profile(DEVICE, OWNER, Kind.ENERGY), DEVICE_KEY, ROOT.public, b"-", hardware, _monotonic_us, os.urandom)
    return Machine(parts, file, now)


def _voucher(number: int, now: UnixS) -> VoucherBody:
    first = VoucherBody(
        order_id=OrderId(bytes(16)),
        device_id=DEVICE,
        holder_key=HOLDER.public,
        energy_wh_max=EnergyWh(1_000),
        duration_s_max=DurationS(3_600),
        not_before_unix_s=UnixS(now - 60),
        window_s=DurationS(7_200),
        serial=Serial(now * 1_000),
        epoch=Epoch(1),
        tariff_hash=Digest(bytes(32)),
    )
    return replace(first, order_id=OrderId(number.to_bytes(16, "big")), serial=Serial(first.serial + number))


def _took_ms(work: Callable[[], object]) -> float:
    begin = time.perf_counter_ns()
    work()
    return (time.perf_counter_ns() - begin) / 1_000_000


def _monotonic_us() -> MonotonicUs:
    return MonotonicUs(time.monotonic_ns() // 1_000)


if __name__ == "__main__":
    main("--json" in sys.argv)
