"""A provider's configuration: tariffs, sites with their assets, or a fleet from a file.

[offers]                                  # how offers are made
valid_s = 600

[limits]                                  # what is given to one user, and in one order
open_orders_per_user = 2

[[tariffs]]
name = "day"
file = "day.json"                         # an OCPI 2.2.1 tariff object, next to this file

[[sites]]
station = "Depot"
latitude = "22.5431"
longitude = "114.0579"
time_zone = "Asia/Shanghai"
hours = [{ days = ["MONDAY", "FRIDAY"], from = "08:00", to = "20:00" }]   # none: always open

[[sites.closed]]                          # both days included
from = 2026-02-16
until = 2026-02-22
reason = "spring festival"

[[sites.assets]]
name = "lock-1"                           # the name under which the device was enrolled
kind = "battery"                          # or "outlet"
tariff = "day"
address = "127.0.0.1:7450"                # where its device can be reached, if it can
power_w = 1000
capacity_wh = 2000
deposit = "200.00"

[[sites.assets]]
name = "worker-1"
kind = "service"                          # does what its tariff has ITEM components for
tariff = "callout"
device_home = "worker-1"                  # home of the worker's enrolled device identity, next to this file
listen = "127.0.0.1:7460"                 # where customers' terminals reach it

[fleet]                                   # columns station_id, longitude, latitude, charge_points
csv = "stations.csv"
datum = "gcj02"                           # or "wgs84"
tariff = "day"
"""

from datetime import date
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from energyshare.config import load_config

Text = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
Degrees = Annotated[str, msgspec.Meta(pattern=r"^-?\d{1,3}(\.\d{1,12})?$")]
PowerWatts = Annotated[int, msgspec.Meta(ge=1, le=10**7)]
WattHours = Annotated[int, msgspec.Meta(ge=0, le=10**9)]
PercentOf = Annotated[int, msgspec.Meta(ge=0, le=100)]
WeekS = Annotated[int, msgspec.Meta(ge=60, le=7 * 86_400)]
ReasonText = Annotated[str, msgspec.Meta(min_length=1, max_length=64, pattern=r"[^\W_]")]
ReasonCode = Annotated[str, msgspec.Meta(pattern=r"^[A-Z][A-Z0-9_]{0,63}$")]
TimeOfDay = Annotated[str, msgspec.Meta(pattern=r"^(([01][0-9]|2[0-3]):[0-5][0-9]|24:00)$")]
HostAndPort = Annotated[str, msgspec.Meta(pattern=r"^([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\]):[0-9]{1,5}$", max_length=255)]
Weekday = Literal["MONDAY", "TUESDAY", "WEDNESDAY", "THURSDAY", "FRIDAY", "SATURDAY", "SUNDAY"]
ConnectorName = Literal["NONE", "DOMESTIC", "GBT_AC", "GBT_DC", "IEC_62196_T2", "IEC_62196_T2_COMBO", "CHADEMO"]


class Offers(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """[offers]: in seconds, how long offers bind, how long past needed-by a voucher opens, and what is offered where a demand
    leaves it open; a service's estimate counts with `service_estimate_s`, or with its cap where that is less.

    Ends are confirmed after `review_s`, in which a person may refuse them; `claim_unreturned` lets the daemon claim the
    deposit of a battery that did not come back, `claim_after_s` later than by its own clock.
    """

    valid_s: Annotated[int, msgspec.Meta(ge=10, le=86_400)] = 600
    voucher_s: Annotated[int, msgspec.Meta(ge=60, le=7_200)] = 3_600
    battery_duration_s: WeekS = 86_400
    service_duration_s: WeekS = 4 * 3_600
    service_estimate_s: WeekS = 3_600
    return_grace_s: Annotated[int, msgspec.Meta(ge=0, le=30 * 86_400)] = 3_600
    review_s: Annotated[int, msgspec.Meta(ge=0, le=480)] = 0  # the cloud waits 600 s
    claim_unreturned: bool = True
    claim_after_s: Annotated[int, msgspec.Meta(ge=1, le=86_400)] = 60
    poll_s: Annotated[float, msgspec.Meta(ge=0.05, le=3_600)] = 2.0


class Limits(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """[limits]: open orders of one user, caps of one order, and how long before the needed-by time a demand must come."""

    open_orders_per_user: Annotated[int, msgspec.Meta(ge=1, le=1_000)] | None = None
    energy_wh_max: Annotated[int, msgspec.Meta(ge=1, le=10**7)] | None = None
    duration_s_max: WeekS | None = None
    notice_s: Annotated[int, msgspec.Meta(ge=0, le=7 * 86_400)] = 0


class TariffFile(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """[[tariffs]]: a tariff under a name."""

    name: Text
    file: Text


class Hours(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """An entry of sites.hours: open on these days, local time; past midnight when it ends before it begins."""

    days: Annotated[list[Weekday], msgspec.Meta(min_length=1, max_length=7)]
    start: TimeOfDay = msgspec.field(name="from")
    end: TimeOfDay = msgspec.field(name="to")


class Closed(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """[[sites.closed]]: closed from one local day until another, both included."""

    first: date = msgspec.field(name="from")
    last: date = msgspec.field(name="until")
    reason: ReasonText = "CLOSED"


class AssetEntry(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """[[sites.assets]]: one battery, one charge point or one worker.

    `out_of_service` may be a text that says why; `decline` is what demands are answered while the asset stays listed;
    `remark` is for those who read the file.
    """

    name: Text
    kind: Literal["battery", "outlet", "service"]
    tariff: Text
    power_w: PowerWatts | None = None
    address: Text | None = None
    capacity_wh: WattHours = 0
    soc_pct: PercentOf | None = None
    soh_pct: PercentOf | None = None
    connector: ConnectorName = "NONE"
    deposit: Annotated[str, msgspec.Meta(pattern=r"^\d{1,10}(\.\d{1,3})?$")] = "0"
    out_of_service: bool | ReasonText = False
    decline: ReasonCode | None = None
    device_home: Text | None = None
    listen: HostAndPort | None = None
    remark: str = ""


class Site(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """[[sites]]: one place."""

    station: Text
    latitude: Degrees
    longitude: Degrees
    time_zone: Text
    assets: Annotated[list[AssetEntry], msgspec.Meta(min_length=1, max_length=10_000)]
    hours: Annotated[list[Hours], msgspec.Meta(max_length=100)] = []
    closed: Annotated[list[Closed], msgspec.Meta(max_length=1_000)] = []


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
    hours: Annotated[list[Hours], msgspec.Meta(max_length=100)] = []
    closed: Annotated[list[Closed], msgspec.Meta(max_length=1_000)] = []


class ProviderConfig(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """A provider's configuration file."""

    tariffs: Annotated[list[TariffFile], msgspec.Meta(min_length=1, max_length=1_000)]
    offers: Offers = Offers()
    limits: Limits = Limits()
    sites: list[Site] = []
    fleet: Fleet | None = None


def load_provider_config(path: Path) -> ProviderConfig:
    """Read a configuration; raises ConfigError naming file and field."""
    return load_config(path, ProviderConfig)
