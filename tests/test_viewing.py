"""What people look at: pages of orders, screens that fit, lines where there is no screen, completion."""

import asyncio
import dataclasses
import json
from collections.abc import Iterator
from contextlib import ExitStack
from io import StringIO
from pathlib import Path
from threading import Thread
from typing import Any

import click
import pytest
from click.shell_completion import ShellComplete
from click.testing import CliRunner, Result
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st
from rich.console import Console, RenderableType

from cloud.cli import main as cloud_program
from energyshare.errors import Reason, Rejected, Unavailable
from energyshare.home import WANTED, borrow_home, is_free, is_wanted, lock_home
from energyshare.program import Program
from energyshare.records import replace
from energyshare.values import Instant, later
from terminals.device.cli import program as device_program
from terminals.journal import Journal
from terminals.provider.cli import program as provider_program
from terminals.provider.overview import Desk, desk_facts, desk_of
from terminals.provider.screen import screen as desk_screen
from terminals.stream import Closed
from terminals.user import viewing
from terminals.user.cli import program
from terminals.user.overview import OrderView, view_facts, view_of
from terminals.user.screen import screen
from terminals.user.terminal import UserTerminal
from terminals.user.watching import Connection, Printed, watch, watched
from tests.cluster import until
from tests.device.world import ISSUER
from tests.journals import LOCK, WORKER, Customer, enrolled_home, fill_provider
from tests.terminals_world import NOW, OUTLET, PROVIDER

PROGRAMS: dict[str, click.Group] = {
    "energyshare": program,
    "energyshare-provider": provider_program,
    "energyshare-device": device_program,
    "energyshare-cloud": cloud_program,
}
SIZES = [(80, 24), (120, 40), (100, 12), (40, 6)]


@pytest.fixture(scope="module")
def customer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Customer]:
    """A user with an order in each state: settled, corrected, expired, of each kind under way, waiting for an answer, new."""
    made = Customer(tmp_path_factory.mktemp("viewing") / "home")
    made.settled(OUTLET)
    made.claimed()
    made.now = later(NOW, 2 * 86_400)
    made.expired()
    made.active(OUTLET)
    made.active(LOCK)
    made.proposed()
    made.asked()
    made.authorized(LOCK)
    made.offered(LOCK, OUTLET, WORKER)
    yield made
    made.close()


