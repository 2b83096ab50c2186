"""The program: a real process that serves, is killed, and comes back; exit codes and lines."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from energyshare.errors import Reason, Rejected, Unavailable
from energyshare.home import open_home
from energyshare.program import Program
from energyshare.records import replace
from energyshare.values import Currency, EnergyWh, Epoch, Instant, Kind, Percent, PowerW, Role, Serial, UnixS
from terminals import identity
from terminals.device.cli import program
from terminals.device.client import end_session, start_session
from terminals.device.home import furnish, host_time
from terminals.device.settings import WORKER, Settings, equipment, load_settings

from . import world
from .world import HOLDER, ROOT, VOUCHER, presentable, refused

REPOSITORY = Path(__file__).parents[2]


OUTLET = Settings(Kind.ENERGY, Epoch(1), PowerW(1_000), EnergyWh(0), Percent(0))


LASTING_DEVICE = world.grant(world.DEVICE, Role.DEVICE, world.DEVICE_KEY, world.OWNER, days=20_000)
LASTING_ISSUER = world.grant(world.OWNER, Role.ISSUER, world.ISSUER, days=20_000)
"""For programs that go by the real clock, on whatever day the tests run."""


def enrolled(home: Path, granted: bool = True, settings: Settings = OUTLET, host: Instant | None = None) -> Path:
    """A home as enrolling leaves it."""
    home.mkdir(mode=0o700)
    open_home(home, "device")
    world.DEVICE_KEY.save(home / "key")
    (home / "tls.key").write_bytes(b"-")
    identity._save(
        identity.Identity(
            role="device",
            subject_id=world.DEVICE,
            owner_id=world.OWNER,
            name="lock 1",
            key=world.DEVICE_KEY,
            root_key=ROOT.public,
            grant=LASTING_DEVICE if granted else None,
            platform_grant=world.PLATFORM_GRANT,
            currency=Currency("CNY"),
            stream_addresses=("127.0.0.1:1",),
            enrollment_address="127.0.0.1:2",
            certificate=b"-",
            tls_key=b"-",
            trust_bundle=b"-",
            home=home,
        )
    )
    furnish(home, settings, host or host_time())
    return home


@contextmanager
def running(home: Path) -> Iterator[tuple["subprocess.Popen[str]", str]]:
    command = [sys.executable, "-m", "terminals.device.cli", "run", "--home", str(home), "--listen", "127.0.0.1:0", "--json"]
    env = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env) as process:
        try:
            assert process.stdout is not None
            yield process, json.loads(process.stdout.readline())["ready"]
        finally:
            process.kill()


def run(*arguments: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(program, arguments, prog_name="energyshare-device")
    return result.exit_code, result.stdout, result.stderr


def test_a_killed_device_comes_back_with_its_session_and_lets_nothing_be_replayed(tmp_path: Path) -> None:
    home = enrolled(tmp_path / "home")
    body = replace(VOUCHER, not_before_unix_s=UnixS(int(time.time()) - 60), serial=Serial(1))
    shown = presentable(body, issuer_grant=LASTING_ISSUER)
    with running(home) as (process, address):
        started = asyncio.run(start_session(address, ROOT.public, shown, HOLDER))
        process.send_signal(signal.SIGKILL)
        process.wait()
    with running(home) as (process, address):
        assert asyncio.run(start_session(address, ROOT.public, shown, HOLDER)) == started
        ended = asyncio.run(end_session(address, ROOT.public, body.order_id, HOLDER))
        assert ended.start_receipt == started.start_receipt
        with refused("VOUCHER_USED"):
            asyncio.run(start_session(address, ROOT.public, shown, HOLDER))
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=10) == 0


def test_a_worker_can_be_run_by_the_program_and_is_checked_in_and_out(tmp_path: Path) -> None:
    home = enrolled(tmp_path / "home", settings=WORKER)
    body = replace(VOUCHER, not_before_unix_s=UnixS(int(time.time()) - 60), serial=Serial(1))
    with running(home) as (process, address):
        asyncio.run(start_session(address, ROOT.public, presentable(body, issuer_grant=LASTING_ISSUER), HOLDER))
        asyncio.run(end_session(address, ROOT.public, body.order_id, HOLDER))
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=10) == 0
    facts = json.loads(run("status", "--home", str(home), "--json")[1])
    assert (facts["kind"], facts["register_wh"], facts["receipts"]) == ("SERVICE", None, 2)


@pytest.mark.parametrize(
    ("kind", "capacity_wh", "settings"),
    [
        (Kind.SERVICE, 7, WORKER),
        (Kind.ENERGY, 7, replace(OUTLET, soc_pct=Percent(50), soh_pct=Percent(90))),
        (Kind.BATTERY, 7, Settings(Kind.BATTERY, Epoch(1), PowerW(1_000), EnergyWh(7), Percent(50), Percent(90))),
    ],
)
def test_each_kind_is_furnished_with_what_it_has(tmp_path: Path, kind: Kind, capacity_wh: int, settings: Settings) -> None:
    asked = equipment(kind, PowerW(1_000), EnergyWh(capacity_wh), Percent(50), Percent(90))
    assert asked == settings
    furnish(tmp_path, asked, host_time())
    assert load_settings(tmp_path) == settings
    assert (tmp_path / "meter.json").exists() is (kind is not Kind.SERVICE)


def test_status_says_what_the_memory_holds(tmp_path: Path) -> None:
    home = enrolled(tmp_path / "home")
    code, out, _ = run("status", "--home", str(home), "--json")
    facts = json.loads(out)
    assert (code, facts["state"], facts["epoch"], facts["clock_quality"]) == (0, "FREE", 1, "SYNCHRONIZED")
    assert run("status", "--home", str(home))[0] == 0


def test_reset_asks_first_and_then_begins_an_epoch(tmp_path: Path) -> None:
    home = enrolled(tmp_path / "home")
    assert run("reset", "--home", str(home))[0] == 1
    code, out, _ = run("reset", "--home", str(home), "--yes", "--json")
    assert (code, json.loads(out)) == (0, {"epoch": 2})
    assert json.loads(run("status", "--home", str(home), "--json")[1])["epoch"] == 2


def test_a_device_without_a_grant_says_so(tmp_path: Path) -> None:
    home = enrolled(tmp_path / "home", granted=False)
    code, _, err = run("run", "--home", str(home))
    assert code == 1
    assert "energyshare-device: error: this device's grant has not been signed yet" in err
    assert "energyshare-device: hint: the operator signs it" in err


def test_a_device_without_its_memory_says_so(tmp_path: Path) -> None:
    home = enrolled(tmp_path / "home")
    (home / "memory.db").unlink()
    code, _, err = run("run", "--home", str(home))
    assert code == 1
    assert "hint: close this device's memory for good and begin anew with: energyshare-device reset" in err


def test_a_home_that_is_not_enrolled_is_an_error_and_a_wrong_flag_is_usage(tmp_path: Path) -> None:
    assert run("status", "--home", str(tmp_path))[0] == 1
    assert run("status", "--loud")[0] == 2


@pytest.mark.parametrize(
    ("error", "code", "lines"),
    [
        (Rejected(Reason.BUSY), 1, ["p: error: the device is in use by another order [BUSY]", "p: hint: wait, or"]),
        (Unavailable("gone", "come back"), 1, ["p: error: gone", "p: hint: come back"]),
        (FileNotFoundError(2, "No such file", "x"), 1, ["p: error: x: No such file"]),
        (KeyboardInterrupt(), 130, []),
    ],
)
def test_errors_end_a_program_with_a_line_and_a_hint(error: BaseException, code: int, lines: list[str]) -> None:
    @click.group(cls=Program)
    def group() -> None: ...

    @group.command()
    def fail() -> None:
        raise error

    result = CliRunner().invoke(group, ["fail"], prog_name="p")
    assert result.exit_code == code
    told = result.stderr.splitlines()
    assert len(told) == len(lines)
    assert all(line.startswith(start) for line, start in zip(told, lines, strict=True))
