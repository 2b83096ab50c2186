"""Burning a voucher unused: every check, every order of events, and the law that no serial is both started and burned."""

from collections.abc import Callable
from contextlib import suppress
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from msgspec import Struct

from energyshare.bodies import GrantBody, ReleaseBody, SerialClosedBody, StartReceiptBody, VoucherBody
from energyshare.credentials import open_grant, open_serial_closed
from energyshare.errors import Rejected
from energyshare.records import replace
from energyshare.signing import SigningKey
from energyshare.values import DeviceId, DurationS, Epoch, Instant, Kind, Nonce, Number, OrderId, Role, Serial, SubjectId, UnixS
from energyshare.wire import peek, seal
from terminals.device import core
from terminals.device.checks import Closing, Released
from terminals.device.memory import Memory, Profile, fresh_memory
from terminals.device.window import USED_SERIALS_MAX, Window

from . import world
from .world import HOLDER, ISSUER, ISSUER_GRANT, STRANGER, T0, VOUCHER, World, refused, voucher

RENEWED = world.key("renewed")
RENEWED_GRANT = world.grant(world.OWNER, Role.ISSUER, RENEWED)
ENDED_GRANT = seal(
    GrantBody(SubjectId(world.OWNER), Role.ISSUER, RENEWED.public, UnixS(T0 - 9), UnixS(T0 - 1), None), world.ROOT
).signed


@pytest.fixture
def device(tmp_path: Path) -> World:
    return World(tmp_path)


def burned(device: World, body: VoucherBody = VOUCHER) -> bool:
    """Whether the device refuses to start it as used."""
    try:
        device.start(body)
    except Rejected as refusal:
        return refusal.reason == "VOUCHER_USED"
    return False


# What is burned


def test_a_burned_voucher_never_starts_and_its_statement_can_be_checked_by_anyone(device: World) -> None:
    device.pass_s(5)
    statement = device.close()
    grant = open_grant(world.DEVICE_GRANT, world.ROOT.public, Role.DEVICE)
    assert open_serial_closed(statement, grant).body == SerialClosedBody(
        world.DEVICE, VOUCHER.order_id, VOUCHER.serial, Epoch(1), Number(1), Instant((T0 + 5) * 1_000_000)
    )
    with refused("VOUCHER_USED"):
        device.start()
    assert device.machine.memory.session is None


def test_burning_again_gives_the_same_statement_whoever_asks(device: World) -> None:
    statement = device.close()
    device.pass_s(60)
    device.restart()
    assert device.close() == device.close(by=ISSUER) == device.close(by=ISSUER, by_grant=ISSUER_GRANT) == statement
    assert device.machine.memory.receipts_count == 1


def test_statements_are_numbered_with_the_receipts(device: World) -> None:
    numbers = [
        peek(StartReceiptBody, device.start(voucher(1))).receipt_number,
        peek(SerialClosedBody, device.close(voucher(2))).receipt_number,
        peek(SerialClosedBody, device.close(voucher(3))).receipt_number,
    ]
    assert numbers == [1, 2, 3]


def test_a_burning_beside_an_open_session_leaves_that_alone(device: World) -> None:
    receipt = device.start(voucher(1))
    device.close(voucher(2))
    assert device.start(voucher(1)) == receipt
    assert device.hardware.meter().power_w == 1_000
    device.release(voucher(1))


def test_a_voucher_that_was_locked_out_can_be_burned(device: World) -> None:
    for _ in range(5):
        with refused("HOLDER_PROOF"):
            device.start(holder=STRANGER)
    device.close()


def test_wrong_releases_count_towards_no_lock_out(device: World) -> None:
    for _ in range(9):
        with refused("STRANGER"):
            device.close(by=STRANGER)
    device.start()


Change = Callable[[VoucherBody], VoucherBody]


@pytest.mark.parametrize(
    "change",
    [
        lambda v: v,
        lambda v: replace(v, not_before_unix_s=UnixS(T0 + 1)),
        lambda v: replace(v, not_before_unix_s=UnixS(T0 - 10), window_s=DurationS(9), serial=Serial(1)),
    ],
    ids=["valid", "not yet valid", "expired"],
)
@pytest.mark.parametrize("host_s", [0, -86_400], ids=["clock kept", "clock lost"])
def test_neither_its_window_nor_the_clock_keeps_a_voucher_from_being_burned(
    device: World, change: Change, host_s: float
) -> None:
    device.restart(host_s=host_s)
    assert device.close(change(VOUCHER)) == device.close(change(VOUCHER))


