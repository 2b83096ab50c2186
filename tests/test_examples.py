"""The programs of examples/, each as a process: one rents out a home battery, the other watches a fleet's orders."""

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest

from energyshare.bodies import ReadingBody
from energyshare.values import Kind, OrderId, id_text
from energyshare.wire import peek
from terminals.units import money
from tests.cluster import ENVIRONMENT, Cluster, cluster, free_port, until
from tests.person import Person

EXAMPLES = Path(__file__).parents[1] / "examples"
NEAR = ("--at", "22.5431,114.0579")
CHARGE_PCT = 80
RENTED_WH = 1_500  # leaves the battery below that


@dataclass(frozen=True, slots=True)
class Example:
    """An example that runs, what it has printed, and what it has said on stderr."""

    process: subprocess.Popen[bytes]
    printed: Path
    said: Path

    @classmethod
    def start(cls, folder: Path, name: str, *arguments: str) -> "Example":
        """Start an example as a person would."""
        printed, said = folder / f"{name}.out", folder / f"{name}.err"
        with printed.open("wb") as out, said.open("wb") as errors:
            command = [sys.executable, str(EXAMPLES / f"{name}.py"), *arguments]
            return cls(subprocess.Popen(command, stdout=out, stderr=errors, env=ENVIRONMENT), printed, said)

    def lines(self) -> list[str]:
        """Give what was printed so far; the last line may not be whole yet."""
        return self.printed.read_text().split("\n")[:-1]

    def wait_for(self, what: str, holds: Callable[[str], bool]) -> str:
        """Wait until a line that was printed is as wanted; gives it."""
        line: str = until(f"{what} in {self.printed}", lambda: next(filter(holds, self.lines()), None))
        return line

    def interrupt(self) -> int:
        """Interrupt it as Ctrl-C does; gives its exit status."""
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(20)


@dataclass(frozen=True, slots=True)
class House:
    """A cluster with a home battery that is rented out from now on for two hours."""

    cluster: Cluster
    rental: Example
    lock: str


@pytest.fixture(scope="module")
def house() -> Iterator[House]:
    lock = f"127.0.0.1:{(port := free_port())}"
    with cluster() as one:
        one.enroll_provider("home")
        one.enroll_device("battery-1", "home", "battery", "--power-w", "3600000", "--capacity-wh", "5000")
        one.start_device("battery-1", port)
        config = (EXAMPLES / "home_battery.toml").read_text().replace("127.0.0.1:7450", lock)
        one.configure_provider("home", config, {"night.json": json.loads((EXAMPLES / "night.json").read_text())})
        hour = datetime.now(ZoneInfo("Asia/Shanghai")).hour
        night = ("--night", f"{hour}-{(hour + 2) % 24}", "--charge", str(CHARGE_PCT))
        config_path = str(one.folder / "home.toml")
        rental = Example.start(one.folder, "night_rental", config_path, "--home", str(one.home("home")), *night)
        try:
            rental.wait_for("a connection", lambda line: line == "connected, 1 asset")
            yield House(one, rental, lock)
        finally:
            rental.interrupt()


@pytest.fixture(scope="module")
def alice(house: House) -> Person:
    house.cluster.add_user("alice", "1000")
    return Person(house.cluster, "alice")


def test_a_home_battery_is_rented_out_at_night_while_it_is_charged(house: House, alice: Person) -> None:
    by_day = house.cluster.user("alice", "demand", "battery", *NEAR, "--needed-in", "6h")
    assert (by_day["offers"], said_to(alice, by_day["order"])) == ([], ["ONLY_AT_NIGHT"])

    order_id = alice.demand_offers(Kind.BATTERY, energy_wh=RENTED_WH)
    alice.select(order_id)
    alice.reach_state(order_id, "AUTHORIZED")
    alice.start(order_id, house.lock)
    house.rental.wait_for("the start", lambda line: line.endswith("order 2: in use; 0.00 CNY in all"))
    alice.reach("the cut-off", order_id, lambda order: is_used_up(alice, order_id))
    assert alice.carry_on(lambda *_: house.lock, order_id) == "SETTLED"
    billed = f"order 2: settled; {paid(alice, order_id)} in all"
    house.rental.wait_for("the bill", lambda line: line.endswith(billed))

    too_low = house.cluster.user("alice", "demand", "battery", *NEAR)
    assert (too_low["offers"], said_to(alice, too_low["order"])) == ([], ["KEPT_FOR_THE_HOUSE"])


def test_a_fleets_feed_prints_a_line_for_every_change_of_the_accounts_orders(house: House, alice: Person) -> None:
    house.cluster.add_terminal("alice", "dashboard")
    dashboard = Person(house.cluster, "dashboard")
    own_order = dashboard.demand(Kind.ENERGY, wait_s=4)
    home = str(dashboard.home)
    feed = Example.start(house.cluster.folder, "fleet_feed", "--home", home, "--every", "2")
    try:
        feed.wait_for("the own demand", lambda line: is_of(line, own_order, "DEMANDED"))
        feed.wait_for("its end", lambda line: is_of(line, own_order, "EXPIRED"))

        anothers = house.cluster.user("alice", "demand", "battery", *NEAR)
        another_id = OrderId(UUID(anothers["id"]).bytes)
        feed.wait_for("another's demand", lambda line: is_of(line, another_id, "DEMANDED"))
        house.cluster.user("alice", "cancel", str(anothers["order"]))
        feed.wait_for("its end", lambda line: is_of(line, another_id, "CANCELLED"))
    finally:
        assert feed.interrupt() == 0
    assert len(set(feed.lines())) == len(feed.lines())


def test_an_example_says_what_is_wrong_with_its_home(tmp_path: Path) -> None:
    for name, arguments in (("fleet_feed", ()), ("night_rental", (str(EXAMPLES / "home_battery.toml"),))):
        example = Example.start(tmp_path, name, *arguments, "--home", str(tmp_path / "none"))
        assert example.process.wait(20) == 1
        assert example.said.read_text().startswith(f"{name}: error: ")


def is_used_up(person: Person, order_id: OrderId) -> bool:
    """Say whether a rental has reached its energy cap."""
    readings = [peek(ReadingBody, part.signed) for part in person.readings(order_id)]
    return bool(readings) and not readings[-1].supplying


def paid(person: Person, order_id: OrderId) -> str:
    """Write what a person paid for an order."""
    total = person.look(order_id).total_minor
    assert total
    return money(total, "CNY")


def said_to(person: Person, number: int) -> list[str]:
    """Give the reasons for which the offers of an order were declined."""
    return next(order.declined for _, order in person.orders() if order.number == number)


def is_of(line: str, order_id: OrderId, state: str) -> bool:
    """Say whether a line of the feed tells of an order in a state."""
    facts: dict[str, Any] = json.loads(line)
    return (facts["id"], facts["state"]) == (id_text(order_id), state)
