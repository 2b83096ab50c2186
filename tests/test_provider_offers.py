"""What a provider tells of its assets, and what it offers: versions rise, offers keep to the demand."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from energyshare.bodies import OfferBody
from energyshare.bound import price_bound
from energyshare.messages import Demand, Inventory, Message
from energyshare.signing import Label, digest
from energyshare.tariff import tariff_of
from energyshare.values import (
    AssetState,
    Currency,
    DurationS,
    EnergyWh,
    Instant,
    Kind,
    Metres,
    Minor,
    OrderId,
    Place,
    ProviderId,
    later,
)
from terminals.journal import Journal
from terminals.provider.catalog import Catalog, build_catalog
from terminals.provider.config import Offers, load_provider_config
from terminals.provider.inventory import tell_inventory
from terminals.provider.quoting import VOUCHER_MAX_S, Asked, quote

PROVIDER, CNY, NOW = ProviderId(b"\x07" * 16), Currency("CNY"), Instant(1_795_000_000_000_000)
DAY = {"currency": "CNY", "elements": [{"price_components": [{"type": "ENERGY", "price": 1.2, "vat": 13, "step_size": 1}]}]}
CONFIG = """
[[tariffs]]
name = "day"
file = "day.json"
[offers]
valid_s = 600
[[sites]]
station = "Depot"
latitude = "22.5431"
longitude = "114.0579"
time_zone = "Asia/Shanghai"
[[sites.assets]]
name = "lock-1"
kind = "battery"
tariff = "day"
power_w = 1000
capacity_wh = 2000
deposit = "200.00"
address = "127.0.0.1:7450"
[[sites.assets]]
name = "outlet-1"
kind = "outlet"
tariff = "day"
power_w = 7000
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "day.json").write_text(json.dumps(DAY))
    return tmp_path


def build(folder: Path, text: str) -> Catalog:
    path = folder / "provider.toml"
    path.write_text(text)
    return build_catalog(load_provider_config(path), path, PROVIDER, CNY)


# Inventory


class Said:
    """Stands for a terminal: keeps what is said, in a journal that lives in memory."""

    def __init__(self, journal: Journal) -> None:
        self.journal = journal
        self.messages: list[Inventory] = []

    def say(self, order_id: OrderId | None, message: Message) -> None:
        assert order_id is None
        assert isinstance(message, Inventory)
        self.messages.append(message)

    def told(self, catalog: Catalog) -> list[tuple[str, int, AssetState]]:
        """Tell the inventory; gives name, version and state of what was said."""
        self.messages.clear()
        with self.journal.transaction():
            tell_inventory(self, catalog)  # type: ignore[arg-type]
        return [(asset.name, asset.version, asset.state) for message in self.messages for asset in message.assets]


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Said]:
    journal = Journal(tmp_path / "journal.db")
    yield Said(journal)
    journal.close()


def test_an_asset_is_told_when_it_is_new_changed_or_gone_with_a_rising_version(folder: Path, terminal: Said) -> None:
    catalog = build(folder, CONFIG)
    lock = next(iter(catalog.assets.values()))
    assert terminal.told(catalog) == [("lock-1", 1, AssetState.AVAILABLE), ("outlet-1", 1, AssetState.AVAILABLE)]
    assert terminal.told(catalog) == []
    changed = build(folder, CONFIG.replace("power_w = 7000", "power_w = 8000\nout_of_service = true"))
    assert terminal.told(changed) == [("outlet-1", 2, AssetState.OUT_OF_SERVICE)]
    only_lock = replace(catalog, assets={lock.asset_id: lock})
    assert terminal.told(only_lock) == [("outlet-1", 3, AssetState.REMOVED)]
    assert terminal.told(only_lock) == []
    assert terminal.told(catalog) == [("outlet-1", 4, AssetState.AVAILABLE)]


def test_an_inventory_carries_the_tariffs_that_it_names(folder: Path, terminal: Said) -> None:
    terminal.told(build(folder, CONFIG))
    [message] = terminal.messages
    assert {digest(Label.TARIFF, body) for body in message.tariffs} == {asset.tariff_hash for asset in message.assets}


