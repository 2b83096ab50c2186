"""SIGKILL of the cloud at every step of a service, and of its provider's daemon, which serves the worker: it is billed once."""

from collections.abc import Iterator

import pytest

from energyshare.values import Kind
from tests.depot import Depot, depot
from tests.person import Person
from tests.walk import SERVICE_STEPS, Walk, require_one_proved_bill, walk_with_kill

NEEDED_AT_ONCE = ()
"""The worker's machine is part of the provider's daemon, so nothing goes on without it."""


@pytest.fixture(scope="module")
def shop() -> Iterator[Depot]:
    with depot(workers=1) as made:
        yield made


@pytest.fixture(scope="module")
def alice(shop: Depot) -> Person:
    return shop.add_person("alice", 10_000_000)


@pytest.mark.parametrize("step", SERVICE_STEPS)
def test_a_service_settles_once_when_the_cloud_is_killed(shop: Depot, alice: Person, step: str) -> None:
    order_id = walk_with_kill(Walk(shop, alice, Kind.SERVICE), step, shop.kill_cloud, shop.restart_cloud)
    require_one_proved_bill(shop, alice, order_id)


@pytest.mark.parametrize("step", ["voucher there", "checked in", "amendment proposed", "approved", "settlement asked"])
def test_a_service_settles_once_when_the_provider_is_killed(shop: Depot, alice: Person, step: str) -> None:
    walk = Walk(shop, alice, Kind.SERVICE)
    order_id = walk_with_kill(walk, step, lambda: shop.provider.kill(), shop.restart_provider, NEEDED_AT_ONCE)
    require_one_proved_bill(shop, alice, order_id)
