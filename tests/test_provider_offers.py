"""What a provider tells of its assets, and what it offers: versions rise, offers keep to the demand."""

import json
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from energyshare.bodies import OfferBody, ServiceItem
from energyshare.bound import price_bound
from energyshare.charging import hold_of
from energyshare.messages import Demand, Inventory, Message
from energyshare.records import replace
from energyshare.session import service_bill
from energyshare.signing import Label, digest
from energyshare.tariff import tariff_of
from energyshare.values import (
    AssetId,
    AssetState,
    Currency,
    Digest,
    DurationS,
    EnergyWh,
    Instant,
    Kind,
    Metres,
    Minor,
    OrderId,
    Place,
    ProviderId,
    instant_of,
    later,
)
from terminals.journal import Journal
from terminals.provider.catalog import Catalog, build_catalog
from terminals.provider.config import Limits, Offers, load_provider_config
from terminals.provider.inventory import tell_inventory
from terminals.provider.limits import too_many
from terminals.provider.quoting import VOUCHER_MAX_S, Asked, answer, quote

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
CALLOUT = {
    "currency": "CNY",
    "elements": [
        {
            "price_components": [
                {"type": "FLAT", "price": 30, "vat": 6, "step_size": 1},
                {"type": "TIME", "price": 90, "vat": 6, "step_size": 300},
                {"type": "ITEM", "item": "jump-start", "price": 50, "vat": 6},
                {"type": "ITEM", "item": "tyre", "price": 120, "vat": 13},
            ]
        }
    ],
}
MIXED = (
    CONFIG.replace("[offers]", '[[tariffs]]\nname = "callout"\nfile = "callout.json"\n[offers]')
    + """
[[sites.assets]]
name = "worker-1"
kind = "service"
tariff = "callout"
device_home = "worker-1"
listen = "127.0.0.1:7460"
"""
)
TWO_TYRES = (ServiceItem("jump-start", 1), ServiceItem("tyre", 2))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "day.json").write_text(json.dumps(DAY))
    (tmp_path / "callout.json").write_text(json.dumps(CALLOUT))
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


# Answering, by the rules and limits of a configuration


def _answered(folder: Path, text: str, demand: Demand, now: Instant = NOW) -> dict[str, OfferBody | str]:
    """What each asset of a configuration answers to a demand, by its name."""
    path = folder / "provider.toml"
    catalog, terms = build(folder, text), load_provider_config(path).offers
    asked = Asked(OrderId(b"\x01" * 16), demand, later(now, demand.time_to_live_s))
    return {
        asset.name: answer(catalog, asset_id, asked, PROVIDER, CNY, terms, now) for asset_id, asset in catalog.assets.items()
    }


def _offered(folder: Path, text: str, demand: Demand, name: str) -> OfferBody:
    offer = _answered(folder, text, demand)[name]
    assert isinstance(offer, OfferBody), offer
    return offer


def test_a_service_quotes_the_items_asked_for_and_estimates_them_with_its_usual_time(folder: Path) -> None:
    demand = _demand(kinds=(Kind.SERVICE,), service_items=TWO_TYRES, energy_wh=None)
    offer = _offered(folder, MIXED, demand, "worker-1")
    assert (offer.items, offer.energy_wh_max, offer.duration_s_max, offer.return_grace_s) == (TWO_TYRES, 1, 4 * 3_600, 0)
    assert offer.estimate_incl_vat_minor == 30 * 106 + 90 * 106 + 50 * 106 + 240 * 113
    assert hold_of(offer) == 30 * 106 + 4 * 90 * 106 + 50 * 106 + 240 * 113