# Quoting


def _demand(**wanted: Any) -> Demand:
    given: dict[str, Any] = {
        "kinds": (Kind.ENERGY, Kind.BATTERY),
        "place": Place.of_degrees("22.5431", "114.0579"),
        "radius_m": Metres(1_000),
        "energy_wh": EnergyWh(1_000),
        "duration_s": None,
        "service_items": (),
        "needed_by_time": later(NOW, 600),
        "price_max_minor": None,
        "time_to_live_s": DurationS(10),
        "connector": None,
    }
    return Demand(**given | wanted)


def _quoted(folder: Path, name: str, demand: Demand, **changes: Any) -> OfferBody | str:
    asset = next(asset for asset in build(folder, CONFIG).assets.values() if asset.name == name)
    asked = Asked(OrderId(b"\x01" * 16), demand, later(NOW, demand.time_to_live_s))
    return quote(replace(asset, **changes), json.dumps(DAY).encode(), asked, PROVIDER, CNY, Offers(), NOW)


@given(
    name=st.sampled_from(["lock-1", "outlet-1"]),
    energy=st.none() | st.integers(1, 10_000),
    duration=st.none() | st.integers(1, 7 * 86_400),
    needed_in=st.integers(0, 86_400),
    time_to_live=st.integers(1, 3_600),
)
@settings(max_examples=60, deadline=None)
def test_an_offer_keeps_to_the_demand_and_can_be_held(
    tmp_path_factory: pytest.TempPathFactory,
    name: str,
    energy: int | None,
    duration: int | None,
    needed_in: int,
    time_to_live: int,
) -> None:
    folder = tmp_path_factory.mktemp("provider")
    (folder / "day.json").write_text(json.dumps(DAY))
    demand = _demand(
        energy_wh=None if energy is None else EnergyWh(energy),
        duration_s=None if duration is None else DurationS(duration),
        needed_by_time=later(NOW, needed_in),
        time_to_live_s=DurationS(time_to_live),
    )
    offer = _quoted(folder, name, demand)
    if isinstance(offer, str):
        assert offer == "NOT_CHARGED_ENOUGH"
        assert (energy or 0) > 2_000
        return
    assert 1 <= offer.energy_wh_max <= (energy or offer.energy_wh_max)
    assert 1 <= offer.duration_s_max <= (duration or 7 * 86_400)
    assert later(NOW, time_to_live) < offer.expiry_time <= offer.voucher_not_after_time
    assert offer.voucher_not_after_time <= later(demand.needed_by_time, 7_200)
    bound = price_bound(tariff_of(offer.tariff), offer.energy_wh_max, offer.duration_s_max)
    assert 0 <= offer.estimate_excl_vat_minor <= offer.estimate_incl_vat_minor <= bound


@pytest.mark.parametrize(
    ("name", "demand", "changes", "reason"),
    [
        ("lock-1", _demand(energy_wh=EnergyWh(2_001)), {}, "NOT_CHARGED_ENOUGH"),
        ("lock-1", _demand(energy_wh=EnergyWh(1_001)), {"soc_pct": 50}, "NOT_CHARGED_ENOUGH"),
        ("outlet-1", _demand(price_max_minor=Minor(135)), {}, "TOO_DEAR"),
        ("outlet-1", _demand(needed_by_time=later(NOW, VOUCHER_MAX_S)), {}, "TOO_FAR_AHEAD"),
    ],
)
def test_what_can_not_be_offered_is_declined_with_its_reason(
    folder: Path, name: str, demand: Demand, changes: dict[str, Any], reason: str
) -> None:
    assert _quoted(folder, name, demand, **changes) == reason


def test_a_price_limit_that_is_just_met_is_met(folder: Path) -> None:
    offer = _quoted(folder, "outlet-1", _demand(price_max_minor=Minor(136)))
    assert isinstance(offer, OfferBody)
