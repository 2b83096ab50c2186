"""The replay window: which voucher serials a device still takes.

The rule: a serial is taken once, and only above the floor. The highest serials used are remembered one by one; when one more
would not fit, the lowest of them becomes the floor. So an unused serial below a used one is still taken while it is recent,
and no used serial is ever taken again. DESIGN 7.
"""

from msgspec import Struct

from energyshare.errors import Reason, Rejected
from energyshare.values import Serial, UnixS

USED_SERIALS_MAX = 64


class Window(Struct, frozen=True):
    """The serials that were used: the highest ones in rising order, and the floor below which all count as used."""

    floor: Serial
    used: tuple[Serial, ...]


EMPTY = Window(Serial(0), ())


def require_unused(window: Window, serial: Serial, not_after: UnixS) -> None:
    """Refuse a serial that was used, that is too old to tell, or that lies after its own voucher's last moment.

    Raises: Rejected with VOUCHER_USED or VOUCHER_SERIAL.
    """
    if serial in window.used:
        raise Rejected(Reason.VOUCHER_USED)
    if not window.floor < serial <= not_after * 1_000:
        raise Rejected(Reason.VOUCHER_SERIAL)


def with_used(window: Window, serial: Serial, most: int = USED_SERIALS_MAX) -> Window:
    """Mark an unused serial as used; raises the floor when the memory is full."""
    used = tuple(sorted((*window.used, serial)))
    return Window(window.floor, used) if len(used) <= most else Window(used[0], used[1:])
