"""Snapshots are divided into pages of bounded size; nothing is left out, and none is empty but the only one."""

from hypothesis import given
from hypothesis import strategies as st

from energyshare.bodies import Part
from energyshare.messages import SnapshotOrder
from energyshare.snapshots import PAGE_BYTES_MAX, PAGE_ORDERS_MAX, PARTS_BYTES_MAX, PARTS_MAX, bounded, pages
from energyshare.values import OrderId, OrderState, PartKind


def order(number: int, *sizes: int) -> SnapshotOrder:
    parts = tuple(Part(PartKind.READING, bytes(size)) for size in sizes)
    return SnapshotOrder(OrderId(number.to_bytes(16, "big")), OrderState.ACTIVE, parts)


@given(st.lists(st.integers(1, 100_000), max_size=250))
def test_every_order_is_told_once_in_pages_of_bounded_size(sizes: list[int]) -> None:
    orders = [order(number, size) for number, size in enumerate(sizes)]
    made = list(pages(orders))
    assert [one for page in made for one in page.orders] == orders
    assert all(len(page.orders) <= PAGE_ORDERS_MAX for page in made)
    assert all(sum(len(part.signed) for one in page.orders for part in one.parts) <= PAGE_BYTES_MAX for page in made)
    assert [len(page.orders) > 0 for page in made] == [True] * len(made) if orders else len(made) == 1


def test_an_order_larger_than_a_page_is_a_page_of_its_own() -> None:
    large = order(2, *[90_000] * 4)
    assert [page.orders for page in pages([order(1, 10), large, order(3, 10)])] == [(order(1, 10),), (large,), (order(3, 10),)]


def test_parts_beyond_what_a_frame_carries_are_left_out() -> None:
    assert len(bounded(order(1, *[1] * (PARTS_MAX + 5)).parts)) == PARTS_MAX
    assert sum(len(part.signed) for part in bounded(order(1, *[100_000] * 20).parts)) <= PARTS_BYTES_MAX
