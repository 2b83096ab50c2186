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
    Currency,
    Instant,
    Kind,
    Place,
    ProviderId,
)
from terminals.provider.catalog import Catalog, build_catalog
from terminals.provider.config import load_provider_config
from terminals.provider.datum import wgs84_of_gcj02

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
    ],
)  # fmt: skip
def test_a_broken_configuration_names_its_file_and_field(folder: Path, old: str, new: str, named: tuple[str, ...]) -> None:
    assert old in CONFIG
    with pytest.raises(ConfigError) as broken:
        build(folder, CONFIG.replace(old, new, 1))
    assert not [word for word in named if word not in str(broken.value)], str(broken.value)


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
