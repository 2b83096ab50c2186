"""Which assets a demand is put to: a pure function over candidates near its place.

Filters, then ranks by distance and price, then takes the best stations of each kind, one free asset each. Every asset that is
left out is counted under one reason, the first that applies; the nearest are named, so that `demand explain` can say why. As
the nearest come first, nobody looks further away than it takes to find enough of them.
"""

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence

from msgspec import Struct

from energyshare.bodies import ServiceItem
from energyshare.bound import price_bound
from energyshare.messages import Demand, Exclusion
from energyshare.places import distance_m
from energyshare.tariff import Tariff, TariffError, tariff_of
from energyshare.values import (
    AssetId,
    AssetState,
    Connector,
    DeviceId,
    Digest,
    DurationS,
    EnergyWh,
    Kind,
    Metres,
    Minor,
    OrderId,
    Place,
    PowerW,
    ProviderId,
)

NEAREST_MAX = 64
NEAR_M = 4_000  # looked at in any case; twice as far each time after that
EXAMINED_MAX = 10_000


class AssetRecord(Struct, frozen=True):
    """An asset as the cloud keeps it."""

    asset_id: AssetId
    provider_id: ProviderId
    device_id: DeviceId
    station: str
    name: str
    kind: Kind
    place: Place
    connector: Connector
    power_w: PowerW
    capacity_wh: EnergyWh
    soc_pct: int | None
    state: AssetState
    version: int
    tariff_hash: Digest
    deposit_minor: Minor
    held_by: OrderId | None
    unknown: bool = False
    is_suspended: bool = False


class Candidate(Struct, frozen=True):
    """An asset that fits, and how far away it is."""

    asset: AssetRecord
    distance_m: Metres
    bound_minor: int


class Excluded(Struct, frozen=True):
    """An asset that was left out, and why."""

    station: str
    name: str
    reason: str
    distance_m: Metres


class Screening(Struct, frozen=True):
    """Whom a demand is put to, and who was left out."""

    examined: int
    candidates: tuple[Candidate, ...]
    exclusions: tuple[Exclusion, ...]
    nearest: tuple[Excluded, ...]


Tariffs = Mapping[Digest, bytes]


def screen(
    demand: Demand, assets: Sequence[AssetRecord], tariffs: Tariffs, online: Collection[ProviderId], stations_max: int
) -> Screening:
    """Screen the assets near a demand's place."""
    reason_of = _filters(demand, tariffs, online)
    fitting: list[Candidate] = []
    excluded: list[Excluded] = []
    for asset in assets:
        distance = distance_m(demand.place, asset.place)
        verdict = reason_of(asset, distance)
        if isinstance(verdict, str):
            excluded.append(Excluded(asset.station, asset.name, verdict, distance))
        else:
            fitting.append(Candidate(asset, distance, verdict))
    chosen, passed_over = _best_of_each_station(fitting, stations_max)
    excluded += passed_over
    counts = Counter(one.reason for one in excluded)
    excluded.sort(key=lambda one: (one.distance_m, one.station, one.name))
    return Screening(
        len(assets),
        chosen,
        tuple(Exclusion(reason, count) for reason, count in counts.most_common()),
        tuple(excluded[:NEAREST_MAX]),
    )


def needs_more(demand: Demand, found: Screening, stations_max: int) -> bool:
    """Say whether assets further away than those found could still be asked: the nearest come first.

    After EXAMINED_MAX nobody looks further, so that no demand keeps a node from all others.
    """
    taken = Counter(candidate.asset.kind for candidate in found.candidates)
    return found.examined < EXAMINED_MAX and any(taken[kind] < stations_max for kind in demand.kinds)


