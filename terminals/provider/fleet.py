"""A fleet: many stations with charge points from a CSV file with the columns station_id, longitude, latitude, charge_points."""

import csv
from collections.abc import Iterator, Mapping
from pathlib import Path

from energyshare.bodies import Asset
from energyshare.signing import Label, derive_id
from energyshare.values import (
    AssetId,
    AssetState,
    Connector,
    DeviceId,
    Digest,
    EnergyWh,
    Kind,
    Minor,
    Place,
    PowerW,
    ProviderId,
)
from terminals.provider.config import Fleet
from terminals.provider.datum import wgs84_of_gcj02
from terminals.provider.entries import FIRST_VERSION, Entry, Surroundings, Unusable, opening_rules, require_zone, tariff_hash

STATION_CHARACTERS_MAX = 56  # with its number a charge point's name has at most 64
CHARGE_POINTS_MAX = 1_000  # of one station

Station = tuple[str, Place, int]


def fleet_entries(fleet: Fleet, around: Surroundings) -> Iterator[Entry | Unusable]:
    """Give all charge points of a fleet, and what is wrong with the rows that can't be used."""
    try:
        yield from _entries(fleet, around)
    except Unusable as problem:
        yield problem


def _entries(fleet: Fleet, around: Surroundings) -> Iterator[Entry | Unusable]:
    require_zone(around.path, "fleet.time_zone", fleet.time_zone)
    rules = opening_rules(around.path, "fleet", fleet.hours, fleet.closed)
    hashed = tariff_hash(around, "fleet.tariff", fleet.tariff)
    addresses = {device.name: device.address for device in fleet.devices}
    for station in _stations(around.path.parent / fleet.csv, fleet.datum):
        if isinstance(station, Unusable):
            yield station
        elif hashed is not None:
            for asset in _charge_points(fleet, around.provider, station, hashed):
                yield Entry(f"fleet {asset.name}", asset, rules, addresses.get(asset.name))


def _charge_points(fleet: Fleet, provider: ProviderId, station: Station, hashed: Digest) -> Iterator[Asset]:
    name, place, points = station
    for point in range(1, points + 1):
        yield _charge_point(fleet, provider, name, f"{name}/{point}", place, hashed)


def _charge_point(fleet: Fleet, provider: ProviderId, station: str, name: str, place: Place, hashed: Digest) -> Asset:
    return Asset(
        asset_id=AssetId(derive_id(Label.ASSET_ID, provider, name)),
        device_id=DeviceId(derive_id(Label.DEVICE_ID, provider, name)),
        station=station,
        name=name,
        kind=Kind.ENERGY,
        place=place,
        connector=Connector[fleet.connector],
        power_w=PowerW(fleet.power_w),
        capacity_wh=EnergyWh(0),
        soc_pct=None,
        soh_pct=None,
        time_zone=fleet.time_zone,
        state=AssetState.AVAILABLE,
        version=FIRST_VERSION,
        tariff_hash=hashed,
        deposit_minor=Minor(0),
    )


def _stations(path: Path, datum: str) -> Iterator[Station | Unusable]:
    """Read stations with their place and number of charge points, and what is wrong with each other row. Raises Unusable."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            for number, row in enumerate(csv.DictReader(file), start=2):
                yield _station(path, number, row, datum)
    except OSError as error:
        raise Unusable(path, "", "FLEET_FILE", error.strerror or "it can't be read") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise Unusable(path, "", "FLEET_FILE", f"is not CSV in UTF-8: {error}") from None


def _station(path: Path, number: int, row: Mapping[str, str], datum: str) -> Station | Unusable:
    try:
        latitude, longitude = float(row["latitude"]), float(row["longitude"])
        if datum == "gcj02":
            latitude, longitude = wgs84_of_gcj02(latitude, longitude)
        station, points = row["station_id"].strip(), int(row["charge_points"])
        if not 1 <= len(station) <= STATION_CHARACTERS_MAX or not 0 <= points <= CHARGE_POINTS_MAX:
            raise ValueError(
                f"a station has 1 to {STATION_CHARACTERS_MAX} characters and at most {CHARGE_POINTS_MAX} charge points"
            )
        return station, Place.of_degrees(f"{latitude:.7f}", f"{longitude:.7f}"), points
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        needs = f"needs station_id, longitude, latitude and charge_points ({error})"
        return Unusable(path, f"line {number}", "FLEET_ROW", needs)
