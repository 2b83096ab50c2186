"""The replay window against a set that remembers everything."""

from itertools import product

from hypothesis import given, settings
from hypothesis import strategies as st

from energyshare.errors import Rejected
from energyshare.values import Serial, UnixS
from terminals.device.window import EMPTY, USED_SERIALS_MAX, Window, require_unused, with_used

from .world import refused

FAR = UnixS(2**40)


def takes(window: Window, serial: int) -> bool:
    try:
        require_unused(window, Serial(serial), FAR)
    except Rejected:
        return False
    return True


def play(serials: tuple[int, ...], most: int) -> None:
    """Offer serials one by one; the window must agree with a set and its `most` + 1 highest."""
    window, used = EMPTY, set[int]()
    for serial in serials:
        forgotten = sorted(used)[:-most]
        expected = serial not in used and serial > max(forgotten, default=0)
        assert takes(window, serial) is expected, (serials, serial)
        if expected:
            window = with_used(window, Serial(serial), most)
            used.add(serial)


def test_every_sequence_of_small_serials_agrees_with_a_set() -> None:
    for most in (1, 2, 3):
        for serials in product(range(1, 6), repeat=6):
            play(serials, most)


@settings(max_examples=50)
@given(st.lists(st.integers(1, 200), max_size=150))
def test_long_histories_agree_with_a_set(serials: list[int]) -> None:
    play(tuple(serials), USED_SERIALS_MAX)


@settings(max_examples=50)
@given(st.lists(st.integers(1, 2**62), max_size=100, unique=True), st.integers(0, 99))
def test_a_used_serial_is_never_taken_again(serials: list[int], again: int) -> None:
    window, used = EMPTY, list[int]()
    for serial in serials:
        if takes(window, serial):
            window = with_used(window, Serial(serial))
            used.append(serial)
    assert not any(takes(window, serial) for serial in used)
    assert len(window.used) <= USED_SERIALS_MAX


def test_each_refusal_says_why() -> None:
    window = Window(Serial(10), (Serial(20), Serial(30)))
    with refused("VOUCHER_USED"):
        require_unused(window, Serial(20), FAR)
    with refused("VOUCHER_SERIAL"):
        require_unused(window, Serial(10), FAR)
    require_unused(window, Serial(11), FAR)


def test_a_serial_after_its_own_not_after_is_refused() -> None:
    require_unused(EMPTY, Serial(5_000), UnixS(5))
    with refused("VOUCHER_SERIAL"):
        require_unused(EMPTY, Serial(5_001), UnixS(5))
