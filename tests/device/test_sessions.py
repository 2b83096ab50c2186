"""Sessions from start to end receipt, and every way to be refused. The whole machine, with a clock that is told."""

from collections.abc import Callable
from pathlib import Path

import pytest

from energyshare.bodies import (
    EndReceiptBody,
    PresentationBody,
    ReadingBody,
    ReleaseBody,
    StartReceiptBody,
    TimeStatementBody,
    VoucherBody,
)
from energyshare.credentials import open_end_receipt, open_grant, open_readings, open_start_receipt
from energyshare.errors import Rejected
from energyshare.records import replace
from energyshare.signing import SigningKey
from energyshare.values import (
    DeviceId,
    DurationS,
    EndCause,
    EnergyWh,
    Epoch,
    Instant,
    Kind,
    Nonce,
    Number,
    PowerW,
    Role,
    Serial,
    UnixS,
)
from energyshare.wire import peek, seal
from terminals.device.memory import Meter

from . import world
from .world import HOLDER, ISSUER, ISSUER_GRANT, STRANGER, T0, VOUCHER, World, refused, voucher


@pytest.fixture
def outlet(tmp_path: Path) -> World:
    return World(tmp_path)


@pytest.fixture
def battery(tmp_path: Path) -> World:
    return World(tmp_path, Kind.BATTERY, capacity_wh=1_500)


def readings(device: World, body: VoucherBody = VOUCHER) -> list[ReadingBody]:
    signed = device.machine.evidence(body.order_id, Number(0))[-1].readings
    grant = open_grant(world.DEVICE_GRANT, world.ROOT.public, Role.DEVICE)
    return [reading.body for reading in open_readings(signed, grant)]


def story(device: World) -> list[tuple[int, int, bool]]:
    return [(one.elapsed_s, one.register_wh, one.supplying) for one in readings(device)]


# Starting


def test_a_start_opens_and_gives_a_receipt_that_a_stranger_to_the_device_can_check(outlet: World) -> None:
    receipt = outlet.start()
    grant = open_grant(world.DEVICE_GRANT, world.ROOT.public, Role.DEVICE)
    opened = open_start_receipt(receipt, grant, HOLDER.public)
    assert opened.voucher_hash == seal(VOUCHER, ISSUER).digest
    assert opened.receipt.body.receipt_number == 1
    assert outlet.hardware.meter().power_w == 1_000


def test_the_same_voucher_with_a_new_nonce_resumes_with_the_same_receipt(outlet: World) -> None:
    receipt = outlet.start()
    outlet.pass_s(60)
    assert outlet.start() == receipt
    assert len(readings(outlet)) == 1


def test_a_voucher_that_expired_while_its_session_is_open_still_resumes(outlet: World) -> None:
    receipt = outlet.start()
    outlet.pass_s(3_700)
    assert outlet.start() == receipt


def test_an_ended_session_closes_its_serial_for_good(outlet: World) -> None:
    outlet.start()
    outlet.release()
    with refused("VOUCHER_USED"):
        outlet.start()


def test_an_older_unused_serial_is_still_taken(outlet: World) -> None:
    for number in (3, 1, 2):
        outlet.start(voucher(number))
        outlet.release(voucher(number))


Change = Callable[[VoucherBody], VoucherBody]


@pytest.mark.parametrize(
    ("reason", "change"),
    [
        ("VOUCHER_DEVICE", lambda v: replace(v, device_id=DeviceId(b"E" * 16))),
        ("VOUCHER_NOT_YET_VALID", lambda v: replace(v, not_before_unix_s=UnixS(T0 + 1))),
        ("VOUCHER_EXPIRED", lambda v: replace(v, not_before_unix_s=UnixS(T0 - 10), window_s=DurationS(9))),
        ("VOUCHER_EPOCH", lambda v: replace(v, epoch=Epoch(2))),
        ("VOUCHER_SERIAL", lambda v: replace(v, serial=Serial((T0 + 3_541) * 1_000))),
    ],
)
def test_a_voucher_that_does_not_fit_is_refused(outlet: World, reason: str, change: Change) -> None:
    with refused(reason):
        outlet.start(change(VOUCHER))
    outlet.start()


