"""What survives: power cuts at the worst moments, damaged files, resets, and the meter's register."""

import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from energyshare.bodies import ChallengeBody, EndReceiptBody, SerialClosedBody, StartReceiptBody
from energyshare.errors import Corrupt, Unavailable
from energyshare.records import replace
from energyshare.values import DurationS, EnergyWh, Epoch, Instant, Kind, Number, Percent, PowerW, unix_s
from energyshare.wire import peek
from terminals.device.hardware import MeterFile, Totals
from terminals.device.home import furnish, reset
from terminals.device.memory import Memory
from terminals.device.memory_file import MemoryFile, look_at
from terminals.device.settings import Settings, load_settings, save_settings

from . import world
from .world import VOUCHER, World, presentable, presentation, refused, voucher

HERE = Path(__file__).parents[len(str(__package__).split("."))]
ROOT = Path(__file__).parents[2]


def die_in(act: str, moment: str, home: Path) -> None:
    """Run a start, or a close, in a process that kills itself with SIGKILL at a moment."""
    env = os.environ | {"PYTHONPATH": f"{HERE}{os.pathsep}{ROOT}"}
    done = subprocess.run([sys.executable, "-m", f"{__package__}.power_cut", act, moment, str(home)], env=env, timeout=30)
    assert done.returncode == -signal.SIGKILL


def back(home: Path) -> World:
    """Come back after the cut, on the same files."""
    (home / "again").mkdir()
    device = World(home / "again")
    device.home = home
    device.restart()
    return device


def test_a_power_cut_between_used_and_answer_leaves_the_session_open_for_its_holder_only(tmp_path: Path) -> None:
    die_in("start", "after the commit", tmp_path)
    device = back(tmp_path)
    stored = device.machine.evidence(VOUCHER.order_id, Number(0))[0].start_receipt
    old = peek(ChallengeBody, peek(StartReceiptBody, stored).challenge)
    with refused("CHALLENGE_UNKNOWN"):
        device.machine.start(presentable(), presentation(VOUCHER, old.nonce))
    with refused("BUSY"):
        device.start(voucher(2))
    assert device.start() == stored
    assert device.hardware.meter().power_w == 1_000
    device.release()
    with refused("VOUCHER_USED"):
        device.start()


def test_a_power_cut_before_the_commit_leaves_the_voucher_unused(tmp_path: Path) -> None:
    die_in("start", "before the commit", tmp_path)
    device = back(tmp_path)
    assert device.machine.memory.session is None
    assert device.hardware.meter().power_w == 0
    device.start()


def test_a_power_cut_between_burned_and_answer_leaves_the_voucher_burned_and_its_statement_there(tmp_path: Path) -> None:
    die_in("close", "after the commit", tmp_path)
    device = back(tmp_path)
    (stored,) = device.machine.closed_serials(VOUCHER.order_id, Number(0))
    with refused("VOUCHER_USED"):
        device.start()
    assert device.close() == stored


def test_a_power_cut_before_a_burning_is_committed_leaves_the_voucher_good(tmp_path: Path) -> None:
    die_in("close", "before the commit", tmp_path)
    device = back(tmp_path)
    assert device.machine.closed_serials(None, Number(0)) == ()
    device.start()


def test_an_ended_serial_stays_closed_over_restarts(tmp_path: Path) -> None:
    device = World(tmp_path)
    device.start()
    end = device.release()
    device.restart()
    with refused("VOUCHER_USED"):
        device.start()
    assert device.release() == end


def test_after_a_power_cut_time_is_counted_and_supply_goes_on_up_to_the_same_cap(tmp_path: Path) -> None:
    device = World(tmp_path)
    device.start(replace(VOUCHER, energy_wh_max=EnergyWh(200)))
    device.pass_s(360)
    device.restart(off_s=600)
    assert device.hardware.meter().power_w == 1_000
    device.pass_s(720)
    end = peek(EndReceiptBody, device.release())
    assert (end.register_wh, end.elapsed_s) == (200, 1_680)


def test_after_a_power_cut_past_the_seconds_cap_nothing_opens(tmp_path: Path) -> None:
    device = World(tmp_path)
    device.start(replace(VOUCHER, duration_s_max=DurationS(600)))
    device.restart(off_s=900)
    assert device.machine.memory.session is None
    assert device.hardware.meter().power_w == 0
    assert peek(EndReceiptBody, device.release()).elapsed_s == 600


def test_a_cut_off_supply_stays_off_after_a_power_cut(tmp_path: Path) -> None:
    device = World(tmp_path)
    device.start(replace(VOUCHER, energy_wh_max=EnergyWh(100)))
    device.pass_s(400)
    device.restart(off_s=10)
    assert device.machine.memory.session is not None
    assert device.hardware.meter().power_w == 0


