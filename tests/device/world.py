"""A platform, two providers, holders and a device with a clock that moves only when told."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

import pytest

from energyshare.bodies import (
    ChallengeBody,
    GrantBody,
    PresentationBody,
    ReleaseBody,
    TimeStatementBody,
    VoucherBody,
)
from energyshare.errors import Rejected
from energyshare.records import replace
from energyshare.signing import SigningKey
from energyshare.values import (
    DeviceId,
    Digest,
    DurationS,
    EnergyWh,
    Epoch,
    Instant,
    Kind,
    Nonce,
    OrderId,
    Percent,
    PowerW,
    ProviderId,
    Role,
    Serial,
    SubjectId,
    UnixS,
)
from energyshare.wire import Presentable, encode_presentable, peek, seal
from terminals.device.clock import MonotonicUs
from terminals.device.hardware import Hardware, MeterFile, new_totals, simulated
from terminals.device.machine import Machine, Parts
from terminals.device.memory import Profile, fresh_memory
from terminals.device.memory_file import MemoryFile
from terminals.device.settings import Settings

T0 = 1_795_341_600  # 2026-11-22 10:00 UTC
DEVICE = DeviceId(b"D" * 16)
OWNER = ProviderId(b"P" * 16)
OTHER = ProviderId(b"Q" * 16)


def key(name: str) -> SigningKey:
    return SigningKey(sha256(name.encode()).digest())


ROOT, PLATFORM, ISSUER, STRANGER, DEVICE_KEY, HOLDER = map(key, ("root", "platform", "issuer", "other", "device", "holder"))


def grant(
    subject: bytes, role: Role, of: SigningKey, owner: ProviderId | None = None, root: SigningKey = ROOT, days: int = 365
) -> bytes:
    body = GrantBody(SubjectId(subject), role, of.public, UnixS(T0 - 86_400), UnixS(T0 + days * 86_400), owner)
    return seal(body, root).signed


ISSUER_GRANT = grant(OWNER, Role.ISSUER, ISSUER)
OTHER_GRANT = grant(OTHER, Role.ISSUER, STRANGER)
DEVICE_GRANT = grant(DEVICE, Role.DEVICE, DEVICE_KEY, OWNER)
PLATFORM_GRANT = grant(b"C" * 16, Role.PLATFORM, PLATFORM)

VOUCHER = VoucherBody(
    order_id=OrderId(b"1" * 16),
    device_id=DEVICE,
    holder_key=HOLDER.public,
    energy_wh_max=EnergyWh(2_000),
    duration_s_max=DurationS(7_200),
    not_before_unix_s=UnixS(T0 - 60),
    window_s=DurationS(3_600),
    serial=Serial(T0 * 1_000),
    epoch=Epoch(1),
    tariff_hash=Digest(b"t" * 32),
)


def voucher(number: int = 1) -> VoucherBody:
    """The voucher of order `number`; later ones have higher serials."""
    return replace(VOUCHER, order_id=OrderId(bytes([48 + number]) * 16), serial=Serial(T0 * 1_000 + number))


def presentable(body: VoucherBody = VOUCHER, issuer: SigningKey = ISSUER, issuer_grant: bytes = ISSUER_GRANT) -> bytes:
    return encode_presentable(Presentable(seal(body, issuer).signed, issuer_grant))


def presentation(body: VoucherBody, nonce: Nonce, holder: SigningKey = HOLDER, device: DeviceId = DEVICE) -> bytes:
    return seal(PresentationBody(seal(body, ISSUER).digest, device, nonce), holder).signed


@dataclass
class World:
    """One device in a directory; `pass_s` lets time go by, `restart` cuts the power."""

    home: Path
    kind: Kind = Kind.ENERGY
    power_w: int = 1_000
    capacity_wh: int = 0
    mono_us: int = 0
    host_us: int = T0 * 1_000_000
    machine: Machine = field(init=False)
    hardware: Hardware = field(init=False)
    nonces: Iterator[int] = field(default_factory=lambda: iter(range(1, 1_000_000)))

    def __post_init__(self) -> None:
        MemoryFile.create(self.home / "memory.db", fresh_memory(Epoch(1), Instant(self.host_us))).close()
        MeterFile.create(self.home / "meter.json", new_totals(self.settings))
        self.restart()

    @property
    def settings(self) -> Settings:
        return Settings(self.kind, Epoch(1), PowerW(self.power_w), EnergyWh(self.capacity_wh), Percent(100))

    def restart(self, off_s: float = 0, host_s: float | None = None) -> None:
        """Cut the power, and come back after a while with another monotonic count."""
        self.host_us += int((off_s if host_s is None else host_s) * 1_000_000)
        self.mono_us = self.mono_us // 2 + 7
        self.hardware = simulated(self.settings, self.home / "meter.json", self.monotonic)
        self.machine = Machine(self.parts(self.hardware), self.file(), Instant(self.host_us))

    def parts(self, hardware: Hardware) -> Parts:
        profile = Profile(DEVICE, OWNER, self.kind)
        return Parts(profile, DEVICE_KEY, ROOT.public, DEVICE_GRANT, hardware, self.monotonic, self.random)

    def file(self) -> MemoryFile:
        return MemoryFile.open(self.home / "memory.db", Epoch(1))

    def monotonic(self) -> MonotonicUs:
        return MonotonicUs(self.mono_us)

    def random(self, size: int) -> bytes:
        return next(self.nonces).to_bytes(size, "big")

    def pass_s(self, seconds: float, tick: bool = True) -> None:
        self.mono_us += int(seconds * 1_000_000)
        self.host_us += int(seconds * 1_000_000)
        if tick:
            self.machine.tick()

    def question(self) -> ChallengeBody:
        return peek(ChallengeBody, self.machine.challenge())

    def start(self, body: VoucherBody = VOUCHER, holder: SigningKey = HOLDER) -> bytes:
        return self.machine.start(presentable(body), presentation(body, self.question().nonce, holder))

    def release(self, body: VoucherBody = VOUCHER, by: SigningKey = HOLDER, by_grant: bytes = b"") -> bytes:
        asked = ReleaseBody(DEVICE, self.question().nonce, body.order_id)
        return self.machine.release(seal(asked, by).signed, by_grant)

    def close(self, body: VoucherBody = VOUCHER, by: SigningKey = HOLDER, by_grant: bytes = b"") -> bytes:
        asked = ReleaseBody(DEVICE, self.question().nonce, body.order_id)
        return self.machine.close_serial(presentable(body), seal(asked, by).signed, by_grant)

    def state_time(self, time: Instant, nonce: Nonce | None = None, device: DeviceId = DEVICE) -> Instant:
        statement = TimeStatementBody(device, nonce or self.question().nonce, time)
        return self.machine.set_time(seal(statement, PLATFORM).signed, PLATFORM_GRANT)


@contextmanager
def refused(reason: str) -> Iterator[None]:
    """The block must raise Rejected with this reason."""
    with pytest.raises(Rejected) as raised:
        yield
    assert raised.value.reason == reason, raised.value
