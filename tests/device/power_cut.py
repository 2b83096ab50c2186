"""Starts a session, or burns a voucher, in a process that dies by SIGKILL: `python -m ….power_cut ACT MOMENT HOME`."""

import os
import signal
import sys
from collections.abc import Iterable
from pathlib import Path

from energyshare.values import EnergyWh, Instant
from terminals.device.core import Evidence
from terminals.device.hardware import SimulatedOutlet
from terminals.device.machine import Machine
from terminals.device.memory import Memory
from terminals.device.memory_file import MemoryFile

from .world import World


def die(*_: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


class DyingOutlet(SimulatedOutlet):
    """Dies when it is told to open: the memory is durable, the answer is not sent."""

    def open(self, limit_wh: EnergyWh) -> None:
        die()


class DyingFile(MemoryFile):
    """Dies when it has saved."""

    def save(self, memory: Memory, evidence: Iterable[Evidence] = ()) -> None:
        super().save(memory, evidence)
        die()


def main(act: str, moment: str, home: Path) -> None:
    device = World(home)
    file: MemoryFile = device.file()
    hardware = device.hardware
    device.machine = Machine(device.parts(hardware), file, Instant(device.host_us))
    match act, moment:
        case "start", "after the commit":
            hardware.__class__ = DyingOutlet
        case "close", "after the commit":
            file.__class__ = DyingFile
        case _, "before the commit":
            file._connection.set_trace_callback(lambda statement: die() if statement == "COMMIT" else None)
    if act == "start":
        device.start()
    else:
        device.close()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]))