# What is refused


@pytest.mark.parametrize(
    ("reason", "change"),
    [
        ("VOUCHER_DEVICE", lambda v: replace(v, device_id=DeviceId(b"E" * 16))),
        ("VOUCHER_EPOCH", lambda v: replace(v, epoch=Epoch(2))),
        ("VOUCHER_SERIAL", lambda v: replace(v, serial=Serial((T0 + 3_541) * 1_000))),
    ],
)
def test_a_voucher_that_does_not_fit_is_not_burned(device: World, reason: str, change: Change) -> None:
    with refused(reason):
        device.close(change(VOUCHER))
    assert device.machine.closed_serials(None, Number(0)) == ()
    device.start()


@pytest.mark.parametrize(
    ("reason", "presentable"),
    [
        ("GRANT_OWNER", world.presentable(VOUCHER, STRANGER, world.OTHER_GRANT)),
        ("SIGNATURE_INVALID", world.presentable(VOUCHER, STRANGER, ISSUER_GRANT)),
        ("GRANT_ROLE", world.presentable(VOUCHER, world.DEVICE_KEY, world.DEVICE_GRANT)),
        ("GRANT_INVALID", world.presentable(VOUCHER, ISSUER, world.grant(world.OWNER, Role.ISSUER, ISSUER, root=STRANGER))),
        ("MALFORMED", b"\x00"),
    ],
)
def test_a_voucher_of_someone_else_is_not_burned(device: World, reason: str, presentable: bytes) -> None:
    asked = ReleaseBody(world.DEVICE, device.question().nonce, VOUCHER.order_id)
    with refused(reason):
        device.machine.close_serial(presentable, seal(asked, HOLDER).signed, b"")
    device.start()


@pytest.mark.parametrize(
    ("by", "grant", "reason"),
    [
        (HOLDER, b"", None),
        (ISSUER, b"", None),
        (ISSUER, ISSUER_GRANT, None),
        (RENEWED, RENEWED_GRANT, None),
        (RENEWED, b"", "STRANGER"),
        (STRANGER, b"", "STRANGER"),
        (STRANGER, world.OTHER_GRANT, "STRANGER"),
        (STRANGER, ISSUER_GRANT, "STRANGER"),
        (HOLDER, ISSUER_GRANT, "STRANGER"),
        (RENEWED, ENDED_GRANT, "GRANT_EXPIRED"),
        (world.DEVICE_KEY, world.DEVICE_GRANT, "GRANT_ROLE"),
        (HOLDER, b"\x00", "MALFORMED"),
    ],
)
def test_only_holder_and_owner_burn_a_voucher(device: World, by: SigningKey, grant: bytes, reason: str | None) -> None:
    if reason is None:
        device.close(by=by, by_grant=grant)
    else:
        with refused(reason):
            device.close(by=by, by_grant=grant)
    assert burned(device) is (reason is None)


def test_what_was_burned_is_told_only_to_those_who_may_burn_it(device: World) -> None:
    device.close()
    with refused("STRANGER"):
        device.close(by=STRANGER)


@pytest.mark.parametrize("host_s", [0, -86_400], ids=["clock kept", "clock lost"])
def test_a_grant_that_has_expired_burns_nothing_by_a_clock_that_may_be_believed(device: World, host_s: float) -> None:
    device.pass_s(366 * 86_400)
    device.restart(host_s=host_s)
    if host_s:
        device.close()
    else:
        with refused("GRANT_EXPIRED"):
            device.close()


@pytest.mark.parametrize(
    ("reason", "change"),
    [
        ("VOUCHER_ORDER", lambda r: replace(r, order_id=OrderId(b"9" * 16))),
        ("CHALLENGE_UNKNOWN", lambda r: replace(r, device_id=DeviceId(b"E" * 16))),
        ("CHALLENGE_UNKNOWN", lambda r: replace(r, nonce=Nonce(b"n" * 16))),
    ],
)
def test_a_release_must_be_of_the_vouchers_order_at_this_device(
    device: World, reason: str, change: Callable[[ReleaseBody], ReleaseBody]
) -> None:
    asked = ReleaseBody(world.DEVICE, device.question().nonce, VOUCHER.order_id)
    with refused(reason):
        device.machine.close_serial(world.presentable(), seal(change(asked), HOLDER).signed, b"")
    device.start()


