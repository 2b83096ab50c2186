"""A worker's identity: a device of kind "service", which the provider's daemon serves from a home of its own.

The worker checks in by it: the user's terminal presents its voucher there, as at a lock. Nothing opens and nothing is
metered; a session lasts until its holder or owner releases it. Serve the machine with server.open_server and
server.tick_until. DESIGN 4.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from energyshare.home import WrongHome, lock_home
from energyshare.values import Instant, Kind
from terminals.device.hardware import Monotonic
from terminals.device.home import ROLE, monotonic_us, open_machine, stopping
from terminals.device.machine import Machine
from terminals.device.settings import load_settings
from terminals.identity import load_identity


@contextmanager
def worker(home: Path, clock: Callable[[], Instant], monotonic: Monotonic = monotonic_us) -> Iterator[Machine]:
    """Hold a worker's home and give its machine, which is stopped on leaving; otherwise as open_worker.

    Raises: Unavailable when another program holds the home.
    """
    load_identity(home, ROLE)  # first, as the lock would make a home that is missing
    with lock_home(home), stopping(open_worker(home, clock, monotonic)) as machine:
        yield machine


def open_worker(home: Path, clock: Callable[[], Instant], monotonic: Monotonic = monotonic_us) -> Machine:
    """Open the machine of a worker's home, whose lock the caller holds.

    Raises: WrongHome for a home that is no worker's; as load_identity and open_machine.
    """
    identity = load_identity(home, ROLE)
    if load_settings(home).kind is not Kind.SERVICE:
        raise WrongHome(f"{home} is not a worker's home", "enroll one with: energyshare-device enroll --kind service")
    return open_machine(identity, clock(), monotonic)
