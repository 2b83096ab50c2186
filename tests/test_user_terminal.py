"""The user's program: what people type, what they are told, and with which status it ends."""

import json
import os
import time
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from certs.authority import Authority
from certs.requests import new_key_and_request
from energyshare.bodies import ServiceItem
from energyshare.home import lock_home, open_home
from energyshare.messages import Demand
from energyshare.signing import SigningKey
from energyshare.values import Connector, Currency, Instant, Kind
from energyshare.wire import decode
from terminals import identity
from terminals.user import opened
from terminals.user.cli import program
from terminals.user.words import Duration, duration_text, energy_text

USER = b"\x05" * 16
DEMAND = ("demand", "energy", "--at", "22.5431,114.0579", "--energy-wh", "500")
CASE: dict[str, Any] = {
    "id": "flat rate",
    "tariff": {
        "currency": "EUR",
        "elements": [{"price_components": [{"type": "ENERGY", "price": "0.25", "vat": "10.0", "step_size": "1"}]}],
    },
    "session": {
        "start_date_time": "2024-01-15T10:00:00Z",
        "time_zone": "UTC",
        "charging_periods": [{"start_date_time": "2024-01-15T10:00:00Z", "dimensions": [{"type": "ENERGY", "volume": "20"}]}],
    },
}


