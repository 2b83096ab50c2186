"""What lint finds in a configuration: all that a daemon would refuse, and what may surprise; nothing in good ones."""

import dataclasses
import json
from pathlib import Path

import pytest

from energyshare.home import open_home
from energyshare.records import replace
from energyshare.values import Currency, Instant, Kind
from terminals.device.settings import WORKER, save_settings
from terminals.identity import _save
from terminals.provider.lint import lint
from terminals.provider.surprises import Finding
from tests.device.world import DEVICE, DEVICE_GRANT, DEVICE_KEY, OWNER
from tests.terminals_world import identity

CNY, NOW = Currency("CNY"), Instant(1_795_000_000_000_000)  # Wednesday 2026-11-18, 19:06 in Shanghai
EXAMPLES = Path(__file__).parent.parent / "examples"
DAY = {"currency": "CNY", "elements": [{"price_components": [{"type": "ENERGY", "price": 1.2, "vat": 13, "step_size": 1}]}]}
CALLOUT = {"currency": "CNY", "elements": [{"price_components": [{"type": "ITEM", "item": "tyre", "price": 50, "vat": 13}]}]}
CONFIG = """
[offers]
valid_s = 600
[[tariffs]]
name = "day"
file = "day.json"
[[tariffs]]
name = "callout"
file = "callout.json"
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
connector = "GBT_AC"
[[sites]]
station = "Harbour"
latitude = "22.4900"
longitude = "113.9000"
time_zone = "Asia/Shanghai"
[[sites.assets]]
name = "worker-1"
kind = "service"
tariff = "callout"
device_home = "worker-1"
listen = "127.0.0.1:7460"
"""
AT_THE_DEPOT = 'longitude = "114.0579"\ntime_zone = "Asia/Shanghai"'
SECOND_WORKER = """
[[sites.assets]]
name = "worker-2"
kind = "service"
tariff = "callout"
device_home = "worker-1"
listen = "127.0.0.1:7450"
"""


def worker_home(home: Path, name: str = "worker-1", kind: Kind = Kind.SERVICE, grant: bytes | None = DEVICE_GRANT) -> None:
    """A worker's home as enrolling leaves it, but for certificates."""
    open_home(home, "device")
    DEVICE_KEY.save(home / "key")
    (home / "tls.key").write_bytes(b"-")
    _save(dataclasses.replace(identity("device", DEVICE, OWNER, DEVICE_KEY, grant), name=name, home=home))
    save_settings(home, replace(WORKER, kind=kind))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "day.json").write_text(json.dumps(DAY))
    (tmp_path / "callout.json").write_text(json.dumps(CALLOUT))
    worker_home(tmp_path / "worker-1")
    return tmp_path


def linted(folder: Path, text: str, currency: Currency | None = CNY) -> list[Finding]:
    path = folder / "provider.toml"
    path.write_text(text)
    return lint(path, currency, clock=lambda: NOW)


def codes(findings: list[Finding]) -> list[tuple[str, str, str]]:
    return [(finding.severity, finding.where, finding.code) for finding in findings]


def test_nothing_is_found_in_a_good_configuration_with_or_without_a_currency(folder: Path) -> None:
    assert linted(folder, CONFIG) == []
    assert linted(folder, CONFIG, None) == []


def test_examples_are_good_but_for_the_workers_that_have_to_be_enrolled() -> None:
    assert lint(EXAMPLES / "depot.toml", CNY, clock=lambda: NOW) == []
    found = lint(EXAMPLES / "helpers.toml", CNY, clock=lambda: NOW)
    assert codes(found) == [("error", f"sites[0].assets[{i}].device_home", "DEVICE_HOME") for i in (0, 1)]


@pytest.mark.parametrize(
    ("old", "new", "where", "code"),
    [
        ("[offers]", "[offers", "provider.toml", "CONFIG"),
        ("valid_s = 600", "valid_s = 5", "offers.valid_s", "CONFIG"),
        ("valid_s = 600", "valid = 600", "offers", "CONFIG"),
        ("[offers]", "[limits]\nenergy_wh_max = 0\n[offers]", "limits.energy_wh_max", "CONFIG"),
        ('file = "day.json"', 'file = "night.json"', "tariffs[0].file", "TARIFF_FILE"),
        ('tariff = "day"', 'tariff = "dusk"', "sites[0].assets[0].tariff", "TARIFF_UNKNOWN"),
        ('"22.5431"', '"92.5431"', "sites[0].latitude", "PLACE"),
        ('"Asia/Shanghai"', '"Asia/Nowhere"', "sites[0].time_zone", "TIME_ZONE"),
        ('"200.00"', '"200.001"', "sites[0].assets[0].deposit", "DEPOSIT"),
        ('"outlet-1"', '"lock-1"', "sites[0].assets[1]", "NAME_TWICE"),
        ('device_home = "worker-1"\n', "", "sites[1].assets[0].device_home", "FIELD_MISSING"),
        ('device_home = "worker-1"', 'device_home = "nowhere"', "sites[1].assets[0].device_home", "DEVICE_HOME"),
        ('name = "worker-1"', 'name = "worker-9"', "sites[1].assets[0].device_home", "DEVICE_HOME"),
    ],
)
def test_what_a_daemon_would_refuse_is_an_error(folder: Path, old: str, new: str, where: str, code: str) -> None:
    assert old in CONFIG
    found = linted(folder, CONFIG.replace(old, new, 1))
    assert ("error", where, code) in codes(found), found
    assert not (folder / "nowhere").exists()


