"""Starts a session in a process that dies by SIGKILL: `python -m ….power_cut MOMENT HOME`."""

import os
import signal
import sys
from pathlib import Path

from energyshare.values import EnergyWh, Instant
from terminals.device.hardware import SimulatedOutlet
from terminals.device.machine import Machine
from terminals.device.memory_file import MemoryFile

from .world import World


def die(*_: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


class DyingOutlet(SimulatedOutlet):
    """Dies when it is told to open: the memory is durable, the answer is not sent."""

    def open(self, limit_wh: EnergyWh) -> None:
        die()


def main(moment: str, home: Path) -> None:
    device = World(home)
    file: MemoryFile = device.file()
    hardware = device.hardware
    if moment == "after the commit":
        hardware.__class__ = DyingOutlet
    device.machine = Machine(device.parts(hardware), file, Instant(device.host_us))
    if moment == "before the commit":
        file._connection.set_trace_callback(lambda statement: die() if statement == "COMMIT" else None)
    device.start()


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
