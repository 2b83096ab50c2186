"""What a device switches and meters: two simulations of it, and a worker, who has nothing of the kind.

Energy is counted exactly, in watt-microseconds, from an injected monotonic count. The register never falls: a value is on
disk before it is shown, and a restart goes on from there.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import msgspec
from msgspec import Struct

from energyshare.errors import Corrupt
from energyshare.home import write_atomically
from energyshare.records import replace
from energyshare.values import EnergyWh, Kind, Percent, PowerW
from terminals.device.clock import MonotonicUs
from terminals.device.memory import Meter
from terminals.device.settings import Settings

WH = 3_600_000_000  # watt-microseconds

HEALTHY = Percent(100)

Monotonic = Callable[[], MonotonicUs]


class Hardware(Protocol):
    """A lock or an outlet with its meter."""

    def open(self, limit_wh: EnergyWh) -> None:
        """Supply until so much more has flowed; opening what is open sets the limit anew."""

    def close(self) -> None:
        """Stop the supply."""

    def meter(self) -> Meter:
        """Read the meter."""


class Totals(Struct, frozen=True):
    """What outlives a restart, in watt-microseconds: all that ever flowed, and what a battery still holds."""

    flowed: int
    charge: int


class Flow(Struct, frozen=True):
    """A supply at one moment: it goes on at `power_w` until `stop` is reached, and is closed when the two totals meet."""

    flowed: int
    stop: int
    power_w: PowerW
    at_us: MonotonicUs

    @property
    def power_now_w(self) -> PowerW:
        """What flows at this moment."""
        return self.power_w if self.flowed < self.stop else PowerW(0)


def flow_on(flow: Flow, now_us: MonotonicUs) -> Flow:
    """Let time pass: never past the stop, to the microsecond."""
    passed_us = max(0, now_us - flow.at_us)
    return replace(flow, flowed=min(flow.stop, flow.flowed + flow.power_w * passed_us), at_us=now_us)


class MeterFile:
    """The totals on disk, rewritten whole whenever the shown register rises."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.totals = self._read()
        self._shown_wh = self.totals.flowed // WH

    @staticmethod
    def create(path: Path, totals: Totals) -> "MeterFile":
        """Make the file of a new meter."""
        write_atomically(path, msgspec.json.encode(_texts(totals)))
        return MeterFile(path)

    def show(self, totals: Totals) -> EnergyWh:
        """Give the register of these totals, once it is on disk."""
        register_wh = EnergyWh(totals.flowed // WH)
        if register_wh != self._shown_wh:
            write_atomically(self._path, msgspec.json.encode(_texts(totals)))
            self.totals, self._shown_wh = totals, register_wh
        return register_wh

    def _read(self) -> Totals:
        try:
            texts = msgspec.json.decode(self._path.read_bytes(), type=dict[str, str])
            return Totals(int(texts["flowed"]), int(texts["charge"]))
        except (OSError, msgspec.DecodeError, msgspec.ValidationError, KeyError, ValueError):
            hint = "restore it from your backup: a meter's register never begins anew"
            raise Corrupt(f"the meter's totals {self._path} are missing or damaged", hint) from None


class SimulatedOutlet:
    """An outlet that supplies `power_w` whenever it is open."""

    def __init__(self, file: MeterFile, power_w: PowerW, monotonic: Monotonic) -> None:
        self._file, self._monotonic = file, monotonic
        flowed = file.totals.flowed
        self._flow = Flow(flowed, flowed, power_w, monotonic())

    def open(self, limit_wh: EnergyWh) -> None:
        """Supply at most so much more."""
        flow = self._now()
        self._flow = replace(flow, stop=flow.flowed + limit_wh * WH)

    def close(self) -> None:
        """Stop."""
        flow = self._now()
        self._flow = replace(flow, stop=flow.flowed)

    def meter(self) -> Meter:
        """Read the meter."""
        flow = self._now()
        return Meter(self._file.show(Totals(flow.flowed, 0)), flow.power_now_w)

    def _now(self) -> Flow:
        self._flow = flow_on(self._flow, self._monotonic())
        return self._flow


class SimulatedLock:
    """A lock with its battery, which discharges at `power_w` while it is open, until it is empty."""

    def __init__(
        self, file: MeterFile, capacity_wh: EnergyWh, power_w: PowerW, monotonic: Monotonic, soh_pct: Percent = HEALTHY
    ) -> None:
        self._file, self._monotonic = file, monotonic
        self._soh_pct = soh_pct
        self._capacity = max(1, capacity_wh * WH)
        flowed = file.totals.flowed
        self._empty_at = flowed + file.totals.charge
        self._flow = Flow(flowed, flowed, power_w, monotonic())

    def open(self, limit_wh: EnergyWh) -> None:
        """Let the battery go; it gives at most so much, and no more than it holds."""
        flow = self._now()
        self._flow = replace(flow, stop=min(self._empty_at, flow.flowed + limit_wh * WH))

    def close(self) -> None:
        """Cut the battery's output."""
        flow = self._now()
        self._flow = replace(flow, stop=flow.flowed)

    def meter(self) -> Meter:
        """Read the meter, and the battery's states of charge and health."""
        flow = self._now()
        charge = self._empty_at - flow.flowed
        soc_pct = Percent(min(100, charge * 100 // self._capacity))
        return Meter(self._file.show(Totals(flow.flowed, charge)), flow.power_now_w, soc_pct, self._soh_pct)

    def _now(self) -> Flow:
        self._flow = flow_on(self._flow, self._monotonic())
        return self._flow


class Unmetered:
    """A worker's part: nothing opens, and nothing flows."""

    def open(self, limit_wh: EnergyWh) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""

    def meter(self) -> Meter:
        """Show nothing."""
        return Meter(EnergyWh(0), PowerW(0))


def new_totals(settings: Settings) -> Totals:
    """Give the totals of a meter that never turned."""
    return Totals(0, settings.capacity_wh * WH * settings.soc_pct // 100)


def simulated(settings: Settings, meter: Path, monotonic: Monotonic) -> Hardware:
    """Give the simulated equipment of a device; raises Corrupt when its meter's totals are missing.

    A worker has no meter, so nothing is read for one.
    """
    if settings.kind is Kind.SERVICE:
        return Unmetered()
    file = MeterFile(meter)
    if settings.kind is Kind.BATTERY:
        return SimulatedLock(file, settings.capacity_wh, settings.power_w, monotonic, settings.soh_pct)
    return SimulatedOutlet(file, settings.power_w, monotonic)


def _texts(totals: Totals) -> dict[str, str]:
    """Write totals as texts: a lifetime's watt-microseconds do not fit 64 bits."""
    return {"flowed": str(totals.flowed), "charge": str(totals.charge)}
