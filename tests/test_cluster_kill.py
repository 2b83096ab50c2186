"""SIGKILL of the cloud at every step of an order, and of anyone at any moment: the order ends as it should, once."""

import random
from collections.abc import Iterator
from threading import Timer

import pytest

from energyshare.values import Kind
from tests.depot import Depot, depot, require_lawful
from tests.person import Person
from tests.walk import STEPS, Walk, require_one_proved_bill, walk_with_kill


@pytest.fixture(scope="module")
def shop() -> Iterator[Depot]:
    with depot(outlets=1, locks=1) as made:
        yield made


@pytest.fixture(scope="module")
def alice(shop: Depot) -> Person:
    return shop.add_person("alice", 10_000_000)


@pytest.mark.parametrize("step", STEPS)
def test_an_energy_order_settles_once_when_the_cloud_is_killed(shop: Depot, alice: Person, step: str) -> None:
    order_id = walk_with_kill(Walk(shop, alice, Kind.ENERGY), step, shop.kill_cloud, shop.restart_cloud)
    require_one_proved_bill(shop, alice, order_id)


@pytest.mark.parametrize("step", STEPS)
def test_a_battery_order_settles_once_when_the_cloud_is_killed(shop: Depot, alice: Person, step: str) -> None:
    order_id = walk_with_kill(Walk(shop, alice, Kind.BATTERY), step, shop.kill_cloud, shop.restart_cloud)
    require_one_proved_bill(shop, alice, order_id)


def test_orders_end_as_they_should_when_cloud_or_provider_are_killed_at_any_moment(shop: Depot, alice: Person) -> None:
    chance = random.Random(20261122)
    kills = [(chance.uniform(0.0, 0.6), chance.choice(("cloud", "provider"))) for _ in range(8)]
    ends = [_order_with_kill_after(shop, alice, *kill) for kill in kills]
    assert set(ends) <= {"SETTLED", "EXPIRED"}
    assert "SETTLED" in ends


def _order_with_kill_after(shop: Depot, person: Person, delay_s: float, victim: str) -> str:
    """Take an order to its end while something is killed and started again; gives the state in which it ended."""
    shop.wait_until_online()
    kill, restart = {
        "cloud": (shop.kill_cloud, shop.restart_cloud),
        "provider": (lambda: shop.provider.kill(), shop.restart_provider),
    }[victim]

    def kill_and_restart() -> None:
        kill()
        restart()

    killer = Timer(delay_s, kill_and_restart)
    killer.start()
    order_id = person.demand(Kind.ENERGY)
    state = person.carry_on(shop.address_of, order_id)
    killer.join()
    if state == "SETTLED":
        require_one_proved_bill(shop, person, order_id)
    require_lawful(shop.cluster)
    return state