def run(*arguments: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(program, arguments, prog_name="energyshare")
    return result.exit_code, result.stdout, result.stderr


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home as enrolling leaves it, of a cloud that is not there."""
    now = Instant(time.time_ns() // 1_000)
    authority = Authority.create("energyshare-test", now)
    tls_key, request = new_key_and_request()
    issued = authority.issue_terminal(request, "user", USER, now)
    made, key = tmp_path / "home", SigningKey.generate()
    made.mkdir(mode=0o700)
    open_home(made, "user")
    key.save(made / "key")
    (made / "tls.key").write_bytes(tls_key)
    identity._save(
        identity.Identity(
            role="user",
            subject_id=USER,
            owner_id=b"\x06" * 16,
            name="alice",
            key=key,
            root_key=SigningKey.generate().public,
            grant=None,
            platform_grant=b"-",
            currency=Currency("CNY"),
            stream_addresses=("127.0.0.1:1",),
            enrollment_address="127.0.0.1:1",
            certificate=issued.pem,
            tls_key=tls_key,
            trust_bundle=authority.certificate_pem,
            home=made,
            certificate_not_before=now,
            certificate_not_after=issued.not_after,
        )
    )
    return made


# Words


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90), ("90s", 90), ("30m", 1_800), ("2h", 7_200), ("1d", 86_400), ("0s", 0)]
)
def test_a_duration_is_read_as_people_write_it(text: str, seconds: int) -> None:
    assert Duration().convert(text, None, None) == seconds


@pytest.mark.parametrize("text", ["", "h", "-5m", "1.5h", "1 h", "2w", "12345678s", "1h30m", "∞"])
def test_what_is_no_duration_is_refused_with_examples(text: str) -> None:
    with pytest.raises(click.BadParameter, match="write 90s, 30m, 2h or 1d"):
        Duration().convert(text, None, None)


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0 s"), (59, "59 s"), (3_600, "1 h"), (3_661, "1 h 1 min 1 s"), (120, "2 min")]
)
def test_durations_are_written_without_what_is_zero(seconds: int, text: str) -> None:
    assert duration_text(seconds) == text


@pytest.mark.parametrize(("energy_wh", "text"), [(0, "0 Wh"), (999, "999 Wh"), (1_000, "1.000 kWh"), (12_345, "12.345 kWh")])
def test_energies_are_written_in_the_unit_that_fits(energy_wh: int, text: str) -> None:
    assert energy_text(energy_wh) == text


# Wrong usage ends with 2, and says what to look at


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("demand", "energy"), "--at"),
        (("demand", "steam", "--at", "1,1"), "'steam'"),
        (("demand", "--at", "1,1"), "KIND"),
        (("demand", "energy", "energy", "--at", "1,1"), "name each kind once"),
        (("demand", "service", "--at", "1,1"), "say what is to be done, or for how long: --item NAME"),
        (("demand", "energy", "--at", "1,1", "--item", "tow"), "--item is for a service"),
        (("demand", "service", "--at", "1,1", "--item", "tow", "--item", "tow:2"), "name each item once"),
        (("demand", "service", "--at", "1,1", "--item", ""), "'' is not NAME or NAME:QUANTITY"),
        (("demand", "service", "--at", "1,1", "--item", "tow:0"), "'tow:0' is not NAME or NAME:QUANTITY"),
        (("demand", "service", "--at", "1,1", "--item", "tow:10001"), "is not NAME or NAME:QUANTITY"),
        (("demand", "service", "--at", "1,1", "--item", "x" * 65), "is not NAME or NAME:QUANTITY"),
        ((*DEMAND, "--connector", "usb"), "'usb'"),
        (("demand", "battery", "--at", "1,1", "--connector", "gbt-dc"), "--connector is for energy"),
        (("demand", "energy", "--at", "here"), "'here' is not LAT,LON in degrees"),
        (("demand", "energy", "--at", "22.5"), "is not LAT,LON in degrees"),
        (("demand", "energy", "--at", "22.5;114"), "is not LAT,LON in degrees"),
        (("demand", "energy", "--at", "91,114"), "is not LAT,LON in degrees"),
        (("demand", "energy", "--at", "22,181"), "is not LAT,LON in degrees"),
        (("demand", "energy", "--at", "nan,1"), "is not LAT,LON in degrees"),
        (("demand", "energy", "--at", "inf,1"), "is not LAT,LON in degrees"),
        ((*DEMAND, "--duration", "soon"), "'soon' is not a duration"),
        ((*DEMAND, "--energy-wh", "0"), "0"),
        ((*DEMAND, "--radius-km", "0"), "--radius-km"),
        (("select",), "OFFER"),
        (("select", "0"), "0"),
        (("select", "1", "2", "3"), "give an offer, or an order and an offer"),
        (("start", "1"), "--device"),
        (("cancel", "--reason", "?!"), "'?!' is not a reason of a few words"),
        (("cancel", "--reason", "x" * 65), "is not a reason of a few words"),
        (("cancel", "one"), "'one'"),
        (("amendment", "dance"), "dance"),
        (("amendment", "approve", "0"), "0"),
        (("dispute", "--reason", "wrong"), "AMOUNT"),
        (("dispute", "5"), "--reason"),
        (("dispute", "1", "2", "3", "--reason", "wrong"), "give an amount, or an order and an amount"),
        (("dispute", "one", "5", "--reason", "wrong"), "give an amount, or an order and an amount"),
        (("dispute", "5", "--reason", ""), "give 1 to 500 characters"),
        (("dispute", "5", "--reason", "x" * 501), "give 1 to 500 characters"),
        (("tariff", "price"), "give TARIFF.json and SESSION.json, RECORDS.json alone, or --batch"),
        (("dance",), "dance"),
    ],
)
def test_wrong_usage_ends_with_2_and_a_hint(tmp_path: Path, arguments: tuple[str, ...], words: str) -> None:
    status, out, err = run(*arguments, *(() if arguments[0] in ("tariff", "dance", "amendment") else ("--home", str(tmp_path))))
    assert (status, out) == (2, "")
    assert err.startswith("energyshare: error: ")
    assert words in err.splitlines()[0]
    assert "energyshare: hint: see energyshare" in err


# What can't be done ends with 1, an error and a hint


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (("orders",), "is not enrolled"),
        (DEMAND, "is not enrolled"),
        (("wallet", "show"), "is not enrolled"),
    ],
)
def test_a_home_that_is_not_enrolled_is_told_to_enroll(tmp_path: Path, arguments: tuple[str, ...], error: str) -> None:
    _require_refused(run(*arguments, "--home", str(tmp_path / "new")), error)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (("status",), "there is no such order"),
        (("status", "7"), "there is no such order (order 7)"),
        (("offers", "7"), "there is no such order (order 7)"),
        (("select", "7", "1"), "there is no such order (order 7)"),
        (("voucher", "7"), "there is no such order (order 7)"),
        (("receipt", "7"), "there is no such order (order 7)"),
        (("start", "7", "--device", "127.0.0.1:1"), "there is no such order (order 7)"),
        (("end", "7"), "there is no such order (order 7)"),
        (("cancel", "7"), "there is no such order (order 7)"),
        (("amendment", "list", "7"), "there is no such order (order 7)"),
        (("amendment", "approve", "7"), "there is no such order (order 7)"),
        (("amendment", "refuse", "7", "1"), "there is no such order (order 7)"),
        (("confirm", "7"), "there is no such order (order 7)"),
        (("dispute", "7", "5", "--reason", "wrong"), "there is no such order (order 7)"),
        (("orders", "--account"), "the cloud does not answer"),
        (("wallet", "top-up", "0"), "the amount must be above zero"),
        (("wallet", "top-up", "-5"), "the amount must be above zero"),
        (("wallet", "top-up", "5"), "the cloud does not answer"),
        ((*DEMAND, "--max-price", "0"), "the amount must be above zero"),
    ],
)
def test_what_can_not_be_done_ends_with_1_and_a_hint(home: Path, arguments: tuple[str, ...], error: str) -> None:
    _require_refused(run(*arguments, "--home", str(home)), error)


@pytest.mark.parametrize("at", ["22.5431,114.0579", "-22.5,-114.5", "0,0", " 1.5 , -2.5 "])
def test_a_demand_is_journalled_before_the_cloud_is_asked(home: Path, at: str) -> None:
    demand = ("demand", "energy", "--at", at, "--energy-wh", "500", "--duration", "2h", "--home", str(home))
    _require_refused(run(*demand), "the cloud does not answer")
    status, out, _ = run("orders", "--json", "--home", str(home))
    [order] = json.loads(out)
    assert (status, order["state"], order["candidates"]) == (0, "DEMANDED", None)


def test_a_demand_of_all_kinds_is_one_order(home: Path) -> None:
    wanted = ("--item", "jump-start", "--item", "Reifen: vorn:2", "--connector", "iec-62196-t2-combo", "--energy-wh", "500")
    _require_refused(
        run("demand", "battery", "energy", "service", "--at", "1,1", *wanted, "--home", str(home)), "does not answer"
    )
    with opened(home, lambda: Instant(1), read_only=True) as me:
        [(_, order)] = me.orders()
    demand = decode(Demand, order.demand)
    assert demand.kinds == (Kind.BATTERY, Kind.ENERGY, Kind.SERVICE)
    assert demand.service_items == (ServiceItem("jump-start", 1), ServiceItem("Reifen: vorn", 2))
    assert demand.connector is Connector.IEC_62196_T2_COMBO


def test_a_cancellation_waits_for_the_cloud_and_is_said(home: Path) -> None:
    run(*DEMAND, "--home", str(home))
    status, out, err = run("cancel", "--reason", "too far", "--home", str(home))
    assert status == 0
    assert "energyshare: note: the cloud does not answer" in err
    assert "what was done is kept and goes out with: energyshare sync" in err
    status, out, _ = run("status", "--json", "--home", str(home))
    assert (status, json.loads(out)["cancel_asked"]) == (0, "USER")
    with opened(home, lambda: Instant(1), read_only=True) as me:
        assert me.orders()[0][1].cancel_reason == "TOO_FAR"


def test_an_order_without_extra_work_says_so(home: Path) -> None:
    run(*DEMAND, "--home", str(home))
    assert run("amendment", "list", "--home", str(home))[:2] == (0, "No extra work was proposed in order 1.\n")
    assert run("amendment", "list", "--json", "--home", str(home))[:2] == (0, "[]\n")


def test_what_waits_for_the_cloud_is_named(home: Path) -> None:
    run(*DEMAND, "--home", str(home))
    assert "Something waits for the cloud; it goes out with: energyshare sync" in run("orders", "--home", str(home))[1]
    status, out, _ = run("status", "--home", str(home))
    assert status == 0
    assert "Next: energyshare offers 1, then energyshare select 1 OFFER" in out


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (("select", "1", "1"), "no such offer stands in this order (offer 1)"),
        (("start", "1", "--device", "127.0.0.1:1"), "the order is not at that point (state DEMANDED)"),
        (("end", "1"), "the order is not at that point (state DEMANDED)"),
        (("voucher", "1"), "the order is not at that point (state DEMANDED)"),
        (("receipt", "1"), "the order is not at that point (state DEMANDED)"),
        (("cancel", "1", "--device", "127.0.0.1:1"), "the order is not at that point (state DEMANDED)"),
        (("amendment", "approve", "1"), "no such amendment waits for an answer"),
        (("amendment", "refuse", "1", "2"), "no such amendment waits for an answer (number 2)"),
        (("confirm", "1"), "no such settlement request waits for an answer"),
        (("confirm", "1", "--yes"), "no such settlement request waits for an answer"),
        (("confirm", "1", "--dispute", "5"), "no such settlement request waits for an answer"),
        (("confirm", "1", "--dispute", "0"), "the amount must be above zero"),
        (("dispute", "1", "5", "--reason", "wrong"), "the order is not at that point (state DEMANDED)"),
        (("dispute", "1", "0", "--reason", "wrong"), "the amount must be above zero"),
    ],
)
def test_an_order_without_offers_can_not_go_on(home: Path, arguments: tuple[str, ...], error: str) -> None:
    run(*DEMAND, "--home", str(home))
    _require_refused(run(*arguments, "--home", str(home)), error)


def test_with_two_open_orders_the_number_must_be_said(home: Path) -> None:
    for _ in range(2):
        run(*DEMAND, "--home", str(home))
    _require_refused(run("status", "--home", str(home)), "there is no such order (open 2)")
    assert "Order 2: DEMANDED" in run("status", "2", "--home", str(home))[1]


def test_a_home_in_use_can_be_looked_at_but_not_written(home: Path) -> None:
    with lock_home(home):
        assert run("orders", "--home", str(home))[0] == 0
        _require_refused(run(*DEMAND, "--home", str(home)), f"{home} is in use by process {os.getpid()}")


def test_a_home_that_others_can_enter_is_refused(home: Path) -> None:
    home.chmod(0o755)
    _require_refused(run(*DEMAND, "--home", str(home)), f"others can enter {home}")


def test_a_new_home_has_no_orders(home: Path) -> None:
    assert run("orders", "--home", str(home))[:2] == (0, "No orders yet. Next: energyshare demand --help\n")
    assert run("orders", "--json", "--home", str(home))[:2] == (0, "[]\n")


# Tariffs


def record_of(total_cost: dict[str, Any]) -> dict[str, Any]:
    """A charge detail record of the case, its place's time zone in the remark."""
    zone = CASE["session"]["time_zone"]
    told = {"remark": f"energy; times of day in the tariff are those of {zone}; more", "total_cost": total_cost}
    session = {name: value for name, value in CASE["session"].items() if name != "time_zone"}
    return {"id": "1", "tariffs": [CASE["tariff"]], **session, **told}


def test_a_batch_is_priced_line_by_line(tmp_path: Path) -> None:
    cases = tmp_path / "cases.jsonl"
    cases.write_text(json.dumps(CASE) + "\n\n" + json.dumps(CASE | {"id": "again"}) + "\n")
    status, out, err = run("tariff", "price", "--batch", str(cases))
    assert (status, err) == (0, "")
    first, second = (json.loads(line) for line in out.splitlines())
    assert first == {"id": "flat rate", "currency": "EUR", "excl_vat": "5.00", "incl_vat": "5.50"}
    assert second == first | {"id": "again"}


@pytest.mark.parametrize(
    ("line", "case_id"),
    [
        ("{", None),
        ("[]", None),
        (json.dumps({"id": "empty"}), "empty"),
        (json.dumps(CASE | {"tariff": {"currency": "EUR", "elements": []}}), "flat rate"),
        (json.dumps(CASE | {"session": {}}), "flat rate"),
    ],
)
def test_a_bad_line_of_a_batch_is_named_and_stops_no_other(tmp_path: Path, line: str, case_id: str | None) -> None:
    cases = tmp_path / "cases.jsonl"
    cases.write_text(f"{line}\n{json.dumps(CASE)}\n")
    status, out, _ = run("tariff", "price", "--batch", str(cases))
    bad, good = (json.loads(text) for text in out.splitlines())
    assert status == 1
    assert bad["id"] == case_id
    assert bad["error"]
    assert good["incl_vat"] == "5.50"


def test_one_session_is_priced_by_one_tariff(tmp_path: Path) -> None:
    for part in ("tariff", "session"):
        (tmp_path / part).write_text(json.dumps(CASE[part]))
    status, out, _ = run("tariff", "price", str(tmp_path / "tariff"), str(tmp_path / "session"))
    assert (status, out) == (0, "5.00 EUR without VAT, 5.50 EUR with\n")


def test_whole_records_are_priced_and_held_against_what_they_state(tmp_path: Path) -> None:
    record = record_of({"excl_vat": 5, "incl_vat": "5.50"})
    (tmp_path / "records").write_text(json.dumps([record, record | {"id": "2", "tariffs": []}]))
    status, out, _ = run("tariff", "price", str(tmp_path / "records"), "--json")
    assert status == 1
    good, bad = (json.loads(line) for line in out.splitlines())
    assert (good["incl_vat"], good["stated_incl_vat"], good["agrees"]) == ("5.50", "5.50", True)
    assert (bad["id"], "tariffs" in bad["error"]) == ("2", True)
    (tmp_path / "records").write_text(json.dumps(record_of({"excl_vat": 4})))
    status, out, _ = run("tariff", "price", str(tmp_path / "records"))
    assert (status, "differs" in out) == (1, True)


def test_a_file_that_is_not_json_is_wrong_usage(tmp_path: Path) -> None:
    (tmp_path / "tariff").write_text("price: 1")
    (tmp_path / "session").write_text("{}")
    status, _, err = run("tariff", "price", str(tmp_path / "tariff"), str(tmp_path / "session"))
    assert status == 2
    assert f"{tmp_path / 'tariff'} is not JSON" in err


def _require_refused(done: tuple[int, str, str], error: str) -> None:
    status, _, err = done
    assert status == 1, done
    lines = err.splitlines()
    assert lines[0].startswith("energyshare: error: "), err
    assert error in lines[0], err
    assert lines[1].startswith("energyshare: hint: "), err