@pytest.mark.parametrize(
    ("name", "tariff", "where", "code"),
    [
        ("day.json", "{", "day.json", "TARIFF_FILE"),
        ("day.json", json.dumps(DAY | {"elements": []}), "day.json elements", "TARIFF_FILE"),
        ("day.json", json.dumps(DAY | {"currency": "EUR"}), "day.json currency", "CURRENCY"),
        ("callout.json", json.dumps(CALLOUT | {"currency": "EUR"}), "callout.json currency", "CURRENCY"),
    ],
)
def test_a_tariff_that_can_not_be_used_is_an_error_in_its_own_file(
    folder: Path, name: str, tariff: str, where: str, code: str
) -> None:
    (folder / name).write_text(tariff)
    assert codes(linted(folder, CONFIG)) == [("error", where, code)]


def test_without_a_currency_the_first_tariff_that_can_be_read_gives_it(folder: Path) -> None:
    (folder / "day.json").write_text(json.dumps(DAY | {"currency": "EUR"}))
    assert codes(linted(folder, CONFIG, None)) == [("error", "callout.json currency", "CURRENCY")]
    (folder / "day.json").write_text("{")
    assert codes(linted(folder, CONFIG, None)) == [("error", "day.json", "TARIFF_FILE")]


def test_errors_are_told_all_at_once_and_warnings_with_them(folder: Path) -> None:
    text = CONFIG.replace('"200.00"', '"200.001"').replace('"Asia/Shanghai"', '"Nowhere"').replace("GBT_AC", "NONE")
    text = text.replace('time_zone = "Nowhere"', 'time_zone = "Asia/Shanghai"', 1)
    assert codes(linted(folder, text)) == [
        ("error", "sites[0].assets[0].deposit", "DEPOSIT"),
        ("error", "sites[1].time_zone", "TIME_ZONE"),
        ("warning", "sites[0].assets[1].connector", "CONNECTOR_NONE"),
    ]


@pytest.mark.parametrize(
    ("old", "new", "where", "code"),
    [
        ("[offers]", '[[tariffs]]\nname = "spare"\nfile = "day.json"\n[offers]', "tariffs[0]", "TARIFF_UNUSED"),
        ('tariff = "callout"', 'tariff = "day"', "sites[1].assets[0]", "TARIFF_UNFIT"),
        ('tariff = "day"\npower_w = 7000', 'tariff = "callout"\npower_w = 7000', "sites[0].assets[1]", "TARIFF_UNFIT"),
        ('deposit = "200.00"\n', "", "sites[0].assets[0].deposit", "DEPOSIT_MISSING"),
        ('"200.00"', '"2.71"', "sites[0].assets[0].deposit", "DEPOSIT_LOW"),
        ("capacity_wh = 2000", "capacity_wh = 2000\nsoc_pct = 0", "sites[0].assets[0]", "NEVER_OFFERED"),
        ("[offers]", "[limits]\nnotice_s = 604800\n[offers]", "limits.notice_s", "NEVER_OFFERED"),
        ('connector = "GBT_AC"\n', "", "sites[0].assets[1].connector", "CONNECTOR_NONE"),
        ('"GBT_AC"', '"GBT_AC"\naddress = "127.0.0.1:7450"', "sites[0].assets[1]", "ADDRESS_TWICE"),
        ('"127.0.0.1:7460"', '"127.0.0.1:7450"', "sites[1].assets[0]", "ADDRESS_TWICE"),
        ('"127.0.0.1:7460"', '"0.0.0.0:7460"', "sites[1].assets[0].listen", "LISTEN_PUBLIC"),
        ('"127.0.0.1:7460"', '"[::]:7460"', "sites[1].assets[0].listen", "LISTEN_PUBLIC"),
        ('"127.0.0.1:7460"', '"8.8.8.8:7460"', "sites[1].assets[0].listen", "LISTEN_PUBLIC"),
        ('longitude = "113.9000"', 'longitude = "103.9000"', "sites[1]", "FAR_AWAY"),
        (AT_THE_DEPOT, AT_THE_DEPOT.replace("Asia/Shanghai", "Europe/Berlin"), "sites[0].time_zone", "TIME_ZONE_FAR"),
        (
            AT_THE_DEPOT,
            f"{AT_THE_DEPOT}\nclosed = [{{ from = 2026-11-01, until = 2026-11-25 }}]",
            "sites[0]",
            "CLOSED_ALL_WEEK",
        ),
    ],
)
def test_what_may_surprise_is_a_warning(folder: Path, old: str, new: str, where: str, code: str) -> None:
    assert old in CONFIG
    found = linted(folder, CONFIG.replace(old, new, 1))
    assert ("warning", where, code) in codes(found), found
    assert not [finding for finding in found if finding.severity == "error"]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"200.00"', '"2.72"'),
        ("[offers]", "[limits]\nnotice_s = 597600\n[offers]"),
        ('"127.0.0.1:7460"', '"0.0.0.0:7460"\nremark = "behind the router of the yard"'),
        ('"127.0.0.1:7460"', '"192.168.1.20:7460"'),
        ('"127.0.0.1:7460"', '"yard.example:7460"'),
        ('longitude = "113.9000"', 'longitude = "110.0000"'),
        (AT_THE_DEPOT, f"{AT_THE_DEPOT}\nclosed = [{{ from = 2026-11-01, until = 2026-11-24 }}]"),
        (AT_THE_DEPOT, f'{AT_THE_DEPOT}\nhours = [{{ days = ["WEDNESDAY"], from = "19:00", to = "19:15" }}]'),
    ],
)
def test_what_is_just_as_it_should_be_is_not_found(folder: Path, old: str, new: str) -> None:
    assert old in CONFIG
    assert linted(folder, CONFIG.replace(old, new, 1)) == []