@pytest.mark.parametrize(
    ("wanted_s", "settings", "cap_s", "counted_s"),
    [
        (None, "", 14_400, 3_600),
        (7_200, "", 7_200, 3_600),
        (1_800, "", 1_800, 1_800),
        (None, "service_duration_s = 1800", 1_800, 1_800),
        (None, "service_estimate_s = 600", 14_400, 600),
        (7_200, "[limits]\nduration_s_max = 1200", 1_200, 1_200),
        (600, "[limits]\nduration_s_max = 1200", 600, 600),
    ],
)
def test_the_time_of_a_service_is_what_was_asked_for_or_usual_and_within_the_limit(
    folder: Path, wanted_s: int | None, settings: str, cap_s: int, counted_s: int
) -> None:
    demand = _demand(kinds=(Kind.SERVICE,), service_items=TWO_TYRES, duration_s=wanted_s)
    offer = _offered(folder, MIXED.replace("valid_s = 600", f"valid_s = 600\n{settings}"), demand, "worker-1")
    priced = service_bill(demand.needed_by_time, "Asia/Shanghai", counted_s, TWO_TYRES, tariff_of(offer.tariff))
    assert offer.duration_s_max == cap_s
    assert (offer.estimate, offer.estimate_incl_vat_minor) == (priced.lines, priced.incl_vat_minor)


def test_each_asset_answers_a_mixed_demand_for_its_own_kind(folder: Path) -> None:
    demand = _demand(kinds=(Kind.ENERGY, Kind.BATTERY, Kind.SERVICE), service_items=TWO_TYRES, duration_s=DurationS(7_200))
    offers = _answered(folder, MIXED, demand)
    caps = {n: (o.energy_wh_max, o.duration_s_max, o.items) for n, o in offers.items() if isinstance(o, OfferBody)}
    assert caps == {
        "lock-1": (1_000, 7_200, ()),
        "outlet-1": (1_000, 7_200, ()),
        "worker-1": (1, 7_200, TWO_TYRES),
    }


@pytest.mark.parametrize(
    ("demand", "reason"),
    [
        (_demand(service_items=(ServiceItem("tow", 1),)), "ITEM_NOT_DONE"),
        (_demand(service_items=(*TWO_TYRES, ServiceItem("tow", 1))), "ITEM_NOT_DONE"),
        (_demand(service_items=(ServiceItem("Tyre", 1),)), "ITEM_NOT_DONE"),
        (_demand(service_items=()), None),
        (_demand(service_items=TWO_TYRES, price_max_minor=Minor(73_759)), "TOO_DEAR"),
        (_demand(service_items=TWO_TYRES, price_max_minor=Minor(73_760)), None),
        (_demand(service_items=TWO_TYRES, needed_by_time=later(NOW, VOUCHER_MAX_S)), "TOO_FAR_AHEAD"),
    ],
)
def test_a_service_that_can_not_be_offered_is_declined_with_its_reason(
    folder: Path, demand: Demand, reason: str | None
) -> None:
    found = _answered(folder, MIXED, demand)["worker-1"]
    assert (found if isinstance(found, str) else None) == reason


@given(
    energy=st.none() | st.integers(1, 10_000),
    duration=st.none() | st.integers(1, 7 * 86_400),
    energy_max=st.none() | st.integers(1, 3_000),
    duration_max=st.none() | st.integers(60, 7 * 86_400),
)
@settings(max_examples=60, deadline=None)
def test_no_offer_is_above_demand_or_limits_and_its_estimate_is_within_its_hold(
    tmp_path_factory: pytest.TempPathFactory,
    energy: int | None,
    duration: int | None,
    energy_max: int | None,
    duration_max: int | None,
) -> None:
    folder = tmp_path_factory.mktemp("provider")
    (folder / "day.json").write_text(json.dumps(DAY))
    (folder / "callout.json").write_text(json.dumps(CALLOUT))
    catalog = replace(build(folder, MIXED), limits=Limits(energy_wh_max=energy_max, duration_s_max=duration_max))
    demand = _demand(energy_wh=energy, duration_s=duration, service_items=TWO_TYRES)
    asked = Asked(OrderId(b"\x01" * 16), demand, later(NOW, 10))
    for asset_id, asset in catalog.assets.items():
        offer = answer(catalog, asset_id, asked, PROVIDER, CNY, Offers(), NOW)
        if isinstance(offer, str):
            assert (asset.kind, offer) == (Kind.BATTERY, "NOT_CHARGED_ENOUGH")
            assert (energy or 0) > 2_000
            continue
        assert 1 <= offer.energy_wh_max <= min(energy or 10**9, energy_max or 10**9)
        assert 1 <= offer.duration_s_max <= min(duration or 7 * 86_400, duration_max or 7 * 86_400)
        assert offer.estimate_excl_vat_minor <= offer.estimate_incl_vat_minor <= hold_of(offer) - asset.deposit_minor


