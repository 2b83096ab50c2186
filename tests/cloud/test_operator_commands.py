"""The operator's commands as typed, on a home where no node runs: what they print, refuse and ask."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner
from sqlalchemy import insert

from cloud.cli import main
from cloud.config import CloudHome
from cloud.items import Presence
from cloud.store import tables as t
from energyshare.bodies import ChargeRecordBody
from energyshare.home import lock_home
from energyshare.messages import Dispute, Settled
from energyshare.values import Digest, Minor, OrderId, ProviderId, id_text
from energyshare.wire import digest_of
from tests.cloud.actors import T0, Cloud, found_cloud
from tests.cloud.story import Story

Type = Callable[..., str]
END = id_text(OrderId(b"\x01" * 16))[-6:]


@pytest.fixture(scope="module")
def founded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with a disputed order, a running one, and something of everything that an operator watches."""
    home = tmp_path_factory.mktemp("office") / "cloud"
    CloudHome(home).init(("localhost",), "CNY", T0)
    roster = found_cloud(home / "cloud.db")
    cloud = Cloud(home / "cloud.db", roster)
    cloud.numbers = {(roster[name].id, None): 1 for name in ("sun", "moon")}
    cloud.process(*(Presence(ProviderId(roster[name].id), True) for name in ("sun", "moon")))
    story = Story(cloud, device="sun-battery").until_settled()
    latest = digest_of(ChargeRecordBody, cloud.told("ann", Settled)[-1].charge_record)
    story.by_user(Dispute(Digest(latest), Minor(200), "it was [b]half[/x] empty"))
    Story(cloud, user="ben", order=OrderId(b"\x02" * 16)).until_active()
    alert = {"at": T0, "kind": "RECEIPT_CONFLICT", "order_id": story.order, "note": "two receipts"}
    cloud.run(lambda work, now: work.unit.execute(insert(t.alerts).values(**alert)))
    parked = {"at": T0, "terminal_id": roster["ann"].id, "order_id": story.order, "number": 9, "body": b"\xff", "error": "E"}
    cloud.run(lambda work, now: work.unit.execute(insert(t.parked).values(**parked)))
    cloud.close()
    return home


@pytest.fixture
def home(founded: Path, tmp_path: Path) -> Path:
    shutil.copytree(founded, tmp_path / "cloud")
    return tmp_path / "cloud"


@pytest.fixture
def type_in(home: Path) -> Type:
    def typed(*arguments: str, status: int = 0) -> str:
        done = CliRunner().invoke(main, [*arguments, "--home", str(home)], prog_name="energyshare-cloud")
        assert done.exit_code == status, done.output
        return done.output

    return typed


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (("dispute", "list"), ["…010101", "ann", "sun", "2.00 CNY"]),
        (("dispute", "show", END), ["it was [b]half[/x] empty", "END_RECEIPT", "held at the provider", "--charge AMOUNT"]),
        (("order", "list", "--user", "ben"), ["ACTIVE", "…020202"]),
        (("order", "show", "020202"), ["waits for the end of the supply until", "HOLD", "escrow", "moon"]),
        (("party", "list"), ["provider", "ann", "996.61 CNY", "1.68 CNY"]),
        (("terminal", "list"), ["sun-battery", "waiting"]),
        (("asset", "list"), ["sun-outlet station/sun-outlet", "AVAILABLE", "…020202"]),
        (("alert", "list"), ["RECEIPT_CONFLICT", "two receipts"]),
        (("parked", "list"), ["unknown", "…010101"]),
        (("audit",), ["No operator has done anything."]),
        (("status",), ["disputes 1 wait for a ruling", "parked   1", "does not run"]),
        (("ledger", "check"), ["The ledger holds"]),
    ],
)
def test_a_page_says_what_is_there(type_in: Type, command: tuple[str, ...], words: list[str]) -> None:
    said = type_in(*command)
    for word in words:
        assert word in said, said
    assert isinstance(json.loads(type_in(*command, "--json")), dict)


def test_a_ruling_says_the_new_total_and_what_to_type_next(type_in: Type) -> None:
    said = type_in("dispute", "resolve", END, "--charge", "0.50", "--reason", "the photo shows it", "--yes")
    assert "is SETTLED: the user pays 1.89 CNY in all; both sides are told." in said
    assert f"Next: energyshare-cloud order show {END}" in said
    assert "Nothing is disputed." in type_in("dispute", "list")
    assert "0.50 CNY: the photo shows it" in type_in("audit")
    assert "corrects" in type_in("order", "show", END)