def test_a_planned_stop_closes_the_supply_and_keeps_the_session(tmp_path: Path) -> None:
    device = World(tmp_path)
    device.start()
    device.pass_s(720)
    device.machine.stop()
    assert device.hardware.meter().power_w == 0
    device.restart(off_s=60)
    assert (device.hardware.meter().power_w, device.hardware.meter().register_wh) == (1_000, 200)


def test_the_clock_is_written_every_ten_minutes(tmp_path: Path) -> None:
    device = World(tmp_path)
    device.pass_s(599)
    assert look_at(tmp_path / "memory.db", Epoch(1)).clock.time == Instant(world.T0 * 1_000_000)
    device.pass_s(1)
    assert look_at(tmp_path / "memory.db", Epoch(1)).clock.time == Instant((world.T0 + 600) * 1_000_000)


def test_a_disk_that_does_not_take_the_memory_opens_nothing(tmp_path: Path) -> None:
    device = World(tmp_path)
    other = sqlite3.connect(tmp_path / "memory.db")
    other.execute("CREATE TRIGGER full BEFORE INSERT ON session BEGIN SELECT RAISE(ABORT, 'disk full'); END")
    other.commit()
    with pytest.raises(Unavailable, match="disk full"):
        device.start()
    assert device.hardware.meter().power_w == 0
    assert device.machine.memory.session is None
    other.execute("DROP TRIGGER full")
    other.commit()
    device.start()


def test_a_commit_that_fails_is_rolled_back_and_the_next_one_goes_through(tmp_path: Path) -> None:
    device = World(tmp_path)
    other = sqlite3.connect(tmp_path / "memory.db")
    nowhere = "CREATE TABLE nowhere (n INTEGER REFERENCES session (number) DEFERRABLE INITIALLY DEFERRED)"
    trigger = "CREATE TRIGGER late AFTER INSERT ON session BEGIN INSERT INTO nowhere VALUES (-1); END"
    other.executescript(f"{nowhere}; {trigger};")
    with pytest.raises(Unavailable, match="FOREIGN KEY"):
        device.start()
    assert device.hardware.meter().power_w == 0
    other.execute("DROP TRIGGER late")
    other.commit()
    device.start()


# Evidence


def test_evidence_is_listed_by_order_and_after_a_number(tmp_path: Path) -> None:
    device = World(tmp_path)
    for number in (1, 2, 3):
        device.start(voucher(number))
        device.release(voucher(number))
    device.start(voucher(4))

    def orders(after: int) -> list[int]:
        return [session.order_id[0] - 48 for session in device.machine.evidence(None, Number(after))]

    assert (orders(0), orders(2), orders(6), orders(7)) == ([1, 2, 3, 4], [2, 3, 4], [4], [])
    (one,) = device.machine.evidence(voucher(2).order_id, Number(0))
    assert (one.order_id, len(one.readings)) == (voucher(2).order_id, 2)


def test_statements_of_burned_vouchers_are_listed_by_order_and_after_a_number(tmp_path: Path) -> None:
    device = World(tmp_path)
    first, second = device.close(voucher(1)), device.close(voucher(2))
    device.start(voucher(3))

    def closed(order: int | None, after: int) -> tuple[bytes, ...]:
        return device.machine.closed_serials(voucher(order).order_id if order else None, Number(after))

    assert (closed(None, 0), closed(None, 1), closed(None, 2)) == ((first, second), (second,), ())
    assert (closed(2, 0), closed(2, 2), closed(3, 0)) == ((second,), (), ())


def test_statements_come_a_hundred_at_a_time(tmp_path: Path) -> None:
    device = World(tmp_path)
    signed = tuple(device.close(voucher(number)) for number in range(1, 102))
    assert device.machine.closed_serials(None, Number(0)) == signed[:100]
    assert device.machine.closed_serials(None, Number(100)) == signed[100:]


def test_statements_are_kept_for_90_days_and_their_vouchers_stay_burned(tmp_path: Path) -> None:
    device = World(tmp_path)
    kept = []
    for number, days in ((1, 0), (2, 90), (3, 1)):
        device.pass_s(days * 86_400)
        device.close(voucher(number))
        kept.append([peek(SerialClosedBody, one).order_id[0] - 48 for one in device.machine.closed_serials(None, Number(0))])
    assert kept == [[1], [1, 2], [2, 3]]
    with refused("VOUCHER_USED"):
        device.close(voucher(1))


def test_a_memory_of_before_vouchers_could_be_burned_goes_on(tmp_path: Path) -> None:
    device = World(tmp_path)
    device.start()
    device.machine.stop()
    with sqlite3.connect(tmp_path / "memory.db") as connection:
        connection.execute("DROP TABLE closed")
    connection.close()
    device.restart()
    assert device.close(voucher(2)) == device.close(voucher(2))
    device.release()


