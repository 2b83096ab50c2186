"""The provider's commands, as a person types them: what they print, what they refuse, and how they end."""

import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from energyshare.home import lock_home
from energyshare.messages import Amendment, Dispute, EndConfirmed, EndRefused, RejectedMessage
from energyshare.values import Digest, Kind, Minor, Number, OrderId, PartKind, later
from terminals.provider.cli import program
from terminals.provider.terminal import ProviderTerminal
from tests.provider_home import CONFIG, Place
from tests.provider_world import approval, bill
from tests.terminals_world import NOW, of

WITHIN_S = 20


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def run(place: Place, *arguments: str, status: int = 0) -> Result:
    """Type a command."""
    result = CliRunner().invoke(program, [*arguments, "--home", str(place.home)], prog_name="energyshare-provider")
    assert result.exit_code == status, (result.output, result.exception)
    return result


def told(place: Place, *arguments: str, status: int = 0) -> Any:
    """Type a command with --json; gives what it prints."""
    return json.loads(run(place, *arguments, "--json", status=status).stdout)


@contextmanager
def opened(place: Place) -> Iterator[ProviderTerminal]:
    """Open the terminal of a provider that has run before."""
    with place.opened() as terminal:
        with terminal.journal.transaction():
            terminal.journal.set_meta("config", str(place.config).encode())
        yield terminal


def with_order(place: Place, kind: Kind = Kind.SERVICE, **changes: Any) -> OrderId:
    """Have an order taken as far as its voucher; `changes` are of what is known of it."""
    with opened(place) as terminal:
        order_id, _ = place.authorized(terminal, kind)
        with terminal._orders.changing(order_id) as document:
            for name, value in changes.items():
                setattr(document, name, value)
    return order_id


CHECKED_IN: dict[str, Any] = {"state": "ACTIVE", "started": NOW}


# Jobs


def test_a_job_is_listed_with_its_place_its_items_and_the_next_command(place: Place) -> None:
    with_order(place)
    [job] = told(place, "job", "list")
    assert (job["number"], job["state"], job["place"]) == (1, "AUTHORIZED", "22.54310,114.05790")
    assert job["items"] == [{"name": "jump-start", "quantity": 1}]
    text = run(place, "job", "list").stdout
    assert "jump-start" in text
    assert "energyshare-provider job check-in 1" in text
    assert "the customer has to check in" in run(place, "job", "show", "1").stdout


def test_without_jobs_the_list_says_so(place: Place) -> None:
    with opened(place):
        pass
    assert run(place, "job", "list").stdout == "No job is open.\n"
    assert told(place, "job", "list") == []


def test_extra_work_says_what_it_adds_to_the_hold_and_settlement_what_was_asked(place: Place) -> None:
    order_id = with_order(place, **CHECKED_IN)
    text = run(place, "job", "add-item", "1", "cable", "--quantity", "2", "--duration", "1h20m").stdout
    assert "it adds 106.00 CNY to the hold" in text
    assert "2 × cable" in text
    with opened(place) as terminal:
        assert place.wire is not None
        terminal._terminal._link.reconnected()
        [amendment] = of(Amendment, place.wire.listen())
        place.tell(order_id, approval(amendment.amendment, order_id=order_id))
    job = told(place, "job", "settle", "1", "--item", "jump-start", "--item", "cable=2", "--duration", "30m")
    assert job["settlement"] == {
        "items": [{"name": "jump-start", "quantity": 1}, {"name": "cable", "quantity": 2}],
        "duration_s": 1_800,
        "total_minor": (20 + 30 + 80 + 20) * 106,
        "disputed_minor": None,
    }
    assert job["state"] == "ENDING"