@pytest.fixture(scope="module")
def depot(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A provider's home whose journal has orders in every state."""
    home = tmp_path_factory.mktemp("viewing") / "depot"
    enrolled_home(home, NOW, dataclasses.replace(PROVIDER, name="depot"), ISSUER)
    journal = Journal(home / "journal.db")
    fill_provider(journal, NOW)
    journal.close()
    return home


def views(customer: Customer) -> list[OrderView]:
    return [view_of(customer.me, order_id, customer.now) for order_id, _ in customer.me.orders()]


def view(customer: Customer, number: int) -> OrderView:
    return view_of(customer.me, customer.me.numbered(number), customer.now)


def run(home: Path, *arguments: str, of: click.Group = program) -> Result:
    return CliRunner().invoke(of, [*arguments, "--home", str(home)], prog_name="energyshare")


def drawn(what: RenderableType, width: int, height: int = 25) -> list[str]:
    file = StringIO()
    Console(file=file, width=width, height=height, highlight=False).print(what)
    return file.getvalue().splitlines()


# What is known of an order


@pytest.mark.parametrize(
    ("number", "waits"),
    [
        (1, ["the bill can be disputed until"]),
        (2, ["the bill can be disputed until"]),
        (3, []),
        (4, ["the device closes at"]),
        (5, ["to be brought back by", "not brought back, charged to its caps at"]),
        (6, ["the time agreed is over at"]),
        (7, ["without an answer it is settled as asked at"]),
        (8, ["the voucher opens until"]),
        (9, ["the last offer binds until"]),
    ],
)
def test_each_state_names_the_times_that_matter(customer: Customer, number: int, waits: list[str]) -> None:
    assert [wait.what for wait in view(customer, number).waits] == waits


@pytest.mark.parametrize(
    ("number", "amounts"),
    [
        (1, {"charged": 68}),
        (2, {"bill 1, replaced": 68, "charged": 68, "deposit kept": 3_000, "deposit back": 17_000}),
        (3, {}),
        (4, {"held at most": 272}),
        (5, {"held at most": 20_272, "deposit in it": 20_000}),
        (6, {"held at most": 25_440}),
        (9, {}),
    ],
)
def test_each_state_names_the_amounts_that_matter(customer: Customer, number: int, amounts: dict[str, int]) -> None:
    assert dict(view(customer, number).amounts) == amounts


def test_a_supply_under_way_shows_energy_time_and_cost_against_their_caps(customer: Customer) -> None:
    order_id = customer.me.numbered(4)
    started = Instant(next(wait.at for wait in view(customer, 4).waits) - 7_200_000_000)
    gauges = view_of(customer.me, order_id, later(started, 2_000)).gauges
    assert [(gauge.name, gauge.part, gauge.whole) for gauge in gauges] == [
        ("energy", 500, 2_000),
        ("time", 2_000, 7_200),
        ("cost", 68, 272),
    ]
    assert view_of(customer.me, order_id, later(started, 9_999)).gauges[1].part == 7_200


def test_a_service_shows_its_time_and_what_is_asked_once_it_is(customer: Customer) -> None:
    assert [gauge.name for gauge in view(customer, 6).gauges] == ["time", "cost"]
    assert [(gauge.part, gauge.whole) for gauge in view(customer, 7).gauges] == [(1_800, 7_200), (12_720, 25_440)]


def test_approved_extra_work_raises_what_is_held(tmp_path: Path) -> None:
    someone = Customer(tmp_path / "home")
    order_id = someone.proposed()
    before = dict(view_of(someone.me, order_id, someone.now).amounts)["held at most"]
    someone.me.answer_amendment(order_id, 1, approve=True)
    assert dict(view_of(someone.me, order_id, someone.now).amounts)["held at most"] == before + 5_257
    someone.close()


# Pages


@pytest.mark.parametrize("number", range(1, 10))
def test_the_page_of_an_order_has_its_state_history_evidence_and_next_command(customer: Customer, number: int) -> None:
    page, known = run(customer.home, "order", "show", str(number)), view(customer, number)
    assert page.exit_code == 0
    assert f"Order {number}: {known.order.state} — " in page.stdout
    assert "History\n" in page.stdout
    assert "you     Demanded" in page.stdout or "you    Demanded" in page.stdout
    assert ("Evidence here" in page.stdout) == bool(known.evidence)
    assert (f"Next: {known.following}" in page.stdout) == (known.following is not None)


def test_the_facts_of_an_order_are_those_of_its_view(customer: Customer) -> None:
    shown = json.loads(run(customer.home, "order", "show", "2", "--json").stdout)
    assert shown == json.loads(json.dumps(view_facts(view(customer, 2))))
    assert shown["history"][0]["message"] == "Demand"
    assert {k: v for k, v in shown["evidence"][-1].items() if k != "hash_start"} == {"part": "CHARGE_RECORD", "count": 2}


def test_the_status_of_an_order_under_way_has_its_figures(customer: Customer) -> None:
    facts = json.loads(run(customer.home, "status", "4", "--json").stdout)
    assert (facts["state"], facts["running_energy_wh"], facts["running_minor"]) == ("ACTIVE", 500, 68)
    assert (facts["kind"], facts["next"]) == ("ENERGY", "energyshare end 4 --device HOST:PORT")
    waiting = json.loads(run(customer.home, "status", "7", "--json").stdout)
    assert (waiting["settlement_waits_minor"], waiting["amendment_waits"]) == (12_720, None)


def test_orders_are_listed_under_both_names(customer: Customer) -> None:
    listed, also = run(customer.home, "order", "list", "--json"), run(customer.home, "orders", "--json")
    assert json.loads(listed.stdout) == json.loads(also.stdout)
    assert [order["order"] for order in json.loads(listed.stdout)] == list(range(1, 10))


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (("order", "show", "99"), 1, "there is no such order (order 99)"),
        (("order", "show"), 1, "there is no such order (open 6)"),
        (("watch", "99", "--once"), 1, "there is no such order (order 99)"),
        (("watch", "--interval", "0"), 2, "--interval"),
        (("order", "show", "none"), 2, "none"),
        (("order", "burn"), 2, "burn"),
    ],
)
def test_what_can_not_be_shown_is_said(customer: Customer, arguments: tuple[str, ...], status: int, words: str) -> None:
    done = CliRunner().invoke(program, arguments, env={"ENERGYSHARE_HOME": str(customer.home)}, prog_name="energyshare")
    assert done.exit_code == status
    assert words in done.stderr