def test_the_window_holds_to_the_second_at_both_ends(outlet: World) -> None:
    first = replace(VOUCHER, not_before_unix_s=UnixS(T0), window_s=DurationS(1), serial=Serial(T0 * 1_000))
    outlet.pass_s(1.999_999)
    outlet.start(first)


@pytest.mark.parametrize(
    ("reason", "presentable"),
    [
        ("GRANT_OWNER", world.presentable(VOUCHER, STRANGER, world.OTHER_GRANT)),
        ("SIGNATURE_INVALID", world.presentable(VOUCHER, STRANGER, ISSUER_GRANT)),
        ("GRANT_ROLE", world.presentable(VOUCHER, world.DEVICE_KEY, world.DEVICE_GRANT)),
        (
            "GRANT_INVALID",
            world.presentable(VOUCHER, ISSUER, world.grant(world.OWNER, Role.ISSUER, ISSUER, root=STRANGER)),
        ),
        ("MALFORMED", b"\x00"),
    ],
)
def test_a_voucher_of_someone_else_is_refused(outlet: World, reason: str, presentable: bytes) -> None:
    with refused(reason):
        outlet.machine.start(presentable, world.presentation(VOUCHER, outlet.question().nonce))


def test_a_grant_that_has_expired_opens_nothing(outlet: World) -> None:
    outlet.pass_s(366 * 86_400)
    late = replace(VOUCHER, not_before_unix_s=UnixS(T0 + 366 * 86_400))
    with refused("GRANT_EXPIRED"):
        outlet.start(late)


def test_a_presentation_is_valid_once(outlet: World) -> None:
    answer = world.presentation(VOUCHER, outlet.question().nonce)
    outlet.machine.start(world.presentable(), answer)
    with refused("CHALLENGE_UNKNOWN"):
        outlet.machine.start(world.presentable(), answer)


@pytest.mark.parametrize(("seconds", "reason"), [(30, None), (30.000_001, "CHALLENGE_UNKNOWN")])
def test_a_presentation_is_valid_for_30_seconds(outlet: World, seconds: float, reason: str | None) -> None:
    answer = world.presentation(VOUCHER, outlet.question().nonce)
    outlet.pass_s(seconds)
    if reason is None:
        outlet.machine.start(world.presentable(), answer)
    else:
        with refused(reason):
            outlet.machine.start(world.presentable(), answer)


def test_the_oldest_of_65_questions_is_forgotten(outlet: World) -> None:
    first, second = outlet.question().nonce, outlet.question().nonce
    for _ in range(63):
        outlet.question()
    with refused("CHALLENGE_UNKNOWN"):
        outlet.machine.start(world.presentable(), world.presentation(VOUCHER, first))
    outlet.machine.start(world.presentable(), world.presentation(VOUCHER, second))


def test_a_device_in_use_is_busy_for_others_and_keeps_their_voucher_good(outlet: World) -> None:
    outlet.start()
    with refused("BUSY"):
        outlet.start(voucher(2))
    outlet.release()
    outlet.start(voucher(2))


# Wrong proofs


def test_five_wrong_proofs_lock_a_voucher_out_and_no_other(outlet: World) -> None:
    for _ in range(5):
        with refused("HOLDER_PROOF"):
            outlet.start(holder=STRANGER)
    with refused("LOCKED_OUT"):
        outlet.start()
    outlet.restart()
    with refused("LOCKED_OUT"):
        outlet.start()
    outlet.start(voucher(2))


