"""A device's home: how its memory, meter and settings are made, reset, and opened as a running device.

Whoever calls holds the home's lock; `host` is the battery-backed clock's time now. What lies in a home: docs/device.md.
"""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from energyshare.errors import Unavailable
from energyshare.values import DeviceId, Instant, Kind, ProviderId
from terminals.device.clock import MonotonicUs
from terminals.device.hardware import MeterFile, Monotonic, new_totals, simulated
from terminals.device.machine import Machine, Parts
from terminals.device.memory import Profile, fresh_memory
from terminals.device.memory_file import MemoryFile, set_aside
from terminals.device.settings import MEMORY, METER, SETTINGS, Settings, load_settings, save_settings, with_next_epoch
from terminals.identity import Identity

ROLE = "device"


def furnish(home: Path, settings: Settings, host: Instant) -> None:
    """Make memory, meter and settings of a new device; one that has settings keeps what it has."""
    if (home / SETTINGS).exists():
        return
    for left_by_a_crash in home.glob(f"{MEMORY}*"):
        left_by_a_crash.unlink()
    MemoryFile.create(home / MEMORY, fresh_memory(settings.epoch, host)).close()
    if settings.kind is not Kind.SERVICE:
        MeterFile.create(home / METER, new_totals(settings))
    save_settings(home, settings)


def reset(home: Path, host: Instant) -> Settings:
    """Raise the epoch, then begin a fresh memory beside the old one; the meter goes on."""
    before = load_settings(home)
    settings = with_next_epoch(before)
    save_settings(home, settings)
    set_aside(home / MEMORY, before.epoch)
    MemoryFile.create(home / MEMORY, fresh_memory(settings.epoch, host)).close()
    return settings


def open_machine(identity: Identity, host: Instant, monotonic: Monotonic) -> Machine:
    """Open the device of an identity's home, where it left off.

    Raises: Unavailable while its grant is not signed; Corrupt for memory, meter or settings that are missing or damaged.
    """
    grant = _required_grant(identity)
    settings = load_settings(identity.home)
    profile = Profile(DeviceId(identity.subject_id), ProviderId(identity.owner_id), settings.kind)
    file = MemoryFile.open(identity.home / MEMORY, settings.epoch)
    hardware = simulated(settings, identity.home / METER, monotonic)
    return Machine(Parts(profile, identity.key, identity.root_key, grant, hardware, monotonic, os.urandom), file, host)


@contextmanager
def stopping(machine: Machine) -> Iterator[Machine]:
    """Let a machine run, and stop it on leaving."""
    try:
        yield machine
    finally:
        machine.stop()


def monotonic_us() -> MonotonicUs:
    """Count microseconds of this run."""
    return MonotonicUs(time.monotonic_ns() // 1_000)


def host_time() -> Instant:
    """Read the battery-backed clock."""
    return Instant(time.time_ns() // 1_000)


def _required_grant(identity: Identity) -> bytes:
    if identity.grant is None:
        raise Unavailable(
            "this device's grant has not been signed yet",
            "the operator signs it with energyshare-cloud grant sign; then run the enroll command again",
        )
    return identity.grant