@pytest.mark.parametrize(("seconds", "reason"), [(30, None), (30.000_001, "CHALLENGE_UNKNOWN")])
def test_a_release_burns_once_and_within_30_seconds(device: World, seconds: float, reason: str | None) -> None:
    asked = seal(ReleaseBody(world.DEVICE, device.question().nonce, VOUCHER.order_id), HOLDER).signed
    device.pass_s(seconds)
    if reason is None:
        device.machine.close_serial(world.presentable(), asked, b"")
    with refused("CHALLENGE_UNKNOWN"):
        device.machine.close_serial(world.presentable(), asked, b"")
    assert burned(device) is (reason is None)


def test_a_release_that_does_not_parse_is_malformed(device: World) -> None:
    with refused("MALFORMED"):
        device.machine.close_serial(world.presentable(), b"\x00", b"")


def test_a_second_voucher_with_a_burned_serial_is_used_too(device: World) -> None:
    device.close()
    twin = replace(VOUCHER, order_id=OrderId(b"9" * 16))
    with refused("VOUCHER_USED"):
        device.close(twin)
    assert burned(device, twin)


# The order of the checks


FRESH = fresh_memory(Epoch(1), Instant(T0 * 1_000_000))
USED = replace(FRESH, window=Window(Serial(0), (VOUCHER.serial,)))


class Burning(Struct, frozen=True):
    """What a burning is decided on."""

    grant: bytes = ISSUER_GRANT
    body: VoucherBody = VOUCHER
    order: OrderId = VOUCHER.order_id
    by: SigningKey = HOLDER
    question: bytes | None = b"question"
    memory: Memory = FRESH

    def decide(self) -> core.Decision:
        release = seal(ReleaseBody(world.DEVICE, Nonce(b"n" * 16), self.order), self.by)
        grant = open_grant(self.grant, world.ROOT.public, Role.ISSUER)
        closing = Closing(seal(self.body, ISSUER), grant, Released(release, None, self.question))
        profile = Profile(world.DEVICE, world.OWNER, Kind.ENERGY)
        return core.close_serial(profile, self.memory, closing, None, lambda body: seal(body, world.DEVICE_KEY))


MENDED: list[tuple[str, Callable[[Burning], Burning]]] = [
    ("GRANT_OWNER", lambda it: replace(it, grant=ENDED_GRANT)),
    ("GRANT_EXPIRED", lambda it: replace(it, grant=ISSUER_GRANT)),
    ("VOUCHER_DEVICE", lambda it: replace(it, body=replace(it.body, device_id=world.DEVICE))),
    ("VOUCHER_EPOCH", lambda it: replace(it, body=VOUCHER)),
    ("VOUCHER_ORDER", lambda it: replace(it, order=VOUCHER.order_id)),
    ("STRANGER", lambda it: replace(it, by=HOLDER)),
    ("CHALLENGE_UNKNOWN", lambda it: replace(it, question=b"question")),
    ("VOUCHER_USED", lambda it: replace(it, memory=FRESH)),
]


def test_the_first_check_that_fails_names_the_reason() -> None:
    foreign = replace(VOUCHER, device_id=DeviceId(b"E" * 16), epoch=Epoch(2))
    burning = Burning(world.OTHER_GRANT, foreign, OrderId(b"9" * 16), STRANGER, None, USED)
    for reason, mended in MENDED:
        with refused(reason):
            burning.decide()
        burning = mended(burning)
    assert burning.decide().answer is not None


def test_after_a_reset_an_old_voucher_can_not_be_burned() -> None:
    with refused("VOUCHER_EPOCH"):
        Burning(memory=fresh_memory(Epoch(2), Instant(T0 * 1_000_000))).decide()


# The window


def test_a_statement_is_still_given_when_its_serial_has_sunk_below_the_floor(device: World) -> None:
    statement = device.close(voucher(1))
    for number in range(2, 2 + USED_SERIALS_MAX):
        device.close(voucher(number))
    assert device.machine.memory.window.floor == voucher(1).serial
    assert device.close(voucher(1)) == statement
    with refused("VOUCHER_SERIAL"):
        device.start(voucher(1))