# Screens


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_a_screen_fits(customer: Customer, width: int, height: int) -> None:
    lines = drawn(screen(views(customer), "connected", customer.now, width, height), width, height)
    assert len(lines) < height
    assert all(len(line) <= width for line in lines)


@examples(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(20, 200), st.integers(4, 80), st.integers(0, 9))
def test_any_screen_fits(customer: Customer, width: int, height: int, count: int) -> None:
    lines = drawn(screen(views(customer)[:count], "offline", customer.now, width, height), width, height)
    assert len(lines) < height or height <= 4
    assert all(len(line) <= width for line in lines)


def test_what_waits_for_the_user_is_on_top_and_every_open_order_has_its_line(customer: Customer) -> None:
    live = [one for one in views(customer) if one.order.number > 3]
    text = "\n".join(drawn(screen(live, "connected", customer.now, 80, 24), 80, 24))
    assert text.index("order 6: ACTIVE") < text.index("order 7: ENDING") < text.index("order 5: ACTIVE")
    for number in range(4, 10):
        assert f"order {number}: " in text
    assert "energyshare amendment approve 6 1" in text


def test_a_large_screen_shows_bars_times_and_events(customer: Customer) -> None:
    text = "\n".join(drawn(screen([view(customer, 4)], "connected", customer.now, 100, 40), 100, 40))
    assert "energy █████░░░░░░░░░░░░░░░  500 Wh of 2.000 kWh" in text
    assert "the device closes at" in text
    assert "device  3 readings, 500 Wh after 30 min" in text
    assert text.index("3 readings") < text.index("Started at") < text.index("Demanded")


def test_without_open_orders_a_screen_says_what_to_type(customer: Customer) -> None:
    assert drawn(screen([], "connected", NOW, 80, 24), 80)[-1] == "No open orders. Next: energyshare demand --help"


# Watching


def test_watching_shows_what_is_open_or_the_order_asked_for(customer: Customer) -> None:
    assert [one.order.number for one in watched(customer.me, None)] == [9, 8, 7, 6, 5, 4]
    assert [one.order.number for one in watched(customer.me, customer.me.numbered(1))] == [1]


def test_watching_once_prints_the_screen_or_facts(customer: Customer) -> None:
    text = run(customer.home, "watch", "--once").stdout
    assert text.startswith("EnergyShare")
    assert "not connected" in text
    facts = json.loads(run(customer.home, "watch", "4", "--once", "--json").stdout)
    assert [one["order"] for one in facts] == [4]


def test_without_a_screen_only_what_is_new_is_printed(customer: Customer) -> None:
    printed, known = Printed(as_json=False), view(customer, 4)
    first = list(printed.new_lines([known], "connected"))
    assert first[0].endswith("connected")
    assert first[1].startswith("order 4: ACTIVE: the outlet is in use; 500 Wh of 2.000 kWh")
    assert list(printed.new_lines([known], "connected")) == []
    assert len(list(printed.new_lines([known], "offline"))) == 1
    assert len(list(printed.new_lines([replace(known, sentence="ended")], "offline"))) == 1
    assert len(list(printed.new_lines([replace(known, sentence="ended", history=known.history[:2])], "offline"))) == 1


