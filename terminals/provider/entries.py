"""The entries of a configuration's sites as assets, each by itself, so that all that is wrong can be told at once."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from msgspec import Struct

from energyshare.bodies import Asset
from energyshare.config import ConfigError
from energyshare.rating import zone_of
from energyshare.records import replace
from energyshare.signing import Label, derive_id, digest
from energyshare.tariff import TariffError
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
from terminals.provider.config import AssetEntry, Closed, Hours, Site
from terminals.provider.hours import Closure, Window, closure_of, window_of
from terminals.provider.rules import FREE, Rules

KINDS = {"battery": Kind.BATTERY, "outlet": Kind.ENERGY, "service": Kind.SERVICE}
FIRST_VERSION = Number(0)  # the journal numbers changes from here
POWER_OF_A_SERVICE_W = 1
PORT_MAX = 65_535
ONLY_A_SERVICE = ("device_home", "listen")
NEVER_A_SERVICE = ("power_w", "address", "capacity_wh", "soc_pct", "soh_pct", "connector")


class Unusable(ConfigError):
    """An entry of a configuration can't be used; `code` says in UPPER_SNAKE what is wrong with the field `where`."""

    def __init__(self, path: Path, where: str, code: str, problem: str) -> None:
        super().__init__(path, f"`{where}`: {problem}" if where else problem)
        self.path = path
        self.where = where
        self.code = code
        self.problem = problem


class Worker(Struct, frozen=True):
    """Where a worker's enrolled device identity lies, and the HOST:PORT at which its customers' terminals reach it."""

    home: Path
    listen: str


class Entry(Struct, frozen=True):
    """An asset and what belongs to it; `where` is its field in the configuration."""

    where: str
    asset: Asset
    rules: Rules = FREE
    address: str | None = None
    worker: Worker | None = None


class Surroundings(Struct, frozen=True):
    """What every entry is read with: the configuration's file, its provider and currency, and its tariffs by name.

    A tariff is None when its file can't be used; what names it is then left out without another word.
    """

    path: Path
    provider: ProviderId
    currency: Currency
    tariffs: Mapping[str, bytes | None]


def site_entries(sites: Sequence[Site], around: Surroundings) -> Iterator[Entry | Unusable]:
    """Give the assets of all sites, and what is wrong with those that can't be used."""
    for index, site in enumerate(sites):
        try:
            yield from _site(f"sites[{index}]", site, around)
        except Unusable as problem:
            yield problem


def opening_rules(path: Path, where: str, hours: Sequence[Hours], closed: Sequence[Closed]) -> Rules:
    """Take the hours and closures of a place. Raises Unusable."""
    return Rules(tuple(_windows(path, where, hours)), tuple(_closures(path, where, closed)))


def require_zone(path: Path, where: str, zone: str) -> None:
    """Raise Unusable for what is no time zone."""
    try:
        zone_of(zone)
    except TariffError as error:
        raise Unusable(path, where, "TIME_ZONE", str(error)) from None


def tariff_hash(around: Surroundings, where: str, name: str) -> Digest | None:
    """Give the hash of a tariff, None where its file can't be used. Raises Unusable when there is none of that name."""
    if name not in around.tariffs:
        raise Unusable(around.path, where, "TARIFF_UNKNOWN", f"there is no tariff named {name!r}")
    body = around.tariffs[name]
    return None if body is None else digest(Label.TARIFF, body)


def _site(where: str, site: Site, around: Surroundings) -> Iterator[Entry | Unusable]:
    require_zone(around.path, f"{where}.time_zone", site.time_zone)
    rules = opening_rules(around.path, where, site.hours, site.closed)
    place = _place(around.path, where, site)
    for index, entry in enumerate(site.assets):
        try:
            yield from _entry(f"{where}.assets[{index}]", site, place, entry, rules, around)
        except Unusable as problem:
            yield problem


