"""What a provider has: assets and tariffs, from its configuration.

An asset's and a device's id follow from the provider and the name, so nobody copies ids into files.
"""

import csv
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from energyshare.bodies import Asset
from energyshare.config import ConfigError
from energyshare.rating import zone_of
from energyshare.signing import Label, derive_id, digest
from energyshare.tariff import TariffError, tariff_of
from energyshare.values import (
    AssetId,
    AssetState,
    Connector,
    Currency,
    DeviceId,
    Digest,
    EnergyWh,
    Kind,
    Minor,
    Money,
    Number,
    Percent,
    Place,
    PowerW,
    ProviderId,
)
from terminals.provider.config import AssetEntry, Fleet, ProviderConfig, Site
from terminals.provider.datum import wgs84_of_gcj02

KINDS = {"battery": Kind.BATTERY, "outlet": Kind.ENERGY}
FIRST_VERSION = Number(0)  # the journal numbers changes from here
STATION_CHARACTERS_MAX = 56  # with its number a charge point's name has at most 64
CHARGE_POINTS_MAX = 1_000  # of one station


@dataclass(frozen=True, slots=True)
class Catalog:
    """All assets by id, tariffs by hash, and where devices can be reached."""

    assets: Mapping[AssetId, Asset]
    tariffs: Mapping[Digest, bytes]
    addresses: Mapping[DeviceId, str]


def build_catalog(config: ProviderConfig, path: Path, provider: ProviderId, currency: Currency) -> Catalog:
    """Build a catalog; `path` is the configuration's file, next to which the files that it names lie.

    Raises: ConfigError naming file and field.
    """
    tariffs = {entry.name: _tariff(path, index, entry.file, currency) for index, entry in enumerate(config.tariffs)}
    assets: dict[AssetId, Asset] = {}
    devices: set[DeviceId] = set()
    addresses: dict[DeviceId, str] = {}
    for where, asset, address in _entries(config, path, provider, currency, tariffs):
        if asset.asset_id in assets:
            raise ConfigError(path, f"`{where}` repeats the name {asset.station}/{asset.name}")
        if asset.device_id in devices:
            raise ConfigError(path, f"`{where}.name`: two assets can't be the one device {asset.name}")
        devices.add(asset.device_id)
        assets[asset.asset_id] = asset
        if address is not None:
            addresses[asset.device_id] = address
    if not assets:
        raise ConfigError(path, "it has neither `sites` with assets nor a `fleet`")
    return Catalog(assets, {digest(Label.TARIFF, body): body for body in tariffs.values()}, addresses)


Entry = tuple[str, Asset, str | None]


def _entries(
    config: ProviderConfig, path: Path, provider: ProviderId, currency: Currency, tariffs: Mapping[str, bytes]
) -> Iterator[Entry]:
    for s, site in enumerate(config.sites):
        for a, entry in enumerate(site.assets):
            where = f"sites[{s}].assets[{a}]"
            yield where, _asset(path, where, site, entry, provider, currency, tariffs), entry.address
    if config.fleet is not None:
        yield from _fleet(path, config.fleet, provider, tariffs)


def _asset(
    path: Path,
    where: str,
    site: Site,
    entry: AssetEntry,
    provider: ProviderId,
    currency: Currency,
    tariffs: Mapping[str, bytes],
) -> Asset:
    try:
        place = Place.of_degrees(site.latitude, site.longitude)
        deposit = Money.parse(entry.deposit, currency).amount_minor
    except ValueError as error:
        raise ConfigError(path, f"`{where}`: {error}") from None
    if KINDS[entry.kind] is Kind.BATTERY and entry.capacity_wh < 1:
        raise ConfigError(path, f"`{where}.capacity_wh`: a battery needs its capacity in watt-hours")
    _require_zone(path, f"{where}: sites.time_zone", site.time_zone)
    return Asset(
        asset_id=AssetId(derive_id(Label.ASSET_ID, provider, f"{site.station}/{entry.name}")),
        device_id=DeviceId(derive_id(Label.DEVICE_ID, provider, entry.name)),
        station=site.station,
        name=entry.name,
        kind=KINDS[entry.kind],
        place=place,
        connector=Connector[entry.connector],
        power_w=PowerW(entry.power_w),
        capacity_wh=EnergyWh(entry.capacity_wh),
        soc_pct=_percent(entry.soc_pct if entry.soc_pct is not None else 100 if entry.kind == "battery" else None),
        soh_pct=_percent(entry.soh_pct),
        time_zone=site.time_zone,
        state=AssetState.OUT_OF_SERVICE if entry.out_of_service else AssetState.AVAILABLE,
        version=FIRST_VERSION,
        tariff_hash=_hash_of(path, f"{where}.tariff", entry.tariff, tariffs),
        deposit_minor=deposit,
    )


def _fleet(path: Path, fleet: Fleet, provider: ProviderId, tariffs: Mapping[str, bytes]) -> Iterator[Entry]:
    _require_zone(path, "fleet.time_zone", fleet.time_zone)
    tariff_hash = _hash_of(path, "fleet.tariff", fleet.tariff, tariffs)
    addresses = {device.name: device.address for device in fleet.devices}
    for station, place, points in _stations(path.parent / fleet.csv, fleet.datum):
        for point in range(1, points + 1):
            name = f"{station}/{point}"
            yield f"fleet {name}", _charge_point(fleet, provider, station, name, place, tariff_hash), addresses.get(name)


def _charge_point(fleet: Fleet, provider: ProviderId, station: str, name: str, place: Place, tariff_hash: Digest) -> Asset:
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
        tariff_hash=tariff_hash,
        deposit_minor=Minor(0),
    )


def _stations(path: Path, datum: str) -> Iterator[tuple[str, Place, int]]:
    """Read stations with their place and number of charge points; raises ConfigError naming file and line."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            for number, row in enumerate(csv.DictReader(file), start=2):
                yield _station(path, number, row, datum)
    except OSError as error:
        raise ConfigError(path, error.strerror or "it can't be read") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise ConfigError(path, f"is not CSV in UTF-8: {error}") from None


def _station(path: Path, number: int, row: Mapping[str, str], datum: str) -> tuple[str, Place, int]:
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
        raise ConfigError(path, f"line {number}: needs station_id, longitude, latitude and charge_points ({error})") from None


def _tariff(path: Path, index: int, name: str, currency: Currency) -> bytes:
    """Read a tariff file; what is signed and sent is its text without the space around it."""
    file = path.parent / name
    try:
        body = file.read_bytes().strip()
        found = tariff_of(body).currency
    except OSError as error:
        raise ConfigError(path, f"`tariffs[{index}].file`: {file}: {error.strerror}") from None
    except TariffError as error:
        raise ConfigError(file, str(error)) from None
    if found != currency:
        raise ConfigError(file, f"`currency` is {found}; this cloud's is {currency}")
    return body


def _hash_of(path: Path, where: str, name: str, tariffs: Mapping[str, bytes]) -> Digest:
    if name not in tariffs:
        raise ConfigError(path, f"`{where}`: there is no tariff named {name!r}")
    return digest(Label.TARIFF, tariffs[name])


def _require_zone(path: Path, where: str, zone: str) -> None:
    try:
        zone_of(zone)
    except TariffError as error:
        raise ConfigError(path, f"`{where}`: {error}") from None


def _percent(value: int | None) -> Percent | None:
    return None if value is None else Percent(value)


def numbered(asset: Asset, version: int) -> Asset:
    """Give an asset with the version that its provider's journal gave it."""
    return replace(asset, version=Number(version))