def wanted_caps(demand: Demand, asset: AssetRecord) -> tuple[EnergyWh, DurationS]:
    """Give what a demand asks of an asset, for comparing prices: what it leaves open follows from the asset's power."""
    hour_s = 3_600
    if asset.kind is Kind.SERVICE:
        return EnergyWh(1), demand.duration_s or DurationS(hour_s)
    energy, duration = demand.energy_wh, demand.duration_s
    if energy is None:
        full = asset.capacity_wh if asset.kind is Kind.BATTERY else asset.power_w * (duration or hour_s) // hour_s
        energy = EnergyWh(max(1, full))
    if duration is None:
        duration = DurationS(max(1, -(-energy * hour_s // asset.power_w)))
    return energy, duration


def _filters(demand: Demand, tariffs: Tariffs, online: Collection[ProviderId]) -> Callable[[AssetRecord, Metres], str | int]:
    """Give a function that says why an asset is left out, or the most that it can cost."""
    bounds: dict[tuple[Digest, EnergyWh, DurationS, bool], int | None] = {}

    def verdict(asset: AssetRecord, distance: Metres) -> str | int:
        reason = _plain_reason(demand, asset, distance, online)
        if reason is not None:
            return reason
        energy, duration = wanted_caps(demand, asset)
        items = demand.service_items if asset.kind is Kind.SERVICE else ()
        key = (asset.tariff_hash, energy, duration, bool(items))
        if key not in bounds:
            bounds[key] = _bound(tariffs.get(asset.tariff_hash), energy, duration, items)
        bound = bounds[key]
        if bound is None:
            return "ITEM" if items else "TARIFF"
        return "PRICE" if demand.price_max_minor is not None and bound > demand.price_max_minor else bound

    return verdict


def _plain_reason(demand: Demand, asset: AssetRecord, distance: Metres, online: Collection[ProviderId]) -> str | None:
    if asset.kind not in demand.kinds:
        return "KIND"
    if distance > demand.radius_m:
        return "DISTANCE"
    if asset.state is not AssetState.AVAILABLE:
        return "OUT_OF_SERVICE"
    if asset.held_by is not None:
        return "HELD"
    if asset.unknown:
        return "UNKNOWN"
    if asset.is_suspended:
        return "SUSPENDED"
    if asset.provider_id not in online:
        return "OFFLINE"
    if demand.connector is not None and asset.kind is Kind.ENERGY and asset.connector is not demand.connector:
        return "CONNECTOR"
    if asset.kind is Kind.BATTERY and demand.energy_wh is not None and _charged_wh(asset) < demand.energy_wh:
        return "CAPACITY"
    return None


def _charged_wh(asset: AssetRecord) -> int:
    return asset.capacity_wh * (100 if asset.soc_pct is None else asset.soc_pct) // 100


def _bound(tariff: bytes | None, energy: EnergyWh, duration: DurationS, items: Sequence[ServiceItem]) -> int | None:
    if tariff is None:
        return None
    try:
        parsed: Tariff = tariff_of(tariff)
        return price_bound(parsed, energy, duration, items)
    except TariffError:
        return None


def _best_of_each_station(fitting: list[Candidate], stations_max: int) -> tuple[tuple[Candidate, ...], list[Excluded]]:
    fitting.sort(key=lambda c: (c.distance_m, c.bound_minor, -_charged_wh(c.asset), c.asset.station, c.asset.name))
    chosen: dict[tuple[ProviderId, str, Kind], Candidate] = {}
    taken: Counter[Kind] = Counter()
    passed_over: list[Excluded] = []
    for candidate in fitting:
        asset = candidate.asset
        # each worker is a station of its own: workers of one base do not stand for one another
        name = asset.name if asset.kind is Kind.SERVICE else asset.station
        station = (asset.provider_id, name, asset.kind)
        if station not in chosen and taken[asset.kind] < stations_max:
            chosen[station] = candidate
            taken[asset.kind] += 1
        else:
            reason = "SAME_STATION" if station in chosen else "RANK"
            passed_over.append(Excluded(asset.station, asset.name, reason, candidate.distance_m))
    return tuple(chosen.values()), passed_over