def test_a_memory_that_can_not_be_written_when_it_is_opened_is_unavailable(tmp_path: Path) -> None:
    World(tmp_path).machine.stop()
    with sqlite3.connect(tmp_path / "memory.db") as connection:
        connection.execute("DROP TABLE closed")
        connection.execute("CREATE INDEX closed ON memory (id)")
    connection.close()
    with pytest.raises(Unavailable, match="can't write its memory"):
        MemoryFile.open(tmp_path / "memory.db", Epoch(1))


def test_a_disk_that_does_not_take_a_burning_leaves_the_voucher_good(tmp_path: Path) -> None:
    device = World(tmp_path)
    other = sqlite3.connect(tmp_path / "memory.db")
    other.execute("CREATE TRIGGER full BEFORE INSERT ON closed BEGIN SELECT RAISE(ABORT, 'disk full'); END")
    other.commit()
    with pytest.raises(Unavailable, match="disk full"):
        device.close()
    device.start()


def test_evidence_is_kept_for_90_days(tmp_path: Path) -> None:
    device = World(tmp_path)
    kept = []
    for number, days in ((1, 0), (2, 89), (3, 2)):
        device.pass_s(days * 86_400)
        device.restart()
        late = replace(voucher(number), not_before_unix_s=unix_s(device.machine.memory.clock.time))
        device.start(late)
        device.release(late)
        kept.append([session.order_id[0] - 48 for session in device.machine.evidence(None, Number(0))])
    assert kept == [[1], [1, 2], [2, 3]]


# Damage and reset

NOW = Instant(world.T0 * 1_000_000)
SETTINGS = Settings(Kind.ENERGY, Epoch(1), PowerW(1_000), EnergyWh(0), Percent(100))


def flip_a_byte(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)


def alter_the_row(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE memory SET body = substr(body, 2)")
    connection.close()


def empty_the_table(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("DELETE FROM memory")
    connection.close()


@pytest.mark.parametrize(
    "damage",
    [
        Path.unlink,
        alter_the_row,
        empty_the_table,
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(b"no database" * 1_000),
        lambda path: path.write_bytes(path.read_bytes()[:4_096]),
    ],
)
def test_a_device_with_missing_or_damaged_memory_does_not_start_before_a_reset(
    tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    furnish(tmp_path, SETTINGS, NOW)
    MemoryFile.open(tmp_path / "memory.db", Epoch(1)).close()
    damage(tmp_path / "memory.db")
    with pytest.raises(Corrupt) as refusal:
        MemoryFile.open(tmp_path / "memory.db", Epoch(1))
    assert "energyshare-device reset" in refusal.value.hint
    settings = reset(tmp_path, NOW)
    assert MemoryFile.open(tmp_path / "memory.db", settings.epoch).memory.epoch == 2


def test_a_memory_of_another_epoch_does_not_start(tmp_path: Path) -> None:
    furnish(tmp_path, SETTINGS, NOW)
    save_settings(tmp_path, replace(SETTINGS, epoch=Epoch(2)))
    with pytest.raises(Corrupt, match="epoch 1"):
        MemoryFile.open(tmp_path / "memory.db", load_settings(tmp_path).epoch)


def test_a_reset_voids_old_vouchers_and_keeps_meter_and_rising_receipt_numbers(tmp_path: Path) -> None:
    furnish(tmp_path, SETTINGS, NOW)
    MeterFile.create(tmp_path / "meter.json", Totals(77 * 3_600_000_000, 0))
    reset(tmp_path, NOW)
    memory: Memory = look_at(tmp_path / "memory.db", Epoch(2))
    assert memory.receipts_count > 10**9
    assert MeterFile(tmp_path / "meter.json").totals.flowed == 77 * 3_600_000_000
    assert look_at(tmp_path / "memory-epoch-1.db", Epoch(1)).epoch == 1


def test_enrolling_again_keeps_the_memory(tmp_path: Path) -> None:
    furnish(tmp_path, SETTINGS, NOW)
    reset(tmp_path, NOW)
    furnish(tmp_path, SETTINGS, NOW)
    assert load_settings(tmp_path).epoch == 2


@pytest.mark.parametrize("text", ["", "{}", '{"flowed": "x", "charge": "0"}', '{"flowed": 1}'])
def test_a_damaged_meter_is_not_taken_for_a_new_one(tmp_path: Path, text: str) -> None:
    (tmp_path / "meter.json").write_text(text)
    with pytest.raises(Corrupt):
        MeterFile(tmp_path / "meter.json")


def test_a_meter_that_fell_below_what_was_signed_does_not_start(tmp_path: Path) -> None:
    device = World(tmp_path)
    device.start()
    device.pass_s(900)
    MeterFile.create(tmp_path / "meter.json", Totals(0, 0))
    with pytest.raises(Corrupt, match="less than"):
        device.restart()


@pytest.mark.parametrize("text", ["", "{}", '{"kind": 9}'])
def test_damaged_settings_are_said_to_be(tmp_path: Path, text: str) -> None:
    (tmp_path / "device.json").write_text(text)
    with pytest.raises(Corrupt):
        load_settings(tmp_path)