def test_a_limit_gives_less_than_was_asked_but_never_hides_an_empty_battery(folder: Path) -> None:
    limited = MIXED.replace("[offers]", "[limits]\nenergy_wh_max = 500\n[offers]")
    assert _offered(folder, limited, _demand(energy_wh=EnergyWh(2_000)), "lock-1").energy_wh_max == 500
    assert _answered(folder, limited, _demand(energy_wh=EnergyWh(2_001)))["lock-1"] == "NOT_CHARGED_ENOUGH"
    empty = MIXED.replace("capacity_wh = 2000", "capacity_wh = 2000\nsoc_pct = 0")
    assert _answered(folder, empty, _demand(energy_wh=None))["lock-1"] == "NOT_CHARGED_ENOUGH"


def test_a_supply_that_leaves_energy_open_counts_with_the_time_that_it_may_take(folder: Path) -> None:
    limited = MIXED.replace("[offers]", "[limits]\nduration_s_max = 600\n[offers]")
    offer = _offered(folder, limited, _demand(energy_wh=None, duration_s=DurationS(3_600)), "outlet-1")
    assert (offer.energy_wh_max, offer.duration_s_max) == (7_000 // 6, 600)


WORK_HOURS = """
hours = [{ days = ["MONDAY", "TUESDAY", "WEDNESDAY", "THURSDAY", "FRIDAY"], from = "08:00", to = "20:00" }]
[[sites.closed]]
from = 2026-11-20
until = 2026-11-20
reason = "stock-taking"
[[sites.assets]]
name = "lock-1"
"""
OPEN_HOURS = CONFIG.replace('[[sites.assets]]\nname = "lock-1"\n', WORK_HOURS)


def _shanghai(text: str) -> Instant:
    return instant_of(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo("Asia/Shanghai")))


@pytest.mark.parametrize(
    ("now", "needed_by", "reason"),
    [
        ("2026-11-18T07:00", "2026-11-18T07:59", "CLOSED"),
        ("2026-11-18T07:00", "2026-11-18T08:00", None),
        ("2026-11-18T19:50", "2026-11-18T20:10", "CLOSED"),
        ("2026-11-18T20:10", "2026-11-18T20:05", "CLOSED"),
        ("2026-11-18T23:00", "2026-11-19T09:00", None),
        ("2026-11-19T23:00", "2026-11-20T09:00", "STOCK_TAKING"),
        ("2026-11-20T09:00", "2026-11-20T08:59", "STOCK_TAKING"),
        ("2026-11-20T23:00", "2026-11-21T09:00", "CLOSED"),
    ],
)
def test_a_demand_whose_start_falls_outside_the_opening_hours_is_declined(
    folder: Path, now: str, needed_by: str, reason: str | None
) -> None:
    demand = _demand(needed_by_time=_shanghai(needed_by))
    for found in _answered(folder, OPEN_HOURS, demand, _shanghai(now)).values():
        assert (found if isinstance(found, str) else None) == reason