def test_an_open_session_is_said_to_be_started_even_when_its_serial_has_sunk_below_the_floor(device: World) -> None:
    receipt = device.start(voucher(1))
    for number in range(2, 3 + USED_SERIALS_MAX):
        device.close(voucher(number))
    with refused("VOUCHER_USED"):
        device.close(voucher(1))
    assert device.start(voucher(1)) == receipt


def test_what_is_too_old_to_tell_is_neither_burned_nor_started(device: World) -> None:
    for number in range(2, 3 + USED_SERIALS_MAX):
        device.close(voucher(number))
    for act in (device.close, device.start):
        with refused("VOUCHER_SERIAL"):
            act(voucher(1))


# Every order of events

NEXT = {
    ("new", "start"): "open",
    ("new", "close"): "burned",
    ("new", "release"): "NOT_IN_USE",
    ("open", "start"): "open",
    ("open", "close"): "VOUCHER_USED",
    ("open", "release"): "ended",
    ("ended", "start"): "VOUCHER_USED",
    ("ended", "close"): "VOUCHER_USED",
    ("ended", "release"): "ended",
    ("burned", "start"): "VOUCHER_USED",
    ("burned", "close"): "burned",
    ("burned", "release"): "NOT_IN_USE",
}


def test_every_sequence_of_four_events_goes_as_the_table_says(device: World) -> None:
    for number, events in enumerate(product(("start", "close", "release", "restart"), repeat=4)):
        body = replace(VOUCHER, order_id=OrderId(number.to_bytes(16, "big")), serial=Serial(VOUCHER.serial + number))
        play(device, body, events)


def play(device: World, body: VoucherBody, events: tuple[str, ...]) -> None:
    state, answers = "new", dict[str, bytes]()
    for event in events:
        if event == "restart":
            device.restart()
            continue
        after = NEXT[state, event]
        if after.isupper():
            with refused(after):
                getattr(device, event)(body)
        else:
            answer = getattr(device, event)(body)
            assert answers.setdefault(event, answer) == answer, events
            state = after
    if state == "open":
        device.release(body)


class Vouchers(RuleBasedStateMachine):
    """Five vouchers, two of them with one serial; whatever is asked in whatever order, the law holds."""

    some = st.sampled_from([voucher(1), voucher(2), voucher(3), voucher(4), replace(voucher(5), serial=voucher(1).serial)])
    askers = st.sampled_from([(HOLDER, b""), (ISSUER, b""), (ISSUER, ISSUER_GRANT)])

    def __init__(self) -> None:
        super().__init__()
        self.directory = TemporaryDirectory()
        self.device = World(Path(self.directory.name))
        self.started = dict[Serial, set[bytes]]()
        self.closed = dict[Serial, set[bytes]]()

    @rule(body=some)
    def start(self, body: VoucherBody) -> None:
        with suppress(Rejected):
            self.started.setdefault(body.serial, set()).add(self.device.start(body))

    @rule(body=some, asker=askers)
    def close(self, body: VoucherBody, asker: tuple[SigningKey, bytes]) -> None:
        with suppress(Rejected):
            self.closed.setdefault(body.serial, set()).add(self.device.close(body, *asker))

    @rule(body=some)
    def release(self, body: VoucherBody) -> None:
        with suppress(Rejected):
            self.device.release(body)

    @rule(off_s=st.sampled_from([0, 600, -86_400]))
    def cut_the_power(self, off_s: int) -> None:
        self.device.restart(host_s=off_s)

    @rule()
    def let_a_quarter_hour_pass(self) -> None:
        self.device.pass_s(900)

    @invariant()
    def no_serial_is_both_started_and_burned_and_each_happens_once(self) -> None:
        for serial in {*self.started, *self.closed}:
            assert len(self.started.get(serial, set()) | self.closed.get(serial, set())) <= 1

    def teardown(self) -> None:
        self.directory.cleanup()


def test_no_serial_is_ever_both_started_and_burned() -> None:
    checks = [HealthCheck.too_slow]
    limits = settings(max_examples=25, stateful_step_count=25, deadline=None, suppress_health_check=checks)
    run_state_machine_as_test(Vouchers, settings=limits)