def test_a_deposit_is_measured_by_what_limits_allow(folder: Path) -> None:
    assert (
        linted(folder, CONFIG.replace("[offers]", "[limits]\nenergy_wh_max = 1000\n[offers]").replace("200.00", "1.36")) == []
    )


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"start_date_time": "2026-11-18T11:06:41Z"}, "TARIFF_NOT_VALID"),
        ({"end_date_time": "2026-11-18T11:06:40Z"}, "TARIFF_NOT_VALID"),
        ({"end_date_time": "2026-12-02T11:06:40Z"}, "TARIFF_ENDS_SOON"),
        ({"end_date_time": "2026-12-02T11:06:41Z"}, None),
        ({"elements": [{"price_components": [{"type": "ENERGY", "price": 0, "step_size": 1}]}]}, "PRICE_ZERO"),
    ],
)
def test_a_tariff_that_gives_nothing_or_not_for_long_is_a_warning(
    folder: Path, changes: dict[str, object], code: str | None
) -> None:
    (folder / "day.json").write_text(json.dumps(DAY | changes))
    assert codes(linted(folder, CONFIG)) == ([("warning", "tariffs[0]", code)] if code else [])


def test_a_site_with_swapped_coordinates_is_named_as_such(folder: Path) -> None:
    south = (
        CONFIG.replace('"22.5431"', '"52.5200"').replace('"114.0579"', '"13.4050"').replace("Asia/Shanghai", "Europe/Berlin")
    )
    swapped = south.replace('"22.4900"', '"13.4000"').replace('"113.9000"', '"52.5000"')
    texts = [finding.text for finding in linted(folder, swapped) if finding.where == "sites[1]"]
    assert [("swapped" in text) for text in texts] == [True]


@pytest.mark.parametrize(
    ("name", "kind", "grant", "found"),
    [
        ("worker-1", Kind.SERVICE, None, [("warning", "DEVICE_NOT_GRANTED")]),
        ("lock-1", Kind.SERVICE, DEVICE_GRANT, [("error", "DEVICE_HOME")]),
        ("worker-1", Kind.BATTERY, DEVICE_GRANT, [("error", "DEVICE_HOME")]),
    ],
)
def test_a_worker_needs_the_home_of_its_own_device(
    folder: Path, name: str, kind: Kind, grant: bytes | None, found: list[tuple[str, str]]
) -> None:
    worker_home(folder / "other", name, kind, grant)
    text = CONFIG.replace('device_home = "worker-1"', 'device_home = "other"')
    assert [(finding.severity, finding.code) for finding in linted(folder, text)] == found


def test_two_workers_can_not_share_a_home_or_another_s_address(folder: Path) -> None:
    assert codes(linted(folder, CONFIG + SECOND_WORKER)) == [
        ("warning", "sites[1].assets[1]", "ADDRESS_TWICE"),
        ("error", "sites[1].assets[1].device_home", "DEVICE_HOME"),
    ]


def test_a_damaged_worker_s_home_is_an_error(folder: Path) -> None:
    (folder / "worker-1" / "device.json").write_text("{")
    assert codes(linted(folder, CONFIG)) == [("error", "sites[1].assets[0].device_home", "DEVICE_HOME")]


def test_rows_of_a_fleet_are_each_an_error_and_a_fleet_is_a_place_among_the_sites(folder: Path) -> None:
    fleet = '[fleet]\ncsv = "s.csv"\ndatum = "wgs84"\ntariff = "day"\ntime_zone = "Asia/Shanghai"\npower_w = 60000\n'
    rows = ["station_id,longitude,latitude,charge_points", "S1,north,22.5,1", "S2,87.6,43.8,2", "S3,114.0,22.5,many"]
    (folder / "s.csv").write_text("\n".join(rows))
    assert codes(linted(folder, CONFIG + fleet)) == [
        ("error", "s.csv line 2", "FLEET_ROW"),
        ("error", "s.csv line 4", "FLEET_ROW"),
        ("warning", "fleet", "FAR_AWAY"),
    ]
