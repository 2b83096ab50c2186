"""A provider's configuration: tariffs, sites with their assets, or a fleet from a file.

[offers]                                  # how offers are made
valid_s = 600

[[tariffs]]
name = "day"
file = "day.json"                         # an OCPI 2.2.1 tariff object, next to this file

[[sites]]
station = "Depot"
latitude = "22.5431"
longitude = "114.0579"
time_zone = "Asia/Shanghai"

[[sites.assets]]
name = "lock-1"                           # the name under which the device was enrolled
kind = "battery"                          # or "outlet"
tariff = "day"
address = "127.0.0.1:7450"                # where its device can be reached, if it can
power_w = 1000
capacity_wh = 2000
deposit = "200.00"

[fleet]                                   # columns station_id, longitude, latitude, charge_points
csv = "stations.csv"
datum = "gcj02"                           # or "wgs84"
tariff = "day"
"""

from pathlib import Path
from typing import Annotated, Literal

import msgspec

from energyshare.config import load_config

Text = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
Degrees = Annotated[str, msgspec.Meta(pattern=r"^-?\d{1,3}(\.\d{1,12})?$")]
PowerWatts = Annotated[int, msgspec.Meta(ge=1, le=10**7)]
WattHours = Annotated[int, msgspec.Meta(ge=0, le=10**9)]
PercentOf = Annotated[int, msgspec.Meta(ge=0, le=100)]
ConnectorName = Literal["NONE", "DOMESTIC", "GBT_AC", "GBT_DC", "IEC_62196_T2", "IEC_62196_T2_COMBO", "CHADEMO"]


class Offers(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """[offers]: in seconds, how long offers bind, how long past needed-by a voucher opens, and what is offered where a demand
    leaves it open."""

    valid_s: Annotated[int, msgspec.Meta(ge=10, le=86_400)] = 600
    voucher_s: Annotated[int, msgspec.Meta(ge=60, le=7_200)] = 3_600
    battery_duration_s: Annotated[int, msgspec.Meta(ge=60, le=7 * 86_400)] = 86_400
    return_grace_s: Annotated[int, msgspec.Meta(ge=0, le=30 * 86_400)] = 3_600
    poll_s: Annotated[float, msgspec.Meta(ge=0.05, le=3_600)] = 2.0


class TariffFile(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """[[tariffs]]: a tariff under a name."""

    name: Text
    file: Text


class AssetEntry(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """[[sites.assets]]: one battery or one charge point."""

    name: Text
    kind: Literal["battery", "outlet"]
    tariff: Text
    power_w: PowerWatts
    address: Text | None = None
    capacity_wh: WattHours = 0
    soc_pct: PercentOf | None = None
    soh_pct: PercentOf | None = None
    connector: ConnectorName = "NONE"
    deposit: Annotated[str, msgspec.Meta(pattern=r"^\d{1,10}(\.\d{1,3})?$")] = "0"
    out_of_service: bool = False


class Site(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """[[sites]]: one place."""

    station: Text
    latitude: Degrees
    longitude: Degrees
    time_zone: Text
    assets: Annotated[list[AssetEntry], msgspec.Meta(min_length=1, max_length=10_000)]


class FleetDevice(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """[[fleet.devices]]: where the device of a charge point STATION/NUMBER can be reached."""

    name: Text
    address: Text


class Fleet(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """[fleet]: many stations from a CSV file with the columns station_id, longitude, latitude, charge_points."""

    csv: str
    tariff: Text
    datum: Literal["wgs84", "gcj02"]
    time_zone: Text
    power_w: PowerWatts
    connector: ConnectorName = "GBT_DC"
    devices: list[FleetDevice] = []


class ProviderConfig(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """A provider's configuration file."""

    tariffs: Annotated[list[TariffFile], msgspec.Meta(min_length=1, max_length=1_000)]
    offers: Offers = Offers()
    sites: list[Site] = []
    fleet: Fleet | None = None


def load_provider_config(path: Path) -> ProviderConfig:
    """Read a configuration; raises ConfigError naming file and field."""
    return load_config(path, ProviderConfig)