@pytest.mark.parametrize(
    ("command", "status", "words"),
    [
        (("dispute", "resolve", END, "--charge", "2.01", "--reason", "so"), 1, "the disputed amount is above"),
        (("dispute", "resolve", END, "--charge", "-1", "--reason", "so"), 2, "is 0 or more"),
        (("dispute", "resolve", END, "--charge", "ten", "--reason", "so"), 2, "'ten' is not an amount"),
        (("dispute", "resolve", END, "--charge", "0.001", "--reason", "so"), 2, "not an amount of CNY"),
        (("dispute", "resolve", END, "--charge", "1"), 2, "--reason"),
        (("dispute", "resolve", END, "--charge", "1", "--reason", ""), 1, "1 to 500 printable characters"),
        (("dispute", "resolve", "020202", "--charge", "1", "--reason", "so"), 1, "the order is not at that point"),
        (("dispute", "show", "020202"), 1, "the order is not at that point"),
        (("dispute", "show", "99999999"), 1, "there is no such order"),
        (("order", "list", "--user", "nobody"), 1, "no one party bears that name"),
        (("order", "list", "--state", "LOST"), 1, "is one of DEMANDED"),
        (("party", "suspend", "nobody", "--role", "user"), 1, "no one party bears that name"),
        (("party", "suspend", "ann", "--role", "device"), 2, "'device'"),
        (("terminal", "revoke", "nobody"), 1, "no one party bears that name"),
        (("asset", "resume", "nothing"), 1, "no one asset bears that name"),
        (("parked", "retry", "1"), 1, "MALFORMED"),
        (("parked", "retry", "7"), 1, "no such message is parked"),
        (("parked", "drop", "0"), 2, "'ID'"),
        (("audit", "--since", "soon"), 2, "'soon' is no time"),
        (("audit", "--since", "99999d"), 0, "No operator"),
        (("backup", "/no/such/folder/b.db"), 1, "there is no folder"),
        (("restore", "/no/such/file.db"), 1, "there is no file"),
    ],
)
def test_what_can_not_be_is_refused_in_words(type_in: Type, command: tuple[str, ...], status: int, words: str) -> None:
    assert words in type_in(*command, status=status)


def test_a_party_is_suspended_and_resumed_with_the_next_command_to_type(type_in: Type) -> None:
    said = type_in("party", "suspend", "ben", "--role", "user", "--reason", "unpaid")
    assert "The user ben is suspended; 1 running order may go on." in said
    assert "energyshare-cloud party resume ben --role user" in said
    assert "is suspended, as before" in type_in("party", "suspend", "ben", "--role", "user")
    assert "suspended" in type_in("party", "list", "--role", "user")
    assert "parties  1 suspended" in type_in("status")
    assert "may take part again" in type_in("party", "resume", "ben", "--role", "user")
    assert "was not suspended" in type_in("party", "resume", "ben", "--role", "user")


def test_a_lost_phone_is_revoked_with_the_way_to_a_new_one(type_in: Type) -> None:
    said = type_in("terminal", "revoke", "ann", "--reason", "stolen")
    assert "is revoked." in said
    assert "energyshare-cloud token create --role user --name ann" in said
    assert "is revoked, as before." in type_in("terminal", "revoke", "ann")
    assert "revoked" in type_in("terminal", "list")


def test_a_parked_message_that_nobody_can_read_is_shown_and_dropped(type_in: Type) -> None:
    assert "energyshare-cloud parked drop 1" in type_in("parked", "show", "1")
    assert "is gone" in type_in("parked", "drop", "1", "--yes")
    assert "No message is parked." in type_in("parked", "list")


def test_a_backup_is_put_back_into_a_home_that_holds_the_keys(type_in: Type, home: Path, tmp_path: Path) -> None:
    file = str(tmp_path / "one.db")
    assert "holds 2 orders" in type_in("backup", file)
    assert "is there already" in type_in("backup", file, status=1)
    type_in("party", "suspend", "ben", "--role", "user")
    assert "the database that was there before" in type_in("restore", file, "--yes")
    assert [act["act"] for act in json.loads(type_in("audit", "--json"))["acts"]] == ["restore"]
    assert "The ledger holds" in type_in("ledger", "check")

    (home / "platform.key").unlink()
    assert "lacks platform.key" in type_in("restore", file, status=1)


def test_a_backup_is_not_put_back_under_a_running_node(type_in: Type, home: Path, tmp_path: Path) -> None:
    type_in("backup", str(tmp_path / "one.db"))
    with lock_home(home):
        assert "is in use by process" in type_in("restore", str(tmp_path / "one.db"), status=1)


def test_nothing_but_a_cloud_s_home_is_looked_at(type_in: Type, home: Path) -> None:
    (home / "cloud.toml").unlink()
    assert "there is no cloud here" in type_in("dispute", "list", status=1)
    assert "there is no cloud here" in type_in("dispute", "resolve", END, "--charge", "1", "--reason", "so", status=1)