def test_a_home_in_use_is_watched_without_connecting(customer: Customer, capsys: pytest.CaptureFixture[str]) -> None:
    with lock_home(customer.home), ExitStack() as held:
        me, can_write = viewing._opened(held, customer.home)
        assert (can_write, len(me.orders())) == (False, 9)
    assert "is in use by" in capsys.readouterr().err
    with ExitStack() as held:
        assert viewing._opened(held, customer.home)[1]


def test_a_home_that_is_watched_is_given_up_to_one_who_wants_it(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with lock_home(home):
        assert (is_wanted(home), is_free(home)) == (False, False)
        borrower = Thread(target=_borrow, args=(home,))
        borrower.start()
        until("the wish", lambda: is_wanted(home))
    borrower.join(5)
    assert (home / "borrowed").exists()
    assert (is_wanted(home), is_free(home)) == (False, True)


def test_the_wish_of_a_program_that_died_is_forgotten(tmp_path: Path) -> None:
    (tmp_path / WANTED).touch()
    assert not is_wanted(tmp_path)
    assert is_free(tmp_path)


def _borrow(home: Path) -> None:
    with borrow_home(home, 5):
        (home / "borrowed").touch()


class Line(UserTerminal):
    """A terminal whose line to the cloud ends as it was told."""

    def __init__(self, customer: Customer, *endings: Exception) -> None:
        super().__init__(customer.me.identity, customer.me.journal, lambda: NOW)
        self._endings = iter(endings)

    async def sync(self, until: Any, within_s: float, each: Any = None) -> bool:
        assert until() is False
        raise next(self._endings)


@pytest.mark.parametrize("final", [Rejected(Reason.IDENTITY_REVOKED), Closed("DISPLACED")])
def test_a_connection_is_made_again_until_the_cloud_refuses_for_good(customer: Customer, final: Exception) -> None:
    said: list[tuple[str, float]] = []
    line = Line(customer, Unavailable("the line broke"), Closed("SHUTTING_DOWN"), Unavailable("the line broke"), final)

    async def note(pause: float) -> None:
        said.append((connection.words, pause))

    connection = Connection(line, sleep=note)
    with pytest.raises(type(final)):
        asyncio.run(connection.keep())
    assert said == [
        ("offline, again in 1 s: the line broke", 1.0),
        ("offline, again in 1 s: the cloud closed the stream: SHUTTING_DOWN", 1.0),
        ("offline, again in 1 s: the line broke", 1.0),
    ]


def test_pauses_grow_while_the_cloud_is_away(customer: Customer) -> None:
    class Away(Line):
        async def sync(self, until: Any, within_s: float, each: Any = None) -> bool:
            raise next(self._endings)

    pauses: list[float] = []

    async def note(pause: float) -> None:
        pauses.append(pause)

    away = Away(customer, *([Unavailable("away")] * 7), Rejected(Reason.IDENTITY_REVOKED))
    with pytest.raises(Rejected):
        asyncio.run(Connection(away, sleep=note).keep())
    assert pauses == [1.0, 2.0, 5.0, 10.0, 30.0, 30.0, 30.0]


def test_watching_ends_with_what_the_cloud_refused(customer: Customer) -> None:
    connection = Connection(Line(customer, Rejected(Reason.IDENTITY_REVOKED)))
    console = Console(file=StringIO(), width=80)
    with pytest.raises(Rejected):
        asyncio.run(watch(connection, lambda: watched(customer.me, None), console, 0.1, as_json=True))


# The provider's side


def desk(depot: Path) -> Desk:
    journal = Journal(depot / "journal.db", read_only=True)
    found = desk_of(journal, dataclasses.replace(PROVIDER, name="depot"), NOW)
    journal.close()
    return found


def test_a_desk_counts_what_is_under_way_and_what_came_in_today(depot: Path) -> None:
    found = desk(depot)
    assert [document.number for _, document in found.orders] == [2, 3, 4, 5, 6]
    assert (found.waiting, found.billed_today, found.billed_today_minor) == (1, 2, 68 + 1_234)
    assert desk_facts(found)["waiting"] == 1


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_a_desk_fits_its_screen(depot: Path, width: int, height: int) -> None:
    lines = drawn(desk_screen(desk(depot), NOW, width, height), width, height)
    assert len(lines) < height or height < 10
    assert all(len(line) <= width for line in lines)


def test_a_desk_shows_orders_assets_and_events(depot: Path) -> None:
    text = "\n".join(drawn(desk_screen(desk(depot), NOW, 120, 40), 120, 40))
    for words in ("EnergyShare provider depot", "2 bills today, 13.02 CNY", "1 message for the cloud", "Under way: 5 orders"):
        assert words in text
    assert "to be back by" in text
    assert "Next: energyshare-provider order confirm 6" in text
    assert "Corner-Shop/lock-1" in text
    assert "No offer, it needs more notice" in text


@pytest.mark.parametrize("number", range(1, 11))
def test_the_provider_sees_each_order_on_a_page(depot: Path, number: int) -> None:
    shown = run(depot, "order", "show", str(number), of=provider_program)
    assert shown.exit_code == 0
    assert f"Order {number}: " in shown.stdout
    facts = json.loads(run(depot, "order", "show", str(number), "--json", of=provider_program).stdout)
    assert facts["number"] == number
    assert facts["history"][0]["what"] == "No offer"


def test_the_page_of_a_job_tells_extra_work_and_what_was_asked(depot: Path) -> None:
    assert (
        "extra work 1: 2 × spare fuse and 30 min, 52.57 CNY at most; waits"
        in run(depot, "order", "show", "4", of=provider_program).stdout
    )
    asked = run(depot, "order", "show", "5", of=provider_program).stdout
    assert "asked: 127.20 CNY for jump-start in 30 min" in asked
    assert "claimed of the deposit: 50.00 CNY" in run(depot, "order", "show", "7", of=provider_program).stdout


def test_the_desk_is_watched_once(depot: Path) -> None:
    assert "EnergyShare provider depot" in run(depot, "watch", "--once", of=provider_program).stdout
    assert json.loads(run(depot, "watch", "--once", "--json", of=provider_program).stdout)["name"] == "depot"


def test_an_order_that_the_provider_does_not_have_is_refused(depot: Path) -> None:
    done = run(depot, "order", "show", "77", of=provider_program)
    assert done.exit_code == 1
    assert "there is no such order (order 77)" in done.stderr


# Completion


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
@pytest.mark.parametrize("name", PROGRAMS)
def test_every_program_completes_in_every_shell(name: str, shell: str) -> None:
    done = CliRunner().invoke(PROGRAMS[name], ["completion", shell], prog_name=name)
    assert done.exit_code == 0
    assert f"_{name.replace('-', '_').upper()}_COMPLETE={shell}_complete" in done.stdout
    assert isinstance(PROGRAMS[name], Program)


def test_an_unknown_shell_is_wrong_usage() -> None:
    done = CliRunner().invoke(program, ["completion", "csh"], prog_name="energyshare")
    assert (done.exit_code, "csh" in done.stderr) == (2, True)


def completed(of: click.Group, *arguments: str, incomplete: str = "") -> list[str]:
    return [item.value for item in ShellComplete(of, {}, "p", "_P").get_completions(list(arguments), incomplete)]


def test_order_numbers_are_completed_from_the_journal(customer: Customer, depot: Path, tmp_path: Path) -> None:
    home = ("--home", str(customer.home))
    assert completed(program, "order", "show", *home) == [str(number) for number in range(9, 0, -1)]
    assert completed(program, "receipt", *home, incomplete="9") == ["9"]
    assert completed(program, "receipt", "--home", str(tmp_path / "none")) == []
    assert completed(provider_program, "order", "show", "--home", str(depot))[-1] == "1"
    assert "show" in completed(program, "order")


def test_registering_joins_a_group_that_is_there_already() -> None:
    @click.group()
    def some() -> None:
        """Some program."""

    @some.group("order")
    def order() -> None:
        """Its orders."""

    viewing.register(some)
    assert set(order.commands) == {"list", "show"}
    assert {"watch", "receipt"} <= set(some.commands)