def test_time_alone_can_be_added(place: Place) -> None:
    with_order(place, **CHECKED_IN)
    assert told(place, "job", "add-time", "1", "30m")["amendments"][0]["hold_minor"] == 30 * 106


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (("job", "show", "2"), 1, "UNKNOWN_ORDER"),
        (("job", "show", "x"), 2, "not a valid integer"),
        (("job", "show", "0"), 2, "not in the range"),
        (("job", "check-in", "1"), 1, "no daemon runs"),
        (("order", "show", "99"), 1, "list yours with: energyshare-provider order list"),
        (("job", "add-item", "1", "tow"), 1, "tow"),
        (("job", "add-item", "1", ""), 2, "1 to 64 characters"),
        (("job", "add-item", "1", "x" * 65), 2, "1 to 64 characters"),
        (("job", "add-item", "1", "cable", "--quantity", "0"), 2, "not in the range"),
        (("job", "add-item", "1", "cable", "--duration", "soon"), 2, "not a duration"),
        (("job", "add-time", "1", "0s"), 1, "needs an item, or time"),
        (("job", "settle", "1", "--item", "cable"), 1, "SETTLEMENT_ITEMS"),
        (("job", "settle", "1", "--item", "jump-start=0"), 2, "from 1 to 10,000"),
        (("job", "settle", "1", "--item", "jump-start=x"), 2, "not an item"),
        (("job", "settle", "1", "--item", "=2"), 2, "not an item"),
        (("job", "settle", "1", "--duration", "3h"), 1, "SETTLEMENT_ITEMS"),
        (("job", "settle", "1", "--duration", "1h20"), 2, "not a duration"),
        (("job", "settle", "1", "--duration", "1s", "--total", "500"), 1, "SETTLEMENT_TOTAL"),
        (("job", "settle", "1", "--total", "-5"), 1, "AMOUNT_NOT_POSITIVE"),
        (("job", "settle", "1", "--total", "1.005"), 2, "can be paid"),
        (("job", "settle", "1", "--total", "a lot"), 2, "not an amount"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_wrong_input_on_jobs_is_named_and_changes_nothing(
    place: Place, arguments: tuple[str, ...], status: int, said: str
) -> None:
    with_order(place, **CHECKED_IN)
    before = told(place, "job", "show", "1")
    assert said in run(place, *arguments, status=status).output
    assert told(place, "job", "show", "1") == before


def test_an_order_that_is_no_service_is_no_job(place: Place) -> None:
    with_order(place, Kind.ENERGY)
    for arguments in (("show", "1"), ("settle", "1"), ("add-item", "1", "cable")):
        assert "WRONG_STATE" in run(place, "job", *arguments, status=1).output


def test_extra_work_that_the_cloud_refused_ends_with_its_reason(place: Place) -> None:
    order_id = with_order(place, **CHECKED_IN)
    run(place, "job", "add-item", "1", "cable")
    with opened(place) as terminal:
        assert place.wire is not None
        terminal._terminal._link.reconnected()
        place.wire.listen()
        place.tell(order_id, RejectedMessage(Number(place.wire.numbers[-1]), "AMENDMENT_HOLD", {}))
    job = told(place, "job", "show", "1")
    assert (job["amendments"], job["reason"]) == ([], "AMENDMENT_HOLD")


# Orders


def test_what_is_shown_without_a_daemon_says_so(place: Place) -> None:
    with opened(place):
        pass
    assert told(place, "status")["line"] == "no daemon runs"
    assert "no daemon runs" in run(place, "status").output
    assert "no daemon runs" in run(place, "watch", "--once").output


def test_an_order_is_cancelled_without_a_daemon_and_the_note_says_when_it_leaves(place: Place) -> None:
    with_order(place, Kind.ENERGY)
    result = run(place, "order", "cancel", "1", "--reason", "NO_STAFF")
    assert "to be cancelled once the device has made the voucher void" in result.stdout
    assert "no daemon runs" in result.stderr
    assert told(place, "order", "list")[0]["cancelled_by"] == "provider"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [(("confirm", "1"), EndConfirmed), (("refuse", "1", "--claim", "200", "--reason", "the housing is broken"), EndRefused)],
    ids=["confirm", "refuse"],
)
def test_an_end_that_waits_is_confirmed_or_refused_with_a_claim(place: Place, arguments: tuple[str, ...], said: type) -> None:
    order_id = with_order(place, Kind.ENERGY, state="ENDING", ended=True, deposit_minor=20_000, confirm_until=later(NOW, 10**9))
    with opened(place) as terminal, terminal.journal.transaction():
        terminal.journal.add_part(order_id, PartKind.END_RECEIPT, Digest(b"e" * 32), b"as the device signed it")
    assert "the end waits to be confirmed or refused" in run(place, "order", "list").stdout
    too_much = ("order", "refuse", "1", "--claim", "200.01", "--reason", "x")
    assert "CLAIM_ABOVE_DEPOSIT" in run(place, *too_much, status=1).output
    assert "energyshare-provider order show 1" in run(place, "order", *arguments).stdout
    with opened(place) as terminal:
        assert place.wire is not None
        terminal._terminal._link.reconnected()
        assert [type(message) for message in place.wire.listen()] == [said]


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (("order", "cancel", "2"), 1, "UNKNOWN_ORDER"),
        (("order", "cancel", "1", "--reason", "no staff"), 1, "NO_STAFF"),
        (("order", "confirm", "1"), 1, "WRONG_STATE"),
        (("order", "refuse", "1", "--claim", "5"), 2, "--reason"),
        (("order", "refuse", "1", "--claim", "x", "--reason", "y"), 2, "not an amount"),
        (("order", "refuse", "1", "--claim", "5", "--reason", "y"), 1, "WRONG_STATE"),
        (("order", "not-returned", "1"), 1, "WRONG_STATE"),
        (("offer", "withdraw", "1"), 1, "WRONG_STATE"),
        (("offer", "withdraw", "9"), 1, "UNKNOWN_ORDER"),
        (("asset", "close", "lock-9"), 1, "energyshare-provider asset list"),
        (("asset", "close", "outlet-1", "--reason", ""), 1, "MALFORMED"),
        (("asset", "open", "lock-9"), 1, "NO_SUCH_ASSET"),
        (("reload", "gone.toml"), 1, "there is no such file"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_wrong_input_on_orders_and_assets_is_named_and_changes_nothing(
    place: Place, arguments: tuple[str, ...], status: int, said: str
) -> None:
    with_order(place, Kind.ENERGY)
    before = told(place, "status")
    assert said in run(place, *arguments, status=status).output
    assert told(place, "status") == before


def test_offers_are_withdrawn_and_the_order_can_be_seen(place: Place) -> None:
    with opened(place) as terminal:
        place.offered(terminal)
    assert told(place, "offer", "withdraw", "1")["state"] == "OFFERED"
    assert "offered; waiting for the user" in run(place, "order", "list").stdout
    assert told(place, "order", "cancel", "1")["state"] == "CLOSED"


def test_an_asset_is_closed_with_its_reason_and_opened_again(place: Place) -> None:
    with opened(place):
        pass
    assert "out of service" in run(place, "asset", "close", "Depot/outlet-1", "--reason", "being [bold]cleaned").stdout
    [closed] = [asset for asset in told(place, "asset", "list") if asset["name"] == "Depot/outlet-1"]
    assert (closed["state"], closed["why"]) == ("OUT_OF_SERVICE", "being [bold]cleaned")
    assert "being [bold]cleaned" in run(place, "asset", "list").stdout
    assert told(place, "asset", "open", "outlet-1") == {"asset": "outlet-1", "state": "IN_SERVICE"}


def test_an_asset_that_its_configuration_keeps_out_is_not_opened(place: Place) -> None:
    place.configure(CONFIG.replace("power_w = 1000", "power_w = 1000\nout_of_service = true"))
    with opened(place):
        pass
    assert "WRONG_STATE" in run(place, "asset", "open", "outlet-1", status=1).output


def test_a_disputed_bill_is_listed_as_such(place: Place) -> None:
    order_id = with_order(place)
    with opened(place):
        place.tell(order_id, bill(order_id=order_id), Dispute(Digest(b"r" * 32), Minor(40), "too [red]much"))
    [order] = told(place, "order", "list", "--all")
    assert (order["state"], order["disputed_minor"], order["total_minor"]) == ("DISPUTED", 40, 100)


# Homes and configurations


def test_commands_in_a_home_that_is_not_enrolled_say_how_to_enroll(tmp_path: Path) -> None:
    home = ["--home", str(tmp_path / "nobody")]
    for arguments in (["status"], ["job", "list"], ["order", "cancel", "1"], ["reload"], ["asset", "list"]):
        result = CliRunner().invoke(program, [*arguments, *home], prog_name="energyshare-provider")
        assert (result.exit_code, "energyshare-provider enroll" in result.output) == (1, True), result.output


def test_a_provider_that_never_ran_is_told_to_run_first(place: Place) -> None:
    assert "has never run" in run(place, "order", "cancel", "1", status=1).output


def test_a_home_that_another_program_holds_is_not_written(place: Place) -> None:
    with_order(place, Kind.ENERGY)
    with lock_home(place.home):
        assert "is in use by" in run(place, "order", "cancel", "1", status=1).output
        assert told(place, "order", "list")[0]["cancelled_by"] == ""


def test_a_configuration_is_looked_through_with_and_without_a_home(place: Place, tmp_path: Path) -> None:
    result = CliRunner().invoke(program, ["lint", str(place.config), "--home", str(tmp_path / "nobody")])
    assert result.exit_code == 0, result.output
    place.configure(CONFIG.replace('"day.json"', '"gone.json"', 1))
    findings = told(place, "lint", str(place.config), status=1)
    assert findings["usable"] is False
    assert any(finding["severity"] == "error" for finding in findings["findings"])
    assert "can't be used as it is" in run(place, "lint", str(place.config), status=1).stdout
    assert "there is no such file" in run(place, "lint", "gone.toml", status=1).stdout


def test_the_status_counts_what_waits_and_what_was_kept_aside(place: Place) -> None:
    order_id = with_order(place)
    with opened(place):
        place.tell(order_id, bill())  # of another order
    status = told(place, "status")
    assert (status["name"], status["assets"], status["failed"]) == ("depot", 0, 1)
    assert "1 message could not be handled" in run(place, "status").stdout


def test_a_running_daemon_reloads_at_sighup_and_a_broken_file_does_not_end_it(place: Place) -> None:
    command = [sys.executable, "-m", "terminals.provider.cli", "run", str(place.config), "--home", str(place.home)]
    start = [sys.executable, "-c", "from terminals.provider.cli import main; main()", *command[3:]]
    with subprocess.Popen(start, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ) as process:
        try:
            _await_daemon(place)
            place.configure("broken [")
            process.send_signal(signal.SIGHUP)
            assert "was not reloaded" in _line(process.stderr)
            place.configure(CONFIG.replace("power_w = 1000", "power_w = 2000"))
            process.send_signal(signal.SIGHUP)
            assert _line(process.stdout) == "ready: reloaded, 1 asset changed\n"
            assert told(place, "reload") == {"changed": 0}
            process.terminate()
            assert process.wait(WITHIN_S) == 0
        finally:
            process.kill()


def _await_daemon(place: Place) -> None:
    """Ask until the daemon answers."""
    for _ in range(WITHIN_S * 10):
        result = CliRunner().invoke(program, ["job", "check-in", "7", "--home", str(place.home)])
        if "UNKNOWN_ORDER" in result.output:
            return
        select.select([], [], [], 0.1)
    raise TimeoutError(result.output)


def _line(stream: Any) -> str:
    ready, _, _ = select.select([stream], [], [], WITHIN_S)
    assert ready
    return str(stream.readline())