def _entry(where: str, site: Site, place: Place, entry: AssetEntry, rules: Rules, around: Surroundings) -> Iterator[Entry]:
    _require_fitting(around.path, where, entry)
    hashed = tariff_hash(around, f"{where}.tariff", entry.tariff)
    if hashed is not None:
        asset = _asset(where, site, place, entry, hashed, around)
        own = replace(rules, out_of_service=_text(entry.out_of_service), decline=entry.decline or "")
        yield Entry(where, asset, own, entry.address, _worker(around.path, where, entry))


def _require_fitting(path: Path, where: str, entry: AssetEntry) -> None:
    """Refuse an entry that lacks what its kind needs, or has what its kind has not."""
    is_service = entry.kind == "service"
    for name in ONLY_A_SERVICE if is_service else ("power_w",):
        if getattr(entry, name) is None:
            raise Unusable(path, f"{where}.{name}", "FIELD_MISSING", f"a {entry.kind} needs it")
    for name in NEVER_A_SERVICE if is_service else ONLY_A_SERVICE:
        if getattr(entry, name) not in (None, 0, "NONE"):
            raise Unusable(path, f"{where}.{name}", "FIELD_FOREIGN", f"a {entry.kind} has none")
    if entry.kind == "battery" and entry.capacity_wh < 1:
        raise Unusable(path, f"{where}.capacity_wh", "FIELD_MISSING", "a battery needs its capacity in watt-hours")


def _asset(where: str, site: Site, place: Place, entry: AssetEntry, hashed: Digest, around: Surroundings) -> Asset:
    return Asset(
        asset_id=AssetId(derive_id(Label.ASSET_ID, around.provider, f"{site.station}/{entry.name}")),
        device_id=DeviceId(derive_id(Label.DEVICE_ID, around.provider, entry.name)),
        station=site.station,
        name=entry.name,
        kind=KINDS[entry.kind],
        place=place,
        connector=Connector[entry.connector],
        power_w=PowerW(entry.power_w or POWER_OF_A_SERVICE_W),
        capacity_wh=EnergyWh(entry.capacity_wh),
        soc_pct=_percent(entry.soc_pct if entry.soc_pct is not None else 100 if entry.kind == "battery" else None),
        soh_pct=_percent(entry.soh_pct),
        time_zone=site.time_zone,
        state=AssetState.OUT_OF_SERVICE if entry.out_of_service else AssetState.AVAILABLE,
        version=FIRST_VERSION,
        tariff_hash=hashed,
        deposit_minor=_deposit(around, where, entry),
    )


def _place(path: Path, where: str, site: Site) -> Place:
    try:
        return Place.of_degrees(site.latitude, site.longitude)
    except ValueError as error:
        raise Unusable(path, f"{where}.latitude", "PLACE", str(error)) from None


def _deposit(around: Surroundings, where: str, entry: AssetEntry) -> Minor:
    try:
        return Money.parse(entry.deposit, around.currency).amount_minor
    except ValueError as error:
        raise Unusable(around.path, f"{where}.deposit", "DEPOSIT", str(error)) from None


def _worker(path: Path, where: str, entry: AssetEntry) -> Worker | None:
    if entry.device_home is None or entry.listen is None:
        return None
    if not 1 <= int(entry.listen.rpartition(":")[2]) <= PORT_MAX:
        raise Unusable(path, f"{where}.listen", "LISTEN", f"a port is from 1 to {PORT_MAX}")
    return Worker(path.parent / entry.device_home, entry.listen)


def _windows(path: Path, where: str, hours: Sequence[Hours]) -> Iterator[Window]:
    for index, entry in enumerate(hours):
        try:
            yield window_of(entry)
        except ValueError as error:
            raise Unusable(path, f"{where}.hours[{index}]", "HOURS", str(error)) from None


def _closures(path: Path, where: str, closed: Sequence[Closed]) -> Iterator[Closure]:
    for index, entry in enumerate(closed):
        try:
            yield closure_of(entry)
        except ValueError as error:
            raise Unusable(path, f"{where}.closed[{index}]", "HOURS", str(error)) from None


def _percent(value: int | None) -> Percent | None:
    return None if value is None else Percent(value)


def _text(out_of_service: bool | str) -> str:
    return out_of_service if isinstance(out_of_service, str) else ""
