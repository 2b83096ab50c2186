"""A device's key file beside its identity: what it is, and the number of its replay memory.

`device.json` is written last when a device is made, and first when it is reset: a crash between leaves an epoch that the
memory does not have, and the device refuses to start until a reset has gone through. ADR-0003.
"""

from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Struct

from energyshare.errors import Corrupt
from energyshare.home import write_atomically
from energyshare.records import replace
from energyshare.values import EnergyWh, Epoch, Kind, Percent, PowerW

SETTINGS = "device.json"
MEMORY = "memory.db"
METER = "meter.json"
RESET_HINT = "close this device's memory for good and begin anew with: energyshare-device reset"
FIRST_EPOCH = Epoch(1)
KINDS = {"battery": Kind.BATTERY, "outlet": Kind.ENERGY, "service": Kind.SERVICE}

Watts = Annotated[PowerW, msgspec.Meta(ge=0, le=10**7)]
Capacity = Annotated[EnergyWh, msgspec.Meta(ge=0, le=10**9)]
MemoryNumber = Annotated[Epoch, msgspec.Meta(ge=1, le=2**32 - 1)]
Charge = Annotated[Percent, msgspec.Meta(ge=0, le=100)]


class Settings(Struct, frozen=True):
    """What equipment a device has: capacity, state of charge and state of health are a battery's; a worker has none."""

    kind: Kind
    epoch: MemoryNumber
    power_w: Watts
    capacity_wh: Capacity
    soc_pct: Charge
    soh_pct: Charge = Percent(100)


WORKER = Settings(Kind.SERVICE, FIRST_EPOCH, PowerW(0), EnergyWh(0), Percent(0))


def equipment(kind: Kind, power_w: PowerW, capacity_wh: EnergyWh, soc_pct: Percent, soh_pct: Percent) -> Settings:
    """Give the settings of a new device, without what its kind does not have."""
    if kind is Kind.SERVICE:
        return WORKER
    held_wh = capacity_wh if kind is Kind.BATTERY else EnergyWh(0)
    return Settings(kind, FIRST_EPOCH, power_w, held_wh, soc_pct, soh_pct)


def save_settings(home: Path, settings: Settings) -> None:
    """Write the settings, whole or not at all."""
    write_atomically(home / SETTINGS, msgspec.json.format(msgspec.json.encode(settings)) + b"\n")


def load_settings(home: Path) -> Settings:
    """Read the settings; raises Corrupt when they are missing or damaged."""
    try:
        return msgspec.json.decode((home / SETTINGS).read_bytes(), type=Settings)
    except FileNotFoundError:
        raise Corrupt(f"{home / SETTINGS} is missing", "run energyshare-device enroll again in this home") from None
    except (msgspec.ValidationError, msgspec.DecodeError) as error:
        raise Corrupt(f"{home / SETTINGS} is damaged: {error}", "restore it from your backup") from None


def with_next_epoch(settings: Settings) -> Settings:
    """Give the settings of the memory that a reset begins."""
    return replace(settings, epoch=Epoch(settings.epoch + 1))