@pytest.mark.parametrize(
    ("settings", "asset", "reason"),
    [
        ("", "", None),
        ("", "out_of_service = true", "OUT_OF_SERVICE"),
        ("", "out_of_service = false", None),
        ("", 'out_of_service = "being cleaned"', "BEING_CLEANED"),
        ("", 'out_of_service = "…清洁中!"', "清洁中"),
        ("", 'decline = "ONLY_MEMBERS"', "ONLY_MEMBERS"),
        ("", 'out_of_service = "broken"\ndecline = "ONLY_MEMBERS"', "BROKEN"),
        ("[limits]\nnotice_s = 600", "", None),
        ("[limits]\nnotice_s = 601", "", "SHORT_NOTICE"),
        ("[limits]\nnotice_s = 601", 'decline = "ONLY_MEMBERS"', "ONLY_MEMBERS"),
    ],
)
def test_what_a_configuration_keeps_back_is_declined_with_the_reason_that_it_gives(
    folder: Path, settings: str, asset: str, reason: str | None
) -> None:
    text = CONFIG.replace("[offers]", f"{settings}\n[offers]").replace("power_w = 7000", f"power_w = 7000\n{asset}")
    found = _answered(folder, text, _demand())["outlet-1"]
    assert (found if isinstance(found, str) else None) == reason


@pytest.mark.parametrize("length", [1, 63, 64])
def test_a_reason_in_words_fits_the_wire_however_long_it_gets(folder: Path, length: int) -> None:
    text = CONFIG.replace("power_w = 7000", f'power_w = 7000\nout_of_service = "{"ß" * length}"')
    found = _answered(folder, text, _demand())["outlet-1"]
    assert isinstance(found, str)
    assert 1 <= len(found) <= 64


def test_an_asset_that_is_not_listed_is_not_ours(folder: Path) -> None:
    asked = Asked(OrderId(b"\x01" * 16), _demand(), later(NOW, 10))
    assert answer(build(folder, CONFIG), AssetId(b"\x09" * 16), asked, PROVIDER, CNY, Offers(), NOW) == "NOT_OURS"


@pytest.mark.parametrize(
    ("dates", "reason"),
    [
        ({"start_date_time": "2026-11-18T11:06:40Z"}, None),
        ({"start_date_time": "2026-11-18T11:06:41Z"}, "TARIFF_NOT_VALID"),
        ({"end_date_time": "2026-11-18T11:16:41Z"}, None),
        ({"end_date_time": "2026-11-18T11:16:40Z"}, "TARIFF_NOT_VALID"),
    ],
)
def test_a_tariff_must_be_valid_from_the_offer_to_the_start(folder: Path, dates: dict[str, str], reason: str | None) -> None:
    (folder / "day.json").write_text(json.dumps(DAY | dates))
    found = _answered(folder, CONFIG, _demand())["outlet-1"]
    assert (found if isinstance(found, str) else None) == reason


def test_a_changed_tariff_is_told_under_a_new_hash_and_an_open_offer_keeps_its_own(folder: Path, terminal: Said) -> None:
    before = build(folder, CONFIG)
    terminal.told(before)
    offered = _offered(folder, CONFIG, _demand(), "outlet-1")
    (folder / "day.json").write_text(json.dumps(DAY).replace("1.2", "2.4"))
    after = build(folder, CONFIG)
    assert terminal.told(after) == [("lock-1", 2, AssetState.AVAILABLE), ("outlet-1", 2, AssetState.AVAILABLE)]
    assert _hashes(after) != _hashes(before)
    assert [set(message.tariffs) for message in terminal.messages] == [set(after.tariffs.values())]
    dearer = _offered(folder, CONFIG, _demand(), "outlet-1")
    assert (hold_of(offered), hold_of(dearer)) == (136, 272)
    assert offered.asset.tariff_hash in _hashes(before)


def _hashes(catalog: Catalog) -> set[Digest]:
    assert {asset.tariff_hash for asset in catalog.assets.values()} == set(catalog.tariffs)
    return set(catalog.tariffs)


# Limits per user


@pytest.mark.parametrize(
    ("holders", "most", "is_so"),
    [
        ([], None, False),
        ([b"a"] * 100, None, False),
        ([], 1, False),
        ([b"b"], 1, False),
        ([b"a"], 1, True),
        ([b"a", b"b"], 2, False),
        ([b"a", b"b", b"a"], 2, True),
    ],
)
def test_a_user_has_at_most_so_many_open_orders(holders: list[bytes], most: int | None, is_so: bool) -> None:
    assert too_many(holders, b"a", Limits(open_orders_per_user=most)) is is_so
