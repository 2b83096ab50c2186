"""How a side's open orders are put into Snapshots; both sides keep to it. Source: ADR-0007."""

from collections.abc import Iterable, Iterator

from energyshare.bodies import Part
from energyshare.messages import Snapshot, SnapshotOrder
from energyshare.values import DAY_S

RECENT_S = 3 * DAY_S
"""How long an ended order is still told of: as long as a bill may be disputed."""
PARTS_MAX = 1_000
PARTS_BYTES_MAX = 1024 * 1024  # what a frame of its own can carry; only readings without end come near it
PAGE_ORDERS_MAX = 100
PAGE_BYTES_MAX = 256 * 1024  # an order larger than that is a page of its own


def pages(orders: Iterable[SnapshotOrder]) -> Iterator[Snapshot]:
    """Divide orders into Snapshots of bounded size; one that is empty says that there are none."""
    page: list[SnapshotOrder] = []
    size, count = 0, 0
    for order in orders:
        added = _size_of(order)
        if page and (len(page) == PAGE_ORDERS_MAX or size + added > PAGE_BYTES_MAX):
            yield Snapshot(tuple(page))
            page, size, count = [], 0, count + 1
        page.append(order)
        size += added
    if page or count == 0:
        yield Snapshot(tuple(page))


def bounded(parts: Iterable[Part]) -> tuple[Part, ...]:
    """Give as many parts, from the first, as one order may carry."""
    taken: list[Part] = []
    size = 0
    for part in parts:
        size += _size(part)
        if len(taken) == PARTS_MAX or size > PARTS_BYTES_MAX:
            break
        taken.append(part)
    return tuple(taken)


def _size_of(order: SnapshotOrder) -> int:
    return 200 + sum(map(_size, order.parts))


def _size(part: Part) -> int:
    return len(part.signed) + 8
