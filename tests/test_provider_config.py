"""A provider's configuration: what is broken is named by file and field; fleets come from a file."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from energyshare.config import ConfigError
from energyshare.places import distance_m
from energyshare.signing import Label, digest
from energyshare.values import (
    AssetState,
    Connector,
    Currency,
    Instant,
    Kind,
    Place,
    ProviderId,
)
from terminals.provider.catalog import Catalog, assemble, build_catalog, load
from terminals.provider.config import load_provider_config
from terminals.provider.datum import wgs84_of_gcj02
from terminals.provider.entries import Worker

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
FLEET = """
[[tariffs]]
name = "day"
file = "day.json"
[fleet]
csv = "stations.csv"
datum = "gcj02"
tariff = "day"
time_zone = "Asia/Shanghai"
power_w = 60000
devices = [{ name = "S1/2", address = "127.0.0.1:7460" }]
"""
HELPER = """
[[sites.assets]]
name = "worker-1"
kind = "service"
tariff = "day"
device_home = "homes/worker-1"
listen = "127.0.0.1:7460"
deposit = "5.00"
"""
HOURS = """
hours = [{ days = ["MONDAY"], from = "08:00", to = "20:00" }]
closed = [{ from = 2027-02-06, until = 2027-02-12, reason = "spring festival" }]
[[sites.assets]]
name = "lock-1"
"""
STATIONS = "station_id,longitude,latitude,charge_points\nS1,113.9171764808363,22.540796131694766,2\nS2,114.0,22.5,1\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "day.json").write_text(json.dumps(DAY))
    (tmp_path / "stations.csv").write_text(STATIONS)
    return tmp_path


def build(folder: Path, text: str) -> Catalog:
    path = folder / "provider.toml"
    path.write_text(text)
    return build_catalog(load_provider_config(path), path, PROVIDER, CNY)


def test_assets_devices_and_tariffs_follow_from_the_configuration(folder: Path) -> None:
    catalog = build(folder, CONFIG)
    lock, outlet = catalog.assets.values()
    assert (lock.kind, lock.capacity_wh, lock.soc_pct, lock.deposit_minor) == (Kind.BATTERY, 2_000, 100, 20_000)
    assert (outlet.kind, outlet.capacity_wh, outlet.soc_pct, outlet.deposit_minor) == (Kind.ENERGY, 0, None, 0)
    assert catalog.addresses == {lock.device_id: "127.0.0.1:7450"}
    assert list(catalog.tariffs) == [digest(Label.TARIFF, json.dumps(DAY).encode())]
    assert build(folder, CONFIG) == catalog


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ('name = "day"\n', "", ("provider.toml", "tariffs[0]", "name")),
        ('file = "day.json"', 'file = "night.json"', ("provider.toml", "`tariffs[0].file`", "night.json")),
        ("valid_s = 600", "valid_s = 5", ("provider.toml", "offers.valid_s")),
        ("valid_s = 600", "valid = 600", ("provider.toml", "valid", "offers")),
        ('"22.5431"', '"north"', ("provider.toml", "sites[0].latitude")),
        ('"22.5431"', '"92.5431"', ("provider.toml", "sites[0]")),
        ('"Asia/Shanghai"', '"Asia/Nowhere"', ("provider.toml", "time_zone", "Asia/Nowhere")),
        ('kind = "battery"', 'kind = "car"', ("provider.toml", "sites[0].assets[0].kind")),
        ("day\"\npower_w = 7000", "night\"\npower_w = 7000", ("provider.toml", "sites[0].assets[1].tariff", "night")),
        ("power_w = 1000\n", 'power_w = "much"\n', ("provider.toml", "sites[0].assets[0].power_w")),
        ("power_w = 1000\n", "power_w = 0\n", ("provider.toml", "sites[0].assets[0].power_w")),
        ("capacity_wh = 2000\n", "", ("provider.toml", "sites[0].assets[0].capacity_wh")),
        ('"200.00"', '"200.001"', ("provider.toml", "sites[0].assets[0]", "200.001")),
        ('"200.00"', '"-1"', ("provider.toml", "sites[0].assets[0].deposit")),
        ('name = "outlet-1"', 'name = "lock-1"', ("provider.toml", "sites[0].assets[1]", "repeats", "Depot/lock-1")),
        ("[[sites]]", "[[sites]", ("provider.toml", "TOML")),
        (CONFIG[CONFIG.index("[[sites]]") :], "", ("provider.toml", "`sites`", "`fleet`")),
        ("power_w = 7000\n", "", ("provider.toml", "`sites[0].assets[1].power_w`", "outlet needs")),
        ("power_w = 7000\n", 'power_w = 7000\nlisten = "127.0.0.1:1"\n', ("provider.toml", "sites[0].assets[1].listen")),
        ("power_w = 7000\n", 'power_w = 7000\nout_of_service = ""\n', ("sites[0].assets[1].out_of_service",)),
        ("power_w = 7000\n", 'power_w = 7000\nout_of_service = "?!"\n', ("sites[0].assets[1].out_of_service",)),
        ("power_w = 7000\n", f'power_w = 7000\nout_of_service = "{"x" * 65}"\n', ("sites[0].assets[1].out_of_service",)),
        ("power_w = 7000\n", 'power_w = 7000\ndecline = "not now"\n', ("sites[0].assets[1].decline",)),
        ("valid_s = 600", "service_duration_s = 59", ("offers.service_duration_s",)),
        ("[offers]", "[limits]\nenergy_wh_max = 0\n[offers]", ("limits.energy_wh_max",)),
        ("[offers]", "[limits]\nduration_s_max = 0\n[offers]", ("limits.duration_s_max",)),
        ("[offers]", "[limits]\nopen_orders_per_user = 0\n[offers]", ("limits.open_orders_per_user",)),
        ("[offers]", "[limits]\nnotice_s = -1\n[offers]", ("limits.notice_s",)),
        ("[offers]", '[[tariffs]]\nname = "day"\nfile = "day.json"\n[offers]', ("`tariffs[1].name`", "repeats the name day")),
    ],
)  # fmt: skip
def test_a_broken_configuration_names_its_file_and_field(folder: Path, old: str, new: str, named: tuple[str, ...]) -> None:
    assert old in CONFIG
    with pytest.raises(ConfigError) as broken:
        build(folder, CONFIG.replace(old, new, 1))
    assert not [word for word in named if word not in str(broken.value)], str(broken.value)


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ('device_home = "homes/worker-1"\n', "", ("`sites[0].assets[2].device_home`", "service needs")),
        ('listen = "127.0.0.1:7460"\n', "", ("`sites[0].assets[2].listen`", "service needs")),
        ("127.0.0.1:7460", "7460", ("sites[0].assets[2].listen",)),
        ("127.0.0.1:7460", "127.0.0.1:0", ("`sites[0].assets[2].listen`", "65535")),
        ("127.0.0.1:7460", "127.0.0.1:65536", ("`sites[0].assets[2].listen`", "65535")),
        ('deposit = "5.00"\n', "power_w = 100\n", ("`sites[0].assets[2].power_w`", "service has none")),
        ('deposit = "5.00"\n', "capacity_wh = 100\n", ("`sites[0].assets[2].capacity_wh`", "service has none")),
        ('deposit = "5.00"\n', 'connector = "GBT_DC"\n', ("`sites[0].assets[2].connector`", "service has none")),
        ('deposit = "5.00"\n', 'address = "127.0.0.1:1"\n', ("`sites[0].assets[2].address`", "service has none")),
        ('deposit = "5.00"\n', HELPER.replace("worker-1", "worker-2"), ("`sites[0].assets[3].listen`", "127.0.0.1:7460")),
    ],
)
def test_a_broken_worker_is_named(folder: Path, old: str, new: str, named: tuple[str, ...]) -> None:
    assert old in HELPER
    with pytest.raises(ConfigError) as broken:
        build(folder, CONFIG + HELPER.replace(old, new, 1))
    assert not [word for word in named if word not in str(broken.value)], str(broken.value)


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ('["MONDAY"]', "[]", ("sites[0].hours[0].days",)),
        ('["MONDAY"]', '["MOONDAY"]', ("sites[0].hours[0].days",)),
        ('"08:00"', '"8:00"', ("sites[0].hours[0].from",)),
        ('"20:00"', '"24:01"', ("sites[0].hours[0].to",)),
        ('"20:00"', '"08:00"', ("`sites[0].hours[0]`", "whole day")),
        ("until = 2027-02-12, ", "", ("sites[0].closed[0]", "until")),
        ("2027-02-12", "2027-02-05", ("`sites[0].closed[0]`", "before it begins")),
        ("2027-02-12", '"some day"', ("sites[0].closed[0].until",)),
        ('"spring festival"', '""', ("sites[0].closed[0].reason",)),
    ],
)
def test_broken_hours_are_named(folder: Path, old: str, new: str, named: tuple[str, ...]) -> None:
    assert old in HOURS
    text = CONFIG.replace('[[sites.assets]]\nname = "lock-1"\n', HOURS.replace(old, new, 1))
    with pytest.raises(ConfigError) as broken:
        build(folder, text)
    assert not [word for word in named if word not in str(broken.value)], str(broken.value)


def test_a_worker_is_an_asset_without_plug_or_power_whose_home_lies_by_the_configuration(folder: Path) -> None:
    catalog = build(folder, CONFIG + HELPER)
    *_, worker = catalog.assets.values()
    assert (worker.kind, worker.connector, worker.power_w, worker.capacity_wh) == (Kind.SERVICE, Connector.NONE, 1, 0)
    assert (worker.soc_pct, worker.deposit_minor, worker.state) == (None, 500, AssetState.AVAILABLE)
    assert catalog.workers == {worker.device_id: Worker(folder / "homes" / "worker-1", "127.0.0.1:7460")}
    assert worker.device_id not in catalog.addresses


def test_rules_of_a_site_are_those_of_its_assets_beside_their_own(folder: Path) -> None:
    text = CONFIG.replace('[[sites.assets]]\nname = "lock-1"\n', HOURS) + '\nout_of_service = "broken"\ndecline = "FOR_US"\n'
    catalog = build(folder, text)
    lock, outlet = (catalog.rules[asset_id] for asset_id in catalog.assets)
    assert (len(lock.hours), len(lock.closures), lock.out_of_service, lock.decline) == (1, 1, "", "")
    assert (outlet.hours, outlet.closures) == (lock.hours, lock.closures)
    assert (outlet.out_of_service, outlet.decline) == ("broken", "FOR_US")
    assert [asset.state for asset in catalog.assets.values()] == [AssetState.AVAILABLE, AssetState.OUT_OF_SERVICE]


def test_several_sites_are_one_catalog_each_with_its_own_hours_place_and_zone(folder: Path) -> None:
    other = (
        CONFIG[CONFIG.index("[[sites]]") :]
        .replace("Depot", "Harbour")
        .replace("22.5431", "31.2304")
        .replace("114.0579", "121.4737")
    )
    other = other.replace("lock-1", "lock-2").replace("outlet-1", "outlet-2").replace("Asia/Shanghai", "Asia/Urumqi")
    catalog = build(folder, CONFIG.replace('[[sites.assets]]\nname = "lock-1"\n', HOURS) + other)
    found = [
        (a.station, a.name, a.place.longitude_e7, a.time_zone, len(catalog.rules[i].hours)) for i, a in catalog.assets.items()
    ]
    assert found == [
        ("Depot", "lock-1", 1_140_579_000, "Asia/Shanghai", 1),
        ("Depot", "outlet-1", 1_140_579_000, "Asia/Shanghai", 1),
        ("Harbour", "lock-2", 1_214_737_000, "Asia/Urumqi", 0),
        ("Harbour", "outlet-2", 1_214_737_000, "Asia/Urumqi", 0),
    ]


def test_all_that_is_wrong_is_told_and_a_broken_tariff_is_told_once(folder: Path) -> None:
    broken = CONFIG.replace('"day.json"', '"night.json"').replace("capacity_wh = 2000\n", "")
    worse = broken + "[[sites]]\n" + CONFIG[CONFIG.index('station = "Depot"') :].replace('tariff = "day"', 'tariff = "dusk"')
    path = folder / "provider.toml"
    path.write_text(worse)
    found = assemble(load_provider_config(path), path, PROVIDER, CNY)
    assert [(problem.where, problem.code) for problem in found.problems] == [
        ("tariffs[0].file", "TARIFF_FILE"),
        ("sites[0].assets[0].capacity_wh", "FIELD_MISSING"),
        ("sites[1].assets[0].tariff", "TARIFF_UNKNOWN"),
        ("sites[1].assets[1].tariff", "TARIFF_UNKNOWN"),
    ]


def test_loading_anew_takes_what_the_files_say_now(folder: Path) -> None:
    first = build(folder, CONFIG)
    path = folder / "provider.toml"
    (folder / "day.json").write_text(json.dumps(DAY).replace("1.2", "2.4"))
    path.write_text(CONFIG.replace("valid_s = 600", "valid_s = 900") + HELPER)
    config, catalog = load(path, PROVIDER, CNY)
    assert (config.offers.valid_s, len(catalog.assets), len(catalog.workers)) == (900, 3, 1)
    assert set(first.assets) < set(catalog.assets)
    assert not set(first.tariffs) & set(catalog.tariffs)


@pytest.mark.parametrize(
    "text", ["[[sites]", CONFIG.replace('kind = "battery"', 'kind = "car"'), CONFIG.replace("day.json", "x.json")]
)
def test_loading_a_broken_configuration_raises(folder: Path, text: str) -> None:
    (folder / "provider.toml").write_text(text)
    with pytest.raises(ConfigError):
        load(folder / "provider.toml", PROVIDER, CNY)


def test_a_fleet_may_have_opening_hours(folder: Path) -> None:
    hours = 'hours = [{ days = ["MONDAY"], from = "08:00", to = "20:00" }]'
    catalog = build(folder, FLEET + hours)
    assert [len(rules.hours) for rules in catalog.rules.values()] == [1, 1, 1]
    with pytest.raises(ConfigError, match=r"`fleet\.hours\[0\]`.*whole day"):
        build(folder, FLEET + hours.replace("20:00", "08:00"))


@pytest.mark.parametrize(
    ("tariff", "named"),
    [
        (b"{", ("day.json",)),
        (b'{"currency": "CNY", "elements": []}', ("day.json", "elements")),
        (json.dumps(DAY | {"currency": "EUR"}).encode(), ("day.json", "`currency`", "EUR", "CNY")),
    ],
)
def test_a_broken_tariff_names_its_own_file(folder: Path, tariff: bytes, named: tuple[str, ...]) -> None:
    (folder / "day.json").write_bytes(tariff)
    with pytest.raises(ConfigError) as broken:
        build(folder, CONFIG)
    assert not [word for word in named if word not in str(broken.value)], str(broken.value)


def test_a_configuration_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"missing\.toml: there is no such file"):
        load_provider_config(tmp_path / "missing.toml")


def test_two_assets_at_two_stations_can_not_be_one_device(folder: Path) -> None:
    other = CONFIG[CONFIG.index("[[sites]]") :].replace('"Depot"', '"Harbour"')
    with pytest.raises(ConfigError, match=r"sites\[1\]\.assets\[0\]\.name.*lock-1"):
        build(folder, CONFIG + other)


def test_a_fleet_is_read_from_its_file_and_moved_to_wgs84(folder: Path) -> None:
    catalog = build(folder, FLEET)
    assert [asset.name for asset in catalog.assets.values()] == ["S1/1", "S1/2", "S2/1"]
    first, second, _ = catalog.assets.values()
    assert first.place == second.place
    assert distance_m(first.place, Place.of_degrees("22.543847", "113.912316")) <= 1
    assert catalog.addresses == {second.device_id: "127.0.0.1:7460"}


@pytest.mark.parametrize(
    ("rows", "named"),
    [
        ("station,longitude\nS1,1\n", ("stations.csv", "line 2", "latitude")),
        (STATIONS + "S3,114.0,north,1\n", ("stations.csv", "line 4", "north")),
        (STATIONS + "S3,114.0,22.5,some\n", ("stations.csv", "line 4", "some")),
        (STATIONS + "S3,114.0,22.5,-1\n", ("stations.csv", "line 4", "charge points")),
        (STATIONS + "S3,114.0,22.5,1000000000\n", ("stations.csv", "line 4", "charge points")),
        (STATIONS + "S3,114.0,inf,1\n", ("stations.csv", "line 4")),
        (STATIONS + "S3,214.0,22.5,1\n", ("stations.csv", "line 4")),
        (STATIONS + ",114.0,22.5,1\n", ("stations.csv", "line 4", "characters")),
        (STATIONS + "S3\n", ("stations.csv", "line 4")),
        ("station_id,longitude,latitude,charge_points\n", ("provider.toml", "`fleet`")),
        ("\xff\xfe", ("stations.csv", "UTF-8")),
    ],
)
def test_a_broken_row_of_a_fleet_names_its_file_and_line(folder: Path, rows: str, named: tuple[str, ...]) -> None:
    (folder / "stations.csv").write_bytes(rows.encode("latin-1"))
    with pytest.raises(ConfigError) as broken:
        build(folder, FLEET)
    assert not [word for word in named if word not in str(broken.value)], str(broken.value)


def test_a_fleet_file_that_is_not_there_is_named(folder: Path) -> None:
    (folder / "stations.csv").unlink()
    with pytest.raises(ConfigError, match=r"stations\.csv"):
        build(folder, FLEET)


# The datum


@pytest.mark.parametrize(
    ("gcj02", "wgs84"),
    [
        ((31.17530398364597, 121.531541859215), (31.1774276, 121.5272106)),
        ((22.540796131694766, 113.9171764808363), (22.543847, 113.912316)),
        ((39.91334545536069, 116.38404722455657), (39.911954, 116.377817)),
    ],
    ids=["Shanghai", "Shenzhen", "Beijing"],
)
def test_known_points_of_gcj02_come_out_within_a_metre(gcj02: tuple[float, float], wgs84: tuple[float, float]) -> None:
    assert _metres(wgs84_of_gcj02(*gcj02), wgs84) <= 1
    assert 300 <= _metres(gcj02, wgs84) <= 800


@given(st.floats(22.4, 22.9), st.floats(113.7, 114.7))
@settings(max_examples=100, deadline=None)
def test_the_shift_in_shenzhen_is_some_hundred_metres_and_neighbours_stay_neighbours(latitude: float, longitude: float) -> None:
    moved = wgs84_of_gcj02(latitude, longitude)
    assert 300 <= _metres(moved, (latitude, longitude)) <= 800
    assert 8 <= _metres(moved, wgs84_of_gcj02(latitude + 0.0001, longitude)) <= 14


@pytest.mark.parametrize("place", [(51.5, -0.1), (40.7, -74.0), (-33.9, 151.2), (0.0, 0.0), (-22.5, 114.0)])
def test_outside_china_nothing_moves(place: tuple[float, float]) -> None:
    assert wgs84_of_gcj02(*place) == place


def _metres(one: tuple[float, float], other: tuple[float, float]) -> int:
    return distance_m(*(Place.of_degrees(f"{lat:.9f}", f"{lon:.9f}") for lat, lon in (one, other)))