@pytest.mark.parametrize(
    "body",
    [
        PresentationBody(seal(voucher(9), ISSUER).digest, world.DEVICE, Nonce(b"n" * 16)),
        PresentationBody(seal(VOUCHER, ISSUER).digest, DeviceId(b"E" * 16), Nonce(b"n" * 16)),
    ],
)
def test_a_proof_for_another_voucher_or_device_is_none(outlet: World, body: PresentationBody) -> None:
    answer = replace(body, nonce=outlet.question().nonce)
    with refused("HOLDER_PROOF"):
        outlet.machine.start(world.presentable(), seal(answer, HOLDER).signed)


def test_vouchers_that_do_not_verify_count_towards_no_lock_out(outlet: World) -> None:
    forged = world.presentable(VOUCHER, STRANGER, ISSUER_GRANT)
    for _ in range(9):
        with refused("SIGNATURE_INVALID"):
            outlet.machine.start(forged, world.presentation(VOUCHER, outlet.question().nonce, STRANGER))
    outlet.start()


def test_wrong_proofs_are_forgotten_when_their_voucher_has_ended(outlet: World) -> None:
    with refused("HOLDER_PROOF"):
        outlet.start(holder=STRANGER)
    outlet.pass_s(4_000)
    late = replace(voucher(2), window_s=DurationS(9_000))
    with refused("HOLDER_PROOF"):
        outlet.start(late, holder=STRANGER)
    assert [one.voucher_hash for one in outlet.machine.memory.failures] == [seal(late, ISSUER).digest]


# Ending


def test_the_holder_ends_and_every_reading_is_in_the_chain(outlet: World) -> None:
    start = outlet.start()
    outlet.pass_s(1_800)
    grant = open_grant(world.DEVICE_GRANT, world.ROOT.public, Role.DEVICE)
    end = open_end_receipt(outlet.release(), grant, HOLDER.public, None).receipt.body
    assert (end.cause, end.elapsed_s, end.register_wh, end.start_receipt) == (EndCause.HOLDER, 1_800, 500, start)
    assert (end.receipt_number, end.readings_count) == (2, 3)
    assert story(outlet) == [(0, 0, True), (1_800, 500, True), (1_800, 500, False)]
    assert outlet.hardware.meter().power_w == 0


def test_the_owner_may_end_a_session(outlet: World) -> None:
    outlet.start()
    end = peek(EndReceiptBody, outlet.release(by=ISSUER, by_grant=ISSUER_GRANT))
    assert end.cause is EndCause.OWNER


@pytest.mark.parametrize(
    ("by", "grant", "reason"),
    [
        (STRANGER, b"", "STRANGER"),
        (ISSUER, b"", "STRANGER"),
        (STRANGER, world.OTHER_GRANT, "STRANGER"),
        (STRANGER, ISSUER_GRANT, "STRANGER"),
        (HOLDER, ISSUER_GRANT, "STRANGER"),
        (world.DEVICE_KEY, world.DEVICE_GRANT, "GRANT_ROLE"),
    ],
)
def test_nobody_else_ends_a_session(outlet: World, by: SigningKey, grant: bytes, reason: str) -> None:
    outlet.start()
    with refused(reason):
        outlet.release(by=by, by_grant=grant)
    outlet.release()
    with refused(reason):
        outlet.release(by=by, by_grant=grant)


def test_a_release_is_valid_once_and_only_for_this_device(outlet: World) -> None:
    outlet.start()
    unknown = ReleaseBody(world.DEVICE, Nonce(b"n" * 16), VOUCHER.order_id)
    foreign = ReleaseBody(DeviceId(b"E" * 16), outlet.question().nonce, VOUCHER.order_id)
    for body in (unknown, foreign):
        with refused("CHALLENGE_UNKNOWN"):
            outlet.machine.release(seal(body, HOLDER).signed, b"")
    outlet.release()


def test_a_release_after_the_end_gives_the_stored_receipt(outlet: World) -> None:
    outlet.start()
    end = outlet.release()
    outlet.start(voucher(2))
    assert outlet.release() == end
    assert outlet.release(by=ISSUER, by_grant=ISSUER_GRANT) == end
    assert outlet.machine.memory.session is not None


