"""What a session costs while it runs is its bill cut there; and the commands that tell of tariffs."""

import json
from pathlib import Path
from random import Random
from typing import Any

import click
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from energyshare.bodies import ServiceItem
from energyshare.program import Program
from energyshare.session import service_bill
from energyshare.tariff import TariffError, parse_tariff
from energyshare.tariff_simulate import Plan, plot, simulate
from energyshare.values import Instant
from terminals.user.commands import tariffs as commands
from tests.naive_pricer import random_items, tariffs
from tests.test_rating import charging, element, energy, flat, parking

NOON = Instant(1_768_561_200_000_000)
"""Friday 2026-01-16, 12:00 in Berlin."""
H = 3_600
DAY = {
    "currency": "EUR",
    "elements": [element(flat("1"), energy("0.50", "10"), parking("6", step=600))],
    "start_date_time": "2026-01-01T00:00:00Z",
}


def test_a_cost_rises_with_energy_and_then_with_parking() -> None:
    found = simulate(Plan(NOON, "Europe/Berlin", 10_000, H, H), parse_tariff(DAY), 4)
    told = [(one.elapsed_s, one.energy_wh, one.excl_vat_minor, one.incl_vat_minor) for one in found.standings]
    assert told == [
        (0, 0, 0, 0),
        (1_800, 5_000, 350, 375),
        (3_600, 10_000, 600, 650),
        (5_400, 10_000, 900, 950),
        (7_200, 10_000, 1_200, 1_250),
    ]
    assert (found.bill.incl_vat_minor, found.bound_minor) == (1_250, 100 + 550 + 1_200)


def test_a_session_of_no_time_is_one_standing() -> None:
    found = simulate(Plan(NOON, "UTC", 1_000, 0), parse_tariff(DAY), 60)
    assert [(one.elapsed_s, one.energy_wh, one.excl_vat_minor) for one in found.standings] == [(0, 1_000, 150)]


def test_a_tariff_is_not_tried_outside_its_time() -> None:
    with pytest.raises(TariffError, match="is not valid when the session starts"):
        simulate(Plan(Instant(0), "UTC", 1, 1), parse_tariff(DAY), 1)


@settings(max_examples=60, deadline=None)
@given(tariffs(), st.integers(0, 9_000), st.integers(0, 30_000), st.integers(0, 9_000), st.integers(0, 2**48))
def test_the_last_standing_is_the_bill_and_none_is_above_the_bound(
    source: dict[str, Any], wh: int, seconds: int, parking_s: int, seed: int
) -> None:
    plan = Plan(NOON, "Europe/Berlin", wh, seconds, parking_s, tuple(random_items(Random(seed), source)))
    found = simulate(plan, parse_tariff(source), 6)
    assert found.standings[-1].incl_vat_minor == found.bill.incl_vat_minor
    assert max(one.incl_vat_minor for one in found.standings) <= found.bound_minor


def test_a_simulated_service_is_a_service() -> None:
    source = {"currency": "EUR", "elements": [element(charging("60"), {"type": "ITEM", "item": "tow", "price": 9})]}
    rates, items = parse_tariff(source), (ServiceItem("tow", 2),)
    assert simulate(Plan(NOON, "UTC", 0, 900, 0, items), rates, 3).bill == service_bill(NOON, "UTC", 900, items, rates)


@pytest.mark.parametrize(
    ("values", "height", "lines"),
    [
        ([0, 1, 2, 3, 4], 1, (" ▂▄▆█",)),
        ([0, 8, 16], 2, ("  █", " ██")),
        ([3, 3], 1, ("██",)),
        ([0, 0], 2, ("  ", "  ")),
        ([], 1, ("",)),
    ],
)
def test_a_plot_fills_the_column_of_its_largest_value(values: list[int], height: int, lines: tuple[str, ...]) -> None:
    assert plot(values, height) == lines


@click.group(cls=Program)
def program() -> None:
    """Hold the commands."""


commands.register(program)


def run(*arguments: str) -> tuple[int, str, str]:
    done = CliRunner().invoke(program, ["tariff", *arguments], prog_name="energyshare")
    return done.exit_code, done.stdout, done.stderr


@pytest.fixture
def day(tmp_path: Path) -> str:
    path = tmp_path / "day.json"
    path.write_text(json.dumps(DAY))
    return str(path)


def test_explain_prints_sentences(day: str) -> None:
    status, out, err = run("explain", day)
    assert (status, err) == (0, "")
    assert "Energy costs 0.5 EUR per kWh plus 10 % VAT." in out.splitlines()
    assert json.loads(run("explain", day, "--json")[1])["sentences"] == out.splitlines()


def test_lint_prints_findings_and_fails_on_errors_alone(day: str, tmp_path: Path) -> None:
    status, out, _ = run("lint", day)
    assert (status, "COST_UNBOUNDED" in out) == (0, True)
    listed = json.loads(run("lint", day, "--json")[1])
    assert {"severity", "file", "where", "code", "text"} == listed[0].keys()
    bad = tmp_path / "bad.json"
    bad.write_text("{")
    assert run("lint", str(bad), "--json")[0] == 1
    good = tmp_path / "good.json"
    elements = [element(energy("1"), charging("1"), parking("1"))]
    good.write_text(json.dumps({"currency": "EUR", "elements": elements, "max_price": {"excl_vat": 9}}))
    assert run("lint", str(good)) == (0, "Nothing was found.\n", "")