def test_what_is_not_open_can_not_be_ended(outlet: World) -> None:
    for by, grant in ((HOLDER, b""), (ISSUER, ISSUER_GRANT)):
        with refused("NOT_IN_USE"):
            outlet.release(by=by, by_grant=grant)


# Readings and caps


def test_readings_come_at_every_utc_quarter_hour(outlet: World) -> None:
    outlet.pass_s(840)
    outlet.start()
    for _ in range(40):
        outlet.pass_s(60)
    assert [(one.elapsed_s, one.reading_time % 900_000_000) for one in readings(outlet)] == [
        (0, 840_000_000),
        (60, 0),
        (960, 0),
        (1_860, 0),
    ]


def test_supply_stops_exactly_at_the_watt_hours_and_parking_runs_on(outlet: World) -> None:
    outlet.start(replace(VOUCHER, energy_wh_max=EnergyWh(100)))
    outlet.pass_s(359.999_999)
    assert outlet.hardware.meter().register_wh == 99
    outlet.pass_s(30)
    outlet.pass_s(240)
    assert story(outlet) == [(0, 0, True), (389, 100, False)]
    assert outlet.machine.memory.session is not None
    assert outlet.hardware.meter() == Meter(EnergyWh(100), PowerW(0))


def test_an_outlet_ends_by_itself_at_the_seconds_cap_however_late_the_tick(outlet: World) -> None:
    outlet.start(replace(VOUCHER, duration_s_max=DurationS(600)))
    outlet.pass_s(605.5)
    end = peek(EndReceiptBody, outlet.machine.evidence(None, Number(0))[0].end_receipt or b"")
    assert (end.cause, end.release, end.elapsed_s) == (EndCause.DURATION_CAP, None, 600)
    assert end.end_time == Instant((T0 + 600) * 1_000_000)
    assert outlet.release() == outlet.machine.evidence(None, Number(0))[0].end_receipt


def test_a_release_that_arrives_after_the_cap_finds_the_session_ended(outlet: World) -> None:
    outlet.start(replace(VOUCHER, duration_s_max=DurationS(600)))
    outlet.pass_s(700, tick=False)
    assert peek(EndReceiptBody, outlet.release()).cause is EndCause.DURATION_CAP


def test_a_battery_is_cut_off_at_the_seconds_cap_but_stays_out_until_it_returns(battery: World) -> None:
    body = replace(VOUCHER, duration_s_max=DurationS(600))
    battery.start(body)
    battery.pass_s(600)
    assert battery.hardware.meter().power_w == 0
    battery.pass_s(9_000)
    end = peek(EndReceiptBody, battery.release(body))
    assert (end.cause, end.elapsed_s) == (EndCause.HOLDER, 9_600)
    assert [one.supplying for one in readings(battery)] == [True, False, False, False]


def test_an_empty_battery_stops_supplying(battery: World) -> None:
    battery.start()
    battery.pass_s(5_400)
    assert [(one.register_wh, one.supplying, one.soc_pct) for one in readings(battery)] == [
        (0, True, 100),
        (1_500, False, 0),
    ]


def test_a_resume_after_a_cut_off_opens_nothing(outlet: World) -> None:
    body = replace(VOUCHER, energy_wh_max=EnergyWh(100))
    receipt = outlet.start(body)
    outlet.pass_s(400)
    assert outlet.start(body) == receipt
    assert outlet.hardware.meter().power_w == 0


# Clock


def test_a_restart_goes_on_by_the_host_clock(outlet: World) -> None:
    outlet.restart(off_s=3_600)
    assert outlet.question().clock_time == Instant((T0 + 3_600) * 1_000_000)


@pytest.mark.parametrize(("host_s", "quality"), [(-600, "SYNCHRONIZED"), (-600.000_001, "RELATIVE")])
def test_a_host_clock_far_behind_what_was_written_makes_the_device_relative(outlet: World, host_s: float, quality: str) -> None:
    outlet.restart(host_s=host_s)
    question = outlet.question()
    assert (question.clock_quality.name, question.clock_time) == (quality, Instant(T0 * 1_000_000))


def test_a_host_clock_that_leapt_while_a_session_was_open_is_no_time_that_passed(outlet: World) -> None:
    outlet.start()
    outlet.restart(host_s=8 * 86_400)
    question = outlet.question()
    assert (question.clock_quality.name, question.clock_time) == ("RELATIVE", Instant(T0 * 1_000_000))
    assert outlet.machine.memory.session is not None
    assert outlet.machine.memory.session.elapsed_us == 0


def test_a_load_that_comes_and_goes_signs_a_bounded_number_of_readings(outlet: World) -> None:
    outlet.start()
    hardware = outlet.hardware
    for second in range(600):
        if second % 2:
            hardware.close()
        else:
            hardware.open(EnergyWh(1_000))
        outlet.pass_s(1)
    assert len(story(outlet)) <= 20 + 600 // 30 + 1


def test_a_device_that_lost_its_clock_opens_only_after_a_statement(outlet: World) -> None:
    outlet.restart(host_s=-86_400)
    with refused("CLOCK_LOST"):
        outlet.start()
    assert outlet.state_time(Instant((T0 + 120) * 1_000_000)) == (T0 + 120) * 1_000_000
    outlet.start()


@pytest.mark.parametrize(
    ("jump_s", "reason"),
    [
        (7 * 86_400, None),
        (7 * 86_400 + 1, "CLOCK_JUMP"),
        (-600, None),
        (-601, "CLOCK_JUMP"),
    ],
)
def test_a_statement_moves_the_clock_within_limits(outlet: World, jump_s: int, reason: str | None) -> None:
    time = Instant((T0 + jump_s) * 1_000_000)
    if reason is None:
        assert outlet.state_time(time) == time
    else:
        with refused(reason):
            outlet.state_time(time)


def test_a_statement_holds_once_for_one_nonce_of_this_device(outlet: World) -> None:
    nonce, time = outlet.question().nonce, Instant((T0 + 5) * 1_000_000)
    outlet.state_time(time, nonce)
    for again, device in ((nonce, world.DEVICE), (None, DeviceId(b"E" * 16))):
        with refused("CHALLENGE_UNKNOWN"):
            outlet.state_time(time, again, device)


def test_only_the_platform_key_states_the_time(outlet: World) -> None:
    statement = TimeStatementBody(world.DEVICE, outlet.question().nonce, Instant(T0 * 1_000_000))
    with refused("GRANT_ROLE"):
        outlet.machine.set_time(seal(statement, ISSUER).signed, ISSUER_GRANT)
    with refused("SIGNATURE_INVALID"):
        outlet.machine.set_time(seal(statement, ISSUER).signed, world.PLATFORM_GRANT)


def test_a_statement_does_not_change_the_duration_of_an_open_session(outlet: World) -> None:
    outlet.start()
    outlet.state_time(Instant((T0 + 86_400) * 1_000_000))
    outlet.pass_s(60)
    assert peek(EndReceiptBody, outlet.release()).elapsed_s == 60


def test_times_in_vouchers_never_move_the_clock(outlet: World) -> None:
    future = replace(VOUCHER, not_before_unix_s=UnixS(T0 + 86_400))
    with pytest.raises(Rejected):
        outlet.start(future)
    assert outlet.question().clock_time == Instant(T0 * 1_000_000)


def test_receipt_numbers_rise_by_one_with_every_receipt(outlet: World) -> None:
    numbers = []
    for n in (1, 2, 3):
        numbers.append(peek(StartReceiptBody, outlet.start(voucher(n))).receipt_number)
        numbers.append(peek(EndReceiptBody, outlet.release(voucher(n))).receipt_number)
    assert numbers == [1, 2, 3, 4, 5, 6]