SIMULATED = (
    *("--energy-wh", "10000", "--duration", "1h", "--parking", "1h"),
    *("--start", "2026-01-16T12:00", "--time-zone", "Asia/Shanghai"),
)


def test_simulate_prints_a_table_a_plot_and_the_bill(day: str) -> None:
    status, out, err = run("simulate", day, *SIMULATED)
    assert (status, err) == (0, "")
    lines = out.splitlines()
    assert lines[1].split() == ["0:00", "0", "Wh", "0.00", "0.00"]
    assert "12.50 │" in out
    assert "It costs 12.00 EUR without VAT, 12.50 EUR with it; rounded half up" in out
    assert lines[-1] == "The most that an order with this energy and time as its caps can cost is 18.50 EUR."


def test_simulate_gives_programs_every_step(day: str) -> None:
    facts = json.loads(run("simulate", day, *SIMULATED, "--json")[1])
    assert (facts["incl_vat_minor"], facts["bound_minor"], len(facts["standings"])) == (1_250, 1_850, 61)
    assert facts["rounding"].startswith("half up")


@pytest.mark.parametrize(
    ("arguments", "status", "error"),
    [
        (("--start", "noon"), 2, "'noon' is not a local time"),
        (("--start", "2026-01-16T12:00Z"), 2, "is not a local time"),
        (("--start", "9999-12-31T23:59"), 2, "is not a local time"),
        (("--start", "1969-12-31T23:59"), 2, "is not a local time"),
        (("--time-zone", "Mars"), 1, "time_zone: 'Mars' is not an IANA time zone"),
        (("--start", "2025-01-01T12:00"), 1, "the tariff is not valid when the session starts"),
        (("--item", "tow"), 1, "items[tow]: has no price in this tariff"),
        (("--energy-wh", "-1"), 2, "-1 is not in the range"),
    ],
)
def test_a_simulation_that_can_not_be_is_refused(day: str, arguments: tuple[str, ...], status: int, error: str) -> None:
    done = run("simulate", day, "--duration", "1h", *arguments)
    assert (done[0], error in done[2]) == (status, True), done


SESSION = {
    "start_date_time": "2026-01-16T11:00:00Z",
    "time_zone": "UTC",
    "charging_periods": [{"start_date_time": "2026-01-16T11:00:00Z", "dimensions": [{"type": "ENERGY", "volume": 10}]}],
}


def priced(tmp_path: Path, tariff: object, session: object) -> tuple[int, str, str]:
    for name, content in (("tariff", tariff), ("session", session)):
        (tmp_path / name).write_text(json.dumps(content))
    return run("price", str(tmp_path / "tariff"), str(tmp_path / "session"))


def test_price_takes_one_tariff_or_a_list(tmp_path: Path) -> None:
    ended = {**DAY, "start_date_time": None, "end_date_time": "2026-01-16T11:00:00Z"}
    once = (0, "6.00 EUR without VAT, 6.50 EUR with\n", "")
    assert priced(tmp_path, DAY, SESSION) == priced(tmp_path, [ended, DAY], SESSION) == once


WRONG: list[tuple[str, object, object, str]] = [
    ("a tariff", {**DAY, "currency": "eur"}, SESSION, "tariff currency: must be an ISO 4217 code"),
    ("one of a list", [DAY, {**DAY, "currency": "eur"}], SESSION, "tariff tariffs[1].currency: must be an ISO"),
    ("a session", DAY, {**SESSION, "time_zone": 5}, "session time_zone: '5' is not an IANA time zone"),
    ("another currency", DAY, {**SESSION, "currency": "CNY"}, "session currency: is not EUR, the tariff's"),
    ("no session", DAY, [], "session: must be an object"),
    ("not valid", {**DAY, "start_date_time": "2027-01-01T00:00:00Z"}, SESSION, "tariff: is not valid when the session starts"),
    ("no price", DAY, {**SESSION, "items": [{"name": "tow", "quantity": 1}]}, "tariff items[tow]: has no price in this tariff"),
]


@pytest.mark.parametrize(("name", "tariff", "session", "error"), WRONG, ids=[row[0] for row in WRONG])
def test_price_names_file_path_and_reason(tmp_path: Path, name: str, tariff: object, session: object, error: str) -> None:
    status, _, err = priced(tmp_path, tariff, session)
    assert status == 1
    assert f"energyshare: error: {tmp_path}/{error}" in err


def test_a_batch_survives_lines_that_are_no_text(tmp_path: Path) -> None:
    cases = tmp_path / "cases"
    good = json.dumps({"id": 1, "tariff": DAY, "session": SESSION}).encode()
    cases.write_bytes(b"\xff\xfe\n\n" + good + b"\r\n[" + b" " * 2**20 + b"]\n")
    status, out, _ = run("price", "--batch", str(cases))
    answers = [json.loads(line) for line in out.splitlines()]
    assert (status, [answer.get("excl_vat") for answer in answers]) == (1, [None, "6.00", None])
    assert "bytes long; 1048576 are allowed" in answers[2]["error"]
